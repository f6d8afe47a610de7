"""Heatmiser V3 on the wire (RS-485, 4800 baud): thermostats whose state is one block of bytes, the DCB.

A request is address, length, 0x81 (the master), function, start, count, data; a reply is 0x81, length (two bytes),
address, function, start, count, data.  Numbers have their low byte first, the checksum is CRC-16/CCITT-FALSE over all
before it.  Only the whole block can be read (start 0, count 0xFFFF); how long it is depends on the model, and a poll
takes as much of its beginning as it wants.  Function 1 writes bytes of it; the answer to that has no data.
"""

from __future__ import annotations

import binascii

from gateway.polling.request import Answer, Request

READ, WRITE = 0, 1
MASTER = 0x81
WHOLE = 0xFFFF
BLOCK_BYTES_MAX = 160  # of a programmable thermostat with a programme for each day
_HEAD = 9  # of a reply to a read, before the block
_WRITTEN = 7  # a reply to a write


def crc(content: bytes) -> bytes:
    """Return the two bytes of the checksum."""
    return binascii.crc_hqx(content, 0xFFFF).to_bytes(2, "little")


class Heatmiser:
    """The wire of Heatmiser V3."""

    reply_bytes_max = _HEAD + BLOCK_BYTES_MAX + 2

    def frame(self, request: Request) -> bytes:
        """Return a request with its checksum."""
        count = len(request.data) if request.function == WRITE else WHOLE
        start = request.start if request.function == WRITE else 0
        inner = bytes((MASTER, request.function)) + start.to_bytes(2, "little") + count.to_bytes(2, "little")
        body = bytes((request.address, 4 + len(inner) + len(request.data))) + inner + request.data
        return body + crc(body)

    def reply_bytes(self, request: Request) -> int:
        """Return how long a good answer may be."""
        return _WRITTEN if request.function == WRITE else self.reply_bytes_max

    def find(self, received: bytes, request: Request) -> Answer | None:
        """Find the answer to a request in what came since it was sent; None: it is not (yet) there."""
        at = received.find(MASTER)
        while at >= 0:
            length = int.from_bytes(received[at + 1 : at + 3], "little")
            frame = received[at : at + length]
            if _WRITTEN <= length <= self.reply_bytes_max and len(frame) == length and crc(frame[:-2]) == frame[-2:]:
                answer = self._answer(frame, request)
                if answer is not None:
                    return answer
            at = received.find(MASTER, at + 1)
        return None

    @staticmethod
    def _answer(frame: bytes, request: Request) -> Answer | None:
        if frame[3] != request.address or frame[4] != request.function:
            return None
        if request.function == WRITE:
            return Answer(b"")
        block = frame[_HEAD:-2]
        if frame[5:7] != b"\0\0":
            return None
        if len(block) < request.start + request.count:
            return Answer(
                b"", f"a block of {len(block)} bytes, {request.start + request.count} were wanted", final=True
            )
        return Answer(block[request.start : request.start + request.count])

    def why(self, received: bytes, request: Request) -> str:
        """Say what came instead of an answer."""
        if not received:
            return "no answer"
        if len(received) > 4 and received[0] == MASTER:
            if received[3] != request.address:
                return f"an answer of unit {received[3]}"
            length = int.from_bytes(received[1:3], "little")
            return "a cut-off answer" if len(received) < length else "an answer with a bad checksum"
        return f"{len(received)} bytes that are no answer"
