"""Calls to web services that rules asked for: made when they are on the disk, answered to the rule that asked.

A call is a record ``http_requested`` of the lane COMMAND; what comes of it is a record ``http_answered`` of the lane
TIMER, which is the gateway's own and leaves by no route.  It is derived from the call and written in the block in which
the call is over, so a rule hears of it exactly once.

What can be repeated is tried until there is an answer that is one (not 408, 425, 429 or 5xx) or its time limit is over:
at least once, always under the same Idempotency-Key.  What can't (``once``) is marked in the table "http" before it
leaves; whoever finds the mark at start says that nobody knows.

Nothing but the services of the config is called, whatever stands in the record; redirects are not followed.  Secrets
are in no record and no log, and are cut out of what a service sends back.

Bounds: `WAITING_MAX` calls wait in memory, later ones are read from the journal when there is room; calls to one
service are made one at a time, `per_minute_max` a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from gateway.backoff import Backoff
from gateway.clock import NS_PER_S, Clock, rfc3339, wall_ns_of
from gateway.codes.service import GATEWAY_FAULT
from gateway.commands.position import Position
from gateway.commands.web_services import WebServiceOptions
from gateway.errors import ConfigError, DiskRefused, ProtocolError, TargetDown
from gateway.event import Event, Lane, decode, derived_id
from gateway.journal.committer import Committer
from gateway.journal.journal import Journal
from gateway.logs.about import about
from gateway.rules.language.endpoints import resolve
from gateway.rules.records import HTTP_ANSWERED, HTTP_REQUESTED
from gateway.targets.http_answer import retry_after_s
from gateway.targets.http_connection import Answer
from gateway.targets.http_pool import HttpPool, NotConnected

log = logging.getLogger(__name__)

WAITING_MAX = 200  # calls, of all services
READ_MAX = 50
READ_BYTES_MAX = 1024 * 1024
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})  # no answer, but a reason to ask again
RETRY_FIRST_S, RETRY_MAX_S = 1.0, 60.0
RETRY_AFTER_MAX_S = 3600.0  # that a server may ask for
IDLE_S = 50.0  # an unused connection is closed
MINUTE_S = 60.0
RECORD_BYTES_MAX = 128 * 1024  # of an answer's body in a record, where escapes make it longer
TABLE = "http"  # marks of what is sent at most once
GIVEN_BACK = ("endpoint", "method", "rule", "then", "arguments", "scope", "device")


class _Call:
    """One call that waits for its turn."""

    def __init__(self, sequence: int, event: Event) -> None:
        self.sequence = sequence
        self.event = event
        self.tries = 0
        self.due = 0.0  # loop time
        self.last: Answer | None = None
        self.why = ""

    @property
    def order(self) -> tuple[float, int]:
        return self.due, self.sequence


class _Service:
    """One web service: its connections, the calls that wait for it, and when the last ones were made."""

    def __init__(self, options: WebServiceOptions, clock: Clock) -> None:
        self.options = options
        self.pool = HttpPool(options.server, options.connect_timeout_s, options.answer_timeout_s, clock)
        self.backoff = Backoff(RETRY_FIRST_S, RETRY_MAX_S)
        self.waiting: list[_Call] = []
        self.made: deque[float] = deque(maxlen=options.per_minute_max)
        self.more = asyncio.Event()

    def wait_s(self, now: float) -> float | None:
        """Return how long it is to the next call; None when none waits."""
        if not self.waiting:
            return None
        due = min(call.due for call in self.waiting)
        if len(self.made) == self.options.per_minute_max:
            due = max(due, self.made[0] + MINUTE_S)
        return max(0.0, due - now)


class WebCalls:
    """Makes the calls. Lives on the event loop's thread."""

    def __init__(
        self,
        journal: Journal,
        committer: Committer,
        services: Mapping[str, WebServiceOptions],
        record: Callable[[Event], None],
        clock: Clock,
        *,
        gateway: str,
        observe: bool = False,
    ) -> None:
        """Wire it up. `observe`: nothing is called, calls are recorded."""
        self._journal = journal
        self._committer = committer
        self._services = {name: _Service(options, clock) for name, options in services.items()}
        self._endpoints = {name: options.endpoint for name, options in services.items()}
        self._record = record
        self._clock = clock
        self._gateway = gateway
        self.observe = observe
        self._reader = journal.reader(Lane.COMMAND, given_up=True)  # as stored
        self._position = Position(journal, "commands:http")
        self._waiting: dict[int, _Call] = {}
        self._marks = dict(journal.table(TABLE))  # of an earlier life
        self._more = asyncio.Event()
        self._tried = asyncio.Event()  # a call was made, whatever came of it
        self.answered = 0
        self.failed = 0
        self.observed = 0
        committer.before_seal.append(self._put_cursor)

    @property
    def waiting(self) -> int:
        """Return how many calls wait for their answers."""
        return len(self._waiting)

    def wake(self) -> None:
        """Say that something became durable."""
        self._more.set()

    async def run(self) -> None:
        """Make calls until cancelled."""
        self._more.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(), name="gateway.http[read]")
                for name, service in self._services.items():
                    tasks.create_task(self._serve(name, service), name=f"gateway.http[{name}]")
        finally:
            for service in self._services.values():
                service.pool.close()

    async def quiet(self, timeout_s: float) -> None:
        """Return when no call is under way, at most after so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while len(self._waiting) > sum(len(service.waiting) for service in self._services.values()):
                    self._tried.clear()
                    await self._tried.wait()

    def forget(self) -> None:
        """Put the cursor a last time: another takes over from there."""
        self._put_cursor()
        self._committer.before_seal.remove(self._put_cursor)

    async def _read(self) -> None:
        """Take calls from the journal, as many as there is room for."""
        while True:
            await self._more.wait()
            self._more.clear()
            while len(self._waiting) < WAITING_MAX:
                try:
                    stored = self._reader.read(self._position.after, READ_MAX, READ_BYTES_MAX)
                except DiskRefused:  # they are there when the disk is; its first commit wakes us
                    break
                for record in stored:
                    event = decode(record.raw)
                    if event.type == HTTP_REQUESTED and not self._position.was_over(record.sequence):
                        self._take(_Call(record.sequence, event))
                    self._position.after = record.sequence
                if len(stored) < READ_MAX:
                    break
                await asyncio.sleep(0)

    def _take(self, call: _Call) -> None:
        """Let a call wait for its turn, unless it is over at once."""
        data, self._waiting[call.sequence] = call.event.data, call
        service = self._services.get(data.get("endpoint", ""))
        if self.observe or data.get("observe"):
            self._observed(call)
        elif self._marks.pop(call.event.id, None) is not None:
            self._over(call, error="cut off while it was sent: nobody knows whether it arrived")
        elif service is None:
            self._over(call, error=f"there is no service {data.get('endpoint')!r} in the config")
        else:
            service.waiting.append(call)
            service.more.set()

    async def _serve(self, name: str, service: _Service) -> None:
        """Make the calls to one service, one at a time, as they are due."""
        loop = asyncio.get_running_loop()
        while True:
            wait = service.wait_s(loop.time())
            if wait is None or wait > 0:
                service.pool.close_idle(IDLE_S)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_S if wait is None else min(wait, IDLE_S)):
                        await service.more.wait()
                service.more.clear()
                continue
            call = min(service.waiting, key=lambda each: each.order)
            service.waiting.remove(call)
            try:
                over = await self._make(service, call)
            except Exception as error:  # a bug costs one call, not all for ever
                said = about(GATEWAY_FAULT, event_id=call.event.id)
                log.exception("call %s to %s: a fault of the gateway", call.event.id, name, extra=said)
                self._over(call, error=f"a fault of the gateway: {type(error).__name__}")
                over = True
            if not over:
                service.waiting.append(call)
            self._tried.set()

    async def _make(self, service: _Service, call: _Call) -> bool:
        """Try one call; returns whether it is over."""
        data, once = call.event.data, bool(call.event.data.get("once"))
        if self._too_late(call.event):
            why = f"gave up after {call.tries} tries: {call.why}" if call.tries else "too late before it could be sent"
            self._over(call, call.last, error=why)
            return True
        try:
            options = service.options
            method = str(data["method"])
            resolve(self._endpoints, _address(options.url, str(data["target"])), method)
            request, hidden = options.request(method, str(data["target"]), data.get("json"), call.event.id)
            if once:
                self._journal.put(TABLE, call.event.id, call.sequence)
                await self._committer.flush()
            call.tries += 1
            service.made.append(asyncio.get_running_loop().time())
            answer = await service.pool.request(request, once=once)
        except (KeyError, ValueError) as error:
            self._over(call, error=f"not allowed: {error}")
            return True
        except (NotConnected, ConfigError) as error:
            if once:
                self._journal.put(TABLE, call.event.id, None)
            return self._again(service, call, error.faults[0].what if isinstance(error, ConfigError) else str(error))
        except (TargetDown, ProtocolError) as error:
            if once:
                self._over(call, error=f"sent, but nobody knows whether it arrived: {error}")
                return True
            return self._again(service, call, str(error))
        answer = Answer(answer.status, answer.headers, _cut_out(answer.body, hidden))
        if answer.status in AGAIN and not once:
            call.last = answer
            after = retry_after_s(answer.headers, self._clock.wall_ns())
            return self._again(service, call, f"status {answer.status}", after)
        service.backoff.reset()
        self._over(call, answer)
        return True

    def _again(self, service: _Service, call: _Call, why: str, after_s: float | None = None) -> bool:
        """Let a call wait for another try."""
        call.why = why
        wait = service.backoff.next_s() if after_s is None else min(after_s, RETRY_AFTER_MAX_S)
        left_ns = self._left_ns(call.event)
        call.due = asyncio.get_running_loop().time() + min(wait, max(0.0, left_ns / NS_PER_S) + 0.001)
        return False

    def _too_late(self, event: Event) -> bool:
        return self._left_ns(event) < 0

    def _left_ns(self, event: Event) -> int:
        """Return how much time a call has left, by the boot clock as long as the machine runs."""
        return self._journal.timeline.left_ns(int(event.sequence), _expires_ns(event), self._clock)

    def _observed(self, call: _Call) -> None:
        """Record what was not called."""
        del self._waiting[call.sequence]
        self.observed += 1
        data = call.event.data
        value = f"{data.get('method')} {data.get('endpoint')}"
        about = {"command": "http", "value": value, "by": call.event.actor, "reason": "calls are only observed"}
        self._record(self._about(call.event, "command_observed", about, lane="telemetry"))

    def _over(self, call: _Call, answer: Answer | None = None, *, error: str = "") -> None:
        """Record what came of a call, in the block in which it is over."""
        event, options = call.event, self._services.get(call.event.data.get("endpoint", ""))
        data: dict[str, Any] = {"request": event.id, "status": answer.status if answer else 0, "tries": call.tries}
        data |= {key: event.data[key] for key in GIVEN_BACK if key in event.data}
        if error:
            data["error"] = error
        if answer is not None and options is not None:
            body = _body(answer.body, options.options.answer_bytes_max)
            data |= body if len(msgspec.json.encode(body)) <= RECORD_BYTES_MAX else {"cut_off": True}
        del self._waiting[call.sequence]
        self.answered += not error
        self.failed += bool(error)
        self._record(self._about(event, HTTP_ANSWERED, data, lane="timer"))
        if event.data.get("once"):  # in the block of the answer and the cursor: without its mark it is made again
            self._journal.put(TABLE, event.id, None)
        if len(self._waiting) == WAITING_MAX - 1:
            self._more.set()

    def _about(self, event: Event, outcome: str, data: dict[str, Any], *, lane: Any) -> Event:
        return Event(
            id=derived_id(self._journal.log_id, outcome, event.id, 0),
            source=f"/{self._gateway}/http",
            type=outcome,
            subject=event.subject,
            time=rfc3339(self._clock.wall_ns()),
            lane=lane,
            actor="gateway",
            cause=event.id,
            hops=event.hops,
            data=data,
        )

    def _put_cursor(self) -> None:
        self._position.put(self._waiting)


def _address(url: str, target: str) -> str:
    """Return the whole address of a target, which is resolved once more before it is called."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}{target}"


def _expires_ns(event: Event) -> int:
    try:
        return wall_ns_of(str(event.data.get("expires")))
    except ValueError:
        return 0


def _cut_out(body: bytes, hidden: Sequence[str]) -> bytes:
    """Take secrets out of what a server sent back."""
    for secret in hidden:
        body = body.replace(secret.encode(), b"***")
    return body


def _body(body: bytes, bytes_max: int) -> dict[str, Any]:
    """Return a body as rules get it: as JSON when it is that, else as text, cut off where it is too long."""
    if len(body) <= bytes_max:
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            return {"json": msgspec.json.decode(body)} if body else {}
        return {"text": body.decode(errors="replace")}
    return {"text": body[:bytes_max].decode(errors="replace"), "cut_off": True}
