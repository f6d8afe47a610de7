"""A device of the simulated house, what it says, and what a dialect is.

A gadget is physical: `state` holds what is true of it, by names of the vocabulary (``open``, ``temperature``, ``on``).
A dialect turns that into the bytes of one maker's bridge and back; it knows topics and polarity, the house does not.

`Said.facts` is what a message means, as its dialect's documentation has it: device id -> field -> value.  It is the
oracle's side of every comparison (`simulators.house.oracle`), made where the bytes are made.
"""

# ruff: noqa: ARG002 - every dialect is given what any of them needs

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

Value = bool | float | int | str
Facts = dict[str, dict[str, Value]]

MODELS: dict[str, tuple[str, ...]] = {  # what a model of device has to say
    "contact": ("open",),
    "motion": ("motion",),
    "thermometer": ("temperature", "humidity"),
    "thermostat": ("temperature", "setpoint.heat", "mode"),
    "plug": ("on", "power"),
    "light": ("on",),
    "lock": ("locked",),
    "cover": ("position",),
    "leak": ("leak",),
    "smoke": ("smoke",),
    "button": ("button",),
    "camera": ("motion", "object"),
    "meter": ("power", "energy"),
}
FIRST: dict[str, Value] = {
    "open": False, "motion": False, "temperature": 20.0, "humidity": 45.0, "setpoint.heat": 20.0, "mode": "heat",
    "on": False, "power": 0.0, "energy": 0.0, "locked": True, "position": 100, "leak": False, "smoke": False,
}  # fmt: skip
SETTABLE: dict[str, tuple[str, ...]] = {
    "thermostat": ("setpoint.heat", "mode"),
    "plug": ("on",),
    "light": ("on",),
    "lock": ("locked",),
    "cover": ("position",),
}
MOMENTARY = frozenset({"button", "object"})


@dataclass(slots=True)
class Gadget:
    """One device: where it is, what it is, and what is true of it."""

    name: str  # what its own bridge calls it
    dialect: str
    model: str
    room: str
    number: int  # from 1 in its dialect: node ids, addresses
    kind: str = ""
    label: str = ""  # what rules and people call it; "" = its id
    labels: tuple[str, ...] = ()
    state: dict[str, Value] = field(default_factory=dict)
    battery: float | None = None  # percent; None: on the mains
    sent: int = 0  # messages so far

    def __post_init__(self) -> None:
        """Be as a device is when it was just installed."""
        for name in MODELS[self.model]:
            if name in FIRST:
                self.state.setdefault(name, FIRST[name])


@dataclass(slots=True)
class Said:
    """One message of a device, before transport: MQTT if it has a topic, else bytes of the dialect's port."""

    topic: str
    payload: bytes
    device: str  # the gadget's name; "" of the bridge itself
    facts: Facts = field(default_factory=dict)
    retain: bool = False
    clean: bool = True  # False: damaged on the way, anything may come of it
    check: tuple[int, ...] = ()  # where in the bytes a checksum is, to break it


@dataclass(frozen=True, slots=True)
class Order:
    """What a command asks of a gadget."""

    gadget: Gadget
    field: str
    value: Value


class Dialect:
    """A bridge with its gadgets. A subclass says what goes over the wire; one file each."""

    name: ClassVar[str]
    models: ClassVar[Collection[str]]
    serial: ClassVar[bool] = False
    asked: ClassVar[bool] = False  # speaks when spoken to, in bytes without lines
    single: ClassVar[bool] = False  # has one device of a model at most
    baud: ClassVar[int] = 115200
    source: ClassVar[str] = "house"  # of its devices' ids at the gateway
    repeat_s: ClassVar[float] = 0.0  # the whole state again, whatever happened; 0: never
    profile: ClassVar[str | None] = None  # of a serial source: which profiles read the port

    def __init__(self, gadgets: Sequence[Gadget]) -> None:
        """Have these gadgets."""
        self.gadgets = list(gadgets)
        self.by_name = {gadget.name: gadget for gadget in gadgets}

    def identity(self, gadget: Gadget) -> str:
        """Return the gateway's id of a gadget, without its source."""
        raise KeyError(gadget.name)

    def bound_to(self, gadget: Gadget) -> str | None:
        """Return the profile devices.toml has to name, for messages that do not say what sent them."""
        return None

    def kind_of(self, gadget: Gadget) -> str:
        """Return the kind devices.toml has to give a gadget."""
        return gadget.kind or KIND_OF_MODEL[gadget.model]

    def will(self) -> Said | None:
        """Return what the broker is to say when the connection breaks."""
        return None

    def births(self, now_s: float) -> Iterator[Said]:
        """Say what a bridge says when it comes up: availability, discovery."""
        yield from ()

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Say what has changed of a gadget, as its bridge would; `now_s` is Unix time by the device's clock."""
        yield from ()

    def gone(self, gadget: Gadget) -> Iterator[Said]:
        """Say that a gadget cannot be reached; nothing where the dialect has no word for it."""
        yield from ()

    def back(self, gadget: Gadget) -> Iterator[Said]:
        """Say that a gadget can be reached again."""
        yield from ()

    def filters(self) -> Sequence[str]:
        """Return the topics commands come on."""
        return ()

    def hear(self, topic: str, payload: bytes, now_s: float) -> Iterator[Order | Said]:
        """Understand a command, or answer it; what is not understood is ignored, as devices do."""
        yield from ()

    def id_of(self, gadget: Gadget) -> str:
        """Return the gateway's whole id of a gadget."""
        return f"{self.source}/{self.identity(gadget)}"

    def facts(self, gadget: Gadget, fields: Mapping[str, Value]) -> Facts:
        """Return facts about a gadget's main id."""
        return {self.id_of(gadget): dict(fields)}


KIND_OF_MODEL = {
    "contact": "door", "motion": "motion", "thermometer": "thermometer", "thermostat": "thermostat", "plug": "plug",
    "light": "light", "lock": "lock", "cover": "cover", "leak": "leak", "smoke": "smoke", "button": "button",
    "camera": "camera", "meter": "meter",
}  # fmt: skip


def compact(value: object) -> bytes:
    """Write JSON without blanks."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def object_in(payload: bytes) -> dict[str, Any]:
    """Read a JSON object; {} if it is none."""
    try:
        found = json.loads(payload)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def number_in(text: bytes | str) -> float | None:
    """Read a number; None if it is none."""
    try:
        return float(text)
    except ValueError:
        return None


def switch_in(payload: bytes) -> bool | None:
    """Read on, off, true, false, 1, 0 in any case."""
    return {b"on": True, b"true": True, b"1": True, b"off": False, b"false": False, b"0": False}.get(
        payload.strip().lower()
    )
