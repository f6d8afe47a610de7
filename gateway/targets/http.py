"""Events to a web service: CloudEvents 1.0 over HTTP, one event a request (structured) or many (batched).

::

    [targets.cloud]
    type = "http"
    url = "https://ingest.example.com/events"
    mode = "batched"                              # one request for many events; default: structured
    bearer = { credential = "cloud-token" }       # Authorization: Bearer ...
    signature = { file = "webhook.secret" }       # HMAC-SHA256, Standard Webhooks headers

A request carries ``Idempotency-Key``: the event's id, or for a batch a hash of its ids, the same when the same batch
is sent again.  A signed one carries ``webhook-id`` (the same key), ``webhook-timestamp`` (seconds) and
``webhook-signature: v1,<base64 of HMAC-SHA256 over "<id>.<timestamp>.<body as sent>">``.

Order: a lane's events of one device are never under way at once unless they are in one request, in order.  In
structured mode devices are spread over `connections`.  What an answer means: http_answer.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlsplit
from zlib import crc32

import msgspec

from gateway.backoff import Backoff
from gateway.clock import Clock, rfc3339
from gateway.codes.clock import WAITS_FOR_CLOCK
from gateway.errors import ConfigError, ProtocolError, TargetDown
from gateway.logs.about import about
from gateway.mqtt.options import TlsOptions
from gateway.mqtt.tls import clock_set
from gateway.secrets import Secret
from gateway.targets.http_answer import outcome_of, reason_of, results_of
from gateway.targets.http_blobs import ReadBlob, Uploads
from gateway.targets.http_connection import Answer
from gateway.targets.http_pool import HttpPool, NotConnected, Server
from gateway.targets.http_request import Requests
from gateway.targets.target import DELIVERED, Outcome, Outgoing, Verdict

log = logging.getLogger(__name__)

FAILURES_IN_A_ROW_MAX = 3  # of single requests that nobody passed between: then the rest of the send waits
STRANGER_TRIES_MAX = 5  # events refused one by one by a server that has not taken any yet
BRACKETS_BYTES = 2  # of a batch

FINAL = (Verdict.DELIVERED, Verdict.REJECTED)
NOT_SENT = Outcome(Verdict.RETRY, "not sent: an event before it goes first", throttled=True)


class HttpTargetOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person writes to reach a web service."""

    url: str  # http:// or https://, with path
    mode: Literal["structured", "batched"] = "structured"  # one event a request, or up to `batch_max`
    gzip: bool = False  # compress bodies (Content-Encoding: gzip)
    bearer: Secret | None = None  # token, sent as Authorization: Bearer
    signature: Secret | None = None  # shared secret; "whsec_..." is base64 as in Standard Webhooks
    headers: dict[str, str] = {}  # sent as they are; not for secrets
    blobs: str | None = None  # path with {sha256}: pictures are PUT there before the events that refer to them
    tls: TlsOptions = TlsOptions()  # for https://
    batch_max: int = 200  # events a request (batched) or a send
    body_bytes_max: int = 900_000  # of a batch, before compression; a larger single event goes alone
    connections: int = 4  # structured mode: requests under way at once in a lane, each of other devices
    connect_timeout_s: float = 10.0  # name, TCP and TLS
    answer_timeout_s: float = 30.0  # from the request to the end of its answer
    idle_timeout_s: float = 50.0  # an unused connection is closed; many servers close theirs after 60 s
    reconnect_first_s: float = 1.0  # full jitter, as everywhere
    reconnect_max_s: float = 60.0  # between two tries

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{self.url!r} is not an address of a web service: write https://host/path")
        if parts.username is not None or parts.password is not None:
            raise ValueError("user name and password do not belong in the url: write bearer = or headers =")
        if self.tls != TlsOptions() and parts.scheme == "http":
            raise ValueError(f"tls is set, but {self.url!r} does not use it: write https://")
        if min(self.batch_max, self.body_bytes_max, self.connections) < 1:
            raise ValueError("batch_max, body_bytes_max and connections must be over 0")
        if min(self.connect_timeout_s, self.answer_timeout_s, self.idle_timeout_s, self.reconnect_first_s) <= 0:
            raise ValueError("timeouts and waits must be over 0")
        if self.blobs is not None and not (self.blobs.startswith("/") and "{sha256}" in self.blobs):
            raise ValueError(f'blobs = {self.blobs!r} is no path of this server: write "/blobs/{{sha256}}"')
        for name, value in self.headers.items():
            if not name.isascii() or not name.replace("-", "").isalnum() or not value.isprintable():
                raise ValueError(f"{name!r}: {value!r} is no header")


class HttpTarget:
    """A web service as a target."""

    windows = 1  # a lane's sends; within one, devices are spread over connections

    def __init__(self, name: str, options: HttpTargetOptions, clock: Clock, read_blob: ReadBlob | None = None) -> None:
        self.name = name
        self.options = options
        self.batch_max = options.batch_max
        self.patience_s = 2 * (options.connect_timeout_s + options.answer_timeout_s)
        self.accepted = False  # the server has taken something since start
        parts = urlsplit(options.url)
        host, tls = parts.hostname or "", parts.scheme == "https"
        self._where = f"{parts.scheme}://{parts.netloc}"
        server = Server(host, parts.port or (443 if tls else 80), options.tls if tls else None)
        self._pool = HttpPool(server, options.connect_timeout_s, options.answer_timeout_s, clock)
        self._requests = Requests(
            options.url,
            batched=options.mode == "batched",
            compress=options.gzip,
            headers=options.headers,
            bearer=options.bearer,
            signature=options.signature,
            clock=clock,
        )
        self._uploads = Uploads(options.blobs, read_blob, self._put, clock) if options.blobs and read_blob else None
        self._clock = clock
        self._backoff = Backoff(options.reconnect_first_s, options.reconnect_max_s)
        self._coming_back = asyncio.Lock()
        self._down = False
        self._since_ns = clock.wall_ns()
        self._last_error: str | None = None

    async def run(self) -> None:
        """Close connections that nobody uses, until cancelled; then all."""
        try:
            while True:
                await asyncio.sleep(self.options.idle_timeout_s / 2)
                self._pool.close_idle(self.options.idle_timeout_s / 2)
        finally:
            self._pool.close()

    async def ready(self) -> None:
        """Return when a connection can be made; at once while nothing is known to be wrong."""
        async with self._coming_back:
            wait_s = self._backoff.next_s() if self._down else 0.0
            while self._down:
                await asyncio.sleep(wait_s)
                wait_s = self._backoff.next_s()
                try:
                    await self._pool.probe()
                except NotConnected as error:
                    self._last_error = str(error)
                    if error.doubt is not None:
                        log.warning("target %s: %s", self.name, error, extra=about(WAITS_FOR_CLOCK, target=self.name))
                        await clock_set(error.doubt, self._clock)
                        wait_s = 0.0
                else:
                    self._set_down(down=False)

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[Outcome]:
        """POST events of one lane; see `Target.send`."""
        posting = _Posting(self, batch)
        if self.options.mode == "batched":
            await posting.together()
        else:
            await posting.singly()
        return posting.judged()

    async def post(self, events: Sequence[Outgoing]) -> list[Outcome] | Answer:
        """Send one request; return an outcome for each event, or the answer when it is to find out who is to blame."""
        try:
            trouble = await self._uploads.before(events) if self._uploads is not None else None
            if trouble is not None:
                return self._failed(trouble.verdict, f"a picture: {trouble.reason}", len(events))
            answer = await self._answer(events)
        except TargetDown as error:
            self._set_down(down=True)
            return self._failed(Verdict.DOWN, str(error), len(events))
        except ProtocolError as error:
            return self._failed(Verdict.RETRY, str(error), len(events))
        except ConfigError as error:  # a secret that can't be read
            return self._failed(Verdict.STOP, str(error), len(events))
        self._backoff.reset()
        outcome = outcome_of(answer, self._clock.wall_ns())
        if outcome is None:
            return answer
        if outcome is not DELIVERED:
            self._last_error = outcome.reason
            return [outcome] * len(events)
        self.accepted = True
        return results_of(answer, events) or [DELIVERED] * len(events)

    def status(self) -> dict[str, object]:
        """Say how the connection is."""
        return {
            "url": self._where,
            "connected": self.accepted and not self._down,
            "since": rfc3339(self._since_ns),
            "connections": self._pool.open,
            "requests": self._pool.requests,
            **({} if self._uploads is None else self._uploads.counts()),
            "last_error": self._last_error,
        }

    async def _answer(self, events: Sequence[Outgoing]) -> Answer:
        request = await self._requests.make(events)
        secrets = self._requests.secrets
        answer = await self._pool.request(request)
        if answer.status in (401, 403) and self._requests.renewed(secrets):
            answer = await self._pool.request(await self._requests.make(events))
        return answer

    async def _put(self, path: str, mime: str, content: bytes) -> Answer:
        return await self._pool.request(self._requests.put(path, mime, content))

    def _failed(self, verdict: Verdict, why: str, count: int) -> list[Outcome]:
        self._last_error = why
        return [Outcome(verdict, why)] * count

    def _set_down(self, *, down: bool) -> None:
        if down is not self._down:
            self._down = down
            self._since_ns = self._clock.wall_ns()


class _Posting:
    """One `send`: the requests it takes, and what became of each event."""

    def __init__(self, target: HttpTarget, batch: Sequence[Outgoing]) -> None:
        self._target = target
        self._batch = batch
        self._outcomes = [NOT_SENT] * len(batch)
        self._doubtful: list[int] = []  # refused by a server that has not taken anything yet

    def judged(self) -> list[Outcome]:
        """Return an outcome for each event.

        A server that refuses everything and never took anything is probably not the one that was meant, or not in
        the mode it expects: nobody's event is to blame for that.
        """
        if not self._target.accepted:
            for i in self._doubtful:
                self._outcomes[i] = Outcome(Verdict.STOP, self._outcomes[i].reason)
        return self._outcomes

    async def together(self) -> None:
        """Send batches, in order, as long as every event of the one before is over."""
        first = 0
        while first < len(self._batch):
            last = self._fitting(first)
            if not await self._part(first, last):
                return
            first = last

    def _fitting(self, first: int) -> int:
        """Return the end of the batch that begins at `first`."""
        size, last = BRACKETS_BYTES, first
        for event in self._batch[first:]:
            size += len(event.raw) + 1
            if size > self._target.options.body_bytes_max and last > first:
                break
            last += 1
        return last

    async def _part(self, first: int, last: int) -> bool:
        """Send a part of the batch, halved until the event to blame stands alone. Return whether all is over."""
        answered = await self._target.post(self._batch[first:last])
        if isinstance(answered, list):
            self._outcomes[first:last] = answered
            return all(outcome.verdict in FINAL for outcome in answered)
        if last - first == 1:
            return self._refuse(first, answered)
        middle = (first + last) // 2
        return await self._part(first, middle) and await self._part(middle, last)

    async def singly(self) -> None:
        """Send one event a request, devices side by side."""
        walks: dict[int, list[int]] = {}
        for i, event in enumerate(self._batch):
            walks.setdefault(crc32(event.subject.encode()) % self._target.options.connections, []).append(i)
        if len(walks) == 1:
            await self._walk(*walks.values())
            return
        async with asyncio.TaskGroup() as side_by_side:
            for walk in walks.values():
                side_by_side.create_task(self._walk(walk))

    async def _walk(self, places: Sequence[int]) -> None:
        """Send these one after the other; what is behind a failure of its device waits."""
        stuck: set[str] = set()
        failures = 0  # in a row
        for i in places:
            event = self._batch[i]
            if event.subject in stuck:
                continue
            answered = await self._target.post([event])
            if not isinstance(answered, list):
                if not self._refuse(i, answered):
                    return
                continue
            outcome = self._outcomes[i] = answered[0]
            failures = 0 if outcome.verdict in FINAL else failures + 1
            if failures:
                stuck.add(event.subject)
            if (
                outcome.verdict in (Verdict.DOWN, Verdict.STOP)
                or outcome.throttled
                or failures == FAILURES_IN_A_ROW_MAX
            ):
                return

    def _refuse(self, i: int, answer: Answer) -> bool:
        """Take a refusal of one event alone; return whether it makes sense to go on."""
        self._outcomes[i] = Outcome(Verdict.REJECTED, reason_of(answer))
        if answer.status != 413 and not self._target.accepted:
            self._doubtful.append(i)
        return len(self._doubtful) < STRANGER_TRIES_MAX
