"""Rules that do harm: each is stopped at its limit, blamed by name, and the others go on. All with the real process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from gateway.rules.protocol import Outcome, Tried, frame
from simulators.harms import EACH_DESCRIPTOR, EVENT, HARMS, Harm
from tests.rules.rig import Rig, running

GOOD = """
@rule("reading_taken")
def good(event, ctx):
    ctx.emit("reading_noted", {"count": event["count"]})
"""
RUNAWAY = """
@rule("door_opened")
def bad(event, ctx):
    x = 1
    while x:
        x += 1
"""
CALL_S_MAX = 0.5  # where rules hang
UNHURRIED_S = 30.0  # where they work, on a machine that is busy


def files_of(harms: Sequence[Harm]) -> dict[str, str]:
    """Return the rule files of harms, and of the rule that has to go on."""
    return {"good.py": GOOD} | {f"{harm.rule}.py": harm.file for harm in harms}


def said_of(rig: Rig, harm: Harm) -> str:
    """Return what the gateway said of a harm's rule so far."""
    return "\n".join(line.text for line in rig.rules.diary.lines(harm.rule) if line.kind == "fault")


async def suffer(rig: Rig, harms: Sequence[Harm]) -> dict[str, str]:
    """Let each harm happen, one after the other; return the workers that each took, and what was said."""
    found, count = {}, 0
    for harm in harms:
        starts = rig.rules.starts
        for _ in range(harm.repeats):
            count += 1
            rig.event(EVENT, f"house/load:{harm.device}", count=count)
            await rig.settled()
        if harm.kind != "quiet":
            await rig.until(partial(said_of, rig, harm))
        await rig.settled()
        what = "ends" if rig.rules.starts > starts else "refused" if said_of(rig, harm) else "quiet"
        found[harm.name] = what if harm.says in said_of(rig, harm) else said_of(rig, harm)
    noted = [event.data["count"] for event in rig.outputs if event.type == "reading_noted"]
    assert noted == list(range(1, count + 1)), "the other rule saw each event once, in order"
    assert len({event.id for event in rig.outputs}) == len(rig.outputs)
    return found


def of_kind(kind: str) -> list[Harm]:
    """Return the harms of a kind, one for each way they are stopped."""
    return [harm for harm in HARMS if harm.kind == kind and not harm.alike]


async def suffer_all(folder: Path, kind: str, harms: Sequence[Harm], limit_s: float) -> None:
    """Let harms of a kind happen in one gateway, and judge them together."""
    async with running(folder, files_of(harms), call_s_max=limit_s) as rig:
        found = await suffer(rig, harms)
        assert found == {harm.name: harm.kind for harm in harms}
        faults = {line.rule: line for line in rig.rules.diary.lines() if line.kind == "fault"}
        lost = [name for name, fault in faults.items() if not (fault.file.endswith(f"{name}.py") and fault.line)]
        assert not lost, "each fault has file and line"
        if kind == "ends":
            raised = {event.subject for event in rig.outputs if event.type == "alert_raised"}
            assert raised == {f"rule:{harm.rule}" for harm in harms}, "each is in quarantine, and nobody else"
        else:
            assert rig.rules.starts == 1
        assert "noise_made" not in rig.types()


ENDING = [harm for harm in of_kind("ends") if harm.name != "leaks"]
AT_ONCE = 4  # harms in one gateway: over before the first of them is tried again


@pytest.mark.parametrize("first", range(0, len(ENDING), AT_ONCE), ids=lambda first: ENDING[first].rule)
def test_what_ends_the_worker_is_blamed_and_stops_nobody(tmp_path: Path, first: int) -> None:
    """Each harm ends the worker at most, in its own name with file and line; the other rule misses nothing."""
    asyncio.run(suffer_all(tmp_path, "ends", ENDING[first : first + AT_ONCE], CALL_S_MAX))


def test_a_leak_has_an_owner(tmp_path: Path) -> None:
    """Who keeps most of the memory there is ends the worker in its own name; the other rule misses nothing."""
    harms = [harm for harm in HARMS if harm.name == "leaks"]
    asyncio.run(suffer_all(tmp_path, "ends", harms, UNHURRIED_S))


def test_what_is_refused_ends_with_its_call(tmp_path: Path) -> None:
    """Each harm is refused by name with file and line; the worker and the other rule live on, nothing of it remains."""
    asyncio.run(suffer_all(tmp_path, "refused", of_kind("refused"), UNHURRIED_S))


def test_what_is_bounded_does_nothing(tmp_path: Path) -> None:
    """What a rule leaves for the end of the worker does not run, and of its lines twenty are kept."""
    asyncio.run(suffer_all(tmp_path, "quiet", of_kind("quiet"), UNHURRIED_S))


def test_a_runaway_is_named_with_the_line_it_hangs_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log shows the line where the rule was when it was ended, and its stack."""

    async def run() -> None:
        async with running(tmp_path, {"bad.py": RUNAWAY}, call_s_max=0.3) as rig:
            rig.event("door_opened")
            await rig.until(lambda: "alert_raised" in rig.types())

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert "bad.py:6: rule bad did" in caplog.text or "bad.py:7: rule bad did" in caplog.text
    assert "in bad" in caplog.text


def test_a_file_that_hangs_while_it_is_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file whose top level never ends is left out; the others are loaded."""

    async def run() -> None:
        async with running(tmp_path, {"bad.py": "while True: pass\n", "good.py": GOOD}, load_s_max=0.5) as rig:
            rig.event(EVENT, count=7)
            await rig.until(lambda: rig.types() == ["reading_noted"])
            await rig.until(lambda: any("bad.py" in str(fault) for fault in rig.rules.faults))

    asyncio.run(run())


@pytest.mark.parametrize(
    "forged", [b"\x00" * 100, frame(Tried(0, [])), frame(Outcome(10**6))], ids=["no", "Tried", "Outcome"]
)
def test_a_file_that_forges_answers_while_it_is_loaded(tmp_path: Path, forged: bytes) -> None:
    """A file that writes to the worker's socket is refused by name; the others are loaded, the gateway lives."""
    top = EACH_DESCRIPTOR.format(what=f"os.write(fd, {forged!r})")

    async def run() -> None:
        async with running(tmp_path, {"bad.py": top, "good.py": GOOD}) as rig:
            rig.event(EVENT, count=7)
            await rig.until(lambda: rig.types() == ["reading_noted"])
            await rig.until(lambda: any("bad.py" in str(fault) for fault in rig.rules.faults))
            assert not any("good.py" in str(fault) for fault in rig.rules.faults)

    asyncio.run(run())


def test_a_circle_of_rules_ends(tmp_path: Path) -> None:
    """Two rules that react to each other stop after a few hops, as a fault of the last one."""

    async def run() -> None:
        files = {
            "circle.py": """
            @rule("door_opened", "pong_sent")
            def ping(event, ctx): ctx.emit("ping_sent")
            @rule("ping_sent")
            def pong(event, ctx): ctx.emit("pong_sent")
            """
        }
        async with running(tmp_path, files) as rig:
            rig.event("door_opened")
            await rig.until(lambda: rig.rules.faults)
            await rig.settled()
            assert rig.types().count("ping_sent") == 4
            assert "in a circle" in rig.rules.faults[0].what

    asyncio.run(run())
