"""Mode, inputs, alerts and rules on a real broker, as Home Assistant and plain clients see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gateway.api.client import ApiClient
from tests.mqtt.broker import Broker
from tests.system.rig import Cloud, House, broker_source, device, running, until, watching

DEVICES = '[[device]]\nid = "house/z2m:front"\nname = "front-door"\nkind = "door"\n'
RULE = '''\
"""A door."""

from gateway.rules import when


@when(kind="door", open=True)
def door_open(door, ctx):
    """A door is open."""
    ctx.alert(f"{door.name} is open")
'''
PARTS = """\
[inputs.guests]
type = "boolean"

[inputs.target_night]
type = "number"
min = 12
max = 21
unit = "Cel"

[offers]
source = "house"
"""
TOPIC = "edge-gateway/gw"
SWITCH = "homeassistant/switch/edge_gateway_gw/rules_door_open/config"


def kept(broker: Broker) -> dict[str, bytes]:
    """Return what the broker retains of the gateway, as a new client gets it; ends with a mark of our own."""
    with device(broker.port, "new client", clean=True) as client:
        client.subscribe("#")
        client.tell("mark", "end")
        until(lambda: "mark" in dict(client.told))
        found = dict(client.told)
        ours = {topic: raw for topic, raw in found.items() if topic.startswith((TOPIC, "homeassistant/"))}
        return {topic: raw for topic, raw in ours.items() if topic != f"{TOPIC}/mode/set"}


def last(cloud: Cloud, path: str) -> str | None:
    """Return what was last published on a topic of ours."""
    said = [raw for topic, raw in zip(cloud.topics, cloud.raw, strict=False) if topic == f"{TOPIC}/{path}"]
    return said[-1].decode() if said else None


def made(folder: Path, broker: Broker, parts: str) -> House:
    """Write a gateway with a rule about a door."""
    (folder / "gw" / "rules").mkdir(parents=True, exist_ok=True)
    (folder / "gw" / "rules" / "doors.py").write_text(RULE)
    (folder / "gw" / "devices.toml").write_text(DEVICES)
    return House(folder / "gw", broker_source(broker.url), parts)


def events(house: House, kind: str) -> list[dict[str, Any]]:
    """Return events of a type, asked in this process."""
    with ApiClient(house.state / "api.sock") as client:
        client.ask("flush")
        return list(client.stream("events", types=[kind], lanes=["telemetry", "timer"], limit=1000, follow=False))


def test_the_house_is_offered_set_and_cleared(tmp_path: Path, broker: Broker) -> None:
    """Discovery and plain topics show the house; what is set there is an event by who; nothing stays behind."""
    house = made(tmp_path, broker, PARTS)
    with watching(broker.port) as cloud, device(broker.port) as sender:
        sender._client.publish(f"{TOPIC}/mode/set", "night", 1, retain=True).wait_for_publish(
            30
        )  # nobody's wish of now
        with running(house):
            until(lambda: last(cloud, "rules/door_open") == "ON", lambda: cloud.topics)
            assert (last(cloud, "mode"), last(cloud, "status"), last(cloud, "inputs/guests")) == (
                "home", "online", "false",
            )  # fmt: skip
            found = kept(broker)
            switch = json.loads(found[SWITCH])
            assert switch["command_topic"] == f"{TOPIC}/rules/door_open/set"
            assert (switch["availability_topic"], switch["device"]["identifiers"]) == (
                f"{TOPIC}/status", ["edge_gateway_gw"],
            )  # fmt: skip
            select = json.loads(found["homeassistant/select/edge_gateway_gw/mode/config"])
            assert select["options"] == ["home", "away", "night", "vacation"]
            number = json.loads(found["homeassistant/number/edge_gateway_gw/inputs_target_night/config"])
            assert (number["min"], number["max"], number["unit_of_measurement"]) == (12, 21, "°C")

            sender.tell(f"{TOPIC}/mode/set", "away")
            sender.tell(f"{TOPIC}/inputs/target_night/set", "17.5")
            until(lambda: (last(cloud, "mode"), last(cloud, "inputs/target_night")) == ("away", "17.5"))
            changed = events(house, "mode_changed")[-1]
            assert (changed["actor"], changed["data"]) == ("mqtt:house", {"mode": "away", "was": "home"})
            sender.tell(f"{TOPIC}/inputs/target_night/set", "99")
            sender.tell(f"{TOPIC}/mode/set", "awya")
            until(lambda: house.status()["dead_letters"] == 2, house.status)

            sender.tell("zigbee2mqtt/front", {"contact": False})
            until(lambda: last(cloud, "alerts/door_open") == "ON", lambda: cloud.topics)
            about = json.loads(until(lambda: last(cloud, "alerts/door_open/about")))
            assert (about["text"], about["devices"]) == ("front-door is open", ["house/z2m:front"])
            sender.tell(f"{TOPIC}/rules/door_open/set", "OFF")
            until(lambda: last(cloud, "rules/door_open") == "OFF")
            assert events(house, "rule_disabled")[-1]["actor"] == "mqtt:house"
            until(lambda: last(cloud, "alerts/door_open") == "OFF", "what a disabled rule raised is over")
            sender.tell(f"{TOPIC}/rules/door_open/set", "ON")
            until(lambda: last(cloud, "rules/door_open") == "ON")

            assert not [name for name in house.ask("table", name="values") if "gateway" in name], "not its own device"
            house.kill()
            until(lambda: last(cloud, "status") == "offline", "the broker says so")
        with running(house):
            until(lambda: last(cloud, "status") == "online")
            assert last(cloud, "mode") == "away"
            until(lambda: cloud.topics.count(SWITCH) == 2, "each start has said it")
            sender.publish("homeassistant/status", "online").wait_for_publish(30)
            until(lambda: cloud.topics.count(SWITCH) == 3)
            assert house.stop() == 0
        until(lambda: last(cloud, "status") == "offline", "it says goodbye")
        without = made(tmp_path, broker, PARTS.partition("[offers]")[0])
        with running(without):
            until(lambda: not kept(broker), lambda: kept(broker))
            until(lambda: without.ask("table", name="offered") == {})
            assert without.stop() == 0
