"""The house as rules see it: devices with their last values, rooms, the mode.

A device is found by its id or, when only one has it, by its name.  Its fields are attributes: `door.open`,
`trv.setpoint_heat` (the field `setpoint.heat`), `cam["object.label"]`; a field never reported is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.errors import probably_meant
from gateway.profiles.vocabulary import FIELDS, KIND_OF_CLASS
from gateway.rules.protocol import DeviceEntry

DEVICES_MAX = 10_000  # known to rules; events of further, never adopted devices are not looked at
OFFLINE, ONLINE = "device_offline", "device_online"
_NOT_FIELDS = frozenset({"$", "unit", "previous", "raw"})  # a device's notes, and what events say beside a field
_OPENINGS = ("_opened", "_closed")  # an event type that tells what its contact is on


def field_name(name: str) -> str:
    """Return the field an author means by a Python name: `setpoint_heat` is ``setpoint.heat``."""
    dotted = name.replace("_", ".", 1)
    return dotted if name not in FIELDS and dotted in FIELDS else name


def kind_of(entry: DeviceEntry, values: Mapping[str, Any]) -> str:
    """Return what a device is on or in: what the installation says, or what is usual for its class."""
    return entry.kind or KIND_OF_CLASS.get(values.get("$", {}).get("class", ""), "")


class UnknownName(LookupError):
    """A device or room that does not exist; the message says what was probably meant."""


class Device:
    """A device: what the installation says of it, and the last values of its fields as attributes."""

    __slots__ = ("_values", "id", "kind", "labels", "name", "room", "update")

    def __init__(self, entry: DeviceEntry, values: dict[str, Any]) -> None:
        self._values = values
        self.update = values.update  # the engine's: fields an event reports
        self.id: str = entry.id
        self.name: str = entry.name or entry.id.rpartition(":")[2]
        self.room: str = entry.room
        self.kind: str = kind_of(entry, values)
        self.labels: frozenset[str] = frozenset(entry.labels)

    def __getattr__(self, field: str) -> Any:
        """Return the last value of a field; `a_b` finds `a.b`, too. None when it was never reported."""
        if field.startswith("__"):
            raise AttributeError(field)
        return self[field]

    def __getitem__(self, field: str) -> Any:
        values = self._values
        return values[field] if field in values else values.get(field_name(field))

    def __contains__(self, field: str) -> bool:
        return self[field] is not None

    def __repr__(self) -> str:
        return f"Device({self.name!r})"

    @property
    def fields(self) -> Mapping[str, Any]:
        """All fields with their last values."""
        return {name: value for name, value in self._values.items() if name not in _NOT_FIELDS}

    @property
    def is_online(self) -> bool:
        """Whether the device is reachable as far as known."""
        return self._values.get("online") is not False


class Room:
    """A room and what is in it."""

    __slots__ = ("_house", "_whole", "id", "name")

    def __init__(self, name: str, house: House, *, whole: bool = False) -> None:
        self._house = house
        self._whole = whole  # all rooms: the house
        self.id = self.name = name

    def devices(self, *, kind: str | None = None, label: str | None = None) -> Sequence[Device]:
        """Return the room's devices, in the order of their ids."""
        return self._house.select(kind=kind, room=None if self._whole else self.name, label=label)

    def __repr__(self) -> str:
        return f"Room({self.name!r})"


class House:
    """All devices. `meet` learns new ones from their events."""

    def __init__(self, entries: Iterable[DeviceEntry], values: Mapping[str, Mapping[str, Any]]) -> None:
        self.devices: dict[str, Device] = {}
        self.installed = False  # whether the installation names any device at all
        self._names: dict[str, list[str]] = {}
        self._index: Mapping[tuple[str, str], Sequence[Device]] | None = None
        for entry in entries:
            self._add(entry, dict(values.get(entry.id, {})))
        for device_id in values:
            if device_id not in self.devices:
                self._add(DeviceEntry(device_id), dict(values[device_id]))

    def _add(self, entry: DeviceEntry, values: dict[str, Any]) -> Device:
        device = Device(entry, values)
        self.devices[entry.id] = device
        self._index = None
        self._names.setdefault(device.name, []).append(entry.id)
        self.installed = self.installed or bool(entry.name)
        return device

    def install(self, entries: Iterable[DeviceEntry]) -> None:
        """Add devices or change what the installation says of them; values stay."""
        for entry in entries:
            known = self.devices.get(entry.id)
            values = {} if known is None else known._values
            if known is not None:
                self._names[known.name].remove(entry.id)
            self._add(entry, values)

    def forget(self, ids: Iterable[str]) -> None:
        """Know nothing any more of what these devices said."""
        for device_id in ids:
            known = self.devices.get(device_id)
            if known is not None:
                known._values.clear()

    def meet(self, device_id: str, event_type: str) -> bool:
        """Learn a device from its first event; its type may tell the kind. False when there are too many."""
        if len(self.devices) >= DEVICES_MAX:
            return False
        kind = event_type.rpartition("_")[0] if event_type.endswith(_OPENINGS) else ""
        self._add(DeviceEntry(device_id, kind=kind), {})
        return True

    def device(self, name: str) -> Device:
        """Find a device by id or name. UnknownName says what was probably meant."""
        device = self.devices.get(name)
        if device is not None:
            return device
        ids = self._names.get(name, [])
        if len(ids) == 1:
            return self.devices[ids[0]]
        if ids:
            raise UnknownName(f"{len(ids)} devices have the name {name!r}: use an id, such as {min(ids)!r}")
        hint = probably_meant(name, [*self._names, *self.devices])
        raise UnknownName(f"there is no device {name!r}" + (f", {hint}" if hint else ""))

    def room(self, name: str) -> Room:
        """Find a room. UnknownName says what was probably meant."""
        rooms = self.rooms()
        if name not in rooms:
            hint = probably_meant(name, rooms)
            raise UnknownName(f"there is no room {name!r}" + (f", {hint}" if hint else ""))
        return Room(name, self)

    def rooms(self) -> Sequence[str]:
        """Return the names of all rooms that have a device."""
        return sorted(name for what, name in self._having() if what == "room" and name)

    def select(self, *, kind: str | None = None, room: str | None = None, label: str | None = None) -> Sequence[Device]:
        """Return the devices that have all that is asked for, in the order of their ids."""
        wanted = (("kind", kind), ("room", room), ("label", label))
        index = self._having()
        found = [index.get((what, name), ()) for what, name in wanted if name is not None] or [index["", ""]]
        return [
            device
            for device in min(found, key=len)
            if (kind is None or device.kind == kind)
            and (room is None or device.room == room)
            and (label is None or label in device.labels)
        ]

    def _having(self) -> Mapping[tuple[str, str], Sequence[Device]]:
        """Return who has what, in the order of their ids; made anew when devices came or changed."""
        if self._index is None:
            index: dict[tuple[str, str], list[Device]] = {("", ""): []}
            for _, device in sorted(self.devices.items()):
                labels = [("label", label) for label in device.labels]
                for what in (("", ""), ("kind", device.kind), ("room", device.room), *labels):
                    index.setdefault(what, []).append(device)
            self._index = index
        return self._index
