"""Rule coverage: which rules, ends, timers and tests in arguments the tests of a file never saw at work.

Counted where the engine leaves its trace: what ran, and what held a rule back.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence

import msgspec

from gateway.rules.engine.trace import COOLDOWN, HOURS, MODE, RAN, WHERE, Look, Trace
from gateway.rules.language.definition import Condition, Declared, EventRule, Timer


class Covered(msgspec.Struct, frozen=True):
    """What the tests saw of one rule."""

    rule: str
    line: int
    ran: int  # how often
    missed: list[str]  # what they never saw, in words


class Coverage:
    """Counts what rules did, over all houses that are given a `trace` of it."""

    def __init__(self, definitions: Sequence[Declared]) -> None:
        self._definitions = definitions
        self._counts: Counter[tuple[int, str, str]] = Counter()  # index of a rule, verdict, part or timer

    def trace(self) -> Trace:
        """Return a trace for one house, which is counted, too."""
        trace = Trace(len(self._definitions))
        trace.looks = [_Counting(index, self._counts, trace.each) for index in range(len(self._definitions))]
        return trace

    def report(self) -> list[Covered]:
        """Return every rule, in the order of the file, with what was never seen of it."""
        return [
            Covered(each.name, each.line, self._ran(each), list(self._missed(each)))
            for each in sorted(self._definitions, key=lambda each: (each.file, each.line))
        ]

    def _ran(self, rule: Declared) -> int:
        if isinstance(rule, Timer):
            return sum(count for (_, _, part), count in self._counts.items() if part == f"timer {rule.name}")
        return sum(
            count
            for (index, verdict, part), count in self._counts.items()
            if index == rule.index and verdict == RAN and part != "end" and not part.startswith("timer")
        )

    def _missed(self, rule: Declared) -> Iterator[str]:
        if not self._ran(rule):
            yield "it never ran"
        if isinstance(rule, Condition) and rule.end is not None and not self._counts[rule.index, RAN, "end"]:
            yield "its end never ran"
        if isinstance(rule, EventRule):
            for argument, there, verdict in (
                ("where", rule.where, WHERE),
                ("mode", rule.modes, MODE),
                ("between= or days", rule.hours, HOURS),
                ("cooldown", rule.cooldown_ns, COOLDOWN),
            ):
                if there and not any(index == rule.index and held == verdict for index, held, _ in self._counts):
                    yield f"{argument}= never held it back"


class _Counting(deque[Look]):
    """Looks of one rule, counted as they come."""

    def __init__(self, index: int, counts: Counter[tuple[int, str, str]], kept_max: int) -> None:
        super().__init__(maxlen=kept_max)
        self._index = index
        self._counts = counts

    def append(self, look: Look) -> None:
        """Count a look."""
        super().append(look)
        _, verdict, detail = look
        part = ""
        if verdict == RAN:
            part = detail[0]
            if part == "timer":
                part = f"timer {detail[2].rpartition('|')[2]}"  # the call's name ends with the function's
        self._counts[self._index, verdict, part] += 1
