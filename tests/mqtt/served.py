"""A broker without sockets for tests: clients that speak in packets, an inbox that is acknowledged by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.mqtt import packet as p
from gateway.mqtt.broker import Broker
from gateway.mqtt.codec import Decoder, encode
from gateway.mqtt.packet import V5, V311, Packet, Properties, Publish
from gateway.mqtt.server import Limits, ServerConnection, ServerSession

VERSIONS = (V311, V5)


class Served:
    """One broker; `now` is its clock, in seconds."""

    def __init__(self, limits: Limits | None = None, users: dict[str, bytes] | None = None) -> None:
        self.now = 1000.0
        self.inbox: list[tuple[ServerSession, Publish]] = []
        self.rows: dict[tuple[str, str], Any] = {}
        self.limits = limits or Limits()
        self.users = users
        self.broker = self._broker()

    def _broker(self) -> Broker:
        broker = Broker(
            self.limits,
            deliver=lambda session, messages: self.inbox.extend((session, message) for message in messages),
            touched=lambda connection: None,
            authenticate=self._authenticate,
            new_client_id=lambda: "assigned-1",
            now=self.now,
        )
        broker.put = self._put
        return broker

    def _put(self, table: str, key: str, row: Any) -> None:
        self.rows[table, key] = row

    def _authenticate(self, name: str | None, password: bytes | None) -> bool:
        return self.users is None or (name is not None and self.users.get(name) == password)

    def restart(self) -> None:
        """Begin again with what was put, as after the end of the process."""
        self.inbox.clear()
        self.broker = self._broker()
        tables: dict[str, dict[str, Any]] = {"sessions": {}, "retained": {}, "traces": {}}
        for (table, key), row in self.rows.items():
            if row is not None:
                tables[table][key] = row
        self.broker.restore(tables["sessions"], tables["retained"], tables["traces"])

    def hand_over(self) -> None:
        """Say that the inbox has everything."""
        self.broker.handed({session for session, _ in self.inbox})

    def commit(self) -> None:
        """Put what belongs into a commit made now."""
        self.broker.put_traces(self.now)

    def connect(self, client_id: str = "a", version: int = V5, **fields: Any) -> Client:
        """Connect a client; its CONNACK is in `Client.connack`."""
        client = Client(self, version)
        client.send(p.Connect(client_id, version, **fields))
        answers = client.packets()
        assert isinstance(answers[0], p.Connack)
        client.connack, client.later = answers[0], answers[1:]
        return client

    def watch(self, *filters: str, client_id: str = "watcher", qos: int = 1, version: int = V5) -> Client:
        """Connect a client that subscribes to filters."""
        client = self.connect(client_id, version)
        client.subscribe(*(p.Subscription(topic_filter, qos) for topic_filter in filters))
        return client

    def acknowledge(self, *indexes: int) -> None:
        """Acknowledge messages of the inbox by their place in it; all, in order, when none is named."""
        for index in indexes or range(len(self.inbox)):
            session, publish = self.inbox[index]
            session.acknowledge(publish)
        if not indexes:
            self.inbox.clear()

    def payloads(self) -> list[bytes]:
        """Return what is in the inbox."""
        return [publish.payload for _, publish in self.inbox]

    def pass_time(self, seconds: float, step: float = 1.0) -> None:
        """Let time go by, ticking."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + step)
            self.broker.tick(self.now)


class Client:
    """The other end of a connection."""

    def __init__(self, served: Served, version: int) -> None:
        self.served = served
        self.version = version
        self.connection: ServerConnection = served.broker.open(served.now)
        self.connack = p.Connack()
        self.later: list[Packet] = []
        self._decoder = Decoder(version)

    def send(self, *packets: Packet) -> None:
        """Send packets in one piece."""
        self.send_bytes(b"".join(encode(packet, self.version) for packet in packets))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.connection.receive(data, self.served.now)

    def publish(self, topic: str, payload: bytes, packet_id: int = 0, qos: int | None = None, **fields: Any) -> None:
        """Publish, at QoS 1 with a packet identifier and QoS 0 without."""
        self.send(
            Publish(topic, payload, (1 if packet_id else 0) if qos is None else qos, packet_id=packet_id, **fields)
        )

    def subscribe(self, *subscriptions: p.Subscription, identifier: int = 0) -> tuple[int, ...]:
        """Subscribe and return the reason codes; what came with SUBACK is in `later`."""
        properties = Properties(subscription_identifier=(identifier,)) if identifier else p.NO_PROPERTIES
        self.send(p.Subscribe(9, subscriptions, properties))
        suback, *self.later = self.packets()
        assert isinstance(suback, p.Suback)
        return suback.reason_codes

    def packets(self) -> list[Packet]:
        """Return what the broker has sent since the last call."""
        out = self.connection.out
        data = b"".join(out)
        out.clear()
        return self._decoder.feed(data) if data else []

    def messages(self) -> list[tuple[str, bytes, int]]:
        """Return (topic, payload, QoS) of the PUBLISH packets since the last call, acknowledging them."""
        found = [packet for packet in self.packets() if isinstance(packet, Publish)]
        for publish in found:
            if publish.qos:
                self.send(p.Puback(publish.packet_id))
        return [(publish.topic, publish.payload, publish.qos) for publish in found]

    def cut(self) -> None:
        """Lose the socket."""
        self.connection.cut("cut", self.served.now)

    @property
    def closed(self) -> bool:
        """Return whether the broker ended the connection."""
        return self.connection.closing


Connecting = Callable[..., Client]
