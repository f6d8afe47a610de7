"""The simulated house: the same for ever, and telling the truth about itself."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise

from gateway.profiles.catalogue import Catalogue
from gateway.profiles.decode import Decoder
from gateway.profiles.devices import Devices
from gateway.sources.source import Delivery
from simulators.devices import Fleet, House, Message

RATE = 100.0


def by_device(messages: list[Message]) -> dict[str, list[Message]]:
    """Group messages by the device that said them."""
    devices: dict[str, list[Message]] = defaultdict(list)
    for message in messages:
        devices[message.device].append(message)
    return devices


def test_same_seed_same_house() -> None:
    """A seed is a house: its messages are the same at each iteration, byte for byte."""
    house = House(7)
    assert house.first(2000, RATE) == house.first(2000, RATE) == House(7).first(2000, RATE)


def test_other_seed_other_house() -> None:
    """Another seed says other things at other times."""
    assert House(7).first(100, RATE) != House(8).first(100, RATE)


def test_counters_are_dense_per_device() -> None:
    """Each device numbers its messages from 1 without a hole, in the order they are due."""
    messages = House(3).first(3000, RATE)
    assert [m.due_s for m in messages] == sorted(m.due_s for m in messages)
    for device, said in by_device(messages).items():
        assert [m.counter for m in said] == list(range(1, len(said) + 1)), device


def test_json_carries_the_counter() -> None:
    """Every JSON payload holds the device's own message number, so that the far end can judge loss and order."""
    for message in House(3).first(2000, RATE):
        if message.payload[:1] == b"{":
            document = json.loads(message.payload)
            counter = document["after"]["counter"] if "after" in document else document["counter"]
            assert counter == message.counter, message.topic


def test_fleet_is_kept() -> None:
    """The house has as many of each kind as asked for, with names of their own beyond the list of rooms."""
    fleet = Fleet(thermostats=25, contacts=1, occupancy=0, cameras=8, shelly_doors=3, shelly_gen2=0)
    devices = by_device(House(1, fleet).first(20_000, RATE))
    kinds = [device.partition(":")[0] for device in devices]
    assert (len(devices), kinds.count("z2m"), kinds.count("frigate"), kinds.count("shelly")) == (37, 26, 8, 3)


def test_every_message_changes_something_worth_an_event() -> None:
    """Temperatures move by more than a deadband or the setpoint does; contacts, motion and doors alternate."""
    for device, said in by_device(House(5).first(4000, RATE)).items():
        for before, after in pairwise(said):
            if device.endswith("/radiator"):
                old, new = json.loads(before.payload), json.loads(after.payload)
                moved = abs(old["local_temperature"] - new["local_temperature"])
                assert moved >= 0.29 or old["current_heating_setpoint"] != new["current_heating_setpoint"], device
            else:
                assert before.payload != after.payload, device


def test_rate_is_met() -> None:
    """The house speaks as often as asked, on average."""
    last = House(11).first(20_000, 200.0)[-1]
    assert 90 < last.due_s < 110


def test_births_are_retained() -> None:
    """A house that comes up says so in retained messages."""
    births = House(1).births()
    assert births
    assert all(birth.retain and birth.qos == 1 for birth in births)
    assert any(birth.topic == "zigbee2mqtt/hall/radiator/availability" for birth in births)


class Nobody:
    """Where a delivery that nobody waits for came from."""

    def acknowledge(self, delivery: Delivery) -> None:
        """Do nothing."""


def test_shipped_profiles_read_the_house() -> None:
    """Through the shipped profiles each message is one event of its device; a device's first message may be more."""
    decoder = Decoder(Catalogue.load(), "gateway", "house", Devices(), {})
    house = House(7)
    for message in house.births():
        decoded = decoder.decode(Delivery("house", message.topic, message.payload, 0, Nobody(), retained=True))
        assert decoded.rejected is None, message.topic
    for message in house.first(5000, RATE):
        decoded = decoder.decode(Delivery("house", message.topic, message.payload, 0, Nobody()))
        assert decoded.rejected is None, message
        assert {event.subject for event in decoded.events} == {f"house/{message.device}"}, message
        assert len(decoded.events) == 1 or message.counter == 1, message
