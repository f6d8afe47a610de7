"""A journal that is being written, as a backtest reads one: block by block as they come, and the time in between.

`Following` turns what the gateway tells (see gateway/api/shadow.py) into blocks.  When nothing happens the time it
gives is `LAG_NS` behind the gateway's: a record that is on its way to the disk comes before a timer that is due now.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from gateway.clock import NS_PER_S
from gateway.event import LANES, Lane
from gateway.journal.sweep import Run

LAG_NS: Final = 2 * NS_PER_S


class Following:
    """What a stream of written blocks holds; ends with the stream, or when `over` says so."""

    missing = 0

    def __init__(
        self,
        written: Iterable[Mapping[str, Any]],
        encode: Callable[[Mapping[str, Any]], bytes],
        over: Callable[[], bool],
    ) -> None:
        self._written = written
        self._encode = encode
        self._over = over

    def runs(self, after: int, through: int, lanes: Collection[Lane]) -> Iterator[Run]:  # noqa: ARG002 - as Through has it
        """Yield blocks; one without records is the time."""
        for block in self._written:
            events = block["events"]
            if events:
                kinds = bytes(LANES[event.get("lane", "telemetry")] for event in events)
                raws = [self._encode(event) for event in events]
                yield Run(after, kinds, raws, tuple(block["sequences"]), 0, len(raws), block["wall_ns"])
            else:
                yield Run(after, b"", [], (), 0, 0, block["wall_ns"] - LAG_NS)
            if self._over():
                return
