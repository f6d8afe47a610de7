"""Routes: what may read a topic, found once and kept; and which of it reads a message, found once for each set of keys.

Devices repeat themselves: the same topic, the same keys. So who claims a message whose `when` asks only which keys
there are, and which members an `each` visits, is remembered by those keys (`SHAPES_MAX` sets for each topic).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.errors import DecodeError
from gateway.profiles.bind import SHAPES_MAX, Bound, Plan, found_by, identity, is_state
from gateway.profiles.catalogue import Entry
from gateway.profiles.compiled import CompiledMessage
from gateway.profiles.devices import Devices
from gateway.profiles.pointer import ABSENT, Read, compile_pointer, visit
from gateway.profiles.report import NOTES
from gateway.profiles.template import Captures
from gateway.profiles.vocabulary import weight

MEMBERS_MAX = 256  # devices reached by one topic (`each`) whose binding is kept

Keys = tuple[Any, ...]


class Candidate:
    """A message that may claim a topic; `bound` is None when the device depends on the payload."""

    __slots__ = (
        "bound", "captures", "group", "members", "message", "plain", "profile", "says_little", "varied", "visits",
    )  # fmt: skip

    def __init__(self, entry: Entry, captures: Captures, source: str, devices: Devices) -> None:
        """Bind it if the topic alone names the device. Raises DecodeError when that is no usable name."""
        self.profile, self.message, self.captures, self.group = entry.profile, entry.message, captures, entry.group
        self.members: dict[str, Bound] = {}
        self.visits: dict[Keys, tuple[tuple[str, Bound], ...]] = {}
        self.bound: Bound | None = None
        # another profile may know more of the device: this is a switch, a measurement or less
        self.says_little = entry.message is not None and weight(entry.message.device_class) < weight("thermostat")
        message = entry.message
        fields = message.fields if message and message.per else ()  # those of one device may be others each time
        self.varied = any(field.name.captures or field.captured for field in fields)
        if message and message.each is None and message.per is None and not message.device.paths:
            self.bound = Bound(message, source, captures, identity(message.device, captures, None)).fields_for(devices)
        self.plain = _is_plain(message, self.bound)

    def member(self, source: str, devices: Devices, captures: Captures, member: Any) -> Bound:
        """Return the binding of a device that the payload names. Raises DecodeError when it has no usable name."""
        assert self.message is not None
        name = identity(self.message.device, captures, member)
        key = "\0".join([name, *captures.values()]) if self.varied else name
        bound = self.members.get(key)
        if bound is None:
            captures = {**captures, **found_by(self.message.device, member)}
            bound = Bound(self.message, source, captures, name).fields_for(devices)
            _bounded(self.members, MEMBERS_MAX)
            self.members[key] = bound
        return bound

    def about(self, source: str, devices: Devices, document: Any) -> Bound | None:
        """Return the one device a message is about, if the topic or the payload names one."""
        message = self.message
        if self.bound is not None or message is None or message.each is not None or message.per is not None:
            return self.bound
        member = message.root(document) if message.root else document
        try:
            return self.member(source, devices, self.captures, member)
        except DecodeError:
            return None  # reading says why it has no name

    def says_more(self, other: Candidate) -> bool:
        """Return whether this is of another profile as close to the topic, about a device that it says more of."""
        if self.message is None or other.message is None or self.group == other.group:
            return False
        mine, theirs = weight(self.message.device_class), weight(other.message.device_class)
        return self.group[0] == other.group[0] and mine > theirs

    def visit(self, source: str, devices: Devices, start: Any) -> Iterator[tuple[Bound | DecodeError, Any]]:
        """Yield each device of a message about several, with its member; an error for one without a usable name."""
        message = self.message
        assert message is not None
        assert message.each is not None
        parent = message.parent(start) if message.parent else start
        if parent.__class__ is not dict or message.device.paths or message.parent is None:
            for captured, inner in visit(message.each, start):
                try:
                    yield self.member(source, devices, {**self.captures, **captured}, inner), inner
                except DecodeError as error:
                    yield error, inner
            return
        keys = tuple(parent)
        found = self.visits.get(keys)
        if found is None:
            last, bound = message.each[-1], []
            for key in keys:
                text = last.match(key)
                if text is not None:
                    captures = {**self.captures, last.name: text}
                    bound.append((key, self.member(source, devices, captures, parent[key])))
            _bounded(self.visits, SHAPES_MAX)
            self.visits[keys] = found = tuple(bound)
        for key, one in found:
            yield one, parent[key]


Claim = tuple[Candidate, bool]
"""A candidate, and whether its `when` is known to hold."""


class Route:
    """Everything that may read one topic, closest match first."""

    __slots__ = ("_parents", "_shapes", "candidates", "claims", "flat", "usual")

    def __init__(self, candidates: Sequence[Candidate], values: Any) -> None:
        """Order the candidates: of those that match equally, first the profile the device is known by."""
        self.candidates = list(candidates)
        self._shapes: dict[Keys, list[Claim]] = {}
        self._parents: tuple[Read, ...] = ()
        self.flat = False  # keys of the message itself are all that is asked
        self.usual: dict[Keys, tuple[Bound, Plan]] = {}  # keys -> the one plain state message that reads them
        self._arrange()
        for candidate in candidates:
            known = values.get(candidate.bound.subject) if candidate.bound else None
            if known and known.get(NOTES, {}).get("profile") == candidate.profile:
                self.prefer(candidate)
                break

    def _arrange(self) -> None:
        self.claims: list[Claim] = [(candidate, False) for candidate in self.candidates]
        self._shapes.clear()
        self.usual.clear()
        asked = [c.message.asks for c in self.candidates if c.message and c.message.asks]
        forms = {candidate.message.format for candidate in self.candidates if candidate.message}
        parents = sorted({parent for one in asked for parent in one})
        if not parents and forms == {"json"} and all(c.message and not c.message.when for c in self.candidates):
            parents = [""]  # nothing is asked at all: the keys still tell which fields there are
        self._parents = tuple(map(compile_pointer, parents)) if len(forms) == 1 else ()
        self.flat = bool(self._parents) and parents == [""]

    def claims_of(self, document: Any) -> list[Claim]:
        """Return the candidates for a message: without those that its keys already rule out."""
        if not self._parents or document.__class__ is not dict:
            return self.claims
        keys = tuple(document) if self.flat else tuple([_keys(parent(document)) for parent in self._parents])
        found = self._shapes.get(keys)
        if found is None:
            found = []
            for candidate in self.candidates:
                message = candidate.message
                certain = message is not None and message.asks is not None
                if message is None or not certain or all(test(document) for test in message.when):
                    found.append((candidate, certain))
            _bounded(self._shapes, SHAPES_MAX)
            self._shapes[keys] = found
            self._note_usual(keys, found)
        return found

    def _note_usual(self, keys: Keys, found: list[Claim]) -> None:
        """Remember the usual case: one plain state message, claimed for sure, whose profile has no other for it."""
        if not self.flat or not found or found[0][0].group != self.candidates[0].group:
            return
        mine = [claim for claim in found if claim[0].group == found[0][0].group]
        candidate, certain = mine[0]
        if len(mine) == 1 and certain and candidate.plain and candidate.bound is not None:
            _bounded(self.usual, SHAPES_MAX)
            self.usual[keys] = candidate.bound, candidate.bound.plan(keys)

    def prefer(self, candidate: Candidate) -> None:
        """Try this candidate's profile first from now on, among those that match equally closely."""
        closest = [c for c in self.candidates if c.group[0] == candidate.group[0]]
        at = self.candidates.index(closest[0])
        mine = [c for c in closest if c.group == candidate.group]
        if mine[0] is not self.candidates[at]:
            others = [c for c in closest if c.group != candidate.group]
            self.candidates[at : at + len(closest)] = mine + others
            self._arrange()


def route_of(entries: Sequence[Entry], topic: str, source: str, devices: Devices, values: Any) -> Route:
    """Find what may read a topic."""
    levels = topic.split("/")
    candidates: list[Candidate] = []
    for entry in entries:
        captures = entry.match(levels)
        if captures is not None:
            try:
                candidate = Candidate(entry, captures, source, devices)
            except DecodeError:
                continue  # no name a device could have
            if candidate.bound is None or not candidate.bound.refused:
                candidates.append(candidate)
    return Route(candidates, values)


def holds(message: CompiledMessage, document: Any) -> bool:
    """Return whether every condition of `when` holds."""
    for test in message.when:  # noqa: SIM110 - a generator costs more than the tests
        if not test(document):
            return False
    return True


def _keys(value: Any) -> Keys | None:
    return tuple(value) if value.__class__ is dict else None if value is ABSENT else ()


def _bounded(kept: dict[Any, Any], limit: int) -> None:
    while len(kept) >= limit:
        del kept[next(iter(kept))]


def _is_plain(message: CompiledMessage | None, bound: Bound | None) -> bool:
    """Return whether this is state about one device, read from the whole message."""
    if message is None or bound is None or message.root or message.skip or message.retained == "drop":
        return False
    return not (message.dedup or message.asks_learned) and is_state(message)


def is_empty(candidates: Sequence[Candidate], documents: Mapping[str, Any]) -> bool:
    """Return whether a profile says of a message that there is never anything in it to report."""
    for candidate in candidates:
        message = candidate.message
        if message is None or not message.empty:
            continue
        document = documents.get(message.format, ABSENT)
        if document is ABSENT or document.__class__ is DecodeError:
            continue
        if any(test(document) for test in message.empty):
            return True
    return False


def which_profile(refused: Mapping[str, Sequence[str]], devices: Devices) -> str:
    """Say why nobody reads a device whose messages do not say what it is."""
    device, profiles = next(iter(refused.items()))
    installed = devices.get(device)
    if installed is not None and installed.profile:
        return f"{device}: devices.toml says {installed.profile!r}, which does not read this"
    return (
        f"{device}: its messages do not say what it is; devices.toml can: profile = {' or '.join(map(repr, profiles))}"
    )
