"""EnOcean Serial Protocol 3: ``{ type = "esp3" }``. A frame is the whole verified packet, from 55 to the last CRC.

``55 | data length, 16 bits | optional length | packet type | CRC8 of these four | data | optional data | CRC8 of both``
(ESP3 specification 1.5, section 1.6); the CRC has polynomial 0x07. A byte 55 inside data is data: a packet begins
where the header's CRC fits.

Of the packets that were cut short, one in 256 fits the CRC of eight bits with the bytes that followed. So a packet
in which another whole one stands is refused, and that one is taken.
"""

from __future__ import annotations

from typing import Final

from gateway.framing.checksums import crc8_07
from gateway.framing.framer import CHECKSUM, CUT_SHORT, TOO_LONG, BytesMax, Framer, FramingOptions, gap
from gateway.framing.scanner import MORE, Found, Scanner

HEADER_REASON: Final = "header checksum"
_SYNC: Final = 0x55
_HEADER: Final = 6  # bytes: 55, two, one, one, CRC


class Esp3(FramingOptions, frozen=True, kw_only=True, tag="esp3"):
    """EnOcean's packets."""

    bytes_max: BytesMax = 1024  # of a whole packet; telegrams have less than 300
    gap: str = "100ms"  # a packet has no pause this long (section 1.5)

    def __post_init__(self) -> None:
        gap(self.gap)

    def framer(self) -> Framer:
        """Return a framer of ESP3 packets."""
        return Esp3Framer(self)


class Esp3Framer(Scanner):
    """Looks for 55 with a header that verifies."""

    def __init__(self, options: Esp3) -> None:
        super().__init__(gap(options.gap))
        self._bytes_max = options.bytes_max

    def beginning(self, at: int) -> int:
        """Find the next 55."""
        found = self.buffer.find(_SYNC, at)
        return found if found >= 0 else len(self.buffer)

    def look(self, at: int) -> Found:
        """Verify the header, then the data."""
        buffer = self.buffer
        if len(buffer) < at + _HEADER:
            return MORE
        if crc8_07(buffer[at + 1 : at + 5]) != buffer[at + 5]:
            return 1, HEADER_REASON
        total = _HEADER + (buffer[at + 1] << 8 | buffer[at + 2]) + buffer[at + 3] + 1
        if total > self._bytes_max:
            return _HEADER, TOO_LONG
        if len(buffer) < at + total:
            return MORE
        packet = bytes(buffer[at : at + total])
        if crc8_07(packet[_HEADER:-1]) != packet[-1]:
            return total, CHECKSUM
        inner = packet.find(_SYNC, _HEADER)
        while inner >= 0:
            if _whole(packet, inner):
                return inner, CUT_SHORT
            inner = packet.find(_SYNC, inner + 1)
        return total, packet


def _whole(packet: bytes, at: int) -> bool:
    """Tell whether a whole packet stands at a place of another."""
    if len(packet) < at + _HEADER or crc8_07(packet[at + 1 : at + 5]) != packet[at + 5]:
        return False
    last = at + _HEADER + (packet[at + 1] << 8 | packet[at + 2]) + packet[at + 3]
    return last < len(packet) and crc8_07(packet[at + _HEADER : last]) == packet[last]
