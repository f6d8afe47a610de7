"""The gateway's own MQTT listener: devices connect to it, and PUBACK waits for the disk (asyncio).

A message becomes a `Delivery` when it arrives. When the delivery is acknowledged, and not before, the device gets its
PUBACK (or PUBREC), the message is retained if it says so, and whoever subscribed to it is given it. So devices can be
watched with any MQTT client, and nobody sees what a power cut could still take back. Commands leave by `send`.

What moves bytes is here; what they mean is in `gateway.mqtt.server` (a client) and `gateway.mqtt.broker` (all).

Costs are per turn of the event loop and not per message: all sockets read into one buffer, deliveries of a turn go to
the inbox together, answers of a turn leave in one write per client. A client that sends many small pieces is read
every `gather_ms` while that gathers anything.

Bounds: `connections_max` clients; of each `receive_max` messages and `unacknowledged_bytes_max` bytes wait for the
disk, beyond that it is not read (nor held to its keep-alive) until half has been acknowledged; what waits for a client
is bounded in `gateway.mqtt.outbound`, and what is dropped is counted.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from gateway.clock import Clock, SystemClock
from gateway.codes.sources import USERS_UNREADABLE
from gateway.errors import ConfigError
from gateway.logs.about import about
from gateway.mqtt.broker import Broker, Put
from gateway.mqtt.packet import Publish, Reason
from gateway.mqtt.server import Limits, ServerConnection, ServerSession
from gateway.secrets import Secret
from gateway.sources.client_socket import ClientSocket, Hall
from gateway.sources.exposure import bound, check_certificates, loopback, server_tls
from gateway.sources.source import Delivery, ImporterName, Inbox
from gateway.sources.users import Users
from gateway.topic import is_name

log = logging.getLogger(__name__)

TICK_S: Final = 1.0
BACKLOG: Final = 256  # connections the kernel holds until they are accepted


class ListenerOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[sources.<name>] of kind ``listener``. Without users it serves this machine only."""

    host: str = "127.0.0.1"  # "0.0.0.0" or "::" for every interface
    port: int = 1883  # 0 = any free one
    users: Mapping[str, Secret] = {}  # name -> password
    users_file: Path | None = None  # further users, as mosquitto_passwd writes them
    certificate: Path | None = None  # PEM; with `key` the listener speaks TLS
    key: Path | None = None
    client_ca: Path | None = None  # PEM; clients must then show a certificate signed by it
    prefixes: Mapping[str, str] = {}  # first words of topics that are others here: zigbee2mqtt = "attic/z2m"
    importers: tuple[ImporterName, ...] | None = None  # dialects whose devices describe themselves; default: all
    connections_max: int = 1000
    receive_max: int = 512  # messages of a client that wait for the disk
    unacknowledged_bytes_max: int = 1024 * 1024
    packet_bytes_max: int = 4 * 1024 * 1024  # a Zigbee bridge's list of devices has 4 to 8 kB for each
    gather_ms: float = 5.0  # how long reads of a busy client are gathered; 0 = not at all

    def __post_init__(self) -> None:
        check_certificates(self.certificate, self.key, self.client_ca)
        for prefix in self.prefixes.values():
            if not is_name(prefix):
                raise ValueError(f"{prefix!r} is not the beginning of a topic")
        if not (0 <= self.port <= 65_535 and 1 <= self.receive_max <= 65_535):
            raise ValueError("port is 0 to 65535, receive_max is 1 to 65535")
        if not (self.users or self.users_file or self.client_ca or loopback(self.host)):
            raise ValueError(
                f"host {self.host!r} is open to the network and nobody is asked for a password:"
                " add users, users_file or client_ca, or stay on 127.0.0.1"
            )


class _Received(Delivery, kw_only=True, gc=False):
    """A delivery that still knows its packet."""

    publish: Publish


class _Origin:
    """The client a delivery came from; it may have gone since."""

    __slots__ = ("session",)

    def __init__(self, session: ServerSession) -> None:
        self.session = session

    def acknowledge(self, delivery: Delivery) -> None:
        """Answer the client, then keep and pass on the message."""
        self.session.acknowledge(cast("_Received", delivery).publish)


class Listener:
    """A source that devices connect to."""

    def __init__(self, name: str, options: ListenerOptions, clock: Clock | None = None) -> None:
        self.name = name
        self.options = options
        self.port = options.port  # the real one once `ready`
        self.ready = asyncio.Event()
        self.last_error = ""
        self._clock = clock or SystemClock()
        self._arrived: list[Delivery] = []
        self._senders: set[ServerSession] = set()  # of what has arrived
        self._todo: list[ServerConnection] = []
        self._inbox: Inbox | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failed: asyncio.Future[None] | None = None
        self._users = Users(options.users, options.users_file)
        limits = Limits(
            receive_max=options.receive_max,
            unacknowledged_bytes_max=options.unacknowledged_bytes_max,
            packet_bytes_max=options.packet_bytes_max,
        )
        self.broker = Broker(
            limits,
            deliver=self._deliver,
            touched=self._touched,
            authenticate=self._authenticate,
            new_client_id=lambda: f"auto-{secrets.token_hex(8)}",
        )
        self.hall = Hall(self.broker, options.connections_max, options.gather_ms / 1000)

    async def run(self, inbox: Inbox) -> None:
        """Listen until cancelled; an inbox that raises ends it with that exception."""
        loop = self._loop = asyncio.get_running_loop()
        self._inbox = inbox
        failed = self._failed = loop.create_future()
        self.broker.now = loop.time()
        server = await self._listen(loop)
        self.ready.set()
        try:
            while not failed.done():
                await asyncio.wait([failed], timeout=TICK_S)
                self.broker.tick(loop.time())
            await failed
        finally:
            self.ready.clear()
            server.close()
            self._part(loop.time())
            await asyncio.sleep(0)  # sockets that were closed say so in the next turn

    async def _listen(self, loop: asyncio.AbstractEventLoop) -> asyncio.Server:
        options = self.options
        context = server_tls(options.certificate, options.key, options.client_ca)

        def listen() -> Awaitable[asyncio.Server]:
            return loop.create_server(
                lambda: ClientSocket(self.hall, loop), options.host, options.port, ssl=context, backlog=BACKLOG
            )

        server = await bound("listener", self.name, listen, self._note)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def _note(self, error: str) -> None:
        self.last_error = error

    def _part(self, now: float) -> None:
        """Close every connection; wills are for clients that vanish, not for a server that stops."""
        for socket in list(self.hall.sockets):
            socket.connection.will = None
            socket.connection.end(Reason.SERVER_SHUTTING_DOWN, "the listener stops", now)
        self._flush()

    # -- what the broker asks for ---------------------------------------------------------------------------------

    def _deliver(self, session: ServerSession, messages: list[Publish]) -> None:
        """Make deliveries of messages; the inbox gets those of one turn of the loop together."""
        origin = session.peer
        if origin is None:
            origin = session.peer = _Origin(session)
        self._senders.add(session)
        arrived, name, now_ns = self._arrived, self.name, self._clock.wall_ns()
        if not arrived and self._loop is not None:
            self._loop.call_soon(self._hand_over)
        arrived += [
            _Received(name, m.topic, m.payload, now_ns, origin, m.qos, False, m.dup, m.packet_id, publish=m)
            for m in messages
        ]

    def _hand_over(self) -> None:
        arrived, self._arrived = self._arrived, []
        senders, self._senders = self._senders, set()
        assert self._inbox is not None
        assert self._failed is not None
        try:
            self._inbox(arrived)
        except Exception as error:  # noqa: BLE001 - not ours to judge: it ends `run`, which whoever runs us sees
            if not self._failed.done():
                self._failed.set_exception(error)
            return
        for each in arrived:
            if each.late:
                each.appended = self.broker.postpone(
                    cast("_Origin", each.origin).session, cast("_Received", each).publish
                )
        self.broker.handed(senders)

    def _touched(self, connection: ServerConnection) -> None:
        """Send what a connection has at the end of this turn of the loop."""
        connection.flagged = True
        self._todo.append(connection)
        if len(self._todo) == 1 and self._loop is not None:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        todo, self._todo = self._todo, []
        for connection in todo:
            connection.flagged = False
            if connection.too_large:
                self._say_too_large(connection)
            connection.peer.flush()

    def _say_too_large(self, connection: ServerConnection) -> None:
        """Say whose packet was refused, and what lets it in."""
        connection.too_large = False
        who = connection.session.client_id if connection.session is not None else "somebody"
        self.last_error = (
            f"{who} was cut off: {connection.reason}; if that is right, write packet_bytes_max ="
            f" {2 * self.options.packet_bytes_max} under [sources.{self.name}]"
        )
        log.warning("listener %s: %s", self.name, self.last_error)

    def _authenticate(self, username: str | None, password: bytes | None) -> bool:
        try:
            return self._users.admit(username, password)
        except (ConfigError, OSError, ValueError) as error:
            self.last_error = f"nobody can log in: {error}"
            log.error("listener %s: %s", self.name, self.last_error, extra=about(USERS_UNREADABLE, source=self.name))
            return False

    # -- what the gateway asks for --------------------------------------------------------------------------------

    def keep_rows(
        self,
        put: Put,
        sessions: Mapping[str, Any],
        retained: Mapping[str, Any],
        traces: Mapping[str, Any] | None = None,
    ) -> None:
        """Take back the rows of an earlier run, by table, and give their changes to `put` from now."""
        self.broker.put = put
        self.broker.now = time.monotonic()
        self.broker.restore(sessions, retained, traces or {})

    def before_commit(self) -> None:
        """Put what must be durable with the messages of this commit: which ones they were."""
        self.broker.put_traces(time.monotonic())

    def pause(self) -> None:
        """Stop reading clients that have messages waiting; others are read on, so that pings are answered."""
        self.hall.paused = True
        for socket in self.hall.sockets:
            socket.regulate()

    def resume(self) -> None:
        """Read all clients again, but those of whom too much waits."""
        self.hall.paused = False
        for socket in self.hall.sockets:
            socket.regulate()

    def send(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> bool:
        """Give a command to whoever subscribed to `topic`; False when no client that did is connected."""
        return self.broker.publish(Publish(topic, payload, qos, retain))

    def status(self) -> dict[str, object]:
        """Say how many clients there are and what was dropped."""
        broker = self.broker
        connected = [session for session in broker.sessions.values() if session.connection is not None]
        return {
            "listening": self.ready.is_set(),
            "address": f"{self.options.host}:{self.port}",
            "connected": len(connected),
            "sessions": len(broker.sessions),
            "received": broker.counters.received,
            "unacknowledged": sum(session.inbound.messages for session in broker.sessions.values()),
            "refused": broker.counters.refused,
            "turned_away": self.hall.turned_away,
            "dropped": broker.counters.dropped,
            "retained": len(broker.retained),
            "retained_refused": broker.retained.refused,
            "last_error": self.last_error,
        }
