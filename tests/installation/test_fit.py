"""Devices that no profile reads, and which profile may fit."""

from __future__ import annotations

import json
from typing import Any

from gateway.installation.fit import advice, fit_of
from gateway.installation.unknown import PAYLOAD_BYTES_MAX, TOPICS_MAX, Unknown, device_of
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.context import Decoded
from gateway.profiles.decode import Decoder
from gateway.profiles.devices import Devices
from gateway.sources.source import Delivery

CATALOGUE = Catalogue.load()


class Nobody:
    """An origin that waits for nothing."""

    def acknowledge(self, delivery: Delivery) -> None:
        """Do nothing."""


def heard(*messages: tuple[str, Any]) -> Unknown:
    """Decode messages as a gateway does; return what nobody read."""
    decoder, unknown = Decoder(CATALOGUE, "gw", "house", Devices(), {}), Unknown()
    for number, (topic, payload) in enumerate(messages):
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        delivery = Delivery("house", topic, body, number, Nobody())
        decoded = decoder.decode(delivery)
        if decoded.unclaimed:
            unknown.note(delivery, decoded)
    return unknown


def test_another_prefix_is_found_by_trying_it() -> None:
    """Zigbee2MQTT under another base topic is read with that prefix, and what to write is said."""
    unknown = heard(("attic/z2m/hall", {"contact": False, "battery": 90, "linkquality": 80}))
    (stranger,) = unknown.strangers()
    fit = fit_of(stranger, CATALOGUE)
    assert fit is not None
    assert (fit.how, fit.profile, fit.prefix) == ("prefix", "zigbee2mqtt-contact", ("zigbee2mqtt", "attic/z2m"))
    assert {"open", "battery"} <= set(fit.fields)
    assert advice(stranger, fit)["do"] == ('in gateway.toml: [sources.house.prefixes] with zigbee2mqtt = "attic/z2m"')


def test_values_that_few_profiles_read_say_which_one_it_is() -> None:
    """A meter of another topic shape is like Tasmota's: what hinders is said, with the file to begin with."""
    energy = {"Time": "2026-11-23T10:00:00", "ENERGY": {"Power": 12, "Voltage": 231, "Total": 1.5}}
    unknown = heard(("meters", energy))
    (stranger,) = unknown.strangers()
    fit = fit_of(stranger, CATALOGUE)
    assert fit is not None
    assert (fit.how, fit.profile) == ("like", "tasmota")
    assert {"power", "voltage"} <= set(fit.fields)
    assert fit.why.startswith("its topics are others")
    assert advice(stranger, fit)["do"].startswith("a profile of your own, beginning with a copy of ")


def test_what_is_like_nothing_is_said_to_be() -> None:
    """Where no profile reads anything, the way to write one is told, with the topic to look at."""
    unknown = heard(("sauna/7/kgb", {"zorp": 1, "blib": "x"}), ("sauna/7/txt", b"\x00\x01"))
    (stranger,) = unknown.strangers()
    assert fit_of(stranger, CATALOGUE) is None
    said = advice(stranger, None)
    assert "--topic 'sauna/7/kgb'" in said["do"]
    assert [topic["topic"] for topic in said["topics"]] == ["sauna/7/kgb", "sauna/7/txt"]


def test_topics_of_one_device_are_one_line() -> None:
    """A device is the topic up to the level that looks like an address, else without the last level."""
    assert device_of("shellies/shellyht-1a2b/sensor/lux") == "shellies/shellyht-1a2b"
    assert device_of("home/kitchen/lamp/state") == "home/kitchen/lamp"
    assert device_of("house/0x00158d0001a2b3c4/contact") == "house/0x00158d0001a2b3c4"
    assert (device_of("doorbell"), device_of("attic/lamp")) == ("doorbell", "attic/lamp")
    unknown = heard(*((f"sauna/7/{name}", {"zorp": 1}) for name in "abc"), ("sauna/8/a", {"zorp": 1}))
    assert [(each.device, each.messages) for each in unknown.strangers()] == [("sauna/7", 3), ("sauna/8", 1)]


def test_who_makes_up_topics_fills_no_memory() -> None:
    """Topics and payloads are bounded, the one kept longest goes first, and the number of devices stays right."""
    unknown = Unknown()
    for number in range(TOPICS_MAX + 50):
        delivery = Delivery("house", f"made-up/{number}/x", b"x" * 100_000, number, Nobody())
        unknown.note(delivery, Decoded(rejected="no profile claims this topic", unclaimed=True))
    strangers = list(unknown.strangers())
    assert (len(unknown), len(strangers)) == (TOPICS_MAX, TOPICS_MAX)
    assert all(len(topic.payload) <= PAYLOAD_BYTES_MAX for each in strangers for topic in each.topics)
    assert "made-up/49" not in {each.device for each in strangers}
    unknown.clear()
    assert len(unknown) == 0
