"""A house with a Modbus bus: twenty units, one dead, one that answers garbage; commands are read back or refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from simulators.modbus import PtyBus, SimulatedBus, SimulatedUnit
from simulators.subject import PROFILES
from tests.system.rig import PATIENCE_S, House, running, until

PROFILE = """
schema = 1
id = "bus-unit"
title = "A thermostat on a bus"
device_class = "thermostat"

[link]
kind = "serial"
baud = 115200
framing = { type = "modbus-rtu" }
timeout = "1s"
retries = 1

[device]
id = "modbus:{address}"

[[poll]]
name = "room"
every = "300ms"
function = 4
start = 0
count = 2

[[poll]]
name = "settings"
every = "1h"
function = 3
start = 10
count = 3

[[field]]
name = "temperature"
from = "room/0"
type = "int16"
scale = 0.1

[[field]]
name = "setpoint.heat"
from = "settings/10"
unit_from = { from = "settings/12", map = { 0 = "Cel", 1 = "[degF]" } }

[availability]
after_failures = 2

[[command]]
name = "set_setpoint"
field = "setpoint.heat"
arg = { type = "number", unit = "Cel", min = 5, max = 90 }
write = { function = 6, register = 10 }
confirm = { readback = "settings/10", within = "60s" }
"""
ADDRESSES = range(1, 21)
DEAD, GARBAGE, FAHRENHEIT = 7, 13, 4


def thermostat(address: int) -> SimulatedUnit:
    """Return a unit: 20 °C and so many tenths as its address, set to 19."""
    fault: Any = {DEAD: "dead", GARBAGE: "garbage"}.get(address, "")
    unit = SimulatedUnit(address, inputs={0: 200 + address, 1: 0}, fault=fault, allowed={10: range(5, 80)})
    unit.holding = {10: 19, 11: 0, 12: int(address == FAHRENHEIT)}
    return unit


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, PtyBus]]:
    """Run a house with such a bus, for all tests here."""
    folder = tmp_path_factory.mktemp("bus")
    bus = PtyBus(SimulatedBus([thermostat(address) for address in ADDRESSES]))
    units = "".join(f'[[sources.bus.unit]]\naddress = {n}\nprofile = "bus-unit"\n' for n in ADDRESSES)
    house = House(folder, f'[sources.bus]\nserial = "{bus.path}"\n{units}')
    mine = folder / "my-profiles"
    mine.mkdir()
    (mine / "bus-unit.toml").write_text(PROFILE)
    house.file.write_text(house.file.read_text().replace(f'profiles = ["{PROFILES}"]', f'profiles = ["{mine}"]'))
    try:
        with running(house):
            yield house, bus
            assert house.stop() == 0
    finally:
        bus.close()


def detail(house: House) -> dict[str, Any]:
    """Return what the bus says of itself."""
    (source,) = house.status()["sources"]
    found: dict[str, Any] = source["detail"]
    return found


def of(house: House, kind: str) -> dict[str, dict[str, Any]]:
    """Return the last event of a type, by device."""
    return {event["subject"]: event["data"] for event in house.events() if event["type"] == kind}


def test_twenty_units_one_dead_one_garbage(live: tuple[House, PtyBus]) -> None:
    """Eighteen units are polled alike beside a dead one and one that answers garbage, which are offline by name."""
    house, _ = live

    def polls() -> dict[int, int]:
        return {int(address): unit["polls"] for address, unit in detail(house)["units"].items()}

    good = [address for address in ADDRESSES if address not in (DEAD, GARBAGE)]

    def failures() -> int:
        return sum(unit["failures"] for address, unit in detail(house)["units"].items() if int(address) in good)

    def grown() -> list[int]:
        now = polls()
        return [now[address] - before[address] for address in good]

    while True:  # until they are watched for eight rounds in which the machine did not stand still
        before, failed = polls(), failures()
        until(lambda: min(grown()) >= 8, polls, timeout_s=3 * PATIENCE_S)  # who was offline is tried again in a minute
        counts = grown()
        if failures() == failed:
            break
    assert max(counts) <= 3 * min(counts)
    assert polls()[DEAD] == polls()[GARBAGE] == 0

    until(lambda: {u["online"] for a, u in detail(house)["units"].items() if int(a) in (DEAD, GARBAGE)} == {False})
    assert "no answer" in detail(house)["units"][str(DEAD)]["last_error"]
    (source,) = house.status()["sources"]
    assert {"7", "13"} <= set(re.findall(r"\d+", source["last_error"]))
    until(lambda: {"bus/modbus:7", "bus/modbus:13"} <= set(of(house, "device_offline")))
    warm = of(house, "temperature_changed")
    assert {subject: data["temperature"] for subject, data in warm.items()} == {
        f"bus/modbus:{n}": round(20 + n / 10, 1) for n in good
    }


def test_a_command_is_read_back_or_refused(live: tuple[House, PtyBus]) -> None:
    """A write reaches the unit in the unit it counts in and is read back at once; one it refuses says why."""
    house, bus = live
    units = bus.bus.units

    def settings(address: int) -> int:
        with bus.lock:
            return units[address].asked[3]

    until(lambda: settings(FAHRENHEIT) and settings(5))
    before = settings(FAHRENHEIT)
    assert house("send", f"bus/modbus:{FAHRENHEIT}", "set_setpoint", "21").code == 0
    assert house("send", "bus/modbus:5", "set_setpoint", "85").code == 0
    assert house("send", "bus/modbus:5", "set_setpoint", "91").code != 0
    until(lambda: units[FAHRENHEIT].written and settings(FAHRENHEIT) >= before + 2)  # before the write and behind it
    assert set(units[FAHRENHEIT].written) == {(10, 70)}
    until(lambda: f"bus/modbus:{FAHRENHEIT}" in of(house, "command_confirmed"))
    until(lambda: "bus/modbus:5" in of(house, "command_failed"))
    assert of(house, "setpoint_changed")[f"bus/modbus:{FAHRENHEIT}"]["setpoint.heat"] == 21.111111
    failed = of(house, "command_failed")["bus/modbus:5"]
    assert (failed["command"], failed["reason"]) == ("set_setpoint", "write: exception 3 (illegal data value)")
