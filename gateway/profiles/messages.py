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
from gateway.profiles.bind import Bound, BoundField, types_of
from gateway.profiles.compiled import CompiledAvailability, CompiledEvent
from gateway.profiles.context import Context, Decoded, Reading, Received
from gateway.profiles.language import Blob
from gateway.profiles.pointer import ABSENT
from gateway.profiles.report import NOTES, Known, Policy, Verdict, accept, episode_changed, judge, notes_of
from gateway.profiles.values import shown, text_of
from gateway.profiles.vocabulary import FIELDS, KIND_OF_CLASS, Meaning, meaning

_ONLINE = FIELDS["online"]


def availability(
    context: Context, bound: Bound, spec: CompiledAvailability, member: Any, delivery: Received, out: Decoded
) -> None:
    """Online or offline, of one device or of everything behind a parent. DecodeError for an unknown word."""
    raw = spec.read(member)
    text = text_of(raw) if raw is not ABSENT and raw.__class__ not in (dict, list) else None
    if text is not None and text == spec.removed:
        _removed(context, bound, delivery, out)
        return
    online = spec.map.get(text) if text is not None else None
    if text is None or online is None:
        raise DecodeError(f"availability {shown(raw)} is none of {', '.join(spec.map)}")
    known = context.introduce(bound, None, out)
    if spec.agree != "latest":
        votes = notes_of(known).setdefault("votes", {})  # of as many topics as the profile has, and no others
        votes[delivery.topic] = online
        online = all(votes.values()) if spec.agree == "all" else any(votes.values())
    _reading(bound, known, {"online": online}, out)
    old = known.get("online", ABSENT)
    if judge(known, "online", online, Policy(), delivery.received_ns) is not Verdict.CHANGED:
        return
    out.changed.append(bound.subject)
    retained = delivery.retained and bound.message.retained == "state"
    if retained and old is ABSENT:
        return
    data: dict[str, Any] = {"online": online}
    if text not in ("online", "offline", "true", "false"):
        data["state"] = text
    if old is not ABSENT:
        data["previous"] = old
    if spec.scope == "parent":
        data["scope"] = "parent"
    kind = _ONLINE.event if online else _ONLINE.off
    out.events.append(_event(context, kind or "", bound, delivery, data, resync=retained))


def momentary(context: Context, bound: Bound, member: Any, whole: Any, delivery: Received, out: Decoded) -> None:
    """Buttons: an event each time, nothing kept. An empty value is no press (some dialects send one after)."""
    for field, value in _read(bound.momentary, member, whole, out):
        if value is not None:
            when = context.time(bound, whole, delivery)
            known = context.introduce(bound, None, out)
            out.events.append(context.change(field, bound.subject, value, ABSENT, when))
            if out.readings and out.readings[-1].subject == bound.subject:
                out.readings[-1].fields[field.name] = value
            else:
                _reading(bound, known, {field.name: value}, out)


def past(context: Context, bound: Bound, member: Any, whole: Any, delivery: Received, out: Decoded) -> None:
    """Values of the past (what a device kept while it was cut off): events of their time, not the device's state."""
    when = context.own_time(bound, whole, delivery)
    context.introduce(bound, None, out)
    found = list(_read(bound.fields, member, whole, out))
    for field, value in found:
        if value is not None and field.event is not None and not field.never:
            out.events.append(context.change(field, bound.subject, value, ABSENT, when, resync=True))
    _reading(bound, context.values[bound.subject], {field.name: value for field, value in found}, out)


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
    _reading(bound, known, fields, out)
    if delivery.retained:
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
    out.events.append(_event(context, kind, bound, delivery, data, when=context.time(bound, whole, delivery)))


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
    data: dict[str, Any] = {
        "mime": spec.mime,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    if bound.message.label:
        data["label"] = bound.message.label.render(bound.captures)
    known = context.introduce(bound, None, out)
    _reading(bound, known, dict(data), out)
    out.events.append(_event(context, "snapshot_taken", bound, delivery, data))


def release(context: Context, held: set[tuple[str, str]], now_ns: int, out: Decoded) -> None:
    """Report held values whose interval is over. The interval is the profile's; after a restart it is over."""
    for subject, name in list(held):
        known = context.values.get(subject, {})
        notes = known.get(NOTES, {})
        if name not in notes.get("pending", {}):
            held.discard((subject, name))
            continue
        field = _held_field(context, subject, name, notes)
        since = now_ns - notes.get("at", {}).get(name, 0)
        if 0 <= since < field.policy.min_interval_ns:
            continue
        held.discard((subject, name))
        value, old = notes["pending"][name], known.get(name, ABSENT)
        accept(known, name, value, field.policy, now_ns)
        out.changed.append(subject)
        out.events.append(context.change(field, subject, value, old, context.moment(now_ns)))


def _held_field(context: Context, subject: str, name: str, notes: dict[str, Any]) -> BoundField:
    means = meaning(name) or Meaning("text")
    profile = context.catalogue.profiles.get(notes.get("profile", ""))
    fields = [f for m in profile.messages for f in m.fields] if profile else []
    policy = next((f.policy for f in fields if f.name.text == name), Policy())
    device = context.devices.get(subject)
    kind = (device.kind if device else None) or KIND_OF_CLASS.get(notes.get("class", ""), "device")
    event, off = types_of(means, kind)
    nothing: Any = None
    return BoundField(
        name, nothing, True, False, nothing, None, False, event, off, means.unit, means.lane, means.quiet, policy, None
    )


def _removed(context: Context, bound: Bound, delivery: Received, out: Decoded) -> None:
    if context.values.pop(bound.subject, None) is None:
        out.ignored = f"{bound.message.profile}: a device nobody knew was removed"
        return
    bound.known = False
    out.changed.append(bound.subject)
    _reading(bound, {}, {}, out)
    out.events.append(_event(context, "device_removed", bound, delivery, {}))


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


def _reading(bound: Bound, known: Known, fields: dict[str, Any], out: Decoded) -> None:
    device_class = bound.device_class
    if bound.message.availability is not None:  # says nothing of what the device is; maybe it is known
        device_class = known.get(NOTES, {}).get("class", device_class)
    out.readings.append(Reading(bound.subject, bound.name, device_class, bound.message.profile, fields))


def _event(
    context: Context,
    kind: str,
    bound: Bound,
    delivery: Received,
    data: dict[str, Any],
    *,
    when: str = "",
    resync: bool = False,
) -> Event:
    return Event(
        source=context.address,
        type=kind,
        subject=bound.subject,
        time=when or context.moment(delivery.received_ns),
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
