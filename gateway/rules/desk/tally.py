"""What rules did or would have done, in words and in numbers: the same for a backtest, a shadow and a debugged event.

A line depends on nothing but the records and the rules: who runs a backtest twice gets the same bytes twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from gateway.event import Event
from gateway.rules.desk.candidate import rule_of
from gateway.rules.protocol import Outcome, RuleFault, Verdict

FAULTS_MAX: Final = 1000  # different ones
DATA_CHARS_MAX: Final = 200
KINDS: Mapping[str, str] = {
    "alert_raised": "alert",
    "alert_repeated": "repeat",
    "alert_escalated": "escalate",
    "alert_acknowledged": "acknowledge",
    "alert_cleared": "clear",
    "command_requested": "command",
    "command_suppressed": "suppressed",
    "notification_requested": "notify",
    "notification_suppressed": "suppressed",
    "mode_changed": "mode",
    "http_requested": "http",
    "rule_failed": "failed",
}
"""What a type of output is to a person; every other one is an event of the rule's own."""


class Action(msgspec.Struct, frozen=True):
    """One thing a rule did."""

    time: str
    rule: str
    kind: str
    what: str
    device: str  # its name, or its id where it has none
    cause: str
    id: str
    type: str
    subject: str
    data: dict[str, Any]


def action(event: Event, names: Mapping[str, str]) -> Action:
    """Read an output. `names` gives the names of devices by their ids."""
    kind = KINDS.get(event.type, "event")
    device = names.get(event.subject, event.subject)
    return Action(
        time=event.time,
        rule=rule_of(event.actor),
        kind=kind,
        what=_what(kind, event),
        device=device,
        cause=event.cause or "",
        id=event.id,
        type=event.type,
        subject=event.subject,
        data=event.data,
    )


def _what(kind: str, event: Event) -> str:
    data = event.data
    if event.type.startswith("alert_"):
        return f"{data.get('alert', '')}: {data.get('text', '')}"
    if event.type.startswith("notification_"):
        return f"{data.get('to', '')}: {data.get('text', '')}"
    if kind in ("command", "suppressed"):
        return f"{data.get('command', '')} {_text(data.get('value'))}".rstrip()
    if kind == "mode":
        return str(data.get("mode", ""))
    if kind == "failed":
        return str(data.get("reason", ""))
    return f"{event.type} {_text(data)}"


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= DATA_CHARS_MAX else text[: DATA_CHARS_MAX - 1] + "…"


def line(done: Action) -> str:
    """Write an action on one line for a person."""
    about = f"{done.device}: " if done.device else ""
    return f"{done.time}  {done.rule}  {done.kind}  {about}{done.what}  <- {done.cause}"


class Count(msgspec.Struct):
    """What one rule did."""

    calls: int = 0
    kinds: dict[str, int] = {}
    first: str = ""
    last: str = ""

    def add(self, kind: str, time: str) -> None:
        """Count something it did."""
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        self.first, self.last = self.first or time, time


class Failing(msgspec.Struct):
    """A fault, and how often it happened."""

    fault: RuleFault
    time: str
    times: int = 1


class Tally:
    """Counts by rule, and the faults."""

    def __init__(self, rules: Iterable[str] = ()) -> None:
        self.rules: dict[str, Count] = {name: Count() for name in rules}
        self.faults: dict[tuple[str, str, int, str], Failing] = {}
        self.more_faults = 0  # beyond FAULTS_MAX different ones

    def did(self, done: Action) -> None:
        """Count an action."""
        self._of(done.rule).add(done.kind, done.time)

    def gated(self, verdicts: Iterable[Verdict], time: str) -> None:
        """Count what gates dropped or changed."""
        for _, verdict, by in verdicts:
            for gate in filter(None, by.split(", ")):
                self._of(gate).add("dropped" if verdict is False else "changed", time)

    def take(self, outcome: Outcome, time: str) -> None:
        """Count calls and faults of an outcome."""
        for rule, calls in outcome.fired.items():
            self._of(rule).calls += calls
        for fault in outcome.faults:
            key = (fault.rule, fault.file, fault.line, fault.what)
            if (known := self.faults.get(key)) is not None:
                known.times += 1
            elif len(self.faults) < FAULTS_MAX:
                self.faults[key] = Failing(fault, time)
            else:
                self.more_faults += 1

    def _of(self, rule: str) -> Count:
        found = self.rules.get(rule)
        if found is None:
            found = self.rules[rule] = Count()
        return found
