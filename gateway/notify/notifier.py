"""Sends what waits in the outbox: one message at a time for each recipient, recipients side by side.

Nothing leaves before its row and the mark that it is leaving are on the disk (a connection that can't be made leaves no
mark); what became of it is an event in the batch that takes the row away.  A kill in between sends it once more, under
the same id; after `CUTS_MAX` such cuts it is given up.  What fails is tried again with backoff until its time to live
is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gateway.backoff import Backoff
from gateway.clock import Clock, rfc3339
from gateway.codes.targets import NOT_TOLD, TOLD_TOO_OFTEN
from gateway.errors import probably_meant
from gateway.event import Event
from gateway.logs.about import about
from gateway.notify.carriers import Carriers
from gateway.notify.options import Directory
from gateway.notify.outbox import CUTS_MAX, HOUR_NS, Notice, Outbox
from gateway.rules.engine.notices import EXPIRED, FAILED, LIMITED, REQUESTED, SENT
from gateway.targets.target import Outcome, Verdict

log = logging.getLogger(__name__)

EXPIRY_CHECK_S_MAX = 30.0  # the machine may have slept
LATEST_MAX = 1000  # outcomes that somebody who asked may still wait for


class Notifier:
    """Everything between a wish to tell somebody and its end. Lives on the event loop's thread."""

    def __init__(
        self,
        directory: Directory,
        outbox: Outbox,
        carriers: Carriers,
        record: Callable[[Event], None],
        flush: Callable[[], Any],
        clock: Clock,
        *,
        gateway: str,
    ) -> None:
        """Wire it up.

        * `record(event)` appends an event to the open batch, which the outbox puts its rows into, too.
        * `flush()` is awaited: everything so far is on the disk then.
        """
        self.outbox = outbox
        self._directory = directory
        self._carriers = carriers
        self._record = record
        self._flush = flush
        self._clock = clock
        self._gateway = gateway
        self._news = {name: asyncio.Event() for name in directory.recipients}
        self._expiry = asyncio.Event()
        self._overdue: set[str] = set()  # ids that expired while they were sent
        self._said: dict[tuple[str, str], int] = {}  # (recipient, rule) -> when (boot clock) their limit was said
        self._asked: dict[str, asyncio.Future[str]] = {}  # by id, for who waits for the outcome
        self._retry_at: dict[str, float] = {}  # by recipient, loop time
        self.errors: dict[str, str] = {}  # of recipients that could not be reached the last time
        self.sent = 0
        self.failed = 0

    # ---- in -----------------------------------------------------------------------------------------

    def take(self, events: Sequence[Event]) -> None:
        """Keep what events ask for, in the batch they were appended to; what is to be said about it comes behind."""
        said: list[Callable[[], None]] = []
        for event in events:
            if event.type == REQUESTED and event.lane == "command":
                self._take(event, said)
        for say in said:
            say()

    def _take(self, request: Event, said: list[Callable[[], None]]) -> list[Notice]:
        notices = self.outbox.notices_of(request)
        if notices is None:
            name, text = str(request.data.get("to", "")), str(request.data.get("text", ""))
            hint = probably_meant(name, self._directory.names) or "see [notify] in the config"
            notice = Notice(id=request.id, request=request.id, to=name, text=text, hops=request.hops)
            said.append(partial(self._over, notice, FAILED, f"there is no recipient {name!r}, {hint}"))
            return []
        for notice in notices:
            wait = self.outbox.wait(notice)
            gone = self.outbox.add(notice)
            if wait.limited or gone:
                said.append(partial(self._limited, notice, wait.why or "too many wait: the oldest are dropped"))
            for each in gone:
                if each.rule != notice.rule or not each.rule:
                    said.append(partial(self._over, each, FAILED, "too many wait: it gave way to a newer one"))
                else:
                    self._answer(each, "dropped: too many wait")
            self._news[notice.to].set()
        self._expiry.set()
        return notices

    def ask(self, request: Event) -> list[tuple[Notice, asyncio.Future[str]]]:
        """Record a person's wish; the futures say what becomes of it."""
        self._record(request)
        loop = asyncio.get_running_loop()
        said: list[Callable[[], None]] = []
        found = [(notice, loop.create_future()) for notice in self._take(request, said)]
        for notice, answer in found[: max(0, LATEST_MAX - len(self._asked))]:
            self._asked[notice.id] = answer
        for say in said:
            say()
        return found

    def forget(self, notices: Sequence[Notice]) -> None:
        """Nobody waits for these outcomes any more."""
        for notice in notices:
            self._asked.pop(notice.id, None)

    def _limited(self, notice: Notice, why: str) -> None:
        """Say that a limit holds notifications back: once in an hour for a rule and a recipient."""
        at, now = (notice.to, notice.rule), self._clock.boot_ns()
        if at in self._said and now - self._said[at] < HOUR_NS:
            return
        self._said = {key: said for key, said in self._said.items() if now - said < HOUR_NS} | {at: now}
        whose = f" of rule {notice.rule}" if notice.rule else ""
        things = about(TOLD_TOO_OFTEN, rule=notice.rule)
        log.warning("notifications%s to %s are held back: %s", whose, notice.to, why, extra=things)
        self._record(self._event(LIMITED, notice, {"to": notice.to, "rule": notice.rule, "reason": why}))

    # ---- out ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send, until cancelled."""
        for notice in self.outbox.for_nobody():
            self._end(notice, FAILED, "the config has no such recipient any more")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_time(), name="gateway.notify[time]")
            for name in self._directory.recipients:
                tasks.create_task(self._serve(name), name=f"gateway.notify[{name}]")

    async def _serve(self, name: str) -> None:
        """Send what waits for one recipient, one after the other."""
        options = self._directory.recipients[name]
        backoff = Backoff(options.retry_first_s, options.retry_max_s)
        while True:
            self._news[name].clear()
            turn = self.outbox.turn(name)
            pause_s = self._retry_at.get(name, 0.0) - asyncio.get_running_loop().time()
            if turn.notice is None or pause_s > 0:
                wait_s = pause_s if turn.notice is not None else turn.wait_s
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s and min(wait_s, EXPIRY_CHECK_S_MAX)):
                        await self._news[name].wait()
                continue
            if turn.notice.cuts >= CUTS_MAX:
                self._end(turn.notice, FAILED, f"cut off {CUTS_MAX} times while it was sent: it may have arrived")
                continue
            outcome = await self._send(turn.notice)
            if outcome.verdict in (Verdict.DELIVERED, Verdict.REJECTED):
                backoff.reset()
            else:
                pause_s = backoff.next_s() if outcome.after is None else min(outcome.after, options.retry_max_s)
                self._retry_at[name] = asyncio.get_running_loop().time() + pause_s

    async def _send(self, notice: Notice) -> Outcome:
        """Send one notice and take note of what became of it."""
        self.outbox.sending[notice.to] = notice

        async def leaving() -> None:
            """Mark it on the disk, with everything it follows from; a gateway that ends before that sends nothing."""
            self.outbox.begin(notice)
            try:
                await self._flush()
            except asyncio.CancelledError:
                self.outbox.put_back(notice)
                raise

        try:
            outcome = await self._carriers.send(notice, leaving)
        finally:
            del self.outbox.sending[notice.to]
        if outcome.verdict is Verdict.DELIVERED:
            self.errors.pop(notice.to, None)
            self.sent += 1
            self._over(notice, SENT)
            self.outbox.done(notice)
        elif outcome.verdict is Verdict.REJECTED:
            self._over(notice, FAILED, outcome.reason)
            self.outbox.done(notice)
        else:
            if self.errors.get(notice.to) != outcome.reason:
                things = about(NOT_TOLD, rule=notice.rule)
                log.warning("notification to %s: %s; it is tried again", notice.to, outcome.reason, extra=things)
            self.errors[notice.to] = outcome.reason
            self.outbox.failed(notice, outcome.reason)
            if notice.id in self._overdue:
                self._end(notice, EXPIRED, outcome.reason)
            else:
                await self._flush()  # a kill from now on cuts nothing off
        self._overdue.discard(notice.id)
        return outcome

    async def _keep_time(self) -> None:
        """End what is not worth sending any more."""
        while True:
            for notice in self.outbox.expired():
                if self.outbox.sending.get(notice.to) is not None and self.outbox.sending[notice.to].id == notice.id:
                    self._overdue.add(notice.id)
                else:
                    self._end(notice, EXPIRED, notice.error or self.outbox.wait(notice).why)
            wait_s = min(self.outbox.next_expiry_s(), EXPIRY_CHECK_S_MAX)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s if math.isfinite(wait_s) else None):
                    await self._expiry.wait()
            self._expiry.clear()

    # ---- what became of it --------------------------------------------------------------------------

    def _end(self, notice: Notice, outcome: str, reason: str = "") -> None:
        """Say what became of a notice and take it out of the outbox, in one batch."""
        self._over(notice, outcome, reason)
        self.outbox.remove(notice)

    def _over(self, notice: Notice, outcome: str, reason: str = "") -> None:
        self.failed += outcome != SENT
        shown = {name: getattr(notice, name) for name in ("to", "text", "title", "key", "rule", "alert", "replaced")}
        data = {name: value for name, value in shown.items() if value}
        data |= {"attempts": notice.attempts + (outcome == SENT)} | ({"reason": reason} if reason else {})
        self._record(self._event(outcome, notice, data))
        self._answer(notice, "sent" if outcome == SENT else f"{outcome.removeprefix('notification_')}: {reason}")

    def _answer(self, notice: Notice, outcome: str) -> None:
        asked = self._asked.pop(notice.id, None)
        if asked is not None and not asked.done():
            asked.set_result(outcome)

    def _event(self, event_type: str, notice: Notice, data: dict[str, Any]) -> Event:
        return Event(
            source=f"/{self._gateway}/notify",
            type=event_type,
            subject=notice.subject,
            time=rfc3339(self._clock.wall_ns()),
            actor="gateway",
            cause=notice.request,
            hops=notice.hops,
            data=data,
        )
