"""Whose fault it was that a worker ended, and what the next one has to do without.

A rule that was running is *blamed*: the next worker does not make that call again but counts it as failed.  A file
whose top level was running is *excluded* until it is edited.  If nothing of a user's was running it is a death of
our own, and the next start waits the longer the more of them there were in a row.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence

from gateway.codes.rules import RULE_FAILED, RULE_FILE_FAULT, WORKER_ENDED
from gateway.logs.about import about
from gateway.rules.protocol import Blamed, RuleFault, RuleInfo
from gateway.rules.worker.blame import CHANGED, LEAKED, Activity, Blame, reason_in
from gateway.rules.worker.process import ENGINE_S_MAX

log = logging.getLogger(__name__)

Where = tuple[int, str]
"""Line, and why."""
UNEXPLAINED_MAX = 2  # deaths in a row; at the next one the rule that ran last is blamed
BACKOFF_S = (0.0, 0.2, 1.0, 5.0, 30.0)  # before a new worker, by deaths in a row that nobody can be blamed for


class Verdicts:
    """What was found out about workers that ended."""

    def __init__(self, tell: Callable[[RuleFault], None]) -> None:
        """`tell` takes what is found out about a rule or a file, with the stack."""
        self._tell = tell
        self._excluded: dict[str, tuple[Where, bytes | None]] = {}  # path -> where and why, the text it had
        self._blamed: list[tuple[Blamed, str]] = []  # and the actor it was: name and version
        self._deaths = 0
        self.careful_upto = 0  # up to this sequence the next workers look behind each call

    def judge(
        self,
        blame: Blame,
        rules: Sequence[RuleInfo],
        text: Callable[[str], bytes | None],
        reason: str,
        stack: str,
        position: int = 0,
    ) -> None:
        """Say whose fault the end of a worker was; log it with file and line.

        text      text(path) is what it had loaded
        position  it was given records up to here: when nobody is to blame, the next one is careful with them
        """
        if blame.activity is Activity.LOAD:
            line = line_in(stack, blame.file) or 1
            self._excluded[blame.file] = ((line, f"loading it {reason}"), text(blame.file))
            said = about(RULE_FILE_FAULT)
            log.error("rules: %s:%d: loading it %s\n%s", blame.file, line, reason, stack, extra=said)
            self._tell(RuleFault("", blame.file, line, f"loading it {reason}", stack=stack))
        elif self._is_of_a_rule(blame, rules):
            rule = rules[blame.rule]
            line = line_in(stack, rule.file) or rule.line
            where = f"{rule.file}:{line}"
            self._tell(RuleFault(rule.name, rule.file, line, reason, stack=stack))
            said = about(RULE_FAILED, rule=rule.name)
            log.error("rules: %s: rule %s %s\n%s", where, rule.name, reason, stack, extra=said)
            self._blamed.append((Blamed(rule.name, blame.sequence, blame.ordinal, f"{reason} ({where})"), rule.actor))
        else:
            self._deaths += 1
            self.careful_upto = max(self.careful_upto, position)
            said = about(WORKER_ENDED)
            log.error("rules: the worker ended and no rule was running: %s\n%s", reason, stack, extra=said)

    def _is_of_a_rule(self, blame: Blame, rules: Sequence[RuleInfo]) -> bool:
        """Return whether a rule is to blame: the one that ran, or after deaths that nobody explains the last one."""
        if blame.rule >= len(rules):
            return False
        return blame.activity is Activity.CALL or (self._deaths >= UNEXPLAINED_MAX and blame.sequence > 0)

    def outcome(self, upto: int) -> None:
        """Take note that a worker got over a record: what was blamed for it has been counted."""
        if upto >= self.careful_upto:
            self._deaths = 0
        if self._blamed:
            self._blamed = [(blamed, actor) for blamed, actor in self._blamed if blamed.sequence > upto]

    @property
    def pause_s(self) -> float:
        """How long to wait before the next start."""
        return BACKOFF_S[min(self._deaths, len(BACKOFF_S) - 1)]

    def blamed(self, rules: Sequence[RuleInfo]) -> list[Blamed]:
        """Return the calls the next worker counts as failed; a rule that was edited since makes them anew."""
        actors = {rule.actor for rule in rules}
        return [blamed for blamed, actor in self._blamed if actor in actors]

    def excluded(self, text: Callable[[str], bytes | None]) -> dict[str, Where]:
        """Return the files the next worker leaves out, and why; an edited one gets another chance."""
        self._excluded = {file: each for file, each in self._excluded.items() if text(file) == each[1]}
        return {file: where for file, (where, _) in self._excluded.items()}


def ending(status: int, stack: str = "") -> str:
    """Say how a process ended, for a person; the worker's own reason lies with the stack."""
    if status in (CHANGED, LEAKED) and (why := reason_in(stack)):
        return why
    if status == -signal.SIGKILL:  # by us, as its socket was closed while it ran; or by the kernel
        return "ended the worker's connection (or the machine ran out of memory)"
    return f"ended the worker with signal {-status}" if status < 0 else f"ended the worker with exit status {status}"


def lateness(activity: Activity, limit_s: float) -> str:
    """Say what is wrong with a worker that was looked at too often without a change."""
    if activity is Activity.CALL:
        return f"did not return within {limit_s:g} s"
    if activity is Activity.FORGED:
        return "wrote into the memory that says what it is at"
    return f"gave no answer within {ENGINE_S_MAX:g} s, and nobody's code was running"


def line_in(stack: str, file: str) -> int | None:
    """Return the innermost line of `file` in a stack written by faulthandler (most recent call first)."""
    for text in stack.splitlines():
        if f'"{file}", line ' in text:
            number = text.partition(f'"{file}", line ')[2].partition(" ")[0]
            return int(number) if number.isdigit() else None
    return None
