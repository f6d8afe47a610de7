"""Commands both ways: what the gateway writes for a command is what the simulated device does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.errors import DecodeError
from simulators.house.dialects import DIALECTS, dialect_class
from simulators.house.gadget import SETTABLE
from simulators.house.house import House
from tests.simulators.house.agreement import Gateway
from tests.simulators.house.fleet import busy

COMMANDS: dict[str, tuple[str, Any]] = {
    "on": ("set_on", True),
    "setpoint.heat": ("set_setpoint", 23.0),
    "mode": ("set_mode", "off"),
    "position": ("set_position", 40),
    "locked": ("set_locked", False),
}
READ_ONLY = ("sparkplug", "mysensors-mqtt")  # the gateway has no commands there, as their files say
SPOKEN_TO = [
    name for name in DIALECTS if not dialect_class(name).asked and dialect_class(name).models & SETTABLE.keys()
]  # fmt: skip


@pytest.mark.parametrize("dialect", SPOKEN_TO)
def test_a_command_does_what_it_says(dialect: str, tmp_path: Path) -> None:
    """Every command that the gateway has for a device is understood by it as that field and value, and acted on."""
    house = House(busy(dialect))
    gateway = Gateway(house, tmp_path)
    for sent in house.upto(house.scenario.lasts_s):
        gateway.hear(sent)
    bridge, done = house.dialects[dialect], 0
    for gadget in house.gadgets:
        for field in SETTABLE.get(gadget.model, ()):
            name, value = COMMANDS[field]
            try:
                topic, payload = gateway.encode(bridge.source, bridge.id_of(gadget), name, value)
            except DecodeError:
                continue  # its profile has no such command
            house.told(dialect, "" if bridge.serial else topic, payload)
            list(house.upto(house.now_s + 60))
            heard = [(each.device, each.field, each.value) for each in house.heard]
            assert heard[-1:] == [(gadget.name, field, value)], f"{name}: {topic} {payload!r}"
            assert house.world.truth[gadget.name][field] == value
            done += 1
    assert bool(done) is (dialect not in READ_ONLY), "no command for any of its devices"


def test_none_is_left_out() -> None:
    """The commands that are tried are those a house's devices can be told."""
    assert {field for fields in SETTABLE.values() for field in fields} == set(COMMANDS)
