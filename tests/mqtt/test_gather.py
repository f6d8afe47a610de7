"""Reads are gathered where that gathers anything."""

from __future__ import annotations

from gateway.mqtt.gather import ENOUGH_BYTES, REST, STREAK, Gather


def test_streaming_client_is_gathered() -> None:
    """A client that sends small pieces in quick succession is read less often as long as reads grow by it."""
    gather = Gather(0.002)
    reads = 0
    while not gather.wait(200, 100 + reads * 0.001):
        reads += 1
        assert reads <= STREAK
    assert all(gather.wait(600, 101 + i * 0.003) for i in range(100))
    assert not gather.wait(200, 102)


def test_waiting_client_is_not_held_up() -> None:
    """A client that waits for each answer is tried once in a long while, not each time."""
    gather = Gather(0.002)
    waits = [gather.wait(200, i * 0.001) for i in range(10 * REST)]
    assert 0 < sum(waits) <= 10


def test_slow_and_large_reads_are_left_alone() -> None:
    """Rare reads and reads that are large already are not waited for."""
    gather = Gather(0.002)
    assert not any(gather.wait(200, i * 0.1) for i in range(100))
    assert not any(gather.wait(ENOUGH_BYTES, 20 + i * 0.0001) for i in range(100))
