"""The way to a device: its profile encodes a command, its source sends the bytes, its values say what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.commands.confirmations import Expected
from gateway.errors import DecodeError, probably_meant
from gateway.profiles.decode import Decoder
from gateway.profiles.devices import Devices
from gateway.sources.source import Refusal, Source


class Outlet:
    """What commands need of the rest (`gateway.commands.commands.Outlet`)."""

    def __init__(
        self,
        decoders: Mapping[str, Decoder],
        sources: Mapping[str, Source],
        values: Mapping[str, Mapping[str, Any]],
        devices: Devices,
    ) -> None:
        """Take the parts by the name of their source; `devices` is the installation."""
        self._decoders, self._sources, self._values, self._devices = decoders, sources, values, devices

    def encode(self, device: str, command: str, value: Any) -> tuple[str, bytes]:
        """Encode a command by the profile of its device (DecodeError: why it can't be)."""
        topic, payload = self._part(device, self._decoders).encode(device, command, value)
        return topic, payload

    def terms(self, device: str, command: str) -> tuple[float, float, bool]:
        """Return the profile's `rate` and `expires` of a command, in seconds, and whether it is `once`."""
        said = self._part(device, self._decoders).terms(device, command)
        return said.rate_s, said.expires_s, said.once

    def send(self, device: str, topic: str, payload: bytes) -> bool:
        """Send a command's bytes through the device's source."""
        return bool(self._part(device, self._sources).send(topic, payload))

    def tell_refusals(self, refused: Callable[[Refusal], None]) -> None:
        """Have sources say so that learn when a device would not do a command."""
        for source in self._sources.values():
            if hasattr(source, "refuse"):
                source.refuse = refused

    def expected(self, device: str, command: str, value: Any) -> Expected | None:
        """Return what a device says when it has done a command."""
        found = self._part(device, self._decoders).expected(device, command, value)
        return None if found is None else Expected(*found)

    def reported(self, device: str, field: str) -> Any:
        """Return what a device last said of a field."""
        return self._values.get(device, {}).get(field)

    def _part(self, device: str, by_name: Mapping[str, Any]) -> Any:
        """Find the part that belongs to a device's source, which its id begins with."""
        found = by_name.get(device.partition("/")[0])
        if found is None:
            names = [*self._values, *(name for each in self._devices for name in (each.id, each.name) if name)]
            near = probably_meant(device, names)
            raise DecodeError(f"no device {device!r}" + (f" ({near})" if near else "; see: edge-gateway devices list"))
        return found
