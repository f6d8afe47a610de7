"""Thinning: what a bucket of time keeps. Budget: 5 s."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import NS_PER_S, rfc3339
from gateway.event import Event, encode
from gateway.journal.thinning import BUCKET_S_MAX, Clockwork, Thinner, next_bucket

START_S = 1_795_000_000
SAYS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), max_size=80)


def raw(device: str, second: int, kind: str = "temperature_changed", **data: object) -> bytes:
    """Return an event's bytes."""
    time = rfc3339((START_S + second) * NS_PER_S)
    return encode(Event(source="/pi/house", type=kind, subject=device, time=time, data=data or {"temperature": 1}))


def moments(says: list[tuple[str, int]]) -> list[tuple[int, str, int]]:
    """Return (sequence, device, second) of pauses."""
    second, found = 0, []
    for sequence, (device, pause) in enumerate(says, 1):
        second += pause
        found.append((sequence, device, second))
    return found


def kept(bucket_s: int, says: list[tuple[int, str, int]]) -> list[tuple[int, str, int]]:
    """Return what one pass keeps."""
    thinner = Thinner(bucket_s)
    return [each for each in says if thinner.keeps(each[0], raw(each[1], each[2]), 0)]


@given(SAYS, st.integers(0, 8))
def test_the_first_of_each_device_and_bucket_stays(says: list[tuple[str, int]], power: int) -> None:
    """Exactly the first event of each device in each bucket is kept, whatever else is said between."""
    bucket_s = 1 << power
    everything = moments(says)
    first: dict[tuple[str, int], int] = {}
    for sequence, device, second in everything:
        first.setdefault((device, (START_S + second) // bucket_s), sequence)
    assert [sequence for sequence, _, _ in kept(bucket_s, everything)] == sorted(first.values())


@given(SAYS, st.integers(0, 5), st.integers(0, 5))
def test_thinning_in_steps_is_thinning_at_once(says: list[tuple[str, int]], power: int, more: int) -> None:
    """A finer bucket first makes no difference: what the coarser one keeps was kept."""
    everything = moments(says)
    assert kept(1 << power + more, kept(1 << power, everything)) == kept(1 << power + more, everything)


def test_types_and_fields_are_thinned_apart() -> None:
    """One device's temperature does not stand for its humidity, nor one field of a type for another."""
    thinner = Thinner(64)
    says = [
        raw("a", 0), raw("a", 0, "humidity_changed", humidity=50), raw("a", 0, "value_changed", x=1),
        raw("a", 0, "value_changed", y=1), raw("b", 0), raw("a", 0),
    ]  # fmt: skip
    assert [thinner.keeps(n, each, 0) for n, each in enumerate(says)] == [True] * 5 + [False]


def test_a_clock_that_jumps_back_starves_nobody() -> None:
    """After a jump by years into the past a device is heard as often as before."""
    thinner = Thinner(60)
    seconds = [*range(0, 600, 10), *range(-100_000_000, -100_000_000 + 600, 10)]
    assert sum(thinner.keeps(n, raw("a", second), 0) for n, second in enumerate(seconds)) >= 20


def test_times_are_read_however_they_are_written() -> None:
    """An offset is a time zone, and an event without a time has that of its block; what is no event is kept."""
    clockwork = Clockwork()
    moment = 1_700_000_000
    for text in (rfc3339(moment * NS_PER_S), "2023-11-14T23:13:20+01:00", "2023-11-14T22:13:20Z"):
        event = encode(Event(source="/pi", type="t", time=text))
        assert clockwork.look(event, 5 * NS_PER_S)[1] == moment
    for text in ("", "yesterday", "2023-11-14Txx:13:20.000Z"):
        assert clockwork.look(encode(Event(source="/pi", type="t", time=text)), 5 * NS_PER_S)[1] == 5
    assert clockwork.look(b"no event", 0) != clockwork.look(b"another", 0)


def test_the_next_bucket_is_the_least_that_makes_a_difference() -> None:
    """One event in ten seconds: two seconds would gain nothing, sixteen do; beyond that it doubles."""
    sample = [(("a", "t", b""), START_S + second) for second in range(0, 10_000, 10)]
    assert next_bucket(0, [sample]) == 16
    assert next_bucket(16, [sample]) == 32
    assert next_bucket(BUCKET_S_MAX, [sample]) is None
    assert next_bucket(0, []) is None
    assert next_bucket(0, [[((str(n), "t", b""), START_S) for n in range(100)]]) is None, "nobody says anything twice"
