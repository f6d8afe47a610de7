"""The server's side of MQTT for one client, 3.1.1 and 5 (sans-io): a connection, and the session that outlives it.

`ServerConnection.receive` takes bytes and hands whole messages to the server (`Server.deliver`); what is to be sent
collects in `out`. Nothing is answered with PUBACK or PUBREC before `ServerSession.acknowledge` was called for that
message, and answers leave in the order of arrival. Times are seconds of a clock that never steps, given by the caller.

Bounds: what waits for acknowledgement is bounded by the caller, who stops reading a client whose `ServerSession.full`
is true; a packet by `Limits.packet_bytes_max`; what waits for the client by `Limits.outbound`.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import msgspec

from gateway.errors import ProtocolError
from gateway.mqtt import codec
from gateway.mqtt import packet as p
from gateway.mqtt.inbound import PUBCOMP, Inbound
from gateway.mqtt.outbound import Outbound, OutboundLimits
from gateway.mqtt.packet import NO_PROPERTIES, V5, Packet, Properties, Publish, Reason, Will
from gateway.mqtt.subscriptions import Wish

KEEP_ALIVE_FACTOR: Final = 1.5  # section 3.1.2.10
CONNECT_WITHIN_S: Final = 10.0
NEVER: Final = 0xFFFFFFFF  # a Session Expiry Interval


class Limits(msgspec.Struct, frozen=True, gc=False):
    """What one client may use."""

    receive_max: int = 512  # QoS 1 and 2 messages not acknowledged; told to clients that speak MQTT 5
    unacknowledged_bytes_max: int = 1024 * 1024
    packet_bytes_max: int = codec.PACKET_BYTES_MAX
    topic_alias_max: int = 32
    subscriptions_max: int = 100
    expiry_s_max: int = 7 * 86_400  # how long a session is kept without its client
    outbound: OutboundLimits = OutboundLimits()


class Server(Protocol):
    """What a connection needs of the server it belongs to."""

    limits: Limits

    def connect(self, connection: ServerConnection, packet: p.Connect, now: float) -> None:
        """Accept (the connection has its session then) or refuse."""
        ...

    def lost(self, connection: ServerConnection, now: float) -> None:
        """Take a connection off its session; its will is due unless it was taken back."""
        ...

    def deliver(self, session: ServerSession, messages: list[Publish]) -> None:
        """Take messages in the order of their arrival."""
        ...

    def acknowledged(self, session: ServerSession, publish: Publish) -> None:
        """Pass on a message that is safe now."""
        ...

    def subscribe(self, session: ServerSession, packet: p.Subscribe, now: float) -> None:
        """Subscribe, answer, send what is retained."""
        ...

    def unsubscribe(self, session: ServerSession, packet: p.Unsubscribe) -> None:
        """Unsubscribe and answer."""
        ...

    def touched(self, connection: ServerConnection) -> None:
        """There is something to send, or to close."""
        ...


class ServerSession:
    """What a server knows of a client, connected or not (MQTT 5 section 4.1)."""

    __slots__ = (
        *("_server", "client_id", "connection", "expires_at", "expiry_s", "inbound", "outbound"),
        *("peer", "row", "username", "wishes"),
    )

    def __init__(self, server: Server, client_id: str) -> None:
        self._server = server
        self.client_id = client_id
        self.peer: Any = None  # the caller's own
        self.username: str | None = None
        self.expiry_s = 0
        self.expires_at: float | None = None  # None while connected
        self.connection: ServerConnection | None = None
        self.wishes: dict[str, Wish] = {}  # by topic filter
        self.row: dict[str, Any] | None = None  # what is kept of it over a restart
        self.inbound = Inbound()
        self.outbound = Outbound(server.limits.outbound)

    @property
    def full(self) -> bool:
        """Return whether so much waits for acknowledgement that nothing more should be read."""
        limits, inbound = self._server.limits, self.inbound
        return inbound.messages >= limits.receive_max or inbound.bytes >= limits.unacknowledged_bytes_max

    @property
    def drained(self) -> bool:
        """Return whether reading may go on after `full`."""
        limits, inbound = self._server.limits, self.inbound
        return inbound.messages * 2 <= limits.receive_max and inbound.bytes * 2 <= limits.unacknowledged_bytes_max

    def acknowledge(self, publish: Publish) -> None:
        """Answer a message that is safe now and pass it on to subscribers. Harmless when the client is gone."""
        self.inbound.acknowledge(publish)
        connection = self.connection
        if connection is not None and not connection.flagged:
            self._server.touched(connection)
        self._server.acknowledged(self, publish)


class ServerConnection:
    """One connection from its first byte. The caller moves bytes and time; see `receive`, `out`, `closing`."""

    __slots__ = (
        *("_aliases", "_decoder", "_opened", "_server", "closing", "flagged", "keep_alive_s", "last_heard"),
        *("out", "peer", "reason", "session", "too_large", "unread", "version", "will"),
    )

    def __init__(self, server: Server, now: float, peer: Any = None) -> None:
        self._server = server
        self._decoder = codec.Decoder(None, server.limits.packet_bytes_max)
        self._aliases: dict[int, str] = {}
        self._opened = now
        self.peer = peer  # the caller's own: what moves the bytes
        self.out: list[bytes] = []  # to send; the caller empties it (keeping the list)
        self.closing = False  # send `out`, then close the socket
        self.flagged = False  # the caller knows of `out` or `closing`; it resets this when it has dealt with them
        self.reason = ""  # why it ended
        self.too_large = False  # because of a packet over the limit
        self.session: ServerSession | None = None
        self.version = 0
        self.keep_alive_s = 0.0  # silence after which the client counts as gone; 0 = never
        self.last_heard = now
        self.unread = False  # the caller does not read this client now: its silence says nothing
        self.will: Will | None = None

    def receive(self, data: bytes | memoryview, now: float) -> None:
        """Take bytes. Ends the connection (`closing`) when they break the protocol; never raises for them."""
        self.last_heard = now
        if self.closing:
            return
        try:
            self._take(self._decoder.feed(data), now)
            if self._decoder.error is not None and not self.closing:
                raise self._decoder.error
        except ProtocolError as error:
            reason = error.reason_code
            if self.session is None and reason == Reason.UNSUPPORTED_PROTOCOL_VERSION:
                self.out.append(codec.encode(p.Connack(reason_code=1), p.V311))  # 3.1.1 section 3.1.2.2
            self.too_large = reason == Reason.PACKET_TOO_LARGE and self.session is not None
            self.end(reason, str(error), now)
        if self.out and not self.flagged:
            self._server.touched(self)

    def _take(self, packets: list[Packet], now: float) -> None:
        messages: list[Publish] = []
        session = self.session
        try:
            for packet in packets:
                if type(packet) is Publish and session is not None:
                    if packet.properties is not NO_PROPERTIES:
                        self._resolve(packet)
                    inbound = session.inbound
                    if packet.qos:
                        if not inbound.take(packet, now):
                            continue
                    else:
                        inbound.messages += 1
                        inbound.bytes += len(packet.payload)
                    messages.append(packet)
                else:
                    self._other(packet, now)
                    session = self.session
                    if self.closing:
                        break
        finally:  # what came before a fault is as good as any
            if messages and session is not None:
                self._server.deliver(session, messages)
        if self.version == V5 and session is not None:
            over = messages and session.inbound.over_quota(self._server.limits.receive_max)
            if over:
                raise ProtocolError("more messages than the Receive Maximum allows", Reason.RECEIVE_MAXIMUM_EXCEEDED)

    def _resolve(self, publish: Publish) -> None:
        """Replace a topic alias by its topic (section 3.3.2.3.4) and check what only a server may send."""
        properties = publish.properties
        if properties.subscription_identifier:
            raise ProtocolError("PUBLISH: subscription identifier from a client", Reason.PROTOCOL_ERROR)
        alias = properties.topic_alias
        if alias is None:
            return
        if alias > self._server.limits.topic_alias_max:
            raise ProtocolError(f"topic alias {alias} is out of range", Reason.TOPIC_ALIAS_INVALID)
        if publish.topic:
            self._aliases[alias] = publish.topic
        elif alias not in self._aliases:
            raise ProtocolError(f"topic alias {alias} is unknown", Reason.TOPIC_ALIAS_INVALID)
        publish.topic = self._aliases[alias]
        properties = msgspec.structs.replace(properties, topic_alias=None)
        publish.properties = NO_PROPERTIES if properties == NO_PROPERTIES else properties

    def _other(self, packet: Packet, now: float) -> None:
        session = self.session
        if session is None:
            if not isinstance(packet, p.Connect):
                raise ProtocolError(f"{type(packet).__name__} before CONNECT", Reason.PROTOCOL_ERROR)
            self.version = packet.version
            self._server.connect(self, packet, now)
            return
        match packet:
            case p.Puback() | p.Pubrec():
                session.outbound.acknowledged(packet.packet_id, now)
            case p.Pubrel():
                self._complete(session, packet)
            case p.Subscribe():
                self._server.subscribe(session, packet, now)
            case p.Unsubscribe():
                self._server.unsubscribe(session, packet)
            case p.Pingreq():
                self.out.append(codec.PINGRESP)
            case p.Disconnect():
                self._disconnect(session, packet, now)
            case _:
                name = type(packet).__name__.upper()
                raise ProtocolError(f"{name} from a connected client", Reason.PROTOCOL_ERROR)

    def _complete(self, session: ServerSession, packet: p.Pubrel) -> None:
        """Answer PUBREL (section 4.3.3); one not in use gets a PUBCOMP too, or it would come again."""
        known = session.inbound.complete(packet.packet_id)
        if known or self.version != V5:
            self.out.append(codec.ack(PUBCOMP, 2, packet.packet_id))
        else:
            self.out.append(codec.encode(p.Pubcomp(packet.packet_id, Reason.PACKET_IDENTIFIER_NOT_FOUND), V5))

    def _disconnect(self, session: ServerSession, packet: p.Disconnect, now: float) -> None:
        expiry_s = packet.properties.session_expiry_interval
        if expiry_s is not None:
            if expiry_s and not session.expiry_s:
                raise ProtocolError("DISCONNECT: expiry for a session that has none", Reason.PROTOCOL_ERROR)
            session.expiry_s = min(expiry_s, self._server.limits.expiry_s_max)
        if packet.reason_code != Reason.DISCONNECT_WITH_WILL_MESSAGE:
            self.will = None
        self.closing = True
        self.reason = "disconnected by the client"
        self._server.lost(self, now)
        self._server.touched(self)

    def refuse(self, reason: Reason, why: str) -> None:
        """Answer CONNECT with a refusal and close (section 3.2.2.2)."""
        code = reason if self.version == V5 else RETURN_CODES_311.get(reason, 3)
        self.out.append(codec.encode(p.Connack(reason_code=code), self.version))
        self.closing = True
        self.reason = why
        self._server.touched(self)

    def end(self, reason: int, why: str, now: float) -> None:
        """End the connection from this side; a client that speaks MQTT 5 is told the reason."""
        if self.closing:
            return
        if self.session is not None and self.version == V5:
            text = why[:200]
            properties = Properties(reason_string=text) if text else NO_PROPERTIES
            self.out.append(codec.encode(p.Disconnect(reason, properties), V5))
        self.closing = True
        self.reason = why
        self._server.lost(self, now)
        self._server.touched(self)

    def cut(self, why: str, now: float) -> None:
        """Take notice that the socket is gone."""
        if not self.closing:
            self.closing = True
            self.reason = why
            self._server.lost(self, now)

    def tick(self, now: float) -> None:
        """Look at the time: no CONNECT, or a client that has been silent too long (not while it is not read)."""
        if self.session is None:
            if now - self._opened > CONNECT_WITHIN_S:
                self.end(Reason.UNSPECIFIED_ERROR, f"no CONNECT within {CONNECT_WITHIN_S:.0f} s", now)
        elif self.keep_alive_s and not self.unread and now - self.last_heard > self.keep_alive_s:
            self.end(Reason.KEEP_ALIVE_TIMEOUT, f"silent for {now - self.last_heard:.0f} s", now)


RETURN_CODES_311: Final = {  # 3.1.1 table 3.1; whatever else is refused is "server unavailable"
    Reason.UNSUPPORTED_PROTOCOL_VERSION: 1,
    Reason.CLIENT_IDENTIFIER_NOT_VALID: 2,
    Reason.BAD_USER_NAME_OR_PASSWORD: 4,
    Reason.NOT_AUTHORIZED: 5,
}
