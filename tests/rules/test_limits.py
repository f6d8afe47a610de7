"""Limits of what rules put out and change: in a minute, on the gateway's side of the socket, behind their backs."""

from __future__ import annotations

import asyncio
import builtins
import gc
import os
import sys
from pathlib import Path

import pytest

from gateway.event import Event
from gateway.rules.engine.call import LimitReached
from gateway.rules.engine.context import Context
from gateway.rules.engine.rates import OUTPUTS_PER_MINUTE_MAX, Rates
from gateway.rules.protocol import Outcome
from gateway.rules.walls.fence import Fence
from gateway.rules.walls.integrity import Fingerprint
from gateway.rules.worker.admission import OUTPUTS_MAX, objection
from gateway.rules.worker.blame import BlameSlot, shared_memory
from gateway.rules.worker.guard import Guard
from gateway.rules.worker.prints import LINES_MAX, Prints
from tests.rules.rig import running

SOURCE = "/test/rules"
SECOND_NS = 1_000_000_000


def event(**changes: str) -> Event:
    """Return an event as a rule puts it out."""
    about = {"source": SOURCE, "type": "noise_made", "time": "2026-01-01T00:00:00Z"} | changes
    return Event(**about)  # type: ignore[arg-type]


def test_a_rule_has_so_many_outputs_a_minute() -> None:
    """A minute's worth is there at once, more comes as time goes on and not back; others have their own."""
    rates, start = Rates(), 10**18
    rates.output("loud", start, OUTPUTS_PER_MINUTE_MAX, 0, LimitReached)
    for at_ns in (start, start - 3600 * SECOND_NS):
        with pytest.raises(LimitReached, match="in a minute"):
            rates.output("loud", at_ns, 1, 0, LimitReached)
    rates.output("quiet", start, 1, 0, LimitReached)
    rates.output("loud", start + 30 * SECOND_NS, OUTPUTS_PER_MINUTE_MAX // 2, 0, LimitReached)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(4),
        Outcome(21),
        Outcome(20, [event(source="/test/house")]),
        Outcome(20, [event(type="timer_fired")]),
        Outcome(20, [event(lane="timer")]),
        Outcome(20, [event()] * (OUTPUTS_MAX + 1)),
        Outcome(20, puts=[("cursors", "rules", {"after": 10**9})]),
        Outcome(20, logs=[("x", "y")] * 10**4),
    ],
    ids=lambda outcome: objection(outcome, SOURCE, 5, 20)[:30],
)
def test_what_rules_may_not_do_is_not_taken(outcome: Outcome) -> None:
    """An answer nobody asked for, in a device's name, about time, or into a table that is the gateway's is refused."""
    assert objection(outcome, SOURCE, 5, 20)


def test_what_rules_do_is_taken() -> None:
    """An outcome of records that were sent, with outputs and rows of rules, is no matter for objection."""
    assert not objection(Outcome(20, [event()], [("rule_state", "a|b", 1)], logs=[("a", "b")]), SOURCE, 5, 20)


def test_changes_of_what_all_share_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A builtin, a method of the context, collection, the recursion limit: each change is named, and its end, too."""
    fingerprint = Fingerprint()
    assert not fingerprint.changed()
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "sorted", print)
        assert fingerprint.changed() == "builtins.sorted"
    with monkeypatch.context() as patch:
        patch.setattr(Context, "emit", print)
        assert fingerprint.changed() == "gateway.rules.engine.context.Context.emit"
    gc.disable()
    assert "collector" in fingerprint.changed()
    gc.enable()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 1)
    assert "recursion" in fingerprint.changed()
    sys.setrecursionlimit(limit)
    assert not fingerprint.changed()


def test_a_rule_that_keeps_all_others_waiting_is_refused(tmp_path: Path) -> None:
    """Slow calls of one rule have half of a minute together; then it has to wait, and other rules don't."""
    now_ns, slot = [0], BlameSlot(shared_memory("test"))
    guard = Guard(slot, Fence(str(tmp_path), {}), (), print, lambda *_: None, lambda: now_ns[0], memory_bytes_max=2**28)
    for number in range(31):
        guard.call(0, number, 1)
        now_ns[0] += SECOND_NS
        guard.done()
    with pytest.raises(LimitReached, match="kept all rules waiting for 31 s"):
        guard.call(0, 31, 1)
    guard.done()
    guard.call(1, 31, 2)
    guard.done()
    now_ns[0] += 60 * SECOND_NS
    guard.call(0, 32, 1)
    slot.close()


def test_the_memory_that_both_read_keeps_its_size() -> None:
    """Whoever truncates the blame slot is refused: reading behind its end would end the gateway."""
    memory = shared_memory("test")
    for size in (0, 8, 10**6):
        with pytest.raises(PermissionError):
            os.ftruncate(memory, size)
    os.close(memory)


def test_prints_are_a_few_lines_of_the_log() -> None:
    """What is printed has its rule's name; a flood keeps its first lines, and costs no memory."""
    prints = Prints()
    prints.who = lambda: "chatty"
    for number in range(10**4):
        print("line", number, file=prints)
    lines = prints.taken()
    assert lines[0] == ("chatty", "line 0")
    assert len(lines) == LINES_MAX
    assert not prints.taken()


def test_a_rule_that_prints_is_read_in_the_log(tmp_path: Path) -> None:
    """print() in a rule is a line of its log."""

    async def run() -> None:
        files = {"chatty.py": '@rule("door_opened")\ndef chatty(event, ctx): print("open", event["n"])'}
        async with running(tmp_path, files) as rig:
            rig.event("door_opened", n=3)
            await rig.settled()
            assert ("chatty", "open 3") in [(line.rule, line.text) for line in rig.rules.diary.lines()]

    asyncio.run(run())


def test_a_rule_that_answers_itself_by_timers_is_stopped(tmp_path: Path) -> None:
    """Each call sets the next and puts out all it may: over a minute's worth it fails, and is in quarantine."""
    rules = """
    @rule("door_opened")
    def starts(event, ctx): [ctx.after("1ms", again) for _ in range(100)]

    @timer
    def again(ctx):
        for _ in range(150): ctx.emit("noise_made")
    """

    async def run() -> None:
        async with running(tmp_path, {"loud.py": rules}) as rig:
            rig.event("door_opened")
            await rig.until(rig.rules.quarantined)
            assert rig.types().count("noise_made") <= 2 * OUTPUTS_PER_MINUTE_MAX
            assert any("in a minute" in fault.what for fault in rig.rules.faults)

    asyncio.run(run())
