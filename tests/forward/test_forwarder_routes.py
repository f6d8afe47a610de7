"""What a route takes, at what pace, from where and to the end: the forwarder over a journal in memory."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from gateway.event import Event, Lane
from gateway.routes import Route
from tests.forward.memory import MemoryLog, judge
from tests.forward.scene import WAIT_S, durable_after, running
from tests.forward.scripted import ScriptedTarget


def test_routes_filter_and_held_records_stay() -> None:
    """A route carries what its selectors take, and never a held record; its cursor passes the rest."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget()
        log.events(100)
        log.append(
            Event(source="/gw/house", type="temperature_changed", subject="house/test:3", held=True, data={"n": 1})
        )
        log.events(3, lane="alarm", start=200)
        log.commit()
        async with running(log, target, types=("temperature_*",), devices=("*:3", "*:4", "!*:4")) as rig:
            await rig.until(rig.over)
            await rig.until(lambda: durable_after(log) >= 101)
        assert target.numbers() == list(range(3, 100, 10))

    asyncio.run(main())


def test_a_limited_drain_never_slows_alarms_or_live_events() -> None:
    """`drain_per_s` holds back what waited through an outage, and nothing else."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget()
        log.events(100)
        log.commit()
        async with running(log, target, drain_per_s=200) as rig:
            began = asyncio.get_running_loop().time()
            await rig.until(rig.over)
            assert asyncio.get_running_loop().time() - began >= 0.2
            await rig.until(lambda: durable_after(log) == 100)
        log, slow = log.crash(), 0.1  # limited, what follows would take an hour
        async with running(log, target, drain_per_s=slow) as rig:
            await rig.until(lambda: rig.forwarder.status().state == "idle")
            log.events(400, start=1000)
            rig.commits.commit()
            await rig.until(rig.over)
            assert len(target.arrived) == 500
        log.events(100, start=2000)
        log.commit()
        async with running(log, target, drain_per_s=slow) as rig:
            await rig.until(lambda: len(target.arrived) > 500)
            log.events(1, lane="alarm", start=5000)
            rig.commits.commit()
            await rig.until(lambda: 5000 in target.numbers())
            assert len(target.arrived) < 600

    asyncio.run(main())


def test_old_records_are_read_beside_the_loop() -> None:
    """Records that must come from the disk are read on another thread, with the same result."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(windows=3)
        log.old = True
        ids = log.events(5000)
        log.commit()
        async with running(log, target) as rig:
            await rig.until(rig.over)
        assert judge(target.arrived) == (set(ids), 0, 0)

    asyncio.run(main())


def test_windows_are_used_and_kept() -> None:
    """As many sends are in flight as the target allows, not more."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=10, windows=4, delay_s=0.002)
        log.events(500)
        log.commit()
        async with running(log, target) as rig:
            await rig.until(rig.over)
        assert target.most_at_once == 4

    asyncio.run(main())


def test_a_record_that_is_no_event_stops_nothing() -> None:
    """A record that can't be read as an event is dead-lettered; what is behind it arrives."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget()
        log.events(10)
        lane, record = log.records[4]
        log.records[4] = (lane, msgspec.structs.replace(record, raw=b'{"no":"event"}'))
        log.commit()
        async with running(log, target) as rig:
            await rig.until(lambda: len(target.arrived) == 9)
            await rig.until(lambda: len(log.letters()) == 1)
        assert log.letters()[0].data["event"] == {"no": "event"}

    asyncio.run(main())


def test_finish_waits_for_what_is_in_flight() -> None:
    """After `finish` and one commit a restart repeats nothing."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=10, windows=3, delay_s=0.005)
        log.events(1000)
        log.commit()
        async with running(log, target) as rig:
            await rig.until(lambda: len(target.arrived) >= 200)
            await rig.forwarder.finish(WAIT_S)
            rig.commits.commit()
        again = ScriptedTarget(batch_max=100)
        async with running(log.crash(), again) as rig:
            await rig.until(rig.over)
        assert judge(target.arrived + again.arrived)[1] == 0
        assert len(target.arrived) + len(again.arrived) == 1000

    asyncio.run(main())


def test_what_the_end_leaves_unanswered_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """An end that does not wait any longer says how many events go again after a start."""
    caplog.set_level("INFO")

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(delay_s=3600)
        log.events(10)
        log.commit()
        async with running(log, target) as rig:
            await rig.until(lambda: bool(target.batches))
            await rig.forwarder.finish(0.01)

    asyncio.run(main())
    assert "10 events without an answer at the end" in caplog.text


def test_a_new_route_starts_where_it_is_told() -> None:
    """A route without a cursor begins with the oldest kept event, or with what comes if `start` says newest."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget()
        log.events(10)
        log.commit()
        async with running(log, target, start="newest") as rig:
            await rig.until(lambda: "cursors" in log.durable_tables)
            log.events(5, start=10)
            rig.commits.commit()
            await rig.until(rig.over)
        assert target.numbers() == [10, 11, 12, 13, 14]

    asyncio.run(main())


def test_lanes_of_a_route() -> None:
    """A route of alarms reads alarms only, whatever the order of its lanes in the config."""
    assert Route(to="x", lanes=("telemetry", "alarm")).reads == (Lane.ALARM, Lane.TELEMETRY)
    assert Route(to="x", lanes=("alarm",)).reads == (Lane.ALARM,)
