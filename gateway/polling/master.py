"""The master of one half-duplex bus: what is asked next, what an answer belongs to, who gets no more time. Pure.

One request is in flight.  Before each the line is silent for the gap the protocol wants (3.5 characters).  Writes go
first, but after `WRITES_IN_A_ROW_MAX` a poll has its turn.  Of the polls the one whose turn came first is asked, so
that on a bus with too much to do everybody waits alike; turns that are past are left out and counted.

A unit that does not answer is tried again at once, `retries` times, then left alone; what all such units together
take from the others is bounded by `budget.LOST_SHARE`.  After its last try no request goes to it while its late
answer may still come: on Modbus nothing tells a late answer from a new one.  Answers of other units, noise and echoes
of our own bytes are passed over; they end the wait early when the line is silent behind them.

The caller owns clock and line: it calls `step` when `wake_s` has come or something was fed, sends what it returns,
`feed`s what comes, and takes the `outcomes`. Times are seconds of a clock that does not step.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gateway.polling.budget import Budget
from gateway.polling.outcome import Outcome, Polled, Presence, Written
from gateway.polling.plan import WRITES_MAX, Choice, Unit, Write
from gateway.polling.request import BROADCAST, Answer, Request, Wire
from gateway.polling.unit import Due, UnitState

WRITES_IN_A_ROW_MAX = 8  # then one poll that is due has its turn
GAP_CHARACTERS = 3.5
GAP_S_MIN = 0.00175  # above 19,200 baud the gap does not shrink any more
CHARACTER_BITS = 11
NOISE_SILENCE_S = 0.1  # silence behind bytes that are no answer: none will come
TURNAROUND_S = 0.1  # behind a broadcast, for the units to do it
JABBER_S_MAX = 0.5  # a line that is never silent is not waited for any longer
OUTCOMES_MAX = 1000  # that nobody took; the oldest go first
RECEIVED_BYTES_MAX = 1024  # kept of what comes during one request


class Line(NamedTuple):
    """The line's own times."""

    baud: int = 9600
    gap_s: float = 0.0  # longer than the protocol's, for units that need it

    @property
    def character_s(self) -> float:
        """Return how long a character takes."""
        return CHARACTER_BITS / self.baud

    @property
    def silence_s(self) -> float:
        """Return how long the line is silent before a request."""
        return max(GAP_CHARACTERS * self.character_s, GAP_S_MIN, self.gap_s)


class _Work:
    """What is being done with one unit: a poll, or a write with all its requests."""

    def __init__(self, unit: UnitState, write: Write | None = None) -> None:
        self.unit, self.write = unit, write
        self.blocks: dict[str, bytes] = {}  # answers of polls read for a `Choice`
        self.stages: Iterator[tuple[Due | None, Request]] = iter(())
        self.due: Due | None = None
        self.request = Request(0, 0, 0)
        self.begun = False  # of a write: `request` is its next one
        self.done = False  # of a write: what is left only reads it back
        self.tries_left = 0
        self.tried = False
        self.asked_s = 0.0


class Refused(Exception):
    """A write that can't be done, with why."""


class Master:
    """One bus. What goes wrong is counted in `strays` (by kind) and in each unit."""

    def __init__(self, wire: Wire, units: Sequence[Unit], line: Line, now_s: float) -> None:
        self.line = line
        self.units = {unit.address: UnitState(_polled(unit), now_s) for unit in units}
        self._polled = [unit for unit in self.units.values() if unit.polls]
        self.outcomes: deque[Outcome] = deque(maxlen=OUTCOMES_MAX)
        self.strays: Counter[str] = Counter()
        self.budget = Budget(max((unit.timeout_s for unit in units), default=0.0), now_s)
        self.busy_s = 0.0
        self.requests = 0
        self.echoes = False  # the line gives our own bytes back
        self._wire = wire
        self._writes: deque[_Work] = deque()
        self._writes_in_a_row = 0
        self._work: _Work | None = None  # in flight, or to be repeated
        self._waiting = False  # for an answer
        self._received = bytearray()
        self._frame = b""
        self._deadline_s = 0.0
        self._quiet_until_s = now_s
        self._held_since_s: float | None = None  # a request waits for the line to be silent
        self._started_s = now_s

    # -- what the caller does ------------------------------------------------------------------------------

    def write(self, address: int, write: Write) -> str:
        """Take a write; returns why not, or nothing. What became of it is an outcome `Written`."""
        unit = self.units.get(address)
        if unit is None:
            return f"there is no unit {address} on this bus"
        if unit.offline:
            return f"unit {address} does not answer"
        if len(self._writes) >= WRITES_MAX:
            return f"{WRITES_MAX} writes are waiting already"
        work = _Work(unit, write)
        work.stages = self._stages(work)
        self._writes.append(work)
        return ""

    def step(self, now_s: float) -> bytes | None:
        """Return the bytes to send now, if there are any."""
        if self._waiting:
            if now_s < self._deadline_s:
                return None
            self._unanswered(now_s)
        if now_s < self._quiet_until_s:
            self._held_since_s = now_s if self._held_since_s is None else self._held_since_s
            if now_s - self._held_since_s < JABBER_S_MAX:
                return None
        self._held_since_s = None
        work = self._work or self._choose(now_s)
        return None if work is None else self._ask(work, now_s)

    def feed(self, data: bytes, now_s: float) -> None:
        """Take what came on the line."""
        self._quiet_until_s = max(self._quiet_until_s, now_s + self.line.silence_s)
        work = self._work
        if not self._waiting or work is None:
            self.strays["unasked"] += 1
            return
        self._received += data[: RECEIVED_BYTES_MAX - len(self._received)]
        received = self._without_echo(work.request)
        answer = self._wire.find(received, work.request)
        if answer is not None:
            self._answered(work, answer, now_s)
        elif received:
            enough = len(received) >= self._wire.reply_bytes(work.request)
            rest_s = 0.0 if enough else self.line.character_s * self._wire.reply_bytes(work.request)
            self._deadline_s = min(self._timeout_at_s, now_s + NOISE_SILENCE_S + rest_s)

    def lost(self, now_s: float) -> None:
        """Take note that the line is gone: what was in flight is forgotten, writes are refused, nobody is blamed."""
        writes = [work for work in (self._work, *self._writes) if work is not None and work.write is not None]
        self._work, self._waiting = None, False
        self._writes.clear()
        self._quiet_until_s = now_s
        for work in writes:
            self._end(work, "the line was lost")

    def away(self) -> None:
        """Take note that the line is gone for longer: nobody on it can be reached, though none is to blame."""
        for address, unit in self.units.items():
            if unit.online is not False and address != BROADCAST:
                self.outcomes.append(Presence(address, False, unit.online is None))
                unit.online = False

    def wake_s(self, now_s: float) -> float:
        """Return when to call `step` again if nothing comes."""
        if self._waiting:
            return self._deadline_s
        times = [work.unit.late_until_s for work in self._writes]
        times += [self._turn_s(unit, due, now_s) for unit in self._polled if (due := unit.next_due())]
        first = now_s if self._work is not None else min(times, default=math.inf)
        return max(first, self._quiet_until_s, now_s)

    def shares(self, now_s: float) -> tuple[float, float]:
        """Return the shares of the time since the start: in use, and lost on units that did not answer."""
        since = max(now_s - self._started_s, 1e-9)
        return self.busy_s / since, self.budget.lost_s / since

    # -- whose turn it is ----------------------------------------------------------------------------------

    def _choose(self, now_s: float) -> _Work | None:
        while True:
            poll = self._next_poll(now_s)
            write = next((work for work in self._writes if work.unit.late_until_s <= now_s), None)
            if write is None or (poll is not None and self._writes_in_a_row >= WRITES_IN_A_ROW_MAX):
                self._writes_in_a_row = 0
                return self._taken(poll, now_s) if poll is not None else None
            self._writes_in_a_row += 1
            self._writes.remove(write)
            if write.begun or self._go_on(write, now_s):
                return write

    def _next_poll(self, now_s: float) -> tuple[UnitState, Due] | None:
        """Return the poll whose turn came first, of those whose turn it is."""
        found, first = None, math.inf
        for unit in self._polled:
            due = unit.next_due()
            if due is None or due.at_s > now_s or self._turn_s(unit, due, now_s) > now_s:
                continue
            since = max(due.at_s, unit.free_at_s)
            if since < first:
                found, first = (unit, due), since
        return found

    def _taken(self, turn: tuple[UnitState, Due], now_s: float) -> _Work:
        unit, due = turn
        due.asked(now_s)
        work = _Work(unit)
        work.due, work.request = due, due.poll.request
        work.tries_left = 0 if unit.offline else unit.unit.retries
        return work

    def _turn_s(self, unit: UnitState, due: Due, now_s: float) -> float:
        """Return when a unit may be polled."""
        turn = due.at_s
        if unit.free_at_s > turn or unit.late_until_s > turn:
            turn = max(unit.free_at_s, unit.late_until_s)
        return max(turn, self.budget.when(unit.unit.timeout_s, now_s)) if unit.failing else turn

    # -- one request ---------------------------------------------------------------------------------------

    @property
    def _timeout_at_s(self) -> float:
        assert self._work is not None
        expected = len(self._frame) + self._wire.reply_bytes(self._work.request)
        return self._work.asked_s + expected * self.line.character_s + self._work.unit.unit.timeout_s

    def _ask(self, work: _Work, now_s: float) -> bytes:
        self._work, self._waiting = work, True
        self._received.clear()
        self._frame = self._wire.frame(work.request)
        self.requests += 1
        work.asked_s = now_s
        self._deadline_s = self._timeout_at_s
        if work.request.address == BROADCAST:
            self._deadline_s = now_s + len(self._frame) * self.line.character_s + TURNAROUND_S
        self._quiet_until_s = now_s + len(self._frame) * self.line.character_s
        return self._frame

    def _without_echo(self, request: Request) -> bytes:
        """Return what was received without our own bytes. Only a read shows for sure that the line echoes."""
        received = bytes(self._received)
        if received.startswith(self._frame) and (self.echoes or not request.data):
            self.echoes = True
            return received[len(self._frame) :]
        return received

    def _answered(self, work: _Work, answer: Answer, now_s: float) -> None:
        unit = work.unit
        self._waiting, self._work = False, None
        self._count_time(work, now_s)
        if work.tried:
            unit.unsure(now_s)  # this may be the late answer to the first try; the other one comes then
        if answer.absent:
            self._given_up(work, answer.refused, now_s)
            return
        first = not unit.heard
        if unit.good():
            self.outcomes.append(Presence(unit.unit.address, True, first))
        if answer.refused:
            unit.exceptions += 1
            if work.due is not None:
                work.due.refused = answer.refused
            unit.last_error = f"{_what(work)}: {answer.refused}"
            self._end(work, unit.last_error, final=answer.final)
            return
        if work.due is not None:
            if work.write is None:
                work.due.answered(work.asked_s)
            work.blocks[work.due.poll.name] = answer.data
            self.outcomes.append(Polled(unit.unit.address, work.due.poll.name, answer.data))
        self._proceed(work, now_s)

    def _unanswered(self, now_s: float) -> None:
        """End a request whose time is over without its answer: once more, or never mind."""
        work = self._work
        assert work is not None
        self._waiting, self._work = False, None
        self._count_time(work, now_s)
        if work.request.address == BROADCAST:
            self._proceed(work, now_s)
            return
        unit, why = work.unit, self._wire.why(self._without_echo(work.request), work.request)
        self.strays[_kind(why)] += 1
        spent = now_s - work.asked_s
        unit.lost_s += spent
        unit.failing += 1
        self.budget.spend(spent, now_s)
        if work.tries_left > 0 and self.budget.allows(unit.unit.timeout_s, now_s):
            work.tries_left -= 1
            work.tried = True
            self._work = work
            return
        unit.unsure(now_s)
        self._given_up(work, why, now_s)

    def _given_up(self, work: _Work, why: str, now_s: float) -> None:
        unit = work.unit
        unit.failing = max(unit.failing, 1)
        first = unit.online is None
        if unit.failed(f"{_what(work)}: {why}", now_s):
            self.outcomes.append(Presence(unit.unit.address, False, first))
        self._end(work, unit.last_error)

    def _count_time(self, work: _Work, now_s: float) -> None:
        self.busy_s += now_s - work.asked_s
        work.unit.busy_s += now_s - work.asked_s
        work.unit.late_until_s = max(work.unit.late_until_s, now_s + work.unit.unit.pause_s)
        self._quiet_until_s = max(self._quiet_until_s, now_s + self.line.silence_s)

    # -- writes --------------------------------------------------------------------------------------------

    def _stages(self, work: _Work) -> Iterator[tuple[Due | None, Request]]:
        """Yield the requests of a write: what a choice depends on, the write itself, what confirms it."""
        write, unit = work.write, work.unit
        assert write is not None
        for step in write.steps:
            data = step.data
            if step.choice is not None:
                due = unit.polls.get(step.choice.poll)
                if due is None:
                    raise Refused(f"there is no poll {step.choice.poll!r}")
                yield due, due.poll.request
                data = _chosen(step.choice, work.blocks[step.choice.poll])
            yield None, Request(unit.unit.address, step.function, step.start, step.count, data)
        work.done = True
        for due in _of(unit, write.confirm):
            yield due, due.poll.request

    def _proceed(self, work: _Work, now_s: float) -> None:
        """Go on with a write, if it is one; when a late answer may still come, others have their turn first."""
        if work.write is None or not self._go_on(work, now_s):
            return
        if work.unit.late_until_s > now_s:
            self._writes.appendleft(work)
        else:
            self._work = work

    def _go_on(self, work: _Work, now_s: float) -> bool:
        """Prepare the next request of a write; False when it is over."""
        unit, write = work.unit, work.write
        assert write is not None
        if unit.offline:
            self._end(work, f"unit {unit.unit.address} does not answer")
            return False
        try:
            work.due, work.request = next(work.stages)
        except StopIteration:
            for due in _of(unit, write.confirm) if write.within_s else ():
                due.at_s = min(due.at_s, now_s + write.within_s / 2)
            self._end(work, "")
            return False
        except Refused as error:
            self._end(work, str(error), final=True)
            return False
        work.tries_left = 0 if write.once and work.due is None else unit.unit.retries
        work.begun, work.tried = True, False
        return True

    def _end(self, work: _Work, refused: str, *, final: bool = False) -> None:
        """Say what became of a write. One that was done stays done when it could not be read back."""
        if work.write is not None:
            self.outcomes.append(Written(work.unit.unit.address, work.write, "" if work.done else refused, final))


def _polled(unit: Unit) -> Unit:
    """Return a unit without polls if it is everybody: nobody answers for all."""
    return unit._replace(polls=()) if unit.address == BROADCAST else unit


def _of(unit: UnitState, names: Sequence[str]) -> list[Due]:
    return [unit.polls[name] for name in names if name in unit.polls]


def _what(work: _Work) -> str:
    return work.due.poll.name if work.due else "write"


def _chosen(choice: Choice, block: bytes) -> bytes:
    """Return the data for the value of a register. Raises Refused when it is none that is expected."""
    value = str(int.from_bytes(block[choice.at : choice.at + 2], "big"))
    data = choice.data.get(value)
    if data is None:
        raise Refused(f"register {choice.poll}/{choice.at // 2} is {value}, none of {', '.join(choice.data)}")
    return data


def _kind(why: str) -> str:
    """Return a reason without its numbers, to count by."""
    for kind in ("no answer", "bad checksum", "cut-off", "another request", "an answer of unit"):
        if kind in why:
            return {"an answer of unit": "other unit"}.get(kind, kind)
    return "noise"
