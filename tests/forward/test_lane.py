"""One lane of a route: what a kill could repeat, what waits, what a restart finds."""

from __future__ import annotations

from gateway.event import Lane
from gateway.forward.lane import RouteLane
from gateway.forward.progress import Progress
from gateway.routes import Route, Selection
from tests.forward.memory import MemoryLog


def lane_of(log: MemoryLog) -> tuple[Progress, RouteLane]:
    """Return how far a route is in the telemetry of a log, and its reading."""
    progress = Progress("cloud", Route(to="x"), log, Lane.TELEMETRY, Selection(Route(to="x")))
    return progress, progress.tail


def read(lane: RouteLane, log: MemoryLog) -> None:
    """Read on until something is ahead or all is read."""
    while not lane.ahead and lane.wants():
        lane.received(lane.read(), log.durable_sequence)


def test_events_are_exposed_until_a_cursor_behind_them_is_durable() -> None:
    """What was taken counts as exposed until a cursor that covers it was put and its batch is on the disk."""
    log = MemoryLog()
    log.events(20)
    log.commit()
    progress, lane = lane_of(log)
    read(lane, log)
    first, second = lane.fresh(10), lane.fresh(5)
    assert first is not None
    assert second is not None
    assert progress.exposed == 15
    lane.over(first)
    progress.put()
    assert progress.exposed == 15
    progress.durable(log.commit())
    assert progress.exposed == 5
    lane.over(second)
    assert progress.exposed == 5
    progress.put()
    progress.durable(log.commit())
    assert progress.exposed == 0


def test_one_retry_at_a_time() -> None:
    """While waiting events are under way no other waiting event leaves: it could pass one that fails."""
    log = MemoryLog()
    log.events(20)
    log.commit()
    _, lane = lane_of(log)
    read(lane, log)
    sending = lane.fresh(20)
    assert sending is not None
    lane.back(sending, range(20))
    retry = lane.retry(10)
    assert retry is not None
    assert lane.retry(10) is None
    lane.back(retry, [3])
    again = lane.retry(100)
    assert again is not None
    assert [event.sequence for event in again.events] == [4, *range(11, 21)]


def test_what_follows_a_waiting_event_of_its_device_waits_too() -> None:
    """New events of a device with a waiting event are held back; those of others leave."""
    log = MemoryLog()
    log.events(40, devices=10)
    log.commit()
    _, lane = lane_of(log)
    read(lane, log)
    sending = lane.fresh(10)
    assert sending is not None
    lane.back(sending, [3])
    fresh = lane.fresh(30)
    assert fresh is not None
    assert {event.subject for event in fresh.events} == {f"house/test:{n}" for n in range(10) if n != 3}
    retry = lane.retry(100)
    assert retry is not None
    assert [event.sequence for event in retry.events] == [4, 14, 24, 34]


def test_ranges_from_before_a_restart_outlive_many_new_holes() -> None:
    """A second crash does not repeat what a long range from before the first one covers, however many holes are new."""
    log = MemoryLog()
    log.events(1400, devices=700)
    log.commit()
    log.put("cursors", "route:cloud:telemetry", {"after": 0, "done": [[201, 1200]]})
    progress, lane = lane_of(log)
    read(lane, log)
    sending = lane.fresh(1000)
    assert sending is not None
    assert len(sending.events) == 200
    lane.back(sending, range(0, 200, 2))  # a hundred holes
    read(lane, log)
    rest = lane.fresh(1000)
    assert rest is not None
    assert rest.events[0].sequence == 1201
    progress.put()
    done = log.get("cursors", "route:cloud:telemetry")["done"]
    assert len(done) <= 64
    assert any(first <= 201 and last >= 1200 for first, last in done)


def test_a_cursor_of_before_the_restart_is_kept_while_its_ranges_are_ahead() -> None:
    """A put before the reading has crossed an old range still names that range."""
    log = MemoryLog()
    log.events(100)
    log.commit()
    log.put("cursors", "route:cloud:telemetry", {"after": 10, "done": [[21, 90]]})
    progress, lane = lane_of(log)
    read(lane, log)
    sending = lane.fresh(5)
    assert sending is not None
    assert [event.sequence for event in sending.events] == [11, 12, 13, 14, 15]
    lane.over(sending)
    progress.put()
    assert log.get("cursors", "route:cloud:telemetry") == {"after": 15, "done": [[21, 90]]}
