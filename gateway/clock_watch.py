"""Watches the wall clock: whether it can be believed, and whether somebody has set it. Once a second, between events.

Everything that a change of the clock means happens here in one turn of the event loop, so nothing is stamped between
its parts: the journal begins a new stretch of its timeline (journal/timeline.py), sources and the journal mark what
comes as it is now, the cloud and the rules are told, and what waits to leave gets its true time.

    clock_synced   the clock is believed from now on: what was unsynced in this boot has its true time
    clock_stepped  it was set by more than STEP_NS_MIN while the gateway ran, forwards or back
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from gateway.clock import NS_PER_S, RELEASED_NS, STEP_NS_MIN, Clock, ClockState, SystemClock, rfc3339, state_of
from gateway.codes.clock import CLOCK_BEHIND, CLOCK_STEPPED, CLOCK_UNSYNCED
from gateway.event import Event, stamp, stamp_unsynced
from gateway.journal.journal import Journal
from gateway.logs.about import about

log = logging.getLogger(__name__)

MOVED_NS_MIN: Final = NS_PER_S // 20  # an unsynced clock that is set by more begins a stretch of its own
STEPS_TOLD_MAX: Final = 100  # events clock_stepped in one run: a clock that jumps to and fro fills no disk


class Marks(Protocol):
    """Who marks events as unsynced."""

    synced: bool


class ClockWatch:
    """See the head of this module. Lives on the event loop's thread."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        record: Callable[[Event], None],
        *,
        gateway: str,
        marks: Callable[[], Iterable[Marks]],
        retell: Callable[[], None],
        clock_set: Callable[[int, int], None],
    ) -> None:
        """Take the clock as it is.

        marks      who marks events of devices; asked for each time
        retell     is called when events that wait have another time than before
        clock_set  lets the rules know: the last record by the clock before, and that clock minus the boot clock
        """
        self._journal = journal
        self._clock = clock
        self._record = record
        self._gateway = gateway
        self._marks = marks
        self._retell = retell
        self._clock_set = clock_set
        self._stretch = journal.timeline.stretches[-1]
        self._began = self._stretch  # what is to be corrected begins here
        self._offset_ns = self._stretch.offset_ns
        self._synced = self._stretch.synced
        self._not_before_ns = max(RELEASED_NS, self._stretch.not_before_ns)
        self._state = state_of(clock, self._not_before_ns)
        self._since_boot_ns = clock.boot_ns()
        self.steps = 0
        self._mark()

    @property
    def state(self) -> ClockState:
        """Say how the clock is."""
        now_ns, since_ns = self._clock.boot_ns(), self._since_boot_ns
        return ClockState(
            state=self._state,
            synced=self._synced,
            since=rfc3339(self._clock.wall_ns() - (now_ns - since_ns)),
            boot_id=self._stretch.boot,
            boot_s=round(now_ns / NS_PER_S, 3),
            steps=self.steps,
            not_before=rfc3339(self._not_before_ns) if self._state == "behind" else "",
        )

    def say(self) -> None:
        """Say at the start what the clock is worth."""
        if self._state == "behind":
            log.warning(
                "the clock is behind: it says %s, which is before %s; events keep their order and are corrected later",
                rfc3339(self._clock.wall_ns()), rfc3339(self._not_before_ns), extra=about(CLOCK_BEHIND),
            )  # fmt: skip
        elif self._state == "unsynced":
            log.warning("nobody has set the clock since boot; it says %s", rfc3339(self._clock.wall_ns()),
                        extra=about(CLOCK_UNSYNCED))  # fmt: skip

    def look(self) -> None:
        """See what the clock did since the last look, and do what that means."""
        clock = self._clock
        if isinstance(clock, SystemClock):
            clock.settle()
        boot_ns, synced = clock.boot_ns(), clock.synced()
        moved_ns = clock.wall_ns() - boot_ns - self._offset_ns
        stepped = abs(moved_ns) >= STEP_NS_MIN
        if stepped or synced != self._synced or (not synced and abs(moved_ns) >= MOVED_NS_MIN):
            self._changed(moved_ns, stepped=stepped, synced=synced)
        state = state_of(clock, self._not_before_ns)
        if state != self._state:
            self._state, self._since_boot_ns = state, boot_ns

    def _changed(self, moved_ns: int, *, stepped: bool, synced: bool) -> None:
        before, was_synced = self._stretch, self._synced
        journal = self._journal
        journal.make_room(0)  # the stretch and what is told of it share a batch
        self._stretch = journal.timeline.note(
            journal, self._clock, journal.last_sequence + 1, epoch=journal.epoch, not_before_ns=self._not_before_ns
        )
        self._offset_ns, self._synced = self._stretch.offset_ns, synced
        self._mark()
        if was_synced and not synced:
            self._began = self._stretch
        if stepped:
            self._stepped(moved_ns, before.offset_ns)
        if synced and not was_synced:
            self._believed(moved_ns)
        self._clock_set(self._stretch.first - 1, before.offset_ns)
        self._retell()

    def _mark(self) -> None:
        self._journal.stamp = stamp if self._synced else stamp_unsynced
        for each in self._marks():
            each.synced = self._synced

    def _stepped(self, moved_ns: int, offset_ns: int) -> None:
        self.steps += 1
        stretch = self._stretch
        was = rfc3339(stretch.boot_ns + offset_ns)
        log.warning(
            "the clock was set by %+.1f s, from %s to %s; order, windows and timers go by the time since boot",
            moved_ns / NS_PER_S, was, rfc3339(stretch.wall_ns), extra=about(CLOCK_STEPPED),
        )  # fmt: skip
        if self.steps <= STEPS_TOLD_MAX:
            data = {
                "code": str(CLOCK_STEPPED),
                "jumped_s": round(moved_ns / NS_PER_S, 3),
                "before": was,
                "after": rfc3339(stretch.wall_ns),
                "synced": self._synced,
            }
            self._tell("clock_stepped", data)

    def _believed(self, moved_ns: int) -> None:
        began, stretch = self._began, self._stretch
        unsynced_s = (stretch.boot_ns - began.boot_ns) / NS_PER_S
        wrong_s = (stretch.offset_ns - began.offset_ns) / NS_PER_S
        log.info(
            "the clock is believed: %s, %+.1f s from what it said when it was not; %d records get their true time",
            rfc3339(stretch.wall_ns), wrong_s, stretch.first - began.first,
        )  # fmt: skip
        data = {
            "offset_s": round(wrong_s, 3),
            "clock_offset": str(stretch.offset_ns),
            "unsynced_s": round(unsynced_s, 3),
            "first": began.first,
            "records": stretch.first - began.first,
        }
        if moved_ns:
            data["moved_s"] = round(moved_ns / NS_PER_S, 3)
        self._tell("clock_synced", data)

    def _tell(self, kind: str, data: dict[str, Any]) -> None:
        stretch = self._stretch
        self._record(
            Event(
                source=f"/{self._gateway}/clock",
                type=kind,
                time=rfc3339(stretch.wall_ns),
                actor="gateway",
                data={"boot_id": stretch.boot, "boot_s": round(stretch.boot_ns / NS_PER_S, 3), **data},
            )
        )
