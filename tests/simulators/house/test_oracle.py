"""The oracle: each way in which what arrived can differ from what was sent is found, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.cli.main import main
from simulators.house.oracle import Arrived, SentRow, Verdict, judge, verify_files

DOOR, AIR, BELL = "house/z2m:door", "house/z2m:air", "house/z2m:bell"


def sent(*values: Any, device: str = DOOR, field: str = "open", **more: Any) -> list[SentRow]:
    """Return messages that say these values of a field, one after the other."""
    return [SentRow(n, device, {device: {field: value}}, **more) for n, value in enumerate(values, 1)]


def arrived(*values: Any, device: str = DOOR, field: str = "open", first: int = 1) -> list[Arrived]:
    """Return events that say these values."""
    return [Arrived(f"e{n}", "changed", device, {field: value}) for n, value in enumerate(values, first)]


def judged(said: list[SentRow], told: list[Arrived]) -> tuple[bool, dict[str, int]]:
    """Return whether the books balance, and what is not 0."""
    verdict = judge(said, told)
    names = ("lost", "wrong", "out_of_order", "duplicates", "restated", "dropped", "unheard")
    return verdict.balanced, {name: getattr(verdict, name) for name in names if getattr(verdict, name)}


def test_repeats_of_a_state_are_one_event() -> None:
    """A device that repeats its whole state is told of once a change, with or without its first value."""
    said = sent(False, False, True, True, True, False, False)
    assert judged(said, arrived(True, False)) == (True, {})
    assert judged(said, arrived(False, True, False)) == (True, {})


def test_what_is_lost() -> None:
    """An acknowledged change that did not arrive is lost, at the beginning, in the middle and at the end."""
    assert judged(sent(False, True, False), arrived(False)) == (False, {"lost": 2})
    assert judged(sent(False, True), arrived(False)) == (False, {"lost": 1})
    assert judged(sent(20.0, 25.0, 21.0, device=AIR, field="temperature"),
                  arrived(20.0, 21.0, device=AIR, field="temperature")) == (False, {"lost": 1})  # fmt: skip


def test_what_was_never_acknowledged_is_not_promised() -> None:
    """A message without an answer may have arrived or not."""
    said = [*sent(False), SentRow(2, DOOR, {DOOR: {"open": True}}, acked=False)]
    assert judged(said, arrived(False)) == (True, {})
    assert judged(said, arrived(False, True)) == (True, {})


def test_what_is_wrong() -> None:
    """A value that nobody sent is wrong; a temperature may be rounded, not bent."""
    said = sent(20.0, 21.04, device=AIR, field="temperature")
    assert judged(said, arrived(20.0, 21.0, device=AIR, field="temperature")) == (True, {})
    balanced, faults = judged(said, arrived(20.0, 69.9, device=AIR, field="temperature"))
    assert (balanced, faults["wrong"], faults["lost"]) == (False, 1, 1)


def test_what_is_out_of_order() -> None:
    """A value that comes again, behind what followed it, is out of order."""
    said = sent(18.0, 20.0, 22.0, device=AIR, field="temperature")
    balanced, faults = judged(said, arrived(18.0, 20.0, 22.0, 20.0, device=AIR, field="temperature"))
    assert (balanced, faults) == (False, {"out_of_order": 1})


def test_a_value_that_is_told_again() -> None:
    """The same value under another id, which nobody sent again, is restated: counted, and no fault of the books."""
    said = sent(20.0, 19.0, 21.0, 19.0, device=AIR, field="temperature")
    told = arrived(20.0, 19.0, 19.0, 21.0, 19.0, 19.0, device=AIR, field="temperature")
    assert judged(said, told) == (True, {"restated": 2})


def test_the_same_event_twice() -> None:
    """An id that arrives again is counted, and not an event again."""
    told = arrived(False, True)
    assert judged(sent(False, True), [*told, told[1]]) == (True, {"duplicates": 1})


def test_small_changes_may_stay_untold() -> None:
    """Changes below a sensible deadband need no event, as long as the far end is never far off."""
    said = sent(20.0, 20.1, 20.2, 20.3, 20.4, device=AIR, field="temperature")
    assert judged(said, arrived(20.0, device=AIR, field="temperature")) == (True, {})
    more = sent(20.0, 20.2, 20.4, 20.6, device=AIR, field="temperature")
    assert judged(more, arrived(20.0, device=AIR, field="temperature")) == (False, {"lost": 1})


def test_damage_proves_nothing() -> None:
    """Behind a garbled message anything may be known, until the next clean one; then the promise holds again."""
    said = [*sent(False), SentRow(2, DOOR, {DOOR: {"open": True}}, clean=False),
            SentRow(3, DOOR, {DOOR: {"open": False}}), SentRow(4, DOOR, {DOOR: {"open": True}})]  # fmt: skip
    assert judged(said, arrived(False, True)) == (True, {})
    assert judged(said, arrived(False)) == (False, {"lost": 1})


def test_every_press_counts() -> None:
    """Presses of a button say the same each time, and each has to arrive."""
    said = sent("single", "single", "single", device=BELL, field="button")
    assert judged(said, arrived("single", "single", "single", device=BELL, field="button")) == (True, {})
    assert judged(said, arrived("single", "single", device=BELL, field="button")) == (False, {"lost": 1})


def test_a_device_nobody_hears() -> None:
    """A device that changes and of which nothing arrives is named, apart from losses."""
    assert judged(sent(False, True), []) == (True, {"unheard": 1})
    assert judged(sent(False, False), []) == (True, {})


def test_admitted_losses_are_set_against() -> None:
    """What the gateway says it has dropped explains as many losses, not more."""
    told = Arrived("d", "events_dropped", "", {"count": 1}, "gateway")
    assert judged(sent(False, True), [*arrived(False), told]) == (True, {"lost": 1, "dropped": 1})
    assert judged(sent(False, True, False), [*arrived(False), told]) == (False, {"lost": 2, "dropped": 1})


def test_what_the_gateway_says_of_itself() -> None:
    """Heartbeats, records of changes, words on the clock and alerts are the gateway's own, and no device's."""
    kinds: tuple[tuple[str, str, str], ...] = (
        ("gateway_heartbeat", "", "gateway"), ("change_recorded", "", "person:anna"), ("clock_stepped", "", "gateway"),
        ("change_recorded", DOOR, "cloud"), ("alert_raised", DOOR, "rule:left_open"), ("mode_changed", "", "file:root"),
    )  # fmt: skip
    own = [Arrived(f"g{kind}{about}", kind, about, {"open": False}, actor) for kind, about, actor in kinds]
    said = sent(False, True)
    assert judged(said, [own[0], *arrived(False), *own[1:], *arrived(True, first=2)]) == (True, {})
    assert judge(said, own).of_devices == 0


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`verify` reads both files and says so by its exit code; a line it cannot read does not balance."""
    files = tmp_path / "sent.ndjson", tmp_path / "received.ndjson"
    for file, rows in zip(files, (sent(False, True), arrived(False, True)), strict=True):
        file.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    words = ("verify", "--far-end", str(files[1]))
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "balanced: all that was acknowledged arrived"
    files[1].write_bytes(files[1].read_bytes().splitlines()[0] + b"\n")
    assert main(words) == 1
    files[1].write_bytes(b"{\n")
    assert verify_files(files[1], files[0]).unreadable == 1
    assert main(("verify", "--far-end", str(tmp_path / "none"))) == 1
    assert Verdict().balanced
