"""Hours, windows and waiting rules in the real worker with the real journal, killed on the way."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import NS_PER_S, wall_ns_of
from gateway.event import Event
from gateway.rules.options import Location
from gateway.rules.protocol import DeviceEntry
from gateway.rules.testing import house_for
from gateway.rules.worker.timekeeper import Timekeeper
from tests.rules.rig import PATIENCE_S, MovedClock, Rig, running
from tests.rules.test_schedule import YEAR_S, FakeClock, row
from tests.rules.test_supervisor import kill

WAITING = {
    "waits.py": """
    @rule("button_pressed", debounce="1h")
    def debounced(event, ctx): ctx.emit("debounced", {"number": event["number"]})

    @rule("button_pressed", over=session("1h"))
    def ended(event, ctx): ctx.emit("ended", {"number": event.window.count})

    @rule("button_pressed", unless="door_closed", within="1h", same="device")
    def missed(event, ctx): ctx.emit("missed", {"number": event["number"]})

    @rule("door_opened", after="button_pressed", within="1d", same="house")
    def followed(event, ctx): ctx.emit("followed", {"number": event.earlier["number"]})

    @rule("door_opened", over=sliding("1d", count=2))
    def twice(event, ctx): ctx.emit("twice", {"number": event.window.count})

    @rule("poked")
    def poke(event, ctx): ctx.after("30d", nothing)  # a timer that moves wakes who waits for timers

    @timer
    def nothing(ctx): pass
    """
}


async def next_worker(rig: Rig) -> None:
    """End the worker while no rule runs, and wait for the next one."""
    starts = rig.rules.starts
    await kill(rig)
    await rig.until(lambda: rig.rules.starts > starts and rig.rules.state.value == "running")


def test_what_waits_runs_once_though_the_worker_is_killed(tmp_path: Path, moved: type[MovedClock]) -> None:
    """Debounce, sessions, absence and sequences go on in the next worker, from rows and timers in the journal."""

    async def run() -> None:
        async with running(tmp_path, WAITING) as rig:
            for number in (1, 2):
                rig.event("button_pressed", number=number)
            rig.event("door_opened", number=3)
            await rig.settled()
            await next_worker(rig)
            rig.event("door_opened", number=4)
            await rig.settled()
            assert {event.type for event in rig.outputs} == {"followed", "twice"}, "the rest waits"
            moved.sleep(3601)
            rig.event("poked", "")
            wanted = {"debounced": 2, "ended": 2, "missed": 1, "followed": 2, "twice": 2}
            await rig.until(lambda: {event.type for event in rig.outputs} >= set(wanted))
            await next_worker(rig)
            rig.event("door_closed")
            await rig.settled()
            found = [(event.type, event.data["number"]) for event in rig.outputs if event.type in wanted]
            assert sorted(found) == sorted(wanted.items())

    asyncio.run(run())


def test_the_sun_and_the_zone_are_at_hand_inside_the_walls(tmp_path: Path, moved: type[MovedClock]) -> None:
    """A worker that may read next to nothing knows sunset and summer time."""
    moved.wall_moved_ns = wall_ns_of("2027-06-09T03:00:00Z") - time.time_ns()  # Wednesday, noon in Tokyo
    files = {
        "sun.py": """
        @rule("door_opened", between=("sunset-1h..sunrise", "sunrise-1h..sunset"))
        def always(event, ctx): ctx.emit("open", {"zone": str(ctx.now.tzinfo)})

        @rule("door_opened", between="03:00-03:01", days="mon")
        def never(event, ctx): ctx.emit("closed")

        @when(kind="door", open=True, between="00:00-24:00")
        def so(door, ctx): ctx.emit("so")

        @at("sunset+10m", "04:00")
        def later(ctx): pass
        """
    }

    async def run() -> None:
        where = {"timezone": "Asia/Tokyo", "location": Location(latitude=35.68, longitude=139.69)}
        async with running(tmp_path, files, **where) as rig:
            await rig.settled()
            assert [str(fault) for fault in rig.rules.faults] == []
            rig.event("door_opened", open=True)
            await rig.until(lambda: {"open", "so"} <= set(rig.types()))
            assert "closed" not in rig.types()
            assert next(event.data["zone"] for event in rig.outputs if event.type == "open") == "Asia/Tokyo"
            kinds = {row["kind"] for row in rig.journal.table("timers").values()}
            assert kinds == {"at", "hours"}

    asyncio.run(run())


LEFT_OPEN = """
@when(kind="door", open=True, lasts="30m")
def left_open(door, ctx): ctx.alert(f"{door.name} is open", lane="alarm")

@rule("poked")
def poke(event, ctx): ctx.after("1d", nothing)  # a timer that moves wakes who waits for timers

@timer
def nothing(ctx): pass
"""


def test_door_open_for_half_an_hour(tmp_path: Path, moved: type[MovedClock]) -> None:
    """Across an edit, a killed worker, a restart of the gateway and a jump of years it fires once, when it is time."""
    doors = [DeviceEntry("house/test:door-front", "door-front", "hall", "door")]

    async def passes(rig: Rig, seconds: float) -> None:
        moved.sleep(seconds)
        rig.event("poked", "")
        await rig.settled()

    async def run() -> None:
        async with running(tmp_path, {"left.py": LEFT_OPEN}, doors) as rig:
            rig.event("door_opened", open=True)
            opened_ns = rig.clock.boot_ns()
            await passes(rig, 600)
            file = tmp_path / "rules" / "left.py"
            file.write_text(file.read_text().replace("is open", "stands open"))
            await rig.until(lambda: rig.rules.edits.edits >= 2)
            await next_worker(rig)
            moved.wall_moved_ns += round(20 * YEAR_S * NS_PER_S)
            await passes(rig, 600)
            assert rig.outputs == []
            values = rig.values
        rig = Rig.make(tmp_path, doors)
        rig.values = values
        async with rig.at_work():
            await rig.until(lambda: rig.rules.state.value == "running")
            moved.wall_moved_ns -= round(9 * YEAR_S * NS_PER_S)
            await passes(rig, 500)
            assert rig.outputs == []
            await passes(rig, 101)
            await rig.until(lambda: rig.outputs)
            await next_worker(rig)
            await passes(rig, 3600)
            (alert,) = rig.outputs
            assert alert.data["text"] == "door-front stands open"
            late_s = (rig.clock.wall_ns() - wall_ns_of(alert.time)) / NS_PER_S  # by the clock as it is now
            assert (rig.clock.boot_ns() - opened_ns) / NS_PER_S - late_s == pytest.approx(1800, abs=5)

    asyncio.run(run())


def test_a_clock_that_is_set_becomes_a_record(tmp_path: Path) -> None:
    """The timekeeper says it before it says which timers are due."""

    async def run() -> None:
        clock, appended = FakeClock(), list[Event]()
        keeper = Timekeeper("gw", clock, appended.append)
        keeping = asyncio.create_task(keeper.run())
        await asyncio.sleep(0)
        clock.wall_s += YEAR_S
        keeper.scheduled("timers", "a", {**row(clock, 0), "rule": "x", "kind": "after"})
        async with asyncio.timeout(PATIENCE_S):
            while len(appended) < 2:
                await asyncio.sleep(0.01)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        assert [event.type for event in appended] == ["clock_set", "timer_fired"]
        assert appended[0].data == {"jumped_s": YEAR_S}
        assert (appended[0].lane, appended[0].clock) == ("timer", None)

    asyncio.run(run())


EVERYTHING = """
from gateway.rules import *
def say(ctx, what, **more): ctx.emit(what, more | {"at": ctx.now.isoformat()})

@rule("button_pressed", debounce="20s")
def debounced(event, ctx): say(ctx, "debounced", of=event.time.isoformat())

@rule("button_pressed", over=tumbling("1m"))
def tumbled(event, ctx): say(ctx, "tumbled", n=event.window.count, of=event.device.name)

@rule("button_pressed", over=sliding("90s", count=3, per="room"), cooldown="1m")
def slid(event, ctx): say(ctx, "slid", n=event.window.count)

@rule("button_pressed", over=session("40s"))
def ended(event, ctx): say(ctx, "ended", n=event.window.count)

@rule("door_opened", after="button_pressed", within="30s", same="room")
def followed(event, ctx): say(ctx, "followed", of=event.earlier.time.isoformat())

@rule("door_opened", unless="button_pressed", within="30s", same="room", between="12:00-12:08")
def alone(event, ctx): say(ctx, "alone")

@when(kind="door", open=True, lasts="10s", between=("12:02-12:04", "12:05-12:06"))
def so(door, ctx): say(ctx, "so")
@so.end
def over(door, ctx): say(ctx, "so_over")

@at("12:03")
def once(ctx): say(ctx, "once")

@at(cron="*/2 * * * *")
def often(ctx): say(ctx, "often")
"""


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from(["a", "b", "door", "late"])), min_size=3, max_size=25))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_a_restart_between_any_two_events_changes_nothing(steps: list[tuple[int, str]]) -> None:
    """Whatever waits, counts or is open is in rows: with a restart after each event the same comes out."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "all.py"
        file.write_text(EVERYTHING)
        found = []
        for restarts in (False, True):
            here = house_for(file)
            for name in ("button-a", "button-b", "door-x"):
                here.device(name, kind=name.partition("-")[0], room="hall")
            for seconds, what in steps:
                here.advance(seconds)
                if what == "door":
                    here.set("door-x", open=not here.device("door-x", kind="door", room="hall").open)
                else:
                    here.event("button_pressed", f"button-{'a' if what == 'late' else what}", ago=45 * (what == "late"))
                if restarts:
                    here.restart()
            here.advance("5m")
            found.append([(event.type, event.data) for event in here.emitted])
            assert here.faults == []
        assert found[0] == found[1]
