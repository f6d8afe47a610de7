"""A saved rule file is live, or its last good version goes on; with the real watch, worker processes and journal."""

from __future__ import annotations

import asyncio
import os
import textwrap
from pathlib import Path

import pytest

from gateway.rules.worker.blame import Activity
from tests.rules.rig import Rig, running
from tests.rules.test_supervisor import kill

HEAD = "from gateway.rules import *\n"
STREAM_MAX = 40  # events that wait: a machine with much to do has not always more of them
SAYS = """
@rule("door_opened")
def says(event, ctx):
    ctx.state["count"] = ctx.state.get("count", 0) + 1
    ctx.emit("was_said", {{"version": {0}, "number": event["number"], "count": ctx.state["count"]}})
"""
OTHER = """
@rule("door_opened")
def other(event, ctx):
    ctx.emit("other_said", {{"version": {0}}})
"""


def save(rig: Rig, name: str, source: str) -> None:
    """Save a rule file as an editor does: beside, then over it."""
    file = rig.rules.edits.folder / name
    file.parent.mkdir(exist_ok=True)
    beside = file.with_name(f".{file.name}.new")
    beside.write_text(HEAD + textwrap.dedent(source))
    beside.rename(file)


async def live(rig: Rig, edits: int) -> None:
    """Wait until so many changes went live since the start."""
    await rig.until(lambda: rig.rules.edits.edits >= edits)


async def refused(rig: Rig, name: str, words: str) -> None:
    """Wait until a file is refused for a reason."""
    await rig.until(
        lambda: any(words in str(fault) for fault in getattr(rig.rules.edits.refused.get(name), "faults", ()))
    )


def said(rig: Rig, event_type: str = "was_said") -> list[int]:
    """Return the versions that spoke, in order."""
    return [event.data["version"] for event in rig.outputs if event.type == event_type]


async def speak(rig: Rig, number: int = 0) -> None:
    """Let a door be opened and everybody say what they have to."""
    rig.event("door_opened", number=number)
    await rig.settled()


def test_a_saved_file_is_live_and_the_old_one_never_speaks_again(tmp_path: Path) -> None:
    """Under a stream of events each is seen once, by one version, and versions only grow."""

    async def run() -> None:
        async with running(tmp_path, {"says.py": SAYS.format(0)}) as rig:
            number = 0
            for version in range(1, 4):
                save(rig, "says.py", SAYS.format(version))
                while rig.rules.edits.edits <= version:
                    if len(rig.rules._backlog) < STREAM_MAX:
                        rig.event("door_opened", number=number)
                        number += 1
                    await asyncio.sleep(0.002)
                at = len(rig.outputs)
                await speak(rig, number)
                number += 1
                assert {event.data["version"] for event in rig.outputs[at:]} == {version}
            spoken = [event for event in rig.outputs if event.type == "was_said"]
            assert [event.data["number"] for event in spoken] == list(range(number))
            assert [event.data["count"] for event in spoken] == list(range(1, number + 1)), "state goes on"
            assert said(rig) == sorted(said(rig))
            assert rig.rules.starts == 1
            changes = [event for event in rig.recorded if event.type == "rules_changed"]
            assert [list(event.data["files"]) for event in changes] == [["says.py"]] * 4
            assert {event.actor for event in spoken} == {rule for event in changes for rule in event.data["rules"]}

    asyncio.run(run())


def test_new_rules_see_what_the_old_ones_left_out(tmp_path: Path) -> None:
    """An event nobody looked at that is behind the cursor when new rules take over is theirs."""
    go = tmp_path / "rules" / "go"
    quiet = '@rule("window_opened")\ndef quiet(event, ctx): pass\n'
    slow = f"""
    import os, time
    @rule("lamp_changed")
    def slow(event, ctx):
        while not os.path.exists("{go}"): time.sleep(0.01)
    """

    async def run() -> None:
        async with running(tmp_path, {"quiet.py": quiet, "slow.py": slow}, call_s_max=100.0) as rig:
            process = rig.rules._process
            assert process is not None
            rig.event("lamp_changed")
            await rig.until(lambda: process.blame().activity is Activity.CALL)
            rig.event("lamp_changed")
            await rig.until(lambda: rig.rules._backlog.in_flight == 2)
            for number in range(5):
                rig.event("door_opened", number=number)
            rig.event("lamp_changed")  # the old worker has more to do when the new one is there
            save(rig, "quiet.py", SAYS.format(1))
            await rig.until(lambda: rig.rules._next is not None)
            for number in range(5, 10):
                rig.event("door_opened", number=number)
            go.touch()
            await live(rig, 2)
            await rig.settled()
            numbers = [event.data["number"] for event in rig.outputs if event.type == "was_said"]
            assert numbers == list(range(10)), "none is left out"
            (change,) = [e for e in rig.recorded if e.type == "rules_changed" and "quiet.py" in e.data["files"]][1:]
            first = next(e for e in rig.recorded if e.type == "door_opened")
            assert int(first.sequence) < int(change.sequence), "some of them were there before"

    asyncio.run(run())


def test_what_is_wrong_keeps_the_last_good_version_of_that_file_only(tmp_path: Path) -> None:
    """Broken text, a failing test, a hang, an exit, a name taken: named with file and line; other files go live."""
    wrong = {
        "def says(:": "says.py:2: not Python",
        SAYS.format(9) + "def test_no(house):\n    assert 1 == 2\n": "says.py:8: test_no fails: assert 1 == 2",
        SAYS.format(9) + "def test_spins(house):\n    while True: pass\n": "says.py:8: its test test_spins did not",
        "import time\ntime.sleep(60)\n": "says.py:3: loading it did not return within 1 s",
        "import os\nos._exit(4)\n": "says.py:1: loading it ended the worker with exit status 4",
        SAYS.format(9).replace("def says", "def other"): "says.py:3: there is a rule 'other' already",
        SAYS.format(9).replace("ctx.emit", "ctx.emti"): "says.py:6: ctx has no 'emti' (did you mean 'emit'?)",
    }

    async def run() -> None:
        files = {"says.py": SAYS.format(0), "other.py": OTHER.format(0)}
        async with running(tmp_path, files, load_s_max=1.0) as rig:
            for version, (source, words) in enumerate(wrong.items(), start=1):
                before = rig.rules.edits.edits
                save(rig, "says.py", source)
                save(rig, "other.py", OTHER.format(version))
                await refused(rig, "says.py", words)
                await live(rig, before + 1)
                at = len(rig.outputs)
                await speak(rig)
                assert [(event.type, event.data["version"]) for event in rig.outputs[at:]] == [
                    ("other_said", version),
                    ("was_said", 0),
                ]
                assert any("goes on" in text for text in rig.rules.status()["faults"])  # type: ignore[attr-defined]
            save(rig, "says.py", SAYS.format(8))
            await rig.until(lambda: not rig.rules.edits.refused)
            await speak(rig)
            assert said(rig)[-1] == 8
            assert rig.rules.starts == 1, "the live worker was never touched"

    asyncio.run(run())


def test_lib_reloads_its_dependents(tmp_path: Path) -> None:
    """A changed module of lib is live in the files that import it; one that breaks their tests is refused."""
    uses = """
    from lib.words import version
    @rule("door_opened")
    def says(event, ctx): ctx.emit("was_said", {"version": version()})
    def test_is_small(house):
        house.set("door-a", open=True)
        assert house.emitted[0].data["version"] < 100
    """
    files = {"lib/words.py": "from lib.deep import N\ndef version(): return N\n", "lib/deep.py": "N = 1\n"}

    async def run() -> None:
        async with running(tmp_path, {**files, "says.py": uses, "other.py": OTHER.format(0)}) as rig:
            actors = {rule.name: rule.actor for rule in rig.rules.rules}
            save(rig, "lib/deep.py", "N = 2\n")
            await live(rig, 2)
            await speak(rig)
            assert said(rig) == [2]
            now = {rule.name: rule.actor for rule in rig.rules.rules}
            assert now["says"] != actors["says"], "another version, by its lib"
            assert now["other"] == actors["other"]
            save(rig, "lib/deep.py", "N = 100\n")
            await refused(rig, "lib/deep.py", "test_is_small fails")
            (rig.rules.edits.folder / "lib" / "words.py").unlink()
            await refused(rig, "lib/words.py", "No module named 'lib.words'")
            await speak(rig)
            assert said(rig) == [2, 2]

    asyncio.run(run())


def test_deleted_and_renamed_files(tmp_path: Path) -> None:
    """A deleted file's rules are gone, a renamed one's go on with their state; the last one's too."""

    async def run() -> None:
        async with running(tmp_path, {"says.py": SAYS.format(0)}) as rig:
            await speak(rig)
            folder = rig.rules.edits.folder
            (folder / "says.py").rename(folder / "renamed.py")
            await live(rig, 2)
            await speak(rig)
            (folder / "renamed.py").unlink()
            await live(rig, 3)
            await speak(rig)
            save(rig, "again.py", SAYS.format(1))
            await live(rig, 4)
            await speak(rig)
            assert [event.data["count"] for event in rig.outputs if event.type == "was_said"] == [1, 2, 3]

    asyncio.run(run())


def test_half_a_file_and_odd_files_harm_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file written piece by piece, one that is a folder, a pipe, unreadable, or has Windows line ends."""
    monkeypatch.setattr("gateway.rules.files.writers.WRITING_S_MAX", 3600.0)  # however long the machine stands still

    async def run() -> None:
        async with running(tmp_path, {"says.py": SAYS.format(0)}) as rig:
            folder = rig.rules.edits.folder
            (folder / "folder.py").mkdir()
            os.mkfifo(folder / "pipe.py")
            (folder / "nowhere.py").symlink_to(folder / "missing")
            await refused(rig, "pipe.py", "can't be read")
            await refused(rig, "folder.py", "can't be read")
            text = (HEAD + SAYS.format(1)).replace("\n", "\r\n").encode()
            with (folder / "says.py").open("wb", buffering=0) as file:
                for at in range(0, len(text), 10):
                    file.write(text[at : at + 10])
                    await asyncio.sleep(0.02)
            await live(rig, 2)
            await speak(rig)
            assert said(rig) == [1]
            watched = rig.rules.edits._writers.watching
            with (folder / "says.py").open("wb", buffering=0) as file:
                file.write((HEAD + SAYS.format(2)).encode())  # half of it, and looks whole
                await asyncio.sleep(0.6)
                assert rig.rules.edits.edits == 2 or not watched, "who writes it has not closed it"
                file.write(b"VERSION = 3\n")
            await live(rig, 3)
            assert set(rig.rules.edits.refused) == {"folder.py", "pipe.py"}

    asyncio.run(run())


def test_the_first_rule_and_a_broken_file_at_the_start(tmp_path: Path) -> None:
    """Without rules no process runs; the first saved file starts one. Broken at a start, the last good version runs."""

    async def first() -> None:
        (tmp_path / "rules").mkdir()
        rig = Rig.make(tmp_path)
        async with rig.at_work():
            await rig.until(lambda: rig.rules.state.value == "none")
            assert rig.rules._process is None
            rig.event("door_opened", number=0)
            assert len(rig.rules._backlog) == 0, "nothing is kept for nobody"
            save(rig, "says.py", SAYS.format(3))
            await rig.until(lambda: rig.rules.state.value == "running")
            await speak(rig, 1)
            assert [event.data["number"] for event in rig.outputs if event.type == "was_said"] == [1]
            await rig.until(lambda: rig.rules.edits.store is not None and rig.rules.edits.store.index.current)

    async def second() -> None:
        (tmp_path / "rules" / "says.py").write_text("def says(")
        async with running(tmp_path, {}) as rig:
            await speak(rig)
            assert said(rig) == [3]
            (fault,) = rig.rules.status()["faults"]  # type: ignore[misc]
            assert "says.py:1: not Python" in fault
            assert "its last good version" in fault

    asyncio.run(first())
    asyncio.run(second())


def test_a_worker_killed_while_another_takes_over_loses_nothing(tmp_path: Path) -> None:
    """The live worker ends at every stage of a change: each event is seen once."""

    async def run() -> None:
        async with running(tmp_path, {"says.py": SAYS.format(0)}) as rig:
            number = 0
            for version in range(1, 6):
                save(rig, "says.py", SAYS.format(version))
                left = version * 20  # events until the kill: between the save and the change
                while rig.rules.edits.edits <= version:
                    if len(rig.rules._backlog) < STREAM_MAX:
                        rig.event("door_opened", number=number)
                        number += 1
                        left -= 1
                    if left == 0:  # deaths in a row that nobody explains would be the rule's
                        left = -1
                        await rig.until(lambda: rig.rules._verdicts.pause_s == 0)
                        await kill(rig)
                    await asyncio.sleep(0.004)
            await rig.settled()
            await rig.until(lambda: len(said(rig)) >= number)
            numbers = [event.data["number"] for event in rig.outputs if event.type == "was_said"]
            assert sorted(numbers) == list(range(number))
            assert len({event.id for event in rig.outputs}) == len(rig.outputs)

    asyncio.run(run())
