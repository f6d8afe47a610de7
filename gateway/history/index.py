"""The history index: which stretches of the log hold which devices, types and times. Pure; may be lost.

A *stretch* is about `STRETCH_RECORDS` neighbouring records. Of each the index knows the first and the last sequence,
the earliest and the latest time, which lanes, which (type, device) pairs, and *marks*: 16 bits of a hash of every
cause and of every id that is not made of a counter. Who looks for something reads only the stretches that may have
it, and looks at the records themselves: a stretch too many costs some milliseconds, one too few would be wrong.

Stretches are neighbours without gaps: what is not in the log any more is in none. At `bytes_max` the oldest are
joined two by two: coarser, never wrong. At KEYS_MAX pairs (made-up devices?) a stretch says only "anything".
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

STRETCH_RECORDS: Final = 4096
STRETCH_BYTES: Final = 200  # what a stretch takes beside its keys and marks, about
KEY_BYTES: Final = 120  # and a pair beside its text
KEYS_MAX: Final = 20_000
MARKS_MAX: Final = 4096  # of a stretch; more, and it says "anything" of marks
ANYTHING: Final = 0  # the key that fits every question
STAMPED_CHARS_MAX: Final = 36  # of an id made of log id, epoch and counter; a derived one has 37
LATER: Final = "~"  # sorts behind every time

Key = tuple[str, str]
"""(type, device)"""


class Seen(msgspec.Struct, gc=False, tag_field="specversion", tag="1.0"):
    """The attributes that are indexed and asked for."""

    id: str
    type: str
    subject: str = ""
    time: str = ""
    cause: str | None = None


decode_seen = msgspec.json.Decoder(Seen).decode


class Stretch(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What some neighbouring records are about. Sequences are inclusive, `keys` and `marks` sorted u16."""

    first: int
    last: int
    earliest: str
    latest: str
    lanes: int  # a bit for each lane
    keys: bytes
    marks: bytes  # b"" with `lanes` bit 15: any

    def joined(self, newer: Stretch) -> Stretch:
        """Return one stretch for both, which are neighbours."""
        marks = _numbers(self.marks) | _numbers(newer.marks)
        lanes = self.lanes | newer.lanes
        if len(marks) > MARKS_MAX:
            lanes, marks = lanes | ANY_MARK, set()
        return Stretch(
            self.first,
            newer.last,
            min(self.earliest, newer.earliest),
            max(self.latest, newer.latest),
            lanes,
            _packed(_numbers(self.keys) | _numbers(newer.keys)),
            _packed(marks),
        )

    @property
    def size(self) -> int:
        """Return how many bytes it takes, about."""
        return STRETCH_BYTES + len(self.keys) + len(self.marks)


ANY_MARK: Final = 1 << 15


def mark(text: str) -> int:
    """Return the 16 bits that stand for an id."""
    return zlib.crc32(text.encode()) & 0xFFFF


def never(_first: int, _last: int) -> bool:
    """Have no doubt about any records."""
    return False


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for, as far as an index can tell."""

    key: Callable[[Key], bool] | None = None  # whether a pair is wanted; None: any
    lanes: int = 0x7FFF
    since: str = ""
    until: str = LATER
    mark: int | None = None  # of an id or a cause
    near: int | None = None  # or the sequence that an id has, or one a little less


class Index:
    """Stretches in order. Changed by one thread; others may ask, and see it as it was or as it is."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.stretches: tuple[Stretch, ...] = ()
        self.keys: list[Key] = [("", "")]  # by number; 0 is ANYTHING
        self._numbers: dict[Key, int] = {}
        self._keys_bytes = 0
        self.bytes = 0

    @property
    def through(self) -> int:
        """Return the sequence up to which everything is in it."""
        stretches = self.stretches
        return stretches[-1].last if stretches else 0

    def number(self, key: Key) -> int:
        """Return a pair's number, a new one if need be; ANYTHING when there is no room."""
        found = self._numbers.get(key)
        if found is None:
            size = KEY_BYTES + len(key[0]) + len(key[1])
            if len(self.keys) > KEYS_MAX or self._keys_bytes + size > self.bytes_max // 2:
                return ANYTHING
            found = self._numbers[key] = len(self.keys)
            self.keys.append(key)
            self._keys_bytes += size
            self.bytes += size
        return found

    @property
    def crowded(self) -> bool:
        """Return whether pairs take so much room that those that no stretch has should go."""
        return len(self.keys) > KEYS_MAX // 2 or self._keys_bytes > self.bytes_max // 4

    def add(self, stretch: Stretch) -> None:
        """Take the next stretch."""
        self.stretches = (*self.stretches, stretch)
        self.bytes += stretch.size
        self._join()

    def forget(self, before: int) -> int:
        """Drop stretches whose last record is older than sequence `before`. Returns how many."""
        gone = bisect_left(self.stretches, before, key=lambda stretch: stretch.last)
        if gone:
            self.bytes -= sum(stretch.size for stretch in self.stretches[:gone])
            self.stretches = self.stretches[gone:]
        return gone

    def may_have(self, asked: Question, doubtful: Callable[[int, int], bool] = never) -> Iterator[Stretch]:
        """Yield the stretches that may have what is looked for, oldest first.

        `doubtful(first, last)`: the clock was wrong when these were written, so their times are others than here.
        """
        timeless = msgspec.structs.replace(asked, since="", until=LATER)
        stretches, keys = self.stretches, self.keys
        wanted = None
        if asked.key is not None:
            wanted = {number for number, key in enumerate(keys) if number == ANYTHING or asked.key(key)}
        previous, previous_fits = None, False
        for stretch in stretches:
            near = asked.near is not None and stretch.first <= asked.near <= stretch.last
            question = timeless if doubtful(stretch.first, stretch.last) else asked
            fits = _fits(stretch, question, wanted)
            if near and previous is not None and not previous_fits:
                yield previous  # an id's place may be a little before where it should be
            if near or fits:
                yield stretch
            previous, previous_fits = stretch, fits

    def renewed(self) -> Index:
        """Return the same index without pairs that no stretch has."""
        fresh = Index(self.bytes_max)
        for stretch in self.stretches:
            numbers = {fresh.number(self.keys[n]) if n else ANYTHING for n in _numbers(stretch.keys)}
            fresh.add(msgspec.structs.replace(stretch, keys=_packed(numbers)))
        return fresh

    def _join(self) -> None:
        """Join the older half, two by two, until it fits or is one."""
        while self.bytes > self.bytes_max and len(self.stretches) > 1:
            half = max(2, len(self.stretches) // 2)
            old, young = self.stretches[:half], self.stretches[half:]
            pairs = zip(old[::2], old[1::2], strict=False)
            joined = [older.joined(newer) for older, newer in pairs] + ([old[-1]] if half % 2 else [])
            self.bytes += sum(each.size for each in joined) - sum(each.size for each in old)
            self.stretches = (*joined, *young)


def _fits(stretch: Stretch, asked: Question, wanted: set[int] | None) -> bool:
    if not stretch.lanes & asked.lanes or stretch.latest < asked.since or stretch.earliest >= asked.until:
        return False
    if asked.mark is not None or asked.near is not None:
        return bool(stretch.lanes & ANY_MARK) or (asked.mark is not None and asked.mark in _array(stretch.marks))
    return wanted is None or not wanted.isdisjoint(_array(stretch.keys))


class Gathering:
    """The stretch that is being filled."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.first = index.through + 1
        self.records = 0
        self._earliest, self._latest = LATER, ""
        self._lanes = 0
        self._keys: set[Key] = set()
        self._marks: set[int] = set()
        self.odd = 0  # records that are no events

    def take(self, raws: Iterable[bytes], lanes: bytes) -> None:
        """Take records, neighbours in the log."""
        decode, keys, marks = decode_seen, self._keys, self._marks
        earliest, latest = self._earliest, self._latest
        for raw in raws:
            try:
                seen = decode(raw)
            except msgspec.DecodeError:
                self.odd += 1  # no question can be about it
                continue
            keys.add((seen.type, seen.subject))
            time = seen.time
            if time < earliest:  # noqa: PLR1730 - a call of min takes three times as long
                earliest = time
            if time > latest:  # noqa: PLR1730
                latest = time
            if seen.cause is not None:
                marks.add(mark(seen.cause))
            if len(seen.id) > STAMPED_CHARS_MAX:
                marks.add(mark(seen.id))
        self._earliest, self._latest = earliest, latest
        for lane in set(lanes):
            self._lanes |= 1 << lane
        self.records += len(lanes)

    def stretch(self, last: int) -> Stretch:
        """Return it as a stretch that ends at a sequence."""
        lanes, marks = self._lanes, self._marks
        if len(marks) > MARKS_MAX:
            lanes, marks = lanes | ANY_MARK, set()
        keys = {self._index.number(key) for key in self._keys}
        return Stretch(self.first, last, self._earliest, self._latest, lanes, _packed(keys), _packed(marks))


def _array(packed: bytes) -> array[int]:
    return array("H", packed)


def _numbers(packed: bytes) -> set[int]:
    return set(array("H", packed))


def _packed(numbers: Iterable[int]) -> bytes:
    return array("H", sorted(numbers)).tobytes()
