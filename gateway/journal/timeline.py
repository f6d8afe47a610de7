"""What the wall clock was worth when a record was appended, and when it really happened.

Sequences are cut into stretches, in each of which the wall clock is the boot clock and one offset (gateway/clock.py).
Rows of the table "clock", by ``<sequence a stretch begins with>.<epoch>.<boot_ns>`` (16, 10 and 20 digits: in order)::

    {boot, boot_ns, offset_ns, synced, epoch, not_before_ns}

A stretch begins with each start, and when the clock is set or believed. So an event's time says its boot time, and once
one stretch of the same boot is believed, its true time: `time - offset_ns + the believed offset`. The first believed
one counts, for ever: what left corrected leaves so again. Stored bytes are not rewritten. Records of a boot that was
never believed keep their order, and the times between which they must lie: `not_before_ns`, the newest time that was
believed when their stretch began, and the beginning of the next stretch that is believed.

What is told of an unsynced event instead of its stored attributes (names as CloudEvents 1.0.2, 3.1 wants them):

    corrected    time, received: true; clock: "corrected"; uncorrectedtime: as it was
    unsynced     bootid; clockoffset, as text: what its time shows more than the nanoseconds since that boot; notbefore,
                 notafter where known.  So who hears later what the offset was in truth (event `clock_synced`) can
                 correct it, too.  It is the same text for a whole stretch: a byte copy an event, no decoding.

Bounds: STRETCHES_MAX rows, fewer in a small journal; what no record needs goes at a start, else the oldest.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, Protocol

import msgspec

from gateway.clock import NS_PER_S, Clock, rfc3339, wall_ns_of

TABLE: Final = "clock"
STRETCHES_MIN: Final = 4
STRETCHES_MAX: Final = 64
STRETCH_BYTES: Final = 256  # of a row with its key, about
BEHIND_RECORDS_MAX: Final = 4096  # events stamped before the clock was believed may be appended so long after it
BEHIND_NS_MAX: Final = NS_PER_S  # and belong to the stretch before if they are no younger than this behind its end
UNKNOWN_BOOT: Final = "unknown"
MARK: Final = b'"clock":"unsynced"'
_ATTRIBUTES: Final = ("bootid", "clockoffset", "notbefore", "notafter")
_TOLD: Final = b'"clockoffset":"'


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Records from `first` on, until the next one."""

    first: int
    boot: str
    boot_ns: int  # when it began
    offset_ns: int  # wall clock minus boot clock
    synced: bool
    epoch: int = 0
    not_before_ns: int = 0

    @property
    def key(self) -> str:
        """Its row; the clock may be set twice without a record between."""
        return f"{self.first:016d}.{self.epoch:010d}.{self.boot_ns:020d}"

    @property
    def wall_ns(self) -> int:
        """What the wall clock showed when it began."""
        return self.boot_ns + self.offset_ns


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """When a record happened, by the clocks."""

    boot: str
    boot_ns: int
    synced: bool  # by the time it says itself
    wall_ns: int | None  # the true time, as far as it is known
    not_before_ns: int = 0  # 0: nothing is known
    not_after_ns: int = 0


class Rows(Protocol):
    """Durable tables."""

    def put(self, table: str, key: str, value: Any | None) -> None:
        """Set a row; None deletes it."""
        ...


class _Snapshot(msgspec.Struct, frozen=True):
    firsts: list[int]
    stretches: list[Stretch]
    offsets: dict[str, int]  # by boot: the first that was believed
    unsynced: list[tuple[int, int]]  # (first, last) sequences that may hold unsynced events
    endings: list[bytes]  # of each stretch: what an event of it ends with; empty when it can be corrected


class Timeline:
    """The stretches of one log. Changed on one thread; may be asked on any."""

    def __init__(self, rows: Mapping[str, Any] | None = None, stretches_max: int = STRETCHES_MAX) -> None:
        """`rows`: the table, which is read again after each `note`; at most so many are kept."""
        self._rows: Mapping[str, Any] = {} if rows is None else rows
        self._stretches_max = stretches_max
        self._now = _snapshot(self._rows)

    # -- writing ---------------------------------------------------------------------------------------

    def note(self, tables: Rows, clock: Clock, first: int, *, epoch: int = 0, not_before_ns: int = 0) -> Stretch:
        """Begin a stretch with the record `first`, by the clock as it is now."""
        boot, boot_ns = clock.boot_id(), clock.boot_ns()
        stretch = Stretch(
            first=first,
            boot=f"{UNKNOWN_BOOT}-{epoch:x}" if boot == UNKNOWN_BOOT else boot,
            boot_ns=boot_ns,
            offset_ns=clock.wall_ns() - boot_ns,
            synced=clock.synced(),
            epoch=epoch,
            not_before_ns=not_before_ns,
        )
        row = msgspec.to_builtins(stretch)
        del row["first"]
        for key in sorted(self._rows)[: 1 - self._stretches_max]:  # a clock that is set all the time
            tables.put(TABLE, key, None)
        tables.put(TABLE, stretch.key, row)
        self._now = _snapshot(self._rows)
        return stretch

    def prune(self, tables: Rows, oldest: int) -> None:
        """Forget stretches that no record from `oldest` on needs: to mend its time, or to know between which it is."""
        stretches = self._now.stretches
        kept = _needed(stretches, oldest, self._stretches_max)
        for stretch in stretches[:-1]:
            if stretch.key not in kept:
                tables.put(TABLE, stretch.key, None)
        self._now = _snapshot(self._rows)

    # -- asking ----------------------------------------------------------------------------------------

    @property
    def stretches(self) -> list[Stretch]:
        """Every stretch, in order."""
        return self._now.stretches

    def unsynced_in(self, first: int, last: int) -> bool:
        """Return whether a record from `first` to `last` may be unsynced. Cheap: asked for with each reading."""
        return any(low <= last and first <= high for low, high in self._now.unsynced)

    def moment(self, sequence: int, event: Mapping[str, Any]) -> Moment | None:
        """Return when a record happened; None when nothing is known of its clock, or it says no time.

        `event`: with its attributes as they are stored, or as they were told.
        """
        now, told = self._now, event.get("clock")
        text = event.get("uncorrectedtime") or event.get("received") or event.get("time")
        try:
            wall_ns = wall_ns_of(str(text))
        except ValueError:
            return None
        place = _place(now, sequence, wall_ns)
        if place < 0:
            return None
        stretch = now.stretches[place]
        if told is not None and stretch.synced:
            return None  # the event's own doubt, of a timer for instance
        boot_ns = wall_ns - stretch.offset_ns
        offset_ns = stretch.offset_ns if stretch.synced else now.offsets.get(stretch.boot)
        if offset_ns is not None:
            return Moment(boot=stretch.boot, boot_ns=boot_ns, synced=told is None, wall_ns=boot_ns + offset_ns)
        after = next((each.wall_ns for each in now.stretches[place + 1 :] if each.synced), 0)
        begin = next(each for each in now.stretches if each.boot == stretch.boot)
        low = max(begin.not_before_ns, *(each.wall_ns for each in now.stretches[: place + 1] if each.synced), 0)
        low = low + max(0, boot_ns - begin.boot_ns) if low else 0
        return Moment(
            boot=stretch.boot, boot_ns=boot_ns, synced=False, wall_ns=None, not_before_ns=low, not_after_ns=after
        )

    def true_ns(self, sequence: int, wall_ns: int) -> int:
        """Return what a time that the clock showed at a record was in truth, as far as it is known."""
        now = self._now
        place = _place(now, sequence, wall_ns)
        stretch = now.stretches[place] if place >= 0 else None
        if stretch is None or stretch.synced:
            return wall_ns
        return wall_ns - stretch.offset_ns + now.offsets.get(stretch.boot, stretch.offset_ns)

    def left_ns(self, sequence: int, until_ns: int, clock: Clock) -> int:
        """Return how long it is until a time that a record names by its own clock; below 0: it is over.

        In the same boot that is the boot clock's matter, whatever the wall clock did. Over a reboot it is the wall
        clock's, if it is believed at both ends; if not, nobody knows how long the machine was off, and it is over.
        """
        now, boot_ns = self._now, clock.boot_ns()
        place = _place(now, sequence, until_ns)
        if place < 0:
            return until_ns - clock.wall_ns()
        stretch = now.stretches[place]
        if stretch.boot == now.stretches[-1].boot:
            return until_ns - stretch.offset_ns - boot_ns
        offset_ns = stretch.offset_ns if stretch.synced else now.offsets.get(stretch.boot)
        if offset_ns is None or not clock.synced():
            return -1
        return until_ns - stretch.offset_ns + offset_ns - clock.wall_ns()

    def told(self, raw: bytes, sequence: int) -> bytes:
        """Return an event's bytes with its time corrected, or with what is known of it; see the module's head."""
        if MARK not in raw:
            return raw
        now = self._now
        place = bisect_right(now.firsts, sequence) - 1
        if place >= 0 and (ending := now.endings[place]):
            return raw if _TOLD in raw else raw[:-1] + ending
        event: dict[str, Any] = msgspec.json.decode(raw)
        if event.get("clock") != "unsynced":
            return raw
        found = self.moment(sequence, event)
        if found is None or found.wall_ns is None:
            return raw
        for name in _ATTRIBUTES:
            event.pop(name, None)
        _correct(event, found.wall_ns)
        return msgspec.json.encode(event)

    def ending(self, first: int, last: int) -> bytes:
        """Return what unsynced events from `first` to `last` end with, where that is the same for all; else nothing."""
        now = self._now
        place = bisect_right(now.firsts, first) - 1
        same = place >= 0 and (place + 1 == len(now.firsts) or last < now.firsts[place + 1])
        return now.endings[place] if same else b""

    def telling(self, first: int, last: int) -> Callable[[bytes, int], bytes] | None:
        """Return `told` when a record from `first` to `last` may need it."""
        return self.told if self.unsynced_in(first, last) else None


def _place(now: _Snapshot, sequence: int, wall_ns: int) -> int:
    """Return which stretch a time is of that a record names; -1: older than all.

    What was stamped before the clock changed may be appended a little behind it: its time says so.
    """
    place = bisect_right(now.firsts, sequence) - 1
    if place <= 0:
        return place
    stretch, before = now.stretches[place], now.stretches[place - 1]
    behind = before.boot == stretch.boot and sequence - stretch.first < BEHIND_RECORDS_MAX
    if behind and wall_ns - stretch.offset_ns < stretch.boot_ns - BEHIND_NS_MAX:
        boot_ns = wall_ns - before.offset_ns
        if before.boot_ns - BEHIND_NS_MAX <= boot_ns <= stretch.boot_ns + BEHIND_NS_MAX:
            return place - 1
    return place


def _correct(event: dict[str, Any], wall_ns: int) -> None:
    """Put the true time in; of a device's own time, which its clock said, only if it was as wrong as ours."""
    was, heard = event.get("time", ""), event.get("received")
    true = rfc3339(wall_ns)
    if heard:
        event["received"] = true
        try:
            device_ns, heard_ns = wall_ns_of(was), wall_ns_of(heard)
        except ValueError:
            device_ns = heard_ns = 0
        shifted_ns = device_ns + wall_ns - heard_ns
        true = rfc3339(shifted_ns) if abs(device_ns - heard_ns) < abs(device_ns - wall_ns) else was
        was = heard
    event["time"], event["clock"], event["uncorrectedtime"] = true, "corrected", was


def _snapshot(rows: Mapping[str, Any]) -> _Snapshot:
    stretches = []
    for key in sorted(rows):
        try:
            stretches.append(msgspec.convert({**rows[key], "first": int(key.partition(".")[0])}, Stretch))
        except (msgspec.ValidationError, ValueError, TypeError):
            continue  # another version's: it costs a correction, not the start
    offsets: dict[str, int] = {}
    for each in stretches:
        if each.synced:
            offsets.setdefault(each.boot, each.offset_ns)
    ends = [each.first - 1 for each in stretches[1:]] + [1 << 62] * bool(stretches)
    unsynced = [
        (each.first, end + BEHIND_RECORDS_MAX) for each, end in zip(stretches, ends, strict=True) if not each.synced
    ]
    endings = [
        _ending(each, stretches[place + 1 :]) if not each.synced and each.boot not in offsets else b""
        for place, each in enumerate(stretches)
    ]
    return _Snapshot([each.first for each in stretches], stretches, offsets, unsynced, endings)


def _ending(stretch: Stretch, later: Sequence[Stretch]) -> bytes:
    """Return what an event of a stretch ends with that cannot be corrected."""
    after = next((each.wall_ns for each in later if each.synced), 0)
    found = {"bootid": stretch.boot, "clockoffset": str(stretch.offset_ns)}
    if stretch.not_before_ns:
        found["notbefore"] = rfc3339(stretch.not_before_ns)
    if after:
        found["notafter"] = rfc3339(after)
    return b"," + msgspec.json.encode(found)[1:]


def _needed(stretches: list[Stretch], oldest: int, stretches_max: int) -> set[str]:
    """Return the keys of stretches to keep, the newest of them at least."""
    wrong = {
        each.key
        for each, after in pairwise(stretches)
        if not each.synced and after.first > each.first and after.first + BEHIND_RECORDS_MAX > oldest
    }
    boots = {each.boot for each in stretches if each.key in wrong} | {each.boot for each in stretches[-1:]}
    kept = wrong | {each.key for each in stretches[-1:]}
    believed: set[str] = set()
    for place, each in enumerate(stretches):
        if each.synced and each.boot in boots and each.boot not in believed:
            believed.add(each.boot)
            kept.add(each.key)
        beside = stretches[place + 1 : place + 2] + stretches[max(0, place - 1) : place]
        if each.synced and any(other.key in wrong for other in beside):
            kept.add(each.key)
    return set(sorted(kept)[-stretches_max:])
