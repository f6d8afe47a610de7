"""All profiles at hand: loaded from folders, checked, and sorted by how closely their topics match."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gateway.document import Document, raise_faults
from gateway.errors import ConfigError, Fault
from gateway.profiles.compile import compile_profile
from gateway.profiles.compiled import Compiled, CompiledMessage
from gateway.profiles.template import Captures, TopicTemplate, covers

PROFILES_MAX = 2_000
LEVELS_TOLD_APART = 16  # of a topic; more are as these
MESSAGES_MAX = 1_000  # of one profile
BUILTIN = Path(__file__).resolve().parents[2] / "device_profiles"


Chosen = tuple[tuple[tuple[str, str], ...], tuple[str, ...]]
"""Prefixes in force, and the profiles that are read."""


class Entry(NamedTuple):
    """One topic of one message, prefixes filled in; `message` None: known, nothing to report."""

    template: TopicTemplate
    exclude: tuple[TopicTemplate, ...]
    profile: str
    message: CompiledMessage | None
    together: tuple[int, str] | None = None  # of what devices said themselves: rank and importer

    def match(self, levels: list[str]) -> Captures | None:
        """Return the captures, or None when the topic is another or excluded."""
        found = self.template.match(levels)
        if found is None or any(other.match(levels) is not None for other in self.exclude):
            return None
        return found

    @property
    def group(self) -> tuple[tuple[int, ...], str]:
        """Return what messages have in common that read one delivery together."""
        if self.together is not None:
            return (self.together[0],), self.together[1]
        return self.template.specificity, self.profile


class Catalogue:
    """Profiles by id."""

    def __init__(self, profiles: Iterable[Compiled] = ()) -> None:
        """Take compiled profiles; of two with one id the later stands."""
        self.profiles: dict[str, Compiled] = {profile.source.id: profile for profile in profiles}
        self._entries: dict[Chosen, list[Entry]] = {}  # several sources read the same profiles
        self._filters: dict[Chosen, list[str]] = {}
        self.by_a_person = frozenset(  # files that did not come with the gateway
            name for name, profile in self.profiles.items() if Path(profile.file).parent != BUILTIN
        )

    @classmethod
    def load(cls, folders: Sequence[Path] = (BUILTIN,)) -> Catalogue:
        """Load every ``*.toml``; a later folder's profile replaces an earlier one of the same id.

        Raises ConfigError with the faults of all files.
        """
        catalogue, faults = cls.salvaged(folders)
        raise_faults(faults)
        return catalogue

    @classmethod
    def salvaged(cls, folders: Sequence[Path]) -> tuple[Catalogue, list[Fault]]:
        """Load what is right; return it and the faults of the other files."""
        found: list[Compiled] = []
        faults: list[Fault] = []
        for folder in folders:
            for file in sorted(folder.glob("*.toml"))[:PROFILES_MAX]:
                try:
                    found.append(load_profile(file))
                except ConfigError as error:
                    faults += error.faults
        return cls(found), faults

    @property
    def prefixes(self) -> frozenset[str]:
        """Return every default prefix that a source may say another word for."""
        mine = [self.profiles[name] for name in self.of_kind("mqtt")]
        templates = (topic for each in mine for m in each.messages for topic in m.topics)
        return frozenset(s.default for topic in templates for s in topic.segments if s.default is not None)

    def named(self, words: Iterable[str]) -> list[str]:
        """Return the profiles that words name: an id, or the beginning of several (``enocean`` is ``enocean-*``).

        Of several only those for serial ports are meant: the same dialect over MQTT is another profile's.
        Raises KeyError with the word that names none.
        """
        found: dict[str, None] = {}
        for word in words:
            family = [name for name in self.of_kind("serial") if name.startswith(f"{word}-")]
            mine = sorted({*family, *([word] if word in self.profiles else ())})
            if not mine:
                raise KeyError(word)
            found.update(dict.fromkeys(mine))
        return list(found)

    def has(self, word: str) -> bool:
        """Return whether a word names a profile or a family of them."""
        return any(name == word or name.startswith(f"{word}-") for name in self.profiles)

    def of_kind(self, kind: str) -> list[str]:
        """Return the profiles whose link is of a kind."""
        return [name for name, profile in self.profiles.items() if profile.source.link.kind == kind]

    def entries(self, prefixes: Mapping[str, str], names: Iterable[str] | None = None) -> list[Entry]:
        """Return every topic of these profiles (None: all for MQTT), closest match first, with prefixes filled in."""
        mine = tuple(self.of_kind("mqtt") if names is None else names)
        key = tuple(sorted(prefixes.items())), mine
        if key not in self._entries:
            found = [entry for name in mine for entry in entries_of(self.profiles[name], prefixes)]
            found.sort(key=_closeness)
            self._entries[key] = found
        return list(self._entries[key])

    def filters(self, prefixes: Mapping[str, str], names: Iterable[str] | None = None) -> list[str]:
        """Return the MQTT topic filters that bring every message of these profiles, none covered by another."""
        mine = tuple(self.of_kind("mqtt") if names is None else names)
        key = tuple(sorted(prefixes.items())), mine
        if key not in self._filters:
            wanted = sorted({entry.template.filter() for entry in self.entries(prefixes, mine) if entry.message})
            found = [f for f in wanted if not any(other != f and covers(other, f) for other in wanted)]
            self._filters[key] = found
        return list(self._filters[key])


class Entries:
    """Entries by what tells most of them apart at once: a topic's first level, and how many levels it has."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        """Take entries in their order."""
        self.all = entries
        self._firsts = {entry.template.segments[0].literal for entry in entries}
        self._by: dict[tuple[str | None, int], list[Entry]] = {}

    def of(self, topic: str) -> list[Entry]:
        """Return those that can match a topic, in their order."""
        first, levels = topic.partition("/")[0], topic.count("/") + 1
        key = first if first in self._firsts else None, min(levels, LEVELS_TOLD_APART)
        found = self._by.get(key)
        if found is None:
            found = self._by[key] = [entry for entry in self.all if _may_match(entry.template, *key)]
        return found


def _may_match(template: TopicTemplate, first: str | None, levels: int) -> bool:
    literal, count = template.segments[0].literal, len(template.segments)
    if literal is not None and literal != first:
        return False
    if any(segment.many for segment in template.segments):
        return count <= levels
    return count == levels or count >= LEVELS_TOLD_APART == levels


def _closeness(entry: Entry) -> tuple[object, ...]:
    order = entry.message.order if entry.message else MESSAGES_MAX  # "nothing to report" speaks last
    return (tuple(-n for n in entry.template.specificity), entry.profile, order)


def load_profile(file: Path) -> Compiled:
    """Load one file. Raises ConfigError with every fault in it."""
    document = Document.read(file)
    compiled = compile_profile(document)
    if compiled.source.id != file.stem:
        raise ConfigError([document.fault(("id",), f"id {compiled.source.id!r} is not the file's name {file.stem!r}")])
    return compiled


def entries_of(profile: Compiled, prefixes: Mapping[str, str]) -> Iterator[Entry]:
    """Yield every topic of one profile, with a source's prefixes filled in."""
    name = profile.source.id
    for message in profile.messages:
        exclude = tuple(template.bound(prefixes) for template in message.exclude)
        for template in message.topics:
            yield Entry(template.bound(prefixes), exclude, name, message)
    for template in profile.ignore:
        yield Entry(template.bound(prefixes), (), name, None)
