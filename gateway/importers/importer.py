"""What an importer is: it reads what devices say about themselves and turns it into profiles.

Zigbee2MQTT lists its devices with every property they have, Home Assistant's discovery has one message an entity,
Homie a description a device, Sparkplug B a birth.  An importer is pure: topic and payload in, `Taken` out.  All that
it remembers is in its `Rows`, which are kept durably and given back at the next start, so that no device has to
announce itself again; a row that is put again as it was is no write.

A `Description` is a profile in the words of `profiles/language.py`, the document a TOML file would hold; it goes
through the same compile step, and devices of one model share what came out.  `imports.py` does that for all importers
of a source and remembers which topic belongs to which description.  A new importer is one file, and one line in
`registry.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol

import msgspec

ANNOUNCEMENT_BYTES_MAX = 16_000_000  # of one announcement; a Zigbee bridge says 4 to 8 kB of each device
DEVICES_MAX = 2_000  # described to one source by one importer
TOPICS_MAX = 8_192  # that descriptions of one source read
ROWS_BYTES_MAX = 1_000_000  # of what one importer of a source remembers, as it is kept
FIELDS_MAX = 160  # of one description; what a device says beyond them is left out, and counted
LEFT_OUT_MAX = 32  # texts about what is not read that a description carries


class Description(msgspec.Struct, frozen=True, gc=False):
    """One device as it describes itself."""

    key: str  # which of the importer's descriptions; the same key again replaces it
    document: dict[str, Any]  # a profile without `id` and `schema`; equal documents are compiled once
    topics: tuple[str, ...]  # those of its messages that belong to this device
    device: str  # <dialect>:<stable name>
    name: str = ""  # what its own software calls it now
    aliases: Mapping[str, str] = {}  # ids by which profiles know it -> stable ids: {"z2m:hall": "z2m:0x0012..."}
    left_out: tuple[str, ...] = ()  # "field: why it is not read"


class Taken(msgspec.Struct):
    """What came of one message."""

    changed: list[str] = []  # keys of descriptions that are new, other or gone: `describe` says what they are now
    sends: list[tuple[str, bytes]] = []  # to publish, once there is a connection
    readings: list[tuple[str, bytes]] = []  # (topic, JSON) to decode as if it had come so
    whole: bool = False  # everything was said at once: make the descriptions now, more of the same will not follow
    refused: str | None = None  # why nothing could be made of it
    why: str = "nothing to report"  # when there is nothing of all that


class Rows:
    """What one importer remembers: small JSON-like values by key, of at most `ROWS_BYTES_MAX` together."""

    def __init__(self, kept: Mapping[str, Any] | None = None, bytes_max: int = ROWS_BYTES_MAX) -> None:
        """Begin with what was kept."""
        self._values: dict[str, Any] = dict(kept or {})
        self._sizes = {key: _size(key, value) for key, value in self._values.items()}
        self.bytes = sum(self._sizes.values())
        self.bytes_max = bytes_max
        self.dirty: set[str] = set()

    def get(self, key: str) -> Any:
        """Return a row, or None."""
        return self._values.get(key)

    def put(self, key: str, value: Any) -> bool:
        """Remember; False when there is no room for it. A row equal to the one there is costs nothing."""
        if self._values.get(key) == value and key in self._values:
            return True
        size = _size(key, value)
        if self.bytes - self._sizes.get(key, 0) + size > self.bytes_max:
            return False
        self.bytes += size - self._sizes.get(key, 0)
        self._sizes[key], self._values[key] = size, value
        self.dirty.add(key)
        return True

    def drop(self, key: str) -> None:
        """Forget a row."""
        if self._values.pop(key, None) is not None:
            self.bytes -= self._sizes.pop(key)
            self.dirty.add(key)

    def keep_only(self, fits: Callable[[str, Any], bool]) -> None:
        """Drop rows of another form: an earlier or later version wrote them, and the device will say it again."""
        for key in [key for key, value in self._values.items() if not _holds(fits, key, value)]:
            self._values.pop(key)
            self.bytes -= self._sizes.pop(key)
            self.dirty.add(key)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin so."""
        return [key for key in self._values if key.startswith(prefix)]

    def __len__(self) -> int:
        return len(self._values)

    def changes(self) -> Iterator[tuple[str, Any]]:
        """Yield what is to be written since the last time: None for a row that is gone."""
        dirty, self.dirty = self.dirty, set()
        for key in dirty:
            yield key, self._values.get(key)


class Importer(Protocol):
    """One dialect that describes its devices."""

    name: str  # in `importers = [...]` of a source
    rank: int  # 1: knows better than a shipped profile; -1: only where no profile reads the topic
    rows: Rows
    yielded: set[str]  # keys that are described by somebody better

    def beside(self, names: Collection[str], is_read: Callable[[Iterable[str]], bool]) -> None:
        """Hear which importers are on, and whom to ask whether somebody better reads one of some topics."""
        ...

    def filters(self) -> Iterable[str]:
        """Return the topic filters that bring its announcements."""
        ...

    def wants(self, topic: str) -> bool:
        """Return whether a message on this topic is one for `take`."""
        ...

    def take(self, topic: str, payload: bytes, now_ns: int) -> Taken:
        """Take a message; what cannot be read is refused, nothing is raised."""
        ...

    def explain(self, topic: str, payload: bytes) -> dict[str, Any]:
        """Return what a message says, for a person who tries one; empty when there is nothing to add. Keeps nothing."""
        ...

    def described(self) -> Iterable[str]:
        """Return the keys of everything that is described now: after a start, what the rows say."""
        ...

    def describe(self, key: str) -> Description | None:
        """Return a description as it is now; None when there is none of that key (any more)."""
        ...


def _holds(fits: Callable[[str, Any], bool], key: str, value: Any) -> bool:
    try:
        return fits(key, value)
    except (LookupError, TypeError, ValueError, AttributeError):
        return False


def _size(key: str, value: Any) -> int:
    return len(key) + len(msgspec.msgpack.encode(value))
