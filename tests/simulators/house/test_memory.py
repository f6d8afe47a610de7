"""The rig's word on memory: what is level, what leaks, and what is too short to say."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from simulators.house.memory import Sample, slope, verdict

MIB = 1 << 20
MINUTES = 10
MESSAGES = 3_500  # a minute


def run_of(size_at: Callable[[float], float], seed: int = 5, minutes: float = MINUTES) -> list[Sample]:
    """Return two samples a second of a process whose size in bytes is a function of the minute."""
    chance = random.Random(seed)
    found = []
    for number in range(int(minutes * 120)):
        minute = number / 120
        size = size_at(minute) + chance.gauss(0, 100_000)
        pages = int(size) // 4096 * 4096
        found.append(Sample(number / 2, round(minute * MESSAGES), {"gateway": pages, "rules": 40 * MIB}))
    return found


LEVEL: dict[str, Callable[[float], float]] = {
    "flat": lambda _: 90 * MIB,
    "fills, then flat": lambda minute: 80 * MIB + min(minute, 3.0) * 4 * MIB,
    "comes and goes": lambda minute: 90 * MIB + (MIB if int(minute * 2) % 3 else 0),
    "one more page of pages": lambda minute: 90 * MIB + (64 * 1024 if minute > 7 else 0),
}


@pytest.mark.parametrize("course", LEVEL)
def test_what_stays_level_is_level(course: str) -> None:
    """Filling before the warm-up is over, noise and single steps are no leak, whatever chance brings."""
    for seed in range(20):
        assert verdict(run_of(LEVEL[course], seed))["level"], (seed, verdict(run_of(LEVEL[course], seed)))


@pytest.mark.parametrize("bytes_a_message", [30, 300])
def test_a_leak_is_a_leak(bytes_a_message: int) -> None:
    """A list that something of each third message is added to fails the run, and its slope is told."""
    said = verdict(run_of(lambda minute: 90 * MIB + minute * MESSAGES * bytes_a_message))
    assert not said["level"]
    assert not said["gateway"]["level"]
    assert said["rules"]["level"]
    expected = MESSAGES * bytes_a_message / 1e3
    assert abs(said["gateway"]["kb_a_minute"] - expected) <= said["gateway"]["noise"] + 1
    assert said["gateway"]["noise"] < expected / 2


def test_a_few_seconds_say_nothing() -> None:
    """A run too short for a line is not judged, and says so."""
    samples = run_of(lambda minute: minute * 100 * MIB, minutes=0.1)
    assert slope([(sample.at_s, 1) for sample in samples]) is None
    assert verdict(samples)["gateway"] == "too short to be judged"
    assert verdict([])["level"]
