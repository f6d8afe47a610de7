"""What rules said and did lately, for people: log lines, faults with stacks, how often and when they ran.

Kept in the gateway's memory, over restarts of the worker and not over its own; the log has all of it, too.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Literal

import msgspec

from gateway.clock import Clock, rfc3339
from gateway.codes.rules import RULE_FAILED, RULE_FILE_FAULT, RULE_STOPPED, WALLS_ARE_THIN
from gateway.logs.about import about
from gateway.rules.protocol import Outcome, RuleFault
from gateway.rules.records import QUARANTINED
from gateway.rules.walls.enforced import Enforced

log = logging.getLogger(__name__)

LINES_MAX = 2000
BYTES_MAX = 1024 * 1024  # of texts and stacks
TICK_S = 0.1  # how often who follows looks; below what a person notices


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of a rule's log, or a fault."""

    number: int  # since the gateway started; a gap is what was pushed out
    time: str
    kind: Literal["log", "fault"]
    rule: str  # empty: a file of rules
    text: str
    file: str = ""
    line: int = 0
    stack: str = ""


class Diary:
    """A ring of lines, and counts by rule. Belongs to the event loop's thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines: deque[Line] = deque()
        self._bytes = 0
        self._number = 0
        self.fired: dict[str, int] = {}  # calls that went well, since start
        self.fired_ns: dict[str, int] = {}  # when the last one did, wall clock
        self.faults: dict[str, int] = {}
        self.enforced = Enforced()  # around the rules that run

    def outcome(self, outcome: Outcome) -> None:
        """Write down what became of a batch."""
        for fault in outcome.faults:
            log.error("rules: %s", fault, extra=about(RULE_FAILED, rule=fault.rule))
            self.fault(fault)
        for alert in outcome.outputs if outcome.faults else ():
            if alert.data.get("key") == QUARANTINED and alert.data.get("text"):
                said = about(RULE_STOPPED, rule=str(alert.data.get("rule", "")), event_id=alert.id)
                log.error("rules: %s", alert.data["text"], extra=said)
        for rule, text in outcome.logs:
            log.info("rule %s: %s", rule, text, extra=about(rule=rule))
            self._add("log", rule, text)
        now_ns = self._clock.wall_ns() if outcome.fired else 0
        for rule, count in outcome.fired.items():
            self.fired[rule] = self.fired.get(rule, 0) + count
            self.fired_ns[rule] = now_ns

    def loaded(self, faults: Sequence[RuleFault], enforced: Enforced) -> None:
        """Write down what was wrong with files of rules, and what keeps those in that run."""
        if enforced != self.enforced:
            self.enforced = enforced
            level, code = (logging.INFO, None) if enforced.whole else (logging.WARNING, WALLS_ARE_THIN)
            log.log(level, "rules: %s", enforced.line(), extra=about(code))
        for fault in faults:
            log.error("rules: %s", fault, extra=about(RULE_FILE_FAULT, rule=fault.rule))
            self.fault(fault)

    def fault(self, fault: RuleFault) -> None:
        """Write down a fault in a call or in a file."""
        if fault.rule:
            self.faults[fault.rule] = self.faults.get(fault.rule, 0) + 1
        text = fault.what + (f" ({fault.hint})" if fault.hint else "")
        self._add("fault", fault.rule, text, fault.file, fault.line, fault.stack)

    def ended(self, fault: RuleFault) -> None:
        """Write down why a worker ended; the next one counts the fault."""
        self._add("fault", fault.rule, fault.what, fault.file, fault.line, fault.stack)

    def _add(
        self, kind: Literal["log", "fault"], rule: str, text: str, file: str = "", line: int = 0, stack: str = ""
    ) -> None:
        self._number += 1
        self._lines.append(Line(self._number, rfc3339(self._clock.wall_ns()), kind, rule, text, file, line, stack))
        self._bytes += len(text) + len(stack)
        while len(self._lines) > LINES_MAX or self._bytes > BYTES_MAX:
            gone = self._lines.popleft()
            self._bytes -= len(gone.text) + len(gone.stack)

    def lines(self, rule: str = "", after: int = 0) -> list[Line]:
        """Return the lines (of one rule) behind a number, oldest first."""
        return [line for line in self._lines if line.number > after and rule in ("", line.rule)]

    async def follow(self, rule: str = "", last: int | None = None, *, follow: bool = False) -> AsyncIterator[Line]:
        """Yield the lines there are (the `last` of them), and with `follow` those that come."""
        found, after = self.lines(rule), self._number  # what comes while the first are read comes behind them
        for line in found if last is None else found[max(0, len(found) - last) :]:
            yield line
        while follow:
            await asyncio.sleep(TICK_S)
            if self._number > after:
                found, after = self.lines(rule, after), self._number
                for line in found:
                    yield line
