"""What a framer is: it cuts the bytes of a serial line into frames and refuses what is none.

Framers are sans-io. Frames never depend on how the bytes were cut into pieces, only on the bytes and on where the line
was silent. What is refused is counted by reason in `rejected`; the search goes on with the next byte (or behind the
next delimiter), so that garbage costs at most the frame it touches.

A frame is the verified body: what only marks or protects it has been taken off. Which that is says each framer.
Bounds: a framer keeps at most `bytes_max` bytes of its options, and the piece it is being fed.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Final, Protocol

import msgspec

from gateway.quantity import duration_s

FRAME_BYTES_MAX: Final = 65_536  # no `bytes_max` of a framing may be larger

CUT_SHORT: Final = "cut short"  # the line went silent or away, or the next frame began, before this one was whole
TOO_LONG: Final = "too long"
CHECKSUM: Final = "checksum"
NOISE: Final = "noise"  # a stretch of bytes in which no frame begins

BytesMax = Annotated[int, msgspec.Meta(ge=1, le=FRAME_BYTES_MAX)]


class Framer(Protocol):
    """Cuts one line's bytes into frames."""

    rejected: Counter[str]  # reason -> how many frames (or stretches of noise) were refused
    gap_s: float  # so long without a byte is a silence: then `idle` is due; 0 = this framing does not mind

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes as they came; return the frames that are whole with them."""
        ...

    def idle(self) -> list[bytes]:
        """Take note of a silence of `gap_s`: what was waiting for more bytes will not get them."""
        ...

    def reset(self) -> None:
        """Take note of an interruption: what is unfinished is refused, and the next byte is a beginning."""
        ...


class FramingOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    r"""``[link] framing = { type = "...", ... }``: one type of framing and its options.

    Bytes are written as text, a character a byte: ``"\r\n"``, ``"\u0002"``, ``"\u00ff"``.
    """

    def framer(self) -> Framer:
        """Return a new framer; each line has its own."""
        raise TypeError(f"{type(self).__name__} has no framer")


def raw(text: str) -> bytes:
    """Turn the text of an option into bytes, a character a byte. ValueError above U+00FF."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"{text!r}: a character is a byte here, up to \\u00ff") from None


def marker(text: str) -> bytes:
    """Turn the text of an option that must not be empty into bytes."""
    if not text:
        raise ValueError("a marker needs at least one character")
    return raw(text)


def gap(text: str) -> float:
    """Read a silence in seconds; "" is none. ValueError beyond a minute."""
    seconds = duration_s(text) if text else 0.0
    if seconds > 60:
        raise ValueError(f"{text!r}: a gap in a line is at most a minute")
    return seconds
