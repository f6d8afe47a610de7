"""devices.toml of a running gateway, with real devices and rules."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from gateway.actors import by_file
from gateway.api.client import ApiClient
from gateway.cli.main import main
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


def events(house: House, kind: str = "*") -> list[dict[str, Any]]:
    """Return the events of a type about the bath, asked in this process: a verb takes half a second to start."""
    with ApiClient(house.state / "api.sock") as client:
        client.ask("flush")
        return list(client.stream("events", devices=["house/z2m:bath"], types=[kind], limit=1000, follow=False))


def verb(house: House, *words: str) -> int:
    """Run a verb in this process."""
    return main([*words, "--config", str(house.file)])


def opened(house: House, sender: Device) -> list[dict[str, Any]]:
    """Close and open the contact; return all events about it but those of rules."""
    for contact in (True, False):
        sender.tell("zigbee2mqtt/bath", {"contact": contact})
    return [event for event in events(house) if event["type"] != "aired"]


def types(events: list[dict[str, Any]]) -> list[str]:
    """Return the types in their order."""
    return [event["type"] for event in events]


def test_an_edit_is_live_everywhere_and_a_fault_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A saved devices.toml names events, selects in rules and is an event itself; a broken one is said file:line."""
    port, source = own_listener()
    house = House(tmp_path / "gw", source)
    (house.folder / "rules").mkdir(parents=True)
    (house.folder / "rules" / "airing.py").write_text(RULE)
    file = house.folder / "devices.toml"
    with running(house), device(port) as sender:
        until(lambda: house.status()["rules"]["state"] == "running", house.status)
        assert types(opened(house, sender)) == ["door_closed", "door_opened"]
        sender.tell("zigbee2mqtt/bridge/state", {"state": "online"})
        until(lambda: house.status()["devices"]["heard"] == 2, house.status)
        assert house.status()["devices"]["not_adopted"] == 1
        assert house("devices", "list", "--new", "--names").out.split() == ["house/z2m:bath"], "nobody names a bridge"
        assert [(each["id"], each["bridge"]) for each in house.json("devices", "list")] == [
            ("house/z2m:bath", False),
            ("house/z2m:bridge", True),
        ]

        file.write_text(WINDOW)
        until(lambda: house.status()["devices"]["installed"] == 1, house.status)
        status = house.status()
        assert (status["devices"]["not_adopted"], status["devices"]["faults"], status["unread"]) == (0, [], [])
        assert status["devices"]["since"] > status["started"]
        assert types(opened(house, sender))[-3:] == ["device_adopted", "window_closed", "window_opened"]
        adopted = events(house, "device_adopted")[0]
        assert (adopted["actor"], adopted["data"]["room"]) == (by_file(file), "bath")
        aired = until(lambda: events(house, "aired"))
        assert [event["data"]["name"] for event in aired] == ["bath-window"]

        file.write_text(WINDOW.replace("kind", "kidn"))
        status = until(lambda: found if (found := house.status())["devices"]["faults"] else None)
        assert status["devices"]["faults"] == [f"{file}:5: unknown key 'kidn' (did you mean 'kind'?)"]
        assert verb(house, "check") == 78
        assert verb(house, "status") == 1
        assert "devices.toml:5: unknown key" in capsys.readouterr().out
        assert types(opened(house, sender))[-1] == "window_opened", "the last good one counts"

        file.write_text(f'{WINDOW}profile = "enocean-contacts"\n')
        wrong = "there is no profile 'enocean-contacts' (did you mean 'enocean-contact'?)"
        until(lambda: wrong in str(house.status()["devices"]["faults"]), house.status)
        assert verb(house, "check") == 78
        assert wrong in capsys.readouterr().out
        assert types(opened(house, sender))[-1] == "window_opened", "as above"

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
        for contact in (False, True):  # closing it has left by this route before
            sender.tell("zigbee2mqtt/bath", {"contact": contact})
        sender.tell("zigbee2mqtt/other", {"contact": True})
        until(lambda: types(cloud.arrived) == ["window_closed", "device_adopted", "window_closed"], cloud.arrived)
        assert cloud.arrived[-1]["subject"] == "house/z2m:other"
        assert house.stop() == 0


def test_verbs_are_live_at_once_and_say_who(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Adopted, renamed, inverted and forgotten by verbs: the next message shows it, each is an event by the person."""
    port, source = own_listener()
    house = House(tmp_path / "gw", source)
    with running(house), device(port) as sender:
        opened(house, sender)
        assert verb(house, "devices", "list", "--names", "--new") == 0
        assert capsys.readouterr().out.split() == ["house/z2m:bath"]
        assert verb(house, "devices", "adopt", "bath", "--kind", "window", "--room", "bath") == 0
        assert "live since" in capsys.readouterr().out
        assert types(opened(house, sender))[-2:] == ["window_closed", "window_opened"]
        assert verb(house, "devices", "invert", "bath") == 0
        sender.tell("zigbee2mqtt/bath", {"contact": False})
        assert types(events(house))[-1] == "window_closed"
        assert verb(house, "devices", "rename", "bath", "small window") == 0
        capsys.readouterr()
        assert verb(house, "devices", "forget", "small window", "--data", "--json") == 0
        assert json.loads(capsys.readouterr().out) == {
            "devices": [{"id": "house/z2m:bath"}],
            "done": "forgotten",
            "data": True,
        }
        assert house.ask("table", name="values") == {}
        changes = [event for event in events(house) if event["type"].startswith("device_")]
        assert types(changes) == [
            *("device_adopted", "device_inverted", "device_renamed", "device_forgotten", "device_data_forgotten")
        ]
        assert {event["actor"].partition(":")[0] for event in changes} == {"person"}
        sender.tell("zigbee2mqtt/bath", {"contact": True})
        assert types(events(house))[-1] == "door_closed", "as if never heard"
        assert house.stop() == 0
    again = House(tmp_path / "gw", source)
    with running(again):
        assert again.ask("table", name="values")["house/z2m:bath"]["open"] is False
        assert again.stop() == 0


def test_what_nobody_reads_is_listed_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stranger is counted in `status`, listed with the profile that fits, and seen as it comes."""
    port, source = own_listener()
    house = House(tmp_path / "gw", source)
    with running(house), device(port) as sender, ThreadPoolExecutor(1) as others:
        sender.tell("attic/z2m/door", {"contact": True, "battery": 77})
        assert house.status()["devices"]["unknown"] == 1
        assert verb(house, "status") == 0
        assert (
            "1 device that no profile reads [EG-308]. Type: edge-gateway devices list --unknown"
            in capsys.readouterr().out
        )
        assert verb(house, "devices", "list", "--unknown") == 0
        told = capsys.readouterr().out
        assert "fits best: zigbee2mqtt-contact" in told
        assert 'zigbee2mqtt = "attic/z2m"' in told

        shown = others.submit(verb, house, "events", "--raw", "--follow", "--limit", "2", "--topic", "+/#", "--json")
        while not shown.done():
            sender.tell("zigbee2mqtt/bath", {"contact": True, "token": "abc"})
            sender.tell("attic/z2m/door", {"contact": True})
            wait([shown], 0.2)
        messages = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert shown.result() == 0
        assert {message["topic"]: message["profile"] for message in messages} == {
            "zigbee2mqtt/bath": "zigbee2mqtt-contact", "attic/z2m/door": ""
        }  # fmt: skip
        read = next(message for message in messages if message["profile"])
        assert (read["fields"]["open"], read["payload"]) == (False, '{"contact":true,"token":"***"}')
        assert house.stop() == 0


RADIATOR = """\
[[device]]
id = "house/z2m:radiator"
name = "radiator"
commands = "observe"
"""


def test_what_is_only_observed_is_live_and_check_knows_what_was_heard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is no longer observed is commanded at once; names that nobody has are faults, also of devices only heard."""
    port, source = own_listener()
    house = House(tmp_path / "gw", source)
    house.folder.mkdir(exist_ok=True)
    (house.folder / "devices.toml").write_text(RADIATOR)
    state = {"local_temperature": 20.5, "occupied_heating_setpoint": 18, "system_mode": "heat"}
    with running(house), device(port) as sender, device(port, "radiator") as radiator:
        radiator.subscribe("zigbee2mqtt/radiator/set")
        sender.tell("zigbee2mqtt/radiator", state)
        house.ask("command", device="radiator", command="set_setpoint", value=21)
        until(lambda: house.status()["commands"]["observed"] == 1, house.status)
        assert house.status()["commands"]["observing"] == ["house/z2m:radiator"]
        assert verb(house, "devices", "adopt", "radiator", "--commands", "run") == 0
        house.ask("command", device="radiator", command="set_setpoint", value=22)
        until(lambda: radiator.told, house.status)
        assert json.loads(radiator.told[0][1])["occupied_heating_setpoint"] == 22

        (house.folder / "devices.toml").write_text("")
        (house.folder / "rules").mkdir()
        misspelt = RULE.replace('room="bath"', 'device="house/z2m:radiatr"')
        (house.folder / "rules" / "airing.py").write_text(misspelt)
        capsys.readouterr()
        assert verb(house, "check") == 78
        assert "there is no device 'house/z2m:radiatr'" in (said := capsys.readouterr().out)
        assert "did you mean 'house/z2m:radiator'" in said
        assert house.stop() == 0
    assert verb(house, "check") == 78, "the journal knows it, too"
    assert "did you mean 'house/z2m:radiator'" in capsys.readouterr().out
