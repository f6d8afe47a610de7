"""Change detection."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.profiles.language import Report
from gateway.profiles.report import EPISODES_MAX, NOTES, Policy, Verdict, episode_changed, judge, policy_of
from tests.profiles.deliveries import NOW, SECOND

CHANGED, SAME, KEPT, SEEN = Verdict.CHANGED, Verdict.SAME, Verdict.KEPT, Verdict.SEEN


def judged(values: list[Any], policy: Policy, every_s: int = 1) -> list[Verdict]:
    """Judge values of one field that come at equal intervals."""
    known: dict[str, Any] = {NOTES: {}}
    return [judge(known, "f", value, policy, NOW + i * every_s * SECOND) for i, value in enumerate(values)]


def test_every_change_once() -> None:
    """Without a policy each change is an event, a repetition none, and 21 is 21.0."""
    assert judged([21, 21.0, 22, 22, 21], Policy()) == [CHANGED, SAME, CHANGED, SAME, CHANGED]


def test_deadband_is_measured_from_the_last_event() -> None:
    """Small steps add up: slow drift is reported, jitter is not; exactly the deadband counts as a change."""
    assert judged([20.0, 20.1, 20.0, 20.1, 20.2, 20.3], Policy(deadband=0.2)) == [
        CHANGED,
        SAME,
        SAME,
        SAME,
        CHANGED,
        SAME,
    ]
    assert judged([19.8, 19.9], Policy(deadband=0.1)) == [CHANGED, CHANGED]


def test_heartbeat_after_silence() -> None:
    """An unchanged value is an event again when max_silence has passed since the last."""
    assert judged([20] * 5, Policy(max_silence_ns=2 * SECOND)) == [CHANGED, SAME, CHANGED, SAME, CHANGED]


def test_minimum_interval_holds_back_and_forgets() -> None:
    """A change that comes too soon is pending; if the value goes back before it was told, it was never there."""
    known: dict[str, Any] = {NOTES: {}}
    policy = Policy(min_interval_ns=10 * SECOND)
    assert judge(known, "f", 1, policy, NOW) is CHANGED
    assert judge(known, "f", 2, policy, NOW + SECOND) is KEPT
    assert known["f"] == 1
    assert known[NOTES]["pending"] == {"f": 2}
    assert judge(known, "f", 1, policy, NOW + 2 * SECOND) is KEPT
    assert known[NOTES]["pending"] == {}
    assert judge(known, "f", 3, policy, NOW + 11 * SECOND) is CHANGED


def test_wall_clock_that_steps_back_holds_nothing() -> None:
    """After a step back of the wall clock an interval counts as over, not as years to go."""
    known: dict[str, Any] = {NOTES: {}}
    policy = Policy(min_interval_ns=10 * SECOND)
    judge(known, "f", 1, policy, NOW)
    assert judge(known, "f", 2, policy, NOW - 10**6 * SECOND) is CHANGED


def test_never_is_only_remembered() -> None:
    """Diagnostics are kept in memory and are neither an event nor worth a write."""
    assert judged([1, 1, 2], Policy(never=True)) == [SEEN, SAME, SEEN]


def test_null_is_unknown_and_the_old_value_is_not_news_again() -> None:
    """Null makes a value unknown without an event; the same value afterwards is no event, another one is."""
    assert judged([True, None, None, True], Policy()) == [CHANGED, KEPT, SAME, KEPT]
    assert judged([True, None, False], Policy()) == [CHANGED, KEPT, CHANGED]
    assert judged([None, True], Policy()) == [SEEN, CHANGED]


def test_episodes_report_what_is_new_and_are_bounded() -> None:
    """Of an episode only something new is reported, it is forgotten at its end, and open ones are limited."""
    known: dict[str, Any] = {NOTES: {}}
    assert episode_changed(known, "a", "1", ended=False)
    assert not episode_changed(known, "a", "1", ended=False)
    assert episode_changed(known, "a", "2", ended=True)
    assert known[NOTES]["keys"] == {}
    for i in range(1000):
        episode_changed(known, str(i), "x", ended=False)
    assert len(known[NOTES]["keys"]) == EPISODES_MAX
    assert "999" in known[NOTES]["keys"]


def test_notes_survive_the_journal() -> None:
    """What is kept beside the values is plain data that msgpack can carry."""
    known: dict[str, Any] = {NOTES: {}}
    policy = Policy(min_interval_ns=SECOND, max_silence_ns=SECOND, deadband=0.1)
    for i, value in enumerate([1.0, 2.0, None, 3.0]):
        judge(known, "f", value, policy, NOW + i)
    episode_changed(known, "a", "1", ended=False)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(known)) == known


def test_report_tables() -> None:
    """The words of the language become nanoseconds; a bad duration is refused."""
    assert policy_of(None) == Policy()
    assert policy_of("never").never
    assert policy_of(Report(max_silence="1h")).max_silence_ns == 3600 * SECOND
    with pytest.raises(ValueError, match="duration"):
        policy_of(Report(min_interval="soon"))
