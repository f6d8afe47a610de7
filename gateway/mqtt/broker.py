"""The clients of one listener and what they tell each other (sans-io): sessions, subscriptions, retained, wills.

A message goes to the inbox first (`deliver`) and to subscribers only when it has been acknowledged, so that nobody
has seen what a power cut can still take back. It is not a broker for a house: subscribers are the devices' commands
and people who watch. Subscriptions are granted QoS 1 at most; shared ones are refused (0x9E).

Kept over a restart, as plain rows given to `put` when they change: sessions that outlive their connection (table
``sessions``, by client identifier: expiry, subscriptions), what came from them lately (table ``traces``, by
``<page>/<client identifier>``, and when that was last put by ``@``; see `traces`), and retained messages (table
``retained``, by topic). Messages that wait for a client that is away are kept in memory only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from gateway.mqtt import codec
from gateway.mqtt import packet as p
from gateway.mqtt.inbound import REPEATED_WITHIN_S
from gateway.mqtt.packet import NO_PROPERTIES, V5, Properties, Publish, Reason, Subscription
from gateway.mqtt.retained import RetainedMessages
from gateway.mqtt.server import KEEP_ALIVE_FACTOR, Limits, ServerConnection, ServerSession
from gateway.mqtt.subscriptions import Subscriptions, Wish
from gateway.mqtt.traces import RESTORED_WITHIN_S

SESSIONS_MAX: Final = 2000
CLIENT_ID_BYTES_MAX: Final = 256
QOS_GRANTED_MAX: Final = 1
COMMITTED: Final = "@"  # row of table "traces": when rows were last put, seconds of that run's clock

Authenticate = Callable[[str | None, bytes | None], bool]
Put = Callable[[str, str, Any | None], None]


@dataclasses.dataclass(slots=True)
class Counters:
    """What happened since the start."""

    connected: int = 0
    refused: int = 0
    received: int = 0
    dropped: int = 0  # messages that a subscriber did not get


@dataclasses.dataclass(frozen=True, slots=True)
class _DelayedWill:
    due: float
    session: ServerSession
    publish: Publish


def _forget(_table: str, _key: str, _row: Any | None) -> None:
    """Keep nothing over a restart."""


class Broker:
    """All clients of one listener. Single-threaded; `now` is the time of the last call that brought one."""

    def __init__(
        self,
        limits: Limits,
        *,
        deliver: Callable[[ServerSession, list[Publish]], None],
        touched: Callable[[ServerConnection], None],
        authenticate: Authenticate,
        new_client_id: Callable[[], str],
        now: float = 0.0,
    ) -> None:
        self.limits = limits
        self.now = now
        self.counters = Counters()
        self.sessions: dict[str, ServerSession] = {}
        self.connections: set[ServerConnection] = set()
        self.retained = RetainedMessages()
        self.touched = touched
        self.put: Put = _forget
        self._deliver = deliver
        self._authenticate = authenticate
        self._new_client_id = new_client_id
        self._subscriptions: Subscriptions[ServerSession] = Subscriptions()
        self._wills: dict[str, _DelayedWill] = {}
        self._handed: dict[ServerSession, int] = {}  # lasting sessions with news -> their last message in the inbox
        self._traced_at = float("-inf")  # when rows of traces were last put
        self._committed_at = 0.0  # when the time of a commit was last put

    def open(self, now: float, peer: Any = None) -> ServerConnection:
        """Begin a connection that a socket has brought."""
        connection = ServerConnection(self, now, peer)
        self.connections.add(connection)
        return connection

    def deliver(self, session: ServerSession, messages: list[Publish]) -> None:
        """Hand messages on to the inbox."""
        self.counters.received += len(messages)
        self._deliver(session, messages)

    def acknowledged(self, session: ServerSession, publish: Publish) -> None:
        """Keep (RETAIN) and pass on a message that is safe now."""
        if publish.retain:
            self._retain(publish)
        receivers = self._subscriptions.receivers(publish.topic)
        for receiver in receivers:
            if not (receiver.no_local and receiver.key is session):
                retain = publish.retain and receiver.retain_as_published
                self._send(receiver.key, publish, min(publish.qos, receiver.qos), retain, receiver.identifiers)

    def publish(self, publish: Publish) -> bool:
        """Send a message of the gateway's own; return whether a connected client was given it.

        Who is away gets what is retained when it is back, and nothing else: whoever sent it tries again.
        """
        if publish.retain:
            self._retain(publish)
        reached = False
        for receiver in self._subscriptions.receivers(publish.topic):
            if receiver.key.connection is None and not publish.retain:
                continue
            retain = publish.retain and receiver.retain_as_published
            qos = min(publish.qos, receiver.qos)
            sent = self._send(receiver.key, publish, qos, retain, receiver.identifiers)
            reached = reached or (sent and receiver.key.connection is not None)
        return reached

    def _send(
        self, session: ServerSession, publish: Publish, qos: int, retain: bool, identifiers: tuple[int, ...]
    ) -> bool:
        if session.connection is None and not qos:
            return False  # QoS 0 is for who is there
        sent = session.outbound.send(publish, qos, self.now, retain=retain, identifiers=identifiers)
        self.counters.dropped += not sent
        if session.connection is not None and not session.connection.flagged:
            self.touched(session.connection)
        return sent

    def _retain(self, publish: Publish) -> None:
        if self.retained.keep(publish, self.now):
            self.put("retained", publish.topic, self.retained.as_row(publish))

    # -- connections ----------------------------------------------------------------------------------------------

    def connect(self, connection: ServerConnection, packet: p.Connect, now: float) -> None:
        """Accept a CONNECT or refuse it (section 3.1.4)."""
        self.now = now
        refusal = self._refusal(packet)
        if refusal is not None:
            self.counters.refused += 1
            connection.refuse(*refusal)
            self.connections.discard(connection)
            return
        assigned = None if packet.client_id else self._new_client_id()
        client_id = assigned or packet.client_id
        present = self._take_over(client_id, packet.clean_start, now)
        session = self.sessions.get(client_id)
        if session is None:
            session = self.sessions[client_id] = ServerSession(self, client_id)
        asked = packet.properties.session_expiry_interval or 0
        if packet.version != V5:
            asked = 0 if packet.clean_start else self.limits.expiry_s_max
        session.expiry_s = min(asked, self.limits.expiry_s_max)
        session.expires_at = None
        session.username = packet.username
        session.connection = connection
        connection.session = session
        connection.will = packet.will
        connection.keep_alive_s = packet.keep_alive * KEEP_ALIVE_FACTOR
        self.counters.connected += 1
        properties = self._connack_properties(packet, session, assigned) if packet.version == V5 else NO_PROPERTIES
        connection.out.append(codec.encode(p.Connack(present, 0, properties), packet.version))
        session.inbound.tracing = session.expiry_s > 0
        session.inbound.attach(connection.out, now)
        theirs = packet.properties
        session.outbound.attach(connection.out, packet.version, theirs.receive_maximum, theirs.maximum_packet_size)
        session.outbound.resume(now)
        self._put_session(session)

    def _refusal(self, packet: p.Connect) -> tuple[Reason, str] | None:
        if packet.properties.authentication_method is not None:
            return Reason.BAD_AUTHENTICATION_METHOD, "extended authentication is not supported"
        if not self._authenticate(packet.username, packet.password):
            anonymous = packet.username is None
            reason = Reason.NOT_AUTHORIZED if anonymous else Reason.BAD_USER_NAME_OR_PASSWORD
            return reason, "no user name" if anonymous else "wrong user name or password"
        if not packet.client_id and packet.version != V5 and not packet.clean_start:
            return Reason.CLIENT_IDENTIFIER_NOT_VALID, "a lasting session needs a client identifier"
        if len(packet.client_id.encode()) > CLIENT_ID_BYTES_MAX:
            return Reason.CLIENT_IDENTIFIER_NOT_VALID, f"client identifier over {CLIENT_ID_BYTES_MAX} bytes"
        if packet.client_id not in self.sessions and len(self.sessions) >= SESSIONS_MAX:
            return Reason.SERVER_BUSY, f"more than {SESSIONS_MAX} sessions"
        return None

    def _take_over(self, client_id: str, clean_start: bool, now: float) -> bool:
        """Make room for a client: close its older connection, drop its session if it wants none; return if it stays."""
        session = self.sessions.get(client_id)
        if session is None:
            return False
        if session.connection is not None:
            session.connection.end(Reason.SESSION_TAKEN_OVER, "the same client connected again", now)
        if client_id in self.sessions and clean_start:
            self._end_session(session)
        self._wills.pop(client_id, None)  # the session goes on: its will is not due (section 3.1.3.2.2)
        return client_id in self.sessions

    def _connack_properties(self, packet: p.Connect, session: ServerSession, assigned: str | None) -> Properties:
        asked = packet.properties.session_expiry_interval or 0
        return Properties(
            receive_maximum=self.limits.receive_max,
            maximum_packet_size=self.limits.packet_bytes_max,
            topic_alias_maximum=self.limits.topic_alias_max,
            shared_subscription_available=0,
            session_expiry_interval=session.expiry_s if session.expiry_s != asked else None,
            assigned_client_identifier=assigned,
        )

    def lost(self, connection: ServerConnection, now: float) -> None:
        """Part a session from its connection, however that ended; its will is due, and its expiry begins."""
        self.now = now
        self.connections.discard(connection)
        session = connection.session
        if session is None or session.connection is not connection:
            return
        session.connection = None
        session.inbound.detach(connection.last_heard)
        session.outbound.detach()
        session.expires_at = now + session.expiry_s
        will, connection.will = connection.will, None
        if will is not None:
            properties = will.properties
            delay_s = min(properties.will_delay_interval or 0, session.expiry_s)
            if properties.will_delay_interval is not None:
                properties = msgspec.structs.replace(properties, will_delay_interval=None)
            publish = Publish(will.topic, will.payload, will.qos, will.retain, properties=properties)
            self._wills[session.client_id] = _DelayedWill(now + delay_s, session, publish)
            if not delay_s:
                self._announce(session.client_id)
        if session.expiry_s:
            self._put_session(session)
        else:
            self._end_session(session)

    def _announce(self, client_id: str) -> None:
        """Publish a will: to the inbox first, as any message of that client."""
        will = self._wills.pop(client_id, None)
        if will is not None:
            will.session.inbound.messages += 1
            will.session.inbound.bytes += len(will.publish.payload)
            self.deliver(will.session, [will.publish])

    def _end_session(self, session: ServerSession) -> None:
        self._announce(session.client_id)
        for topic_filter in session.wishes:
            self._subscriptions.remove(session, topic_filter)
        session.wishes.clear()
        if self.sessions.get(session.client_id) is session:
            del self.sessions[session.client_id]
            if session.row is not None:
                self.put("sessions", session.client_id, None)
            for page in session.inbound.traces.pages:
                self.put("traces", f"{page}/{session.client_id}", None)

    def tick(self, now: float) -> None:
        """Look at the time, about once a second: silent clients, wills and sessions that are due."""
        self.now = now
        for connection in list(self.connections):
            connection.tick(now)
        for client_id in [client_id for client_id, will in self._wills.items() if will.due <= now]:
            self._announce(client_id)
        gone = [s for s in self.sessions.values() if s.expires_at is not None and s.expires_at <= now]
        for session in gone:
            self._end_session(session)

    # -- subscriptions --------------------------------------------------------------------------------------------

    def subscribe(self, session: ServerSession, packet: p.Subscribe, now: float) -> None:
        """Subscribe and answer, then send what is retained (section 3.8.4)."""
        self.now = now
        identifiers = packet.properties.subscription_identifier
        codes: list[int] = []
        retained: list[tuple[Subscription, int]] = []
        for subscription in packet.subscriptions:
            refusal = self._subscription_refusal(session, subscription)
            if refusal is not None:
                codes.append(refusal)
                continue
            granted = msgspec.structs.replace(subscription, qos=min(subscription.qos, QOS_GRANTED_MAX))
            wish = Wish(granted, identifiers[0] if identifiers else 0)
            new = self._subscriptions.add(session, wish)
            session.wishes[granted.topic_filter] = wish
            codes.append(granted.qos)
            if granted.retain_handling == 0 or (granted.retain_handling == 1 and new):
                retained.append((granted, wish.identifier))
        connection = session.connection
        assert connection is not None
        connection.out.append(codec.encode(p.Suback(packet.packet_id, tuple(codes)), connection.version))
        for granted, identifier in retained:
            for publish in self.retained.matching(granted.topic_filter, now):
                qos = min(publish.qos, granted.qos)
                self._send(session, publish, qos, True, (identifier,) if identifier else ())
        self._put_session(session)

    def _subscription_refusal(self, session: ServerSession, subscription: Subscription) -> Reason | None:
        if subscription.topic_filter.startswith("$share/"):
            return Reason.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
        if subscription.topic_filter not in session.wishes and len(session.wishes) >= self.limits.subscriptions_max:
            return Reason.QUOTA_EXCEEDED
        return None

    def unsubscribe(self, session: ServerSession, packet: p.Unsubscribe) -> None:
        """Unsubscribe and answer (section 3.10.4)."""
        codes = []
        for topic_filter in packet.topic_filters:
            known = session.wishes.pop(topic_filter, None) is not None
            self._subscriptions.remove(session, topic_filter)
            codes.append(Reason.SUCCESS if known else Reason.NO_SUBSCRIPTION_EXISTED)
        connection = session.connection
        assert connection is not None
        connection.out.append(codec.encode(p.Unsuback(packet.packet_id, tuple(codes)), connection.version))
        self._put_session(session)

    # -- what outlives the process --------------------------------------------------------------------------------

    def _put_session(self, session: ServerSession) -> None:
        row = None
        if session.expiry_s:
            subscriptions = [
                [s.topic_filter, s.qos, s.no_local, s.retain_as_published, s.retain_handling, wish.identifier]
                for wish in session.wishes.values()
                for s in (wish.subscription,)
            ]
            row = {"expiry_s": session.expiry_s, "subscriptions": subscriptions}
        if row != session.row:
            session.row = row
            self.put("sessions", session.client_id, row)

    def handed(self, sessions: Iterable[ServerSession]) -> None:
        """Note that the inbox has every message of these sessions so far."""
        for session in sessions:
            session.inbound.handed = session.inbound.taken
            if session.expiry_s:
                self._handed[session] = session.inbound.handed

    def postpone(self, session: ServerSession, publish: Publish) -> Callable[[], None]:
        """Put no trace of a message until what is returned is called: the inbox has it and will append it later."""
        appended = session.inbound.traces.postpone(publish.packet_id)

        def put() -> None:
            appended()
            if session.expiry_s and self.sessions.get(session.client_id) is session:
                self._handed.setdefault(session, session.inbound.handed)

        return put

    def put_traces(self, now: float) -> None:
        """Put what came lately; must be called before each commit, and only then."""
        for session, number in self._handed.items():
            inbound, connection = session.inbound, session.connection
            if connection is not None:
                inbound.traces.trim(connection.last_heard - REPEATED_WITHIN_S, {m.packet_id for m in inbound.pending})
            for page, row in inbound.traces.rows(number):
                self.put("traces", f"{page}/{session.client_id}", row)
        if self._handed:
            self._handed.clear()
            self._traced_at = self._committed_at = now
            self.put("traces", COMMITTED, now)
        elif self._committed_at - self._traced_at <= RESTORED_WITHIN_S < now - self._traced_at:
            self._committed_at = now  # once: from here on no row counts any more
            self.put("traces", COMMITTED, now)

    def restore(
        self,
        sessions: Mapping[str, Mapping[str, Any]],
        retained: Mapping[str, Mapping[str, Any]],
        traces: Mapping[str, Any],
    ) -> None:
        """Take back what `put` was given before a restart; expiry counts from now."""
        pages: dict[str, dict[int, bytes]] = {}
        for name, row in traces.items():
            if name != COMMITTED:
                page, _, client_id = name.partition("/")
                pages.setdefault(client_id, {})[int(page)] = row
        for gone in pages.keys() - sessions.keys():
            for number in pages[gone]:
                self.put("traces", f"{number}/{gone}", None)
        for client_id, row in sessions.items():
            session = self.sessions[client_id] = ServerSession(self, client_id)
            session.expiry_s = row["expiry_s"]
            session.expires_at = self.now + session.expiry_s
            session.row = dict(row)
            for *options, identifier in row["subscriptions"]:
                wish = Wish(Subscription(*options), identifier)
                session.wishes[wish.subscription.topic_filter] = wish
                self._subscriptions.add(session, wish)
            if client_id in pages:
                inbound = session.inbound
                inbound.taken = inbound.traces.restore(pages[client_id], traces.get(COMMITTED, 0.0), self.now)
                self._handed[session] = inbound.taken
        self.retained.restore(retained, self.now)
