"""Modbus RTU: ``{ type = "modbus-rtu" }``. A frame is address, function and data, the CRC verified and taken off.

A frame does not say how long it is, but its function code nearly does (Modbus application protocol 1.1b3, section 6):
a reply to 3 counts its bytes, a request of 3 has eight. Where a code allows both lengths, the one whose CRC fits is it.
A frame and its CRC with a zero behind them fit again, as one byte more: one in 256 replies of nine bytes looks like a
request and a zero. Who listens to both sides therefore takes the longer one of two that fit; a zero of noise right
behind a frame may then be taken for a part of it.
What has another code ends at a silence of `gap` (Modbus over serial line 1.02, section 2.5.1.1), and begins where
nothing was refused before it: anywhere else a CRC would fit by chance too often.
"""

from __future__ import annotations

from typing import Final, Literal

from gateway.framing.checksums import crc16
from gateway.framing.framer import CHECKSUM, CUT_SHORT, NOISE, Framer, FramingOptions, gap
from gateway.framing.scanner import MORE, Found, Scanner

ADU_BYTES_MAX: Final = 256
_SHORTEST: Final = 4  # address, function, CRC

# function -> bytes of the whole frame, or minus the place of its byte count
_REPLIES: Final = {
    1: -2, 2: -2, 3: -2, 4: -2, 5: 8, 6: 8, 7: 5, 8: 8, 11: 8, 12: -2, 15: 8, 16: 8, 17: -2, 20: -2, 21: -2, 22: 10,
    23: -2,
}  # fmt: skip
_REQUESTS: Final = {
    1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 7: 4, 8: 8, 11: 4, 12: 4, 15: -6, 16: -6, 17: 4, 20: -2, 21: -2, 22: 10,
    23: -10,
}  # fmt: skip
_EXCEPTION: Final = 5


class ModbusRtu(FramingOptions, frozen=True, kw_only=True, tag="modbus-rtu"):
    """Frames of one bus: a master hears replies; who only listens hears both sides."""

    side: Literal["replies", "requests", "both"] = "replies"
    gap: str = "50ms"  # the standard's 3.5 characters are shorter than an adapter or a busy machine can tell

    def __post_init__(self) -> None:
        if not gap(self.gap):
            raise ValueError("modbus-rtu needs a gap: functions of makers end with it")

    def framer(self) -> Framer:
        """Return a framer of Modbus RTU."""
        return ModbusRtuFramer(self)


class ModbusRtuFramer(Scanner):
    """Tries the lengths that a function code allows."""

    def __init__(self, options: ModbusRtu) -> None:
        super().__init__(gap(options.gap))
        sides = {"replies": (_REPLIES,), "requests": (_REQUESTS,), "both": (_REPLIES, _REQUESTS)}[options.side]
        self._lengths: dict[int, tuple[int, ...]] = {
            function: tuple(sorted({side[function] for side in sides}, reverse=True)) for function in _REPLIES
        }
        if options.side != "requests":
            self._lengths |= dict.fromkeys(range(0x80, 0x100), (_EXCEPTION,))

    def look(self, at: int) -> Found:
        """Take the first length whose CRC fits."""
        buffer = self.buffer
        have = len(buffer) - at
        if have < 2:
            return MORE
        rules = self._lengths.get(buffer[at + 1])
        if rules is None:  # a maker's own: the silence behind it ends it
            return MORE if self.sure and have <= ADU_BYTES_MAX else (1, NOISE)
        wanted, more = [], False
        for rule in rules:
            if rule > 0:
                wanted.append(rule)
            elif have <= -rule:
                more = True
            elif (length := 1 - rule + buffer[at - rule] + 2) <= ADU_BYTES_MAX:
                wanted.append(length)
        longest = 0
        for length in sorted(wanted):
            if length > have:
                return MORE
            if self._verified(at, length):
                if length + 1 in wanted:
                    if have == length:
                        return MORE
                    length += buffer[at + length] == 0  # noqa: PLW2901 - a zero behind a frame belongs to it
                return length, bytes(buffer[at : at + length - 2])
            longest = length
        return MORE if more else (longest or 1, CHECKSUM)

    def last_look(self, at: int) -> Found:
        """Take what is there for a frame if its CRC says so, whatever its function code."""
        length, found = self.look(at)
        if found is not None:
            return length, found
        rest = len(self.buffer) - at
        if self.sure and _SHORTEST <= rest <= ADU_BYTES_MAX and self._verified(at, rest):
            return rest, bytes(self.buffer[at : at + rest - 2])
        return rest, CUT_SHORT

    def _verified(self, at: int, length: int) -> bool:
        """Tell whether the CRC fits: over a frame and its CRC, low byte first, it is zero."""
        return crc16(self.buffer[at : at + length], 0xFFFF) == 0
