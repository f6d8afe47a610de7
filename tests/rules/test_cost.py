"""What an event costs does not grow with the rules and devices there are: counted in calls, not in time."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.event import Event, encode
from gateway.rules.files.loader import load
from gateway.rules.testing import SimulatedHouse
from tests.benchmarks.rules import CASES, DEVICES_A_ROOM, Case, entries, write

SLACK = 2  # calls: a dictionary that exists only when there are other rules


def calls(act: Callable[[], object]) -> int:
    """Return how many functions are called, Python's and C's."""
    count = 0

    def profile(frame: object, what: str, argument: object) -> None:
        nonlocal count
        count += what in ("call", "c_call")

    before = sys.getprofile()
    gc.disable()  # what others do when garbage is collected is not part of it
    sys.setprofile(profile)
    try:
        act()
    finally:
        sys.setprofile(before)
        gc.enable()
    return count


def cost(folder: Path, case: Case, loaded: int, devices: int) -> int:
    """Return the calls of the engine for one event of a house that has been at it for a while."""
    write(folder, case, loaded, 12 * 3600.0)
    found = load(folder)
    assert [str(fault) for fault in found.faults] == []
    house = SimulatedHouse(found)
    house._entries = {entry.id: entry for entry in entries(devices)}
    house.restart()
    field = case.event_type.partition("_")[0]
    for value in (1.5, 2.5, 3.5):
        house.event(case.event_type, "house/z2m:device-7", **{field: value})
    assert len(house.outputs) == 3 * case.outputs
    event = Event(
        id="x-1", source="/test/house", type=case.event_type, subject="house/z2m:device-7", data={field: 4.5},
        time="2026-01-05T12:00:00Z", sequence=f"{10**9:016d}",
    )  # fmt: skip
    engine, raw, now_ns = house._engine, encode(event), house._time.now_ns
    return calls(lambda: engine.step([raw], 10**9, now_ns))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_index_and_no_scan(tmp_path: Path, case: Case) -> None:
    """With two hundred rules about the same fields elsewhere, and ten times the devices, nothing more is called."""
    alone = cost(tmp_path / "alone", case, 1, 2 * DEVICES_A_ROOM)
    assert alone > 0
    assert cost(tmp_path / "others", case, 200, 2 * DEVICES_A_ROOM) <= alone + SLACK
    assert cost(tmp_path / "many", case, 20, 20 * DEVICES_A_ROOM) <= alone + SLACK
