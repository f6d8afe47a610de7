"""What a rule makes of more than one event: debounce=, after=, unless=; windows are in `windows.py`.

Rows of "rule_state", and timers that carry the event they wait with:

* ``<rule>|debounce|<device>``: the call that waits, and the timer.  Each event replaces the call; the timer looks, when
  it fires, whether the last one is long enough ago.
* ``<rule>|after|<scope>``: the earlier event, until a later one comes in time.
* ``<rule>|unless|<scope>``: the timers that wait, by device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.clock import rfc3339
from gateway.rules.engine import jumps
from gateway.rules.engine.appointments import AT
from gateway.rules.engine.call import Call, Cause, Site
from gateway.rules.engine.openings import HOURS
from gateway.rules.engine.runner import Runner
from gateway.rules.engine.seen import Seen, decode, time_ns
from gateway.rules.engine.tables import RULE_STATE, TIMERS
from gateway.rules.engine.windows import CLOSE, EARLY_NS_MAX, Run, Windows
from gateway.rules.language.definition import At, Condition, Declared, EventRule

DEBOUNCE, UNLESS = "debounce", "unless"  # kinds of timers
KINDS = (DEBOUNCE, UNLESS, CLOSE)
WINDOWS = ("tumbling", "session", "sliding")
ROWS = (DEBOUNCE, UNLESS, "after", *WINDOWS, AT, HOURS)
TIMED = (DEBOUNCE, "session", AT, HOURS)  # rows that name their timer
WAITING_PER_SCOPE_MAX = 200  # devices of a room or house whose events wait for what must not come
EARLIER_BYTES_MAX = 4096  # of an earlier event that is kept whole; of a larger one only when and where

WAITS_FOR_SILENCE = "waits for silence"
WAITS = "waits whether something comes that speaks against it"
SPEAKS_AGAINST = "speaks against what waits"
KEPT = "kept: something else has to follow"
NOTHING_BEFORE = "nothing came before it"
NO_ROOM = "its device is in no room"
TOO_MANY = f"more than {WAITING_PER_SCOPE_MAX} wait"


class Patterns:
    """Events that wait for others, or for silence."""

    def __init__(self, site: Site, runner: Runner, windows: Windows, run: Run) -> None:
        self._site = site
        self._runner = runner
        self._windows = windows
        self._run = run

    def take(self, rule: EventRule, seen: Seen) -> str:
        """Look at an event that passes a rule's tests; returns what came of it, or nothing if the rule ran."""
        if rule.over is not None:
            return self._windows.take(rule, rule.over, seen, self._runner.raw, self._runner.now_ns)
        if rule.debounce_ns:
            return self._debounce(rule, seen)
        scope = self._windows.scope(rule.same, seen.subject)
        if not scope and rule.same == "room":
            return NO_ROOM
        if rule.role == "before":
            return self._keep(rule, scope, seen)
        if rule.role == "against":
            return self._speak_against(rule, scope, seen)
        if rule.unless is not None:
            return self._wait(rule, scope, seen)
        return self._follow(rule, scope, seen)

    def time_passed(self, rule: EventRule, kind: str, key: str, row: Mapping[str, Any], cause: Cause) -> None:
        """Take note of a timer."""
        if kind == CLOSE:
            self._windows.time_passed(rule, row, key, self._runner.seen, cause)
        elif kind == DEBOUNCE:
            self._silence(rule, key, str(row["about"]), cause)
        elif kind == UNLESS:
            self._nothing_came(rule, key, row, cause)

    def tidy(self, definitions: Mapping[str, Declared]) -> None:
        """Forget what rules kept that wait for something else now; what belongs to no rule stays for its return."""
        rows = 0
        for key in list(self._site.tables.keys(RULE_STATE)):
            name, _, rest = key.partition("|")
            kind, rule = rest.partition("|")[0], definitions.get(name)
            if kind in ROWS and rule is not None and kind != _kind_of(rule):
                row = self._site.tables.get(RULE_STATE, key)
                if kind in TIMED and isinstance(row, dict) and row.get("timer"):
                    self._site.tables.put(TIMERS, row["timer"], None)
                self._site.tables.put(RULE_STATE, key, None)
            else:
                rows += kind in WINDOWS
        self._windows.rows = rows

    # ---- debounce -----------------------------------------------------------------------------------

    def _debounce(self, rule: EventRule, seen: Seen) -> str:
        key = f"{rule.name}|{DEBOUNCE}|{seen.subject}"
        row = self._site.tables.get(RULE_STATE, key)
        now = self._runner.now_ns
        timer = row["timer"] if row is not None else self._timer(rule, DEBOUNCE, rule.debounce_ns, seen, now, {})
        late = self._runner.is_late(seen, self._runner.cause(seen))
        kept = {"raw": self._runner.raw, "due": now + rule.debounce_ns, "timer": timer, "late": late}
        self._site.tables.put(RULE_STATE, key, kept)
        return WAITS_FOR_SILENCE

    def _silence(self, rule: EventRule, timer: str, device: str, cause: Cause) -> None:
        key = f"{rule.name}|{DEBOUNCE}|{device}"
        row = self._site.tables.get(RULE_STATE, key)
        if row is None or row["timer"] != timer or not rule.debounce_ns:
            return
        seen, left_ns = decode(row["raw"]), int(row["due"]) - cause.time_ns
        if EARLY_NS_MAX < left_ns <= rule.debounce_ns:
            timer = self._timer(rule, DEBOUNCE, left_ns, seen, cause.time_ns, {})
            self._site.tables.put(RULE_STATE, key, {**row, "timer": timer})
            return
        self._site.tables.put(RULE_STATE, key, None)
        self._run(rule, seen, row["raw"], None if row["late"] else self._then(seen, cause))

    # ---- one after the other ------------------------------------------------------------------------

    def _keep(self, rule: EventRule, scope: str, seen: Seen) -> str:
        at = time_ns(seen, self._runner.now_ns)
        raw = self._runner.raw
        if len(raw) > EARLIER_BYTES_MAX:
            raw = msgspec.json.encode(msgspec.structs.replace(seen, data={}))
        self._site.tables.put(RULE_STATE, f"{rule.name}|after|{scope}", {"at": at, "raw": raw})
        return KEPT

    def _follow(self, rule: EventRule, scope: str, seen: Seen) -> str:
        key = f"{rule.name}|after|{scope}"
        row = self._site.tables.get(RULE_STATE, key)
        passed_ns = -1 if row is None else time_ns(seen, self._runner.now_ns) - row["at"]
        if row is None or not 0 <= passed_ns <= rule.within_ns:
            return NOTHING_BEFORE
        self._site.tables.put(RULE_STATE, key, None)
        self._run(rule, seen, self._runner.raw, earlier=row["raw"])
        return ""

    # ---- one without the other ----------------------------------------------------------------------

    def _wait(self, rule: EventRule, scope: str, seen: Seen) -> str:
        key = f"{rule.name}|{UNLESS}|{scope}"
        waiting: dict[str, str] = self._site.tables.get(RULE_STATE, key) or {}
        if seen.subject in waiting:
            return WAITS
        if len(waiting) >= WAITING_PER_SCOPE_MAX:
            return TOO_MANY
        at = time_ns(seen, self._runner.now_ns)
        timer = self._timer(rule, UNLESS, rule.within_ns, seen, at, {"raw": self._runner.raw, "in": scope})
        self._site.tables.put(RULE_STATE, key, {**waiting, seen.subject: timer})
        return WAITS

    def _speak_against(self, rule: EventRule, scope: str, seen: Seen) -> str:
        key = f"{rule.name}|{UNLESS}|{scope}"
        waiting: dict[str, str] = self._site.tables.get(RULE_STATE, key) or {}
        at, left = time_ns(seen, self._runner.now_ns), dict(waiting)
        for device, timer in waiting.items():
            row = self._site.tables.get(TIMERS, timer)
            since = 0 if row is None else jumps.since(self._site.tables, timer, row["since"])
            if row is None or since <= at <= since + rule.within_ns:
                self._site.tables.put(TIMERS, timer, None)
                del left[device]
        if left != waiting:
            self._site.tables.put(RULE_STATE, key, left or None)
        return SPEAKS_AGAINST

    def _nothing_came(self, rule: EventRule, timer: str, row: Mapping[str, Any], cause: Cause) -> None:
        key = f"{rule.name}|{UNLESS}|{row['in']}"
        waiting: dict[str, str] = self._site.tables.get(RULE_STATE, key) or {}
        if rule.unless is None or timer not in waiting.values():
            return
        left = {device: waits for device, waits in waiting.items() if waits != timer}
        self._site.tables.put(RULE_STATE, key, left or None)
        seen = decode(row["raw"])
        self._run(rule, seen, row["raw"], self._then(seen, cause))

    # ---- both ---------------------------------------------------------------------------------------

    def _timer(self, rule: EventRule, kind: str, after_ns: int, seen: Seen, at_ns: int, row: Mapping[str, Any]) -> str:
        cause = Cause(seen.id, int(self._runner.seen.sequence), at_ns, seen.hops)
        call = Call(self._site, rule, cause, device=seen.subject, name=f"{rule.name}|{kind}|{seen.subject}")
        timer = call.start_timer(kind, after_ns, {"about": seen.subject, "since": at_ns, **row})
        call.commit()
        return timer

    def _then(self, seen: Seen, cause: Cause) -> Cause:
        """Return the event as the cause of a call that is made later than it happened."""
        return Cause(seen.id, cause.sequence, cause.time_ns, cause.hops, rfc3339(cause.time_ns))


def _kind_of(rule: Declared) -> str:
    """Return the sort of rows a rule has."""
    if isinstance(rule, At):
        return AT
    if not isinstance(rule, EventRule):
        return HOURS if isinstance(rule, Condition) and rule.hours else ""
    if rule.over is not None:
        return rule.over.kind
    return DEBOUNCE if rule.debounce_ns else UNLESS if rule.unless else "after" if rule.after else ""
