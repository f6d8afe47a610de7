"""A candidate beside the live rules of a running gateway."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.system.rig import PATIENCE_S, House, acknowledged, device, own_listener, running, until

LIVE = """\
from gateway.rules import rule, timer

@rule("reading_taken")
def warm(event, ctx):
    if ctx.state.get("before") == 4: ctx.after("1s", later)
    ctx.state["before"] = event["temperature"]
    ctx.emit("warmth_noticed", {"level": round(event["temperature"])})
    if event["temperature"] >= 5: ctx.command("house/load:meter", "ring", 1)

@timer
def later(ctx):
    ctx.emit("later_noticed")
"""
CANDIDATE = LIVE.replace(">= 5", ">= 6").replace('round(event["temperature"])', 'min(8, round(event["temperature"]))')


def test_the_same_only_live_only_candidate(tmp_path: Path) -> None:
    """It goes on from the live state, timers too, and is told apart where it differs; nothing it does is recorded."""
    port, source = own_listener()
    house = House(tmp_path / "gw", source, f'[rules]\nfolder = "{tmp_path / "rules"}"')
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "warm.py").write_text(LIVE)
    draft = tmp_path / "drafts" / "warm.py"
    draft.parent.mkdir()
    draft.write_text(CANDIDATE)
    with running(house), device(port, "meter") as meter:
        until(lambda: house.status()["rules"]["loaded"])
        assert acknowledged(meter.count("meter", range(5)))  # the state the candidate begins with: before = 4
        until(lambda: len(house.events("--type", "warmth_noticed")) == 5)
        words = [sys.executable, "-m", "gateway", "rules", "shadow", str(draft), "--json"]
        with subprocess.Popen(
            [*words, "--config", str(house.file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            assert child.stderr is not None
            assert json.loads(child.stdout.readline())["rules"] == ["later", "warm"]  # it is where the live rules are
            assert acknowledged(meter.count("meter", range(5, 10)))
            until(lambda: len(house.events("--type", "later_noticed")) == 1)
            lines = [json.loads(child.stdout.readline()) for _ in range(10)]
            os.kill(child.pid, signal.SIGINT)  # what has no partner is told at the end, if not before
            out, err = child.stdout.read(), child.stderr.read()  # not `communicate`: it passes over what was read ahead
            child.wait(PATIENCE_S)
            lines += map(json.loads, out.splitlines()[:-1])
        assert (child.returncode, err) == (1, "")
        found = sorted((line["verdict"], _of(line)) for line in lines)
        assert found == [
            ("changed", "warmth_noticed"),
            ("only live", "command_requested"),
            *[("same", "command_requested")] * 4,
            ("same", "later_noticed"),
            *[("same", "warmth_noticed")] * 4,
        ]
        assert json.loads(out.splitlines()[-1])["summary"]["comparison"]["warm"]["same"] == 9
        assert len(house.events("--type", "warmth_noticed")) == 10, "the candidate's are not recorded"

        back = house("rules", "backtest", str(tmp_path / "rules" / "warm.py"), "--diff", "--json")
        assert (back.code, back.err) == (0, ""), back.out
        summary = json.loads(back.out.splitlines()[-1])["summary"]
        assert summary["comparison"] == {"warm": {"same": 16}}, "the journal of a running gateway: what it did, again"


def _of(line: dict[str, Any]) -> str:
    return str((line["candidate"] or line["live"])["type"])
