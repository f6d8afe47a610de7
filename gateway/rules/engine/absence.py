"""Rules that are not there: removed or renamed ones, and those a person has disabled.

What an absent rule holds is released, and what it raised is cleared.  Its state is kept under its name, its timers
too: one that becomes due meanwhile waits (a row ``<rule>|waiting|<timer>`` of "rule_state") and fires late, by the
rule's own policy, when the rule is back.  A condition that had begun begins again then, if it is still so.

A removed rule leaves ``<rule>|gone`` and one timer behind; when that fires and nobody has brought the name back, all of
it is deleted.  A disabled one has ``<rule>|disabled``: `{since, until, actor, timer}`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from gateway.clock import NS_PER_S, wall_ns_of
from gateway.rules.engine import alerts, claims
from gateway.rules.engine.call import Call, Cause, Site
from gateway.rules.engine.runner import Runner, stranger
from gateway.rules.engine.seen import Seen
from gateway.rules.engine.tables import ALERTS, HOLDS, RULE_STATE, TIMERS
from gateway.rules.language.definition import Declared
from gateway.rules.records import ENABLED

FORGET, ENABLE = "forget", "enable"  # kinds of timers
KEPT_S = 7 * 86400.0  # how long what belongs to a removed rule is kept


class Absence:
    """Knows which of the declared rules act, and keeps what belongs to the others."""

    def __init__(
        self,
        site: Site,
        runner: Runner,
        declared: Sequence[Declared],
        settle: Callable[[Call, str], None],
        kept_s: float,
    ) -> None:
        """Wire it up.

        declared  all rules that are loaded
        settle    commands what follows when claims change
        kept_s    how long what belongs to a removed rule is kept
        """
        self._site = site
        self._runner = runner
        self._declared = {definition.name for definition in declared}
        self._settle = settle
        self._kept_ns = round(kept_s * NS_PER_S)

    def disabled(self) -> set[str]:
        """Return the rules that a person has disabled."""
        return {
            key.removesuffix("|disabled") for key in self._site.tables.keys(RULE_STATE) if key.endswith("|disabled")
        }

    def switch(self, seen: Seen, cause: Cause) -> bool:
        """Disable or enable a rule; returns whether that changed anything."""
        name, tables = str(seen.data.get("rule", "")), self._site.tables
        before = tables.get(RULE_STATE, f"{name}|disabled")
        if before is not None and before.get("timer"):
            tables.put(TIMERS, before["timer"], None)
        if seen.type == ENABLED:
            tables.put(RULE_STATE, f"{name}|disabled", None)
            return before is not None
        until = seen.data.get("until")
        until_ns = wall_ns_of(until) if until else None
        call = Call(self._site, stranger(name), cause, name=f"{name}|{ENABLE}")
        timer = None if until_ns is None else call.start_timer(ENABLE, max(0, until_ns - cause.time_ns), {})
        row = {"since": cause.time_ns, "until": until_ns, "actor": seen.actor, "timer": timer}
        call.rows.put(RULE_STATE, f"{name}|disabled", row)
        call.commit()
        return True

    def loaded(self, acting: Collection[str], cause: Cause, *, complete: bool) -> None:
        """Let go what belongs to absent rules, and give back what belongs to those that are there again.

        acting    the rules that are loaded and not disabled
        complete  whether no file was left out: what belongs to no rule belongs to nobody
        """
        tables = self._site.tables
        named = {key.partition("|")[0] for key in tables.keys(RULE_STATE)}
        named |= {str((tables.get(TIMERS, key) or {}).get("rule", "")) for key in tables.keys(TIMERS)}
        for name in sorted(named & set(acting)):
            self._give_back(name)
        absent = self.disabled() | (named - self._declared if complete else set())
        absent |= self._let_go(acting if complete else None, cause)
        for name in sorted(absent - {""}):
            self._pause(name, cause)

    def keep(self, key: str, row: Mapping[str, Any]) -> None:
        """Keep a timer that was due while its rule is absent."""
        self._site.tables.put(RULE_STATE, f"{row['rule']}|waiting|{key}", dict(row))

    def time_passed(self, kind: str, name: str, key: str) -> bool:
        """Take note of a timer of an absent rule; returns whether a rule is enabled again."""
        tables = self._site.tables
        row = tables.get(RULE_STATE, f"{name}|{'gone' if kind == FORGET else 'disabled'}")
        if row is None or row.get("timer") != key:
            return False
        if kind == ENABLE:
            tables.put(RULE_STATE, f"{name}|disabled", None)
            return True
        for table in (RULE_STATE, TIMERS):
            for each in list(tables.keys(table, f"{name}|")):
                tables.put(table, each, None)
        self._site.state_bytes.pop(name, None)
        return False

    def _give_back(self, name: str) -> None:
        tables = self._site.tables
        gone = tables.get(RULE_STATE, f"{name}|gone")
        if gone is not None:
            tables.put(TIMERS, gone["timer"], None)
            tables.put(RULE_STATE, f"{name}|gone", None)
        prefix = f"{name}|waiting|"
        for key in list(tables.keys(RULE_STATE, prefix)):
            tables.put(TIMERS, key[len(prefix) :], tables.get(RULE_STATE, key))
            tables.put(RULE_STATE, key, None)

    def _pause(self, name: str, cause: Cause) -> None:
        """Let conditions of an absent rule begin again when it is back, and remember since when it is gone."""
        tables = self._site.tables
        for key in list(tables.keys(RULE_STATE, f"{name}|when|")):
            row = tables.get(RULE_STATE, key)
            if row is not None and row.get("begun"):
                tables.put(RULE_STATE, key, {**row, "begun": False})
        if name not in self._declared and tables.get(RULE_STATE, f"{name}|gone") is None:
            call = Call(self._site, stranger(name), self._runner.present(cause), name=f"{name}|gone")
            timer = call.start_timer(FORGET, self._kept_ns, {})
            call.rows.put(RULE_STATE, f"{name}|gone", {"since": call.cause.time_ns, "timer": timer})
            call.commit()

    def _let_go(self, acting: Collection[str] | None, cause: Cause) -> set[str]:
        """Release what absent rules hold, and clear what they raised; without `acting` those that are disabled."""
        tables, runner, found = self._site.tables, self._runner, set[str]()
        disabled = self.disabled()

        def absent(name: str) -> bool:
            return name in disabled or (acting is not None and name not in acting)

        for device in list(tables.keys(HOLDS)):
            row = tables.get(HOLDS, device)
            owners = {claim["by"] for claim in row["claims"] if not claims.is_persons(claim)} if row else set()
            for name in sorted(filter(absent, owners)):
                call = Call(self._site, stranger(name), cause, name=f"{name}|gone|{device}")
                claims.release(call, device, partial(_is_of, name))
                runner.settle(call, [device])
                runner.accept(call)
                found.add(name)
        for at in list(tables.keys(ALERTS)):
            row = tables.get(ALERTS, at)
            if row is not None and absent(row["rule"]):
                call = Call(self._site, stranger(row["rule"]), cause, name=f"{row['rule']}|gone|{at}")
                alerts.clear(call, at, row, partial(self._settle, call))
                runner.accept(call)
                found.add(row["rule"])
        return found - disabled - self._declared


def _is_of(rule: str, claim: claims.Claim) -> bool:
    return bool(claim["by"] == rule)
