"""A client's MQTT session, 3.1.1 and 5 (sans-io): bytes in, what they mean out, and the bytes to answer with.

Call `connect` for each new network connection, `receive` with what arrives, `tick` every `tick_s`, and put
what `data_to_send` returns on the wire after each of these and after `publish`, `acknowledge`, `subscribe`.

**Acknowledgement is manual.** Each message of QoS 1 or 2 and each PUBREL is handed out with a token
(`token_of`) and answered only when `acknowledge(token)` is called: PUBACK, PUBREC, PUBCOMP. So a message can be
on the disk before its PUBACK, and a QoS 2 identifier's removal before its PUBCOMP. Answers leave in the order of
receipt (section 4.6), whatever the order of the calls. Tokens belong to one connection: those of an earlier one
must not be given back (`link` sees to it), the peer delivers those messages again.

**Nothing that kills the connection is sent.** What the peer said it does not take (size, QoS, retain) is refused
here with the reason code that it would have used.

Bounds: `receive_maximum` unacknowledged messages in, as far as the peer keeps to it, `Window`'s out,
`topic_alias_max` aliases. Mosquitto 2.0 sends up to twice the receive maximum when a session with a backlog goes on
(1,965 for 1,000 seen); ending the connection for it would only bring the same again, so whoever takes the messages
pauses reading instead, and packet identifiers end at 65,535.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Any, Final

import msgspec

from gateway.errors import ProtocolError
from gateway.mqtt import packet as p
from gateway.mqtt.decode import PACKET_BYTES_MAX, Decoder
from gateway.mqtt.encode import PINGREQ, ack, encode, publish, publish_size
from gateway.mqtt.packet import NO_PROPERTIES, Publish, Pubrel, Reason
from gateway.mqtt.window import SIZE_DEFAULT, Answer, Window

PUBREC_TOKEN: Final = 1 << 16  # a token is a packet identifier plus which answer it stands for
PUBCOMP_TOKEN: Final = 2 << 16
_FIRST_BYTES: Final = (0x40, 0x50, 0x70)  # of that answer


class State(Enum):
    """Where a session's connection is."""

    IDLE = "idle"
    CONNECTING = "connecting"  # CONNECT is sent
    CONNECTED = "connected"  # CONNACK said success
    CLOSED = "closed"  # ended by either side


class SessionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks for in CONNECT, and its own limits."""

    client_id: str
    clean_start: bool = False
    keep_alive_s: int = 60  # 0 = none
    session_expiry_s: int = 0  # MQTT 5; 3.1.1 keeps a session for ever unless clean_start
    receive_maximum: int = 1000  # messages we let the peer have unacknowledged
    packet_bytes_max: int = PACKET_BYTES_MAX
    topic_alias_max: int = 32
    inflight_max: int = 100  # messages of ours unacknowledged where the peer has no Receive Maximum (3.1.1)
    waiting_max: int = 10_000  # messages of ours that wait for room in that window
    will: p.Will | None = None


class Received(msgspec.Struct):
    """What a piece of bytes brought, in order within each list."""

    messages: list[Publish | Pubrel]  # to be handed on; see `token_of`
    answers: list[Answer]  # to what we published
    news: list[p.Connack | p.Suback | p.Unsuback | p.Disconnect]
    error: ProtocolError | None = None  # the connection must be closed now


def token_of(message: Publish | Pubrel) -> int:
    """Return what `acknowledge` wants back for a message; 0 at QoS 0."""
    if type(message) is Publish:
        return message.packet_id | PUBREC_TOKEN if message.qos == 2 else message.packet_id
    return message.packet_id | PUBCOMP_TOKEN


def refusal(
    limits: p.Properties, topic_bytes: int, payload_bytes: int, qos: int, properties_bytes: int, *, retain: bool
) -> int:
    """Return the reason code with which a peer of these limits would refuse a message, or 0."""
    if limits.maximum_qos is not None and qos > limits.maximum_qos:
        return Reason.QOS_NOT_SUPPORTED
    if retain and limits.retain_available == 0:
        return Reason.RETAIN_NOT_SUPPORTED
    size_max = limits.maximum_packet_size
    if size_max is not None and publish_size(topic_bytes, payload_bytes, qos, properties_bytes) > size_max:
        return Reason.PACKET_TOO_LARGE
    return 0


class Session:
    """One client, over any number of connections."""

    def __init__(self, options: SessionOptions) -> None:
        self.options = options
        self.client_id = options.client_id
        self.state = State.IDLE
        self.version = p.V5
        self.limits = NO_PROPERTIES  # what CONNACK said
        self._out: list[bytes] = []
        self.window = Window(self._out.append, options.waiting_max)
        self._decoder = Decoder(p.V5, options.packet_bytes_max)
        self._unacknowledged: deque[int] = deque()  # tokens, in order of receipt
        self._early: set[int] = set()  # acknowledged, but not their turn yet
        self._aliases: dict[int, str] = {}
        self._keep_alive_s = 0.0
        self._heard = self._wrote = False
        self._heard_at = self._wrote_at = 0.0
        self._pinged_at: float | None = None

    # -- the connection ------------------------------------------------------------------------

    def connect(self, version: int, username: str | None = None, password: bytes | None = None) -> None:
        """Begin on a new network connection: CONNECT is the first thing to send."""
        options = self.options
        self.state, self.version = State.CONNECTING, version
        self._decoder = Decoder(version, options.packet_bytes_max)
        self._out.clear()
        self._unacknowledged.clear()
        self._early.clear()
        self._aliases.clear()
        self._pinged_at = None
        self.window.size = 0
        asked = p.Properties(
            session_expiry_interval=options.session_expiry_s or None,
            receive_maximum=options.receive_maximum,
            maximum_packet_size=options.packet_bytes_max,
            topic_alias_maximum=options.topic_alias_max or None,
        )
        connect = p.Connect(
            self.client_id,
            version,
            options.clean_start,
            options.keep_alive_s,
            username,
            password,
            options.will,
            asked if version == p.V5 else NO_PROPERTIES,
        )
        self._out.append(encode(connect, version))

    @property
    def wants_to_send(self) -> bool:
        """Whether there is something for `data_to_send` to return."""
        return bool(self._out)

    def data_to_send(self) -> bytes:
        """Return (once) the bytes that must go on the wire now."""
        out = self._out
        if not out:
            return b""
        self._wrote = True
        data = b"".join(out)
        out.clear()
        return data

    def disconnect(self, reason_code: int = 0) -> None:
        """Say goodbye; 0x04 asks an MQTT 5 peer to publish the will all the same."""
        if self.state is State.CONNECTED:
            self._out.append(encode(p.Disconnect(reason_code), self.version))
        self.state = State.CLOSED

    def lose(self) -> list[Answer]:
        """Note that the network connection is gone; return what will get no answer."""
        self.state = State.CLOSED
        return self.window.lose()

    def tick(self, now: float, *, reading: bool = True) -> ProtocolError | None:
        """Keep the connection alive; returns an error when the peer has been silent for too long.

        `now` is any steady clock in seconds; `reading` False: nobody looks for answers, so none is missed.
        """
        if self.state is not State.CONNECTED or not self._keep_alive_s:
            return None
        if self._heard or not reading:
            self._heard, self._heard_at, self._pinged_at = False, now, None
        if self._wrote:
            self._wrote, self._wrote_at = False, now
        if self._pinged_at is not None:
            if now - self._pinged_at >= self._keep_alive_s / 2:
                error = ProtocolError("no answer to PINGREQ", Reason.KEEP_ALIVE_TIMEOUT)
                self._fail(error)
                return error
        elif now - self._wrote_at >= self._keep_alive_s / 2 or now - self._heard_at >= self._keep_alive_s:
            self._pinged_at = now
            self._out.append(PINGREQ)
        return None

    @property
    def tick_s(self) -> float:
        """How often `tick` wants to be called."""
        return self._keep_alive_s / 4 or 60.0

    # -- in ------------------------------------------------------------------------------------

    def receive(self, data: bytes | bytearray | memoryview) -> Received:
        """Take bytes from the peer. Never raises: a fault is in `error`, behind what came whole before it."""
        self._heard = True
        messages: list[Publish | Pubrel] = []
        received = Received(messages, [], [])
        unacknowledged = self._unacknowledged
        try:
            for packet in self._decoder.feed(data):
                if type(packet) is Publish and self.state is State.CONNECTED:
                    if packet.properties is not NO_PROPERTIES and packet.properties.topic_alias is not None:
                        self._resolve_alias(packet, packet.properties.topic_alias)
                    if packet.qos:
                        unacknowledged.append(packet.packet_id if packet.qos == 1 else packet.packet_id | PUBREC_TOKEN)
                    messages.append(packet)
                elif type(packet) is p.Puback and self.state is State.CONNECTED:
                    self.window.puback(packet.packet_id, packet.reason_code, received.answers)
                else:
                    self._rare(packet, received)
            if self._decoder.error is not None:
                raise self._decoder.error
        except ProtocolError as error:
            received.error = error
            self._fail(error)
        return received

    def _fail(self, error: ProtocolError) -> None:
        if self.state is State.CONNECTED and self.version == p.V5:
            self._out.append(encode(p.Disconnect(error.reason_code), p.V5))
        self.state = State.CLOSED

    def _resolve_alias(self, packet: Publish, alias: int) -> None:
        """Section 3.3.2.3.4: a topic with an alias sets it, an empty topic means what was set."""
        if alias > self.options.topic_alias_max:
            raise ProtocolError(f"topic alias {alias} was not offered", Reason.TOPIC_ALIAS_INVALID)
        if packet.topic:
            self._aliases[alias] = packet.topic
        elif alias in self._aliases:
            packet.topic = self._aliases[alias]
        else:
            raise ProtocolError(f"topic alias {alias} was never set", Reason.PROTOCOL_ERROR)

    def _rare(self, packet: p.Packet, received: Received) -> None:
        """Take everything that does not come by the thousand."""
        if self.state is not State.CONNECTED:
            if type(packet) is not p.Connack or self.state is not State.CONNECTING:
                raise ProtocolError(f"{type(packet).__name__.upper()} while {self.state.value}")
            self._connack(packet, received)
            return
        match packet:
            case p.Pubrec():
                self.window.pubrec(packet.packet_id, packet.reason_code, received.answers)
            case p.Pubcomp():
                self.window.pubcomp(packet.packet_id, received.answers)
            case p.Pubrel():
                self._unacknowledged.append(packet.packet_id | PUBCOMP_TOKEN)
                received.messages.append(packet)
            case p.Suback() | p.Unsuback():
                received.news.append(packet)
            case p.Disconnect() if self.version == p.V5:
                self.state = State.CLOSED
                received.news.append(packet)
            case p.Pingresp():
                pass  # `_heard` is all it says
            case _:
                raise ProtocolError(f"{type(packet).__name__.upper()} from a server")

    def _connack(self, packet: p.Connack, received: Received) -> None:
        reason_code = p.connack_reason(packet.reason_code, self.version)
        received.news.append(p.Connack(packet.session_present, reason_code, packet.properties))
        if reason_code >= Reason.UNSPECIFIED_ERROR:
            self.state = State.CLOSED
            return
        self.state = State.CONNECTED
        self.limits = limits = packet.properties
        if limits.assigned_client_identifier:
            self.client_id = limits.assigned_client_identifier
        keep_alive = limits.server_keep_alive
        self._keep_alive_s = float(self.options.keep_alive_s if keep_alive is None else keep_alive)
        self._heard = self._wrote = True
        five = self.version == p.V5
        size = (limits.receive_maximum or SIZE_DEFAULT) if five else self.options.inflight_max
        received.answers += self.window.resume(size, session_present=packet.session_present)

    def acknowledge(self, token: int) -> None:
        """Answer a message of this connection: it is safe here. Token 0 (QoS 0) has no answer."""
        unacknowledged = self._unacknowledged
        if unacknowledged and unacknowledged[0] == token:
            unacknowledged.popleft()
            self._out.append(ack(_FIRST_BYTES[token >> 16], 2, token & 0xFFFF))
            early = self._early
            while early and unacknowledged and unacknowledged[0] in early:
                token = unacknowledged.popleft()
                early.discard(token)
                self._out.append(ack(_FIRST_BYTES[token >> 16], 2, token & 0xFFFF))
        elif token in unacknowledged:
            self._early.add(token)

    # -- out -----------------------------------------------------------------------------------

    def subscribe(self, subscriptions: tuple[p.Subscription, ...], properties: p.Properties = NO_PROPERTIES) -> int:
        """Send SUBSCRIBE and return its packet identifier; SUBACK comes as news."""
        packet_id = self.window.take_id()
        self._out.append(encode(p.Subscribe(packet_id, subscriptions, properties), self.version))
        return packet_id

    def unsubscribe(self, topic_filters: tuple[str, ...]) -> int:
        """Send UNSUBSCRIBE and return its packet identifier; UNSUBACK comes as news."""
        packet_id = self.window.take_id()
        self._out.append(encode(p.Unsubscribe(packet_id, topic_filters), self.version))
        return packet_id

    def publish(
        self, topic: bytes, payload: bytes, qos: int, properties: bytes, token: Any, *, retain: bool = False
    ) -> int:
        """Send a message, or say why not: 0, or the reason code with which the peer would have refused it.

        `topic` is a valid topic name in UTF-8; `properties` as `wire.properties` makes them (b"" in 3.1.1).
        At QoS 1 and 2 `token` comes back in `Received.answers`, or from `lose`; at QoS 0 there is no answer.
        """
        if self.state is not State.CONNECTED:
            return Reason.SERVER_UNAVAILABLE
        if self.limits is not NO_PROPERTIES:
            refused = refusal(self.limits, len(topic), len(payload), qos, len(properties), retain=retain)
            if refused:
                return refused
        flags = qos << 1 | retain
        if not qos:
            self._out.append(publish(topic, payload, flags, 0, properties))
        elif self.window.full:
            return Reason.QUOTA_EXCEEDED
        else:
            self.window.publish(topic, payload, flags, properties, token)
        return 0
