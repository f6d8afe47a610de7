"""devices.toml of a running gateway, with real devices and rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.mqtt.broker import Broker
from tests.system.rig import Device, House, broker_target, device, own_listener, running, until, watching

WINDOW = """\
[[device]]
id = "house/z2m:bath"      # the small one
name = "bath-window"
room = "bath"
kind = "window"
"""
RULE = '''\
"""Says when a window opens, and turns the heating down."""

from gateway.rules import rule


@rule("window_opened", room="bath")
def airing(event, ctx):
    """A window in the bath is open."""
    ctx.emit("aired", {"name": event.device.name})
'''


def opened(house: House, sender: Device) -> list[dict[str, Any]]:
    """Close and open the contact; return all events about it but those of rules."""
    for contact in (True, False):
        sender.tell("zigbee2mqtt/bath", {"contact": contact})
    return [event for event in house.events("--device", "house/z2m:bath") if event["type"] != "aired"]


def types(events: list[dict[str, Any]]) -> list[str]:
    """Return the types in their order."""
    return [event["type"] for event in events]


def test_an_edit_is_live_everywhere_and_a_fault_changes_nothing(tmp_path: Path) -> None:
    """A saved devices.toml names events, selects in rules and is an event itself; a broken one is said file:line."""
    port, source = own_listener()
    house = House(tmp_path / "gw", source)
    (house.folder / "rules").mkdir(parents=True)
    (house.folder / "rules" / "airing.py").write_text(RULE)
    file = house.folder / "devices.toml"
    with running(house), device(port) as sender:
        until(lambda: house.status()["rules"]["state"] == "running", house.status)
        assert types(opened(house, sender)) == ["door_closed", "door_opened"]
        assert house.status()["devices"]["not_adopted"] == 1

        file.write_text(WINDOW)
        until(lambda: house.status()["devices"]["installed"] == 1, house.status)
        status = house.status()
        assert (status["devices"]["not_adopted"], status["devices"]["faults"], status["unread"]) == (0, [], [])
        assert status["devices"]["since"] > status["started"]
        assert types(opened(house, sender))[-3:] == ["device_adopted", "window_closed", "window_opened"]
        adopted = house.events("--type", "device_adopted")[0]
        assert (adopted["actor"], adopted["data"]["room"]) == ("file", "bath")
        aired = until(lambda: house.events("--type", "aired"))
        assert [event["data"]["name"] for event in aired] == ["bath-window"]

        file.write_text(WINDOW.replace("kind", "kidn"))
        status = until(lambda: found if (found := house.status())["devices"]["faults"] else None)
        assert status["devices"]["faults"] == [f"{file}:5: unknown key 'kidn' (did you mean 'kind'?)"]
        assert "devices.toml:5" in house("status").out
        assert house("check").code == 78
        assert types(opened(house, sender))[-1] == "window_opened", "the last good one counts"

        file.write_text(WINDOW.replace("window", "hatch").replace('"bath"', '"loft"'))
        until(lambda: not house.status()["devices"]["faults"], house.status)
        assert types(opened(house, sender))[-1] == "hatch_opened"
        file.unlink()
        until(lambda: house.status()["devices"]["faults"] == [f"{file}: it is gone"], house.status)
        assert types(opened(house, sender))[-1] == "hatch_opened"
        assert "devices.toml took effect" in house.said()
        assert house.stop() == 0


ROUTED = '[routes.bath]\nto = "cloud"\nrooms = ["bath"]\n'


def test_routes_go_by_rooms_as_they_are_now(tmp_path: Path, broker: Broker) -> None:
    """A device that moved leaves its room's route; a file without a room that a route names is refused at its line."""
    port, source = own_listener()
    house = House(tmp_path / "gw", source, broker_target(broker.url), ROUTED)
    house.folder.mkdir(exist_ok=True)
    file = house.folder / "devices.toml"
    file.write_text(WINDOW)
    with watching(broker.port) as cloud, running(house), device(port) as sender:
        sender.tell("zigbee2mqtt/bath", {"contact": True})
        until(lambda: types(cloud.arrived) == ["window_closed"], lambda: cloud.arrived)
        file.write_text(WINDOW.replace('"bath"', '"loft"'))
        status = until(lambda: found if (found := house.status())["devices"]["faults"] else None)
        assert "gateway.toml:" in status["devices"]["faults"][0]
        assert "unknown room 'bath'" in status["devices"]["faults"][0]

        second = WINDOW.replace("house/z2m:bath", "house/z2m:other").replace("bath-window", "other")
        file.write_text(WINDOW.replace('room = "bath"', 'room = "loft"') + second)
        until(lambda: house.status()["devices"]["installed"] == 2, house.status)
        sender.tell("zigbee2mqtt/bath", {"contact": False})
        sender.tell("zigbee2mqtt/other", {"contact": True})
        until(lambda: types(cloud.arrived) == ["window_closed", "device_adopted", "window_closed"], cloud.arrived)
        assert cloud.arrived[-1]["subject"] == "house/z2m:other"
        assert house.stop() == 0
