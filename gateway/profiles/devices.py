"""The installation model: devices.toml says what each device is called, where it is and what it is on.

::

    [[device]]
    id     = "house/z2m:bedroom/radiator"   # <source>/<dialect>:<name>, stable
    name   = "radiator-bedroom"             # what rules and people say; default: the id
    room   = "bedroom"
    kind   = "thermostat"                   # of a contact: door (default), window, gate ...: it makes the event type
    invert = false                          # the contact says open when it is closed
    labels = ["heating"]
    profile = "enocean-a5-02-05"            # which one reads it, where its messages cannot say; no other does then
    manual_hold = "2h"                      # how long a change by hand counts; default: its kind's, or [rules]
    commands = "observe"                    # what rules would switch here is recorded, nothing is sent

    [kind.thermostat]                       # for all devices of a kind
    manual_hold = "4h"

Devices that are not listed work with their defaults; what is here is only what a person decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from gateway.document import Document, raise_faults
from gateway.errors import Fault
from gateway.quantity import duration_s

DEVICES_MAX = 20_000

_Word = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]


def _checked(manual_hold: str) -> None:
    if manual_hold:
        duration_s(manual_hold)


class Kind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What counts for all devices of a kind."""

    manual_hold: str = ""

    def __post_init__(self) -> None:
        _checked(self.manual_hold)


class Device(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One device as installed."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[^/]+/[a-z0-9_-]+:.+$", max_length=400)]
    name: str = ""
    room: str = ""
    kind: _Word | None = None
    invert: bool = False
    labels: list[_Text] = []
    profile: str = ""
    manual_hold: str = ""
    commands: Literal["run", "observe"] = "run"

    def __post_init__(self) -> None:
        _checked(self.manual_hold)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    device: Annotated[list[Device], msgspec.Meta(max_length=DEVICES_MAX)] = []
    kind: dict[_Word, Kind] = {}


class Devices:
    """All devices of an installation, by id and by name."""

    def __init__(self, devices: Iterable[Device] = (), kinds: Mapping[str, Kind] | None = None) -> None:
        """Index them; of two with one id the later stands (`load` refuses such a file)."""
        self.kinds = dict(kinds or {})
        self._by_id = {device.id: device for device in devices}
        self._by_name = {device.name or device.id: device for device in self._by_id.values()}
        self.aliases: dict[str, str] = {}  # what profiles call a device -> its id, where devices said it themselves

    def stable(self, called: str) -> str:
        """Return the id of a device that a profile calls so."""
        return self.aliases.get(called, called)

    def become(self, other: Devices) -> None:
        """Be another installation from now on, for everybody who holds this one: devices.toml was edited."""
        self.kinds, self._by_id, self._by_name = other.kinds, other._by_id, other._by_name

    @classmethod
    def load(cls, file: Path) -> Devices:
        """Read devices.toml; a missing file is an empty installation. Raises ConfigError."""
        if not file.exists():
            return cls()
        return cls.of(Document.read(file))

    @classmethod
    def of(cls, document: Document) -> Devices:
        """Take an installation from a document. Raises ConfigError."""
        found = document.convert(_File)
        raise_faults(_doubles(document, found.device))
        return cls(found.device, found.kind)

    @property
    def manual_holds(self) -> dict[str, float]:
        """How long a change by hand counts where a person said it: seconds by device id and by kind."""
        said = [*((device.id, device.manual_hold) for device in self._by_id.values()),
                *((name, kind.manual_hold) for name, kind in self.kinds.items())]  # fmt: skip
        return {name: duration_s(text) for name, text in said if text}

    @property
    def profiled(self) -> bool:
        """Return whether somebody has said of a device which profile reads it."""
        return any(device.profile for device in self._by_id.values())

    def get(self, device_id: str) -> Device | None:
        """Return the device with this id, if a person has listed it."""
        return self._by_id.get(device_id)

    def find(self, name: str) -> Device | None:
        """Return the device a person means by `name`: its name or its id."""
        return self._by_name.get(name) or self._by_id.get(name)

    def __iter__(self) -> Iterator[Device]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)


def _doubles(document: Document, devices: list[Device]) -> Iterator[Fault]:
    ids: set[str] = set()
    names: set[str] = set()
    for i, device in enumerate(devices):
        if device.id in ids:
            yield document.fault(("device", i, "id"), f"device {device.id!r} is there twice")
        if device.name and device.name in names:
            yield document.fault(("device", i, "name"), f"the name {device.name!r} is taken")
        ids.add(device.id)
        names.add(device.name)
