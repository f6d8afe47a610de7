"""Commands: from a canonical argument to what the device wants."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.errors import DecodeError
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.command import command_for
from gateway.profiles.decode import Decoder
from gateway.profiles.report import NOTES
from tests.profiles.deliveries import decoder, delivery
from tests.profiles.test_decode import PLAIN, profile

CATALOGUE = Catalogue.load()


def heard(topic: str, payload: Any) -> Decoder:
    """Return a decoder that has heard one message."""
    made = decoder(CATALOGUE)
    made.decode(delivery(topic, payload))
    return made


def test_json_command_answers_under_the_device_s_own_key() -> None:
    """A thermostat that reports current_heating_setpoint is set by that key, others by the usual one."""
    usual = heard("zigbee2mqtt/a/b", {"local_temperature": 20, "occupied_heating_setpoint": 20})
    assert usual.encode("house/z2m:a/b", "set_setpoint", 21.5) == (
        "zigbee2mqtt/a/b/set", b'{"occupied_heating_setpoint":21.5}'
    )  # fmt: skip
    other = heard("zigbee2mqtt/c", {"local_temperature": 20, "current_heating_setpoint": 20})
    assert other.encode("house/z2m:c", "set_setpoint", 21)[1] == b'{"current_heating_setpoint":21}'


def test_text_and_map() -> None:
    """A text command sends the mapped word."""
    made = heard("stat/lamp/RESULT", {"POWER": "ON"})
    assert made.encode("house/tasmota:lamp", "set_on", False) == ("cmnd/lamp/POWER", b"OFF")
    strip = heard("stat/strip/RESULT", {"POWER3": "ON"})
    assert strip.encode("house/tasmota:strip/POWER3", "set_on", True) == ("cmnd/strip/POWER3", b"ON")


def test_command_fits_the_component() -> None:
    """Of two commands of one name the one whose captures the device has is sent."""
    valve = heard("g/status/blutrv:200", {"target_C": 20})
    topic, payload = valve.encode("house/shelly:g/blutrv:200", "set_setpoint", 21.3)
    assert topic == "g/rpc"
    assert json.loads(payload)["params"] == {
        "id": 200,
        "method": "TRV.SetTarget",
        "params": {"id": 0, "target_C": 21.3},
    }
    wall = heard("w/status/thermostat:0", {"target_C": 20})
    assert json.loads(wall.encode("house/shelly:w/thermostat:0", "set_setpoint", 21)[1])["params"] == {
        "config": {"id": 0, "target_C": 21}
    }


@pytest.mark.parametrize(("value", "sent"), [(21.3, 21.5), (21.2, 21), ("22", 22), (5, 5), (30, 30), (29.9, 30)])
def test_numbers_snap_to_the_step(value: Any, sent: float) -> None:
    """A number is snapped to the device's step, and sent as an integer when it is one."""
    made = heard("zigbee2mqtt/a", {"local_temperature": 20, "occupied_heating_setpoint": 20})
    payload = made.encode("house/z2m:a", "set_setpoint", value)[1]
    assert payload == json.dumps({"occupied_heating_setpoint": sent}, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("command", "value", "why"),
    [
        ("set_setpoint", 31, "31 is outside 5 to 30"),
        ("set_setpoint", 1e308, "is outside 5 to 30"),
        ("set_setpoint", True, "true is not a number"),
        ("set_setpoint", None, "null is not a number"),
        ("set_setpoint", float("nan"), "is not a number"),
        ("set_mode", "heet", "did you mean 'heat'"),
        ("set_mode", 3, "not a text"),
        ("set_setpont", 21, "did you mean 'set_setpoint'"),
    ],
)
def test_refused_with_a_reason(command: str, value: Any, why: str) -> None:
    """What cannot be sent is refused, saying why and what was probably meant."""
    made = heard("zigbee2mqtt/a", {"local_temperature": 20, "occupied_heating_setpoint": 20})
    with pytest.raises(DecodeError, match=why):
        made.encode("house/z2m:a", command, value)


def test_unheard_device_is_refused() -> None:
    """Nothing is sent to a device whose profile is not known."""
    with pytest.raises(DecodeError, match="has not been heard yet"):
        decoder(CATALOGUE).encode("house/z2m:ghost", "set_mode", "off")


def test_availability_and_joins_do_not_change_whose_device_it_is() -> None:
    """A bridge's words about a device leave its profile, so that commands still reach it."""
    made = heard("zigbee2mqtt/a", {"local_temperature": 20, "occupied_heating_setpoint": 20})
    made.decode(delivery("zigbee2mqtt/a/availability", {"state": "offline"}))
    made.decode(delivery("zigbee2mqtt/bridge/event", {"type": "device_announce", "data": {"friendly_name": "a"}}))
    assert made.encode("house/z2m:a", "set_mode", "off")[1] == b'{"system_mode":"off"}'


def test_unit_and_scale_are_inverted() -> None:
    """The argument is canonical; the device gets its own unit."""
    text = (
        PLAIN
        + '[[field]]\nname = "setpoint.heat"\nfrom = "/s"\nunit = "[degF]"\n'
        + (
            '[[command]]\nname = "set_setpoint"\nfield = "setpoint.heat"\nunit = "[degF]"\n'
            'arg = { type = "number", unit = "Cel" }\ntopic = "t/{device}/set"\njson = { s = "$value", id = "x" }\n'
        )
    )
    made = decoder(profile(text))
    made.decode(delivery("t/a", {"s": 68}))
    assert made.values["house/t:a"]["setpoint.heat"] == 20
    assert json.loads(made.encode("house/t:a", "set_setpoint", 20)[1]) == {"s": 68, "id": "x"}


def test_hostile_device_names_stay_in_their_topic() -> None:
    """A device cannot steer commands elsewhere by its name: wildcards are refused when it is heard."""
    made = decoder(CATALOGUE)
    assert made.decode(delivery("zigbee2mqtt/#", {"local_temperature": 20})).rejected
    assert made.values == {}


def test_command_for_a_field() -> None:
    """A claim on a field (mode = off) finds the command that sets it."""
    made = heard("zigbee2mqtt/a", {"local_temperature": 20, "occupied_heating_setpoint": 20})
    compiled, notes = CATALOGUE.profiles["zigbee2mqtt-thermostat"], made.values["house/z2m:a"][NOTES]
    assert command_for(compiled, notes, "mode") == "set_mode"
    assert command_for(compiled, notes, "setpoint.heat") == "set_setpoint"
    assert command_for(compiled, notes, "battery") is None
