"""What decoding a delivery needs beside the profile: what is known of the devices, names, clocks; and its result."""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import tzinfo
from typing import Any, Protocol

import msgspec

from gateway.clock import NS_PER_S
from gateway.errors import DecodeError
from gateway.event import Event
from gateway.profiles import command
from gateway.profiles.bind import Bound, BoundField
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.devices import Devices
from gateway.profiles.pointer import ABSENT
from gateway.profiles.report import NOTES, Known, notes_of
from gateway.profiles.times import Stamp, believed, wall_ns
from gateway.profiles.values import text_of
from gateway.profiles.vocabulary import weight

DEVICES_KNOWN_MAX = 20_000  # of all sources; who makes up names cannot fill the memory with them
AHEAD_MAX_NS = 60 * NS_PER_S  # the past of a device's clock may be so far ahead of ours
FIELDS_KNOWN_MAX = 256  # of one device; field names may hold captures of a topic


class Received(Protocol):
    """What decoding reads of a delivery (`sources.source.Delivery` is one)."""

    @property
    def topic(self) -> str:
        """The MQTT topic, or the port's name."""
        ...

    @property
    def payload(self) -> bytes:
        """The bytes as they came."""
        ...

    @property
    def received_ns(self) -> int:
        """The gateway's wall clock when they came."""
        ...

    @property
    def retained(self) -> bool:
        """Whether a broker kept this copy for us."""
        ...


class Reading(msgspec.Struct, gc=False):
    """What one message says about one device, before asking whether it is news."""

    subject: str  # <source>/<dialect>:<name>
    device: str  # the name in its own dialect
    device_class: str
    profile: str
    fields: dict[str, Any]


class Decoded(msgspec.Struct):
    """What became of one delivery. `rejected` and `ignored` are reasons; `faults` cost single fields only."""

    events: list[Event] = []
    changed: list[str] = []  # devices whose values are to be journalled; gone from the values: removed
    rejected: str | None = None
    unclaimed: bool = False  # rejected because no profile reads it, which is no fault of the message
    ignored: str | None = None
    readings: list[Reading] = []
    blobs: list[tuple[str, bytes]] = []  # SHA-256 and content, of what the events refer to
    faults: list[str] = []


class Context:
    """Everything known about one source's devices, and how their events are made."""

    def __init__(
        self,
        catalogue: Catalogue,
        address: str,
        source: str,
        devices: Devices,
        values: MutableMapping[str, dict[str, Any]],
        zone: tzinfo | None,
    ) -> None:
        """Take what is known. `values` is changed in place."""
        self.catalogue, self.source, self.devices, self.values = catalogue, source, devices, values
        self.address = address
        self.zone = zone
        self.synced = True
        self._stamp = Stamp()
        self._device_stamp = Stamp()
        self.received = ""  # of the message that is being decoded, where its device said when; else empty

    def encode(self, device_id: str, name: str, value: Any = None) -> tuple[str, bytes]:
        """Return topic and payload of a command to a device. Raises DecodeError with why it cannot be."""
        return command.encode(self.catalogue, self.values.get(device_id), device_id, name, value)

    def terms(self, device_id: str, name: str) -> command.Terms:
        """Return what counts for a command beside its bytes. Raises DecodeError when the device does not take it."""
        return command.terms(self.catalogue, self.values.get(device_id), device_id, name)

    def expected(self, device_id: str, name: str, value: Any = None) -> tuple[str, Any, float, float] | None:
        """Return what a device reports when it has done what a command says; see `command.expected`."""
        return command.expected(self.catalogue, self.values.get(device_id), name, value)

    def change(
        self, field: BoundField, subject: str, value: Any, old: Any, when: str, *, resync: bool = False, raw: Any = None
    ) -> Event:
        """Make the event of one changed field."""
        if old is ABSENT or old is None:
            data = {field.name: value} if field.unit is None else {field.name: value, "unit": field.unit}
        elif field.unit is None:
            data = {field.name: value, "previous": old}
        else:
            data = {field.name: value, "unit": field.unit, "previous": old}
        if field.fallback is not None and value == field.fallback:
            data["raw"] = text_of(raw)
        return Event(
            source=self.address,
            type=field.off if value is False and field.off is not None else field.event,  # type: ignore[arg-type]
            subject=subject,
            time=when,
            received=self.received,
            lane=field.lane,
            resync=resync,
            clock=None if self.synced else "unsynced",
            data=data,
        )

    def time(self, bound: Bound, whole: Any, delivery: Received) -> str:
        """Return when it happened: by the device's clock if there is one and it can be believed."""
        at = delivery.received_ns
        self.received = ""
        spec = bound.message.time
        if spec is not None:
            raw = spec.read(whole)
            if raw is not ABSENT:
                device_ns = wall_ns(raw, spec.form, self.zone, at)
                if device_ns is not None and believed(device_ns, at, spec.skew_ns):
                    self.received = self._stamp(at)
                    return self._device_stamp(device_ns)
        return self._stamp(at)

    def own_time(self, bound: Bound, whole: Any, delivery: Received) -> str:
        """Return when the device says it was, however long ago. DecodeError when it does not say."""
        spec = bound.message.time
        raw = spec.read(whole) if spec is not None else ABSENT
        found = None if spec is None or raw is ABSENT else wall_ns(raw, spec.form, self.zone, delivery.received_ns)
        ahead = self.synced and found is not None and found > delivery.received_ns + AHEAD_MAX_NS
        if found is None or ahead:  # while nobody believes our clock, the device's may be the right one
            raise DecodeError("a value of the past that does not say of when")
        self.received = self._stamp(delivery.received_ns)
        return self._device_stamp(found)

    def moment(self, at_ns: int) -> str:
        """Write a time of the gateway's clock, of what follows."""
        self.received = ""
        return self._stamp(at_ns)

    def admit(self, subject: str) -> None:
        """Raise DecodeError when there is no room for one more device."""
        if len(self.values) >= DEVICES_KNOWN_MAX:
            raise DecodeError(
                f"{subject} would be device number {len(self.values) + 1}, the limit is {DEVICES_KNOWN_MAX}"
            )

    def introduce(self, bound: Bound, known: Known | None, out: Decoded) -> Known:
        """Note which profile reads a device; one never heard of before gets its entry among the values.

        `known` is what to enter for a new one. Only the captures that commands need are noted. A message that does
        not say what the device is (availability, class unknown) notes nothing; one that says little (a thermostat's
        temperature on a topic of its own) gives way to one that says more.
        """
        entry = self.values.get(bound.subject)
        if entry is None:
            self.admit(bound.subject)
            entry = self.values[bound.subject] = known if known is not None else {NOTES: {}}
        bound.known = True
        if bound.message.availability is None and bound.device_class != "unknown":
            notes = notes_of(entry)
            profile = bound.message.profile
            needed = self.catalogue.profiles[profile].needed
            if bound.via and notes.get("via") != bound.via:
                notes["via"] = bound.via
                if bound.subject not in out.changed:
                    out.changed.append(bound.subject)
            captures = {name: text for name, text in bound.captures.items() if name in needed}
            more = weight(bound.device_class) - weight(notes.get("class", "unknown"))
            if notes.get("profile") != profile and more < 0:
                return entry  # a plug's or a thermometer's part of a thermostat
            if notes.get("profile") != profile or more > 0 or not captures.items() <= notes["captures"].items():
                if notes.get("profile") != profile:
                    notes["profile"], notes["class"], notes["captures"] = profile, bound.device_class, {}
                elif more > 0:
                    notes["class"] = bound.device_class
                notes["captures"] = {**notes["captures"], **captures}
                if bound.subject not in out.changed:
                    out.changed.append(bound.subject)
        return entry
