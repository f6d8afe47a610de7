"""A scenario: a TOML file that says who lives where, with which devices, and what goes wrong.

Every table is a frozen Struct here; unknown keys, rooms, devices and dialects are faults with file, line and what was
probably meant.  Durations are text ("90s", "2h", "1d 6h"); a moment is a duration from the start;
a time of day is "07:15".
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from gateway.document import Document, Place, raise_faults
from gateway.errors import Fault, probably_meant
from simulators.house.dialects import DIALECTS, dialect_class
from simulators.house.gadget import MODELS, Value

DEVICES_MAX = 5000
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

FaultKind = Literal[
    "garbled", "bad_checksum", "duplicate", "late", "clock_skew", "flood",
    "unplug", "half_open", "broker_restart", "slow_disk",
    "cloud_400", "cloud_404", "cloud_429", "cloud_500", "cloud_503", "cloud_silent", "cloud_cut",
    "stuck", "drift", "spike", "flapping", "dead_battery", "silent", "wrong_polarity",
    "ignores", "acts_late", "reverts",
]  # fmt: skip
FAULTS: tuple[str, ...] = FaultKind.__args__  # type: ignore[attr-defined]
Model = Literal[
    "contact", "motion", "thermometer", "thermostat", "plug", "light", "lock", "cover", "leak", "smoke", "button",
    "camera", "meter",
]  # fmt: skip


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class Outside(_Table, frozen=True):
    """The weather: a mean in °C, and how far noon and night are from it."""

    mean: float = 6.0
    swing: float = 5.0


class RoomTable(_Table, frozen=True):
    """A room. `holds` is how many hours it takes to lose two thirds of its warmth with closed windows."""

    name: str
    temperature: float = 20.0
    holds: Annotated[float, msgspec.Meta(gt=0)] = 12.0


class DeviceTable(_Table, frozen=True):
    """A device: its name in its own dialect, and what devices.toml would say of it."""

    name: str
    dialect: str
    model: Model
    room: str = ""
    kind: str = ""  # door, window, freezer ...; default: what the model usually is
    label: str = ""  # its name for rules and people
    labels: list[str] = []
    battery: float | None = None
    set: dict[str, Value] = {}  # how it is at first
    count: Annotated[int, msgspec.Meta(ge=1, le=DEVICES_MAX)] = 1  # more of the same: " 2", " 3" behind the name


class Step(_Table, frozen=True):
    """One thing a person does every day at about that time."""

    at: str
    go: str = ""  # to a room
    leave: bool = False  # the house, by the entrance
    come: bool = False  # home
    open: str = ""  # a device: a window, a door, a fridge
    press: str = ""  # a button
    switch: str = ""  # a plug, light or lock
    to: Value = True  # what `switch` sets
    lasts: str = ""  # after which it is undone
    jitter: str = "0s"  # at random, up to so much later
    chance: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    days: str = ""  # "mon-fri", "sat,sun"


class Person(_Table, frozen=True):
    """Somebody who moves through the rooms."""

    name: str
    room: str  # where the first day begins
    day: list[Step] = []


class Happening(_Table, frozen=True):
    """What happens to a device by nature: water, smoke, a freezer that fails."""

    at: str
    device: str
    set: dict[str, Value]
    lasts: str = ""
    name: str = ""


class FaultTable(_Table, frozen=True):
    """Something goes wrong: from `at`, for `lasts` (to the end without), with these devices."""

    kind: FaultKind
    device: str = "*"  # a name with * and ?, "dialect:rflink", or "room:hall"
    at: str = "0s"
    lasts: str = ""
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0  # of messages that are hurt
    by: float = 0.0  # how much: °C an hour (drift), °C (spike), seconds (late, clock_skew ...), per s (flood)
    name: str = ""


class Expect(_Table, frozen=True):
    """What has to be seen, or must not be, within a time of a moment."""

    alert: str = ""  # an alert's key
    event: str = ""  # a type, with * and ?
    command: str = ""  # the field of a device that is set by the gateway: "mode", "on"
    device: str = ""  # a device of this file
    to: Value | None = None  # value of the field, of an event or command
    after: str = "0s"  # a moment, or the name of a happening or fault
    within: str = ""  # default: to the end
    name: str = ""

    def __post_init__(self) -> None:
        """Check that it says one thing."""
        if sum(map(bool, (self.alert, self.event, self.command))) != 1:
            raise ValueError("say one of `alert`, `event` and `command`")
        if self.command and not self.device:
            raise ValueError("`command` needs a `device`")


class ExpectLedger(_Table, frozen=True):
    """What the books must say in the end."""

    balanced: bool = True  # nothing lost that was acknowledged, nothing made up, in order, right values
    duplicates: int | None = None  # at most so many repeats of an event at the far end
    dead_letters: int | None = None  # at most


class GatewayTable(_Table, frozen=True):
    """The gateway that runs beside the house with --gateway."""

    rules: list[str] = []  # rule files, beside this file
    profiles: list[str] = []  # folders
    modes: list[str] = []  # of the house; default: the gateway's
    more: str = ""  # TOML that is appended to its gateway.toml


class Scenario(_Table, frozen=True):
    """The file."""

    schema: Literal[1]
    title: str = ""
    start: datetime = datetime(2026, 1, 12, 6, 0, tzinfo=UTC)
    lasts: str = "1d"
    seed: int = 1
    tick: str = "60s"  # how often rooms are computed and sensors look
    outside: Outside = Outside()
    room: list[RoomTable] = []
    device: list[DeviceTable] = []
    person: list[Person] = []
    happening: list[Happening] = []
    fault: list[FaultTable] = []
    expect: list[Expect] = []
    expect_not: list[Expect] = []
    expect_ledger: list[ExpectLedger] = []
    gateway: GatewayTable = GatewayTable()

    @property
    def start_s(self) -> float:
        """Return when it begins, Unix time."""
        return self.start.timestamp()

    @property
    def lasts_s(self) -> float:
        """Return how long it goes."""
        return seconds(self.lasts)

    def named(self) -> Iterator[tuple[str, str]]:
        """Yield name and moment of every happening and fault that has a name."""
        yield from ((each.name, each.at) for each in self.happening if each.name)
        yield from ((each.name, each.at) for each in self.fault if each.name)

    def moment_s(self, after: str) -> float:
        """Return a moment: a duration from the start, or the name of a happening or fault."""
        for name, at in self.named():
            if name == after:
                return seconds(at)
        return seconds(after)


def seconds(text: str) -> float:
    """Read a duration: "90s", "1h30m", "2d 6h". ValueError says what to write."""
    found = _DURATION.findall(text)
    if not found or _DURATION.sub("", text).strip():
        raise ValueError(f'{text!r} is not a duration: write "90s", "25m" or "1d 6h"')
    return sum(float(number) * _UNITS_S[unit] for number, unit in found)


def time_of_day_s(text: str) -> float:
    """Read a time of day as seconds after midnight. ValueError says what to write."""
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError(f'{text!r} is not a time of day: write "07:15"')
    return int(found[1]) * 3600.0 + int(found[2]) * 60.0


def weekdays(text: str) -> frozenset[int]:
    """Read "mon-fri" or "sat,sun"; empty is every day. ValueError names the day nobody knows."""
    days: set[int] = set()
    for part in filter(None, (word.strip() for word in text.lower().split(","))):
        first, _, last = part.partition("-")
        for day in (first, last or first):
            if day not in WEEKDAYS:
                raise ValueError(f'{day!r} is not a day: write "mon-fri" or "sat,sun"')
        begin, end = WEEKDAYS.index(first), WEEKDAYS.index(last or first)
        days.update(range(begin, end + 1) if begin <= end else (*range(begin, 7), *range(end + 1)))
    return frozenset(days or range(7))


def fault_of(text: str) -> FaultTable:
    """Read a fault of the command line, as KIND@DEVICE@AT@LASTS,share=0.3,by=2. ValueError says what is wrong."""
    head, *more = text.split(",")
    kind, device, at, lasts, *rest = [*head.split("@"), "", "", ""]
    if any(rest):
        raise ValueError(f"{text!r}: write KIND[@DEVICE[@AT[@LASTS]]][,share=0.3][,by=2]")
    table: dict[str, Any] = {"kind": kind, "device": device or "*", "at": at or "0s", "lasts": lasts}
    for word in more:
        name, _, value = word.partition("=")
        table[name.strip()] = float(value)
    if kind not in FAULTS:
        hint = probably_meant(kind, FAULTS) or f"there are {', '.join(FAULTS)}"
        raise ValueError(f"no fault {kind!r} ({hint})")
    try:
        return msgspec.convert(table, FaultTable)
    except msgspec.ValidationError as error:
        raise ValueError(f"{text!r}: {error}") from None


def read(file: Path) -> Scenario:
    """Read a scenario. Raises ConfigError with every fault, each with its line."""
    document = Document.read(file)
    scenario = document.convert(Scenario)
    raise_faults(_faults(document, scenario))
    return scenario


def chosen(pattern: str, name: str, dialect: str, room: str) -> bool:
    """Return whether a pattern of a fault means a device."""
    word, colon, rest = pattern.partition(":")
    if colon and word == "dialect":
        return fnmatch.fnmatchcase(dialect, rest)
    if colon and word == "room":
        return fnmatch.fnmatchcase(room, rest)
    return fnmatch.fnmatchcase(name, pattern)


def _faults(document: Document, scenario: Scenario) -> Iterator[Fault]:
    rooms = [room.name for room in scenario.room]
    devices = [name for table in scenario.device for name in names_of(table)]
    yield from _times(document, document.data, ())
    for index, table in enumerate(scenario.device):
        at: Place = ("device", index)
        if table.dialect not in DIALECTS:
            yield _unknown(document, (*at, "dialect"), "dialect", table.dialect, DIALECTS)
        elif table.model not in (known := dialect_class(table.dialect).models):
            what = f"{table.dialect} has no {table.model} here; it has {', '.join(sorted(known))}"
            yield document.fault((*at, "model"), what)
        if table.room and table.room not in rooms:
            yield _unknown(document, (*at, "room"), "room", table.room, rooms)
        for name in table.set:
            if name not in MODELS[table.model]:
                yield _unknown(document, (*at, "set"), f"field of a {table.model}", name, MODELS[table.model])
    yield from _too_many(document, scenario)
    for name in {name for name in devices if devices.count(name) > 1}:
        at = ("device", max(n for n, table in enumerate(scenario.device) if name in names_of(table)))
        yield document.fault(at, f"two devices are called {name!r}")
    for index, person in enumerate(scenario.person):
        if person.room not in rooms:
            yield _unknown(document, ("person", index, "room"), "room", person.room, rooms)
        for number, step in enumerate(person.day):
            yield from _step_faults(document, ("person", index, "day", number), step, rooms, devices)
    for index, happening in enumerate(scenario.happening):
        if happening.device not in devices:
            yield _unknown(document, ("happening", index, "device"), "device", happening.device, devices)
    for index, fault in enumerate(scenario.fault):
        meant = ((name, table) for table in scenario.device for name in names_of(table))
        if not any(chosen(fault.device, name, table.dialect, table.room) for name, table in meant):
            hint = probably_meant(fault.device, devices)
            yield document.fault(("fault", index, "device"), f"no device is meant by {fault.device!r}", hint)
    moments = [name for name, _ in scenario.named()]
    for key in ("expect", "expect_not"):
        for index, expect in enumerate(getattr(scenario, key)):
            if expect.device and expect.device not in devices:
                yield _unknown(document, (key, index, "device"), "device", expect.device, devices)
            if expect.after not in moments and not _DURATION.match(expect.after):
                yield _unknown(document, (key, index, "after"), "happening or fault", expect.after, moments)


def _too_many(document: Document, scenario: Scenario) -> Iterator[Fault]:
    seen: set[tuple[str, str]] = set()
    for index, table in enumerate(scenario.device):
        if table.dialect in DIALECTS and dialect_class(table.dialect).single:
            if table.count > 1 or (table.dialect, table.model) in seen:
                yield document.fault(("device", index), f"{table.dialect} has one {table.model} at most")
            seen.add((table.dialect, table.model))


def _step_faults(document: Document, at: Place, step: Step, rooms: list[str], devices: list[str]) -> Iterator[Fault]:
    if step.go and step.go not in rooms:
        yield _unknown(document, (*at, "go"), "room", step.go, rooms)
    for key in ("open", "press", "switch"):
        name = getattr(step, key)
        if name and name not in devices:
            yield _unknown(document, (*at, key), "device", name, devices)
    try:
        time_of_day_s(step.at)
        weekdays(step.days)
    except ValueError as error:
        yield document.fault((*at, "at"), str(error))


def _times(document: Document, data: Any, at: Place) -> Iterator[Fault]:
    """Check every duration in the file."""
    if isinstance(data, list):
        for index, each in enumerate(data):
            yield from _times(document, each, (*at, index))
    elif isinstance(data, dict):
        for key, value in data.items():
            if key in ("lasts", "within", "tick", "jitter") or (key == "at" and at[:1] != ("person",)):
                try:
                    if value != "":
                        seconds(value)
                except ValueError as error:
                    yield document.fault((*at, key), str(error))
            else:
                yield from _times(document, value, (*at, key))


def _unknown(document: Document, at: Place, what: str, name: str, known: Iterable[str]) -> Fault:
    names = list(known)
    return document.fault(at, f"no {what} {name!r}", probably_meant(name, names) or _listed(names))


def _listed(names: list[str]) -> str:
    return f"there are {', '.join(names)}" if 0 < len(names) <= 30 else "there is none" if not names else ""


def names_of(table: DeviceTable) -> list[str]:
    """Return the names of the devices that a table stands for."""
    return [table.name, *(f"{table.name} {n}" for n in range(2, table.count + 1))]
