"""The journal's options (`[journal]` in the config) and the limits behind them."""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.journal.block import ALIGN
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
SEGMENT_BYTES_MAX: Final = 64 * MIB
SEQUENCE_SKIP: Final = 1 << 20  # numbers left out after an unclean stop; more than a lost tail can hold
STARTS_MAX: Final = 32  # starts remembered in table "starts"
DAMAGES_MAX: Final = 256  # places of damage remembered in table "damage", the rest is summed under "more"
QUARANTINE_BYTES_MAX: Final = 32 * MIB
QUARANTINE_FILES_MAX: Final = 64


class JournalOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may choose."""

    bytes_max: int = 256 * MIB  # all segment files together: a ring, written with zeros ahead of use
    segment_bytes: int = 8 * MIB  # one file; made smaller when bytes_max would not hold SEGMENTS_MIN of them
    align: int = ALIGN  # blocks start on multiples of this; 4096 for cards whose sectors are doubtful
    max_delay_ms: float = 20.0  # how long telemetry may wait for its commit: latency against wear
    cursor_delay_s: float = 5.0  # how long table changes without events may wait
    block_bytes: int = MIB  # a batch is closed at this size, uncompressed
    tail_bytes_max: int = 8 * MIB  # newest records kept in memory for readers
    level: int = 1  # zstd
    key: Secret | None = None  # encrypts what is written from now on: 64 hex digits, from `openssl rand -hex 32`
    old_keys: tuple[Secret, ...] = ()  # read what was written with the keys before
    preallocate: bool = True  # write the whole budget with zeros in the background, so that it is ours

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

    @property
    def segment_size(self) -> int:
        """Bytes of one segment file: `segment_bytes`, or less so that the budget holds SEGMENTS_MIN of them."""
        unit = max(self.align, PAGE_BYTES)
        return min(self.segment_bytes, self.bytes_max // SEGMENTS_MIN) // unit * unit

    @property
    def segments_max(self) -> int:
        """How many segment files the budget allows."""
        return self.bytes_max // self.segment_size

    @property
    def tables_bytes_max(self) -> int:
        """How large all tables together may be: a checkpoint must leave half of its segment to blocks."""
        return self.segment_size // 2

    def rows_bytes_max(self, table: str) -> int:
        """How large all tables together may be for a new row in this one.

        The last part is for the gateway's own rows: made-up devices and clients ("values", tables of one source,
        which have a colon) must not keep out a cursor or a rule's state.
        """
        strangers = table == "values" or ":" in table
        return self.tables_bytes_max * STRANGERS_PERCENT // 100 if strangers else self.tables_bytes_max
