"""`Link` by paho-mqtt, for what a kept library does better: MQTT over WebSockets, HTTP and SOCKS proxies.

paho runs in a thread of its own (20-40 us a message more than `SocketLink`); everything crosses to the loop's
thread before the owner sees it. Each connection is a new paho client: reconnecting is `connection`'s part.

Acknowledgement is manual here too. QoS 2 towards us is asked for as QoS 1, because paho sends PUBREC before
the message is on the disk. While the owner has paused, paho's thread waits, at most half the keep-alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.mqtt import packet as p
from gateway.mqtt import wire
from gateway.mqtt.link import BIRTH, REFUSALS, Credentials, Ending, Host, Link, Marked, Owner, for_the_owner, words
from gateway.mqtt.options import ConnectionOptions, proxy_of
from gateway.mqtt.packet import NO_PROPERTIES, Reason
from gateway.mqtt.session import Received, Session, SessionOptions, refusal
from gateway.mqtt.window import LOST, Answer

FAREWELL_S: Final = 1.0  # how long the answer to our last word may take
PAUSE_S_MAX: Final = 30.0  # how long paho's thread may be held up at once
QUEUE_MAX: Final = 65_535  # messages out that paho keeps


async def open_link(
    session: Session,
    owner: Owner,
    host: Host,
    options: ConnectionOptions,
    version: int,
    credentials: Credentials,
    context: ssl.SSLContext | None,
) -> Link:
    """Open the network connection and send CONNECT. OSError, ssl.SSLError, ValueError: as `connection` knows them."""
    link = PahoLink(session.options, owner, host, options, version, credentials, context)
    try:
        await asyncio.to_thread(link.open)
    except asyncio.CancelledError:  # the gateway stops, or it takes too long: the thread goes on all the same
        link.abandon()
        raise
    link.start()  # no earlier: whoever is let in must be there to be closed
    return link


class PahoLink:
    """One paho client for the time of one connection."""

    def __init__(
        self,
        session: SessionOptions,
        owner: Owner,
        host: Host,
        options: ConnectionOptions,
        version: int,
        credentials: Credentials,
        context: ssl.SSLContext | None,
    ) -> None:
        self.version = version
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[Ending] = self._loop.create_future()
        self.answered = self.refused = False
        self._session = session
        self._owner = owner
        self._host = host
        self._options = options
        self.limits = NO_PROPERTIES
        self._accepted = False
        self._subscribing = 0  # SUBSCRIBE without an answer
        self._ending: Ending | None = None
        self._farewell: paho.MQTTMessageInfo | None = None  # our last word, on its way
        self._tokens: dict[int, Any] = {}
        self._arrived: deque[p.Publish] = deque()  # bounded by the receive maximum, or by paho's thread waiting
        self._opening = threading.Lock()
        self._opened = self._abandoned = False
        self._going = threading.Event()
        self._going.set()
        self._client = self._make(credentials, context)

    def _make(self, credentials: Credentials, context: ssl.SSLContext | None) -> paho.Client:
        address, five = self._options.address, self.version == p.V5
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            self._session.client_id,
            clean_session=None if five else self._session.clean_start,
            protocol=paho.MQTTv5 if five else paho.MQTTv311,
            transport="websockets" if address.websocket else "tcp",
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = self._options.connect_timeout_s
        client.max_inflight_messages_set(self._options.inflight_max)
        client.max_queued_messages_set(min(self._session.waiting_max, QUEUE_MAX))
        username, password = credentials
        if username is not None:
            client.username_pw_set(username, password)  # type: ignore[arg-type]  # paho takes bytes, its types do not say so
        if context is not None:
            client.tls_set_context(context)
            client.tls_insecure_set(not self._options.tls.verify)
        if address.websocket:
            client.ws_set_options(path=address.path)
        if self._options.proxy is not None:
            _set_proxy(client, self._options.proxy)
        if self._session.will is not None:
            will = self._session.will
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        return client

    def open(self) -> None:
        """Connect the socket and send CONNECT (blocking)."""
        address, options = self._options.address, self._session
        properties = None
        if self.version == p.V5:
            properties = PahoProperties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = options.session_expiry_s
            properties.ReceiveMaximum = options.receive_maximum
            properties.MaximumPacketSize = options.packet_bytes_max
        self._client.connect(
            address.host,
            address.port,
            options.keep_alive_s,
            clean_start=options.clean_start if self.version == p.V5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
            properties=properties,
        )
        with self._opening:
            self._opened = True
            if self._abandoned:
                self._client.disconnect()

    def start(self) -> None:
        """Start paho's thread."""
        self._client.loop_start()

    def abandon(self) -> None:
        """Give up what is not started: closed as soon as it is open."""
        self._ending = Ending("closed", Reason.SUCCESS)
        with self._opening:
            self._abandoned = True
            if self._opened:
                self._client.disconnect()

    # -- paho's thread -------------------------------------------------------------------------

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def _on_connect(
        self, _client: paho.Client, _data: Any, flags: paho.ConnectFlags, code: ReasonCode, properties: Any
    ) -> None:
        connack = p.Connack(flags.session_present, code.value, _ours(properties, wire.CONNACK))
        self._call(self._connack, connack)

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self._going.wait(PAUSE_S_MAX)
        properties = _ours(message.properties, wire.PUBLISH)
        self._arrived.append(
            p.Publish(
                message.topic, bytes(message.payload), message.qos, message.retain, message.dup, message.mid, properties
            )
        )
        if len(self._arrived) == 1:  # looked at behind `append`: what was there before may be handed over by now
            self._call(self._hand_over)

    def _on_publish(self, _client: paho.Client, _data: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        self._call(self._answered, mid, code.value)

    def _on_subscribe(
        self, _client: paho.Client, _data: Any, mid: int, codes: list[ReasonCode], _properties: Any
    ) -> None:
        suback = p.Suback(mid, tuple(code.value for code in codes))
        self._call(self._subscribed, suback)

    def _on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: paho.DisconnectFlags, code: ReasonCode, properties: Any
    ) -> None:
        self._call(self._lost, p.Disconnect(code.value, _ours(properties, wire.DISCONNECT)))

    # -- the loop's thread ---------------------------------------------------------------------

    def _connack(self, connack: p.Connack) -> None:
        if connack.reason_code:
            refused = connack.reason_code in REFUSALS
            self._end(Ending(f"refused: {words(connack)}", connack.reason_code, refused=refused))
        elif self._ending is None:
            self._accepted = True
            self.limits = connack.properties
            self._host.welcome(self, connack)

    def _hand_over(self) -> None:
        messages: list[p.Publish | p.Pubrel] = []
        while self._arrived:
            messages.append(self._arrived.popleft())
        if messages:
            self._tell(Received(messages, [], []))

    def _answered(self, mid: int, reason_code: int) -> None:
        if mid in self._tokens:
            answers = for_the_owner(self._host, [(self._tokens.pop(mid), reason_code)])
            if answers:
                self.answered = True
                self.refused = self.refused or reason_code >= Reason.UNSPECIFIED_ERROR
                self._tell(Received([], answers, []))

    def _subscribed(self, suback: p.Suback) -> None:
        self._subscribing -= 1
        self._tell(Received([], [], [suback]))

    def _tell(self, received: Received) -> None:
        if self._accepted and self._ending is None:
            self._owner.received(self, received)

    def _lost(self, disconnect: p.Disconnect) -> None:
        why = f"disconnected: {words(disconnect)}" if disconnect.reason_code else "the peer closed the connection"
        refused = disconnect.reason_code in REFUSALS
        pushed = self._accepted and not (refused or self._subscribing)
        self._end(Ending(why, disconnect.reason_code, refused=refused, silent=not self._accepted, pushed=pushed))

    def _end(self, ending: Ending) -> None:
        if self._ending is not None:
            return
        self._ending = ending
        self._going.set()
        lost: list[Answer] = [(token, LOST) for token in self._tokens.values()]
        self._tokens.clear()
        self._arrived.clear()
        if self._accepted:
            self._host.lost(for_the_owner(self._host, lost))
        self._loop.run_in_executor(None, self._stop)

    def _stop(self) -> None:
        """End paho's thread, then say so (blocking).

        paho closes right behind DISCONNECT: an answer that comes then would reset the connection under it.
        """
        if self._farewell is not None:
            with contextlib.suppress(RuntimeError, ValueError):  # it never left
                self._farewell.wait_for_publish(FAREWELL_S)
        self._client.disconnect()
        self._client.loop_stop()
        self._call(self._stopped)

    def _stopped(self) -> None:
        if not self.ended.done() and self._ending is not None:
            self.ended.set_result(self._ending)

    # -- the owner's side ----------------------------------------------------------------------

    def publish(
        self, topic: bytes, payload: bytes, qos: int, properties: bytes, token: Any, *, retain: bool = False
    ) -> int:
        """Send; 0 or a reason code."""
        if self._ending is not None or not self._accepted:
            return Reason.SERVER_UNAVAILABLE
        refused = refusal(self.limits, len(topic), len(payload), qos, len(properties), retain=retain)
        if refused:
            return refused
        theirs = None
        if self.version == p.V5:
            theirs = PahoProperties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            theirs.unpack(properties)  # type: ignore[no-untyped-call]
        info = self._client.publish(topic.decode(), payload, qos, retain, theirs)
        if info.rc not in (paho.MQTT_ERR_SUCCESS, paho.MQTT_ERR_AGAIN):
            return Reason.QUOTA_EXCEEDED if info.rc == paho.MQTT_ERR_QUEUE_SIZE else Reason.SERVER_UNAVAILABLE
        if qos:
            self._tokens[info.mid] = token
        return 0

    def announce(self, topic: bytes, payload: bytes, qos: int, *, retain: bool) -> None:
        """Publish our birth; its answer goes to the host."""
        self.publish(topic, payload, qos, b"\0" if self.version == p.V5 else b"", BIRTH, retain=retain)

    def subscribe(self, subscriptions: tuple[p.Subscription, ...]) -> None:
        """Send SUBSCRIBE, at QoS 1 at most."""
        self._subscribing += 1
        if self.version == p.V5:
            self._client.subscribe(
                [
                    (
                        s.topic_filter,
                        SubscribeOptions(min(s.qos, 1), s.no_local, s.retain_as_published, s.retain_handling),
                    )
                    for s in subscriptions
                ]
            )
        else:
            self._client.subscribe([(s.topic_filter, min(s.qos, 1)) for s in subscriptions])

    def unsubscribe(self, topic_filters: tuple[str, ...]) -> None:
        """Send UNSUBSCRIBE; nobody is told of its answer."""
        self._client.unsubscribe(list(topic_filters))

    def acknowledge(self, delivery: Marked) -> None:
        """Send PUBACK for a message of this connection."""
        if self._ending is None and delivery.token:
            self._client.ack(delivery.token, 1)
            self._owner.acknowledged(1)

    def withdraw(self, wanted: Callable[[Any], bool]) -> list[Any]:  # noqa: ARG002 - `Link`'s signature
        """Take back nothing: what paho has, it sends."""
        return []

    def pause(self) -> None:
        """Hold paho's thread up at the next message."""
        self._going.clear()

    def resume(self) -> None:
        """Let paho's thread go on."""
        self._going.set()

    async def drain(self) -> None:
        """Return at once: paho's queue is bounded, and a full one refuses."""

    def close(self, *, with_will: bool = False) -> None:
        """Say goodbye and close."""
        if self._ending is None and self._accepted and with_will and self._session.will is not None:
            will = self._session.will  # paho's disconnect would keep the broker from saying it
            self._farewell = self._client.publish(will.topic, will.payload, min(will.qos, 1), will.retain)
        self._end(Ending("closed", Reason.SUCCESS))

    def abort(self) -> None:
        """Close; paho knows no rougher way."""
        self._end(Ending("closed", Reason.SUCCESS))


def _set_proxy(client: paho.Client, url: str) -> None:
    proxy = proxy_of(url)
    try:
        import socks  # type: ignore[import-untyped]
    except ImportError:
        raise ValueError("a proxy needs the package PySocks") from None
    kinds = {"http": socks.HTTP, "socks4": socks.SOCKS4, "socks5": socks.SOCKS5}
    client.proxy_set(proxy_type=kinds[proxy.scheme], proxy_addr=proxy.host, proxy_port=proxy.port)


def _ours(properties: PahoProperties | None, context: int) -> p.Properties:
    """Return paho's properties as ours, by way of the bytes both know."""
    if properties is None or properties.isEmpty():  # type: ignore[no-untyped-call]
        return NO_PROPERTIES
    raw = properties.pack()  # type: ignore[no-untyped-call]
    return wire.Reader(context, raw, 0, len(raw)).properties()
