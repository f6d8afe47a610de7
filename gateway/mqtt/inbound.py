"""Messages of one client on their way to the disk: in which order they are answered, which came before (sans-io).

A message is *pending* from its arrival until it is answered. Answers leave in the order of arrival, whatever the
order of the acknowledgements. When the connection ends, what is pending becomes *orphaned*: the client will send
it again with DUP, and then the answer belongs to the new connection and no second message is made of it.

What was acknowledged lately is remembered, because its answer may have been lost with the connection. A message is
taken for a repetition only when that is certain: DUP is set, and the latest message with its packet identifier had
the same topic and payload, and it is no older than REPEATED_WITHIN_S before the last sign of life of the connection
it came over, or TRACES_MAX messages. In doubt it is a new message.

QoS 2: a packet identifier is remembered from PUBLISH to PUBREL, while the process lives; a repetition in between is
answered again. One that comes to the next process is judged as one of QoS 1.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from gateway.mqtt.codec import ack
from gateway.mqtt.packet import Publish
from gateway.mqtt.traces import Traces, fingerprint

REPEATED_WITHIN_S: Final = 10.0
PUBACK, PUBREC, PUBCOMP = 0x40, 0x50, 0x70


class Inbound:
    """The receiving half of a client's session state (MQTT 5 section 4.1)."""

    __slots__ = (
        *("_early", "_open", "_orphans", "answers", "bytes", "handed"),
        *("messages", "pending", "taken", "traces", "tracing"),
    )

    def __init__(self) -> None:
        self.answers: list[bytes] = []  # where answers go: the output of the current connection
        self.messages = 0  # not acknowledged by the gateway, orphans included
        self.bytes = 0  # their payloads
        self.pending: deque[Publish] = deque()  # QoS 1 and 2 of this connection, not answered
        self.tracing = False  # for a session that outlives its connection; others have nothing to be sent again
        self.taken = 0  # messages traced so far: the number of the last one
        self.handed = 0  # those of them that the inbox has
        self.traces = Traces()
        self._early: set[int] = set()  # id() of pending messages acknowledged before their turn
        self._orphans: dict[int, Publish] = {}  # packet identifier -> not acknowledged, connection gone
        self._open: dict[int, Publish] = {}  # QoS 2: packet identifier -> message, until PUBREL

    def over_quota(self, receive_max: int) -> bool:
        """Return whether the client has more in flight than the Receive Maximum it was told (section 4.9)."""
        if len(self.pending) + len(self._open) <= receive_max:
            return False
        return sum(1 for packet in self.pending if packet.qos == 1) + len(self._open) > receive_max

    def take(self, packet: Publish, now: float) -> bool:
        """Take a message of QoS 1 or 2; return False if it came before: it is (or will be) answered, not delivered."""
        if packet.qos == 2:
            return self._take_twice(packet, now)
        if not packet.dup:
            if self._orphans:
                self._orphans.pop(packet.packet_id, None)  # the client has given that message up
        elif self._repeated(packet, now):
            return False
        self._deliver(packet, now)
        return True

    def _deliver(self, packet: Publish, now: float) -> None:
        if self.tracing:
            self.taken += 1
            self.traces.recent.append((self.taken, packet.packet_id, fingerprint(packet), now))
        self.pending.append(packet)
        self.messages += 1
        self.bytes += len(packet.payload)

    def _repeated(self, packet: Publish, now: float) -> bool:
        """Judge a message with DUP; a repetition is put in line for its answer."""
        number = packet.packet_id
        if any(one.packet_id == number and _same(one, packet) for one in self.pending):
            return True  # sent again on a living connection: one answer does for both
        orphan = self._orphans.pop(number, None)
        if orphan is not None:
            if _same(orphan, packet):
                self.pending.append(orphan)  # its own acknowledgement will answer it
                return True
            return False
        return self._traced(packet, now)

    def _traced(self, packet: Publish, now: float) -> bool:
        """Judge a message with DUP that is not waiting for its answer; a repetition is put in line for it."""
        trace = self.traces.latest(packet.packet_id)
        if trace is None or trace[0] != fingerprint(packet) or trace[1] < now - REPEATED_WITHIN_S:
            return False
        self.pending.append(packet)
        self._answer_when_due(packet)
        return True

    def _take_twice(self, packet: Publish, now: float) -> bool:
        """Take a QoS 2 message (section 4.3.3, receiver)."""
        before = self._open.get(packet.packet_id)
        if before is None or not packet.dup:
            self._open[packet.packet_id] = packet
            if packet.dup and self._traced(packet, now):
                return False  # a process before this one had it
            self._deliver(packet, now)
            return True
        orphan = self._orphans.pop(packet.packet_id, None)
        if orphan is not None:
            self.pending.append(orphan)
        elif not any(one is before for one in self.pending):
            self.pending.append(packet)  # PUBREC was lost: once more, in its turn
            self._answer_when_due(packet)
        return False

    def acknowledge(self, packet: Publish) -> None:
        """Answer a message that the gateway has on the disk, and what waited behind it."""
        self.messages -= 1
        self.bytes -= len(packet.payload)
        if not packet.packet_id:
            return  # QoS 0, or a will
        pending = self.pending
        if pending and pending[0] is packet:
            pending.popleft()
            self.answers.append(ack(PUBACK if packet.qos == 1 else PUBREC, 2, packet.packet_id))
            if self._early:
                self._answer_early()
        elif self._orphans.get(packet.packet_id) is packet:
            del self._orphans[packet.packet_id]
        elif any(one is packet for one in pending):
            self._early.add(id(packet))

    def _answer_when_due(self, packet: Publish) -> None:
        self._early.add(id(packet))
        self._answer_early()

    def _answer_early(self) -> None:
        pending = self.pending
        while pending and id(pending[0]) in self._early:
            packet = pending.popleft()
            self._early.discard(id(packet))
            self.answers.append(ack(PUBACK if packet.qos == 1 else PUBREC, 2, packet.packet_id))

    def complete(self, packet_id: int) -> bool:
        """Take a PUBREL; return whether the identifier was in use (section 3.6)."""
        return self._open.pop(packet_id, None) is not None

    def attach(self, answers: list[bytes], now: float) -> None:
        """Begin a new connection: answers go to its output, and what came over earlier ones may come again now."""
        self.answers = answers
        self.traces.restamp(now)

    def detach(self, last_heard: float) -> None:
        """End the connection; `last_heard` is when the client last showed that it was there."""
        unanswered = {one.packet_id for one in self.pending}
        self._orphans.update((one.packet_id, one) for one in self.pending if id(one) not in self._early)
        self.pending.clear()
        self._early.clear()
        self.answers = []
        self.traces.forget(last_heard - REPEATED_WITHIN_S, unanswered)


def _same(one: Publish, other: Publish) -> bool:
    return one.topic == other.topic and one.payload == other.payload
