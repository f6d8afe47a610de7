"""What a client has under way towards its peer: packet identifiers, the in-flight window, answers (sans-io).

At most `size` messages of QoS 1 and 2 are unanswered (the peer's Receive Maximum in MQTT 5, section 4.9; our
own choice in 3.1.1); more wait here in order and leave as answers come. Each message carries a `token` of its
sender's, which comes back exactly once with what became of it.

A lost connection loses the question of every QoS 1 message: its token comes back as `LOST` and whoever has
the message durable sends it again. A QoS 2 message under way is kept and goes on when the peer kept the
session (section 4.4), because forgetting its identifier would make the peer drop another message as a repeat.

A connection that ends with messages in flight may have ended because of one of them: some brokers close over a
message they refuse, and take the answers to those before it with them. So the next connection begins with half as
many in flight, down to one, and doubles as answers come; the message to blame is soon alone, and the few others
that are sent twice stay few.

Bounds: `size` and `waiting_max`, both in messages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gateway.mqtt.encode import ack, publish
from gateway.mqtt.packet import PACKET_ID_MAX, Reason

LOST: Final = -1  # instead of a reason code: the connection ended before the answer came
SIZE_DEFAULT: Final = 65_535  # MQTT 5, 3.2.2.3.3: a peer that does not say takes so many

Answer = tuple[Any, int]
"""(token, reason code or `LOST`); from 0x80 on the code is a refusal."""

_Waiting = tuple[bytes, bytes, int, bytes, Any]  # topic, payload, flags, properties, token


class _Exactly(msgspec.Struct):
    """A QoS 2 message between PUBLISH and PUBCOMP."""

    message: _Waiting
    released: bool = False  # PUBREC came: from now on PUBREL is what is repeated


class Window:
    """The outgoing half of a client session."""

    def __init__(self, write: Callable[[bytes], None], waiting_max: int) -> None:
        self.size = 0  # how many may be in flight now
        self.size_max = 0  # and how many the peer takes
        self.waiting_max = waiting_max
        self._careful = PACKET_ID_MAX  # how many the next connection begins with
        self._answered = 0  # since `size` changed, while it is below the most
        self._write = write
        self._at_least: dict[int, Any] = {}  # packet id -> token, QoS 1
        self._exactly: dict[int, _Exactly] = {}  # packet id, QoS 2, in the order of sending
        self._waiting: deque[_Waiting] = deque()
        self._last_id = 0

    @property
    def unanswered(self) -> int:
        """How many messages are in flight or wait to be."""
        return len(self._at_least) + len(self._exactly) + len(self._waiting)

    @property
    def held(self) -> bool:
        """Whether messages wait for answers to those in flight."""
        return bool(self._waiting)

    @property
    def full(self) -> bool:
        """Whether nothing more may wait."""
        return len(self._waiting) >= self.waiting_max

    def take_id(self) -> int:
        """Return a packet identifier that nothing in flight uses."""
        at_least, exactly = self._at_least, self._exactly
        taken = self._last_id
        for _ in range(PACKET_ID_MAX):
            taken = taken + 1 if taken < PACKET_ID_MAX else 1
            if taken not in at_least and taken not in exactly:
                self._last_id = taken
                return taken
        raise OverflowError("all 65535 packet identifiers are in use")

    def publish(self, topic: bytes, payload: bytes, flags: int, properties: bytes, token: object) -> None:
        """Send a message of QoS 1 or 2 now, or when the window has room."""
        if self._waiting or len(self._at_least) + len(self._exactly) >= self.size:
            self._waiting.append((topic, payload, flags, properties, token))
        else:
            self._send(topic, payload, flags, properties, token)

    def _send(self, topic: bytes, payload: bytes, flags: int, properties: bytes, token: object) -> None:
        packet_id = self._last_id + 1
        if packet_id > PACKET_ID_MAX or packet_id in self._at_least or packet_id in self._exactly:
            packet_id = self.take_id()
        self._last_id = packet_id
        if flags & 4:
            self._exactly[packet_id] = _Exactly((topic, payload, flags, properties, token))
        else:
            self._at_least[packet_id] = token
        self._write(publish(topic, payload, flags, packet_id, properties))

    def _refill(self) -> None:
        """Send what waits, as far as the window has room."""
        waiting = self._waiting
        while waiting and len(self._at_least) + len(self._exactly) < self.size:
            self._send(*waiting.popleft())

    def puback(self, packet_id: int, reason_code: int, answers: list[Answer]) -> None:
        """Take the answer to a QoS 1 message; an identifier that is not in flight is ignored."""
        if packet_id in self._at_least:
            answers.append((self._at_least.pop(packet_id), reason_code))
            if self.size < self.size_max:
                self._grow()
            if self._waiting:
                self._refill()

    def _grow(self) -> None:
        """Take more at once when as many as may be in flight were answered."""
        self._answered += 1
        if self._answered >= self.size:
            self.size = self._careful = min(self.size * 2, self.size_max)
            self._answered = 0
            if self.size == self.size_max:
                self._careful = PACKET_ID_MAX

    def pubrec(self, packet_id: int, reason_code: int, answers: list[Answer]) -> None:
        """Take the first answer to a QoS 2 message: PUBREL follows, or the refusal is its end."""
        entry = self._exactly.get(packet_id)
        if entry is None:  # 4.3.3: a peer that repeats PUBREC for what is over gets its end again
            self._write(ack(0x62, 2, packet_id))
        elif reason_code >= Reason.UNSPECIFIED_ERROR:
            del self._exactly[packet_id]
            answers.append((entry.message[4], reason_code))
            self._refill()
        else:
            entry.released = True
            self._write(ack(0x62, 2, packet_id))

    def pubcomp(self, packet_id: int, answers: list[Answer]) -> None:
        """Take the end of a QoS 2 message: it was handed over at PUBREC, so any code is success."""
        entry = self._exactly.pop(packet_id, None)
        if entry is not None:
            answers.append((entry.message[4], 0))
            if self.size < self.size_max:
                self._grow()
            self._refill()

    def withdraw(self, wanted: Callable[[Any], bool]) -> list[Any]:
        """Take back messages that still wait and whose token is wanted; return their tokens, in order."""
        taken = [message[4] for message in self._waiting if wanted(message[4])]
        if taken:
            self._waiting = deque(message for message in self._waiting if not wanted(message[4]))
        return taken

    def resume(self, size: int, *, session_present: bool) -> list[Answer]:
        """Begin on a new connection: go on with QoS 2 if the peer kept the session, else it is lost."""
        self.size_max = size
        self.size = min(size, self._careful)
        self._answered = 0
        if not session_present:
            lost = [(entry.message[4], LOST) for entry in self._exactly.values()]
            self._exactly.clear()
            return lost
        for packet_id, entry in self._exactly.items():
            topic, payload, flags, properties, _ = entry.message
            if entry.released:
                self._write(ack(0x62, 2, packet_id))
            else:
                self._write(publish(topic, payload, flags | 8, packet_id, properties))
        return []

    def lose(self) -> list[Answer]:
        """End with the connection: everything but QoS 2 in flight comes back unanswered."""
        in_flight = len(self._at_least) + len(self._exactly)
        if in_flight:
            self._careful = max(1, in_flight // 2)
        lost = [(token, LOST) for token in self._at_least.values()]
        lost += [(message[4], LOST) for message in self._waiting]
        self._at_least.clear()
        self._waiting.clear()
        return lost
