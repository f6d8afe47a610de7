"""Rules that fail: tried again alone, then a dead letter; quarantine, probation, recovery."""

from __future__ import annotations

from pathlib import Path

from gateway.rules.testing import SimulatedHouse
from tests.rules.scene import house, loaded

FAILS = """
@rule("door_opened")
def fails(event, ctx):
    ctx.emit("try_made")
    if event.device.name in ("door-bad", "door-worse"): raise ValueError("no")
    ctx.emit("try_passed", {"name": event.device.name})
@rule("door_opened")
def good(event, ctx): ctx.emit("good_done")
"""


def broken(folder: Path, source: str = FAILS) -> SimulatedHouse:
    """Return a house in which rules may raise."""
    here = house(folder, source)
    here.raises = False
    return here


def letters(here: SimulatedHouse) -> list[dict[str, object]]:
    """Return the data of all dead letters."""
    return [event.data for event in here.outputs if event.lane == "dead_letter"]


def types(here: SimulatedHouse) -> list[str]:
    """Return the types of the events put out."""
    return [event.type for event in here.emitted]


def test_a_failed_call_is_tried_three_times_and_then_a_dead_letter(tmp_path: Path) -> None:
    """At once, after a second, after ten; the dead letter names rule, reason and attempts and holds the event."""
    here = broken(tmp_path)
    here.set("door-bad", open=True)
    assert (len(here.faults), types(here), letters(here)) == (1, ["good_done"], [])
    here.advance("2s")
    assert (len(here.faults), letters(here)) == (2, [])
    here.advance("11s")
    (letter,) = letters(here)
    assert (letter["rule"], letter["reason"], letter["attempts"]) == ("fails", "ValueError: no", 3)
    assert letter["event"]["type"] == "door_opened"  # type: ignore[index]
    assert letter["event"]["subject"] == "house/test:door-bad"  # type: ignore[index]
    here.advance("1h")
    assert len(here.faults) == 3
    (dead,) = [event for event in here.outputs if event.type == "rule_failed"]
    assert dead.cause == letter["event"]["id"]  # type: ignore[index]


def test_the_rule_goes_on_with_other_events_meanwhile(tmp_path: Path) -> None:
    """One event that fails holds up neither the rule's next event nor other rules."""
    here = broken(tmp_path)
    here.set("door-bad", open=True)
    here.set("door-fine", open=True)
    assert types(here) == ["good_done", "try_made", "try_passed", "good_done"]


def test_a_retry_that_goes_well_puts_out_the_same_ids(tmp_path: Path) -> None:
    """What a later attempt puts out has the ids the first would have had."""
    source = """
    @rule("door_opened")
    def fails(event, ctx):
        ctx.emit("try_made")
        if not ctx.device("door-help").open and event.device.name != "door-help": raise ValueError("no")
    """
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    late, soon = broken(tmp_path / "a", source), broken(tmp_path / "b", source)
    for here in (late, soon):
        here.device("door-help", kind="door", open=here is soon)
        here.set("door-front", open=True)
    assert types(late) == []
    late.set("door-help", open=True)
    late.advance("2s")
    cause = soon.emitted[0].cause
    assert [event.id for event in late.emitted if event.cause == cause] == [soon.emitted[0].id]


def test_five_faults_in_a_row_are_quarantine(tmp_path: Path) -> None:
    """Its calls wait, unrun; an alert says so; nobody else is touched."""
    here = broken(tmp_path)
    for _ in range(5):
        here.set("door-bad", open=True)
        here.set("door-bad", open=False)
    assert here.alerts == ["rule_quarantined"]
    assert "fails" in here.alert_texts[0]
    here.set("door-fine", open=True)
    assert types(here) == ["good_done"] * 6
    assert len(here.faults) == 5


def test_quarantine_ends_and_what_waited_is_run_in_order(tmp_path: Path) -> None:
    """After the pause the calls are made; one that goes well clears the alert."""
    here = broken(tmp_path)
    for _ in range(5):
        here.set("door-bad", open=True)
        here.set("door-bad", open=False)
    for name in ("door-1", "door-2"):
        here.set(name, open=True)
    here.restart()
    here.advance("5h")
    assert here.alerts == []
    passed = [event.data["name"] for event in here.emitted if event.type == "try_passed"]
    assert passed == ["door-1", "door-2"]
    assert len(letters(here)) == 5


def test_pauses_grow(tmp_path: Path) -> None:
    """A rule that fails whenever it is tried is tried ever more rarely."""
    here = broken(tmp_path, '@rule("door_opened")\ndef fails(event, ctx): raise ValueError(event.device.name)\n')
    tried = []
    for minute in range(180):
        here.set("door-a", open=minute % 2 == 0)
        here.advance("1m")
        tried.append(len(here.faults))
    assert tried[5] >= 5
    assert tried[-1] - tried[60] <= 3


def test_an_edited_file_ends_the_quarantine(tmp_path: Path) -> None:
    """The author has mended it: what waits is run with the new version at once."""
    here = broken(tmp_path)
    for _ in range(5):
        here.set("door-bad", open=True)
        here.set("door-bad", open=False)
    here.reload(loaded(tmp_path, FAILS.replace('"door-bad", ', "")))
    assert here.alerts == []
    assert types(here).count("try_passed") == 5
    assert letters(here) == []


def test_a_condition_whose_begin_fails_is_tried_again_while_it_is_so(tmp_path: Path) -> None:
    """A begin that raises is retried while the condition is true, and given up after three attempts."""
    source = """
    @when(kind="door", open=True)
    def fails(door, ctx):
        if not ctx.device("door-help").open and door.name != "door-help": raise ValueError("no")
        ctx.emit("begin_done", {"name": door.name})
    """
    here = broken(tmp_path, source)
    here.set("door-a", open=True)
    here.set("door-b", open=True)
    here.set("door-b", open=False)
    here.set("door-help", open=True)
    here.advance("2s")
    assert sorted(event.data["name"] for event in here.emitted) == ["door-a", "door-help"]
    assert letters(here) == []
    here.set("door-help", open=False)
    here.set("door-c", open=True)
    here.advance("1h")
    assert [letter["attempts"] for letter in letters(here)] == [3]


def test_waiting_calls_are_bounded(tmp_path: Path) -> None:
    """When too many calls wait, further ones are dead letters, counted one by one; memory stays flat."""
    here = broken(tmp_path, '@rule("noise_heard")\ndef fails(event, ctx): raise ValueError("no")\n')
    for number in range(1200):
        here.event("noise_heard", "mic-hall", number=number)
    kept = [key for key in here.rows("rule_state") if "|parked|" in key]
    assert len(kept) <= 1000
    assert len(letters(here)) + len(kept) == 1200


def test_a_large_event_is_named_in_its_dead_letter(tmp_path: Path) -> None:
    """An event too large to be kept twice is given by id and size."""
    here = broken(tmp_path, '@rule("noise_heard")\ndef fails(event, ctx): raise ValueError("no")\n')
    here.event("noise_heard", "mic-hall", text="x" * 100_000)
    here.advance("1m")
    (letter,) = letters(here)
    assert letter["event_bytes"] > 100_000  # type: ignore[operator]
    assert "event" not in letter
