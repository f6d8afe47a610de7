"""What readers find in memory: how much of it there is, and that a block leaves as a whole. Budget: 2 s."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from gateway.event import Event, Lane, encode
from gateway.journal import block as blocks
from gateway.journal.batch import Block, Placed
from gateway.journal.segment import Entry, spans_of
from gateway.journal.tail import Tail

LIMIT_BYTES = 1 << 20
NS = 1_000_000_000


def durable(first: int, count: int) -> Block:
    """Return a block as it comes from the disk, of so many records."""
    raws = []
    for sequence in range(first, first + count):
        data = {"temperature": sequence / 10}
        raws.append(encode(Event(source="/gw/house", type="temperature_changed", subject="house/z2m:attic", data=data)))
    lanes = bytes([Lane.TELEMETRY] * count)
    spans = spans_of(lanes, range(first, first + count))
    entry = Entry(1, f"{first:016x}.seg", first, first, first, wall_first=first * NS, spans=spans)
    header = blocks.Header(
        log_id=b"log", life=1, epoch=1, previous_crc=0, number=first, durable_through=first, first=first,
        records_before=first, wall_ns=first * NS, boot_ns=first * NS, counts=tuple(span.count for span in spans),
    )  # fmt: skip
    block = Block(batch=first, first=first, raws=raws, lanes=lanes, spans=spans, changes=b"", wall_ns=first * NS,
                  boot_ns=first * NS, size=sum(map(len, raws)))  # fmt: skip
    block.placed = Placed(header, first, 4096, entry, ())
    return block


@pytest.mark.parametrize("events_a_block", [1, 40])
def test_the_limit_is_of_memory(events_a_block: int) -> None:
    """Whether events come one by one or by the dozen, what is kept of them takes no more than the limit."""
    tail = Tail(LIMIT_BYTES, 0)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(8_000 // events_a_block):
            tail.add(durable(1 + number * events_a_block, events_a_block))
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert tail.after > 0, "it was full"
    assert LIMIT_BYTES / 2 < held - before < LIMIT_BYTES * 1.2


def test_what_is_kept_is_read_as_it_was() -> None:
    """Records, lanes and the time they were written; what left memory is known by where it ends."""
    kept = durable(11, 3)
    tail = Tail(LIMIT_BYTES, 10)
    tail.add(kept)
    tail.add(durable(14, 1))
    found = tail.blocks_after(11)
    assert found is not None
    assert [(young.first, young.last, young.wall_ns) for young in found] == [(11, 13, 11 * NS), (14, 14, 14 * NS)]
    assert (found[0].raws, found[0].lanes) == (kept.raws, kept.lanes)
    assert tail.blocks_after(9) is None
    tail.forget(12)
    assert tail.after == 13, "a block leaves as a whole"
    assert tail.blocks_after(12) is None
