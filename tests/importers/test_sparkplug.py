"""Sparkplug B: births, aliases, deaths, sequence numbers, history; and its payload, read by hand."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

from gateway.importers.protobuf import Malformed, read_payload, signed
from gateway.importers.sparkplug import REBIRTH
from tests.importers.house import House
from tests.profiles.deliveries import NOW, SECOND

MS = NOW // 1_000_000
DEVICE = "spb:plant/edge/boiler"


def varint(value: int) -> bytes:
    """Write a varint."""
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, value: int | bytes, wire: int | None = None) -> bytes:
    """Write one field: a varint, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if wire is not None:
        return varint(number << 3 | wire) + value
    return varint(number << 3 | 2) + varint(len(value)) + value


def metric(name: str | None, kind: int, value: Any, alias: int | None = None, **more: Any) -> bytes:
    """Write one metric of a datatype: 3 Int32, 9 Float, 10 Double, 11 Boolean, 12 String."""
    raw = b"" if name is None else field(1, name.encode())
    raw += b"" if alias is None else field(2, alias)
    raw += field(3, more.get("at", MS)) + field(4, kind)
    raw += field(5, 1) if more.get("historical") else b""
    if unit := more.get("unit"):
        raw += field(9, field(1, b"engUnit") + field(2, field(1, 12) + field(8, unit.encode())))
    if value is None:
        return field(2, raw + field(7, 1))
    if kind == 9:
        return field(2, raw + field(12, struct.pack("<f", value), 5))
    if kind == 10:
        return field(2, raw + field(13, struct.pack("<d", value), 1))
    if kind in (11, 12):
        return field(2, raw + (field(14, int(value)) if kind == 11 else field(15, value.encode())))
    return field(2, raw + field(10 if kind <= 3 else 11, value & (0xFFFF_FFFF if kind <= 3 else 0xFFFF_FFFF_FFFF_FFFF)))


def payload(seq: int | None, *metrics: bytes) -> bytes:
    """Write a payload."""
    return field(1, MS) + b"".join(metrics) + (b"" if seq is None else field(3, seq))


BIRTH = (
    metric("Room/Temperature", 9, 20.5, 1, unit="°C"), metric("Door/Open", 11, value=False, alias=2),
    metric("Count", 3, -5, 3), metric("Mode", 12, "heat", 4), metric("Temperature", 10, 68.0, 5),
)  # fmt: skip


def born(bdseq: int = 7) -> House:
    """Return a house in which a node and its boiler are born."""
    house = House(["sparkplug"])
    house.say(
        "spBv1.0/plant/NBIRTH/edge", payload(0, metric("bdSeq", 4, bdseq), metric("Node Control/Rebirth", 11, False))
    )
    house.say("spBv1.0/plant/DBIRTH/edge/boiler", payload(1, *BIRTH))
    return house


def test_a_birth_names_what_data_only_number() -> None:
    """Names, types and units are those of the birth; integers are signed; what has no unit is not guessed."""
    house = born()
    assert {key: value for key, value in house.values[f"house/{DEVICE}"].items() if key != "$"} == {
        "temperature": 20.5, "open": False, "online": True,
        "ext.Count": -5, "ext.Mode": "heat", "ext.Temperature": 68.0,
    }  # fmt: skip
    decoded = house.say("spBv1.0/plant/DDATA/edge/boiler", payload(2, metric(None, 11, value=True, alias=2)))
    assert [(e.type, e.subject, e.data) for e in decoded.events] == [
        ("door_opened", f"house/{DEVICE}", {"open": True, "previous": False})
    ]
    assert not house.imports.sends


def test_a_restart_remembers_the_birth() -> None:
    """Aliases are understood after a restart without a new birth, and nothing is asked for."""
    house = born().restarted()
    data = payload(9, metric(None, 9, 21.5, 1))
    assert house.read("spBv1.0/plant/DDATA/edge/boiler", data) == {DEVICE: {"temperature": 21.5}}
    assert not house.imports.sends


def test_deaths() -> None:
    """A node's death takes its devices along, unless it is the will of an earlier session; a device dies alone."""
    house = born()
    earlier = payload(None, metric("bdSeq", 4, 6))
    assert "earlier session" in str(house.say("spBv1.0/plant/NDEATH/edge", earlier).ignored)
    decoded = house.say("spBv1.0/plant/NDEATH/edge", payload(None, metric("bdSeq", 4, 7)))
    assert sorted(event.subject for event in decoded.events) == [
        f"house/{DEVICE.rpartition('/')[0]}",
        f"house/{DEVICE}",
    ]
    assert {event.type for event in decoded.events} == {"device_offline"}
    house = born()
    decoded = house.say("spBv1.0/plant/DDEATH/edge/boiler", payload(2))
    assert [event.subject for event in decoded.events] == [f"house/{DEVICE}"]


def test_a_gap_asks_for_a_birth_and_not_too_often() -> None:
    """A number that is missing asks the node once a minute; what came is read all the same; 255 is followed by 0."""
    house = born()
    for seq in (3, 9, 20):
        read = house.read("spBv1.0/plant/DDATA/edge/boiler", payload(seq, metric(None, 9, float(seq), 1)))
        assert read == {DEVICE: {"temperature": float(seq)}}
    assert list(house.imports.sends) == [("spBv1.0/plant/NCMD/edge", REBIRTH)]
    house.now += 61 * SECOND
    house.say("spBv1.0/plant/DDATA/edge/boiler", payload(255, metric(None, 9, 1.0, 1)))
    house.say("spBv1.0/plant/DDATA/edge/boiler", payload(0, metric(None, 9, 2.0, 1)))
    assert len(house.imports.sends) == 2
    asked = read_payload(REBIRTH).metrics[0]
    assert (asked.name, asked.datatype, asked.value) == ("Node Control/Rebirth", 11, True)


def test_data_without_a_birth_asks_for_one() -> None:
    """What cannot be named is not guessed: nothing is read, and the birth is asked for."""
    house = House(["sparkplug"])
    decoded = house.say("spBv1.0/plant/DDATA/edge/boiler", payload(4, metric(None, 11, value=True, alias=2)))
    assert (decoded.readings, decoded.rejected) == ([], None)
    assert [topic for topic, _ in house.imports.sends] == ["spBv1.0/plant/NCMD/edge"]


def test_history_changes_nothing_now() -> None:
    """A historical value leaves as a reading with its own time: no state, no door, no alarm."""
    house = born()
    old = metric(None, 11, value=True, alias=2, historical=True, at=MS - 3_600_000)
    decoded = house.say("spBv1.0/plant/DDATA/edge/boiler", payload(2, old))
    assert [(event.type, event.lane, event.data) for event in decoded.events] == [
        ("reading_taken", "telemetry", {"open": True})
    ]
    assert decoded.events[0].time < "2026-11-21T21:30"
    assert house.values[f"house/{DEVICE}"]["open"] is False


def test_null_is_unknown() -> None:
    """A metric that is null makes the value unknown and raises nothing."""
    house = born()
    decoded = house.say("spBv1.0/plant/DDATA/edge/boiler", payload(2, metric(None, 9, None, 1)))
    assert (decoded.events, house.values[f"house/{DEVICE}"]["temperature"]) == ([], None)


@pytest.mark.parametrize(
    ("topic", "raw", "why"),
    [
        ("spBv1.0/STATE/scada", b'{"online": true}', None),
        ("spBv1.0/plant/NCMD/edge", REBIRTH, None),
        ("spBv1.0/plant/DCMD/edge/boiler", payload(None, metric("x", 11, value=True)), None),
        ("spBv1.0/plant/NDATA", b"", "no topic"),
        ("spBv1.0/plant/DDATA/edge", b"", "no message"),
        ("spBv1.0/plant/WHAT/edge", b"", "no message"),
        ("spBv1.0/plant/NBIRTH/edge", b"\x12\xff", "it breaks off"),
    ],
)
def test_other_messages(topic: str, raw: bytes, why: str | None) -> None:
    """States of hosts and commands are known and ignored; what is no message is refused with the reason."""
    decoded = House(["sparkplug"]).say(topic, raw)
    assert (decoded.rejected is None) is (why is None)
    assert why is None or why in str(decoded.rejected)


@pytest.mark.parametrize(
    ("value", "kind", "read"),
    [(0xFF, 1, -1), (0xFFFF_FFFF, 1, -1), (0x7F, 1, 127), (0xFFFB, 2, -5), (0xFFFF_FFFB, 3, -5), (5, 3, 5),
     (0xFFFF_FFFF_FFFF_FFFF, 4, -1), (0xFFFF_FFFF, 7, 0xFFFF_FFFF), (True, 11, True), (1.5, 9, 1.5)],
)  # fmt: skip
def test_signed_numbers(value: Any, kind: int, read: Any) -> None:
    """Signed integers are two's complement of their own width, unsigned ones are as they come."""
    assert signed(value, kind) == read


def test_no_bytes_break_the_reader() -> None:
    """Ten thousand mutated, cut and random payloads are read or refused, and nothing else happens."""
    chance, good = random.Random(11), payload(1, *BIRTH)
    for _ in range(10_000):
        raw = bytearray(good if chance.random() < 0.8 else chance.randbytes(chance.randrange(60)))
        for _ in range(chance.randrange(4)):
            if raw:
                raw[chance.randrange(len(raw))] = chance.randrange(256)
        try:
            read_payload(bytes(raw[: chance.randrange(len(raw) + 1)] if chance.random() < 0.3 else raw))
        except Malformed:
            continue
