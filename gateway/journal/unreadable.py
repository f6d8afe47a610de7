"""Reading past what a disk cannot read: a bad sector is damage like any other, a disk that is gone is not.

A read that fails is tried again, then page by page; a page that cannot be read is seen as zeros, which no block is. So
whoever walks through a segment meets a hole where the bad sector is, and not an error that ends the walk. But if
nothing at all can be read, and the journal's folder does not answer either, the disk is gone: then the error is raised,
because what cannot be read now may be as it was when the disk is back.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from gateway.journal.options import PAGE_BYTES
from gateway.journal.segment import Read

READ_TRIES: Final = 3  # a card may fail to read once


def around(read: Read, answers: Callable[[], bool]) -> Read:
    """Return a read that goes around unreadable pages. It raises OSError when the disk does not answer at all."""

    def get(length: int, offset: int) -> bytes:
        for _ in range(READ_TRIES):
            with suppress(OSError):
                return read(length, offset)
        pieces: list[bytes] = []
        at, end, refused = offset, offset + length, None
        while at < end:
            step = min(PAGE_BYTES - at % PAGE_BYTES, end - at)
            try:
                piece = read(step, at)
            except OSError as error:
                piece, refused = bytes(step), refused or error
            pieces.append(piece)
            at += step
            if len(piece) < step:
                break
        if refused is not None and not answers():
            raise refused
        return b"".join(pieces)

    return get


def always() -> bool:
    """Answer for a disk about which nobody can say more than its reads do."""
    return True
