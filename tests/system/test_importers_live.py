"""Devices that describe themselves, over a real broker that retains what they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.importers.sparkplug import REBIRTH
from tests.importers.house import CONTACT, binary, z2m, zigbee
from tests.importers.test_sparkplug import BIRTH, metric, payload
from tests.mqtt.broker import Broker
from tests.system.rig import Cloud, Device, House, broker_source, broker_target, device, running, until, watching

ADDRESS = "0x00158d0001a2b3c4"
DOOR, NODE = f"house/z2m:{ADDRESS}", "house/ha:node1"
SWITCH = {"type": "switch", "features": [binary("state", "ON", "OFF", 7)]}


def discovered(name: str, **config: Any) -> tuple[str, str]:
    """Return topic and payload of an entity of node1."""
    whole = {"device": {"identifiers": ["node1"], "name": "Node"}, "unique_id": name, **config}
    return f"homeassistant/sensor/node1/{name}/config", json.dumps(whole)


def about(cloud: Cloud, subject: str) -> list[tuple[str, Any]]:
    """Return type and data of the events about a device, in order, each once."""
    found = {event["id"]: event for event in list(cloud.arrived) if event.get("subject") == subject}
    return [(event["type"], event.get("data")) for event in found.values()]


def announce(sender: Device, friendly: str) -> None:
    """Announce a door over Zigbee2MQTT and a thermometer by discovery, retained."""
    sender.tell("zigbee2mqtt/bridge/devices", z2m(zigbee(ADDRESS, friendly, *CONTACT, SWITCH)), retain=True)
    topic, config = discovered("t", state_topic="node1/t", device_class="temperature", unit_of_measurement="°C")
    sender.tell(topic, config, retain=True)
    topic, config = discovered("odd", state_topic="node1/odd", value_template="{{ now() }}")
    sender.tell(topic, config, retain=True)
    sender.tell("node1/t", "20", retain=True)


def test_announcements_are_kept_over_a_restart_and_their_topics_subscribed(
    tmp_path: Path, mosquitto: Callable[..., Broker]
) -> None:
    """Described devices are read, renamed and commanded; after a restart also when the broker has lost everything."""
    broker = mosquitto()
    house = House(tmp_path / "gw", broker_source(broker.url), broker_target(broker.url))
    with watching(broker.port, "gw/#") as cloud, device(broker.port) as sender:
        announce(sender, "hall")
        with running(house):
            until(lambda: NODE in house.ask("table", name="values"), house.status)
            until(lambda: house.ask("table", name="values")[NODE].get("temperature") == 20, house.status)
            sender.tell("zigbee2mqtt/hall", {"contact": False})
            until(lambda: ("door_opened", {"open": True}) in about(cloud, DOOR), house.said)
            sender.tell("zigbee2mqtt/bridge/devices", z2m(zigbee(ADDRESS, "front", *CONTACT, SWITCH)), retain=True)
            renamed = ("device_renamed", {"name": "front", "previous": "hall"})
            until(lambda: renamed in about(cloud, DOOR), house.said)
            house.ask("flush")
            until(lambda: f"zigbee2mqtt/{ADDRESS}" in house.ask("table", name="imported:house"), house.status)
        for topic in ("zigbee2mqtt/bridge/devices", "node1/t", discovered("t")[0]):
            sender.tell(topic, b"", retain=True)  # nobody is there to hear it
        broker.restart()
        with device(broker.port, "later") as later:
            later.subscribe("zigbee2mqtt/+/set")

            def watched() -> bool:
                later.tell("gw/probe", "{}")
                return "gw/probe" in cloud.topics

            until(watched, "the cloud did not come back")  # before the gateway does: what it sends is sent once

            def arrives(topic: str, said: str, subject: str, event: tuple[str, Any]) -> bool:
                later.tell(topic, said)  # again and again: who subscribes when is not this test's affair
                return event in about(cloud, subject)

            with running(house):
                closed = ("door_closed", {"open": False, "previous": True})
                until(lambda: arrives("zigbee2mqtt/front", '{"contact": true}', DOOR, closed), house.said)
                warmer = ("temperature_changed", {"temperature": 21, "unit": "Cel", "previous": 20})
                until(lambda: arrives("node1/t", "21", NODE, warmer), house.said)
                assert house("send", DOOR, "set_on", "true").code == 0
                until(lambda: ("zigbee2mqtt/front/set", b'{"state":"ON"}') in later.told, house.said)
                (door,) = (each for each in house.json("devices", "list") if each["id"] == DOOR)
                assert (door["called"], door["described_by"]) == ("front", "zigbee2mqtt")
                assert "not read   odd ext.odd: value_template has 'now'" in house("devices", "show", "Node").out
                assert house.status()["sources"][0]["detail"]["described"]["home-assistant"]["left_out"] == 1
                until(lambda: arrives(discovered("t")[0], "", NODE, ("device_removed", None)), house.said)
    assert len([kind for kind, _ in about(cloud, DOOR) if kind == "device_renamed"]) == 1


def test_a_node_is_asked_for_its_birth(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """Data of a node that was never born asks it for a birth, and what it then says is read."""
    broker = mosquitto()
    house = House(tmp_path / "gw", broker_source(broker.url), broker_target(broker.url))
    boiler = "house/spb:plant/edge/boiler"
    with watching(broker.port, "gw/#") as cloud, running(house), device(broker.port) as sender:
        sender.subscribe("spBv1.0/plant/NCMD/#")
        until(lambda: house.status()["sources"][0]["state"] == "connected", house.status)

        def asked() -> bool:
            sender.tell("spBv1.0/plant/DDATA/edge/boiler", payload(4, metric(None, 11, value=True, alias=2)))
            return ("spBv1.0/plant/NCMD/edge", REBIRTH) in sender.told

        until(asked, house.said)
        sender.tell("spBv1.0/plant/NBIRTH/edge", payload(0, metric("bdSeq", 4, 1)))
        sender.tell("spBv1.0/plant/DBIRTH/edge/boiler", payload(1, *BIRTH))
        sender.tell("spBv1.0/plant/DDATA/edge/boiler", payload(2, metric(None, 11, value=True, alias=2)))
        until(lambda: ("door_opened", {"open": True, "previous": False}) in about(cloud, boiler), house.said)
