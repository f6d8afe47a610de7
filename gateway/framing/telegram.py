"""Telegrams of meters (IEC 62056-21 mode D, DSMR P1): ``{ type = "telegram" }``.

A frame goes from ``/`` to ``!`` inclusive; behind that stand up to four hexadecimal digits of CRC-16/ARC over it
(DSMR 5.0.2 P1, section 5.2) and a line end, which are taken off. Some meters leave leading zeros of the CRC out. Meters
before DSMR 4 have none: such telegrams are taken until the line has once had one with a CRC.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from gateway.framing.checksums import crc16
from gateway.framing.framer import CHECKSUM, CUT_SHORT, TOO_LONG, BytesMax, Framer, FramingOptions, gap
from gateway.framing.scanner import MORE, Found, Scanner

MISSING_REASON: Final = "no checksum"
_END: Final = re.compile(rb"!([0-9A-Fa-f]{0,4})\r?\n")  # at most seven bytes: no backtracking to speak of
_END_BYTES_MAX: Final = 7
_END_AND_SILENCE: Final = re.compile(rb"!([0-9A-Fa-f]{1,4})\r?\Z")


class Telegram(FramingOptions, frozen=True, kw_only=True, tag="telegram"):
    """What a meter pushes every second or ten."""

    bytes_max: BytesMax = 8192
    crc: Literal["auto", "always"] = "auto"  # always: one without a CRC is refused from the beginning
    gap: str = "2s"  # a telegram has no pause this long

    def __post_init__(self) -> None:
        gap(self.gap)

    def framer(self) -> Framer:
        """Return a framer of telegrams."""
        return TelegramFramer(self)


class TelegramFramer(Scanner):
    """Looks for a slash and the exclamation mark that belongs to it."""

    def __init__(self, options: Telegram) -> None:
        super().__init__(gap(options.gap))
        self._bytes_max = options.bytes_max
        self._crc_expected = options.crc == "always"
        self._searched = 0  # bytes of the telegram under way in which there is no end

    def reset(self) -> None:
        """Refuse what is unfinished."""
        super().reset()
        self._searched = 0

    def beginning(self, at: int) -> int:
        """Find the next slash."""
        found = self.buffer.find(b"/", at)
        return found if found >= 0 else len(self.buffer)

    def look(self, at: int) -> Found:
        """Find the end of a telegram and verify its CRC."""
        buffer, limit = self.buffer, at + self._bytes_max
        mark = buffer.find(b"!", at + self._searched, limit)
        self._searched = 0
        while mark >= 0:
            end = _END.match(buffer, mark)
            if end is not None:
                return self._verified(at, mark, end)
            if len(buffer) < mark + _END_BYTES_MAX and b"\n" not in buffer[mark:]:
                self._searched = mark - at
                return MORE
            mark = buffer.find(b"!", mark + 1, limit)
        if len(buffer) >= limit:
            return self._bytes_max, TOO_LONG
        self._searched = len(buffer) - at
        return MORE

    def last_look(self, at: int) -> Found:
        """Take a CRC without a line end for the end, when it fits."""
        length, found = self.look(at)
        self._searched = 0
        if found is not None:
            return length, found
        mark = self.buffer.rfind(b"!", at)
        end = _END_AND_SILENCE.match(self.buffer, mark) if mark >= 0 else None
        if end is not None:
            length, found = self._verified(at, mark, end)
        return (length, found) if isinstance(found, bytes) else (len(self.buffer) - at, CUT_SHORT)

    def _verified(self, at: int, mark: int, end: re.Match[bytes]) -> Found:
        frame, length = bytes(self.buffer[at : mark + 1]), end.end() - at
        if end[1]:
            if crc16(frame, 0) != int(end[1], 16):
                return length, CHECKSUM
            self._crc_expected = True
        elif self._crc_expected:
            return length, MISSING_REASON
        elif again := frame.rfind(b"/", 1) + 1:  # no value may have a slash: here the next telegram began
            return again - 1, CUT_SHORT
        return length, frame
