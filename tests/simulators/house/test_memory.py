"""The rig's word on memory: what is level, what leaks, and what is too short to say."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from simulators.house.memory import Sample, verdict

MIB = 1 << 20
MINUTES = 10
MESSAGES = 10_000  # a minute
SPEED = 60.0
OBJECTS = 430_000


def run_of(
    size_at: Callable[[float], float],
    seed: int = 5,
    minutes: float = MINUTES,
    objects_at: Callable[[float], float] = lambda _: OBJECTS,
) -> list[Sample]:
    """Return two samples a second of a process whose size in bytes and objects are functions of the minute."""
    chance = random.Random(seed)
    found = []
    for number in range(int(minutes * 120)):
        minute = number / 120
        pages = int(size_at(minute) + chance.gauss(0, 100_000)) // 4096 * 4096
        objects = round(objects_at(minute) + chance.gauss(0, 800))
        found.append(Sample(number / 2, round(minute * MESSAGES), {"gateway": pages, "rules": 40 * MIB}, objects))
    return found


LEVEL: dict[str, Callable[[float], float]] = {
    "flat": lambda _: 90 * MIB,
    "fills, then flat": lambda minute: 80 * MIB + min(minute, 5.5) * 4 * MIB,
    "comes and goes": lambda minute: 90 * MIB + (MIB if int(minute * 4) % 3 else 0),
    "one more page of pages": lambda minute: 90 * MIB + (256 * 1024 if minute > 8 else 0),
}


@pytest.mark.parametrize("course", LEVEL)
def test_what_stays_level_is_level(course: str) -> None:
    """Filling before the house is warm, noise and single steps are no leak, whatever chance brings."""
    for seed in range(20):
        said = verdict(run_of(LEVEL[course], seed), SPEED)
        assert (said["judged"], said["level"]) == (True, True), (seed, said)


@pytest.mark.parametrize("bytes_a_message", [80, 300])
def test_memory_that_grows_with_messages_is_a_leak(bytes_a_message: int) -> None:
    """A list that something of each message is added to fails the run, and its slope is told."""
    said = verdict(run_of(lambda minute: 90 * MIB + minute * MESSAGES * bytes_a_message), SPEED)
    assert not said["level"]
    assert (said["gateway"]["leaks"], said["rules"]["leaks"], said["objects"]["leaks"]) == (True, False, False)
    expected = MESSAGES * bytes_a_message / 1e3
    assert abs(said["gateway"]["kb_a_minute"] - expected) <= said["gateway"]["noise"] + 1
    assert said["gateway"]["noise"] < expected / 2


def test_objects_that_grow_with_messages_are_a_leak() -> None:
    """One of each third message is seen, though the allocator finds room for it in what it has."""
    said = verdict(run_of(lambda _: 90 * MIB, objects_at=lambda minute: OBJECTS + minute * MESSAGES / 3), SPEED)
    assert not said["level"]
    assert said["objects"]["leaks"]
    assert not said["gateway"]["leaks"]


@pytest.mark.parametrize(("minutes", "speed"), [(0.1, SPEED), (5, 100.0), (MINUTES, 1.0), (MINUTES, 20.0)])
def test_a_house_that_is_not_warm_is_not_judged(minutes: float, speed: float) -> None:
    """A run too short for everything to have spoken, and for faults to come round, says so whatever memory did."""
    for size_at in (lambda _: 90 * MIB, lambda minute: 90 * MIB + minute * 100 * MIB):
        said = verdict(run_of(size_at, minutes=minutes), speed)
        assert (said["judged"], said["level"]) == (False, None)
        assert said["said"].startswith("not judged: too short: "), said["said"]


def test_less_than_a_round_of_faults_is_not_judged() -> None:
    """Ten hours of which six are warm-up hold a round of three hours and not one of five."""
    run = run_of(LEVEL["flat"])
    assert verdict(run, SPEED, 3 * 3600.0)["said"] == "level"
    assert verdict(run, SPEED, 5 * 3600.0)["said"] == (
        "not judged: too short: 4.0 h of the house behind its warm-up, 5.0 needed"
    )


def test_what_cannot_be_seen_is_not_judged() -> None:
    """No samples, too few, and steps so large that a leak would hide in them pass for nothing."""
    assert verdict([], SPEED)["said"] == "not judged: no samples"
    assert verdict(run_of(LEVEL["flat"])[::40], SPEED)["said"].startswith("not judged: too few samples of gateway")
    wild = verdict(run_of(lambda minute: 90 * MIB + (8 * MIB if int(minute * 3) % 2 else 0)), SPEED)
    assert wild["said"] == "not judged: too noisy, a leak would not show: gateway"
    assert (wild["judged"], wild["level"]) == (False, None)


def test_a_leak_is_told_beside_what_is_noisy() -> None:
    """Objects that grow far beyond their limit are a leak, however noisy memory is."""
    wild = run_of(
        lambda minute: 90 * MIB + (8 * MIB if int(minute * 3) % 2 else 0), objects_at=lambda minute: minute * 1e5
    )
    assert verdict(wild, SPEED)["said"] == "leaks: objects"
