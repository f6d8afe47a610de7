"""The frame of a block: what is read back is what was written, and nothing else ever is. Budget: 2 s."""

from __future__ import annotations

import random
import struct
import zlib

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import JournalError
from gateway.journal import block, record
from gateway.journal.block import Header
from gateway.journal.compression import Codec

LOG = bytes.fromhex("0123456789ab")
CODEC = Codec()


def header(**fields: object) -> Header:
    known: dict[str, object] = {
        "log_id": LOG, "life": 3, "epoch": 2, "previous_crc": 0xDEADBEEF, "number": 17, "durable_through": 16,
        "first": 1001, "records_before": 1000, "wall_ns": 1_795_000_000_000_000_000, "boot_ns": 5_000_000_000,
    }  # fmt: skip
    return Header(**(known | fields))  # type: ignore[arg-type]


def test_a_block_is_read_back_whole() -> None:
    """Header fields, payload, lanes and table changes survive the disk."""
    raws = [b'{"n":%d}' % n for n in range(50)]
    changes = record.encode_changes({"cursors": {"rules": {"after": 9}, "gone": None}})
    payload = record.encode(raws, bytes([0, 1] * 25), changes)
    data, written = block.encode(
        header(events=50, counts=(25, 25, 0, 0, 0, 0, 0, 0)), block.deflate(payload, CODEC), 512
    )
    assert len(data) % 512 == 0
    read = block.decode_header(data)
    assert read == written
    assert not read.flags & block.RAW
    plain = block.payload_of(read, data[160 : 160 + read.stored], CODEC)
    records = record.decode(plain, read.first, read.events)
    assert records.raws == raws
    assert records.lanes == bytes([0, 1] * 25)
    assert records.sequence(49) == 1050
    cursors = {key: bytes(value) for key, value in records.changes["cursors"].items()}
    assert cursors == {"rules": msgspec.msgpack.encode({"after": 9}), "gone": record.NIL}


def test_survivors_bring_their_own_sequences() -> None:
    """Records copied out of an evicted segment keep their numbers, gaps included."""
    payload = record.encode([b"a", b"bc"], b"\0\0", b"", [7, 99])
    records = record.decode(payload, 7, 2, survivors=True)
    assert [records.sequence(0), records.sequence(1)] == [7, 99]
    assert records.raws == [b"a", b"bc"]


def test_incompressible_and_small_payloads_are_stored_raw() -> None:
    """A payload that zstd would not shrink costs its own length and carries the flag RAW."""
    noise = random.Random(1).randbytes(4000)
    for payload in (b"", b"{}", noise):
        stored = block.deflate(payload, CODEC)
        assert stored.raw
        data, written = block.encode(header(), stored, 512)
        assert block.payload_of(written, data[160 : 160 + written.stored], CODEC) == payload


@given(st.integers(0, 1023), st.integers(0, 7))
def test_any_flipped_bit_is_noticed(at: int, bit: int) -> None:
    """Flip any bit of a block's header or payload: the block is refused. Padding carries nothing."""
    payload = record.encode([random.Random(2).randbytes(860)], b"\1", b"")
    data, written = block.encode(header(events=1), block.deflate(payload, CODEC), 512)
    assert len(data) >= 1024
    rotten = bytearray(data)
    rotten[at] ^= 1 << bit
    read = block.decode_header(rotten)
    end = 160 + written.stored
    if at >= end:
        assert read == written
    elif at >= 160:
        assert read is not None
        with pytest.raises(JournalError):
            block.payload_of(read, rotten[160:end], CODEC)
    else:
        assert read is None


def test_a_newer_format_is_an_error_not_damage() -> None:
    """A sound header of a later version stops the program before it touches anything."""
    data = bytearray(block.encode_header(header())[0])
    struct.pack_into("<H", data, 4, block.VERSION + 1)
    struct.pack_into("<I", data, 156, zlib.crc32(data[:156]))
    with pytest.raises(JournalError, match="newer version"):
        block.decode_header(data)


def test_a_length_that_lies_cannot_make_us_allocate() -> None:
    """An absurd length in a header with a valid CRC is no header."""
    data = bytearray(block.encode_header(header())[0])
    struct.pack_into("<I", data, 100, 0xFFFFFFFF)
    struct.pack_into("<I", data, 156, zlib.crc32(data[:156]))
    assert block.decode_header(data) is None


@example(b"\x81\xa1\x80", 0)
@given(st.binary(max_size=300), st.integers(0, 60))
def test_any_payload_is_taken_apart_or_refused(payload: bytes, events: int) -> None:
    """Random bytes as a payload raise JournalError or give exactly `events` records, nothing else."""
    try:
        records = record.decode(payload, 1, events)
    except JournalError:
        return
    assert len(records.raws) == len(records.lanes) == events
