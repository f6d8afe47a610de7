"""@every at work: one timer a rule, for the next tick that lies ahead."""

from __future__ import annotations

from gateway.rules.engine.call import Call, Cause, Site
from gateway.rules.engine.runner import Runner
from gateway.rules.engine.tables import TIMERS
from gateway.rules.language.definition import Every

EVERY = "every"  # kind of timer


class Ticks:
    """The ticks of all @every rules."""

    def __init__(self, site: Site, runner: Runner) -> None:
        self._site = site
        self._runner = runner

    def loaded(self, rule: Every, cause: Cause) -> None:
        """Begin to tick when the rule is new, or has another interval."""
        rows = self._site.tables
        keys = list(rows.keys(TIMERS, f"{rule.name}|{EVERY}|"))
        row = rows.get(TIMERS, keys[0]) if len(keys) == 1 else None
        if row is None or row.get("interval") != rule.interval_ns:
            for key in keys:
                rows.put(TIMERS, key, None)
            self.next(rule, self._runner.present(cause))

    def next(self, rule: Every, cause: Cause) -> None:
        """Set the timer of the next tick, the first one that lies ahead."""
        missed = (self._runner.now_ns - cause.time_ns) // rule.interval_ns
        call = Call(self._site, rule, cause)
        call.start_timer(EVERY, rule.interval_ns * (missed + 1), {"interval": rule.interval_ns})
        call.commit()
