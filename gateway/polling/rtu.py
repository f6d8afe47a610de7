"""Modbus RTU on the wire: requests, answers, exceptions, checksums (Modbus over serial line 1.02, protocol 1.1b3).

An answer names its unit and function, not its registers: only the request tells what it is about.  So an answer is
looked for with the request at hand, at every offset, because a transceiver that turns adds bytes of its own.  A
read answer has to have the byte count that was asked for; the answer to a write repeats it and has to repeat *this*
one, so that a late answer to another write is none.
"""

from __future__ import annotations

from gateway.framing.checksums import crc16
from gateway.polling.request import Answer, Request

READ_BITS, READ_REGISTERS = (1, 2), (3, 4)
WRITE_BIT, WRITE_REGISTER, WRITE_BITS, WRITE_REGISTERS = 5, 6, 15, 16
REGISTERS_MAX = 125  # of one read; bits: 2,000
BITS_MAX = 2000
FRAME_BYTES_MAX = 256

EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "accepted, takes long",
    6: "device busy",
    7: "negative acknowledgement",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target does not answer",
}
ABSENT = frozenset({10, 11})  # a gateway on the bus says that the unit is not there

FINAL = frozenset({1, 2, 3})  # what was asked for cannot be done at all

_REFUSED = 0x80
_REFUSAL_BYTES = 5


def crc(content: bytes) -> bytes:
    """Return the two bytes of the checksum (CRC-16/MODBUS, low byte first)."""
    return crc16(content, 0xFFFF).to_bytes(2, "little")


def exception_name(code: int) -> str:
    """Return an exception as people read it: ``exception 2 (illegal data address)``."""
    return f"exception {code} ({EXCEPTIONS.get(code, 'unknown')})"


class Rtu:
    """The wire of Modbus RTU."""

    reply_bytes_max = FRAME_BYTES_MAX

    def frame(self, request: Request) -> bytes:
        """Return a request with its checksum."""
        head = bytes((request.address, request.function)) + request.start.to_bytes(2, "big")
        if request.function in (*READ_BITS, *READ_REGISTERS):
            body = head + request.count.to_bytes(2, "big")
        elif request.function in (WRITE_BIT, WRITE_REGISTER):
            body = head + request.data
        else:
            body = head + request.count.to_bytes(2, "big") + bytes((len(request.data),)) + request.data
        return body + crc(body)

    def reply_bytes(self, request: Request) -> int:
        """Return how long a good answer is."""
        content = _content_bytes(request)
        return 8 if content is None else 5 + content

    def find(self, received: bytes, request: Request) -> Answer | None:
        """Find the answer to a request in what came since it was sent; None: it is not (yet) there."""
        good, length = self._head(request), self.reply_bytes(request)
        bad = bytes((request.address, request.function | _REFUSED))
        for at in range(len(received) - _REFUSAL_BYTES + 1):
            if received.startswith(good, at):
                frame = received[at : at + length]
                if len(frame) == length and crc(frame[:-2]) == frame[-2:]:
                    return Answer(b"" if length == 8 and request.data else frame[3:-2])
            elif received.startswith(bad, at):
                frame = received[at : at + _REFUSAL_BYTES]
                if crc(frame[:-2]) == frame[-2:]:
                    return Answer(b"", exception_name(frame[2]), frame[2] in ABSENT, frame[2] in FINAL)
        return None

    def why(self, received: bytes, request: Request) -> str:
        """Say what came instead of an answer."""
        if not received:
            return "no answer"
        if received.startswith(self._head(request)):
            return "a cut-off answer" if len(received) < self.reply_bytes(request) else "an answer with a bad checksum"
        if len(received) >= _REFUSAL_BYTES and crc(received[:-2]) == received[-2:]:
            if received[0] != request.address:
                return f"an answer of unit {received[0]}"
            return f"an answer to another request (function {received[1] & ~_REFUSED})"
        return f"{len(received)} bytes that are no answer"

    def _head(self, request: Request) -> bytes:
        """Return how a good answer begins."""
        content = _content_bytes(request)
        if content is not None:
            return bytes((request.address, request.function, content))
        return self.frame(request)[:6]


def _content_bytes(request: Request) -> int | None:
    """Return how many bytes of values a read brings; None for a write."""
    if request.function in READ_REGISTERS:
        return 2 * request.count
    if request.function in READ_BITS:
        return (request.count + 7) // 8
    return None
