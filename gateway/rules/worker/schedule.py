"""When timers are due: on the boot clock while the machine runs, on the wall clock over a reboot.

A row of the table "timers" has `due` and `after` (wall time and distance, ns) from the engine, and `boot`,
`boot_due`, `synced` from here.  Same boot: `boot_due` counts, whatever the wall clock does meanwhile.  Another
boot: the wall time if the clock was synced then and is now; otherwise the time without power counts as zero and
the whole distance runs again (late, never early) until the clock is synced after all.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.clock import NS_PER_S, Clock

JUMP_NS_MIN = 5 * NS_PER_S  # a wall clock that moves by more against the boot clock was set


FORGOTTEN_MAX = 1000  # places of timers that were removed or moved, beside one for each that waits


class Due(NamedTuple):
    """A timer whose time has come."""

    key: str
    row: Mapping[str, Any]
    wall_ns: int  # when it was due, on the wall clock as it is now
    trusted: bool  # False: the time without power is unknown


class Schedule:
    """Timers in the order they are due. Each is given out once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._boot = clock.boot_id()
        self._heap: list[tuple[int, str]] = []
        self._rows: dict[str, Mapping[str, Any]] = {}  # waiting
        self._due: dict[str, int] = {}  # boot time, ns
        self._untrusted: set[str] = set()
        self._wall_at_boot = self._read()
        self._synced = clock.synced()

    def __len__(self) -> int:
        """Return how many timers wait."""
        return len(self._rows)

    def anchored(self, row: dict[str, Any], then: tuple[int, int] | None = None) -> dict[str, Any]:
        """Return a new timer's row with its place on the boot clock added.

        then   wall and boot clock when `due` was reckoned; the wall clock may have been set since. None: now
        """
        wall, boot = self._clock.wall_ns(), self._clock.boot_ns()
        then_wall, then_boot = then or (wall, boot)
        jumped = wall - then_wall - (boot - then_boot)
        due = row["due"] + (jumped if abs(jumped) > JUMP_NS_MIN else 0)
        boot_due = then_boot + row["due"] - then_wall
        return {**row, "due": due, "boot": self._boot, "boot_due": boot_due, "synced": self._clock.synced()}

    def add(self, key: str, row: Mapping[str, Any]) -> None:
        """Wait for a timer; a row without a boot clock's time is anchored by the wall clock."""
        self._rows[key] = row
        self._due[key] = self._boot_due(key, row)
        heapq.heappush(self._heap, (self._due[key], key))
        if len(self._heap) > 2 * len(self._rows) + FORGOTTEN_MAX:
            self._heap = [(due, waiting) for waiting, due in self._due.items()]
            heapq.heapify(self._heap)

    def remove(self, key: str) -> None:
        """Forget a timer, if it waits."""
        self._rows.pop(key, None)
        self._due.pop(key, None)
        self._untrusted.discard(key)

    def wait_s(self) -> float:
        """Return seconds until the next timer, 0 if it is overdue; infinity without timers."""
        self._drop_forgotten()
        if not self._heap:
            return math.inf
        return max(0.0, (self._heap[0][0] - self._clock.boot_ns()) / 1e9)

    def due(self, limit: int) -> list[Due]:
        """Give out up to `limit` timers whose time has come, oldest first."""
        if self._untrusted and self._clock.synced():
            self._trust()
        now, wall = self._clock.boot_ns(), self._clock.wall_ns()
        found: list[Due] = []
        while len(found) < limit:
            self._drop_forgotten()
            if not self._heap or self._heap[0][0] > now:
                break
            at, key = heapq.heappop(self._heap)
            found.append(Due(key, self._rows[key], wall - (now - at), key not in self._untrusted))
            self.remove(key)
        return found

    def clock_set(self) -> float | None:
        """Return by how many seconds the wall clock was set since the last time, 0 if it is only believed now.

        None if it goes on as it did. Cheap: asked for at each turn.
        """
        at_boot, synced = self._read(), self._clock.synced()
        jumped = at_boot - self._wall_at_boot
        if abs(jumped) < JUMP_NS_MIN and (self._synced or not synced):
            self._synced = synced
            return None
        self._wall_at_boot, self._synced = at_boot, synced
        return round(jumped / NS_PER_S, 3)

    def _read(self) -> int:
        """Return what the wall clock, going as it does, showed when the machine started."""
        return self._clock.wall_ns() - self._clock.boot_ns()

    def _drop_forgotten(self) -> None:
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)

    def _boot_due(self, key: str, row: Mapping[str, Any]) -> int:
        if row.get("boot") == self._boot:
            return int(row["boot_due"])
        now = self._clock.boot_ns()
        if row.get("synced", True) and self._clock.synced():
            return now + int(row["due"]) - self._clock.wall_ns()
        self._untrusted.add(key)
        return now + int(row.get("after", 0))

    def _trust(self) -> None:
        """Give timers their wall time back: the clock is synced now, and was when they were set."""
        for key in list(self._untrusted):
            row = self._rows[key]
            if row.get("synced", True):
                self._untrusted.discard(key)
                self.add(key, row)
