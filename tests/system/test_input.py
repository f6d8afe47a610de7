"""What comes in through a real broker: every QoS over kills, and input that nobody should send."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.mqtt.broker import Broker
from tests.system.rig import (
    Device,
    House,
    acknowledged,
    broker_source,
    broker_target,
    device,
    readings,
    running,
    slow_link,
    until,
    watching,
)

DOOR = "attic/z2m/door"
DEEP = b'{"contact":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
LARGE = b'{"contact":false,"padding":"' + b"x" * 10_000_000 + b'"}'
THERMOSTAT = b'{"local_temperature":21.5,"occupied_heating_setpoint":20}'

REFUSED: dict[str, tuple[str, bytes]] = {  # what is wrong -> topic and payload; each is a dead letter
    "10 MB": (DOOR, LARGE),
    "invalid UTF-8": (DOOR, b'{"contact":false,"action":"\xff\xfe"}'),
    "deep JSON": (DOOR, DEEP),
    "NaN": (DOOR, b'{"contact":NaN}'),
    "Infinity": (DOOR, b'{"contact":-Infinity}'),
    "lone surrogate": (DOOR, b'{"contact":false,"action":"\\ud800"}'),
    "half a document": (DOOR, b'{"contact":fal'),
    "bytes": (DOOR, bytes(range(256)) * 16),
    "empty": (DOOR, b""),
    "400 digits": (DOOR, b"1" * 400),
    "text": (DOOR, "geöffnet".encode()),
    "a value that is none": (DOOR, b'{"contact":"perhaps"}'),
    "not a switch": ("shellies/shelly1-5/relay/0", b"\xf0\x9f\x92\xa5"),
}
COUNTED: dict[str, tuple[str, bytes]] = {  # no profile reads them; they are counted, not kept
    "an array": (DOOR, b"[]"),
    "a name of 1,000 characters": (f"attic/z2m/{'x' * 1000}", THERMOSTAT),
    "nothing known": (DOOR, b'{"nonsense":1}'),
    "a stranger": ("attic/z2m/stranger", b'{"unknown":2}'),
}
ODD_NAMES = (
    "größe/😀",
    'a b "c"<script>\'--',
    "..",
    "%2f%00",
    "$SYS",
    "{device}",
    "/leading",
    "trailing/",
    "a//b",
)


def test_every_qos_over_kills(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """QoS 1 and 2 arrive whole, in order, under one id each, over two SIGKILLs; QoS 0 never twice."""
    edge, cloud_broker = mosquitto(), mosquitto()
    source = f"{broker_source(edge.url)}qos = 2\n"
    house = House(tmp_path / "gw", source, broker_target(cloud_broker.url))
    names = ("zero", "one", "two")
    with watching(cloud_broker.port) as cloud, running(house), device(edge.port) as sender:
        until(lambda: house.status()["sources"][0]["state"] == "connected", house.status)
        sent, total = [], 0
        for _ in range(3):
            for n in range(total, total + 200):
                for qos, name in enumerate(names):
                    sent += sender.count(name, range(n, n + 1), qos)
            total += 200
            if total < 600:
                sent[-3].wait_for_publish(60)
                until(lambda: len(cloud.arrived) > 100)
                house.kill()
                house.end()
                house.begin()
        assert acknowledged(sent)
        until(lambda: house.status()["sources"][0]["state"] == "connected", house.status)
        for qos, name in enumerate(names):
            assert acknowledged(sender.count(name, range(total, total + 1), qos))
        until(lambda: all(total in readings(cloud.arrived).get(name, ()) for name in names))
        counted = house.status()["sources"][0]["qos"]
        stored = [event for event in house.events() if event["type"] == "reading_taken"]
        assert house.stop() == 0
    arrived = readings(cloud.arrived)
    assert (arrived["one"], arrived["two"]) == (list(range(total + 1)), list(range(total + 1)))
    assert arrived["zero"] == sorted(arrived["zero"])
    assert readings(stored, repeats=True) == arrived, "each once in the journal"
    assert set(counted) == {"0", "1", "2"}
    assert counted["2"] <= total + 1, "a release is no message"


def test_answers_that_were_lost_make_no_second_event(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """QoS 1 and 2 that were on the disk when link and gateway died are delivered again, and are one event each."""
    edge, cloud_broker = mosquitto(), mosquitto()
    with (
        slow_link(edge.port) as link,
        watching(cloud_broker.port) as cloud,
        running(
            House(tmp_path / "gw", f"{broker_source(link.url)}qos = 2\n", broker_target(cloud_broker.url))
        ) as house,
        device(edge.port) as sender,
    ):
        until(lambda: house.status()["sources"][0]["state"] == "connected", house.status)
        link.withhold()
        assert acknowledged(sender.count("one", range(10)) + sender.count("two", range(5), 2))
        until(lambda: house.status()["durable"] >= 15)
        link.cut()  # their answers are under way
        house.kill()
        house.end()
        link.restore()
        house.begin()
        until(lambda: house.status()["sources"][0]["state"] == "connected", house.status)
        assert acknowledged(sender.count("one", range(10, 11)) + sender.count("two", range(5, 6), 2))
        until(lambda: {tuple(each) for each in readings(cloud.arrived).values()} == {tuple(range(11)), tuple(range(6))})
        again = house.status()["sources"][0]["duplicates"]
        stored = [event for event in house.events() if event["type"] == "reading_taken"]
        assert house.stop() == 0
    assert again == 15, "they came again"
    assert readings(stored, repeats=True) == {"one": list(range(11)), "two": list(range(6))}


def test_hostile_input_costs_only_itself(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """Ten megabytes, broken text, deep JSON, odd topics: each set aside with a reason, or counted; the rest goes on."""
    edge, cloud_broker = mosquitto(), mosquitto()
    source = f"{broker_source(edge.url)}prefixes = {{ zigbee2mqtt = 'attic/z2m' }}\n"
    house = House(tmp_path / "gw", source, broker_target(cloud_broker.url))
    with watching(cloud_broker.port) as cloud, running(house), device(edge.port) as sender:
        until(lambda: house.status()["sources"][0]["state"] == "connected", house.status)
        sender.tell(DOOR, {"contact": True})
        hostile = [*REFUSED.values(), *COUNTED.values()]
        for n, (topic, payload) in enumerate(hostile):
            sender.publish(topic, payload)
            sender.count("hall", range(n, n + 1))
        sender.tell(DOOR, b'{"contact":true,"contact":false}')  # of duplicates the last one counts
        odd_names(sender)
        wanted = {"hall": list(range(len(hostile)))}
        until(lambda: readings(cloud.arrived) == wanted, lambda: readings(cloud.arrived))
        until(lambda: len(heard(cloud.arrived)) == len(ODD_NAMES), lambda: heard(cloud.arrived))
        status = house.status()["sources"][0]
        letters = house.json("dead-letters", "list")
        listed = house("dead-letters", "list").out
        shown = house("dead-letters", "show", letters[0]["id"]).out
        again = house("dead-letters", "retry", letters[1]["id"])
        assert house.stop() == 0

    _every_letter_says_why(letters)
    assert "\x1b" not in listed, "nothing of theirs reaches the terminal as it is"
    assert letters[0]["data"]["payload_bytes"] == len(LARGE)
    assert str(len(LARGE)) in shown
    assert again.code == 1, "it is as undecodable as before"
    assert again.out.startswith("refused again: "), again.out
    assert (status["rejected"], status["unclaimed"]) == (len(REFUSED), len(COUNTED)), status
    assert status["qos"] == {"1": len(hostile) * 2 + 2 + len(ODD_NAMES)}
    door = [event["type"] for event in cloud.arrived if event.get("subject") == "house/z2m:door"]
    assert door == ["door_closed", "door_opened"]
    assert not any(set(topic) & set("+#\0") for topic in cloud.topics)


def odd_names(sender: Device) -> None:
    """Let thermostats of strange names report a temperature."""
    for name in ODD_NAMES:
        sender.publish(f"attic/z2m/{name}", THERMOSTAT)


def heard(events: list[dict[str, Any]]) -> set[str]:
    """Return the odd names that arrived."""
    temperatures = [event for event in list(events) if event["type"] == "temperature_changed"]
    return {event["subject"].removeprefix("house/z2m:") for event in temperatures}


def _every_letter_says_why(letters: list[dict[str, Any]]) -> None:
    """Check that each dead letter has its reason and its bytes, or their length, hash and head."""
    assert len(letters) == len(REFUSED), [letter["data"]["reason"] for letter in letters]
    for letter, (what, (topic, payload)) in zip(letters, REFUSED.items(), strict=True):
        data = letter["data"]
        assert (letter["type"], data["topic"]) == ("message_rejected", topic), what
        assert len(data["reason"]) > 5, what
        if "payload_b64" in data:
            assert base64.b64decode(data["payload_b64"]) == payload, what
        else:
            assert payload.startswith(base64.b64decode(data["payload_head_b64"])), what
            assert len(data["payload_sha256"]) == 64
