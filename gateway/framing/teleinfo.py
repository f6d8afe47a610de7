r"""Frames of French meters' customer port (Téléinfo): ``{ type = "teleinfo" }``. A frame is ``label\tvalue`` lines.

Between STX and ETX stand groups ``\nlabel value check\r``. In the historical mode a space separates them, which the
check does not cover where it stands before it; in Linky's standard mode it is a tab, which it does. A frame with one
group that does not fit is refused: what the others say would be half of what was sent.
"""

from __future__ import annotations

from typing import Final

from gateway.framing.framer import CHECKSUM, BytesMax, Framer, FramingOptions, gap
from gateway.framing.scanner import Found
from gateway.framing.start_end import StartEnd, StartEndFramer

_TAB: Final = 0x09
_SPACE: Final = 0x20


class Teleinfo(FramingOptions, frozen=True, kw_only=True, tag="teleinfo"):
    """What a French electricity meter says all the time, in both modes."""

    bytes_max: BytesMax = 2048  # between STX and ETX
    gap: str = "1s"  # a frame has no pause this long

    def __post_init__(self) -> None:
        gap(self.gap)

    def framer(self) -> Framer:
        """Return a framer of groups that were verified."""
        return TeleinfoFramer(StartEnd(start="\u0002", end="\u0003", bytes_max=self.bytes_max, gap=self.gap))


class TeleinfoFramer(StartEndFramer):
    """Looks for a frame and verifies each of its groups."""

    def look(self, at: int) -> Found:
        """Find the end mark, and refuse what is between the marks if a group does not fit."""
        length, found = super().look(at)
        return (length, _lines(found) or CHECKSUM) if isinstance(found, bytes) else (length, found)


def _lines(body: bytes) -> bytes | None:
    *groups, rest = body.split(b"\r")
    lines = [_line(group) for group in groups]
    return None if rest or not lines or None in lines else b"\r\n".join(line for line in lines if line)


def _line(group: bytes) -> bytes | None:
    """Return label and value with a tab between them, or nothing if the check does not fit."""
    if len(group) < 4 or group[:1] != b"\n" or group[-2] not in (_SPACE, _TAB):
        return None
    tab = group[-2] == _TAB
    covered = group[1 : -1 if tab else -2]
    label, found, value = group[1:-2].partition(group[-2:-1])
    return label + b"\t" + value if label and found and (sum(covered) & 0x3F) + 0x20 == group[-1] else None
