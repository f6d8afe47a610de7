"""Thinning: of each device, type and field the first event in each bucket of time stays. Pure.

Buckets are cut from the time that events carry, in whole seconds since 1970, so where they begin does not depend on
when the thinning is done; twice the bucket is the union of two, so that what a coarser bucket keeps was kept by the
finer one. An event stays when its bucket is another than that of the one kept before: a clock that jumps back costs
nothing but a few events more.

The bucket is one for the whole lane. It is chosen by looking at a sample of what waits (`next_bucket`): the least power
of two that leaves clearly less of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

NS_PER_S: Final = 1_000_000_000
KEYS_MAX: Final = 50_000  # devices x types x fields remembered; beyond that some events more are kept
BUCKET_S_MAX: Final = 1 << 22  # 48 days: who still has no room gives up the oldest
CLEARLY_LESS: Final = 0.65  # of a sample is what a new bucket may leave at most
MINUTES_MAX: Final = 4096  # texts of minutes remembered
_DATA: Final = b'"data":{"'

Key = tuple[str, str, bytes]


class _Head(msgspec.Struct, gc=False, tag_field="specversion", tag="1.0"):
    type: str
    subject: str = ""
    time: str = ""


_head = msgspec.json.Decoder(_Head).decode


class Clockwork:
    """Reads what thinning goes by out of an event's bytes."""

    def __init__(self) -> None:
        self._minutes: dict[str, int] = {}

    def look(self, raw: bytes, wall_ns: int) -> tuple[Key, int]:
        """Return (device, type, field) and the second it happened; `wall_ns` for an event that does not say."""
        try:
            head = _head(raw)
        except msgspec.DecodeError:  # no event: kept as it is, by its bytes
            return ("", "", raw), wall_ns // NS_PER_S
        at = raw.find(_DATA) + len(_DATA)
        field = raw[at : raw.find(b'"', at)] if at >= len(_DATA) else b""
        return (head.subject, head.type, field), self._second(head.time, wall_ns)

    def _second(self, text: str, wall_ns: int) -> int:
        minute = text[:16]
        try:
            if not text.endswith("Z") or len(text) < 20:
                return int(datetime.fromisoformat(text).timestamp()) if text else wall_ns // NS_PER_S
            start = self._minutes.get(minute)
            if start is None:
                if len(self._minutes) >= MINUTES_MAX:
                    self._minutes.clear()
                start = self._minutes[minute] = int(datetime.fromisoformat(minute + ":00+00:00").timestamp())
            return start + int(text[17:19])
        except (ValueError, OverflowError):
            return wall_ns // NS_PER_S


class Thinner:
    """Goes through a lane in its order and says what stays."""

    def __init__(self, bucket_s: int) -> None:
        self.bucket_s = bucket_s
        self.through = 0
        """Sequence up to which it has gone: it remembers the bucket of what it kept last of each key."""
        self._kept: dict[Key, int] = {}
        self._clockwork = Clockwork()

    def keeps(self, sequence: int, raw: bytes, wall_ns: int) -> bool:
        """Say whether the next event stays, and remember it."""
        key, second = self._clockwork.look(raw, wall_ns)
        self.through = sequence
        bucket = second // self.bucket_s
        kept = self._kept
        if kept.get(key) == bucket:
            return False
        if len(kept) >= KEYS_MAX:
            kept.clear()
        kept[key] = bucket
        return True


def next_bucket(bucket_s: int, samples: Sequence[Sequence[tuple[Key, int]]]) -> int | None:
    """Return the next bucket that makes a difference; None when there is none up to BUCKET_S_MAX.

    `samples`: (key, second) of neighbours in the lane, in order, from one place or several.
    """
    total = sum(map(len, samples))
    candidate = max(1, bucket_s * 2)
    while total and candidate <= BUCKET_S_MAX:
        kept = 0
        for sample in samples:
            last: dict[Key, int] = {}
            for key, second in sample:
                bucket = second // candidate
                if last.get(key) != bucket:
                    last[key] = bucket
                    kept += 1
        if kept <= CLEARLY_LESS * total:
            return candidate
        candidate *= 2
    return None
