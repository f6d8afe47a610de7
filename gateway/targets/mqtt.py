"""A broker as a target: CloudEvents over MQTT, one PUBLISH an event, judged by its PUBACK.

::

    [targets.cloud]
    type = "mqtt"
    url = "mqtts://broker.example.com"
    topic = "sites/{gateway}/{type}"              # {gateway} {source} {device} {type} {lane}

Structured mode sends the stored bytes (CloudEvents JSON); binary mode, MQTT 5 only, sends attributes as user
properties and the data as payload. The event's id is the same in each and at each repeat.

What a PUBACK means: 0x00 and 0x10 (nobody subscribed) delivered; refusals of this event (not authorised, topic,
payload, size) rejected; quota and rate come again later; anything else is tried again. 3.1.1 brokers cannot refuse:
Mosquitto acknowledges what its ACL denies. What a broker said it does not take (size) is rejected before it is sent.

Order: a send's events leave in order, several sends one behind the other, so MQTT's in-flight order is the lane's.
Source: CloudEvents MQTT protocol binding 1.0.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

import msgspec

from gateway.clock import Clock, SystemClock
from gateway.event import Lane
from gateway.mqtt import packet as p
from gateway.mqtt.connection import Connection
from gateway.mqtt.link import Link
from gateway.mqtt.options import ConnectionOptions
from gateway.mqtt.packet import Reason, reason_name
from gateway.mqtt.session import Received, SessionOptions
from gateway.mqtt.window import LOST, Answer
from gateway.mqtt.wire import properties as encode_properties
from gateway.targets.target import DELIVERED, Outcome, Outgoing, Verdict
from gateway.topic import check_template, fill_template

TOPICS_MAX: Final = 10_000  # topics remembered, so that a template is filled in once for a device and type
STRUCTURED: Final = encode_properties(
    p.Properties(payload_format_indicator=1, content_type="application/cloudevents+json; charset=utf-8")
)

_REFUSED: Final = frozenset(
    {
        Reason.NOT_AUTHORIZED,
        Reason.TOPIC_NAME_INVALID,
        Reason.PAYLOAD_FORMAT_INVALID,
        Reason.PACKET_TOO_LARGE,
        Reason.QOS_NOT_SUPPORTED,
        Reason.RETAIN_NOT_SUPPORTED,
    }
)
_THROTTLED: Final = frozenset({Reason.QUOTA_EXCEEDED, Reason.MESSAGE_RATE_TOO_HIGH, Reason.RECEIVE_MAXIMUM_EXCEEDED})
_DOWN: Final = Outcome(Verdict.DOWN, "no connection")
_UNANSWERED: Final = Outcome(Verdict.DOWN, "connection lost before the answer")
_BEHIND: Final = Outcome(Verdict.RETRY, "not sent: an event of its device before it was not delivered", throttled=True)


class MqttTargetOptions(ConnectionOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[targets.<name>] of kind ``mqtt``."""

    topic: str = "{gateway}/{source}/{device}/{type}"  # of routes without a topic of their own
    mode: Literal["structured", "binary"] = "structured"
    qos: Literal[0, 1] = 1  # 0: delivered means written to the connection
    retain: bool = False
    clean_start: bool = True  # nothing of this session is worth keeping: what has no answer is sent again
    session_expiry_s: int = 0
    inflight_max: int = 1000  # where the broker does not say (3.1.1)
    batch_max: Annotated[int, msgspec.Meta(ge=1)] = 250  # events a send
    windows: Annotated[int, msgspec.Meta(ge=1)] = 4  # sends under way in a lane
    answer_timeout_s: float = 30.0  # without any PUBACK for so long the connection is given up

    def __post_init__(self) -> None:
        super().__post_init__()
        check_template(self.topic)
        if self.mode == "binary" and self.version == "3.1.1":
            raise ValueError('mode = "binary" needs MQTT 5')
        if self.answer_timeout_s <= 0:
            raise ValueError("answer_timeout_s must be over 0")


class _Sending:
    """One `send` on its way: outcomes are filled in as answers come."""

    __slots__ = ("batch", "done", "missing", "outcomes")

    def __init__(self, batch: Sequence[Outgoing], done: asyncio.Future[None]) -> None:
        self.batch = batch
        self.outcomes: list[Outcome] = [DELIVERED] * len(batch)
        self.missing = len(batch)
        self.done = done

    def judge(self, at: int, outcome: Outcome) -> None:
        """Note the outcome of one event; with the last one the send is over."""
        self.outcomes[at] = outcome
        self.missing -= 1
        if not self.missing and not self.done.done():
            self.done.set_result(None)


class MqttTarget:
    """One cloud broker."""

    def __init__(self, name: str, options: MqttTargetOptions, gateway: str, clock: Clock | None = None) -> None:
        self.name = name
        self.options = options
        self.batch_max = options.batch_max
        self.patience_s = 2 * max(options.answer_timeout_s, options.keep_alive_s)
        self._answered = 0  # publishes
        self.windows = options.windows
        clock = clock or SystemClock()
        session = SessionOptions(
            client_id=options.client_id or f"{gateway}-{name}",
            clean_start=options.clean_start,
            keep_alive_s=options.keep_alive_s,
            session_expiry_s=options.session_expiry_s,
            packet_bytes_max=options.packet_bytes_max,
            inflight_max=options.inflight_max,
            will=options.will.as_will() if options.will is not None else None,
        )
        self._connection = Connection(f"target {name}", options, session, self, clock)
        self._gateway = gateway
        self._topics: dict[tuple[str, str, str, int], bytes] = {}
        self._answered_at = 0.0  # loop time

    async def run(self) -> None:
        """Keep the connection until cancelled."""
        await self._connection.run()

    async def ready(self) -> None:
        """Return when there is a connection."""
        await self._connection.ready()

    def status(self) -> dict[str, object]:
        """Say what `edge-gateway status` shows."""
        return {**self._connection.status(), "answered": self._answered}

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[Outcome]:
        """Publish events in order; returns when each is judged."""
        link = self._connection.link
        if link is None:
            return [_DOWN] * len(batch)
        loop = asyncio.get_running_loop()
        sending = _Sending(batch, loop.create_future())
        qos = self._publish(link, sending)
        if not qos:
            await link.drain()
        elif sending.missing:
            self._answered_at = max(self._answered_at, loop.time())
            timer = loop.call_later(self.options.answer_timeout_s, self._look, link, sending)
            try:
                await sending.done
            finally:
                timer.cancel()
        return sending.outcomes

    def _publish(self, link: Link, sending: _Sending) -> int:
        """Send a batch; what the connection does not take is judged at once. Returns the QoS it went with."""
        options, limits = self.options, link.limits
        qos = min(options.qos, 1 if limits.maximum_qos is None else limits.maximum_qos)
        retain = options.retain and limits.retain_available != 0
        five = link.version == p.V5
        binary = five and options.mode == "binary"
        properties = STRUCTURED if five else b""
        publish, topics = link.publish, self._topics
        behind: set[str] = set()  # devices that wait
        for at, event in enumerate(sending.batch):
            if behind and event.subject in behind:
                sending.judge(at, _BEHIND)
                continue
            topic = topics.get((event.topic, event.type, event.subject, event.lane)) or self._topic(event)
            payload = event.raw
            if binary:
                payload, properties = binary_mode(payload)
            reason_code = publish(topic, payload, qos, properties, (sending, at), retain=retain)
            if reason_code:
                outcome = outcome_of(reason_code)
                sending.judge(at, outcome)
                if outcome.verdict is Verdict.RETRY:
                    behind.add(event.subject)
            elif not qos:
                sending.missing -= 1
        return qos

    def _topic(self, event: Outgoing) -> bytes:
        """Fill in the template for an event, and remember it."""
        source, _, device = event.subject.partition("/")
        values = {
            "gateway": self._gateway,
            "source": source or "gateway",
            "device": device or source or "gateway",
            "type": event.type,
            "lane": Lane(event.lane).name.lower(),
        }
        topic = fill_template(event.topic or self.options.topic, values).encode()
        if len(self._topics) >= TOPICS_MAX:
            self._topics.clear()
        self._topics[event.topic, event.type, event.subject, event.lane] = topic
        return topic

    def _look(self, link: Link, sending: _Sending) -> None:
        """Give a connection up that is alive and does not answer; else look again later."""
        if sending.done.done():
            return
        loop = asyncio.get_running_loop()
        silent_s = loop.time() - self._answered_at
        if silent_s >= self.options.answer_timeout_s:
            link.abort()  # `disconnected` follows with everything unanswered
        else:
            loop.call_later(self.options.answer_timeout_s - silent_s, self._look, link, sending)

    # -- the connection's owner ----------------------------------------------------------------

    def connected(self, link: Link, *, session_present: bool) -> None:
        """Begin: nothing to subscribe to."""

    def received(self, link: Link, received: Received) -> None:
        """Judge events by their answers."""
        answers = received.answers
        if not answers:
            return
        self._answered_at = asyncio.get_running_loop().time()
        self._answered += len(answers)
        for (sending, at), reason_code in answers:
            if reason_code and reason_code != Reason.NO_MATCHING_SUBSCRIBERS:
                self._refused(link, sending, at, reason_code)
                continue
            sending.missing -= 1  # its outcome is DELIVERED already
            if not sending.missing and not sending.done.done():
                sending.done.set_result(None)

    def acknowledged(self, count: int) -> None:
        """Note nothing: no messages come this way."""

    def disconnected(self, lost: list[Answer]) -> None:
        """End: nobody knows about these."""
        for (sending, at), _ in lost:
            sending.judge(at, _UNANSWERED)

    def _refused(self, link: Link, sending: _Sending, at: int, reason_code: int) -> None:
        outcome = outcome_of(reason_code)
        sending.judge(at, outcome)
        if outcome.verdict is Verdict.RETRY:  # what has not left must not pass it
            device = sending.batch[at].subject
            for held, later in link.withdraw(lambda token: token[0].batch[token[1]].subject == device):
                held.judge(later, _BEHIND)


def outcome_of(reason_code: int) -> Outcome:
    """Return what a reason code, or `LOST`, says of an event."""
    if reason_code in (0, Reason.NO_MATCHING_SUBSCRIBERS):
        return DELIVERED
    if reason_code == LOST:
        return _UNANSWERED
    if reason_code == Reason.SERVER_UNAVAILABLE:
        return _DOWN
    if reason_code in _REFUSED:
        return Outcome(Verdict.REJECTED, reason_name(reason_code))
    return Outcome(Verdict.RETRY, reason_name(reason_code), throttled=reason_code in _THROTTLED)


_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text: Final = msgspec.json.Decoder(str).decode


def binary_mode(raw: bytes) -> tuple[bytes, bytes]:
    """Split a structured event into (payload, encoded properties) of the binding's binary mode (section 3.1)."""
    members: Mapping[str, msgspec.Raw] = _decode_members(raw)
    data = members.get("data")
    attributes = []
    for name, value in members.items():
        if name not in ("data", "datacontenttype"):
            text = bytes(value)
            attributes.append((name, _decode_text(text) if text[:1] == b'"' else text.decode()))
    content_type = "application/json" if data is not None else None
    properties = p.Properties(
        payload_format_indicator=1 if data is not None else None,
        content_type=content_type,
        user_property=tuple(attributes),
    )
    return bytes(data) if data is not None else b"", encode_properties(properties)
