"""The messages that are not plain state: availability, buttons, whole-message events, blobs, held values."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.errors import DecodeError
from gateway.event import Event
from gateway.profiles.bind import Bound, BoundField
from gateway.profiles.compiled import CompiledEvent
from gateway.profiles.context import Context, Decoded, Reading, Received
from gateway.profiles.language import Blob
from gateway.profiles.pointer import ABSENT
from gateway.profiles.report import NOTES, Known, episode_changed, notes_of
from gateway.profiles.values import shown, text_of


def momentary(context: Context, bound: Bound, member: Any, whole: Any, delivery: Received, out: Decoded) -> None:
    """Buttons: an event each time, nothing kept. An empty value is no press (some dialects send one after)."""
    for field, value in _read(bound.momentary, member, whole, out):
        if value is not None:
            when = context.time(bound, whole, delivery)
            known = context.introduce(bound, None, out)
            if field.counter is not None and not _counted(bound, field, field.counter(member), known, out):
                continue
            out.events.append(context.change(field, bound.subject, value, ABSENT, when))
            if out.readings and out.readings[-1].subject == bound.subject:
                out.readings[-1].fields[field.name] = value
            else:
                note_reading(bound, known, {field.name: value}, out)


def _counted(bound: Bound, field: BoundField, count: Any, known: Known, out: Decoded) -> bool:
    """Return whether the counter of a button has moved; the first count of a device is only where it stands."""
    if count is ABSENT or count is None:
        return True
    counters, said = notes_of(known).setdefault("counters", {}), text_of(count)[:64]
    before = counters.get(field.name)
    if before != said:
        counters[field.name] = said
        out.changed.append(bound.subject)
    return before is not None and before != said


def past(context: Context, bound: Bound, member: Any, whole: Any, delivery: Received, out: Decoded) -> None:
    """Values of the past (what a device kept while it was cut off): events of their time, not the device's state."""
    when = context.own_time(bound, whole, delivery)
    context.introduce(bound, None, out)
    found = list(_read(bound.fields, member, whole, out))
    for field, value in found:
        if value is not None and field.event is not None and not field.never:
            out.events.append(context.change(field, bound.subject, value, ABSENT, when, resync=True))
    note_reading(bound, context.values[bound.subject], {field.name: value for field, value in found}, out)


def event(
    context: Context, bound: Bound, spec: CompiledEvent, member: Any, whole: Any, delivery: Received, out: Decoded
) -> None:
    """Take the whole message as one event, unless nothing watched has changed since the last about the same thing."""
    kind = spec.type or _type_of(spec, member)
    if kind is None:
        return
    fields = _planned(bound, member, whole, out)
    known = context.values.get(bound.subject)
    if known is None or not bound.known:
        known = context.introduce(bound, None, out)
    note_reading(bound, known, fields, out)
    if delivery.retained and bound.message.retained != "event":
        out.ignored = f"{bound.message.profile}: a retained copy"
        return
    if spec.watched:
        key = spec.key(member) if spec.key else ""
        watched = [None if (value := read(member)) is ABSENT else value for read in spec.watched]
        digest = hashlib.blake2b(msgspec.json.encode([kind, watched]), digest_size=6).hexdigest()
        ended = kind.endswith(("_left", "_ended"))
        if not episode_changed(known, text_of(key)[:64], digest, ended=ended):
            return
        out.changed.append(bound.subject)
    data = {name: value for name, value in fields.items() if value is not None}
    out.events.append(event_of(context, kind, bound, delivery, data, when=context.time(bound, whole, delivery)))


def blob(context: Context, bound: Bound, spec: Blob, payload: bytes, delivery: Received, out: Decoded) -> None:
    """Check a picture by size and first bytes and describe it; the bytes never enter an event."""
    limit = spec.bytes_max if spec.encoding == "raw" else spec.bytes_max * 4 // 3 + 64
    if len(payload) > limit:
        raise DecodeError(f"a blob of {len(payload)} bytes, the limit is {limit}")
    content = payload if spec.encoding == "raw" else _from_base64(payload)
    if not content:
        raise DecodeError("an empty payload")
    if not content.startswith(bytes.fromhex(spec.magic)):
        raise DecodeError(f"not {spec.mime}: it begins with {content[:4].hex()}, not {spec.magic}")
    sha256 = hashlib.sha256(content).hexdigest()
    data: dict[str, Any] = {"mime": spec.mime, "bytes": len(content), "sha256": sha256}
    if bound.message.label:
        data["label"] = bound.message.label.render(bound.captures)
    known = context.introduce(bound, None, out)
    note_reading(bound, known, dict(data), out)
    out.events.append(event_of(context, "snapshot_taken", bound, delivery, data))
    out.blobs.append((sha256, content))


def _type_of(spec: CompiledEvent, member: Any) -> str | None:
    assert spec.read is not None
    raw = spec.read(member)
    kind = spec.types.get(text_of(raw)) if raw is not ABSENT else None
    if kind is None:
        raise DecodeError(f"type {shown(raw) if raw is not ABSENT else 'missing'}: none of {', '.join(spec.types)}")
    return kind


def _read(fields: tuple[BoundField, ...], member: Any, whole: Any, out: Decoded) -> Iterator[tuple[BoundField, Any]]:
    for field in fields:
        raw = field.read(member)
        if raw is ABSENT:
            continue
        try:
            yield field, field.convert(raw, whole)
        except DecodeError as error:
            out.faults.append(f"{field.name}: {error}")


def _planned(bound: Bound, member: Any, whole: Any, out: Decoded) -> dict[str, Any]:
    """Read all fields of a message by the plan for its keys, made once for each set of keys."""
    shape = tuple(member) if member.__class__ is dict else ()
    fields: dict[str, Any] = {}
    for name, key, convert, _, _, field in bound.plans.get(shape) or bound.plan(shape):
        raw = member[key] if key is not None else field.read(member)
        if raw is ABSENT or name in fields:  # an earlier rule for this field has spoken
            continue
        if convert is None and (raw.__class__ is float or raw.__class__ is int):
            fields[name] = raw
            continue
        try:
            fields[name] = field.convert(raw, whole)
        except DecodeError as error:
            out.faults.append(f"{name}: {error}")
    return fields


def note_reading(bound: Bound, known: Known, fields: dict[str, Any], out: Decoded) -> None:
    """Note what a message said about a device."""
    device_class = bound.device_class
    if bound.message.availability is not None:  # says nothing of what the device is; maybe it is known
        device_class = known.get(NOTES, {}).get("class", device_class)
    out.readings.append(Reading(bound.subject, bound.name, device_class, bound.message.profile, fields))


def event_of(
    context: Context,
    kind: str,
    bound: Bound,
    delivery: Received,
    data: dict[str, Any],
    *,
    when: str = "",
    resync: bool = False,
) -> Event:
    """Make an event about a device."""
    return Event(
        source=context.address,
        type=kind,
        subject=bound.subject,
        time=when or context.moment(delivery.received_ns),
        received=context.received,
        resync=resync,
        clock=None if context.synced else "unsynced",
        data=data,
    )


def _from_base64(payload: bytes) -> bytes:
    text = payload.partition(b",")[2] if payload.startswith(b"data:") else payload
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise DecodeError(f"not base64: {error}") from None
