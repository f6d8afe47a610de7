"""The history index on the disk: a file that may be lost, so nothing here is synced.

It is written to once a stretch, and anew when half of it is of no use any more. Frames of 8 bytes (length, CRC-32,
little endian) and msgpack; a frame that does not hold ends the file, and what it had is read from the journal again.

    ["edge-gateway history", version, log id]     the first
    [type, device]                                the next pair: its number is how many came before it, from 1
    [first, last, earliest, latest, ...]          a stretch, with the numbers of its pairs
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.history.index import Index, Stretch

NAME: Final = "history"  # in the state folder
VERSION: Final = 1
MAGIC: Final = "edge-gateway history"
SLACK_BYTES: Final = 64 * 1024  # a file this small is not written anew
_FRAME = struct.Struct("<II")
_encode = msgspec.msgpack.Encoder().encode
_head = msgspec.msgpack.Decoder(tuple[str, int, str]).decode
_part = msgspec.msgpack.Decoder(list[Any]).decode


class HistoryFile:
    """One index's file."""

    def __init__(self, path: Path, log_id: str) -> None:
        self.path = path
        self.written = 0  # bytes, since it was opened
        self._log_id = log_id
        self._size = 0
        self._keys = 1  # pairs that are in the file, and the one that is in none

    def load(self, bytes_max: int, durable: int) -> Index:
        """Read what is there of this log up to a sequence; an empty index when there is nothing."""
        index = Index(bytes_max)
        frames = _frames(self.path)
        with suppress(msgspec.MsgspecError, StopIteration):
            if _head(next(frames)) == (MAGIC, VERSION, self._log_id):
                for frame in frames:
                    part = _part(frame)
                    if len(part) == 2:
                        index.keys.append((part[0], part[1]))
                    elif not _take(index, msgspec.convert(part, Stretch), durable):
                        break
        return index.renewed()

    def rewrite(self, index: Index) -> None:
        """Write all of it. Raises OSError."""
        parts = [_framed((MAGIC, VERSION, self._log_id))]
        parts += [_framed(key) for key in index.keys[1:]]
        parts += [_framed(stretch) for stretch in index.stretches]
        data = b"".join(parts)
        fresh = self.path.with_suffix(".new")
        fresh.write_bytes(data)
        fresh.replace(self.path)
        self._size, self._keys = len(data), len(index.keys)
        self.written += len(data)

    def append(self, index: Index) -> None:
        """Write the newest stretch, and pairs that are new with it; or all when much of it is old. Raises OSError."""
        parts = [_framed(key) for key in index.keys[self._keys :]] + [_framed(index.stretches[-1])]
        data = b"".join(parts)
        if not self._size or self._size + len(data) > 2 * index.bytes + SLACK_BYTES:
            self.rewrite(index)
            return
        with self.path.open("ab") as file:
            file.write(data)
        self._size += len(data)
        self._keys = len(index.keys)
        self.written += len(data)


def _take(index: Index, stretch: Stretch, durable: int) -> bool:
    """Take a stretch that fits behind the ones before, and is not beyond what the log has."""
    fits = stretch.first <= stretch.last <= durable and (not index.stretches or stretch.first == index.through + 1)
    if fits:
        index.add(stretch)
    return fits


def _framed(part: object) -> bytes:
    packed = _encode(part)
    return _FRAME.pack(len(packed), zlib.crc32(packed)) + packed


def _frames(path: Path) -> Iterator[bytes]:
    """Yield the frames of a file that hold, up to the first that does not."""
    try:
        data = path.read_bytes()
    except OSError:
        return
    at = 0
    while at + _FRAME.size <= len(data):
        length, crc = _FRAME.unpack_from(data, at)
        frame = data[at + _FRAME.size : at + _FRAME.size + length]
        if len(frame) != length or zlib.crc32(frame) != crc:
            return
        yield frame
        at += _FRAME.size + length
