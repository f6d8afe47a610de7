"""Rules that fail: retry for that rule alone, then a dead letter; quarantine with growing pauses.

A call that failed is *parked* with the record it is about (a row ``<rule>|parked|...`` of "rule_state") and run
again after `RETRY_S`; after `ATTEMPTS_MAX` attempts it becomes a dead letter ``rule_failed`` with the event in it.
After `FAULTS_MAX` faults in a row, or at once when the worker had to be killed, the rule is in quarantine: its calls
are parked unrun until the pause is over.  One call that goes well, or an edited file, ends all that.

The row ``<rule>|trouble`` is ``{faults, rounds, quarantined, timer, why, actor}``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.clock import NS_PER_S, rfc3339
from gateway.codes.rules import RULE_FAILED, RULE_STOPPED
from gateway.event import Event, derived_id
from gateway.rules.engine import alerts
from gateway.rules.engine.call import Call, Cause, Part, Site
from gateway.rules.engine.seen import Seen
from gateway.rules.engine.tables import RULE_STATE, TIMERS
from gateway.rules.language.definition import Definition
from gateway.rules.records import QUARANTINED

ATTEMPTS_MAX = 3
RETRY_S = (1.0, 10.0)  # before the second and the third attempt
FAULTS_MAX = 5  # in a row
QUARANTINE_S = (10.0, 60.0, 600.0, 3600.0)
PARKED_MAX = 1000  # calls of all rules
PARKED_BYTES_MAX = 512 * 1024
RETRIES_PER_TURN_MAX = 50
EVENT_BYTES_MAX = 64 * 1024  # of an event that goes whole into its dead letter
RETRY = "retry"  # kind of timer
NEVER_AGAIN = ("every", "gate")  # calls that are not made up for: the next tick comes, the event has been decided


class Work(msgspec.Struct, frozen=True):
    """A call to be made: everything that is needed to make it again later."""

    rule: str
    part: Part
    raw: bytes  # the record it is about
    sequence: int
    scope: str = ""
    device: str = ""
    function: str = ""  # of a timer
    arguments: dict[str, Any] = {}
    attempts: int = 0  # that failed
    window: dict[str, Any] | None = None  # that the event completes
    earlier: bytes = b""  # the record that came before it

    @property
    def name(self) -> str:
        """What tells it from other calls of the same rule for the same record."""
        return self.rule if self.part in ("event", "gate") else f"{self.rule}|{self.part}|{self.function or self.scope}"


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Work).decode


class Trouble:
    """Which rules are in trouble, and the calls that wait for them."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._bad = {key.partition("|")[0] for key in site.tables.keys(RULE_STATE) if key.endswith("|trouble")}
        rows = [site.tables.get(RULE_STATE, key) for key in site.tables.keys(RULE_STATE) if "|parked|" in key]
        self._parked = len(rows)
        self._parked_bytes = sum(len(row) for row in rows if row is not None)

    def quarantined(self, rule: str) -> bool:
        """Return whether a rule's calls have to wait; costs a set lookup for a rule without trouble."""
        return rule in self._bad and bool(self._row(rule).get("quarantined"))

    def went_well(self, rule: Definition, cause: Cause) -> list[Event]:
        """Forget the rule's faults after a call that went well. Returns the outputs that follow."""
        row = self._row(rule.name)
        if row.get("timer") and next(self._keys(rule.name), None) is not None:
            self._put(rule.name, {**row, "faults": 0})
            return []
        if row.get("timer"):
            self._site.tables.put(TIMERS, row["timer"], None)
        self._put(rule.name, None)
        return self._alert(rule, cause, None)

    def failed(
        self, work: Work, rule: Definition, seen: Seen, cause: Cause, present: Cause, reason: str, *, fatal: bool
    ) -> tuple[bool, list[Event]]:
        """Count a failed attempt. Returns whether the call is given up, and the outputs that follow."""
        row = self._row(rule.name)
        row = {**row, "faults": row.get("faults", 0) + 1, "why": reason, "actor": rule.actor}
        outputs: list[Event] = []
        work = msgspec.structs.replace(work, attempts=work.attempts + 1)
        pause_s = RETRY_S[min(work.attempts, len(RETRY_S)) - 1]
        if fatal or row["faults"] >= FAULTS_MAX:
            rounds = row.get("rounds", 0)
            pause_s = QUARANTINE_S[min(rounds, len(QUARANTINE_S) - 1)]
            row |= {"quarantined": True, "rounds": rounds + 1}
            if row.get("timer"):
                self._site.tables.put(TIMERS, row.pop("timer"), None)
            text = f"rule {rule.name} is in quarantine for {pause_s:g} s: {reason} [{RULE_STOPPED}]"
            outputs += self._alert(rule, present, text, rounds)
        self._put(rule.name, row)
        self._wait(rule, present, pause_s)
        given_up = work.attempts >= ATTEMPTS_MAX or work.part in NEVER_AGAIN or not self.park(work)
        if given_up and work.part not in NEVER_AGAIN:
            outputs.append(self._dead_letter(work, rule, seen, cause, reason))
        return given_up, outputs

    def hold_back(self, work: Work, rule: Definition, seen: Seen, cause: Cause) -> list[Event]:
        """Park a call of a rule in quarantine; a dead letter if there is no room. Some are not made up for."""
        if work.part in NEVER_AGAIN or self.park(work):
            return []
        return [self._dead_letter(work, rule, seen, cause, "the rule is in quarantine and too many of its calls wait")]

    def park(self, work: Work) -> bool:
        """Keep a call for later; False when there is no room."""
        row = _pack(work)
        if self._parked >= PARKED_MAX or self._parked_bytes + len(row) > PARKED_BYTES_MAX:
            return False
        self._parked += 1
        self._parked_bytes += len(row)
        key = f"{work.rule}|parked|{work.sequence:016d}|{work.part}|{work.function or work.scope}"
        self._site.tables.put(RULE_STATE, key, row)
        return True

    def resume(self, rule: Definition, cause: Cause, timer: str | None) -> tuple[list[Work], list[Event]]:
        """Give back parked calls, as many as one turn takes: the pause is over, or (no `timer`) the file was edited.

        The second part are outputs: the alert is cleared when none wait. The faults are remembered until one goes well.
        """
        row = self._row(rule.name)
        if not row or (timer is not None and row.get("timer") != timer):
            return [], []
        if timer is None and row.get("timer"):
            self._site.tables.put(TIMERS, row["timer"], None)
        faults = row.get("faults", 0)
        if row.get("quarantined"):
            faults = 0 if timer is None else FAULTS_MAX - 1  # on probation, unless the file was edited
        self._put(rule.name, {**row, "faults": faults, "quarantined": False, "timer": None})
        keys = sorted(self._keys(rule.name), key=self._attempts)  # what never failed first: it may end the trouble
        works = [self._take(key) for key in keys[:RETRIES_PER_TURN_MAX]]
        if len(keys) > RETRIES_PER_TURN_MAX:
            self._wait(rule, cause, RETRY_S[0])
        return works, [] if works else self._alert(rule, cause, None)

    def edited(self, rule: Definition) -> bool:
        """Return whether a rule in trouble has another file than when it got there."""
        return rule.name in self._bad and self._row(rule.name).get("actor") != rule.actor

    def pending(self, rule: str) -> bool:
        """Return whether a rule has trouble at all."""
        return rule in self._bad

    def _attempts(self, key: str) -> int:
        return _unpack(self._site.tables.get(RULE_STATE, key) or b"").attempts

    def _take(self, key: str) -> Work:
        row = self._site.tables.get(RULE_STATE, key)
        assert row is not None
        self._site.tables.put(RULE_STATE, key, None)
        self._parked -= 1
        self._parked_bytes -= len(row)
        return _unpack(row)

    def _keys(self, rule: str) -> Any:
        return self._site.tables.keys(RULE_STATE, f"{rule}|parked|")

    def _row(self, rule: str) -> dict[str, Any]:
        return self._site.tables.get(RULE_STATE, f"{rule}|trouble") or {}

    def _put(self, rule: str, row: dict[str, Any] | None) -> None:
        self._site.tables.put(RULE_STATE, f"{rule}|trouble", row)
        (self._bad.discard if row is None else self._bad.add)(rule)

    def _wait(self, rule: Definition, cause: Cause, pause_s: float) -> None:
        """Set the rule's one retry timer, if it isn't."""
        row = self._row(rule.name)
        if row.get("timer"):
            return
        call = Call(self._site, rule, cause, name=f"{rule.name}|{RETRY}")
        timer = call.start_timer(RETRY, round(pause_s * NS_PER_S), {})
        call.commit()
        self._put(rule.name, {**row, "timer": timer})

    def _alert(self, rule: Definition, cause: Cause, text: str | None, rounds: int = 0) -> list[Event]:
        """Raise or clear the alert about a rule in quarantine; a call that fails again raises another event."""
        about = f"rule:{rule.name}"
        name = f"{rule.name}|{QUARANTINED}|{rounds if text is not None else 'over'}"
        call = Call(self._site, rule, cause, scope=about, device=about, name=name)
        if text is not None:
            alerts.raise_alert(call, text, QUARANTINED, "telemetry", 0)
        else:
            alerts.clear_alerts(call, QUARANTINED, about)
        call.commit()
        return call.outputs

    def _dead_letter(self, work: Work, rule: Definition, seen: Seen, cause: Cause, reason: str) -> Event:
        return Event(
            id=derived_id(self._site.log_id, f"{work.name}|dead", cause.id, 0),
            source=f"/{self._site.gateway}/rules",
            type="rule_failed",
            subject=seen.subject,
            time=rfc3339(cause.time_ns),
            lane="dead_letter",
            actor=rule.actor,
            cause=cause.id,
            data={
                "reason": reason,
                "code": str(RULE_FAILED),
                "rule": rule.name,
                "attempts": work.attempts,
                **event_of(work.raw, seen),
            },
        )


def event_of(raw: bytes, seen: Seen) -> dict[str, Any]:
    """Return the event for its dead letter: whole, or when it is large, how to find it."""
    if len(raw) <= EVENT_BYTES_MAX:
        return {"event": msgspec.json.decode(raw)}
    return {"event_id": seen.id, "event_sequence": seen.sequence, "event_bytes": len(raw)}
