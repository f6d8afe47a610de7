"""Devices and cameras that post: a web server whose answer 200 waits for the disk (asyncio).

A request becomes deliveries (`http_message`), whose topic is its path, so any profile with topics reads it.  When all
of them are acknowledged, which the pipeline does behind fdatasync and nowhere else, the answer is 200; it means that
the message is on the disk, as an event or as a dead letter.  What no profile reads is 404, what comes too fast 503: the
device keeps it and tries again.  A request that says who it is (``Idempotency-Key``, a CloudEvent's source and id) and
comes again is answered like the first, and makes no second event; a hash of that is in the journal behind its events,
so over a restart, too.

Who may post: a bearer token, users (Basic, for cameras that know nothing else), certificates; without any, this
machine only.  A wrong password is answered after a second.

Bounds: `connections_max` clients, `waiting_max` requests and `waiting_bytes_max` bytes that wait for the disk, bodies
of `body_bytes_max`; `answer_s` for the disk, then 503, though the message may still get there; the last `KEYS_MAX`
identities.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.clock import Clock
from gateway.codes.sources import USERS_UNREADABLE
from gateway.errors import ConfigError
from gateway.logs.about import about
from gateway.mqtt import passwords
from gateway.secrets import Secret
from gateway.sources.exposure import bound, check_certificates, loopback, server_tls
from gateway.sources.http_client import HttpClient, Request
from gateway.sources.http_message import Refusal, identity, messages
from gateway.sources.source import Delivery, Inbox
from gateway.sources.users import Users
from gateway.topic import is_name, matches

log = logging.getLogger(__name__)

HANDSHAKE_S: Final = 10.0  # of TLS
BACKLOG: Final = 64  # connections the kernel holds until they are accepted
KEYS_MAX: Final = 4096  # identities of requests that are remembered
KEY_BYTES: Final = 8  # of their hashes
AGAIN_S: Final = "5"  # Retry-After

Put = Callable[[str, Any], None]
"""Puts a row of the source's own table into the open batch of the journal; None deletes it."""


class HttpSourceOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[sources.<name>] with ``http = "host:port"``. Without token, users or client_ca it serves this machine only."""

    host: str = "127.0.0.1"  # "0.0.0.0" or "::" for every interface
    port: int = 8480  # 0 = any free one
    token: Secret | None = None  # Authorization: Bearer ...
    users: Mapping[str, Secret] = {}  # name -> password, Authorization: Basic ...
    users_file: Path | None = None  # further users, as mosquitto_passwd writes them
    certificate: Path | None = None  # PEM; with `key` it speaks TLS
    key: Path | None = None
    client_ca: Path | None = None  # PEM; clients must then show a certificate signed by it
    prefixes: Mapping[str, str] = {}  # first words of topics that are others here: zigbee2mqtt = "attic/z2m"
    connections_max: int = 100
    body_bytes_max: int = 4 * 1024 * 1024  # of a request; a camera's picture has 0.1 to 2 MB
    waiting_max: int = 200  # requests that wait for the disk
    waiting_bytes_max: int = 16 * 1024 * 1024
    answer_s: float = 30.0  # for the disk; then 503

    def __post_init__(self) -> None:
        check_certificates(self.certificate, self.key, self.client_ca)
        for prefix in self.prefixes.values():
            if not is_name(prefix):
                raise ValueError(f"{prefix!r} is not the beginning of a topic")
        if min(self.connections_max, self.body_bytes_max, self.waiting_max, self.waiting_bytes_max) < 1:
            raise ValueError("connections_max, body_bytes_max, waiting_max and waiting_bytes_max are at least 1")
        if not (self.token or self.users or self.users_file or self.client_ca or loopback(self.host)):
            raise ValueError(
                f"host {self.host!r} is open to the network and anybody may post:"
                " add token, users, users_file or client_ca, or stay on 127.0.0.1"
            )


class _Waiting:
    """A request whose messages are on their way to the disk; the origin of their deliveries."""

    __slots__ = ("askers", "bytes", "done", "left", "over", "timer")

    def __init__(self, left: int, size: int, over: Callable[[_Waiting], None]) -> None:
        self.left, self.bytes, self.over = left, size, over
        self.askers: list[HttpClient] = []
        self.done = False
        self.timer: asyncio.TimerHandle | None = None

    def acknowledge(self, delivery: Delivery) -> None:  # noqa: ARG002 - an origin's signature
        """One message more is on the disk."""
        self.left -= 1
        if self.left == 0:
            self.over(self)


class HttpSource:
    """A source that devices post to."""

    def __init__(
        self, name: str, options: HttpSourceOptions, filters: Callable[[], Sequence[str]], clock: Clock
    ) -> None:
        """Make it; `filters()` are the topics that profiles read now."""
        self.name, self.options = name, options
        self.port = options.port  # the real one once `ready`
        self.ready = asyncio.Event()
        self.last_error = ""
        self._filters, self._clock = filters, clock
        self._users = Users(options.users, options.users_file)
        self._clients: set[HttpClient] = set()
        self._waiting: set[_Waiting] = set()
        self._waiting_bytes = 0
        self._keys: OrderedDict[str, _Waiting] = OrderedDict()  # by hash, the oldest first
        self._number = 0  # of the last one
        self._put: Put = _nowhere
        self._paused = False
        self._inbox: Inbox | None = None
        self._failed: asyncio.Future[None] | None = None
        self._counts: Counter[str] = Counter()

    def keep_keys(self, put: Put, rows: Mapping[str, Any]) -> None:
        """Take back the identities of an earlier run, and give new ones to `put`; what was on the disk is done."""
        self._put = put
        for key, number in sorted(rows.items(), key=lambda row: int(row[1])):
            self._keys[key] = waiting = _Waiting(0, 0, self._on_disk)
            waiting.done, self._number = True, int(number)

    async def run(self, inbox: Inbox) -> None:
        """Listen until cancelled; an inbox that raises ends it with that exception."""
        loop = asyncio.get_running_loop()
        self._inbox, self._failed = inbox, loop.create_future()
        server = await self._listen(loop)
        self.ready.set()
        try:
            await self._failed
        finally:
            self.ready.clear()
            server.close()
            for client in list(self._clients):
                client.close()
            for waiting in self._waiting:
                if waiting.timer is not None:
                    waiting.timer.cancel()
            await asyncio.sleep(0)  # sockets that were closed say so in the next turn

    async def _listen(self, loop: asyncio.AbstractEventLoop) -> asyncio.Server:
        options = self.options
        context = server_tls(options.certificate, options.key, options.client_ca)
        handshake_s = HANDSHAKE_S if context else None

        def listen() -> Awaitable[asyncio.Server]:
            return loop.create_server(
                self._client, options.host, options.port, ssl=context, backlog=BACKLOG,
                ssl_handshake_timeout=handshake_s,
            )  # fmt: skip

        server = await bound("source", self.name, listen, self._note)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def _note(self, error: str) -> None:
        self.last_error = error

    def _client(self) -> HttpClient:
        client = HttpClient(self.options.body_bytes_max, self._admit, self._take, self._clients.discard)
        self._clients.add(client)
        return client

    # ---- a request ----------------------------------------------------------------------------------

    def _admit(self, client: HttpClient, headers: dict[str, str]) -> None:
        """Look at a head before its body is read: who it is, and whether there is room."""
        options = self.options
        if len(self._clients) > options.connections_max:
            self._busy(client, "too many connections")
        elif not self._allowed(headers.get("authorization", "")):
            self._counts["unauthorized"] += 1
            schemes = [("www-authenticate", scheme) for scheme in self._schemes()]
            client.refuse(401, headers=schemes, error="who are you?")
        elif self._paused or len(self._waiting) >= options.waiting_max or self._full():
            self._busy(client, "more waits for the disk than fits into memory")

    def _full(self) -> bool:
        return self._waiting_bytes >= self.options.waiting_bytes_max

    def _busy(self, client: HttpClient, why: str) -> None:
        self._counts["busy"] += 1
        client.answer(503, headers=[("retry-after", AGAIN_S)], close=True, error=why)

    def _schemes(self) -> list[str]:
        basic = self.options.users or self.options.users_file
        return ["Bearer"] * bool(self.options.token) + ['Basic realm="edge-gateway"'] * bool(basic)

    def _allowed(self, authorization: str) -> bool:
        """Check who posts. Certificates were checked by TLS."""
        options = self.options
        if not self._schemes():
            return True
        scheme, _, said = authorization.partition(" ")
        try:
            if scheme.lower() == "bearer" and options.token is not None:
                return passwords.equal(said.strip().encode("latin-1"), options.token().encode())
            if scheme.lower() == "basic" and (options.users or options.users_file):
                name, colon, password = base64.b64decode(said, validate=True).decode().partition(":")
                return bool(colon) and self._users.admit(name, password.encode())
        except (binascii.Error, UnicodeError):
            return False
        except (ConfigError, OSError, ValueError) as error:
            self.last_error = f"nobody can log in: {error}"
            log.error("source %s: %s", self.name, self.last_error, extra=about(USERS_UNREADABLE, source=self.name))
        return False

    def _take(self, request: Request) -> None:
        """Hand the messages of a request on, unless it is known already."""
        client = request.client
        try:
            posted = messages(request.method, request.target, request.headers, request.body)
            filters = self._filters()
            for each in posted:
                if not any(matches(topic_filter, each.topic) for topic_filter in filters):
                    raise Refusal(404, f"no profile reads {each.topic}")
        except Refusal as refusal:
            self._counts["refused"] += 1
            client.answer(refusal.status, error=str(refusal))
            return
        said = identity(request.headers, request.body)
        key = hashlib.blake2b(said.encode(errors="replace"), digest_size=KEY_BYTES).hexdigest() if said else ""
        known = self._keys.get(key) if key else None
        if known is not None:
            self._counts["repeated"] += 1
            known.askers.append(client)
            if known.done:
                self._answer(known)
            return
        if not posted:
            client.answer(200, accepted=0)
            return
        waiting = _Waiting(len(posted), len(request.body), self._on_disk)
        waiting.askers.append(client)
        self._await(waiting, key)
        now_ns = self._clock.wall_ns()
        self._counts["received"] += len(posted)
        deliveries = [Delivery(self.name, each.topic, each.payload, now_ns, waiting, qos=1) for each in posted]
        assert self._inbox is not None
        assert self._failed is not None
        try:
            self._inbox(deliveries)
        except Exception as error:  # noqa: BLE001 - not ours to judge: it ends `run`, which whoever runs us sees
            if not self._failed.done():
                self._failed.set_exception(error)
            return
        if key:
            self._remember_behind(key, [each for each in deliveries if each.late])

    def _remember_behind(self, key: str, late: list[Delivery]) -> None:
        """Keep an identity when the last event is appended: on the disk with them or after them, never before."""
        left = len(late)

        def appended() -> None:
            nonlocal left
            left -= 1
            if not left:
                self._remember(key)

        for each in late:
            each.appended = appended
        if not late:
            self._remember(key)

    def _remember(self, key: str) -> None:
        """Put an identity into the open batch, and let the oldest go."""
        self._number += 1
        self._put(key, self._number)
        while len(self._keys) > KEYS_MAX:
            oldest, _ = self._keys.popitem(last=False)
            self._put(oldest, None)

    def _await(self, waiting: _Waiting, key: str) -> None:
        self._waiting.add(waiting)
        self._waiting_bytes += waiting.bytes
        waiting.timer = asyncio.get_running_loop().call_later(self.options.answer_s, self._too_late, waiting)
        if key:
            self._keys[key] = waiting

    def _on_disk(self, waiting: _Waiting) -> None:
        waiting.done = True
        self._waiting.discard(waiting)
        self._waiting_bytes -= waiting.bytes
        if waiting.timer is not None:
            waiting.timer.cancel()
        self._answer(waiting)

    def _answer(self, waiting: _Waiting) -> None:
        askers, waiting.askers = waiting.askers, []
        for client in askers:
            client.answer(200, accepted=True)

    def _too_late(self, waiting: _Waiting) -> None:
        askers, waiting.askers = waiting.askers, []
        self._counts["late"] += 1
        for client in askers:
            client.answer(503, headers=[("retry-after", AGAIN_S)], error="not on the disk yet")

    # ---- what the gateway asks for --------------------------------------------------------------------

    def pause(self) -> None:
        """Take no more requests: they are told to come again."""
        self._paused = True

    def resume(self) -> None:
        """Take requests again."""
        self._paused = False

    def send(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> bool:  # noqa: ARG002 - one Source for all
        """Return False: devices that post are told nothing."""
        return False

    def status(self) -> dict[str, Any]:
        """Say how many clients there are, and what was refused."""
        return {
            "kind": "http",
            "listening": self.ready.is_set(),
            "address": f"{self.options.host}:{self.port}",
            "connected": len(self._clients),
            "unacknowledged": len(self._waiting),
            **{
                name: self._counts[name] for name in ("received", "refused", "unauthorized", "busy", "repeated", "late")
            },
            "last_error": self.last_error,
        }


def _nowhere(key: str, row: Any) -> None:
    """Keep nothing: there is no journal."""
