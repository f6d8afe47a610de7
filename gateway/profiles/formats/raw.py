"""``bytes``: a frame as it stands, for `bits` to read: ``{"data": "0a1b...", "size": 2}``."""

from __future__ import annotations

from typing import Any

from gateway.errors import DecodeError
from gateway.profiles.formats.table import Parse, Table

FRAME_BYTES_MAX = 4096


class Raw(Table, frozen=True, tag="bytes"):
    """Bytes without a structure of their own."""

    def reader(self) -> Parse:
        """Return a parser that keeps the bytes as text."""

        def parse(payload: bytes) -> dict[str, Any]:
            if not payload or len(payload) > FRAME_BYTES_MAX:
                raise DecodeError(f"{len(payload)} bytes, expected 1 to {FRAME_BYTES_MAX}")
            return {"data": payload.hex(), "size": len(payload)}

        return parse
