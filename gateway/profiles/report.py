"""Change detection: which readings are worth an event.

A device repeats itself: a whole state for one changed attribute, everything each 30 s, retained copies at every
reconnect. `judge` compares with the last reported value, which lives in the journal's table "values" and so
survives restarts. Each device's entry holds its fields and, under `NOTES`, what goes with them:

* ``profile``, ``captures``: which profile reads this device, and its topic's captures (commands need them)
* ``last``     field -> last value before the device said "unknown"
* ``at``       field -> wall time (ns) of its last event; only fields with an interval
* ``pending``  field -> value held back by `min_interval` (JOURNAL: a held value is journalled as pending)
* ``keys``     episode -> digest of what was last reported about it, at most `EPISODES_MAX`
* ``alias``    field -> key under which the device last reported it
* ``parent``   it speaks for what is behind it, too
* ``via``      the device it is behind; ``own``: what it was itself when that went offline
* ``silent``   it is offline because nothing was heard of it; ``votes``: what each of several topics says
* ``resets``   fields that are true and will be false by themselves
* ``counters`` button -> the count of its last press
* ``learned``  words that [[learn]] tables remember
* ``qos``      at which it last sent, where it speaks MQTT (0 elsewhere): 0 is what nobody acknowledges
* ``topic``    on which that was, or the path that it posted to, or the name of its port
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from gateway.profiles.language import Report
from gateway.profiles.pointer import ABSENT
from gateway.profiles.times import duration_ns

NOTES = "$"
EPISODES_MAX = 64  # open episodes (tracked objects) remembered for one device
_EPSILON = 1e-9  # 19.9 - 19.8 is a hair less than the 0.1 it should be

Known = dict[str, Any]


class Policy(NamedTuple):
    """A field's `report`, compiled. Times in nanoseconds, 0 is none."""

    never: bool = False
    deadband: float = 0.0
    min_interval_ns: int = 0
    max_silence_ns: int = 0

    @property
    def timed(self) -> bool:
        """Return whether the time of the last event matters."""
        return bool(self.min_interval_ns or self.max_silence_ns)


EVERY_CHANGE = Policy()


class Verdict(Enum):
    """What to do with a reading."""

    SAME = "same"  # nothing new
    SEEN = "seen"  # remember in memory; not worth a write
    KEPT = "kept"  # remember durably, no event
    CHANGED = "changed"  # an event; the value is now the known one


def policy_of(report: Report | str | None) -> Policy:
    """Compile a field's `report`. Raises ValueError for a bad duration."""
    if report is None:
        return EVERY_CHANGE
    if isinstance(report, str):
        return Policy(never=True)
    return Policy(
        deadband=report.deadband,
        min_interval_ns=duration_ns(report.min_interval),
        max_silence_ns=duration_ns(report.max_silence),
    )


def only_a_bridge(known: Known) -> bool:
    """Return whether nothing was heard of a device but whether it and what is behind it are there: nobody names it."""
    notes = known.get(NOTES, {})
    return bool(notes.get("parent")) and "profile" not in notes


def notes_of(known: Known) -> dict[str, Any]:
    """Return a device's notes, making them if there are none."""
    notes: dict[str, Any] = known.setdefault(NOTES, {})
    return notes


def note_arrival(known: Known, qos: int, topic: str) -> None:
    """Note where and at which QoS a device last sent, in a row that is about to be journalled anyway."""
    notes = known.get(NOTES)
    if notes is not None and (notes.get("qos"), notes.get("topic")) != (qos, topic):
        notes["qos"], notes["topic"] = qos, topic


def judge(known: Known, name: str, value: Any, policy: Policy, now_ns: int) -> Verdict:
    """Compare a reading with what is known of the device, update that, and say what to do."""
    old = known.get(name, ABSENT)
    if value is None:
        return _unknown(known, name, old)
    if policy.never:
        known[name] = value
        return Verdict.SAME if old == value else Verdict.SEEN
    if old is None and known[NOTES].get("last", {}).pop(name, ABSENT) == value:
        known[name] = value
        return Verdict.KEPT
    if _is_same(old, value, policy.deadband):
        return _silence(known, name, value, policy, now_ns)
    if policy.min_interval_ns and _elapsed(known, name, now_ns) < policy.min_interval_ns:
        notes_of(known).setdefault("pending", {})[name] = value
        return Verdict.KEPT
    accept(known, name, value, policy, now_ns)
    return Verdict.CHANGED


def accept(known: Known, name: str, value: Any, policy: Policy, now_ns: int) -> None:
    """Make a value the known one, as of now."""
    known[name] = value
    if policy.timed:
        notes = notes_of(known)
        notes.setdefault("at", {})[name] = now_ns
        notes.get("pending", {}).pop(name, None)


def episode_changed(known: Known, key: str, digest: str, *, ended: bool) -> bool:
    """Return whether there is something new about an episode; forgets it when it has ended."""
    keys: dict[str, str] = notes_of(known).setdefault("keys", {})
    changed = keys.get(key) != digest
    keys.pop(key, None)
    if not ended:
        keys[key] = digest
        while len(keys) > EPISODES_MAX:
            del keys[next(iter(keys))]  # the one longest unheard of
    return changed


def _is_same(old: Any, value: Any, deadband: float) -> bool:
    if old is ABSENT or old is None:
        return False
    if deadband and old.__class__ in (int, float) and value.__class__ in (int, float):
        return bool(abs(value - old) < deadband - _EPSILON)
    return bool(old == value)


def _silence(known: Known, name: str, value: Any, policy: Policy, now_ns: int) -> Verdict:
    if policy.min_interval_ns and known[NOTES].get("pending", {}).pop(name, None) is not None:
        return Verdict.KEPT  # it went back before it was reported
    if policy.max_silence_ns and _elapsed(known, name, now_ns) >= policy.max_silence_ns:
        accept(known, name, value, policy, now_ns)
        return Verdict.CHANGED
    return Verdict.SAME


def _elapsed(known: Known, name: str, now_ns: int) -> int:
    """Return the time since the field's last event; very long when unknown or when the wall stepped back."""
    at = known.get(NOTES, {}).get("at", {}).get(name, 0)
    return now_ns - at if at <= now_ns else now_ns


def _unknown(known: Known, name: str, old: Any) -> Verdict:
    if old is None:
        return Verdict.SAME
    known[name] = None
    if old is ABSENT:
        return Verdict.SEEN
    notes_of(known).setdefault("last", {})[name] = old
    return Verdict.KEPT
