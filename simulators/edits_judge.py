"""Judges edits of rules by the gateway's own events, in the order of its journal (see edits.py)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.clock import wall_ns_of


@dataclass
class Verdict:
    """What came of it, as printed."""

    edits: int = 0
    readings: int = 0
    answers: int = 0
    skipped: int = 0
    twice: int = 0
    stale: int = 0
    refused_good: int = 0
    live_bad: int = 0
    changes: int = 0  # that went live, by what the journal says
    live_ms: Mapping[str, float] = field(default_factory=dict)  # from the end of a save to live
    kinds: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    seed: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Return whether the promise was kept."""
        return not (self.skipped or self.twice or self.stale or self.refused_good or self.live_bad)


class Judge:
    """Looks at the gateway's events in the order of its journal."""

    def __init__(self) -> None:
        self.verdict = Verdict()
        self.saved: dict[tuple[str, str], tuple[int, int]] = {}  # (file, hash) -> (version, wall ns of its save)
        self.latencies_ms: list[float] = []
        self.promised: list[tuple[str, int, int]] = []  # (rule or "lib", version, last reading sent before)
        self._declared: dict[str, int] = {}  # file -> version that runs
        self._at: dict[str, int] = {}  # rule -> its last reading
        self._gap_ok: set[str] = set()  # rules that were away since their last answer
        self.lock = threading.Lock()

    def show(self, event: Mapping[str, Any]) -> None:
        """Take the next event."""
        with self.lock:
            if event["type"] == "rules_changed":
                self._changed(event)
            elif event["type"] == "was_run":
                self._answered(event["data"])

    def count(self, rule: str) -> int:
        """Return how many readings a rule has answered, the first one included."""
        return self._at.get(rule, -1) + 1

    def _changed(self, event: Mapping[str, Any]) -> None:
        self.verdict.changes += 1
        for file, mark in event["data"]["files"].items():
            version, saved_ns = self.saved.get((file, mark or ""), (0, 0))
            if mark is None:
                self._declared.pop(file, None)
                if file == "extra.py":
                    self._gap_ok.add("extra")
            else:
                self._declared[file] = version
            if saved_ns:
                self.latencies_ms.append((wall_ns_of(event["time"]) - saved_ns) / 1e6)

    def _answered(self, data: Mapping[str, Any]) -> None:
        verdict, rule, number = self.verdict, data["rule"], data["number"]
        verdict.answers += 1
        before = self._at.get(rule, -1 if rule == "main" else number - 1)
        if number <= before:
            verdict.twice += 1
            self._note(f"{rule} answered {number} behind {before}")
        elif number > before + 1 and rule not in self._gap_ok:
            verdict.skipped += number - before - 1
            self._note(f"{rule} answered {number} right behind {before}")
        self._at[rule] = max(before, number)
        self._gap_ok.discard(rule)
        files = ("main.py", "renamed.py") if rule == "main" else ("extra.py",)
        declared = {self._declared[file] for file in files if file in self._declared}
        promised = [
            (what, version)
            for what, version, sent in self.promised
            if what in (rule, "lib") and number > sent and data["lib" if what == "lib" else "version"] < version
        ]
        if data["version"] not in declared or data["lib"] != self._declared.get("lib/number.py") or promised:
            verdict.stale += 1
            self._note(f"{data} when {self._declared} ran and {promised} was promised")

    def _note(self, text: str) -> None:
        if len(self.verdict.examples) < 10:
            self.verdict.examples.append(text)
