"""The oracle: what was sent and acknowledged against what arrived at the far end. It shares nothing with the gateway.

Two files of JSON lines.  ``sent``: one message a line, ``{"n", "at", "device", "facts", "acked", "clean"}``; `facts`
is what the message means by its dialect's documentation, ``{device id: {field: value}}``.  ``received``: CloudEvents.

A gateway reports changes, so the two are compared as what is known at the far end:

* each value that arrives was sent of that device and field, and in that order (a jump back is `out_of_order`);
* whenever an acknowledged message changes a value by more than the field's tolerance, an arrival says so (`lost`);
* a value that is told again though nobody sent it again is `restated`: that is so of retained copies, and no fault;
* an event arrives once by its id (`duplicates`), and no value arrives that nobody sent (`wrong`);
* losses that the gateway admits (`events_dropped`) are set against `lost`.

Damaged and late messages (`clean` false) prove nothing: from them until the next clean value anything may be known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

EXAMPLES_MAX = 10
LOOKS_AHEAD_MAX = 5000  # sent values that one arrival may be behind
TOLERANCES: dict[str, float] = {  # how far the far end may be off: the coarsest deadband anybody should have
    "temperature": 0.5, "humidity": 3.0, "battery": 2.0, "power": 5.0, "energy": 200.0, "position": 1.0,
    "setpoint.heat": 0.05, "illuminance": 20.0,
}  # fmt: skip
EXACT: dict[str, float] = {"temperature": 0.051, "humidity": 0.51, "energy": 1.0, "power": 0.51}  # rounding on the way
SILENT = ("battery", "action")  # reported in their own time, or not at all
DROPPED = "events_dropped"
MOMENTARY = ("button",)

Value = Any


class SentRow(msgspec.Struct, frozen=True):
    """A message, as the simulator books it."""

    n: int
    device: str
    facts: dict[str, dict[str, Value]] = {}
    acked: bool = True
    clean: bool = True
    at: float = 0.0  # seconds from the start of the house


class Arrived(msgspec.Struct):
    """An event at the far end."""

    id: str
    type: str
    subject: str = ""
    data: dict[str, Any] = {}
    actor: str = "device"


@dataclass(slots=True)
class Verdict:
    """What came of the comparison."""

    sent: int = 0  # messages acknowledged
    values: int = 0  # acknowledged changes that had to be told
    arrived: int = 0  # events, repeats included
    of_devices: int = 0  # different events of devices
    duplicates: int = 0
    lost: int = 0
    wrong: int = 0
    out_of_order: int = 0
    restated: int = 0  # values told again that nobody sent again: a retained copy behind a long silence
    dropped: int = 0  # that the gateway says it has dropped
    unheard: int = 0  # devices of which nothing arrived, though something changed
    devices: int = 0
    unreadable: int = 0  # lines
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def balanced(self) -> bool:
        """Return whether everything is accounted for."""
        return not (self.wrong or self.out_of_order or self.unreadable) and self.lost <= self.dropped

    def note(self, kind: str, text: str) -> None:
        """Keep an example."""
        if len(self.examples[kind]) < EXAMPLES_MAX:
            self.examples[kind].append(text)

    def json(self) -> dict[str, Any]:
        """Return it for a program."""
        names = (
            *("sent", "values", "arrived", "of_devices", "duplicates", "lost", "wrong", "out_of_order", "restated"),
            *("dropped", "unheard", "devices", "unreadable"),
        )
        return {**{name: getattr(self, name) for name in names}, "balanced": self.balanced,
                "examples": dict(self.examples)}  # fmt: skip


@dataclass(slots=True)
class _Said:
    """One value that was sent of a field; in the order of sending."""

    value: Value
    n: int
    promised: bool  # acknowledged and undamaged
    damaged: bool


_sent = msgspec.json.Decoder(SentRow).decode
_arrived = msgspec.json.Decoder(Arrived).decode


def verify_files(received: Path, sent: Path) -> Verdict:
    """Compare two files."""
    verdict = Verdict()
    return judge(_lines(sent, _sent, verdict), _lines(received, _arrived, verdict), verdict)


def judge(sent: Iterable[SentRow], received: Iterable[Arrived], verdict: Verdict | None = None) -> Verdict:
    """Compare what was sent, in order, with what arrived, in order."""
    verdict = verdict or Verdict()
    said: dict[tuple[str, str], list[_Said]] = defaultdict(list)
    for row in sorted(sent, key=lambda each: each.n):
        verdict.sent += row.acked
        for subject, fields in row.facts.items():
            for name, value in fields.items():
                said[subject, name].append(_Said(value, row.n, row.acked and row.clean, not row.clean))
    told: dict[tuple[str, str], list[Value]] = defaultdict(list)
    for event in _once(received, verdict):
        for name, value in event.data.items():
            told[event.subject, name].append(value)
    heard = {subject for subject, _ in told}
    spoke = {subject for subject, name in said if name not in SILENT}
    changed = {subject for (subject, name), values in said.items() if _changes(name, values)}
    verdict.devices, verdict.unheard = len(spoke), len(changed - heard)
    for subject in sorted(changed - heard):
        verdict.note("unheard", subject)
    for key, values in said.items():
        if key[0] in heard:
            _compare(key, values, told.get(key, []), verdict)
    return verdict


def _changes(name: str, said: list[_Said]) -> bool:
    """Return whether something was promised that has to be told."""
    values = [each.value for each in said if each.promised]
    if not values or name in SILENT:
        return False
    return name in MOMENTARY or any(not _near(values[0], value, TOLERANCES.get(name, 0.0)) for value in values)


def _once(received: Iterable[Arrived], verdict: Verdict) -> Iterator[Arrived]:
    """Yield each event of a device the first time it arrives; count the rest."""
    ids: set[str] = set()
    for event in received:
        verdict.arrived += 1
        if event.id in ids:
            verdict.duplicates += 1
            verdict.note("duplicates", event.id)
            continue
        ids.add(event.id)
        if event.type == DROPPED:
            verdict.dropped += int(event.data.get("count", 0))
        elif event.actor == "device":
            verdict.of_devices += 1
            yield event


def _compare(key: tuple[str, str], said: list[_Said], told: list[Value], verdict: Verdict) -> None:
    """Go through what was sent of one field and through what arrived of it, side by side."""
    name, place = key[1], " ".join(key)
    if name in MOMENTARY:
        _count(place, said, told, verdict)
        return
    exact, tolerance = EXACT.get(name, 1e-6), TOLERANCES.get(name, 0.0)
    known, sure = None, False  # what the gateway must know by now, and whether it must
    at, due = 0, 0  # place in `told`, and where in `said` that value comes next
    hurt = sum(each.damaged for each in said)  # of each of these something may have come
    for number, each in enumerate(said):
        if each.damaged:  # nothing is matched with it: what came of it, if anything, is nobody's promise
            sure = False
            continue
        while at < len(told) and due <= number and not _near(told[at], each.value, exact):
            if known is not None and _near(told[at], known, exact):
                _restated(place, told[at], verdict)
                at += 1
                continue
            later = _next(told[at], said, number + 1, exact)
            if later is not None:
                due = later
                break
            if hurt == 0:
                _unexplained(place, told[at], said, exact, verdict)
            hurt = max(0, hurt - 1)
            at += 1
        if at < len(told) and due <= number and _near(told[at], each.value, exact):
            verdict.values += each.promised
            known, sure, at, due = told[at], True, at + 1, 0
        elif each.promised and name not in SILENT:
            if sure and not _near(known, each.value, tolerance):
                verdict.values += 1
                verdict.lost += 1
                verdict.note("lost", f"{place}: {each.value!r} of message {each.n}, the far end has {known!r}")
                known = each.value
            elif not sure:
                known, sure = each.value, True
    rest = told[at:]
    while rest and known is not None and _near(rest[0], known, exact):
        _restated(place, rest.pop(0), verdict)
    for value in rest[hurt:]:
        _unexplained(place, value, said, exact, verdict)


def _restated(place: str, value: Value, verdict: Verdict) -> None:
    verdict.restated += 1
    verdict.note("restated", f"{place}: {value!r}")


def _count(place: str, said: list[_Said], told: list[Value], verdict: Verdict) -> None:
    """Compare presses: each is an event, though all say the same."""
    promised = sum(each.promised for each in said)
    verdict.values += promised
    if (missing := promised - len(told)) > 0:
        verdict.lost += missing
        verdict.note("lost", f"{place}: {missing} of {promised}")
    if (more := len(told) - len(said)) > 0:
        verdict.wrong += more
        verdict.note("wrong", f"{place}: {more} more than were sent")


def _next(value: Value, said: list[_Said], start: int, exact: float) -> int | None:
    """Return where a value is sent next."""
    places = range(start, min(len(said), start + LOOKS_AHEAD_MAX))
    return next((number for number in places if _near(value, said[number].value, exact)), None)


def _unexplained(place: str, value: Value, said: list[_Said], exact: float, verdict: Verdict) -> None:
    """Book an arrival that could not be matched going forward."""
    if any(_near(value, each.value, exact) for each in said):
        verdict.out_of_order += 1
        verdict.note("out_of_order", f"{place}: {value!r} again, or too late")
    else:
        verdict.wrong += 1
        verdict.note("wrong", f"{place}: {value!r} was never sent")


def _near(one: Value, other: Value, tolerance: float) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) <= tolerance + 1e-9
    return bool(one == other)


def _lines(file: Path, decode: Any, verdict: Verdict) -> Iterator[Any]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield decode(line)
                except msgspec.DecodeError as error:
                    verdict.unreadable += 1
                    verdict.note("unreadable", f"{file.name}:{number}: {error}")


def summary(verdict: Mapping[str, Any]) -> Iterator[str]:
    """Say a verdict to a person."""
    yield f"sent and acknowledged  {verdict['sent']:>8} messages of {verdict['devices']} devices"
    yield f"changes to be told     {verdict['values']:>8}"
    yield f"arrived                {verdict['arrived']:>8} events, {verdict['duplicates']} of them twice"
    for word in ("lost", "wrong", "out_of_order", "unheard", "restated", "dropped", "unreadable"):
        if verdict[word]:
            yield f"{word:<22} {verdict[word]:>8}"
            yield from (f"    {text}" for text in verdict["examples"].get(word, ()))
