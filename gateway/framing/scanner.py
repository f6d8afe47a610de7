"""Searches a stream for frames byte by byte: what all framings without a delimiter have in common.

A kind of frame says where the next one may begin (`beginning`) and what it finds there (`look`). What is refused costs
one byte: the search goes on with the next, because the real frame may begin inside. So that one damaged frame is
counted once, nothing else that begins within its length is counted, unless it is a frame.

Where neither a mark nor a checksum tells a frame from other bytes, that search would find frames nobody sent. Such a
line (`anchored` is false) is not listened to after a refusal until it has been silent.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from gateway.framing.framer import CUT_SHORT, NOISE

Found = tuple[int, bytes | str | None]
"""How many bytes of the stream it is about, and: the frame, or why there is none, or None when more bytes tell.

A frame with nothing in it is passed silently.
"""

MORE: Final[Found] = (0, None)


class Scanner:
    """Bytes in which frames are looked for; after `feed` fewer than the longest frame are left."""

    def __init__(self, gap_s: float, *, anchored: bool = True) -> None:
        self.rejected: Counter[str] = Counter()
        self.gap_s = gap_s
        self.buffer = bytearray()
        self._blamed = 0  # what begins before this place of the buffer is part of a frame that was refused
        self._noisy = False  # the last bytes were noise, and it has been counted
        self.sure = True  # nothing was refused since the last frame or silence: here is where a frame begins
        self._anchored = anchored
        self._deaf = False  # not anchored, and refused something: only a silence helps

    def beginning(self, at: int) -> int:
        """Return the first place from `at` on where a frame, or what there is of it, may begin; or the end."""
        return at

    def look(self, at: int) -> Found:
        """Say what begins at a place. Must not ask for more when the frame would be longer than is allowed."""
        raise TypeError(f"{type(self).__name__} does not look; place {at}")

    def last_look(self, at: int) -> Found:
        """Say what begins at a place after which there is silence; nothing more will come."""
        length, found = self.look(at)
        return (length, found) if found is not None else (len(self.buffer) - at, CUT_SHORT)

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; return the frames that are whole with them."""
        if self._deaf:
            return []
        self.buffer += data
        return self._scan(silent=False)

    def idle(self) -> list[bytes]:
        """Give up what waits for more bytes; return the frames behind it."""
        frames = self._scan(silent=True) if self.buffer else []
        self._deaf = False
        self.sure = True
        return frames

    def reset(self) -> None:
        """Refuse what is unfinished."""
        if self.buffer and not self._blamed:
            self.rejected[CUT_SHORT] += 1
        self.buffer.clear()
        self._blamed = 0
        self._noisy = False
        self._deaf = False
        self.sure = True

    def _scan(self, *, silent: bool) -> list[bytes]:
        frames: list[bytes] = []
        buffer, look = self.buffer, self.last_look if silent else self.look
        at, end = 0, len(buffer)
        while at < end:
            begin = self.beginning(at)
            if begin > at:
                self._skip(begin)
                at = begin
                continue
            length, found = look(at)
            if found is None:
                break
            if isinstance(found, str):
                self._refuse(at, length, found)
                self._deaf = not self._anchored
                at = at + 1 if self._anchored else end
            else:
                if found:
                    frames.append(found)
                at += length
                self._blamed = 0
                self._noisy = False
                self.sure = True
        del buffer[:at]
        self._blamed = max(0, self._blamed - at)
        return frames

    def _skip(self, end: int) -> None:
        """Pass bytes up to `end` in which no frame begins; a stretch of them is counted once."""
        self.sure = False
        if end > self._blamed and not self._noisy:
            self.rejected[NOISE] += 1
            self._noisy = True

    def _refuse(self, at: int, length: int, reason: str) -> None:
        self.sure = False
        if at < self._blamed:
            return
        if reason != NOISE:
            self.rejected[reason] += 1
            self._blamed = at + length
            self._noisy = False
        elif not self._noisy:
            self.rejected[NOISE] += 1
            self._noisy = True


def first_part(buffer: bytearray, marker: bytes, at: int) -> int:
    """Return where `marker`, or at the end of the buffer a part of it, begins; the buffer's length when nowhere."""
    found = buffer.find(marker, at)
    if found >= 0:
        return found
    for length in range(min(len(marker) - 1, len(buffer) - at), 0, -1):
        if buffer.endswith(marker[:length]):
            return len(buffer) - length
    return len(buffer)
