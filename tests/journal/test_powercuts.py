"""Power cuts under a real ext4, where a block device may be made; what the rig says of broken cards. Budget: 10 s."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.event import Event
from gateway.journal.journal import Journal
from simulators import powercuts
from simulators.card import Entry
from simulators.journal_process import options, shown
from simulators.powercuts import Found, Moment, Promised, Recording, cards, judge, promised

ROOT = Path(__file__).parents[2]


def rig(*words: str) -> dict[str, Any] | None:
    """Run the rig as a process; None, after a look at what it says, where it may not make a device."""
    command = [sys.executable, "-m", "simulators.powercuts", *words, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    if done.returncode == powercuts.UNUSABLE:
        assert done.stderr.startswith("powercuts: "), done.stderr
        assert "Traceback" not in done.stderr
        return None
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == int(any(found[name] for name in powercuts.WRONG)), done.stderr
    return found


def test_power_cuts_under_a_real_ext4_lose_nothing() -> None:
    """Twelve cuts at any write of a real file system lose nothing, or the verb says what it needs."""
    found = rig("--count", "12", "--seed", "1")
    if found is not None:
        assert found["cuts"] == 12
        assert found["acknowledged"] > 0
        assert not any(found[name] for name in powercuts.WRONG), found


def test_the_rig_finds_a_journal_that_does_not_sync() -> None:
    """With fdatasync left out most of these cuts lose what was promised."""
    found = rig("--count", "8", "--seed", "1", "--program", "tests.journal.lazy_journal")
    if found is not None:
        assert found["lost"] > 0
        for said in found["broken"]:
            kept = Path(said.rpartition("(kept: ")[2].removesuffix(")"))
            kept.unlink()
            kept.parent.rmdir()


def test_without_root_the_verb_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A user who may not mount is told what to type, with code 2."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert powercuts.main(["--count", "1"]) == powercuts.UNUSABLE
    assert "sudo ./dev powercuts" in capsys.readouterr().err


# -- the judgement, without a device ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "second"), [("none", b"old"), ("all", b"new")])
def test_a_flush_is_what_makes_writes_stay(kind: str, second: bytes) -> None:
    """What was written before a flush is on every card; what was written since is there or not, as the cut says."""
    log = [Entry(0, b"new"), Entry(0, None), Entry(3, b"new")]
    recording = Recording(b"oldold", log, [], 512)
    (card,) = cards(recording, [(3, kind)], random.Random(1))
    assert bytes(card) == b"new" + second
    (card,) = cards(recording, [(1, kind)], random.Random(1))
    assert bytes(card) == second + b"old"


def test_some_writes_survive_without_those_before_them() -> None:
    """Among many cuts at one place there is one with the later write and without the earlier, and one torn inside."""
    log = [Entry(8192, b"a" * 1024), Entry(16384, b"b" * 1024)]
    recording = Recording(bytes(20480), log, [], 512)
    seen = {
        (kind, card[8192], card[8192 + 512], card[16384])
        for seed in range(40)
        for kind in ("some", "torn")
        for card in cards(recording, [(2, kind)], random.Random(seed))
    }
    assert ("some", 0, 0, ord("b")) in seen
    assert ("torn", 0, ord("a"), 0) in seen


def test_promises_follow_what_the_process_said() -> None:
    """Tried is not promised; ok promises; a start decides for good what became of the rest."""
    moments = [
        Moment(10, "start"),
        Moment(10, "try", {1: ("a", 1)}, cursor=0),
        Moment(12, "ok"),
        Moment(12, "try", {2: ("b", 2), 3: ("c", 3)}, cursor=1),
        Moment(20, "start", seen=frozenset({1, 3})),
    ]
    assert promised(moments, 11).kept == {}
    assert promised(moments, 12) == Promised({1: ("a", 1)}, {n: (c, n) for n, c in ((1, "a"), (2, "b"), (3, "c"))},
                                             set(), 0, {0, 1})  # fmt: skip
    assert promised(moments, 20).kept.keys() == {1, 3}
    assert promised(moments, 20).dead == {2}


def test_the_judge_sees_what_is_lost_changed_and_come_back(tmp_path: Path) -> None:
    """A record that is missing, one under another id and one that should be dead are three findings."""
    journal = Journal.open(tmp_path, options(512), SystemClock())
    for n in range(3):
        journal.append(Event(source="/gw/card", type="x_changed", data={"n": n}))
    journal.commit()
    true = shown(journal)
    journal.close()
    sound = Found()
    assert judge(tmp_path, 512, Promised(dict(true), dict(true)), sound) == ""
    assert (sound.acknowledged, sound.lost) == (3, 0)
    after = Promised(kept={**true, 77: ("x", 1)}, tried={1: true[1], 2: ("another", 2), 77: ("x", 1)}, dead={1})
    found = Found()
    said = judge(tmp_path, 512, after, found)
    assert (found.lost, found.changed_ids) == (1, 1)
    assert found.ghosts == 3  # 1 is dead, 3 and the judge's own record of before were never tried
    assert "lost [77]" in said
