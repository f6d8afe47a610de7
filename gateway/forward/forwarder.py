"""One route on its way to its target: cursor -> batch -> target -> outcome. Alarms first, per device in order.

What leaves first: alarms, then what is told of dropped events (drops.py), then telemetry; with ``order = "fresh"`` what
is live of a lane before its backlog (progress.py).

What an outcome does:

==========  =========================================================================================================
delivered   the cursor moves; it rides on the next block, or asks for one when half the window waits for it
rejected    a dead letter and the cursor, in one block
retry       others passed: that event and its device wait (full jitter, or as long as the target said); failed
            `retries_max` times so, it is parked, retried alone, and a dead letter after `attempts_max`
retry, all  nobody passed: the route backs off; then one small sending tries, and all goes on when it passes
down        the route waits for `target.ready()`, then goes on from the first event that is not over
stop        credentials, permission, no such place: nothing is lost for it; asked again every `refused_retry_s`
==========  =========================================================================================================

An event that fails alone, again and again, is parked once it is shown that others pass (circuit.py): a poison event
stops a route for some seconds, and a cloud that is away parks nothing.

Bounds: `window_max` events exposed to a repeat (a tenth of it kept for alarms), READ_MAX read ahead a lane,
`parked_max` in the retry list, `target.windows` sends in flight a lane.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, Protocol

import msgspec

from gateway.clock import Clock, rfc3339
from gateway.errors import DiskRefused
from gateway.event import Lane
from gateway.forward.answered import Answered
from gateway.forward.circuit import Circuit
from gateway.forward.dead_letter import Refusal
from gateway.forward.drops import Drops
from gateway.forward.judgement import Judgement
from gateway.forward.lane import RouteLane
from gateway.forward.log import UNREADABLE_S, Log, Record
from gateway.forward.order import Order
from gateway.forward.progress import Progress
from gateway.forward.sending import Sending
from gateway.logs import chain
from gateway.progress import Mark
from gateway.quantity import counted
from gateway.routes import Lookup, Route, Selection
from gateway.targets.target import Target

log = logging.getLogger(__name__)

State = Literal["starting", "sending", "idle", "waiting", "refused", "backing off"]


class Commits(Protocol):
    """What a route needs of the committer."""

    before_seal: list[Callable[[], None]]

    def wake(self, urgent: bool = False) -> None:
        """Say that the open batch has something; urgent: commit now."""
        ...


class ForwarderStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a route is. Counters are since start."""

    name: str
    target: str
    state: State
    since: str  # in this state, RFC 3339
    delivered: int
    rejected: int  # dead letters
    retried: int  # events sent again
    in_flight: int
    waiting: int  # for a retry, with what waits behind them
    parked: int
    backlog: dict[str, int]  # records that are not over, by lane
    over_through: dict[str, int]  # the sequence up to which everything is over, by lane
    last_error: str | None
    last_error_at: str | None


class Forwarder:
    """Carries the events of one route to its target. Lives on the event loop's thread."""

    def __init__(
        self,
        name: str,
        route: Route,
        target: Target,
        log: Log,
        commits: Commits,
        clock: Clock,
        *,
        lookup: Lookup | None = None,
        gateway: str = "",
        rest_of: Collection[str] | None = None,
    ) -> None:
        """`rest_of`: all routes, for the one that tells what was dropped of none of theirs (drops.rest_told_by)."""
        self.name = name
        self.route = route
        self.selection = Selection(route, lookup)
        self._target = target
        self._log = log
        self._commits = commits
        self._clock = clock
        self.progress = [Progress(name, route, log, lane, self.selection) for lane in route.reads]
        self._by_key = {progress.key: progress for progress in self.progress}
        self._drops = Drops(name, route, log, clock, gateway=gateway, rest_of=rest_of)
        plain = Route(to=route.to, topic=route.topic)
        self._telling = Progress(name, plain, self._drops, Lane.ALARM, Selection(plain))
        leaving = list(self.progress)
        leaving.insert(sum(lane is Lane.ALARM for lane in route.reads), self._telling)
        self._leaving: Sequence[Progress] = leaving
        self._lanes = [lane for progress in leaving for lane in progress.lanes]
        self._circuit = Circuit(route, target.batch_max)
        self._order = Order(route, leaving, self._circuit, target.windows)
        self._judgement = Judgement(name, route, leaving, self._circuit, log, clock)
        self.answered = Answered(clock)
        self._more = asyncio.Event()
        self._quiet = asyncio.Event()
        self._given_up = asyncio.Event()  # the journal has given up something that may be in memory
        self._closing = False
        self._dirty = False  # there are cursors to put
        self._asked = False  # for a commit, and it has not come
        self._retried = 0
        self._retold = 0  # times that what is read ahead was corrected
        self._state: State = "starting"
        self._since_ns = clock.wall_ns()
        commits.before_seal.append(self.put_cursors)

    async def run(self) -> None:
        """Forward until cancelled (or `finish`)."""
        loop = asyncio.get_running_loop()
        circuit = self._circuit
        circuit.down, circuit.away_since = True, loop.time()
        for progress in self._leaving:
            progress.outage_over(self._log.durable_sequence)  # these waited while nobody ran
        if any(progress.is_new for progress in self.progress):
            self._moved()  # from here on the journal keeps for this route
        async with asyncio.TaskGroup() as tasks:
            checking = tasks.create_task(self._keep_checked(), name=f"gateway.forward[{self.name}].check")
            while not self._closing:
                if circuit.down and not self._order.in_flight():
                    await self._come_back(loop)
                self._more.clear()
                now = loop.time()
                self._tell_drops(now)
                if self._send_all(tasks, now):
                    await asyncio.sleep(0)
                else:
                    await self._sleep(loop, now)
            checking.cancel()

    def durable(self, batch: int) -> None:
        """Take note that a batch of the journal is on the disk: there may be new events, and cursors of ours."""
        self._drops.durable(batch)
        for progress in self._leaving:
            progress.durable(batch)
        self._look()
        self._asked = False
        self._more.set()

    def retell(self, told: Callable[[bytes, int], bytes]) -> None:
        """Correct what was read and is not under way: the clock is known now. What may have arrived keeps its id."""
        self._retold += 1
        replace = msgspec.structs.replace
        for lane in self._lanes:
            lane.rewrite(told)
            lane.waiting = [(n, replace(each, raw=told(each.raw, each.sequence))) for n, each in lane.waiting]

    def put_cursors(self) -> None:
        """Put the cursors into the open batch; the committer calls it before each seal."""
        if self._dirty:
            self._dirty = False
            for progress in self._leaving:
                progress.put()

    async def finish(self, timeout_s: float) -> None:
        """Send nothing more and wait for what is in flight, at most so long. The next commit has the cursor."""
        self._closing = True
        self._more.set()
        try:
            async with asyncio.timeout(timeout_s):
                while self._order.in_flight():
                    self._quiet.clear()
                    await self._quiet.wait()
        except TimeoutError:
            unanswered = counted(self.status().in_flight, "event")
            log.info("route %s: %s without an answer at the end: they go again after a start", self.name, unanswered)

    @property
    def caught_up(self) -> bool:
        """Whether the target takes what comes and nothing durable waits: what is not urgent may leave now."""
        return not (self._circuit.down or self._circuit.trouble) and all(each.caught_up for each in self.progress)

    def mark(self) -> Mark:
        """Return how the route gets on. Its work is what is under way; waiting for a target is not."""
        said = self._target.status()
        under_way = sum(len(lane.in_flight) for lane in self._lanes)
        reading = any(lane.reading for lane in self._lanes)
        answered: Any = said.get("answered", said.get("requests", 0))
        unnoticed = self._state == "waiting" and said.get("connected") is True
        done = self._judgement.delivered + self._judgement.rejected + self._retried + answered
        what = f"{under_way} sends without an answer" if under_way else "the target is there, and nothing is sent"
        return Mark(bool(under_way or reading or unnoticed), done, what, self._target.patience_s)

    def status(self) -> ForwarderStatus:
        """Say how the route is."""
        error, at_ns = self._judgement.last_error or (None, 0)
        return ForwarderStatus(
            name=self.name,
            target=self.route.to,
            state=self._state,
            since=rfc3339(self._since_ns),
            delivered=self._judgement.delivered,
            rejected=self._judgement.rejected,
            retried=self._retried,
            in_flight=sum(len(sending.events) for lane in self._lanes for sending in lane.in_flight),
            waiting=sum(len(lane.waiting) for lane in self._lanes),
            parked=sum(len(lane.parked) for lane in self._lanes),
            backlog={each.lane.name.lower(): each.backlog() for each in self.progress},
            over_through={each.lane.name.lower(): each.over_through() for each in self.progress},
            last_error=error,
            last_error_at=rfc3339(at_ns) if error else None,
        )

    def _send_all(self, tasks: asyncio.TaskGroup, now: float) -> bool:
        """Launch what may leave now; return whether reading on may bring more."""
        while True:
            for progress in self.progress:
                progress.open_head()
            for lane in self._lanes:  # the alarm lane is read before each sending
                self._read_on(lane, tasks)
            sending = None if self._circuit.down or self._closing else self._order.next(now)
            if sending is None:
                return any(not lane.ahead and lane.wants() for lane in self._lanes)  # this route's are yet to come
            sending.passes = self._circuit.passes
            if sending.origin != "fresh":
                sending.passes = sending.lane.failed_at
                self._retried += len(sending.events)
            self._enter(self._circuit.trouble or "sending")
            tasks.create_task(self._send(sending), name=f"gateway.forward[{self.name}].send")

    def _read_on(self, lane: RouteLane, tasks: asyncio.TaskGroup) -> None:
        """Read ahead: from memory at once, from the disk on another thread while what is ahead leaves."""
        if not lane.wants():
            return
        durable = self._log.durable_sequence
        if lane.young():
            if not lane.ahead:
                self._received(lane, lane.read(), durable)
        else:
            lane.reading = True
            tasks.create_task(self._read_old(lane, durable), name=f"gateway.forward[{self.name}].read")

    async def _read_old(self, lane: RouteLane, durable: int) -> None:
        position, retold = lane.position, self._retold
        try:
            records = await asyncio.to_thread(lane.read)
        except DiskRefused:  # they are there when the disk is
            await asyncio.sleep(UNREADABLE_S)
            self._more.set()
            return
        finally:
            lane.reading = False
        if lane.position == position and retold == self._retold:  # else it has gone on, or was told too early
            self._received(lane, records, durable)
        self._more.set()
        self._look()

    def _look(self) -> None:
        if any(progress.to_check for progress in self.progress):
            self._given_up.set()

    async def _keep_checked(self) -> None:
        """Forget what the journal has given up, as soon as it has, outage or not: it is counted as dropped."""
        while True:
            await self._given_up.wait()
            self._given_up.clear()
            for progress in self.progress:
                held = progress.begin_check() if progress.to_check else None
                if held is None:  # nothing to do, or a read is under way: again when it is over
                    continue
                gone = await asyncio.to_thread(progress.missing, held) if held else set()
                progress.checked(gone)
                for lane in progress.lanes:
                    self._circuit.forget(lane, gone)
                if gone:
                    self._moved()
                self._more.set()

    def _tell_drops(self, now: float) -> None:
        """Make events of what was dropped, when the target is there to be told."""
        if self._circuit.down:
            return
        for cursor, key in self._drops.make(now, self._settled):
            if progress := self._by_key.get(cursor):
                progress.told(key)
            self._commits.wake(urgent=True)

    def _settled(self, cursor: str) -> bool:
        progress = self._by_key.get(cursor)
        settled = progress is None or progress.settled
        self._look()
        return settled

    def _received(self, lane: RouteLane, records: Sequence[Record], durable: int) -> None:
        lane.received(records, durable)
        unreadable = lane.take_unreadable()
        if unreadable:  # nothing waits behind them
            why = "it can't be read as an event"
            self._judgement.dead_letters([Refusal(record.raw, record.sequence, why, 0) for record in unreadable])
            self._moved()

    async def _send(self, sending: Sending) -> None:
        loop = asyncio.get_running_loop()
        began, followed = loop.time(), chain.followed()
        if followed:
            chain.leaves(self.name, self.route.to, sending.events)
        outcomes = await self._target.send(sending.events)
        if len(outcomes) != len(sending.events):
            raise AssertionError(f"{self.route.to}: {len(outcomes)} outcomes for {len(sending.events)} events")
        took_s = loop.time() - began
        if followed:
            said = (f"{each.verdict.value} {each.reason}".rstrip() for each in outcomes)
            chain.answered(self.name, self.route.to, sending.events, said, took_s)
        self.answered.note(sending, outcomes, took_s)
        self._judgement.settle(sending, outcomes, began + took_s)
        self._moved()
        self._enter(self._circuit.trouble or ("sending" if self._order.in_flight() else "idle"))
        self._quiet.set()
        self._more.set()

    async def _sleep(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        """Wait until something is durable, a sending is over, or something is due."""
        due = min((each for each in (self._order.due(now), self._drops.next_due) if each is not None), default=None)
        timer = None if due is None else loop.call_at(due, self._more.set)
        try:
            await self._more.wait()
        finally:
            if timer:
                timer.cancel()

    async def _come_back(self, loop: asyncio.AbstractEventLoop) -> None:
        self._enter("waiting")
        await self._target.ready()
        self._circuit.came_back()
        self._judgement.back_again(loop.time())
        self._enter(self._circuit.trouble or "idle")

    def _moved(self) -> None:
        """See that the cursors are put with what was just appended, and committed before the window is used up.

        The first put makes the open batch worth a commit; the hook before its seal renews it. Dead letters make it
        worth an earlier one, so each time the committer is told.
        """
        if not self._dirty:
            for progress in self._leaving:
                progress.put()
            self._dirty = True
        self._commits.wake()
        if not self._asked:
            over = sum(each.exposed - each.unresolved for each in self._leaving)
            if over * 2 >= self.route.window_max:
                self._asked = True
                self._commits.wake(urgent=True)

    def _enter(self, state: State) -> None:
        if state != self._state:
            self._state = state
            self._since_ns = self._clock.wall_ns()
            self._judgement.entered(state)
