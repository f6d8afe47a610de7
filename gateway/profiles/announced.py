"""What devices said about themselves, applied to a decoder: profiles, ids, names, what is known of them.

An id is for ever, so it is chosen once.  A dialect's software calls a device by a name a person may change
(``z2m:bedroom/radiator``); its description tells the stable one (``z2m:0x00158d0001``).  The stable one is the id,
unless devices.toml lists the device by the other, or values of an earlier run are kept under it: then that stays the
id, whatever the device is called from now on.  Every profile that reads the device is led to that id by the
installation's `aliases`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from gateway.errors import DecodeError
from gateway.event import Event
from gateway.profiles.catalogue import Catalogue, Entry
from gateway.profiles.compiled import Compiled
from gateway.profiles.context import Decoded, Received
from gateway.profiles.report import NOTES, notes_of

if TYPE_CHECKING:
    from gateway.profiles.decode import Decoder


class Describes(Protocol):
    """A description, as far as the decoder reads it (`importers.importer.Description` is one)."""

    @property
    def device(self) -> str: ...  # noqa: D102 - see the class
    @property
    def name(self) -> str: ...  # noqa: D102 - see the class
    @property
    def topics(self) -> Sequence[str]: ...  # noqa: D102 - see the class
    @property
    def aliases(self) -> Any: ...  # noqa: D102 - see the class


class News(msgspec.Struct):
    """What changed since the last time."""

    described: list[tuple[str, Any, Any]] = []  # (importer, description, the one before or None)
    gone: list[Any] = []  # descriptions that are no more
    topics: set[str] = set()  # whose readers changed
    profiles: list[Compiled] = []
    dropped: list[str] = []  # ids of profiles nobody uses any more


class Announcing(Protocol):
    """All importers of a source (`importers.imports.Imports`)."""

    @property
    def pending(self) -> bool: ...  # noqa: D102 - see the class

    read_by_profile: Callable[[str], bool]

    def filters(self) -> list[str]: ...  # noqa: D102 - see the class
    def wants(self, topic: str) -> Any: ...  # noqa: D102 - see the class
    def take(self, importer: Any, topic: str, payload: bytes, now_ns: int) -> Any: ...  # noqa: D102 - see the class
    def settle(self) -> News: ...  # noqa: D102 - see the class
    def review(self) -> None: ...  # noqa: D102 - see the class
    def entries(self, topic: str) -> tuple[list[Entry], list[Entry]]: ...  # noqa: D102 - see the class


class Made(msgspec.Struct, gc=False):
    """What an importer made of a message, as a delivery."""

    topic: str
    payload: bytes
    received_ns: int
    retained: bool


def take(decoder: Decoder, imports: Announcing, delivery: Received, out: Decoded) -> bool:
    """Take a delivery that is for an importer; False when it is for profiles, and everything is settled for them."""
    importer = imports.wants(delivery.topic)
    if importer is None:
        if imports.pending:
            settle(decoder, imports, out, delivery.received_ns)
        return False
    taken = imports.take(importer, delivery.topic, delivery.payload, delivery.received_ns)
    if (taken.readings or taken.whole) and imports.pending:
        settle(decoder, imports, out, delivery.received_ns)
    for topic, payload in taken.readings:
        read = decoder.decode(Made(topic, payload, delivery.received_ns, delivery.retained))
        out.events += read.events
        out.changed += read.changed
        out.readings += read.readings
        out.faults += read.faults
        out.rejected = out.rejected or read.rejected
    out.rejected = out.rejected or (f"{importer.name}: {taken.refused}" if taken.refused else None)
    if not (out.readings or out.events or out.rejected):
        out.ignored = f"{importer.name}: {taken.why}"
    return True


def restore(decoder: Decoder) -> None:
    """Lead the stable ids to those that were chosen in earlier runs, and tell importers what profiles read."""
    if decoder.imports is not None:
        decoder.imports.read_by_profile = lambda topic: _takes_all(decoder.entries, topic)
    for subject in decoder.known_at_start:
        stable = decoder.values[subject].get(NOTES, {}).get("is")
        if stable:
            decoder.devices.aliases[f"{decoder.source}/{stable}"] = subject


def among(imports: Announcing, topic: str, entries: Sequence[Entry], catalogue: Catalogue) -> list[Entry]:
    """Put what devices said among the profiles: behind a person's file, before or behind those of the gateway."""
    before, after = imports.entries(topic)
    if not before:
        return [*entries, *after]
    own = [entry for entry in entries if entry.profile in catalogue.by_a_person]
    if any(entry.message and not entry.message.when for entry in before):
        return [*own, *before]  # nothing is left for those behind
    return [*own, *before, *(entry for entry in entries if entry not in own), *after]


def _takes_all(entries: Sequence[Entry], topic: str) -> bool:
    """Return whether a profile reads whatever comes on a topic, state or event."""
    levels = topic.split("/")
    found = (entry.message for entry in entries if entry.match(levels) is not None)
    return any(m is not None and not m.when and m.availability is None for m in found)


def settle(decoder: Decoder, imports: Announcing, out: Decoded, now_ns: int) -> None:
    """Take over what changed: profiles first, then ids, then what is known of the devices."""
    news = imports.settle()
    profiles = decoder.catalogue.profiles
    for profile in news.profiles:
        profiles[profile.source.id] = profile
    for description in news.gone:
        _gone(decoder, description, out, now_ns)
    for _, description, before in news.described:
        _named(decoder, description, out, now_ns)
        if before is not None:
            _renamed(decoder, description, before, out, now_ns)
    decoder.forget(None if news.described or news.gone else news.topics)
    for importer, description, _ in news.described:
        _introduce(decoder, importer, description, out)
    for name in news.dropped:
        profiles.pop(name, None)


def _named(decoder: Decoder, description: Describes, out: Decoded, now_ns: int) -> None:
    """Choose the ids of a device and of its endpoints, and move what is known under another one."""
    source, values, aliases = decoder.source, decoder.values, decoder.devices.aliases
    for alias, stable in description.aliases.items():
        called, wanted = f"{source}/{alias}", f"{source}/{stable}"
        before = aliases.get(wanted)
        chosen = _chosen(decoder, called, wanted, before)
        aliases[wanted] = aliases[called] = chosen
        for subject in {called, before or called, wanted} - {chosen}:
            if subject in values and _is(values[subject], stable) and decoder.devices.get(subject) is None:
                known = values.pop(subject)
                known.get(NOTES, {}).pop("is", None)
                values.setdefault(chosen, known)
                out.changed += [subject, chosen]
                if known.get(NOTES, {}).get("profile"):  # more than an availability that came first
                    out.events.append(_event(decoder, "device_renamed", chosen, now_ns, {"previous_id": subject}))


def _chosen(decoder: Decoder, called: str, wanted: str, before: str | None) -> str:
    devices, values = decoder.devices, decoder.values
    if devices.get(wanted) is not None:
        return wanted
    if before is not None and before != wanted:
        return before
    if devices.get(called) is not None:
        return called
    earlier = called in decoder.known_at_start and values.get(called, {}).get(NOTES, {}).get("profile")
    return called if earlier and wanted not in values else wanted


def _is(known: dict[str, Any], stable: str) -> bool:
    """Return whether values may be those of the device with this stable id: those of another say so."""
    return bool(known.get(NOTES, {}).get("is", stable) == stable)


def _renamed(decoder: Decoder, description: Describes, before: Describes, out: Decoded, now_ns: int) -> None:
    """Say that a device is called otherwise; the old name no longer leads to it."""
    aliases = decoder.devices.aliases
    subject = decoder.devices.stable(f"{decoder.source}/{description.device}")
    for alias in before.aliases.keys() - description.aliases.keys():
        called = f"{decoder.source}/{alias}"
        if aliases.get(called) == decoder.devices.stable(f"{decoder.source}/{before.aliases[alias]}"):
            del aliases[called]  # and not when another device has taken the name over
    if description.name != before.name:
        data = {"name": description.name, "previous": before.name}
        out.events.append(_event(decoder, "device_renamed", subject, now_ns, data))


def _gone(decoder: Decoder, description: Describes, out: Decoded, now_ns: int) -> None:
    """Forget a device that is described no longer, and its endpoints."""
    source, devices = decoder.source, decoder.devices
    stable = {description.device, *description.aliases.values()}
    for name in sorted(stable):
        subject = devices.stable(f"{source}/{name}")
        if decoder.values.pop(subject, None) is not None:
            out.changed.append(subject)
            out.events.append(_event(decoder, "device_removed", subject, now_ns, {}))
    for alias in description.aliases:
        devices.aliases.pop(f"{source}/{alias}", None)


def _introduce(decoder: Decoder, importer: str, description: Describes, out: Decoded) -> None:
    """Note for each device of a description which profile reads it, so that it is known before it says anything."""
    chosen = {name: decoder.devices.stable(f"{decoder.source}/{name}") for name in description.aliases.values()}
    stable_of = {subject: name for name, subject in chosen.items() if subject != f"{decoder.source}/{name}"}
    for topic in description.topics:
        for candidate in decoder.route(topic).candidates:
            bound, message = candidate.bound, candidate.message
            if bound is None or message is None or message.availability is not None:
                continue
            if not candidate.profile.startswith(f"{importer}."):
                continue
            try:
                notes = notes_of(decoder.introduce(bound, None, out))
            except DecodeError as error:
                out.faults.append(str(error))
                return
            named = {"name": bound.name, "from": importer}
            stable = stable_of.get(bound.subject)
            if stable is not None:
                named["is"] = stable
            if any(notes.get(key) != value for key, value in named.items()):
                notes.update(named)
                if bound.subject not in out.changed:
                    out.changed.append(bound.subject)


def _event(decoder: Decoder, kind: str, subject: str, now_ns: int, data: dict[str, Any]) -> Event:
    return Event(
        source=decoder.address,
        type=kind,
        subject=subject,
        time=decoder.moment(now_ns),
        clock=None if decoder.synced else "unsynced",
        data=data,
    )
