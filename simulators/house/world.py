"""Rooms, weather and physics: what is true in the house, whatever its sensors say. Pure.

A room loses warmth to the outside, ten times as fast with an open window, and its thermostats heat it.  Freezers and
fridges keep a temperature of their own.  People are where their day says; where somebody is, sensors notice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from simulators.house.gadget import Gadget, Value
from simulators.house.scenario import Outside, RoomTable

AIRING = 10.0  # how many times faster a room cools through an open window
HEATING_CEL_PER_H = 4.0  # of a radiator that is fully open
FULLY_OPEN_CEL = 1.0  # so far below its setpoint a valve is fully open
KEEPS_CEL = {"freezer": -18.0, "fridge": 5.0}
COMPARTMENT_S = 1800.0  # in which a freezer goes two thirds of the way to another temperature
STANDBY_W = 120.0
NOON_S = 14 * 3600.0  # when it is warmest
WINDOWS = ("window", "skylight")


@dataclass(slots=True)
class Room:
    """A room as it is."""

    name: str
    temperature: float
    holds_s: float
    humidity: float = 45.0
    people: set[str] = field(default_factory=set)


class World:
    """What is true. `truth` has the fields of each gadget."""

    def __init__(self, rooms: Iterable[RoomTable], outside: Outside, gadgets: Iterable[Gadget], start_s: float) -> None:
        """Build it as the scenario says."""
        self.rooms = {table.name: Room(table.name, table.temperature, table.holds * 3600) for table in rooms}
        self.gadgets = list(gadgets)
        self.truth: dict[str, dict[str, Value]] = {gadget.name: dict(gadget.state) for gadget in self.gadgets}
        self.targets: dict[str, float] = {}  # of thermometers in compartments, or moved by a happening
        for gadget in self.gadgets:
            if gadget.kind in KEEPS_CEL and "temperature" in gadget.state:
                self.targets[gadget.name] = KEEPS_CEL[gadget.kind]
                if gadget.state["temperature"] == 20.0:
                    self.truth[gadget.name]["temperature"] = KEEPS_CEL[gadget.kind]
            elif gadget.room in self.rooms and "temperature" in gadget.state:
                self.truth[gadget.name]["temperature"] = self.rooms[gadget.room].temperature
        self._outside, self._start_s = outside, start_s
        self._exact = {
            name: float(fields["temperature"]) for name, fields in self.truth.items() if "temperature" in fields
        }

    def outside_cel(self, now_s: float) -> float:
        """Return the weather, `now_s` from the start."""
        of_day_s = (self._start_s + now_s) % 86_400
        return self._outside.mean + self._outside.swing * math.cos((of_day_s - NOON_S) / 86_400 * math.tau)

    def step(self, now_s: float, for_s: float) -> None:
        """Let time pass for rooms, compartments and meters."""
        outside = self.outside_cel(now_s)
        for room in self.rooms.values():
            inside = [gadget for gadget in self.gadgets if gadget.room == room.name]
            open_windows = sum(bool(self.truth[each.name].get("open")) for each in inside if each.kind in WINDOWS)
            loses = (room.temperature - outside) / room.holds_s * (1 + (AIRING - 1) * min(open_windows, 1))
            gains = sum(self._heats(each, room) for each in inside if each.model == "thermostat") / 3600
            room.temperature += (gains - loses) * for_s
            wet = 42.0 + 4.0 * len(room.people) - 12.0 * min(open_windows, 1)
            room.humidity += (wet - room.humidity) * min(1.0, for_s / 1800)
        for gadget in self.gadgets:
            self._sense(gadget, self.truth[gadget.name], for_s)
        self._meter(for_s)

    def _heats(self, thermostat: Gadget, room: Room) -> float:
        truth = self.truth[thermostat.name]
        if truth["mode"] == "off":
            return 0.0
        wanted = (float(truth["setpoint.heat"]) - room.temperature) / FULLY_OPEN_CEL
        return HEATING_CEL_PER_H * max(0.0, min(1.0, wanted))

    def _sense(self, gadget: Gadget, truth: dict[str, Value], for_s: float) -> None:
        room = self.rooms.get(gadget.room)
        if gadget.name in self.targets:
            exact = self._exact[gadget.name]
            exact += (self.targets[gadget.name] - exact) * min(1.0, for_s / COMPARTMENT_S)
            self._exact[gadget.name] = exact
            truth["temperature"] = round(exact, 1) + 0.0  # never -0.0
        elif room is not None and "temperature" in truth:
            truth["temperature"] = round(room.temperature, 1) + 0.0
        if room is not None and "humidity" in truth:
            truth["humidity"] = float(round(room.humidity))

    def _meter(self, for_s: float) -> None:
        total_w = STANDBY_W
        for gadget in self.gadgets:
            truth = self.truth[gadget.name]
            if gadget.model == "plug":
                truth["power"] = 25.0 + gadget.number * 7 % 90 if truth["on"] else 0.0
                total_w += float(truth["power"])
        for gadget in self.gadgets:
            if gadget.model == "meter":
                truth = self.truth[gadget.name]
                truth["power"] = round(total_w)
                truth["energy"] = round(float(truth["energy"]) + total_w * for_s / 3600, 1)

    def set(self, gadget: Gadget, values: Mapping[str, Value]) -> None:
        """Make something true; a temperature is where it drifts to, not a jump."""
        truth = self.truth[gadget.name]
        for name, value in values.items():
            if name == "temperature" and gadget.name in self._exact:
                self.targets[gadget.name] = float(value)
            else:
                truth[name] = value

    def let(self, gadget: Gadget, was: Mapping[str, Value]) -> None:
        """Undo `set`."""
        for name, value in was.items():
            if name == "temperature":
                if gadget.kind in KEEPS_CEL:
                    self.targets[gadget.name] = KEEPS_CEL[gadget.kind]
                else:
                    self.targets.pop(gadget.name, None)
            else:
                self.truth[gadget.name][name] = value
