"""Reading a segment back after a power cut, damage and ghosts: JOURNAL's first two promises. Budget: 5 s."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from gateway.journal import block, record
from gateway.journal.block import Header
from gateway.journal.compression import Codec
from gateway.journal.segment import Found, Hole, Link, Span, Tail, Walk, spans_of
from simulators.disk import PowerCut, SimDisk

LOG = bytes.fromhex("0123456789ab")
CODEC = Codec()
SIZE = 32 * 1024
FILE = Path("/sim/00000001.segment")


class Chain:
    """Makes blocks that follow one another, as the writer does."""

    def __init__(self, life: int = 1, epoch: int = 1, link: Link | None = None, log_id: bytes = LOG) -> None:
        self.life, self.epoch, self.log_id = life, epoch, log_id
        self.link = link or Link(0, 0, 0, 0)

    def make(self, raws: list[bytes]) -> bytes:
        """Return the next block's bytes."""
        payload = record.encode(raws, bytes(len(raws)), b"")
        head = Header(
            log_id=self.log_id, life=self.life, epoch=self.epoch, previous_crc=self.link.crc or 0,
            number=self.link.number + 1, durable_through=self.link.number, first=self.link.records_next + 1,
            records_before=self.link.records_next, wall_ns=0, boot_ns=0, events=len(raws),
        )  # fmt: skip
        data, written = block.encode(head, block.deflate(payload, CODEC), 512)
        self.link = Link.of(written)
        return data


def walk(data: bytes, life: int = 1, end: int | None = None, **more: object) -> list[Found | Hole | Tail]:
    return list(
        Walk(lambda n, at: data[at : at + n], LOG, life, end or len(data), align=512, codec=CODEC, **more)  # type: ignore[arg-type]
    )


def numbers(parts: list[Found | Hole | Tail]) -> list[int]:
    return [part.header.number for part in parts if isinstance(part, Found)]


def image(count: int, noise: int = 1) -> tuple[bytearray, list[int], Chain]:
    """Return a segment of `count` blocks of about `noise` * 100 bytes, their offsets, and the chain."""
    data, offsets, chain = bytearray(), [], Chain()
    for n in range(count):
        offsets.append(len(data))
        data += chain.make([random.Random(n).randbytes(noise * 100)])
    return data, offsets, chain


def test_a_whole_segment_is_read_to_its_tail() -> None:
    """All blocks come back in order, and the tail is where zeros begin."""
    data, _, _ = image(5)
    parts = walk(bytes(data) + bytes(4096))
    assert numbers(parts) == [1, 2, 3, 4, 5]
    assert parts[-1] == Tail(len(data))


@pytest.mark.parametrize("bad", range(4))
def test_damage_before_a_durable_block_is_skipped_and_counted(bad: int) -> None:
    """A block that later blocks prove durable is damage when it no longer holds; the rest is read."""
    data, offsets, _ = image(5, noise=12)
    for at in (offsets[bad], offsets[bad] + 700):  # header, payload
        rotten = bytearray(data)
        rotten[at] ^= 1
        parts = walk(bytes(rotten), link=Link(0, 0, 0, 0))
        assert numbers(parts) == [n for n in range(1, 6) if n != bad + 1]
        holes = [part for part in parts if isinstance(part, Hole)]
        assert [(hole.blocks, hole.records, hole.offset) for hole in holes] == [(1, 1, offsets[bad])]


def test_two_damaged_blocks_in_a_row_are_one_hole() -> None:
    """Neighbouring damaged blocks are skipped together and counted exactly."""
    data, offsets, _ = image(6, noise=12)
    data[offsets[2]] ^= 1
    data[offsets[3] + 300] ^= 1
    holes = [part for part in walk(bytes(data)) if isinstance(part, Hole)]
    assert [(hole.blocks, hole.records) for hole in holes] == [(2, 2)]


def test_the_last_block_torn_is_the_tail() -> None:
    """What nothing proves durable is cut: the last block, header or payload broken."""
    data, offsets, _ = image(5, noise=12)
    data[offsets[4] + 800] ^= 1
    parts = walk(bytes(data))
    assert numbers(parts) == [1, 2, 3, 4]
    assert isinstance(parts[-1], Tail)
    assert parts[-1].offset == offsets[4]
    assert parts[-1].header is not None
    assert parts[-1].header.number == 5


def test_a_sealed_segment_has_no_tail_only_damage() -> None:
    """In a sealed segment even the last block was durable: its loss is counted from the index."""
    data, offsets, _ = image(5)
    data[offsets[4]] ^= 1
    parts = walk(bytes(data), closing=(6, 5))
    assert numbers(parts) == [1, 2, 3, 4]
    assert isinstance(parts[-1], Hole)
    assert (parts[-1].blocks, parts[-1].records) == (1, 1)


def test_a_ghost_behind_a_new_block_of_equal_length_stays_dead() -> None:
    """Cut at N, write N' of equal length: the old N+1 behind it is valid and fits in number; it is not read."""
    data, offsets, _ = image(5, noise=12)
    link = next(
        Link.of(part.header) for part in walk(bytes(data)) if isinstance(part, Found) and part.header.number == 2
    )
    for epoch in (1, 2):  # the CRC before it kills the ghost even when the epoch was not counted up
        again = Chain(epoch=epoch, link=link).make([random.Random(99).randbytes(1200)])
        haunted = bytearray(data)
        haunted[offsets[2] : offsets[2] + len(again)] = again
        assert offsets[2] + len(again) == offsets[3]
        parts = walk(bytes(haunted))
        assert numbers(parts) == [1, 2, 3]
        assert parts[-1].offset == offsets[3]


def test_an_earlier_life_of_a_recycled_segment_stays_dead() -> None:
    """Blocks of life 1 behind the blocks of life 2 in the same file are not there."""
    old, _, _ = image(8)
    chain = Chain(life=2, epoch=1, link=Link(8, 0, 1, 8))
    new = chain.make([b"x"]) + chain.make([b"y"])
    parts = walk(new + bytes(old[len(new) :]), life=2)
    assert numbers(parts) == [9, 10]
    assert parts[-1].offset == len(new)


def test_another_journals_blocks_are_not_ours() -> None:
    """A block of a different log id is never read, whatever its life and number."""
    data, _, chain = image(3)
    alien = Chain(link=chain.link, log_id=b"\xaa" * 6).make([b"alien"])
    assert numbers(walk(bytes(data) + alien)) == [1, 2, 3]


def test_a_damaged_block_whose_successor_is_damaged_too_can_prove_nothing() -> None:
    """A broken block proves nothing about the hole before it."""
    data, offsets, _ = image(4, noise=12)
    data[offsets[2]] ^= 1
    data[offsets[3] + 400] ^= 1
    parts = walk(bytes(data))
    assert numbers(parts) == [1, 2]
    assert isinstance(parts[-1], Tail)


def test_spans_say_where_each_lane_lies() -> None:
    """Counts, first and last sequence per lane come from the lane bytes."""
    spans = spans_of(b"\1\1\0\1\0", range(100, 105))
    assert spans[0] == Span(2, 102, 104)
    assert spans[1] == Span(3, 100, 103)
    assert spans[2] == Span()
    assert spans[1].joined(Span(1, 7, 7)) == Span(4, 7, 103)


def run_cut(seed: int, disk: SimDisk, *, sync: bool = True) -> tuple[int, int, int]:
    """Write, cut, read back, go on where the cut was, cut again. Returns (acknowledged, lost, ghosts)."""
    chance = random.Random(seed)
    handle = disk.open(FILE, create=True)
    for at in range(0, SIZE, 4096):
        disk.pwrite(handle, bytes(4096), at)
    disk.fdatasync(handle)
    disk.sync_folder(FILE.parent)
    acked: list[bytes] = []
    link, offset, dead = Link(0, 0, 0, 0), 0, set[bytes]()
    for epoch in range(1, 4):
        chain = Chain(epoch=epoch, link=link)
        flying = b""
        disk.cut_in = chance.randrange(1, 14)
        try:
            handle = disk.open(FILE)
            while offset < SIZE - 4096:
                flying = b"%d" % epoch + chance.randbytes(chance.choice((20, 700, 1500)))
                data = chain.make([flying])
                disk.pwrite(handle, data, offset)
                if sync:
                    disk.fdatasync(handle)
                acked.append(flying)
                offset += len(data)
        except PowerCut:
            disk.crash()
        disk.kill()
        seen = disk.image(FILE)
        found: list[bytes] = []
        for part in walk(seen, link=Link(0, 0, 0, 0)):
            if isinstance(part, Found):
                assert part.payload is not None
                found.append(record.decode(part.payload, 1, 1).raws[0])
                link, offset = Link.of(part.header), part.end
        if found not in (acked, [*acked, flying]):
            return len(acked), len([raw for raw in acked if raw not in found]), len(dead & set(found))
        if flying and flying not in found:
            dead.add(flying)
        acked = found
    return len(acked), 0, 0


def test_300_power_cuts_lose_no_acknowledged_block_and_raise_no_ghost() -> None:
    """What was synced is read back, what was cut stays away: 300 seeds of three cuts each."""
    results = [run_cut(seed, SimDisk(seed)) for seed in range(300)]
    assert sum(acked for acked, _, _ in results) > 1000
    assert [(seed, each) for seed, each in enumerate(results) if each[1] or each[2]] == []


def test_the_simulator_catches_a_writer_that_does_not_sync() -> None:
    """Leave the fdatasync out and the same 300 seeds lose acknowledged blocks: the test can fail."""
    assert sum(run_cut(seed, SimDisk(seed), sync=False)[1] for seed in range(300)) > 50


def test_headers_alone_find_the_same_blocks() -> None:
    """A walk without a codec reads headers only and finds the same numbers and offsets."""
    data, offsets, _ = image(5, noise=12)
    parts = list(Walk(lambda n, at: bytes(data[at : at + n]), LOG, 1, len(data), align=512))
    assert [part.offset for part in parts if isinstance(part, Found)] == offsets
    assert all(part.payload is None for part in parts if isinstance(part, Found))
    assert msgspec.structs.fields(Found)
