"""The far end: each fault a gateway can have is seen when it is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulators import wire
from simulators.broker import Mosquitto
from simulators.far_end import FarEnd, Findings, Judge, reading_in_data


def cloud_event(event_id: str, counter: int | None, device: str = "house/z2m:hall") -> bytes:
    """Make the CloudEvent of a reading."""
    data = {} if counter is None else {"counter": counter, "temperature": 20.5}
    return json.dumps({"specversion": "1.0", "id": event_id, "type": "x", "subject": device, "data": data}).encode()


def judged(*events: bytes, acknowledged: dict[str, int] | None = None) -> Findings:
    """Show events to a fresh judge and return what it found."""
    judge = Judge()
    for at, event in enumerate(events):
        judge.show(event, at)
    return judge.findings(acknowledged)


def test_all_well() -> None:
    """Readings that arrive once, in order, are clean."""
    found = judged(*(cloud_event(f"a-{n}", n) for n in range(1, 6)), acknowledged={"house/z2m:hall": 5})
    assert found.clean
    assert (found.received, found.unique_ids, found.readings, found.repeats) == (5, 5, 5, 0)


def test_loss_is_seen() -> None:
    """A reading that was acknowledged and is not there is missing, by name."""
    found = judged(
        cloud_event("a-1", 1), cloud_event("a-3", 3), acknowledged={"house/z2m:hall": 3, "house/z2m:attic": 1}
    )
    assert not found.clean
    assert found.missing == 2
    assert found.examples["missing"] == ["house/z2m:hall #2", "house/z2m:attic #1"]


def test_repeat_is_seen() -> None:
    """The same id again is a repeat and nothing worse."""
    found = judged(cloud_event("a-1", 1), cloud_event("a-2", 2), cloud_event("a-1", 1))
    assert (found.repeats, found.two_ids, found.out_of_order, found.clean) == (1, 0, 0, True)


def test_two_ids_are_seen() -> None:
    """One reading under two ids is a message that became two events."""
    found = judged(cloud_event("a-1", 1), cloud_event("b-1", 1), cloud_event("b-2", 2))
    assert (found.two_ids, found.repeats, found.clean) == (1, 0, False)
    assert found.examples["two_ids"] == ["house/z2m:hall #1: a-1, b-1"]


def test_disorder_is_seen_per_device() -> None:
    """A first arrival behind a later one of the same device is disorder; devices do not wait for each other."""
    found = judged(
        cloud_event("a-2", 2), cloud_event("b-1", 1, "house/z2m:attic"), cloud_event("a-1", 1), cloud_event("a-3", 3)
    )
    assert (found.out_of_order, found.clean) == (1, False)
    assert found.examples["out_of_order"] == ["house/z2m:hall #1 after #2"]


def test_unexpected_reading_is_seen() -> None:
    """A reading that nobody was acknowledged for is one too many."""
    found = judged(cloud_event("a-1", 1), cloud_event("a-2", 2), acknowledged={"house/z2m:hall": 1})
    assert (found.unexpected, found.clean) == (1, False)
    assert found.examples["unexpected"] == ["house/z2m:hall #2"]


def test_order_of_some_does_not_matter() -> None:
    """Readings of an unordered device are lost or doubled like others, but never late."""
    judge = Judge(unordered={"house/z2m:hall"})
    for counter in (2, 1):
        judge.show(cloud_event(f"a-{counter}", counter), counter)
    assert judge.findings({"house/z2m:hall": 2}).clean


def test_repeat_is_no_disorder() -> None:
    """A repeated early event behind later ones keeps the order of first arrivals."""
    found = judged(*(cloud_event(f"a-{n}", n) for n in (1, 2, 3, 1, 2, 4)))
    assert (found.repeats, found.out_of_order) == (2, 0)


def test_batches_are_opened() -> None:
    """A JSON array holds several events."""
    found = judged(b"[" + cloud_event("a-1", 1) + b"," + cloud_event("a-2", 2) + b"]")
    assert found.readings == 2


def test_events_without_a_reading_are_counted_apart() -> None:
    """The gateway's own events are neither lost nor found."""
    found = judged(cloud_event("a-1", 1), cloud_event("gw-1", None))
    assert (found.unread, found.readings, found.received) == (1, 1, 2)


def test_handed_over_again_is_the_brokers() -> None:
    """A redelivery by the cloud broker is not the gateway's repeat, but a first sight of an event counts as such."""
    judge = Judge()
    judge.show(cloud_event("a-1", 1), 0, handed_over_again=True)
    judge.show(cloud_event("a-1", 1), 1, handed_over_again=True)
    found = judge.findings()
    assert (found.readings, found.repeats, found.handed_over_again) == (1, 0, 1)


def test_repeats_are_attributed_to_moments() -> None:
    """Repeats are counted between kills, by their time of arrival."""
    judge = Judge()
    for at in (5, 15, 16, 25):
        judge.show(cloud_event("a-1", 1), at)
    assert judge.repeats_between([10, 20]) == [0, 2, 1]


def test_other_key() -> None:
    """The counter's place in the data is a choice."""
    find = reading_in_data("seq")
    assert find({"subject": "d", "data": {"seq": 7}}) == ("d", 7)
    assert find({"subject": "d", "data": {"counter": 7}}) is None
    assert find({"subject": "d"}) is None


@pytest.fixture
def cloud(tmp_path: Path) -> Mosquitto:
    """Prepare a broker; tests start and stop it."""
    return Mosquitto(tmp_path / "cloud")


def test_subscriber_survives_a_broker_restart(cloud: Mosquitto) -> None:
    """What the broker holds for the far end while it is down arrives after the restart, once each."""
    cloud.start()
    far_end = FarEnd(cloud.host, cloud.port).start()
    try:
        for stop in (False, True):
            with wire.dial(cloud.host, cloud.port, f"sender-{stop}") as sender:
                for n in range(1, 101):
                    counter = n + 100 * stop
                    sender.sendall(wire.publish("up", cloud_event(f"a-{counter}", counter), n))
                answered = b""
                while len(answered) < 400:
                    answered += sender.recv(4096)
            if not stop:
                cloud.stop()
                cloud.start()
        assert far_end.wait_for(200, stall_s=60)
        found = far_end.judge.findings({"house/z2m:hall": 200})
        assert found.clean, found
        assert (found.readings, found.repeats) == (200, 0)
        assert not far_end.malformed
    finally:
        far_end.stop()
        cloud.stop()


def test_malformed_messages_are_kept_apart(cloud: Mosquitto) -> None:
    """What is no CloudEvent is reported, and the next message is judged."""
    cloud.start()
    far_end = FarEnd(cloud.host, cloud.port).start()
    try:
        with wire.dial(cloud.host, cloud.port, "sender") as sender:
            for payload in (b"\xff", b'{"no": "id"}', b"3", cloud_event("a-1", 1)):
                sender.sendall(wire.publish("up", payload))
            assert far_end.wait_for(1, stall_s=60)
        assert len(far_end.malformed) == 3
    finally:
        far_end.stop()
        cloud.stop()
