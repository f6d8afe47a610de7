"""Decoding: one delivery in, events out. Pure, and the hottest code of the gateway next to the codec.

Per topic everything is looked up once and kept (`_Route`): which messages of which profiles may claim it, the
device, its fields. Per message: one JSON parse, the claim, one loop over the fields, one comparison each.

"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from datetime import tzinfo
from typing import Any

from gateway.errors import DecodeError
from gateway.profiles import announced, learned, messages, presence
from gateway.profiles.bind import Bound, BoundField, Plan, note_alias
from gateway.profiles.catalogue import Catalogue, Entries, Entry
from gateway.profiles.context import FIELDS_KNOWN_MAX, Context, Decoded, Reading, Received
from gateway.profiles.devices import Devices
from gateway.profiles.pointer import ABSENT, visit
from gateway.profiles.repeats import Repeats
from gateway.profiles.report import EVERY_CHANGE, NOTES, Known, Verdict, judge
from gateway.profiles.route import Candidate, Claim, Route, holds, is_empty, route_of, which_profile
from gateway.profiles.template import covers
from gateway.profiles.watch import Watch
from gateway.topic import is_name

ROUTES_MAX = 8_192  # topics whose route is kept; the one kept longest goes first


class Decoder(Context):
    """Decodes the deliveries of one source. `values` is what is known of every device; it is changed in place.

    `profiles` are those it reads, by id or family; None: all for MQTT (a serial line has its own).
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
        imports: announced.Announcing | None = None,
        profiles: Iterable[str] | None = None,
    ) -> None:
        """Prepare; nothing is decoded yet. KeyError for a word in `profiles` that names none."""
        super().__init__(Catalogue(), f"/{gateway}/{source}", source, devices, values, zone)
        self.prefixes = dict(prefixes or {})
        self.imports = imports
        self._words = None if profiles is None else list(profiles)
        self._files: frozenset[str] = frozenset()
        self.known_at_start = frozenset(subject for subject in values if subject.startswith(f"{source}/"))
        self._routes: dict[str, Route] = {}
        self.read(catalogue)
        announced.restore(self)
        self.repeats = Repeats()
        self.watch = Watch(self)

    def read(self, catalogue: Catalogue) -> None:
        """Read by these profiles from the next message on. KeyError for a word that names none of them.

        What is known of the devices stays, and what they said about themselves.
        """
        names = None if self._words is None else catalogue.named(self._words)
        self._filters = catalogue.filters(self.prefixes, names)
        self.entries = catalogue.entries(self.prefixes, names)
        self._by_topic = Entries(self.entries)
        said = [compiled for name, compiled in self.catalogue.profiles.items() if name not in self._files]
        self._files = frozenset(catalogue.profiles)
        self.catalogue = Catalogue([*catalogue.profiles.values(), *said])  # what devices say is of this source alone
        if self.imports is not None:
            self.imports.review()
        self.installed(self.devices)

    @property
    def filters(self) -> list[str]:
        """Return the topic filters that bring what profiles and importers read, none covered by another."""
        wanted = {*self._filters, *(self.imports.filters() if self.imports is not None else ())}
        wide = [f for f in wanted if "#" in f or "+" in f]
        return sorted(f for f in wanted if not any(other != f and covers(other, f) for other in wide))

    def installed(self, devices: Devices) -> None:
        """Take a new installation model: names, kinds and `invert` apply from the next message."""
        self.devices = devices
        self._chosen = devices.profiled or any(entry.message and entry.message.installed for entry in self.entries)
        self._routes.clear()

    def decode(self, delivery: Received) -> Decoded:
        """Decode one delivery. Raises nothing: what is wrong is in `rejected` or `faults`."""
        route = self._routes.get(delivery.topic)
        out = Decoded()
        if route is None:
            if self.imports is not None and announced.take(self, self.imports, delivery, out):
                return out
            route = self.route(delivery.topic)
        try:
            self._claim(route, delivery, out)
        except DecodeError as error:
            out.rejected = str(error)
        if not (out.readings or out.events or out.rejected or out.ignored or out.faults):
            out.ignored = f"{route.candidates[0].profile}: nothing to report"
        if out.faults and out.rejected is None and not any(reading.fields for reading in out.readings):
            out.rejected = "; ".join(out.faults)
        return out

    def release(self, now_ns: int, boot_ns: int | None = None) -> Decoded:
        """Do what time alone makes due: held values, impulses, silence. Cheap when there is none.

        `boot_ns` is the time since boot; without it the wall clock is taken for one that never steps.
        """
        out = Decoded()
        if self.imports is not None and self.imports.pending:
            announced.settle(self, self.imports, out, now_ns)
        self.watch.look(now_ns, now_ns if boot_ns is None else boot_ns, out)
        return out

    # -- claiming ------------------------------------------------------------------------------------------

    def _claim(self, route: Route, delivery: Received, out: Decoded) -> None:
        documents: dict[str, Any] = {}
        claims = route.claims
        first = claims[0][0].message if claims else None
        if first is not None:
            document = documents[first.format] = first.parse(delivery.payload)
            if route.flat and document.__class__ is dict:
                usual = route.usual.get(tuple(document))
                if usual is not None:
                    self._state(usual[0], document, document, delivery, out, usual[1])
                    return
            claims = route.claims_of(document)
        failed: dict[str, DecodeError] = {}  # profile -> why it cannot read this at all
        refused: dict[str, list[str]] = {}
        for candidate, certain in claims:
            message = candidate.message
            if message is None:
                if candidate.profile in failed:
                    raise failed[candidate.profile]
                out.ignored = f"{candidate.profile}: nothing to report"
                return
            document = documents.get(message.format, ABSENT)
            if document is ABSENT:
                document = documents[message.format] = message.parse(delivery.payload)
            if document.__class__ is DecodeError:
                failed[candidate.profile] = document
                continue
            if certain or self._holds(candidate, document):
                if self._chosen and candidate.bound is None:
                    about = candidate.about(self.source, self.devices, document)
                    if about is not None and learned.refuses(self, about):
                        refused.setdefault(about.subject, []).append(message.profile)
                        continue
                if candidate.says_little and self._known(route.candidates, documents, delivery, out, candidate):
                    return
                self._together(claims, candidate, documents, delivery, out)
                if candidate.group != route.candidates[0].group:
                    route.prefer(candidate)
                return
        if refused:
            out.unclaimed = True
            raise DecodeError(which_profile(refused, self.devices))
        self._unclaimed(route.candidates, documents, delivery, out, next(iter(failed.values()), None))

    def _together(
        self, claims: list[Claim], first: Candidate, documents: dict[str, Any], delivery: Received, out: Decoded
    ) -> None:
        """Read a delivery by every message of the claiming profile that matches as closely as the first."""
        for candidate, certain in claims:
            message = candidate.message
            if candidate.group != first.group or message is None:
                continue
            document = documents.get(message.format, ABSENT)
            if document is ABSENT or document.__class__ is DecodeError:
                continue
            sure = (certain or candidate is first) and not message.asks_learned
            if sure or self._holds(candidate, document) or candidate is first:
                self._read(candidate, document, delivery, out)

    def _holds(self, candidate: Candidate, document: Any) -> bool:
        """Return whether a message's `when` holds; what was learned of its device is put into the document before."""
        message = candidate.message
        assert message is not None
        if message.asks_learned:
            about = candidate.about(self.source, self.devices, document)
            learned.recall(self, about.subject if about else None, document)
        return holds(message, document)

    def _unclaimed(
        self, route: list[Candidate], documents: dict[str, Any], delivery: Received, out: Decoded, failed: Any
    ) -> None:
        """Give a partial message to the profile its device is known by, else say why nobody reads it."""
        if self._known(route, documents, delivery, out):
            return
        if is_empty(route, documents):
            return
        if not is_name(delivery.topic):
            raise DecodeError("not a topic name")
        if failed is not None and all(document.__class__ is DecodeError for document in documents.values()):
            raise failed
        out.unclaimed = True
        tried = sorted({candidate.profile for candidate in route})
        tried[3:] = [f"{len(tried) - 3} others"] if len(tried) > 4 else tried[3:]
        why = f": {', '.join(tried)} read this topic, but not this payload" if tried else " this topic"
        raise DecodeError(f"no profile claims{why}")

    def _known(
        self, route: list[Candidate], documents: dict[str, Any], delivery: Received, out: Decoded, than: Any = None
    ) -> bool:
        """Give a message to the profile its device is known by, if that says more of it than who claims it (`than`)."""
        for candidate in route:
            bound, document = candidate.bound, documents.get(candidate.message.format if candidate.message else "")
            if bound and document.__class__ is dict and (than is None or candidate.says_more(than)):
                known = self.values.get(bound.subject)
                if known and known.get(NOTES, {}).get("profile") == candidate.profile:
                    self._read(candidate, document, delivery, out)
                    if out.readings or out.faults:
                        return True
        return False

    def _read(self, candidate: Candidate, document: Any, delivery: Received, out: Decoded) -> None:
        message = candidate.message
        assert message is not None
        if delivery.retained and message.retained == "drop":
            out.ignored = f"{candidate.profile}: a retained copy"
            return
        whole, member = document, message.root(document) if message.root else document
        if member is ABSENT:
            return
        if message.dedup is not None and not delivery.retained:
            about = candidate.about(self.source, self.devices, document)
            whose = (candidate.profile, about.subject if about else delivery.topic)
            said = delivery.payload if message.blob else member
            if self.repeats.again(message.dedup, whose, said, delivery.received_ns, delivery):
                out.ignored = f"{candidate.profile}: the same again within {message.dedup.text}"
                return
        if message.per is not None:
            for captured, _ in visit(message.per, member):
                captures = {**candidate.captures, **captured}
                self._one(candidate.member(self.source, self.devices, captures, member), member, whole, delivery, out)
            return
        if message.each is None:
            if not (message.skip and any(test(member) for test in message.skip)):
                bound = candidate.bound or candidate.member(self.source, self.devices, candidate.captures, member)
                self._one(bound, member, whole, delivery, out)
            return
        for found, inner in candidate.visit(self.source, self.devices, member):
            if message.skip and any(test(inner) for test in message.skip):
                continue
            if isinstance(found, DecodeError):
                out.faults.append(str(found))  # it costs this member, not the others
            else:
                self._one(found, inner, whole, delivery, out)

    def _one(self, bound: Bound, member: Any, whole: Any, delivery: Received, out: Decoded) -> None:
        message = bound.message
        if bound.refused and learned.refuses(self, bound):
            return
        if bound.plain:
            self._state(bound, member, whole, delivery, out)
        elif message.learn is not None:
            learned.learn(self, bound, message.learn, member, out)
        elif message.time is not None and message.time.historical is not None and message.time.historical(whole):
            messages.past(self, bound, member, whole, delivery, out)
        elif message.availability is not None:
            presence.availability(self, self.watch, bound, message.availability, member, delivery, out)
        elif message.event is None and message.blob is None:
            self._state(bound, member, whole, delivery, out)
        else:
            known = self.values.get(bound.subject)
            if bound.silence_ns and known is not None and not delivery.retained:
                self.watch.heard(bound.subject, known, bound.silence_ns, delivery.received_ns, out)
            if message.blob is not None:
                messages.blob(self, bound, message.blob, member, delivery, out)
            elif message.event is not None:
                messages.event(self, bound, message.event, member, whole, delivery, out)

    # -- one state message: the hot path -------------------------------------------------------------------

    def _state(
        self, bound: Bound, member: Any, whole: Any, delivery: Received, out: Decoded, plan: Plan | None = None
    ) -> None:
        subject = bound.subject
        known = self.values.get(subject)
        new = known is None or not bound.known
        if known is None:
            self.admit(subject)
            known = {NOTES: {}}
        fields: dict[str, Any] = {}
        silent_until = bound.silent_until
        when = ""
        if plan is None:
            shape = tuple(member) if member.__class__ is dict else ()
            plan = bound.plans.get(shape) or bound.plan(shape)
        for name, key, convert, always, never, field in plan:
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
            old = known.get(name, ABSENT)
            if old is ABSENT and len(known) > FIELDS_KNOWN_MAX:
                out.faults.append(f"{name}: a field more than {FIELDS_KNOWN_MAX}")
                continue
            if never:
                known[name] = value
                continue
            if old == value:
                if not always:
                    continue
                left = silent_until.get(name, 0) - delivery.received_ns
                if 0 < left <= field.policy.max_silence_ns:  # more would be a wall clock that stepped back
                    continue
            when = self._judged(bound, field, known, value, old, raw, key, whole, delivery, out, when)
        if fields:
            if new:
                self.introduce(bound, known, out)
            out.readings.append(Reading(subject, bound.name, bound.device_class, bound.message.profile, fields))
        if bound.silence_ns and not delivery.retained and subject in self.values:
            self.watch.heard(subject, known, bound.silence_ns, delivery.received_ns, out)
        if bound.momentary and (not delivery.retained or bound.message.retained == "event"):
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
        if field.reset_ns:
            self.watch.impulse(subject, known, field, value)
            if old == value:
                return when
        if field.policy is EVERY_CHANGE and value is not None and old is not None:
            known[name] = value
            verdict = Verdict.CHANGED
        else:
            verdict = judge(known, name, value, field.policy, delivery.received_ns)
            if field.policy.max_silence_ns and not field.policy.min_interval_ns:
                told = known[NOTES].get("at", {}).get(name, 0)
                bound.silent_until[name] = told + field.policy.max_silence_ns
            if verdict is Verdict.SAME or verdict is Verdict.SEEN:
                return when
        if not out.changed or out.changed[-1] != subject:
            out.changed.append(subject)
        if field.aliased and bound.aliases.get(name) != key:
            note_alias(bound, known, field, key)
        if verdict is Verdict.KEPT:
            if field.policy.min_interval_ns:
                self.watch.hold(subject, name)
            return when
        retained = delivery.retained and bound.message.retained == "state"
        if old is ABSENT and (retained or (field.quiet and value is False)):
            return when  # a seed, or the absence of something never raised
        when = when or self.time(bound, whole, delivery)
        out.events.append(self.change(field, subject, value, old, when, resync=retained, raw=raw))
        return when

    def forget(self, topics: Iterable[str] | None) -> None:
        """Look these topics up again when they come; None: all."""
        if topics is None:
            self._routes.clear()
        for topic in topics or ():
            self._routes.pop(topic, None)

    def route(self, topic: str) -> Route:
        """Return what reads a topic."""
        found = self._routes.get(topic)
        if found is not None:
            return found
        entries: Sequence[Entry] = self._by_topic.of(topic) if is_name(topic) else ()
        if self.imports is not None and is_name(topic):
            entries = announced.among(self.imports, topic, entries, self.catalogue)
        route = route_of(entries, topic, self.source, self.devices, self.values)
        while len(self._routes) >= ROUTES_MAX:
            del self._routes[next(iter(self._routes))]
        self._routes[topic] = route
        return route
