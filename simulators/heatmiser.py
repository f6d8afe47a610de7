"""Heatmiser V3 thermostats on one line, from the protocol's description; they share nothing with the gateway."""

from __future__ import annotations

from dataclasses import dataclass, field

REQUEST_BYTES_MIN = 10
BLOCK_BYTES = 64


def checksum(content: bytes) -> bytes:
    """CRC-16/CCITT, from 0xFFFF, bit by bit; low byte first on the wire."""
    register = 0xFFFF
    for byte in content:
        register ^= byte << 8
        for _ in range(8):
            register = (register << 1 ^ 0x1021 if register & 0x8000 else register << 1) & 0xFFFF
    return bytes((register % 256, register // 256))


def block(**places: int) -> bytearray:
    """Return a thermostat's block: model 4, so many bytes; ``b18=20`` sets byte 18."""
    made = bytearray(BLOCK_BYTES)
    made[0], made[4] = BLOCK_BYTES, 4
    for name, value in places.items():
        made[int(name[1:])] = value
    return made


@dataclass
class HeatmiserBus:
    """Thermostats by address; those in `dead` do not answer."""

    blocks: dict[int, bytearray]
    dead: set[int] = field(default_factory=set)
    pending: bytes = b""

    def feed(self, data: bytes) -> list[tuple[float, bytes]]:
        """Take what a master sent; returns answers and when they come."""
        self.pending += data
        answers = []
        while len(self.pending) >= REQUEST_BYTES_MIN:
            length = self.pending[1]
            frame = self.pending[:length]
            if len(frame) < length:
                break
            if frame[2] != 0x81 or checksum(frame[:-2]) != frame[-2:]:
                self.pending = self.pending[1:]
                continue
            self.pending = self.pending[length:]
            if frame[0] in self.blocks and frame[0] not in self.dead:
                answers.append((0.01, self._answer(frame)))
        return answers

    def _answer(self, frame: bytes) -> bytes:
        held, start = self.blocks[frame[0]], frame[4] + frame[5] * 256
        if frame[3] == 1:
            held[start : start + frame[6] + frame[7] * 256] = frame[8:-2]
            body = bytes((0x81, 7, 0, frame[0], 1))
        else:
            body = bytes((0x81, 11 + len(held), 0, frame[0], 0, 0, 0, len(held), 0)) + bytes(held)
        return body + checksum(body)
