"""A journal too small for an outage: the cloud is told exactly how many events it will never see."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from simulators.broker import Mosquitto
from tests.system.rig import (
    House,
    acknowledged,
    broker_target,
    delivered,
    device,
    own_listener,
    readings,
    running,
    slow_link,
    until,
    watching,
)

RING = "[journal]\nbytes_max = '1MiB'\nsegment_bytes = '64KiB'\n"
ROUTE = "[routes.north]\nto = 'cloud'\ndropped_every_s = 0.1\n"
NAMES = ("hall", "attic")
BULK = 600  # bytes of each event that nobody compresses


def test_the_cloud_is_told_how_many_it_will_never_see(tmp_path: Path) -> None:
    """Five times the budget in an outage, and a kill in it: what was sent is what arrived and what was told dropped."""
    port, source = own_listener()
    broker = Mosquitto(tmp_path / "cloud").start()
    try:
        with slow_link(broker.port) as link, watching(broker.port) as cloud:
            house = House(tmp_path / "gw", RING, source, broker_target(link.url), ROUTE)
            with running(house):
                with device(port) as sender:
                    sent = _send(sender, 0, 20)
                    until(lambda: _arrived(cloud.arrived) == sent, lambda: len(cloud.arrived))
                    delivered(house)
                    house.ask("flush")  # the cursor is on the disk: a kill repeats nothing
                    link.cut()
                    sent += _send(sender, 20, 2000)
                house.kill()
                house.begin()
                with device(port, "again") as sender:
                    sent += _send(sender, 2000, 2500)
                link.restore()
                delivered(house)
                until(lambda: _arrived(cloud.arrived) + _told(cloud.arrived) >= sent, lambda: _told(cloud.arrived))
                until(lambda: _reset(house), house.status)
                status = house.status()
    finally:
        broker.stop()
    assert _told(cloud.arrived) > 1000
    assert _arrived(cloud.arrived) + _told(cloud.arrived) == sent
    lanes = {lane["name"]: lane["dropped"] for lane in status["lanes"]}
    assert lanes == {"alarm": 0, "telemetry": _told(cloud.arrived)}
    assert status["dead_letters"] == 0


def _send(sender: Any, first: int, end: int) -> int:
    """Send readings of two devices and wait until they are acknowledged; return how many."""
    sent = []
    for number in range(first, end):
        for name in NAMES:
            sent += sender.count(name, range(number, number + 1), bulk=BULK)
    assert acknowledged(sent)
    return len(sent)


def _reset(house: House) -> bool:
    """Return whether no counter is left to be told."""
    house.ask("flush")
    told = house.ask("table", name="told").values()
    return not house.ask("table", name="gaps") and not any(row["pending"] for row in told)


def _arrived(events: list[dict[str, Any]]) -> int:
    """Return how many readings arrived, repeats left out."""
    return sum(len(numbers) for numbers in readings(events).values())


def _told(events: list[dict[str, Any]]) -> int:
    """Return how many the cloud was told it will not see, by this route, in telemetry; each id says one thing."""
    told = {event["id"]: event["data"] for event in list(events) if event["type"] == "events_dropped"}
    assert Counter(data["route"] for data in told.values()) == Counter({"north": len(told)})
    assert all(data["lane"] == "telemetry" and data["first_time"] <= data["last_time"] for data in told.values())
    return sum(data["count"] for data in told.values())
