"""The installation model: devices.toml says what each device is called, where it is and what it is on.

::

    [[device]]
    id     = "house/z2m:bedroom/radiator"   # <source>/<dialect>:<name>, stable
    name   = "radiator-bedroom"             # what rules and people say; default: the id
    room   = "bedroom"
    kind   = "thermostat"                   # of a contact: door (default), window, gate ...: it makes the event type
    invert = false                          # the contact says open when it is closed
    labels = ["heating"]

Devices that are not listed work with their defaults; what is here is only what a person decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from gateway.document import Document, raise_faults
from gateway.errors import Fault

DEVICES_MAX = 20_000

_Word = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]


class Device(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One device as installed."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[^/]+/[a-z0-9_-]+:.+$", max_length=400)]
    name: str = ""
    room: str = ""
    kind: _Word | None = None
    invert: bool = False
    labels: list[_Text] = []


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    device: Annotated[list[Device], msgspec.Meta(max_length=DEVICES_MAX)] = []


class Devices:
    """All devices of an installation, by id and by name."""

    def __init__(self, devices: Iterable[Device] = ()) -> None:
        """Index them; of two with one id the later stands (`load` refuses such a file)."""
        self._by_id = {device.id: device for device in devices}
        self._by_name = {device.name or device.id: device for device in self._by_id.values()}

    @classmethod
    def load(cls, file: Path) -> Devices:
        """Read devices.toml; a missing file is an empty installation. Raises ConfigError."""
        if not file.exists():
            return cls()
        document = Document.read(file)
        devices = document.convert(_File).device
        raise_faults(_doubles(document, devices))
        return cls(devices)

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
