"""Decoding: one delivery in, events out. Pure, and the hottest code of the gateway next to the codec.

Per topic everything is looked up once and kept (`_Route`): which messages of which profiles may claim it, the
device, its fields. Per message: one JSON parse, the claim, one loop over the fields, one comparison each.

JSON is strict (orjson): no NaN or Infinity, valid UTF-8, no lone surrogates, nesting of at most 1024, integers
beyond 64 bits become floats. Of duplicate keys the last wins, as in the makers' own parsers.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from datetime import tzinfo
from typing import Any

import orjson

from gateway.errors import DecodeError
from gateway.profiles import command, messages
from gateway.profiles.bind import SHAPES_MAX, Bound, BoundField, identity
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.compile import CompiledMessage
from gateway.profiles.context import Context, Decoded, Reading, Received
from gateway.profiles.devices import Devices
from gateway.profiles.pointer import ABSENT, visit
from gateway.profiles.report import EVERY_CHANGE, NOTES, Known, Verdict, judge, notes_of
from gateway.profiles.template import Captures
from gateway.topic import is_name

PAYLOAD_BYTES_MAX = 1_000_000  # of a message that is decoded; blobs have their own limit in the profile
ROUTES_MAX = 8_192  # topics whose route is kept; the one kept longest goes first
MEMBERS_MAX = 256  # devices reached by one topic (`each`) whose binding is kept


class _Candidate:
    """A message that may claim a topic; `bound` is None when the device depends on the payload."""

    __slots__ = ("alone", "bound", "captures", "claims", "group", "members", "message", "profile")

    def __init__(self, profile: str, message: CompiledMessage | None, captures: Captures, group: Any) -> None:
        self.profile, self.message, self.captures, self.group = profile, message, captures, group
        self.alone = False  # one state message about one device, and its profile has no other for this topic
        self.bound: Bound | None = None
        self.members: dict[str, Bound] = {}
        self.claims: dict[tuple[str, ...], bool] = {}  # keys of a message -> whether it is ours

    def claim(self, message: CompiledMessage, document: Any) -> bool:
        """Return whether `when` holds; decided once for messages with the same keys, if keys are all it asks."""
        if not message.when:
            return True
        if not message.shaped or document.__class__ is not dict:
            return all(test(document) for test in message.when)
        keys = tuple(document)
        found = self.claims.get(keys)
        if found is None:
            while len(self.claims) >= SHAPES_MAX:
                del self.claims[next(iter(self.claims))]
            found = self.claims[keys] = all(test(document) for test in message.when)
        return found


class Decoder(Context):
    """Decodes the deliveries of one source. `values` is what is known of every device; it is changed in place.

    `prefixes` maps a dialect's default prefix to the one this source uses. `zone` is the source's time zone, for
    devices that send local time. `synced` says whether the gateway's own clock can be believed.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        gateway: str,
        source: str,
        devices: Devices,
        values: MutableMapping[str, dict[str, Any]],
        prefixes: Mapping[str, str] | None = None,
        zone: tzinfo | None = None,
    ) -> None:
        """Prepare; nothing is decoded yet."""
        super().__init__(catalogue, f"/{gateway}/{source}", source, devices, values, zone)
        self.prefixes = dict(prefixes or {})
        self.filters = catalogue.filters(self.prefixes)
        self._entries = catalogue.entries(self.prefixes)
        self._routes: dict[str, list[_Candidate]] = {}
        self._held: set[tuple[str, str]] = {
            (subject, name)
            for subject, known in values.items()
            if subject.startswith(f"{source}/")
            for name in known.get(NOTES, {}).get("pending", ())
        }

    def installed(self, devices: Devices) -> None:
        """Take a new installation model: names, kinds and `invert` apply from the next message."""
        self.devices = devices
        self._routes.clear()

    def decode(self, delivery: Received) -> Decoded:
        """Decode one delivery. Raises nothing: what is wrong is in `rejected` or `faults`."""
        route = self._routes.get(delivery.topic)
        if route is None:
            route = self._route(delivery.topic)
        out = Decoded()
        try:
            self._claim(route, delivery, out)
        except DecodeError as error:
            out.rejected = str(error)
        if out.faults and out.rejected is None and not any(reading.fields for reading in out.readings):
            out.rejected = "; ".join(out.faults)
        return out

    def encode(self, device_id: str, name: str, value: Any = None) -> tuple[str, bytes]:
        """Return topic and payload of a command to a device. Raises DecodeError with why it cannot be."""
        return command.encode(self.catalogue, self.values.get(device_id), device_id, name, value)

    def release(self, now_ns: int) -> Decoded:
        """Report the values that a `min_interval` held back and whose time has come. Cheap when there are none."""
        out = Decoded()
        if self._held:
            messages.release(self, self._held, now_ns, out)
        return out

    # -- claiming ------------------------------------------------------------------------------------------

    def _claim(self, route: list[_Candidate], delivery: Received, out: Decoded) -> None:
        payload = delivery.payload
        failed: DecodeError | None = None
        documents: dict[str, Any] = {}
        for candidate in route:
            message = candidate.message
            if message is None:
                if failed is not None:
                    raise failed
                out.ignored = f"{candidate.profile}: nothing to report"
                return
            form = message.format
            document = documents.get(form, ABSENT)
            if document is ABSENT:
                try:
                    document = documents[form] = _parse(form, payload, message)
                except DecodeError as error:
                    failed = error
                    continue
            if candidate.claim(message, document):
                if candidate.alone:  # one plain state message claims this topic for its profile: the usual case
                    self._state(candidate.bound, document, document, delivery, out)  # type: ignore[arg-type]
                    if not (out.readings or out.events or out.faults):
                        out.ignored = f"{candidate.profile}: nothing to report"
                else:
                    self._together(route, candidate, documents, delivery, out)
                if candidate is not route[0]:
                    _prefer(route, candidate)
                return
        self._unclaimed(route, documents, delivery, out, failed)

    def _together(
        self, route: list[_Candidate], first: _Candidate, documents: dict[str, Any], delivery: Received, out: Decoded
    ) -> None:
        """Read a delivery by every message of the claiming profile that matches as closely as the first."""
        for candidate in route[route.index(first) :]:
            message = candidate.message
            if candidate.group != first.group or message is None:
                continue
            document = documents.get(message.format, ABSENT)
            if document is not ABSENT and (candidate is first or candidate.claim(message, document)):
                self._read(candidate, document, delivery, out)
        if not (out.readings or out.events or out.faults or out.ignored):
            out.ignored = f"{first.profile}: nothing to report"

    def _unclaimed(
        self, route: list[_Candidate], documents: dict[str, Any], delivery: Received, out: Decoded, failed: Any
    ) -> None:
        """Give a partial message to the profile its device is known by, else say why nobody reads it."""
        for candidate in route:
            bound, document = candidate.bound, documents.get(candidate.message.format if candidate.message else "")
            if bound and document.__class__ is dict:
                known = self.values.get(bound.subject)
                if known and known.get(NOTES, {}).get("profile") == candidate.profile:
                    self._read(candidate, document, delivery, out)
                    if out.readings or out.faults:
                        return
        if not is_name(delivery.topic):
            raise DecodeError("not a topic name")
        if failed is not None and not documents:
            raise failed
        out.unclaimed = True
        tried = sorted({candidate.profile for candidate in route})
        why = f": {', '.join(tried)} read this topic, but not this payload" if tried else " this topic"
        raise DecodeError(f"no profile claims{why}")

    def _read(self, candidate: _Candidate, document: Any, delivery: Received, out: Decoded) -> None:
        message = candidate.message
        assert message is not None
        if delivery.retained and message.retained == "drop":
            out.ignored = f"{candidate.profile}: a retained copy"
            return
        whole, member = document, message.root(document) if message.root else document
        if member is ABSENT:
            return
        if message.per is not None:
            for captured, _ in visit(message.per, member):
                bound = self._member(candidate, {**candidate.captures, **captured}, member)
                self._one(bound, member, whole, delivery, out)
            return
        if message.each is None:
            if not any(test(member) for test in message.skip):
                bound = candidate.bound or self._member(candidate, candidate.captures, member)
                self._one(bound, member, whole, delivery, out)
            return
        for captured, inner in visit(message.each, member):
            if not any(test(inner) for test in message.skip):
                bound = self._member(candidate, {**candidate.captures, **captured}, inner)
                self._one(bound, inner, whole, delivery, out)

    def _one(self, bound: Bound, member: Any, whole: Any, delivery: Received, out: Decoded) -> None:
        message = bound.message
        if message.availability is not None:
            messages.availability(self, bound, message.availability, member, delivery, out)
        elif message.blob is not None:
            messages.blob(self, bound, message.blob, member, delivery, out)
        elif message.event is not None:
            messages.event(self, bound, message.event, member, whole, delivery, out)
        else:
            self._state(bound, member, whole, delivery, out)

    # -- one state message: the hot path -------------------------------------------------------------------

    def _state(self, bound: Bound, member: Any, whole: Any, delivery: Received, out: Decoded) -> None:
        subject = bound.subject
        known = self.values.get(subject)
        new = known is None or not bound.known
        if known is None:
            known = {NOTES: {}}
        fields: dict[str, Any] = {}
        when = ""
        shape = tuple(member) if member.__class__ is dict else ()
        for name, key, convert, always, never, field in bound.plans.get(shape) or bound.plan(shape):
            raw = member[key] if key is not None else field.read(member)
            if raw is ABSENT or name in fields:  # an earlier rule for this field has spoken
                continue
            if convert is None and (raw.__class__ is float or raw.__class__ is int):
                value = raw
            else:
                try:
                    value = field.convert(raw, whole)
                except DecodeError as error:
                    out.faults.append(f"{name}: {error}")
                    continue
            fields[name] = value
            if never:
                known[name] = value
                continue
            old = known.get(name, ABSENT)
            if always or old != value:
                when = self._judged(bound, field, known, value, old, raw, key, whole, delivery, out, when)
        if fields:
            if new:
                self.introduce(bound, known, out)
            out.readings.append(Reading(subject, bound.name, bound.device_class, bound.message.profile, fields))
        if bound.momentary and not delivery.retained:
            messages.momentary(self, bound, member, whole, delivery, out)

    def _judged(
        self,
        bound: Bound,
        field: BoundField,
        known: Known,
        value: Any,
        old: Any,
        raw: Any,
        key: str | None,
        whole: Any,
        delivery: Received,
        out: Decoded,
        when: str,
    ) -> str:
        """Decide about a value that may be news; returns the event's time, made once a message."""
        name, subject = field.name, bound.subject
        if field.policy is EVERY_CHANGE and value is not None and old is not None:
            known[name] = value
            verdict = Verdict.CHANGED
        else:
            verdict = judge(known, name, value, field.policy, delivery.received_ns)
            if verdict is Verdict.SAME or verdict is Verdict.SEEN:
                return when
        if not out.changed or out.changed[-1] != subject:
            out.changed.append(subject)
        if field.aliased and bound.aliases.get(name) != key:
            _note_alias(bound, known, field, key)
        if verdict is Verdict.KEPT:
            if field.policy.min_interval_ns:
                self._held.add((subject, name))
            return when
        retained = delivery.retained and bound.message.retained == "state"
        if old is ABSENT and (retained or (field.quiet and value is False)):
            return when  # a seed, or the absence of something never raised
        when = when or self.time(bound, whole, delivery)
        out.events.append(self.change(field, subject, value, old, when, resync=retained, raw=raw))
        return when

    # -- routes --------------------------------------------------------------------------------------------

    def _route(self, topic: str) -> list[_Candidate]:
        levels = topic.split("/")
        route: list[_Candidate] = []
        for entry in self._entries if is_name(topic) else ():
            captures = entry.match(levels)
            if captures is None:
                continue
            candidate = _Candidate(entry.profile, entry.message, captures, entry.group)
            message = entry.message
            if message and message.each is None and message.per is None and not message.device.paths:
                try:
                    name = identity(message.device, captures, None)
                except DecodeError:
                    continue
                candidate.bound = Bound(message, self.source, captures, name).fields_for(self.devices)
            route.append(candidate)
        for candidate in route:
            candidate.alone = _is_alone(candidate, route)
        for candidate in route:
            known = self.values.get(candidate.bound.subject) if candidate.bound else None
            if known and known.get(NOTES, {}).get("profile") == candidate.profile:
                _prefer(route, candidate)
                break
        while len(self._routes) >= ROUTES_MAX:
            del self._routes[next(iter(self._routes))]
        self._routes[topic] = route
        return route

    def _member(self, candidate: _Candidate, captures: Captures, member: Any) -> Bound:
        assert candidate.message is not None
        name = identity(candidate.message.device, captures, member)
        bound = candidate.members.get(name)
        if bound is None:
            bound = Bound(candidate.message, self.source, captures, name).fields_for(self.devices)
            while len(candidate.members) >= MEMBERS_MAX:
                del candidate.members[next(iter(candidate.members))]
            candidate.members[name] = bound
        return bound


def _is_alone(candidate: _Candidate, route: list[_Candidate]) -> bool:
    message = candidate.message
    if message is None or candidate.bound is None or message.root or message.skip or message.retained == "drop":
        return False
    if message.availability or message.blob or message.event:
        return False
    return len([other for other in route if other.group == candidate.group]) == 1


def _prefer(route: list[_Candidate], candidate: _Candidate) -> None:
    """Try this candidate's profile first from now on, among those that match equally closely."""
    closest = [c for c in route if c.group[0] == candidate.group[0]]
    at = route.index(closest[0])
    mine = [c for c in closest if c.group == candidate.group]
    route[at : at + len(closest)] = mine + [c for c in closest if c.group != candidate.group]


def _note_alias(bound: Bound, known: Known, field: BoundField, key: str | None) -> None:
    """Remember under which of its keys the device reports a field; commands answer in kind."""
    if key is None or field.top is None:
        return
    bound.aliases[field.name] = key
    notes = notes_of(known)
    if key != notes.get("alias", {}).get(field.name, field.top[0].literal):
        notes.setdefault("alias", {})[field.name] = key


def _parse(form: str, payload: bytes, message: CompiledMessage) -> Any:
    """Turn a payload into what pointers read. DecodeError with the precise reason."""
    if form == "blob":
        return payload
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise DecodeError(f"a payload of {len(payload)} bytes, the limit is {PAYLOAD_BYTES_MAX}")
    if form == "json":
        try:
            return orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise DecodeError(f"not JSON: {error}" if payload else "an empty payload") from None
    if form == "auto" and payload[:1] in (b"{", b"["):
        try:
            return orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise DecodeError(f"not JSON: {error}") from None
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"not UTF-8: byte 0x{payload[error.start]:02x} at {error.start}") from None
    if "\0" in text:
        raise DecodeError("a NUL character in text")
    text = text.strip()
    if not text and message.availability is None:
        raise DecodeError("an empty payload")
    return text
