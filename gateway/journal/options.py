"""The journal's options (`[journal]` in the config) and the limits behind them."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from gateway.journal.block import ALIGN
from gateway.journal.timeline import STRETCH_BYTES, STRETCHES_MAX, STRETCHES_MIN
from gateway.secrets import Secret

MIB: Final = 1024 * 1024
RESERVE_SEGMENTS: Final = 3  # left alone by ordinary blocks:
LEAVE_ALARMS: Final = 2  # a block with alarms may take the first, when the file system refuses to give more
LEAVE_SURVIVORS: Final = 1  # survivors of eviction the second
LEAVE_SWITCH: Final = 0  # and the block that switches to them the last
SEGMENTS_MIN: Final = 8  # one in use, the one before, the reserve, one ahead, and two to give up
PAGE_BYTES: Final = 4096  # what the file system writes and accounts, however little of it changes
SEGMENT_BYTES_MIN: Final = 16 * 1024
STRANGERS_PERCENT: Final = 75  # of tables_bytes_max
OWN_TABLES: Final = frozenset({"starts", "clock", "identity", "audit", "cursors", "carried", "damage"})
"""Bounded by number: neither a start nor a route or a commit is refused for what fills the others."""
OWN_SHARE: Final = 8  # each of them may take this part of tables_bytes_max
START_BYTES: Final = 256  # of a row of "starts" with its key, about
STARTS_MIN: Final = 4
SEGMENT_BYTES: Final = 8 * MIB
SEGMENT_BYTES_MAX: Final = 64 * MIB
SEGMENTS_GOAL: Final = 32  # what arrived last is in one or two segments and not thinned yet: that should be little
SEGMENT_BYTES_ENOUGH: Final = MIB  # a segment is not made smaller than this for SEGMENTS_GOAL
LETTERS_SHARE: Final = 16  # dead letters may take this part of the budget
DAY_S: Final = 86_400.0
SEQUENCE_SKIP: Final = 1 << 20  # numbers left out after an unclean stop; more than a lost tail can hold
STARTS_MAX: Final = 32  # starts remembered in table "starts"
DAMAGES_MAX: Final = 256  # places of damage remembered in table "damage", the rest is summed under "more"
QUARANTINE_BYTES_MAX: Final = 32 * MIB
QUARANTINE_FILES_MAX: Final = 64


class TelemetryLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much telemetry may wait for its routes, and what gives way beyond that (or when the journal is full)."""

    policy: Literal["thin", "oldest", "newest"] = "thin"  # thin: keep an even sample in time; else which end goes
    bytes_max: int | None = None  # on the disk; default: what the journal has
    age_max_s: float | None = None  # by the wall clock, never while it is not synced; default: no limit

    def __post_init__(self) -> None:
        """Refuse what cannot work (ValueError)."""
        _check(self.bytes_max, self.age_max_s)


class AlarmLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many alarms may wait for their routes; the oldest give way."""

    bytes_max: int | None = None  # on the disk; default: what the journal has
    age_max_s: float | None = None  # by the wall clock, never while it is not synced; default: no limit

    def __post_init__(self) -> None:
        """Refuse what cannot work (ValueError)."""
        _check(self.bytes_max, self.age_max_s)


class DeadLetterLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many dead letters are kept; the oldest give way."""

    bytes_max: int | None = None  # on the disk; default: a sixteenth of the journal
    age_max_s: float | None = 90 * DAY_S  # by the wall clock, never while it is not synced

    def __post_init__(self) -> None:
        """Refuse what cannot work (ValueError)."""
        _check(self.bytes_max, self.age_max_s)


def _check(bytes_max: int | None, age_max_s: float | None) -> None:
    if bytes_max is not None and bytes_max <= 0:
        raise ValueError("bytes_max is more than 0; leave it out for no limit")
    if age_max_s is not None and age_max_s <= 0:
        raise ValueError("age_max_s is more than 0; leave it out for no limit")


class JournalOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may choose."""

    bytes_max: int = 256 * MIB  # all segment files together: a ring, written with zeros ahead of use
    segment_bytes: int = SEGMENT_BYTES  # one file; made smaller so that there are 8, or 32 of 1 MiB or more
    align: int = ALIGN  # blocks start on multiples of this; 4096 for cards whose sectors are doubtful
    max_delay_ms: float = 100.0  # how long telemetry may wait for its commit under lasting load: latency against wear
    cursor_delay_s: float = 5.0  # how long table changes without events may wait
    block_bytes: int = MIB  # a batch is closed at this size, uncompressed
    tail_bytes_max: int = 8 * MIB  # memory for the newest records, which most readers want
    level: int = 1  # zstd
    key: Secret | None = None  # encrypts what is written from now on: 64 hex digits, from `openssl rand -hex 32`
    old_keys: tuple[Secret, ...] = ()  # read what was written with the keys before
    preallocate: bool = True  # write the whole budget with zeros in the background, so that it is ours
    telemetry: TelemetryLimits = TelemetryLimits()  # what may wait for routes
    alarm: AlarmLimits = AlarmLimits()  # what may wait for routes
    dead_letters: DeadLetterLimits = DeadLetterLimits()  # what is kept for a person

    def __post_init__(self) -> None:
        """Refuse what cannot work (ValueError)."""
        if self.align < ALIGN or self.align % ALIGN:
            raise ValueError(f"journal.align must be a multiple of {ALIGN}, not {self.align}")
        if not SEGMENT_BYTES_MIN <= self.segment_bytes <= SEGMENT_BYTES_MAX or self.segment_bytes % self.align:
            raise ValueError(
                f"journal.segment_bytes must be {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX} and a multiple of align"
            )
        if self.bytes_max < SEGMENTS_MIN * SEGMENT_BYTES_MIN:
            raise ValueError(f"journal.bytes_max must be at least {SEGMENTS_MIN * SEGMENT_BYTES_MIN}")
        for name in ("telemetry", "alarm", "dead_letters"):
            limit = getattr(self, name).bytes_max
            if limit is not None and limit > self.bytes_max:
                raise ValueError(f"journal.{name}.bytes_max is more than journal.bytes_max ({self.bytes_max})")

    @property
    def segment_size(self) -> int:
        """Bytes of one segment file: `segment_bytes`, or less so that the budget holds enough of them."""
        unit = max(self.align, PAGE_BYTES)
        enough = max(self.bytes_max // SEGMENTS_GOAL, SEGMENT_BYTES_ENOUGH)
        goal = enough if self.segment_bytes <= SEGMENT_BYTES else self.segment_bytes
        return min(self.segment_bytes, goal, self.bytes_max // SEGMENTS_MIN) // unit * unit

    @property
    def segments_max(self) -> int:
        """How many segment files the budget allows."""
        return self.bytes_max // self.segment_size

    @property
    def letters_bytes_max(self) -> int:
        """What dead letters may take on the disk."""
        return self.dead_letters.bytes_max or self.bytes_max // LETTERS_SHARE

    @property
    def tables_bytes_max(self) -> int:
        """How large all tables together may be: a checkpoint must leave half of its segment to blocks."""
        return self.segment_size // 2

    def rows_bytes_max(self, table: str) -> int:
        """How large all tables together may be for a new row in this one.

        The last part is for the gateway's own rows: made-up devices and clients ("values", tables of one source,
        which have a colon) must not keep out a cursor or a rule's state.
        """
        if table in OWN_TABLES:
            return self.segment_size
        strangers = table == "values" or ":" in table
        return self.tables_bytes_max * STRANGERS_PERCENT // 100 if strangers else self.tables_bytes_max

    @property
    def stretches_max(self) -> int:
        """How many rows about the clock there may be."""
        return max(STRETCHES_MIN, min(STRETCHES_MAX, self.tables_bytes_max // OWN_SHARE // STRETCH_BYTES))

    @property
    def starts_max(self) -> int:
        """How many starts are remembered."""
        return max(STARTS_MIN, min(STARTS_MAX, self.tables_bytes_max // OWN_SHARE // START_BYTES))
