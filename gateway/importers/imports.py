"""All importers of one source: their descriptions compiled, by topic, within limits.

Announcements come in storms (a bridge that starts lists every device; one device has forty entities), so taking one
only notes which descriptions are out of date; `settle` makes them, once for each, before the next topic is looked up
that nobody knew and at the latest a second later.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec

from gateway.document import Document
from gateway.errors import ConfigError
from gateway.importers.importer import ANNOUNCEMENT_BYTES_MAX, DEVICES_MAX, TOPICS_MAX, Description, Importer, Taken
from gateway.importers.registry import IMPORTERS, importer_of
from gateway.profiles.announced import News
from gateway.profiles.catalogue import Entry, entries_of
from gateway.profiles.compile import compile_profile
from gateway.profiles.compiled import Compiled
from gateway.profiles.template import covers
from gateway.topic import is_name

SENDS_MAX = 64  # messages of importers that wait for a connection
TITLE_CHARS = 28  # of a description's title that become part of its profile's id

_UNFIT = re.compile(r"[^a-z0-9]+")


class _Held(NamedTuple):
    description: Description
    importer: Importer
    profile: str


class _Shared(NamedTuple):
    """A compiled document and who uses it."""

    profile: Compiled
    entries: dict[tuple[str, str] | None, list[Entry]]  # by the last two levels of their topics; None: by no word
    users: set[tuple[str, str]]

    def on(self, topic: str) -> list[Entry]:
        """Return what reads a topic."""
        levels = topic.split("/")
        likely = [
            *self.entries.get((levels[-2] if len(levels) > 1 else "", levels[-1]), ()),
            *self.entries.get(None, ()),
        ]
        return [entry for entry in likely if entry.match(levels) is not None]


class Imports:
    """What devices of one source said about themselves."""

    def __init__(
        self, names: Collection[str], prefixes: Mapping[str, str] | None = None, kept: Mapping[str, Any] | None = None
    ) -> None:
        """Make the importers of these names; `kept` are rows of an earlier run, by ``<importer>/<key>``."""
        self.prefixes = dict(prefixes or {})
        self.importers: list[Importer] = []
        for name in (name for name in IMPORTERS if name in names):
            mine = {key.partition("/")[2]: row for key, row in (kept or {}).items() if key.startswith(f"{name}/")}
            self.importers.append(importer_of(name, self.prefixes, mine))
        self.read_by_profile: Callable[[str], bool] = _nobody  # whether a profile takes all messages of a topic
        for importer in self.importers:
            importer.beside([each.name for each in self.importers], partial(self._is_read, importer))
        self._held: dict[tuple[str, str], _Held] = {}
        self._shared: dict[str, _Shared] = {}
        self._by_topic: dict[str, list[tuple[str, str]]] = {}
        self._pending: dict[tuple[str, str], Importer] = {
            (importer.name, key): importer for importer in self.importers for key in importer.described()
        }
        self.moved = False  # descriptions read other topics than when somebody last asked
        self.sends: deque[tuple[str, bytes]] = deque(maxlen=SENDS_MAX)
        self.refused: Counter[str] = Counter()  # descriptions that could not be taken, by importer
        self.last_refusal = ""

    # -- what the decoder asks -----------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Return whether `settle` has something to do."""
        return bool(self._pending)

    def filters(self) -> list[str]:
        """Return the topic filters that bring announcements and what descriptions read, none covered by another."""
        wanted = {f for importer in self.importers for f in importer.filters()}
        wide = [f for f in wanted if "#" in f or "+" in f]
        wanted |= {t for t in self._by_topic if not t.startswith("$") and not any(covers(f, t) for f in wide)}
        return sorted(wanted)

    def wants(self, topic: str) -> Importer | None:
        """Return the importer a message on this topic is for."""
        for importer in self.importers:
            if importer.wants(topic):
                return importer
        return None

    def take(self, importer: Importer, topic: str, payload: bytes, now_ns: int) -> Taken:
        """Take a message; descriptions it changes wait for `settle`."""
        if len(payload) > ANNOUNCEMENT_BYTES_MAX:
            return Taken(refused=f"an announcement of {len(payload)} bytes, the limit is {ANNOUNCEMENT_BYTES_MAX}")
        try:
            taken = importer.take(topic, payload, now_ns)
        except RecursionError:
            taken = Taken(refused="nested too deeply")
        for key in taken.changed:
            self._pending[importer.name, key] = importer
        self.sends.extend(taken.sends)
        return taken

    def settle(self) -> News:
        """Make every description that is out of date."""
        news = News()
        while self._pending:
            at = max(self._pending, key=lambda one: self._pending[one].rank)
            rank = self._pending[at].rank
            pending = {at: importer for at, importer in self._pending.items() if importer.rank == rank}
            self._pending = {at: importer for at, importer in self._pending.items() if at not in pending}
            before = set(news.topics)
            for at, importer in pending.items():
                description, old = self._described(importer, at[1]), self._held.get(at)
                if old is None or old.description != description:
                    self._replace(at, importer, old, description, news)
            self._look_again(rank, news.topics - before)
        for shared_id in [name for name, shared in self._shared.items() if not shared.users]:
            del self._shared[shared_id]
            news.dropped.append(shared_id)
        return news

    def review(self) -> None:
        """Have importers that give way to profiles look again: the profiles are others now."""
        for importer in self.importers:
            if importer.rank < 0:
                self._pending |= {(importer.name, key): importer for key in importer.described()}

    def _look_again(self, rank: int, topics: set[str]) -> None:
        """Have lesser importers look again at what is read by others now, or was until now."""
        if not topics:
            return
        readers = {at for topic in topics for at in self._by_topic.get(topic, ())}
        for importer in self.importers:
            if importer.rank < rank:
                found = {at for at in readers if at[0] == importer.name} | {
                    (importer.name, k) for k in importer.yielded
                }
                self._pending |= dict.fromkeys(found, importer)

    def entries(self, topic: str) -> tuple[list[Entry], list[Entry]]:
        """Return what descriptions read on a topic: before the shipped profiles, and after them."""
        before: list[Entry] = []
        after: list[Entry] = []
        for at in self._by_topic.get(topic, ()):
            held = self._held[at]
            found, rank = self._shared[held.profile].on(topic), held.importer.rank
            (before if rank > 0 else after).extend(e._replace(together=(rank, held.importer.name)) for e in found)
        return before, after

    def _is_read(self, importer: Importer, topics: Iterable[str]) -> bool:
        """Return whether a profile or an importer of a higher rank reads one of these topics."""
        for topic in topics:
            held = (self._held[at] for at in self._by_topic.get(topic, ()))
            if any(each.importer.rank > importer.rank for each in held) or self.read_by_profile(topic):
                return True
        return False

    def changes(self) -> Iterator[tuple[str, Any]]:
        """Yield rows to be kept: (``<importer>/<key>``, row or None)."""
        for importer in self.importers:
            for key, row in importer.rows.changes():
                yield f"{importer.name}/{key}", row

    def descriptions(self) -> Iterator[tuple[str, Description]]:
        """Yield (importer, description) of everything described."""
        for held in self._held.values():
            yield held.importer.name, held.description

    def descriptions_by_key(self) -> dict[tuple[str, str], Description]:
        """Return everything described, by importer and key."""
        return {at: held.description for at, held in self._held.items()}

    def status(self) -> dict[str, object]:
        """Say how many devices are described, what was refused and what is left out, by importer."""
        described = Counter(at[0] for at in self._held)
        left_out: Counter[str] = Counter()
        for at, held in self._held.items():
            left_out[at[0]] += len(held.description.left_out)
        return {
            name: {"described": described[name], "refused": self.refused[name], "left_out": left_out[name]}
            for name in (importer.name for importer in self.importers)
            if described[name] or self.refused[name]
        }

    # -- one description -----------------------------------------------------------------------------------

    def _described(self, importer: Importer, key: str) -> Description | None:
        """Return a description; a row that cannot be read (another version's?) is dropped, and costs its device."""
        try:
            return importer.describe(key)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            importer.rows.drop(key)
            self.refused[importer.name] += 1
            self.last_refusal = f"{importer.name}: {key}: what is remembered cannot be read: {error!r}"
            return None

    def _replace(
        self, at: tuple[str, str], importer: Importer, old: _Held | None, new: Description | None, news: News
    ) -> None:
        if new is not None:
            why = self._no_room(at, old, new)
            shared = None if why else self._compiled(importer, new)
            if shared is None:
                self._refuse(importer, new, why)
                new = None
        if old is not None:
            self.moved = self.moved or new is None
            self._release(at, old)
            news.topics.update(old.description.topics)
        if new is None:
            if old is not None:
                news.gone.append(old.description)
            return
        profile = self._compiled(importer, new)
        assert profile is not None
        self._held[at] = _Held(new, importer, profile.profile.source.id)
        self.moved = self.moved or old is None or old.description.topics != new.topics
        profile.users.add(at)
        for topic in new.topics:
            self._by_topic.setdefault(topic, []).append(at)
        news.topics.update(new.topics)
        news.profiles.append(profile.profile)
        news.described.append((importer.name, new, old.description if old else None))

    def _release(self, at: tuple[str, str], old: _Held) -> None:
        del self._held[at]
        self._shared[old.profile].users.discard(at)
        for topic in old.description.topics:
            readers = self._by_topic[topic]
            readers.remove(at)
            if not readers:
                del self._by_topic[topic]

    def _no_room(self, at: tuple[str, str], old: _Held | None, new: Description) -> str:
        if not all(is_name(topic) for topic in new.topics):
            return "it reads what is no topic"
        topics = len(self._by_topic) - len(old.description.topics if old else ()) + len(new.topics)
        if topics > TOPICS_MAX:
            return f"{topics} topics, the limit is {TOPICS_MAX}"
        count = sum(name == at[0] for name, _ in self._held)
        if old is None and count >= DEVICES_MAX:
            return f"it would be device number {count + 1}, the limit is {DEVICES_MAX}"
        return ""

    def _compiled(self, importer: Importer, description: Description) -> _Shared | None:
        document = description.document
        digest = hashlib.blake2b(msgspec.json.encode(document), digest_size=4).hexdigest()
        slug = _UNFIT.sub("-", str(document.get("title", "")).lower()).strip("-")[:TITLE_CHARS].strip("-")
        name = f"{importer.name}.{slug or 'device'}-{digest}"
        found = self._shared.get(name)
        if found is None:
            whole = {"schema": 1, "id": name, **document}
            try:
                profile = compile_profile(Document.of(whole, f"imported {name}"))
            except ConfigError as error:
                self._refuse(importer, description, "; ".join(fault.what for fault in error.faults[:3]))
                return None
            entries: dict[tuple[str, str] | None, list[Entry]] = {}
            for entry in entries_of(profile, self.prefixes):
                last = [segment.literal for segment in entry.template.segments[-2:]]
                words = tuple(word for word in last if word is not None)
                entries.setdefault(words if len(words) == 2 else None, []).append(entry)
            found = self._shared[name] = _Shared(profile, entries, set())
        return found

    def _refuse(self, importer: Importer, description: Description, why: str) -> None:
        if why:
            self.refused[importer.name] += 1
            self.last_refusal = f"{importer.name}: {description.name or description.device}: {why}"


def _nobody(_topic: str) -> bool:
    return False


def names(wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Return the importers that are on: those named, or all."""
    return tuple(IMPORTERS) if wanted is None else tuple(wanted)
