"""A broker as a source: subscribes to what the profiles read, hands it on, acknowledges what is on the disk.

::

    [sources.house]
    url = "mqtts://broker.lan"
    username = "gateway"
    password = { credential = "broker" }

The session outlives connections and restarts (`clean_start` false, a stable client id), so the broker keeps what
comes while we are away, as far as its own limits go. A message of QoS 1 or 2 is answered when its delivery is
acknowledged, in the order of receipt; one that is surely in the journal already (`seen`) is handed on as known, so
that it is answered in its turn and makes no second event. A delivery's origin is the link it came over: after that
link's end its acknowledgement does nothing.

A session keeps subscriptions, too, and where filters overlap a broker may send a copy for each. What was subscribed to
and is not wanted any more (profiles were changed, perhaps while we were away) is taken out of it behind the SUBSCRIBE
of what is: nothing is missed between the two.

Bounds: `receive_maximum` unacknowledged messages in MQTT 5; in 3.1.1, where a broker cannot be told, the pipeline
pauses reading.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Annotated, Final, Literal

import msgspec

from gateway.clock import NS_PER_S, Clock
from gateway.codes.sources import COMMAND_UNANSWERED, FILTER_REFUSED
from gateway.logs.about import about
from gateway.mqtt import packet as p
from gateway.mqtt.connection import Connection
from gateway.mqtt.link import Link
from gateway.mqtt.options import ConnectionOptions
from gateway.mqtt.packet import Publish, Reason, reason_name
from gateway.mqtt.session import PUBREC_TOKEN, Received, SessionOptions, token_of
from gateway.mqtt.window import LOST, Answer
from gateway.sources.seen import Seen
from gateway.sources.source import Delivery, ImporterName, Inbox, Origin
from gateway.topic import is_filter, is_name

log = logging.getLogger(__name__)

FILTERS_A_SUBSCRIBE: Final = 100  # topic filters in one packet
REFUSED_MAX: Final = 20  # refused filters that `status` lists


class MqttSourceOptions(ConnectionOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[sources.<name>] of kind ``mqtt``."""

    qos: Literal[0, 1, 2] = 1  # asked for; what devices publish with less comes with less
    receive_maximum: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 1000  # messages not yet on the disk
    filters: tuple[str, ...] = ()  # topic filters, instead of those of the profiles
    prefixes: Mapping[str, str] = {}  # first words of topics that are others here: zigbee2mqtt = "attic/z2m"
    importers: tuple[ImporterName, ...] | None = None  # dialects whose devices describe themselves; default: all
    share: str | None = None  # a group that shares the messages among its members
    retained: Literal["always", "new", "never"] = "always"  # retained messages at (re)connect, on new ones, not at all

    def __post_init__(self) -> None:
        super().__post_init__()
        for topic_filter in self.filters:
            if not is_filter(topic_filter):
                raise ValueError(f"{topic_filter!r} is not a topic filter")
        for prefix in self.prefixes.values():
            if not is_name(prefix):
                raise ValueError(f"{prefix!r} is not the beginning of a topic")
        if self.share is not None and (not self.share or set(self.share) & set("/+#")):
            raise ValueError(f"{self.share!r} is not the name of a share group")


class _Completing:
    """The origin of PUBREL: PUBCOMP waits until the release of the identifier is on the disk."""

    __slots__ = ("_flush", "_link", "_waiting")

    def __init__(self, link: Link, flush: Callable[[], Awaitable[None]]) -> None:
        self._link = link
        self._flush = flush
        self._waiting: set[asyncio.Task[None]] = set()  # one a PUBREL, so at most as many as the peer may send

    def acknowledge(self, delivery: Delivery) -> None:
        """Send PUBCOMP later: no event's block carries a release."""
        task = asyncio.get_running_loop().create_task(self._complete(delivery))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _complete(self, delivery: Delivery) -> None:
        await self._flush()
        self._link.acknowledge(delivery)


class MqttSource:
    """One broker."""

    def __init__(
        self, name: str, options: MqttSourceOptions, filters: Sequence[str], clock: Clock, gateway: str = "edge-gateway"
    ) -> None:
        self.name = name
        self.options = options
        # twice, because Mosquitto 2.0 has been seen to send so many when a session with a backlog goes on
        self.seen = Seen(2 * options.receive_maximum, lambda: clock.boot_ns() / NS_PER_S)
        self.flush: Callable[[], Awaitable[None]] | None = None  # returns when the journal's open batch is durable
        self.received_count = 0
        session = SessionOptions(
            client_id=options.client_id or f"{gateway}-{name}",
            clean_start=options.clean_start,
            keep_alive_s=options.keep_alive_s,
            session_expiry_s=options.session_expiry_s,
            receive_maximum=options.receive_maximum,
            packet_bytes_max=options.packet_bytes_max,
            inflight_max=options.inflight_max,
            will=options.will.as_will() if options.will is not None else None,
        )
        self._connection = Connection(f"source {name}", options, session, self, clock)
        self._filters = tuple(options.filters or filters)
        self._clock = clock
        self._inbox: Inbox | None = None
        self._failed: asyncio.Future[None] | None = None
        self._completing: Origin | None = None
        self._asked: deque[tuple[str, ...]] = deque()  # filters of SUBSCRIBEs without an answer
        self._leaving: deque[tuple[str, ...]] = deque()  # of UNSUBSCRIBEs
        self._held: frozenset[str] = frozenset()  # what the session may have, as the broker knows it
        self._keep_held: Callable[[str, bool | None], None] = lambda _filter, _held: None
        self._refused: dict[str, str] = {}  # filter -> why
        self._command_error = ""
        self._commands_refused = 0

    def keep_filters(self, keep: Callable[[str, bool | None], None], held: Iterable[str]) -> None:
        """Go on with a session that has been subscribed to `held`; `keep` is told what comes to that and what goes."""
        self._keep_held, self._held = keep, frozenset(held)

    async def run(self, inbox: Inbox) -> None:
        """Connect, deliver, reconnect, until cancelled; an inbox that raises ends it with that exception."""
        self._inbox = inbox
        self._failed = asyncio.get_running_loop().create_future()
        connecting = asyncio.create_task(self._connection.run(), name=f"gateway.source[{self.name}].connection")
        try:
            await asyncio.wait({connecting, self._failed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            connecting.cancel()
            await asyncio.wait({connecting})
        await (self._failed if self._failed.done() else connecting)

    async def ready(self) -> None:
        """Return when there is a connection."""
        await self._connection.ready()

    def pause(self) -> None:
        """Stop reading (backpressure); pings are still answered."""
        self._connection.pause()

    def resume(self) -> None:
        """Go on reading."""
        self._connection.resume()

    def send(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> bool:
        """Publish a command's bytes; False when there is no connection now, or the broker does not take it."""
        link = self._connection.link
        if link is None:
            return False
        qos_max = link.limits.maximum_qos
        qos = qos if qos_max is None else min(qos, qos_max)
        properties = b"\0" if link.version == p.V5 else b""
        reason_code = link.publish(topic.encode(), payload, qos, properties, topic, retain=retain)
        if reason_code:
            self._note_refusal(topic, reason_code)
        return not reason_code

    def status(self) -> dict[str, object]:
        """Say what `edge-gateway status` shows."""
        said = self._connection.status()
        said["received"] = self.received_count
        said["duplicates"] = self.seen.dropped
        said["filters"] = len(self._filters)
        if self.seen.doubts:
            said["doubts"] = self.seen.doubts
        if self._refused:
            said["refused_filters"] = self._refused
            said.setdefault("last_error", f"subscription refused: {', '.join(self._refused)}")
        if self._commands_refused:
            said["refused_commands"] = self._commands_refused
            said.setdefault("last_error", self._command_error)
        return said

    # -- the connection's owner ----------------------------------------------------------------

    def connected(self, link: Link, *, session_present: bool) -> None:
        """Subscribe, every time: filters may have changed, and retained messages show what was missed at QoS 0."""
        self.seen.connected(session_present=session_present)
        self._completing = link if self.flush is None else _Completing(link, self.flush)
        self._asked.clear()
        self._leaving.clear()
        self._refused.clear()
        if not session_present:
            self._hold(frozenset())
        self._subscribe(link, self._filters)

    def follow(self, filters: Sequence[str]) -> None:
        """Read these topics from now on: devices that described themselves name their own. Not beside `filters`."""
        if self.options.filters:
            return
        known = frozenset(self._filters)
        news = tuple(f for f in filters if f not in known)
        self._filters = tuple(filters)
        link = self._connection.link
        if link is not None:
            self._subscribe(link, news)

    def _subscribe(self, link: Link, wanted: tuple[str, ...]) -> None:
        for at in range(0, len(wanted), FILTERS_A_SUBSCRIBE):
            filters = wanted[at : at + FILTERS_A_SUBSCRIBE]
            link.subscribe(tuple(self._subscription(topic_filter, link.version) for topic_filter in filters))
            self._asked.append(filters)
        gone = sorted(self._held - self._current)
        for at in range(0, len(gone), FILTERS_A_SUBSCRIBE):
            self._leaving.append(tuple(gone[at : at + FILTERS_A_SUBSCRIBE]))
            link.unsubscribe(self._leaving[-1])
        self._hold(self._held | self._current)

    @property
    def _current(self) -> frozenset[str]:
        return frozenset(map(self._shared, self._filters))

    def _hold(self, held: frozenset[str]) -> None:
        """Take note of what the session may have."""
        for topic_filter in sorted(held ^ self._held):
            self._keep_held(topic_filter, True if topic_filter in held else None)
        self._held = held

    def received(self, link: Link, received: Received) -> None:
        """Hand a whole piece's messages to the inbox at once."""
        if received.messages and self._inbox is not None:
            self.seen.arriving()
            deliveries = self._deliveries(received.messages, link)
            self.received_count += len(deliveries)
            try:
                self._inbox(deliveries)
            except Exception as error:  # noqa: BLE001 - a bug: asyncio would close the connection and go on
                if self._failed is not None and not self._failed.done():
                    self._failed.set_exception(error)
            else:
                for delivery in deliveries:
                    if delivery.late:
                        delivery.appended = self.seen.postpone(delivery.token & 0xFFFF, exactly=delivery.qos == 2)
                self.seen.arrived()  # only now: what is remembered must not be on the disk before its events
        for topic, reason_code in received.answers:
            if reason_code >= Reason.UNSPECIFIED_ERROR:
                self._note_refusal(topic, reason_code)
        for news in received.news:
            if type(news) is p.Suback and self._asked:
                self._subscribed(self._asked.popleft(), news.reason_codes)
            elif type(news) is p.Unsuback and self._leaving:
                self._hold(self._held.difference(self._leaving.popleft()) | self._current)

    def acknowledged(self, count: int) -> None:
        """Note that answers left."""
        self.seen.acknowledge(count)

    def disconnected(self, lost: list[Answer]) -> None:
        """Note the end: what was not answered comes again on the next connection."""
        self.seen.disconnected()
        for topic, _ in lost:
            self._note_refusal(topic, LOST)

    def _deliveries(self, messages: list[Publish | p.Pubrel], link: Link) -> list[Delivery]:
        name, seen, now_ns = self.name, self.seen, self._clock.wall_ns()
        deliveries: list[Delivery] = []
        for message in messages:
            if type(message) is not Publish:
                seen.released(message.packet_id)
                origin, token = self._completing or link, token_of(message)
                deliveries.append(Delivery(name, "", b"", now_ns, origin, 2, False, False, token, True))
                continue
            topic, payload, qos, packet_id = message.topic, message.payload, message.qos, message.packet_id
            known = False
            if qos == 1:
                known = seen.known(packet_id, message.dup, topic, payload)
            elif qos == 2:
                known = seen.known_exactly(packet_id, topic, payload)
                packet_id |= PUBREC_TOKEN
            deliveries.append(
                Delivery(name, topic, payload, now_ns, link, qos, message.retain, message.dup, packet_id, known)
            )
        return deliveries

    def _shared(self, topic_filter: str) -> str:
        return topic_filter if self.options.share is None else f"$share/{self.options.share}/{topic_filter}"

    def _subscription(self, topic_filter: str, version: int) -> p.Subscription:
        options = self.options
        topic_filter = self._shared(topic_filter)
        if version != p.V5:
            return p.Subscription(topic_filter, options.qos)
        handling = ("always", "new", "never").index(options.retained)
        return p.Subscription(topic_filter, options.qos, options.share is None, False, handling)  # our own stay away

    def _subscribed(self, filters: tuple[str, ...], reason_codes: tuple[int, ...]) -> None:
        for topic_filter, reason_code in zip(filters, reason_codes, strict=False):
            if reason_code >= Reason.UNSPECIFIED_ERROR:
                said = about(FILTER_REFUSED, source=self.name)
                log.warning("source %s: %r refused: %s", self.name, topic_filter, reason_name(reason_code), extra=said)
                if len(self._refused) < REFUSED_MAX:
                    self._refused[topic_filter] = reason_name(reason_code)

    def _note_refusal(self, topic: str, reason_code: int) -> None:
        """Remember that a command did not arrive; its time limit and confirmation are `commands`' affair."""
        why = "connection lost before it was answered" if reason_code == LOST else reason_name(reason_code)
        self._commands_refused += 1
        self._command_error = f"command to {topic!r}: {why}"
        log.warning("source %s: %s", self.name, self._command_error, extra=about(COMMAND_UNANSWERED, source=self.name))
