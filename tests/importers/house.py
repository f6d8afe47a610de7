"""A decoder with importers, and what devices announce, for tests."""

from __future__ import annotations

import json
from typing import Any

from gateway.importers.imports import Imports
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.context import Decoded
from gateway.profiles.decode import Decoder
from gateway.profiles.devices import Device, Devices
from tests.profiles.deliveries import NOW, SECOND, delivery

CATALOGUE = Catalogue.load()


class House:
    """A gateway's decoding of one source, with what it would keep; `restarted` begins again from that."""

    def __init__(
        self,
        importers: list[str],
        kept: dict[str, Any] | None = None,
        values: dict[str, Any] | None = None,
        installed: tuple[str, ...] = (),
        catalogue: Catalogue | None = None,
    ) -> None:
        """Begin, with rows and values of an earlier run if there was one."""
        self.importers, self.installed, self.catalogue = importers, installed, catalogue or CATALOGUE
        self.rows: dict[str, Any] = dict(kept or {})
        self.values: dict[str, Any] = values if values is not None else {}
        self.imports = Imports(importers, {}, self.rows)
        devices = Devices([Device(id=each) for each in installed])
        self.decoder = Decoder(self.catalogue, "gw", "house", devices, self.values, imports=self.imports)
        self.now = NOW

    def say(self, topic: str, payload: Any = b"", *, retained: bool = False) -> Decoded:
        """Let a device publish."""
        self.now += SECOND
        return self.decoder.decode(delivery(topic, payload, retained=retained, at=self.now))

    def tick(self) -> Decoded:
        """Let a second pass."""
        self.now += SECOND
        return self.decoder.release(self.now)

    def read(self, topic: str, payload: Any) -> dict[str, dict[str, Any]]:
        """Let a device publish; return what was read: fields by device, without the source."""
        decoded = self.say(topic, payload)
        assert decoded.rejected is None, decoded.rejected
        assert decoded.faults == []
        found: dict[str, dict[str, Any]] = {}
        for reading in decoded.readings:
            found.setdefault(reading.subject.removeprefix("house/"), {}).update(reading.fields)
        return found

    def send(self, device: str, command: str, value: Any = None) -> tuple[str, Any]:
        """Encode a command; JSON is read back."""
        topic, payload = self.decoder.encode(f"house/{device}", command, value)
        return topic, json.loads(payload) if payload[:1] == b"{" else payload.decode()

    def keep(self) -> int:
        """Write what importers remember; returns how many rows changed."""
        count = 0
        for key, row in self.imports.changes():
            count += 1
            if row is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = json.loads(json.dumps(row))
        return count

    def restarted(self) -> House:
        """Begin again with what was kept."""
        self.keep()
        values = json.loads(json.dumps(self.values))
        return House(self.importers, self.rows, values, self.installed, self.catalogue)


def z2m(*devices: dict[str, Any]) -> str:
    """Return `bridge/devices` with a coordinator and these devices."""
    coordinator = {"ieee_address": "0x00124b0000000000", "type": "Coordinator", "friendly_name": "Coordinator"}
    return json.dumps([coordinator, *devices])


def zigbee(address: str, friendly: str, *exposes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return one device of `bridge/devices`."""
    definition = {"model": "M1", "vendor": "Example", "description": "A thing", "exposes": list(exposes)}
    return {
        "ieee_address": address, "friendly_name": friendly, "type": "EndDevice", "power_source": "Battery",
        "definition": definition, **more,
    }  # fmt: skip


def binary(name: str, on: Any = True, off: Any = False, access: int = 1, **more: Any) -> dict[str, Any]:
    """Return an expose of type binary."""
    return {
        "type": "binary",
        "name": name,
        "property": name,
        "access": access,
        "value_on": on,
        "value_off": off,
        **more,
    }


def numeric(name: str, unit: str | None = None, access: int = 1, **more: Any) -> dict[str, Any]:
    """Return an expose of type numeric."""
    unit_of = {} if unit is None else {"unit": unit}
    return {"type": "numeric", "name": name, "property": name, "access": access, **unit_of, **more}


def enum(name: str, values: list[str], access: int = 1, **more: Any) -> dict[str, Any]:
    """Return an expose of type enum."""
    return {"type": "enum", "name": name, "property": name, "access": access, "values": values, **more}


CONTACT = (binary("contact", False, True), binary("battery_low"), numeric("battery", "%"), numeric("voltage", "mV"))
"""A door contact, as most of them are."""
