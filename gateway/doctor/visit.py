"""A visit to a broker: connects as the gateway would, but under a name of its own, asks, and leaves nothing behind.

The gateway's session is not touched: another client id, a clean start, an expiry of 0, no will, no birth message.
To see how long the broker would keep the gateway's session it is asked for that once, on a connection that subscribes
to nothing; the next connection begins clean under the same name, which ends that session.

Subscriptions are at QoS 0 and ask for no retained messages, but for those of $SYS, in which Mosquitto says how it is.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gateway.doctor.reach import Reach, reach
from gateway.doctor.scene import NET_S_MAX
from gateway.errors import ConfigError
from gateway.mqtt import packet as p
from gateway.mqtt.link import Ending, Link
from gateway.mqtt.options import ConnectionOptions
from gateway.mqtt.packet import Reason
from gateway.mqtt.session import Received, Session, SessionOptions
from gateway.mqtt.socket_link import SocketLink
from gateway.mqtt.tls import tls_context
from gateway.mqtt.window import Answer
from gateway.mqtt.wire import properties as encode_properties

SYS: Final = (
    "$SYS/broker/version",
    "$SYS/broker/uptime",
    "$SYS/broker/publish/messages/dropped",
    "$SYS/broker/messages/stored",
)
SYS_S: Final = 0.3  # after SUBACK, for what the broker says about itself
HEARD_MAX: Final = 50
FILTERS_MAX: Final = 100  # that are tried
VISIT_S_MIN: Final = 1.0
TOPIC: Final = "edge-gateway/doctor/"  # below it: what --probe publishes


class Visited(msgspec.Struct, frozen=True, kw_only=True):
    """What a broker said."""

    connected: bool = False
    why: str = ""  # it did not let us in
    reason_code: int = 0
    refused: bool = False  # it knows us, or does not want to
    silent: bool = False  # it said nothing
    ours: bool = False  # a secret or a file cannot be used
    version: str = ""  # "5", "3.1.1"
    limits: p.Properties = p.NO_PROPERTIES  # CONNACK's
    expiry_asked_s: int = 0
    denied: dict[str, int] = {}  # topic filter -> reason code
    granted: int = 0
    heard: dict[str, str] = {}  # of $SYS
    published: int | None = None  # reason code of PUBACK to a message of our own; None: not tried, no answer
    came_back_s: float | None = None  # that message, by our own subscription
    seconds: float = 0.0


def call_on(
    options: ConnectionOptions, base: str, filters: tuple[str, ...] = (), *, session: bool = False, probe: bool = False
) -> tuple[Reach | None, Visited | None]:
    """Go to a broker and ask; how far one gets is not looked at over a proxy, and who is not reached is not asked."""
    address, left, found = options.address, NET_S_MAX, None
    if options.proxy is None:
        found = reach(address.host, address.port, options.tls if address.tls else None, NET_S_MAX)
        if found.failed:
            return found, None
        left = max(VISIT_S_MIN, NET_S_MAX - found.seconds)
    return found, asyncio.run(visit(options, base, filters, left, session=session, probe=probe))


async def visit(
    options: ConnectionOptions, base: str, filters: tuple[str, ...], seconds: float, *, session: bool, probe: bool
) -> Visited:
    """Visit. `session`: ask how long the gateway's session would be kept; `probe`: publish on a topic of our own."""
    client_id = f"{base}-doctor-{secrets.token_hex(2)}"
    expiry = options.session_expiry_s if session else 0
    began = time.monotonic()
    found = Visited()
    versions = {"5": (p.V5,), "3.1.1": (p.V311,), "auto": (p.V5, p.V311)}[options.version]
    for version in versions:
        left = began + seconds - time.monotonic()
        found = await _once(options, version, client_id, expiry if version == p.V5 else 0, left)
        old = found.reason_code == Reason.UNSUPPORTED_PROTOCOL_VERSION or found.silent
        if found.connected or not old:
            break
    if not found.connected:
        return found
    if not session:
        return found
    left = began + seconds - time.monotonic()
    version = p.V5 if found.version == "5" else p.V311
    more = await _once(options, version, client_id, 0, left, ask=True, filters=filters[:FILTERS_MAX], probe=probe)
    found = msgspec.structs.replace(found, expiry_asked_s=expiry)
    if not more.connected:
        return found
    return msgspec.structs.replace(more, limits=found.limits, expiry_asked_s=expiry, seconds=found.seconds)


async def _once(
    options: ConnectionOptions,
    version: int,
    client_id: str,
    expiry: int,
    left: float,
    *,
    ask: bool = False,
    filters: tuple[str, ...] = (),
    probe: bool = False,
) -> Visited:  # fmt: skip
    guest = _Guest(client_id, version, expiry, probe=probe)
    began = time.monotonic()
    try:
        async with asyncio.timeout(max(left, 0.1)):
            link = await guest.open(options)
            try:
                await asyncio.wait(_either(link.ended, guest.let_in), return_when=asyncio.FIRST_COMPLETED)
                took = time.monotonic() - began
                if guest.connack is not None and ask:
                    await guest.ask(link, filters)
            finally:
                link.close()
                await asyncio.wait({link.ended}, timeout=0.3)
                link.abort()
    except TimeoutError:
        if guest.connack is None:
            return Visited(why="no answer in time", silent=True)
        took = left
        return guest.said(took)
    except (ssl.SSLError, OSError) as error:
        return Visited(why=getattr(error, "strerror", None) or str(error) or type(error).__name__)
    except (ValueError, ConfigError) as error:
        return Visited(why=str(error), ours=True)
    if guest.connack is None:
        ending = link.ended.result() if link.ended.done() else Ending("no answer", silent=True)
        return Visited(why=ending.why, reason_code=ending.reason_code, refused=ending.refused, silent=ending.silent)
    return guest.said(took)


def _either(*futures: asyncio.Future[Any]) -> set[asyncio.Future[Any]]:
    return set(futures)


class _Guest:
    """Owner and host of one link."""

    def __init__(self, client_id: str, version: int, expiry: int, *, probe: bool) -> None:
        self.version = version
        self.connack: p.Connack | None = None
        self.let_in: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._session = Session(SessionOptions(client_id=client_id, clean_start=True, session_expiry_s=expiry))
        self._news = asyncio.Event()
        self._codes: list[tuple[int, ...]] = []
        self._filters: list[tuple[str, ...]] = []
        self._heard: dict[str, str] = {}
        self._topic = TOPIC + secrets.token_hex(8) if probe else ""
        self._sent_at = 0.0
        self._published: int | None = None
        self._came_back_s: float | None = None

    async def open(self, options: ConnectionOptions) -> Link:
        """Make the link, over whatever the config says."""
        quiet = msgspec.structs.replace(options, will=None, birth=None)
        address, tls = options.address, options.tls
        context = await asyncio.to_thread(tls_context, tls) if address.tls else None
        parts = (self._session, self, self, quiet, self.version, options.credentials())
        if address.websocket or options.proxy is not None:
            from gateway.mqtt.via_paho import open_link

            return await open_link(*parts, context)
        name = (tls.server_name or address.host) if context is not None else None
        _, link = await asyncio.get_running_loop().create_connection(
            lambda: SocketLink(*parts), address.host, address.port, ssl=context, server_hostname=name
        )
        return link

    async def ask(self, link: Link, filters: tuple[str, ...]) -> None:
        """Subscribe, publish if we may, and listen for a moment."""
        await self._subscribe(link, filters, 2)
        if self._topic:
            await self._subscribe(link, (self._topic,), 2)
            self._sent_at = time.monotonic()
            none = encode_properties(p.NO_PROPERTIES) if link.version == p.V5 else b""
            self._published = link.publish(self._topic.encode(), b"doctor", 1, none, self) or None
            await self._answer(link, lambda: self._published is not None)
        await self._subscribe(link, SYS, 0)  # last: some brokers hang up over it
        await asyncio.sleep(SYS_S)

    async def _subscribe(self, link: Link, filters: tuple[str, ...], handling: int) -> None:
        if filters and not link.ended.done():
            self._filters.append(filters)
            link.subscribe(tuple(p.Subscription(each, 0, retain_handling=handling) for each in filters))
            await self._answer(link, lambda: len(self._codes) == len(self._filters))

    async def _answer(self, link: Link, there: Callable[[], bool]) -> None:
        """Wait for an answer, or the end of the link."""
        while not there() and not link.ended.done():
            self._news.clear()
            waiting = asyncio.ensure_future(self._news.wait())
            await asyncio.wait(_either(waiting, link.ended), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()

    def said(self, took: float) -> Visited:
        """Return what was said."""
        pairs = [
            pair
            for group, codes in zip(self._filters, self._codes, strict=False)
            for pair in zip(group, codes, strict=False)
        ]
        own = [(name, code) for name, code in pairs if not name.startswith("$SYS/")]
        return Visited(
            connected=self.connack is not None,
            version="5" if self.version == p.V5 else "3.1.1",
            limits=self.connack.properties if self.connack is not None else p.NO_PROPERTIES,
            denied={name: code for name, code in own if code >= Reason.UNSPECIFIED_ERROR},
            granted=sum(code < Reason.UNSPECIFIED_ERROR for _, code in own),
            heard=self._heard,
            published=self._published,
            came_back_s=self._came_back_s,
            seconds=took,
        )

    # -- the link's owner and host ---------------------------------------------------------------

    def welcome(self, link: Link, connack: p.Connack) -> None:  # noqa: ARG002 - the host's signature
        """Note that we are in."""
        self.connack = connack
        self.let_in.set_result(None)

    def birth_answered(self, reason_code: int) -> None:
        """Nothing: a guest has no birth message."""

    def lost(self, answers: list[Answer]) -> None:
        """Nothing: `ended` says it."""

    def connected(self, link: Link, *, session_present: bool) -> None:
        """Nothing: `welcome` was before."""

    def acknowledged(self, count: int) -> None:
        """Nothing: what comes at QoS 0 has no answer."""

    def disconnected(self, lost: list[Answer]) -> None:
        """Nothing: `ended` says it."""

    def received(self, link: Link, received: Received) -> None:  # noqa: ARG002 - the owner's signature
        """Note answers and what was subscribed to; messages of devices are dropped unread."""
        for news in received.news:
            if type(news) is p.Suback:
                self._codes.append(news.reason_codes)
        for message in received.messages:
            if type(message) is not p.Publish:
                continue
            if message.topic in SYS and len(self._heard) < HEARD_MAX:
                self._heard[message.topic] = message.payload[:200].decode(errors="replace")
            elif message.topic == self._topic:
                self._came_back_s = time.monotonic() - self._sent_at
        for _token, code in received.answers:
            self._published = code
        self._news.set()
