"""A house without an installation: devices and people are there when a test names them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from gateway.profiles.vocabulary import KIND_OF_CLASS, meaning
from gateway.rules.language.house import Device, House, UnknownName
from gateway.rules.language.recipients import Recipients
from gateway.rules.protocol import DeviceEntry


class Guessing(Protocol):
    """Who makes devices of names."""

    def guess(self, name: str) -> DeviceEntry:
        """Make a device of a name."""
        ...

    def reindex(self) -> None:
        """Let the engine look at a new device."""
        ...


def by_name(devices: Sequence[DeviceEntry]) -> dict[str, DeviceEntry]:
    """Return installed devices by id, and by name where only one has it."""
    names = [device.name for device in devices]
    found = {device.name: device for device in devices if device.name and names.count(device.name) == 1}
    return found | {device.id: device for device in devices}


class OpenHouse(House):
    """A house where any device that is named exists, and no other: a test says all that is in its house."""

    simulated: Guessing | None = None

    def device(self, name: str) -> Device:
        """Find a device, or make one."""
        try:
            return super().device(name)
        except UnknownName:
            if self.simulated is None:
                raise
            entry = self.simulated.guess(name)
            self.install([entry])
            self.simulated.reindex()
            return self.devices[entry.id]


class OpenRecipients(Recipients):
    """Anybody can be told whose name is not that of a device, as "siren-hall" is."""

    def __init__(self, house: House, kinds: Collection[str]) -> None:
        super().__init__()
        self._house = house
        self._kinds = kinds

    def __contains__(self, name: str) -> bool:
        known = any(name in (device.id, device.name) for device in self._house.devices.values())
        return not known and name.partition("-")[0] not in self._kinds


def event_type_of(field: str, value: Any, kind: str) -> str | None:
    """Return the type of the event that a device's report of a field raises; None if none."""
    means = meaning(field)
    if means is None:
        return f"{field.replace('.', '_')}_changed"
    name = means.off if value is False and means.off else means.event
    return None if name is None else name.format(kind=kind or KIND_OF_CLASS["contact_sensor"])
