"""What a master knows of one unit: when its polls are due, whether it answers, what it cost. Pure."""

from __future__ import annotations

from gateway.polling.plan import Poll, Unit

OFFLINE_TRY_S_MAX = 60.0  # longest time between tries of a unit that is offline, or its period
SMOOTHING = 0.2  # weight of the newest interval in the mean that `status` shows
DOUBLINGS_MAX = 16
LATE_TIMEOUTS = 2.0  # how long an answer may still come after its request was given up


class Due:
    """One poll of one unit: its turns."""

    def __init__(self, poll: Poll, now_s: float) -> None:
        self.poll = poll
        self.at_s = now_s
        self.answers = 0
        self.every_s = 0.0  # mean interval of good answers
        self.refused = ""  # why the unit refused it the last time; "" when it did not
        self.missed = 0  # turns that were left out, because the bus had no time
        self._asked_s: float | None = None

    def asked(self, now_s: float) -> None:
        """Plan the next turn; turns that are past already are left out."""
        period = self.poll.period_s
        self.at_s += period
        if self.at_s <= now_s:
            behind = int((now_s - self.at_s) / period) + 1
            self.missed += behind
            self.at_s += behind * period

    def answered(self, asked_s: float) -> None:
        """Take note of a good answer to a request of that time."""
        self.answers += 1
        self.refused = ""
        if self._asked_s is not None:
            interval = asked_s - self._asked_s
            self.every_s += (interval - self.every_s) * (SMOOTHING if self.every_s else 1.0)
        self._asked_s = asked_s


def _at(due: Due) -> float:
    return due.at_s


class UnitState:
    """One unit."""

    def __init__(self, unit: Unit, now_s: float) -> None:
        self.unit = unit
        self.polls = {poll.name: Due(poll, now_s) for poll in unit.polls}
        self._dues = tuple(self.polls.values())
        self.online: bool | None = None  # None: neither heard nor missed enough
        self.heard = False  # since the start
        self.failing = 0  # requests in a row without a valid answer
        self.failures_in_a_row = 0  # polls, after their retries
        self.failures = 0
        self.exceptions = 0
        self.last_error = ""
        self.busy_s = 0.0
        self.lost_s = 0.0
        self.free_at_s = now_s  # not polled before: it failed
        self.late_until_s = now_s  # not asked anything before: a late answer may still come, or it wants a pause

    @property
    def offline(self) -> bool:
        """Return whether it is known not to answer."""
        return self.online is False

    def next_due(self) -> Due | None:
        """Return its poll whose turn is next."""
        dues = self._dues
        return dues[0] if len(dues) == 1 else min(dues, key=_at, default=None)

    def good(self) -> bool:
        """Take note of a valid answer; returns whether that is news of its presence."""
        news = self.online is not True
        self.online, self.heard = True, True
        self.failing = self.failures_in_a_row = 0
        return news

    def unsure(self, now_s: float) -> None:
        """Take note that a request was given up whose answer may still come."""
        self.late_until_s = max(self.late_until_s, now_s + LATE_TIMEOUTS * self.unit.timeout_s)

    def failed(self, why: str, now_s: float) -> bool:
        """Take note of a poll or write without a valid answer after its retries; True: it is offline with that."""
        self.failures += 1
        self.failures_in_a_row += 1
        self.last_error = why
        self.free_at_s = now_s + self._wait_s()
        if self.failures_in_a_row >= self.unit.after_failures and self.online is not False:
            self.online = False
            return True
        return False

    def _wait_s(self) -> float:
        """Return how long to leave it alone: its period, and when it is offline twice as long each time."""
        period = min((due.poll.period_s for due in self.polls.values()), default=1.0)
        longest = max(period, OFFLINE_TRY_S_MAX)
        if self.failures_in_a_row < self.unit.after_failures:
            return min(period, longest)
        doublings = min(self.failures_in_a_row - self.unit.after_failures, DOUBLINGS_MAX)
        return float(min(period * 2**doublings, longest))
