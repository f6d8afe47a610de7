"""What people ask about rules: which there are and how they do, why one did (not) run, what they said.

What the gateway keeps itself (counts, log lines, quarantine) is there whatever the worker does; the rest is asked of
the worker, and left out with a note when it is busy.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from gateway.api.line import ApiError
from gateway.api.rule_files import RuleFiles
from gateway.clock import Clock, rfc3339
from gateway.errors import probably_meant
from gateway.event import Lane
from gateway.history.query import Past
from gateway.rules.worker.diary import Line
from gateway.rules.worker.questions import NoAnswer
from gateway.rules.worker.supervisor import RuleWorker

LANES = (Lane.ALARM, Lane.TELEMETRY, Lane.TIMER)  # of what rules look at
FAULTS_SHOWN = 5
LOOKS_MAX = 100  # of one rule in one answer


class RuleAnswers:
    """The answers about rules. `worker` is None while no rule is installed."""

    def __init__(self, worker: Callable[[], RuleWorker | None], past: Past, clock: Clock) -> None:
        self._worker = worker
        self._past = past
        self._clock = clock

    def all(self) -> dict[str, Callable[..., Any]]:
        """Return the answers by what is asked."""
        return {
            "rules_list": self.list,
            "rules_why": self.why,
            "rules_looks": self.looks,
            "rules_of_device": self.of_device,
            "rules_log": self.log,
        }

    async def list(self) -> dict[str, Any]:
        """Say of each loaded rule how it does; `note` says what is missing, and why."""
        worker = self._running()
        note, asked = "", {}
        try:
            asked = {row["name"]: row for row in await worker.ask("rules")}
        except NoAnswer as error:
            note = str(error)
        stopped, disabled, diary = dict(worker.quarantined()), worker.disabled(), worker.diary
        rules = []
        for rule in worker.rules:
            fired_ns = diary.fired_ns.get(rule.name)
            entry = {name: getattr(rule, name) for name in rule.__struct_fields__}
            entry |= {name: value for name, value in asked.get(rule.name, {}).items() if name not in entry}
            entry |= {"state": "quarantined" if rule.name in stopped else "ready"}
            entry |= {"state": "disabled", "until": disabled[rule.name]} if rule.name in disabled else {}
            entry |= {"reason": stopped.get(rule.name, "")}
            entry |= {"fired": diary.fired.get(rule.name, 0), "faults": diary.faults.get(rule.name, 0)}
            rules.append(entry | {"fired_at": rfc3339(fired_ns) if fired_ns else None})
        return {
            "state": worker.state.value,
            "note": note,
            "rules": rules,
            "files": RuleFiles(worker, self._clock).files(),
        }

    async def why(self, name: str, device: str = "", last: int = 10) -> dict[str, Any]:
        """Say how a rule is now, and what it made of the last events it looked at."""
        last = max(0, min(int(last), LOOKS_MAX))
        worker = self._running()
        if worker.rules and name not in {rule.name for rule in worker.rules}:
            raise ApiError(self._none_such(worker, name))
        found: dict[str, Any] = await worker.ask(
            "why", name=name, device=device, now_ns=self._clock.wall_ns(), last=last
        )
        found["fired"], found["faults"] = worker.diary.fired.get(name, 0), worker.diary.faults.get(name, 0)
        fired_ns = worker.diary.fired_ns.get(name)
        found["fired_at"] = rfc3339(fired_ns) if fired_ns else None
        events = await asyncio.to_thread(self._events, {look["sequence"] for look in found["looks"]})
        for look in found["looks"]:
            look["event"] = events.get(look["sequence"])
        return found

    async def looks(self, sequence: str, id: str, type: str, subject: str, fields: Sequence[str]) -> Any:  # noqa: A002 - an event's attributes
        """Say what each rule made of an event, as far as the worker remembers."""
        return await self._running().ask("looks", sequence=sequence, id=id, type=type, subject=subject, fields=fields)

    async def of_device(self, device: str) -> Any:
        """Name the rules that look at a device."""
        return await self._running().ask("device", device=device)

    def log(self, rule: str = "", last: int | None = None, follow: bool = False) -> AsyncIterator[Line]:
        """Return what rules said and what was wrong with them; with `follow` what they say from now on, too."""
        return self._running().diary.follow(rule, last, follow=follow)

    def _none_such(self, worker: RuleWorker, name: str) -> str:
        """Say that no such rule runs, what was meant, and which files do not run as they are."""
        hint = probably_meant(name, [rule.name for rule in worker.rules])
        faults = "".join(f"\n  {fault}" for fault in worker.edits.faults[:FAULTS_SHOWN])
        return f"no rule {name!r} runs" + (f", {hint}" if hint else "") + (f"; not running:{faults}" if faults else "")

    def _running(self) -> RuleWorker:
        worker = self._worker()
        if worker is None:
            raise ApiError("no rule is installed: `edge-gateway rules new NAME` writes one")
        return worker

    def _events(self, sequences: Iterable[str]) -> Mapping[str, Any]:
        """Read a few records by their sequences; those the journal does not have any more are left out. BLOCKING."""
        found = {}
        for sequence in sequences:
            number = int(sequence)
            for _, raw in self._past.between(number - 1, number, LANES):
                event = msgspec.json.decode(raw)
                found[sequence] = {name: event.get(name) for name in ("id", "type", "subject", "time")}
        return found
