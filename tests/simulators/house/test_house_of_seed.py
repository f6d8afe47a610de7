"""The simulated house: the same for ever, physical where it matters, and wrong exactly as it is told to be."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from simulators.house.dialects import DIALECTS
from simulators.house.house import House, Sent, line_of
from simulators.house.scenario import DeviceTable, FaultTable, Happening, Outside, Person, RoomTable, Scenario, Step
from simulators.modbus import checksum
from tests.simulators.house.fleet import busy, everything

DEVICES = [
    DeviceTable(name="door", dialect="zigbee2mqtt", model="contact", room="hall", battery=90.0),
    DeviceTable(name="window", dialect="zigbee2mqtt", model="contact", kind="window", room="bath"),
    DeviceTable(name="valve", dialect="zigbee2mqtt", model="thermostat", room="bath", set={"setpoint.heat": 20}),
    DeviceTable(name="motion", dialect="zigbee2mqtt", model="motion", room="hall"),
    DeviceTable(name="air", dialect="zigbee2mqtt", model="thermometer", room="bath"),
    DeviceTable(name="lamp", dialect="zigbee2mqtt", model="light", room="hall"),
    DeviceTable(name="panel", dialect="dsc-it100", model="contact", room="hall"),
]

MUTE = {"enocean": ("button",), "modbus": ("thermostat",)}  # a rocker has no field of ours, a bus is asked


def scenario(**more: Any) -> Scenario:
    """Return a house of two rooms for three hours."""
    table: dict[str, Any] = {
        "schema": 1, "lasts": "3h", "device": DEVICES, "outside": Outside(mean=0, swing=0),
        "room": [RoomTable(name="hall"), RoomTable(name="bath", holds=4)],
    }  # fmt: skip
    return Scenario(**{**table, **more})


def fault(kind: str, device: str, **more: Any) -> list[FaultTable]:
    """Return a fault from the tenth minute on."""
    return [FaultTable(kind=kind, device=device, **{"at": "10m", "lasts": "1h", **more})]


def said(house: House, device: str, until_s: float = 3 * 3600) -> list[Sent]:
    """Return what a device says until then."""
    return [sent for sent in house.upto(until_s) if sent.said.device == device]


def values(sents: list[Sent], field: str) -> Iterator[tuple[float, Any]]:
    """Yield when a device said which value of a field."""
    for sent in sents:
        for fields in sent.said.facts.values():
            if field in fields:
                yield sent.at_s, fields[field]


def test_a_seed_is_a_house() -> None:
    """The same scenario and seed say the same messages at the same times, byte for byte; another seed does not."""
    text = [b"".join(map(line_of, House(everything(), seed).upto(7200))) for seed in (3, 3, 4)]
    assert text[0] == text[1]
    assert text[0] != text[2]
    assert len(text[0]) > 100_000


@pytest.mark.parametrize("name", DIALECTS)
def test_every_model_speaks(name: str) -> None:
    """Each model of each dialect says something about itself within hours, and means it."""
    house = House(busy(name))
    meant = {sent.said.device for sent in house.upto(4 * 3600) if sent.said.facts}
    mute = {f"{model}0" for model in MUTE.get(name, ())}
    assert meant == {gadget.name for gadget in house.gadgets} - mute


def test_an_open_window_cools_and_the_thermostat_heats() -> None:
    """An open window takes the warmth of its room, and its radiator works against it; closed, it is warm again."""
    opened = Happening(at="30m", device="window", set={"open": True}, lasts="20m")
    seen = dict(values(said(House(scenario(happening=[opened])), "valve"), "temperature"))
    before = [value for at, value in seen.items() if at < 1800]
    during = [value for at, value in seen.items() if 1800 < at < 3000]
    after = [value for at, value in seen.items() if at > 9000]
    assert min(before) > 18.5
    assert min(during) < min(before) - 1
    assert max(after) > min(during) + 1
    cold = House(scenario(happening=[opened], device=[table for table in DEVICES if table.name != "valve"]))
    assert min(value for _, value in values(said(cold, "air"), "temperature")) < min(during) - 0.5


def test_who_comes_home_is_noticed() -> None:
    """Somebody comes through the door: it opens and closes, and motion follows."""
    day = [Step(at="06:30", leave=True), Step(at="07:30", come=True)]
    sents = list(House(scenario(person=[Person(name="Ada", room="bath", day=day)])).upto(3 * 3600))
    opened = [at for at, value in values([each for each in sents if each.said.device == "door"], "open") if value]
    moved = [at for at, value in values([each for each in sents if each.said.device == "motion"], "motion") if value]
    assert [round(at) for at in opened] == [1800, 5400]
    assert any(5400 <= at < 5401 for at in moved)


@pytest.mark.parametrize(
    ("kind", "device", "field", "holds"),
    [
        ("stuck", "air", "temperature", lambda seen: len(set(seen)) == 1),
        ("drift", "air", "temperature", lambda seen: max(seen) > 22),
        ("spike", "air", "temperature", lambda seen: max(seen) > 50),
        ("flapping", "door", "open", lambda seen: seen.count(True) > 100 and seen.count(False) > 100),
        ("wrong_polarity", "door", "open", lambda seen: seen and all(seen)),
        ("dead_battery", "door", "battery", lambda seen: seen == [2]),
        ("silent", "door", "open", lambda seen: not seen),
    ],
)
def test_sensor_faults(kind: str, device: str, field: str, holds: Any) -> None:
    """A sensor that is wrong is wrong from the moment it is told, in its own way, and right again afterwards."""
    share = {"spike": 0.5}.get(kind, 1.0)
    house = House(scenario(fault=fault(kind, device, share=share, by={"drift": 5.0}.get(kind, 0.0))))
    seen = list(values(said(house, device), field))
    assert holds([value for at, value in seen if 600.01 < at < 4200])
    right = list(values(said(House(scenario()), device), field))
    assert [value for at, value in seen if at > 4300] == [value for at, value in right if at > 4300] or kind == "drift"


@pytest.mark.parametrize(
    ("kind", "by", "expected"),
    [
        ("", 0, {60: True, 300: True}),
        ("ignores", 0, {60: False, 300: False}),
        ("acts_late", 120, {60: False, 300: True}),
        ("reverts", 90, {60: True, 300: False}),
    ],
)
def test_actuator_faults(kind: str, by: float, expected: dict[int, bool]) -> None:
    """A lamp that is told to go on does, does not, does late, or goes off again; what it reports is what it did."""
    house = House(scenario(fault=fault(kind, "lamp", by=by) if kind else []))
    list(house.upto(1200))
    house.told("zigbee2mqtt", "zigbee2mqtt/lamp/set", b'{"state": "ON"}')
    for after_s, on in expected.items():
        list(house.upto(1200 + after_s))
        assert house.world.truth["lamp"]["on"] is on, after_s
    assert [(each.device, each.field, each.value) for each in house.heard] == [("lamp", "on", True)]


def test_transport_faults() -> None:
    """Garbled messages are no JSON any more and say so; duplicates are the same again; late ones come late."""
    garbled = said(House(scenario(fault=fault("garbled", "door"))), "door")
    hurt = [each for each in garbled if 600 < each.at_s < 4200]
    assert hurt
    for each in hurt:
        assert not each.said.clean
        with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
            msgspec.json.decode(each.said.payload)
    twice = [each.said.payload for each in said(House(scenario(fault=fault("duplicate", "door"))), "door")]
    assert any(one == other for one, other in pairwise(twice))
    flood = said(House(scenario(fault=fault("flood", "air", lasts="10s", by=20))), "air")
    assert len([each for each in flood if 600 <= each.at_s <= 610]) >= 200
    late = said(House(scenario(fault=fault("late", "door", by=60))), "door")
    on_time = said(House(scenario()), "door")
    assert {each.said.payload for each in late} == {each.said.payload for each in on_time}
    assert [each.at_s for each in late] != [each.at_s for each in on_time]


def test_a_broken_checksum_is_the_only_thing_broken() -> None:
    """A line with a checksum keeps its text and loses its checksum."""
    opened = [Happening(at=f"{minute}m", device="panel", set={"open": minute % 2 == 0}) for minute in range(12, 30)]
    sound = said(House(scenario(happening=opened)), "panel")
    broken = said(House(scenario(happening=opened, fault=fault("bad_checksum", "panel"))), "panel")
    pairs = [(one.said, two.said) for one, two in zip(sound, broken, strict=True) if not two.said.clean]
    assert pairs
    for one, two in pairs:
        assert one.payload[:-4] == two.payload[:-4]
        assert one.payload != two.payload


def test_a_clock_that_is_wrong() -> None:
    """With a skew a device's own time is off, the message comes when it does."""
    right = said(House(scenario()), "door")
    skewed = said(House(scenario(fault=fault("clock_skew", "door", by=600))), "door")
    pairs = [
        (one, two) for one, two in zip(right, skewed, strict=False) if one.at_s == two.at_s and 700 < one.at_s < 4000
    ]
    assert pairs
    for one, two in pairs:
        stamps = [msgspec.json.decode(each.said.payload)["last_seen"] for each in (one, two)]
        assert stamps[1] - stamps[0] == 600_000


def test_unplugged_and_back() -> None:
    """What is unplugged says nothing, and everything about itself when it is back."""
    sents = list(House(scenario(fault=fault("unplug", "dialect:zigbee2mqtt"))).upto(3 * 3600))
    times = [each.at_s for each in sents if each.dialect == "zigbee2mqtt"]
    assert not [at for at in times if 600 < at < 4200]
    back = [each.said.topic for each in sents if each.at_s == 4200]
    assert "zigbee2mqtt/bridge/devices" in back
    assert "zigbee2mqtt/door" in back


def test_a_bus_is_asked() -> None:
    """A unit on a bus answers a poll with what it means, and a write is there when it is read back."""
    devices = [DeviceTable(name="coil", dialect="modbus", model="thermostat", room="hall")]
    house = House(scenario(device=devices))
    list(house.upto(60))
    poll = bytes([1, 3, 0, 2, 0, 7])
    (answer,) = house.told("modbus", "", poll + checksum(poll))
    assert answer.said.facts == {"bus/modbus:1": {"temperature": 20, "setpoint.heat": 20, "mode": "heat"}}
    write = bytes([1, 6, 0, 4, 0, 23])
    house.told("modbus", "", write + checksum(write))
    (answer,) = house.told("modbus", "", poll + checksum(poll))
    assert answer.said.facts["bus/modbus:1"]["setpoint.heat"] == 23
    list(house.upto(120))
    assert house.world.truth["coil"]["setpoint.heat"] == 23
