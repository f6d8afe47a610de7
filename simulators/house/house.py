"""The simulated house: a clock of its own, a queue of what happens next, and what the devices say. Pure.

The same scenario and seed say the same messages at the same times, byte for byte, as long as nobody sends commands:
those come from outside, when they come (`House.told`).
"""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from simulators.house.dialects import dialect_class
from simulators.house.gadget import MODELS, MOMENTARY, Dialect, Gadget, Order, Said, Value
from simulators.house.people import Moment, timeline
from simulators.house.scenario import FaultTable, Scenario, names_of, seconds
from simulators.house.troubles import ACT_LATE_S, FLAP_S, FLOOD_PER_S, REVERT_S, SKEW_S, Trouble, Troubles
from simulators.house.world import World

NOTICED = {"temperature": 0.1, "humidity": 1.0, "power": 2.0, "energy": 50.0}  # a smaller change is not said
SETTLE_S = 2.0  # from the births to the first values
SPREAD_S = 0.05  # between the first values of two devices
MOTION_S = 90.0  # after which a sensor says that nobody is there
STIRS_S = 240.0  # how often somebody who is at home moves, on average
DOOR_S = 8.0  # how long a door is open when somebody goes through
OPEN_S = 300.0  # how long a window is, unless the scenario says
ACTS_S = 0.4  # from a command to its effect
PASSES_S = 7200.0  # between two passers-by a camera sees, on average
PASSERS = ("cat", "car", "dog", "cat")


@dataclass(frozen=True, slots=True)
class Sent:
    """A message on its way: when (seconds from the start), by which dialect, which of all (from 1)."""

    at_s: float
    number: int
    dialect: str
    said: Said


@dataclass(frozen=True, slots=True)
class Heard:
    """A command that a device has understood."""

    at_s: float
    device: str
    field: str
    value: Value


class House:
    """All of it. `upto` lets time pass and yields what is said meanwhile."""

    def __init__(self, scenario: Scenario, seed: int | None = None, faults: Sequence[FaultTable] = ()) -> None:
        """Build it; nothing has happened."""
        self.scenario, self.seed = scenario, scenario.seed if seed is None else seed
        self.gadgets = gadgets_of(scenario)
        self._by_name = {gadget.name: gadget for gadget in self.gadgets}
        of: dict[str, list[Gadget]] = defaultdict(list)
        for gadget in self.gadgets:
            of[gadget.dialect].append(gadget)
        self.dialects: dict[str, Dialect] = {name: dialect_class(name)(own) for name, own in of.items()}
        self.troubles = Troubles([*scenario.fault, *faults], self.gadgets)
        self.world = World(scenario.room, scenario.outside, self.gadgets, scenario.start_s)
        self.now_s = 0.0
        self.heard: list[Heard] = []
        self._sent = 0
        self._serial = 0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._out: list[tuple[str, Said]] = []
        self._rng = {gadget.name: random.Random(f"{self.seed}/{gadget.name}") for gadget in self.gadgets}
        self._moved_s: dict[str, float] = {}  # room -> when somebody moved there
        self._tick_s = seconds(scenario.tick)
        self._begin()

    # ---- time ----------------------------------------------------------------------------------------

    def upto(self, until_s: float) -> Iterator[Sent]:
        """Let time pass until then; yield what is said, in order."""
        while self._queue and self._queue[0][0] <= until_s:
            self.now_s, _, act = heapq.heappop(self._queue)
            act()
            yield from self._said()
        self.now_s = max(self.now_s, until_s)

    @property
    def next_s(self) -> float:
        """Return when something happens next."""
        return self._queue[0][0] if self._queue else float("inf")

    def told(self, dialect: str, topic: str, payload: bytes) -> list[Sent]:
        """Hear a command now; return what is answered at once."""
        bridge = self.dialects[dialect]
        for answer in bridge.hear(topic, payload, self._clock(None)):
            if isinstance(answer, Order):
                self._ordered(answer)
            else:
                self._out.append((dialect, answer))
        return list(self._said())

    def reborn(self, dialect: str) -> list[Sent]:
        """Have a bridge come up again, as after its broker was away; return what it says."""
        self._births(dialect)
        return list(self._said())

    def _later(self, after_s: float, act: Callable[[], None]) -> None:
        self._at(self.now_s + after_s, act)

    def _at(self, at_s: float, act: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._queue, (max(at_s, self.now_s), self._serial, act))

    def _said(self) -> Iterator[Sent]:
        out, self._out = self._out, []
        for dialect, said in out:
            self._sent += 1
            yield Sent(self.now_s, self._sent, dialect, said)

    def _clock(self, gadget: Gadget | None) -> float:
        """Return Unix time by a device's clock."""
        skew = self.troubles.of(gadget, self.now_s, "clock_skew") if gadget else None
        return self.scenario.start_s + self.now_s + (skew.by(SKEW_S) if skew else 0.0)

    # ---- the timeline --------------------------------------------------------------------------------

    def _begin(self) -> None:
        for name in self.dialects:
            self._at(0.0, lambda name=name: self._births(name))  # type: ignore[misc]
        for index, gadget in enumerate(self.gadgets):
            self._at(SETTLE_S + index * SPREAD_S, lambda gadget=gadget: self._say(gadget, ()))  # type: ignore[misc]
            repeat_s = self.dialects[gadget.dialect].repeat_s
            if repeat_s:
                self._at(repeat_s * (0.3 + index * 0.618 % 0.7), lambda g=gadget, s=repeat_s: self._repeat(g, s))  # type: ignore[misc]
            for moment_s in self.troubles.moments(gadget):
                self._at(moment_s + 0.001, lambda gadget=gadget: self._look(gadget))  # type: ignore[misc]
            if gadget.model == "camera":
                self._passer(gadget)
        for person in self.scenario.person:
            self.world.rooms[person.room].people.add(person.name)
            self._at(SETTLE_S, lambda name=person.name: self._stir(name))  # type: ignore[misc]
        for moment in timeline(self.scenario.person, self.scenario.start_s, self.scenario.lasts_s, self.seed):
            self._at(moment.at_s, lambda moment=moment: self._act(moment))  # type: ignore[misc]
        for happening in self.scenario.happening:
            gadget, lasts = self._by_name[happening.device], happening.lasts
            self._at(seconds(happening.at), lambda g=gadget, h=happening, lasts=lasts: self._set(g, h.set, lasts))  # type: ignore[misc]
        for trouble in self.troubles.all:
            self._at(trouble.start_s, lambda trouble=trouble: self._trouble_begins(trouble))  # type: ignore[misc]
        self._at(SETTLE_S + self._tick_s, self._tick)

    def _births(self, dialect: str) -> None:
        bridge = self.dialects[dialect]
        for said in bridge.births(self._clock(None)):
            gadget = self._by_name.get(said.device)
            if gadget is None or not self.troubles.mute(gadget, self.now_s):
                self._out.append((dialect, said))

    def _trouble_begins(self, trouble: Trouble) -> None:
        for gadget in self.gadgets:
            if self.troubles.of(gadget, self.now_s, trouble.kind) is not trouble:
                continue
            if trouble.kind == "flood":
                self._flood(gadget, trouble)
            elif trouble.kind == "flapping":
                self._flap(gadget, trouble)
        if trouble.kind == "unplug":
            self._at(trouble.end_s, lambda: self._plugged_in(trouble))

    def _plugged_in(self, trouble: Trouble) -> None:
        meant = {gadget.dialect for gadget in self.gadgets if trouble in self.troubles._of.get(gadget.name, ())}
        for dialect in sorted(meant):
            self._births(dialect)
            for gadget in self.dialects[dialect].gadgets:
                self._say(gadget, ())

    def _flood(self, gadget: Gadget, trouble: Trouble) -> None:
        if self.now_s < trouble.end_s:
            self._say(gadget, ())
            self._later(1 / trouble.by(FLOOD_PER_S), lambda: self._flood(gadget, trouble))

    def _flap(self, gadget: Gadget, trouble: Trouble) -> None:
        if self.now_s < trouble.end_s:
            self._look(gadget)
            self._later(trouble.by(FLAP_S), lambda: self._flap(gadget, trouble))

    def _tick(self) -> None:
        self.world.step(self.now_s, self._tick_s)
        for gadget in self.gadgets:
            self._look(gadget)
        self._later(self._tick_s, self._tick)

    def _repeat(self, gadget: Gadget, repeat_s: float) -> None:
        self._say(gadget, ())
        self._later(repeat_s, lambda: self._repeat(gadget, repeat_s))

    # ---- people --------------------------------------------------------------------------------------

    def _act(self, moment: Moment) -> None:
        step, name = moment.step, moment.person.name
        if step.go:
            self._move(name, step.go)
        if step.leave or step.come:
            self._through_the_door(name, moment.person.room, inwards=step.come)
        if step.open:
            self._set(self._by_name[step.open], {"open": True}, step.lasts or f"{OPEN_S:.0f}s")
        if step.press:
            self._push(self._by_name[step.press])
        if step.switch:
            gadget = self._by_name[step.switch]
            field = {"lock": "locked", "thermostat": "setpoint.heat", "cover": "position"}.get(gadget.model, "on")
            self._set(gadget, {field: step.to}, step.lasts)

    def _through_the_door(self, name: str, home: str, *, inwards: bool) -> None:
        doors = [each for each in self.gadgets if each.model == "contact" and each.kind in ("", "door")]
        doors = [each for each in doors if "entrance" in each.labels] or doors[:1]
        for door in doors:
            self._set(door, {"open": True}, f"{DOOR_S:.0f}s")
        for camera in (each for each in self.gadgets if each.model == "camera"):
            self._watched(camera, "person")
        self._move(name, (doors[0].room if doors else "") or home if inwards else "")

    def _move(self, name: str, to: str) -> None:
        for room in self.world.rooms.values():
            room.people.discard(name)
        if to in self.world.rooms:
            self.world.rooms[to].people.add(name)
            self._motion(to)

    def _stir(self, name: str) -> None:
        """Move a little where one is."""
        for room in self.world.rooms.values():
            if name in room.people:
                self._motion(room.name)
        self._later(
            random.Random(f"{self.seed}/{name}/{self.now_s}").expovariate(1 / STIRS_S), lambda: self._stir(name)
        )

    def _motion(self, room: str) -> None:
        self._moved_s[room] = self.now_s
        for gadget in self.gadgets:
            if gadget.room == room and gadget.model == "motion":
                self.world.truth[gadget.name]["motion"] = True
                self._look(gadget)
                self._later(MOTION_S, lambda gadget=gadget: self._still(gadget))  # type: ignore[misc]

    def _still(self, gadget: Gadget) -> None:
        if self.now_s - self._moved_s[gadget.room] >= MOTION_S:
            self.world.truth[gadget.name]["motion"] = False
            self._look(gadget)

    def _passer(self, camera: Gadget) -> None:
        rng = self._rng[camera.name]
        if self.now_s:
            self._watched(camera, rng.choice(PASSERS))
        self._later(max(1.0, rng.expovariate(1 / PASSES_S)), lambda: self._passer(camera))

    def _watched(self, camera: Gadget, label: str) -> None:
        self.world.truth[camera.name]["motion"] = True
        self._look(camera)
        camera.state["object"] = label
        self._say(camera, ("object",))
        self._later(20.0, lambda: self._set(camera, {"motion": False}, ""))

    def _push(self, button: Gadget) -> None:
        button.state["button"] = "single"
        self._say(button, ("button",))

    # ---- devices -------------------------------------------------------------------------------------

    def _set(self, gadget: Gadget, values: dict[str, Value], lasts: str) -> None:
        truth = self.world.truth[gadget.name]
        was = {name: truth.get(name, value) for name, value in values.items()}
        self.world.set(gadget, values)
        self._look(gadget)
        if lasts:
            self._later(seconds(lasts), lambda: self._undo(gadget, was))

    def _undo(self, gadget: Gadget, was: dict[str, Value]) -> None:
        self.world.let(gadget, was)
        self._look(gadget)

    def _ordered(self, order: Order) -> None:
        gadget = order.gadget
        self.heard.append(Heard(self.now_s, gadget.name, order.field, order.value))
        if self.troubles.of(gadget, self.now_s, "ignores"):
            self._later(ACTS_S, lambda: self._say(gadget, ()))
            return
        late = self.troubles.of(gadget, self.now_s, "acts_late")
        reverts = self.troubles.of(gadget, self.now_s, "reverts")
        lasts = f"{reverts.by(REVERT_S):g}s" if reverts else ""
        after_s = late.by(ACT_LATE_S) if late else ACTS_S
        self._later(after_s, lambda: self._set(gadget, {order.field: order.value}, lasts))

    def _look(self, gadget: Gadget) -> None:
        """Have a device compare the world with what it said last, and say what has changed."""
        seen = self.troubles.seen(gadget, self.world.truth[gadget.name], self.now_s, self._rng[gadget.name])
        changed = [name for name, value in seen.items() if _differs(name, gadget.state.get(name), value)]
        low = self.troubles.battery(gadget, self.now_s)
        if changed or low != gadget.battery:
            self._say(gadget, changed)

    def _say(self, gadget: Gadget, changed: Iterable[str]) -> None:
        if self.troubles.mute(gadget, self.now_s):
            return
        rng = self._rng[gadget.name]
        seen = self.troubles.seen(gadget, self.world.truth[gadget.name], self.now_s, rng)
        gadget.state.update(seen)
        gadget.sent += 1
        full, gadget.battery = gadget.battery, self.troubles.battery(gadget, self.now_s)
        bridge = self.dialects[gadget.dialect]
        for said in bridge.say(gadget, frozenset(changed), self._clock(gadget)):
            for later_s, each in self.troubles.carried(said, gadget, self.now_s, rng):
                if later_s:
                    self._later(later_s, lambda each=each: self._out.append((gadget.dialect, each)))  # type: ignore[misc]
                else:
                    self._out.append((gadget.dialect, each))
        gadget.battery = full


def gadgets_of(scenario: Scenario) -> list[Gadget]:
    """Return the devices of a scenario, numbered within their dialects."""
    numbers: dict[str, int] = defaultdict(int)
    found = []
    for table in scenario.device:
        for name in names_of(table):
            numbers[table.dialect] += 1
            state = {field: value for field, value in table.set.items() if field in MODELS[table.model]}
            found.append(
                Gadget(
                    name=name, dialect=table.dialect, model=table.model, room=table.room,
                    number=numbers[table.dialect], kind=table.kind, label=_nth(table.label, name, table.name),
                    labels=tuple(table.labels), battery=table.battery, state=_numbers(state),
                )
            )  # fmt: skip
    return found


def _nth(label: str, name: str, first: str) -> str:
    return label + name.removeprefix(first) if label else ""


def _numbers(state: dict[str, Value]) -> dict[str, Value]:
    return {name: float(value) if type(value) is int else value for name, value in state.items()}


def _differs(name: str, old: Value | None, new: Value) -> bool:
    if name in MOMENTARY:
        return False
    if name in NOTICED and isinstance(old, int | float) and isinstance(new, int | float):
        return abs(new - old) >= NOTICED[name] - 1e-9
    return old != new


def line_of(sent: Sent) -> bytes:
    """Write a message as a line of a capture; bytes that are no text as hex."""
    said = sent.said
    row: dict[str, object] = {"t": round(sent.at_s, 3), "dialect": sent.dialect, "topic": said.topic}
    try:
        row["payload"] = said.payload.decode()
    except UnicodeDecodeError:
        row["hex"] = said.payload.hex()
    if said.retain:
        row["retain"] = True
    return msgspec.json.encode(row) + b"\n"
