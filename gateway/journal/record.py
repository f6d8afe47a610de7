"""The payload of a block: numbered events and changes of durable tables.

    part       bytes       meaning
    lanes      events x 1  the lane of each event (event.Lane)
    lengths    events x 4  bytes of each event, u32
    sequences  events x 8  u64, only in SURVIVORS blocks; elsewhere event i has the header's first sequence + i
    events     sum         the events' JSON, one after the other
    changes    the rest    msgpack {table: {key: value}}, nil deletes the key; no bytes at all when nothing changed

An event's number, lane and length cost 5 bytes before compression. The last change of a key in a block
is the only one in it. Tables whose name starts with "_" are the journal's own (`_segments`).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway.errors import JournalError

Changes = Mapping[str, Mapping[str, Any]]
PackedChanges = dict[str, dict[str, msgspec.Raw]]

_pack = msgspec.msgpack.Encoder().encode
_unpack_changes = msgspec.msgpack.Decoder(dict[str, dict[str, msgspec.Raw]]).decode
NIL = b"\xc0"


class Records(msgspec.Struct, gc=False):
    """A block's payload, taken apart. `lanes[i]`, `raws[i]` and `sequence(i)` belong together."""

    first: int
    lanes: bytes
    raws: list[bytes]
    sequences: tuple[int, ...] | None
    changes: dict[str, dict[str, msgspec.Raw]]
    wall_ns: int = 0  # when they were written, from the block's header

    def sequence(self, index: int) -> int:
        """Return the journal number of an event."""
        return self.sequences[index] if self.sequences is not None else self.first + index


def encode_changes(changes: Changes) -> bytes:
    """Pack table changes; no bytes for none. Raises JournalError for what msgpack cannot carry."""
    if not changes:
        return b""
    try:
        return _pack(changes)
    except (TypeError, OverflowError, ValueError, RecursionError) as error:
        raise JournalError(f"a table value cannot be stored: {error}") from error


def encode(raws: Sequence[bytes], lanes: bytes, changes: bytes, sequences: Sequence[int] | None = None) -> bytes:
    """Lay out a payload. `changes` comes from `encode_changes`."""
    count = len(raws)
    numbers = struct.pack(f"<{count}Q", *sequences) if sequences is not None else b""
    return b"".join((lanes, struct.pack(f"<{count}I", *map(len, raws)), numbers, *raws, changes))


def decode(payload: bytes, first: int, events: int, *, survivors: bool = False) -> Records:
    """Take a payload apart. Raises JournalError when its lengths do not add up."""
    start = events * (13 if survivors else 5)
    if start > len(payload):
        raise JournalError("a block's payload is shorter than its own index")
    lengths = struct.unpack_from(f"<{events}I", payload, events)
    sequences = struct.unpack_from(f"<{events}Q", payload, events * 5) if survivors else None
    raws = []
    for length in lengths:
        end = start + length
        raws.append(payload[start:end])
        start = end
    if start > len(payload):
        raise JournalError("a block's payload ends inside an event")
    return Records(first, payload[:events], raws, sequences, decode_changes(payload[start:]))


def decode_changes(packed: bytes) -> PackedChanges:
    """Unpack table changes; the values stay packed until somebody asks for them."""
    if not packed:
        return {}
    try:
        return _unpack_changes(packed)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:  # it does not wrap what is wrong in a key
        raise JournalError(f"a block's table changes cannot be read: {error}") from error
