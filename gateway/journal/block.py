r"""A block: one group commit on the disk. Whatever is in it happens together or not at all.

Format version 1. All numbers are little endian. A block starts on a multiple of `align` (512 bytes,
option `journal.align`) and is padded with zeros to the next one, so that no two commits share a
sector. It is a header of 160 bytes, then the payload (`record.py`), compressed with zstd unless the
flag RAW is set.

    offset size field            meaning
         0    4 magic            ff 45 47 42: ff never occurs in UTF-8, so no event's text can look like a block
         4    2 version          1
         6    2 flags            1 RAW          the payload is stored as it is
                                 2 CHECKPOINT   the payload is a checkpoint (checkpoint.py), first in its segment
                                 4 SURVIVORS    records copied out of evicted segments; they bring their sequences
                                 8 CLEAN        last block of an orderly stop: nothing was in flight
                                16 UNSYNCED     nobody disciplined the wall clock when this was written
                                32 START        first block of a start (of its epoch)
                                64 ENCRYPTED    the payload is sealed (cipher.py), after compression
         8    6 log id           made once per journal; a file of another journal is never read as ours
        14    2 lanes            how many of the lane counts below are used
        16    8 life             of the segment: new each time a file is (re)used, never used twice
        24    4 epoch            of the writer: one more at each start
        28    4 previous CRC     header CRC of the block before (0 for the first of a chain)
        32    8 number           of the block in the log, dense; a survivors' segment counts its own from 0
        40    8 durable through  the greatest block number whose fdatasync had returned when this was written
        48    8 first sequence   of the events inside (the next one, when there is none)
        56    8 records before   events ever written before this block, without the numbers skipped at starts
        64    8 wall             nanoseconds since 1970, as far as this machine knew
        72    8 boot             nanoseconds since boot (CLOCK_BOOTTIME)
        80    8 previous life    life of the segment before this one in the chain (0: none)
        88    4 previous end     offset in that segment where the chain left it; nothing behind it is read
        92    4 events           how many
        96    4 stored length    payload bytes on the disk
       100    4 plain length     payload bytes inflated
       104    4 payload CRC      CRC-32 of the stored payload
       108   32 lane counts      events per lane, 8 x u32: a reader skips a block without its lane
       140   16 mark             key id and epoch salt of an ENCRYPTED block, else zero
       156    4 header CRC       CRC-32 of bytes 0..155; as it covers the payload CRC it names the whole block

Block N+1 is written only after the fdatasync of N has returned. So what a power cut can leave behind
is at most one block that is not whole. Reading a segment from its head, a block is accepted when its
header CRC, log id, life and payload CRC hold, its number is one more than the last and its previous
CRC is the last one's. Where that fails there is a hole, and the rest of the segment is searched for a
block that proves the hole was durable once (`durable through` at or above it, epoch not older):

* found: the hole is damage. It is skipped, set aside and counted: the records lost are the difference
  in `records before`. Reading goes on behind it.
* not found: the hole is the unsynced tail. It is cut; nothing behind it is read; nothing in it was
  acknowledged (after an unclean stop the last block's count cannot be known: "tail, at most one block").

Ghosts: what lies behind a cut has an older epoch or a previous CRC that does not fit; what lies in a
recycled segment has another life; what was written by another journal has another log id.

A zstd payload may end with a skippable frame of zeros (RFC 8878, 3.1.2), which the stored length includes: so a block
ends where its page does when the next one of its size would begin in this page and end in another (writer.py).

What is lost: a flipped, zeroed or torn byte loses the block it is in. A block that was never synced is
lost whole. A segment file that vanished loses its records, whose number the segment index knows.

Upgrade: a program reads all versions up to its own, mixed in one journal and in one segment, and writes only
its own; nothing is converted, older blocks leave as the ring turns. Downgrade: a program that meets a block
of a version above its own stops (NewerFormat, exit code 78) and has changed nothing in the folder by then.
So magic, version, flags and the CRC over the first 156 bytes stay where they are in every version. Flags in
the upper byte may be ignored by programs that do not know them, flags in the lower byte may not. What may
change without a new version: fields behind the last of an index entry, keys in rows, new tables.
tests/journal/golden holds a journal of every version so far, which all later programs must read.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final

import msgspec

from gateway.errors import JournalError, NewerFormat
from gateway.journal.cipher import NO_KEYS, SEAL_BYTES, Keys

MAGIC: Final = b"\xffEGB"
VERSION: Final = 1
HEADER_BYTES: Final = 160
LANES_MAX: Final = 8
ALIGN: Final = 512
STORED_BYTES_MAX: Final = 64 * 1024 * 1024  # a length above this is no length

RAW, CHECKPOINT, SURVIVORS, CLEAN, UNSYNCED, START, ENCRYPTED = 1, 2, 4, 8, 16, 32, 64
FLAGS_KNOWN: Final = RAW | CHECKPOINT | SURVIVORS | CLEAN | UNSYNCED | START | ENCRYPTED
FLAGS_OPTIONAL: Final = 0xFF00

_FIELDS = struct.Struct("<4sHH6sHQIIQQQQqQQIIIII8I16s")
_CRC = struct.Struct("<I")
_SKIPPABLE = struct.Struct("<II")  # magic and length of a skippable frame (RFC 8878, 3.1.2)
_SKIPPABLE_MAGIC = 0x184D2A50
_COMPRESS_MIN_BYTES = 96  # below this a zstd frame is no smaller than the text

assert _FIELDS.size + _CRC.size == HEADER_BYTES


class Header(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The header of a block, as in the table above. `crc` and `offset` are set when it was read or placed."""

    log_id: bytes
    life: int
    epoch: int
    previous_crc: int
    number: int
    durable_through: int
    first: int
    records_before: int
    wall_ns: int
    boot_ns: int
    previous_life: int = 0
    previous_end: int = 0
    events: int = 0
    stored: int = 0
    plain: int = 0
    payload_crc: int = 0
    counts: tuple[int, ...] = (0,) * LANES_MAX
    flags: int = 0
    lanes: int = LANES_MAX
    mark: bytes = b""
    crc: int = 0

    @property
    def next_records(self) -> int:
        """Events ever written up to and including this block."""
        return self.records_before + self.events


class Deflate(msgspec.Struct, frozen=True, gc=False):
    """A payload ready for the disk, but for encryption, which needs the header: `keys` say whether."""

    content: bytes
    plain_bytes: int
    raw: bool
    keys: Keys = NO_KEYS

    @property
    def size(self) -> int:
        """How many bytes will be stored."""
        return len(self.content) + (SEAL_BYTES if self.keys.writes else 0)


def deflate(payload: bytes, codec: Any) -> Deflate:
    """Compress a payload, or keep it where that gains nothing."""
    if len(payload) >= _COMPRESS_MIN_BYTES:
        content = codec.deflate(payload)
        if len(content) < len(payload):
            return Deflate(content, len(payload), raw=False, keys=codec.keys)
    return Deflate(payload, len(payload), raw=True, keys=codec.keys)


def padded(length: int, align: int) -> int:
    """Return the bytes a block with a payload of `length` stored bytes takes on the disk."""
    return -(-(HEADER_BYTES + length) // align) * align


def lengthened(payload: Deflate, gap: int) -> Deflate:
    """Put a skippable frame of `gap` bytes behind a compressed payload; `gap` is at least 8."""
    length = gap - _SKIPPABLE.size
    content = b"".join((payload.content, _SKIPPABLE.pack(_SKIPPABLE_MAGIC, length), bytes(length)))
    return Deflate(content, payload.plain_bytes, raw=False, keys=payload.keys)


def encode_header(header: Header) -> tuple[bytes, int]:
    """Return the 160 bytes of a header and its CRC."""
    fields = _FIELDS.pack(
        MAGIC,
        VERSION,
        header.flags,
        header.log_id,
        header.lanes,
        header.life,
        header.epoch,
        header.previous_crc,
        header.number,
        header.durable_through,
        header.first,
        header.records_before,
        header.wall_ns,
        header.boot_ns,
        header.previous_life,
        header.previous_end,
        header.events,
        header.stored,
        header.plain,
        header.payload_crc,
        *header.counts,
        header.mark,
    )
    crc = zlib.crc32(fields)
    return fields + _CRC.pack(crc), crc


def encode(header: Header, payload: Deflate, align: int) -> tuple[bytes, Header]:
    """Return a block's bytes, padded to `align`, and its header with lengths and CRCs filled in."""
    mark = payload.keys.mark(header.log_id)
    header = msgspec.structs.replace(
        header,
        stored=payload.size,
        plain=payload.plain_bytes,
        flags=header.flags | (RAW if payload.raw else 0) | (ENCRYPTED if mark else 0),
        mark=mark,
    )
    stored = payload.content
    if mark:
        stored = payload.keys.seal(header.log_id, header.epoch, mark, stored, _associated(header))
    header = msgspec.structs.replace(header, payload_crc=zlib.crc32(stored))
    head, crc = encode_header(header)
    gap = padded(len(stored), align) - HEADER_BYTES - len(stored)
    return b"".join((head, stored, bytes(gap))), msgspec.structs.replace(header, crc=crc)


def _associated(header: Header) -> bytes:
    """Return what of a header a sealed payload is bound to: all but magic, version and both CRCs."""
    unsummed = msgspec.structs.replace(header, payload_crc=0)
    return encode_header(unsummed)[0][6 : _FIELDS.size]


def decode_header(data: bytes | memoryview, offset: int = 0) -> Header | None:
    """Read a header at `offset`; None when there is none or its CRC does not hold.

    Raises NewerFormat for a sound header of one: then nothing may be touched.
    """
    if len(data) - offset < HEADER_BYTES or data[offset : offset + 4] != MAGIC:
        return None
    end = offset + _FIELDS.size
    (crc,) = _CRC.unpack_from(data, end)
    if zlib.crc32(data[offset:end]) != crc:
        return None
    _, version, flags, log_id, lanes, life, epoch, previous_crc, number, through, *rest = _FIELDS.unpack_from(
        data, offset
    )
    if version > VERSION or flags & ~(FLAGS_KNOWN | FLAGS_OPTIONAL):
        raise NewerFormat(
            f"the journal was written by a newer version (format {version}, flags {flags:#x}; this one reads up to"
            f" {VERSION}); nothing was changed: install that version again, or give this one a folder of its own"
        )
    first, records_before, wall_ns, boot_ns, previous_life, previous_end, events, stored, plain, payload_crc = rest[:10]
    if stored > STORED_BYTES_MAX or plain > STORED_BYTES_MAX:
        return None
    return Header(
        log_id=log_id,
        life=life,
        epoch=epoch,
        previous_crc=previous_crc,
        number=number,
        durable_through=through,
        first=first,
        records_before=records_before,
        wall_ns=wall_ns,
        boot_ns=boot_ns,
        previous_life=previous_life,
        previous_end=previous_end,
        events=events,
        stored=stored,
        plain=plain,
        payload_crc=payload_crc,
        counts=tuple(rest[10 : 10 + LANES_MAX]),
        flags=flags,
        lanes=lanes,
        mark=rest[10 + LANES_MAX] if flags & ENCRYPTED else b"",
        crc=crc,
    )


def payload_of(header: Header, stored: bytes | memoryview, codec: Any) -> bytes:
    """Check, decrypt and inflate a block's stored payload.

    Raises JournalError when it is not what was written, WrongKey when it is encrypted and the key is not there.
    """
    if len(stored) != header.stored or zlib.crc32(stored) != header.payload_crc:
        raise JournalError(f"block {header.number}: the payload's CRC does not hold")
    content = bytes(stored)
    if header.flags & ENCRYPTED:
        content = codec.decrypt(header, content, _associated(header))
    if header.flags & RAW:
        return content
    return bytes(codec.inflate(content, header.plain))
