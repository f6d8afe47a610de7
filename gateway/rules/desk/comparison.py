"""Two versions of rules beside each other: which outputs both made, which only one of them.

An output's id is made of rule, cause and number: the same id is the same output for the same cause, and is compared by
what it says.  What follows from a timer has another cause in each of the two worlds: outputs without a partner of their
id are paired with one that says the same at the same time, give or take `NEAR_NS`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from gateway.clock import NS_PER_S, wall_ns_of
from gateway.rules.desk.tally import Action

NEAR_NS: Final = 2 * NS_PER_S
WAIT_NS: Final = 30 * NS_PER_S  # for the other side's output
WAITING_MAX: Final = 50_000  # outputs of a side without a partner yet; when there are more the oldest are given up

Verdict = Literal["same", "changed", "only live", "only candidate"]
Side = Literal["live", "candidate"]
Said = tuple[str, str, str, str]
"""What two outputs have in common that are the same."""


class Difference(msgspec.Struct, frozen=True):
    """What became of an output, or of two."""

    verdict: Verdict
    live: Action | None
    candidate: Action | None

    @property
    def action(self) -> Action:
        """The one there is; of two the candidate's."""
        found = self.candidate or self.live
        assert found is not None
        return found


class _Waiting(msgspec.Struct, eq=False):
    action: Action
    time_ns: int
    came_ns: int
    said: Said
    over: bool = False


class _Of:
    """One side's outputs that wait for a partner."""

    def __init__(self) -> None:
        self.order: deque[_Waiting] = deque()
        self.by_id: dict[str, _Waiting] = {}
        self.by_said: dict[Said, list[_Waiting]] = {}

    def add(self, waiting: _Waiting) -> None:
        self.order.append(waiting)
        self.by_id[waiting.action.id] = waiting
        self.by_said.setdefault(waiting.said, []).append(waiting)

    def take(self, waiting: _Waiting) -> _Waiting:
        waiting.over = True
        self.by_id.pop(waiting.action.id, None)
        alike = self.by_said[waiting.said]
        alike.remove(waiting)
        if not alike:
            del self.by_said[waiting.said]
        while self.order and self.order[0].over:
            self.order.popleft()
        return waiting


class Comparison:
    """Pairs outputs as they come, in any order. `tell` is given each difference once, and what is the same.

    `wait_ns` is how long an output waits for the other side's.
    """

    def __init__(self, tell: Callable[[Difference], None], wait_ns: int = WAIT_NS) -> None:
        self.counts: dict[str, dict[Verdict, int]] = {}  # by rule
        self._tell = tell
        self._wait_ns = wait_ns
        self._sides: dict[Side, _Of] = {"live": _Of(), "candidate": _Of()}

    def add(self, side: Side, action: Action, now_ns: int) -> None:
        """Take an output of one side at a time."""
        other = self._sides["candidate" if side == "live" else "live"]
        mine = _Waiting(action, wall_ns_of(action.time), now_ns, said(action))
        partner = other.by_id.get(action.id)
        if partner is None:
            self._sides[side].add(mine)
            if len(self._sides[side].by_id) > WAITING_MAX:
                self._give_up(side)
            return
        other.take(partner)
        self._both(side, mine, partner)

    def settle(self, now_ns: int | None = None) -> None:
        """Judge what has waited long enough at a time; None is the end: judge everything."""
        for side in ("live", "candidate"):
            waiting = self._sides[side].order
            while waiting and (now_ns is None or waiting[0].came_ns < now_ns - self._wait_ns):
                self._give_up(side)

    def _give_up(self, side: Side) -> None:
        mine = self._sides[side]
        oldest = mine.take(mine.order[0])
        other = self._sides["candidate" if side == "live" else "live"]
        near = [each for each in other.by_said.get(oldest.said, ()) if abs(each.time_ns - oldest.time_ns) <= NEAR_NS]
        if near:
            self._both(side, oldest, other.take(min(near, key=lambda each: abs(each.time_ns - oldest.time_ns))))
        elif side == "live":
            self._say(Difference("only live", oldest.action, None))
        else:
            self._say(Difference("only candidate", None, oldest.action))

    def _both(self, side: Side, mine: _Waiting, partner: _Waiting) -> None:
        live, candidate = (mine, partner) if side == "live" else (partner, mine)
        verdict: Verdict = "same" if live.said == candidate.said else "changed"
        self._say(Difference(verdict, live.action, candidate.action))

    def _say(self, difference: Difference) -> None:
        counts = self.counts.setdefault(difference.action.rule, {})
        counts[difference.verdict] = counts.get(difference.verdict, 0) + 1
        self._tell(difference)


def said(action: Action) -> Said:
    """Return what has to be alike in two outputs that are the same."""
    if action.kind not in ("event", "http", "failed"):
        return action.rule, action.type, action.subject, action.what
    return action.rule, action.type, action.subject, msgspec.json.encode(action.data, order="sorted").decode()
