"""Giving up what is beyond the budget and the lanes' limits: one step at a time, on the worker's thread.

Decided by what is durable (the writer's image), never by what is still open. `step` makes room when the ring is full:
which segments nobody needs, or which records survive (retention.py), survivors copied (rewrite.py), what is lost
counted for each cursor that had not had it. `tend` keeps lanes within their limits (limiter.py) and a thinned lane
evenly thin while there is room. Then one small block of its own makes the switch: victims out of the index, survivors
in, limits and gap rows up. It may use the last free segment. Only when it is durable are the victims' files free.

As it goes ahead of batches that are still open, gap rows that those carry are brought up to date by the loop
(gaps.py), so that a row that is reported and deleted at the same moment leaves what was counted since.

What is on its way to a cloud at this moment may be counted as given up and arrive all the same: the forwarder then
takes it off the count (forward/progress.py). What had arrived when a kill came, and was not on the disk as delivered,
stays counted: at most one window of a route.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.errors import DiskRefused
from gateway.event import Lane
from gateway.journal import limits, record, retention
from gateway.journal.batch import Block, Placed
from gateway.journal.checkpoint import SEGMENTS
from gateway.journal.gaps import Gaps, added, count_lost
from gateway.journal.limiter import Limiter, Situation
from gateway.journal.options import LEAVE_SWITCH, RESERVE_SEGMENTS
from gateway.journal.reader import Damage
from gateway.journal.retention import Plan
from gateway.journal.rewrite import rewrite
from gateway.journal.segment import NO_SPANS, Entry
from gateway.journal.writer import Writer


class Moment(msgspec.Struct, frozen=True, gc=False):
    """When a step is made."""

    wall_ns: int
    boot_ns: int
    flags: int  # blocks.UNSYNCED, or 0


class GivenUp(msgspec.Struct, gc=False):
    """What one step did. Without `placed` it did nothing."""

    victims: list[Entry] = []
    survivors: list[Entry] = []
    gaps: Gaps = {}  # to be added to the rows of table "gaps"
    limits: dict[str, Any] = {}  # rows of table "limits"
    damages: list[Damage] = []
    placed: Placed | None = None


class Eviction:
    """Makes room, and keeps limits, one step at a time."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._limiter = Limiter(writer)
        self._refused: tuple[GivenUp, Block, int] | None = None  # a switch the disk refused, and the blocks before it

    def step(self, moment: Moment) -> GivenUp:
        """Give up what nobody needs, else evict. BLOCKING. Raises DiskRefused: then nothing is given up.

        While the file system gives less than the budget only what nobody needs is given up.
        """
        return self._again() or self._finish(self._make_room(moment), moment)

    def tend(self, moment: Moment) -> GivenUp:
        """Keep the lanes within their limits; it did all when it did nothing. BLOCKING. Raises DiskRefused."""
        return self._again() or self._finish(self._keep_limits(moment), moment)

    def _again(self) -> GivenUp | None:
        """Make the switch that the disk refused, if what was decided then still holds."""
        refused, self._refused = self._refused, None
        if refused is None or refused[2] != self._writer.blocks:
            return None
        self._writer.pool.restore(entry.name for entry in refused[0].survivors)
        return self._switch(refused[0], refused[1])

    def _finish(self, done: GivenUp, moment: Moment) -> GivenUp:
        return self._switch(done, self._block(done, moment)) if done.victims or done.limits else done

    # -- deciding ----------------------------------------------------------------------------------------

    def _make_room(self, moment: Moment) -> GivenUp:
        """Choose what to give up, and copy survivors."""
        writer = self._writer
        entries = dispensable(writer.image.segments.values())
        writer.pool.overdraw(writer.leave_survivors + 1)
        try:
            now = self._limiter.situation(entries)
            ready = retention.delivered(entries, now.cursors)
            if not ready and writer.pool.cramped:
                return self._spare_no_letters(now)
            if ready:
                return GivenUp(victims=ready[: max(1, RESERVE_SEGMENTS + 1 - writer.pool.available)])
            outputs_max = min(retention.OUTPUTS_MAX, writer.pool.available - writer.leave_survivors)
            return (
                self._thin(now, moment, outputs_max, further=False)
                or self._first(retention.packings(entries, now.cursors, writer.segment_size, outputs_max), now, moment)
                or self._by_policy(now, moment, outputs_max)
                or self._first(retention.losses(entries, now.cursors, writer.segment_size, outputs_max), now, moment)
                or GivenUp()
            )
        except OSError as error:
            raise DiskRefused(f"survivors cannot be written: {error.strerror or error}") from error

    def _by_policy(self, now: Situation, moment: Moment, outputs_max: int) -> GivenUp | None:
        """Give up undelivered telemetry as its policy says; None when that finds nothing."""
        policy = self._writer.options.telemetry.policy
        if policy == "thin":
            return self._thin(now, moment, outputs_max, further=True)
        if policy == "newest" and self._limiter.refuse(now, self._writer.segment_size):
            return _limited(now)
        return None

    def _keep_limits(self, moment: Moment) -> GivenUp:
        """Choose what is beyond a limit, or thin what has not been thinned yet."""
        writer = self._writer
        try:
            now = self._limiter.situation(dispensable(writer.image.segments.values()))
            self._limiter.tidy(now)
            if not moment.flags:
                self._limiter.expire(now, moment.wall_ns, moment.boot_ns)
            beyond = self._limiter.fit(now)
            if now.gaps or writer.pool.cramped:
                return _limited(now)
            outputs_max = min(retention.OUTPUTS_MAX, writer.pool.available - writer.leave_survivors)
            done = self._thin(now, moment, outputs_max, further=beyond > 0)
            if done is None and beyond:
                self._limiter.drop_oldest(now, Lane.TELEMETRY, beyond)
            return done or _limited(now)
        except OSError as error:
            raise DiskRefused(f"limits cannot be kept: {error.strerror or error}") from error

    def _thin(self, now: Situation, moment: Moment, outputs_max: int, *, further: bool) -> GivenUp | None:
        """Thin some telemetry; None when there is nothing to thin, or nothing to gain by it."""
        if self._writer.options.telemetry.policy != "thin" or outputs_max < 1:
            return None
        before, changed = now.limits[Lane.TELEMETRY], dict(now.changed)
        while (plan := self._limiter.thinning(now, further=further)) is not None:
            done = self._carry_out(plan, now, moment, outputs_max)
            if done is not None:
                return done
        now.limits[Lane.TELEMETRY], now.changed = before, changed
        return None

    def _first(self, plans: Iterable[Plan], now: Situation, moment: Moment) -> GivenUp | None:
        """Carry out the first plan that gets anywhere."""
        outputs_max = min(retention.OUTPUTS_MAX, self._writer.pool.available - self._writer.leave_survivors)
        return next((done for plan in plans if (done := self._carry_out(plan, now, moment, outputs_max))), None)

    def _carry_out(self, plan: Plan, now: Situation, moment: Moment, outputs_max: int) -> GivenUp | None:
        """Copy a plan's survivors and count what is lost; None when it gets nowhere. Raises OSError."""
        rewritten = rewrite(self._writer, plan, outputs_max, moment.boot_ns)
        if rewritten.futile:
            if plan.thinner is not None:
                self._limiter.even(rewritten.victims or plan.victims[:1], plan.thinner.bucket_s)
            return None
        for lost in rewritten.lost:
            count_lost(now.gaps, lost, plan.cursors, plan.reason)
        done = _limited(now)
        done.victims, done.survivors, done.damages = rewritten.victims, rewritten.survivors, rewritten.damages
        return done

    def _spare_no_letters(self, now: Situation) -> GivenUp:
        """Give up what only dead letters hold back: the file system is full, and acknowledgements wait for room."""
        others = [cursor for cursor in now.cursors if cursor.key != retention.LETTERS]
        ready = retention.delivered(now.dispensable, others)[:1]
        for entry in ready:
            self._limiter.count_letters(now, entry)
        done = _limited(now)
        done.victims = ready
        return done

    # -- the switch --------------------------------------------------------------------------------------

    def _block(self, done: GivenUp, moment: Moment) -> Block:
        """Return the block that makes what was done so."""
        durable = self._writer.image.rows("gaps")
        rows: dict[str, dict[str, Any]] = {}
        if done.victims:
            rows[SEGMENTS] = {str(entry.life): None for entry in done.victims}
            rows[SEGMENTS].update({str(entry.life): entry for entry in done.survivors})
        if done.limits:
            rows[limits.TABLE] = done.limits
        if done.gaps:
            rows["gaps"] = {key: added(durable.get(key), gap) for key, gap in done.gaps.items()}
        return Block(
            batch=0,
            first=self._writer.next_sequence,
            raws=[],
            lanes=b"",
            spans=NO_SPANS,
            changes=record.encode_changes(rows),
            wall_ns=moment.wall_ns,
            boot_ns=moment.boot_ns,
            flags=moment.flags,
            leave=LEAVE_SWITCH,
        )

    def _switch(self, done: GivenUp, block: Block) -> GivenUp:
        try:
            self._writer.write(block)
        except DiskRefused:
            self._writer.pool.abandon(entry.name for entry in done.survivors)
            self._refused = (done, block, self._writer.blocks)
            raise
        done.placed = block.placed
        return done


def dispensable(entries: Iterable[Entry]) -> list[Entry]:
    """Return the sealed segments that may be given up, oldest first: all but the newest one with a checkpoint."""
    ordered = sorted(entries, key=lambda entry: (entry.first, entry.life))
    newest = max((entry.life for entry in ordered if not entry.survivors), default=0)
    return [entry for entry in ordered if entry.life != newest]


def _limited(now: Situation) -> GivenUp:
    """Return the rows that a situation has come to."""
    return GivenUp(gaps=now.gaps, limits={lane.name.lower(): limit.row() for lane, limit in now.changed.items()})
