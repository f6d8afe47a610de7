"""Keeping lanes within their limits, on the worker's thread: what to give up now, counted to the record.

Nothing here changes anything: the outcome is new rows of table "limits" and the gaps that go with them, in one block
(eviction.py). Ages are looked at in steps of a hundredth of the limit, AGE_STEP_S at least: a block a step, not one
for each record that grows old.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

import msgspec

from gateway.event import Lane
from gateway.journal import block as blocks
from gateway.journal import limits, retention, thinning
from gateway.journal.gaps import EVICTED, EXPIRED, LANE_FULL, THINNED, Gaps, count_missed
from gateway.journal.limits import Limit, Waiting
from gateway.journal.retention import Cursor, Plan
from gateway.journal.rewrite import headers, lane_records
from gateway.journal.segment import Entry
from gateway.journal.thinning import Clockwork, Key, Thinner
from gateway.journal.writer import Writer

NS_PER_S: Final = 1_000_000_000
AGE_STEP_S: Final = 60.0
AGE_STEPS: Final = 100
SAMPLES: Final = 3  # segments looked at to choose a bucket
SAMPLE_MAX: Final = 10_000  # events of each


class Situation(msgspec.Struct, gc=False):
    """What is durable now."""

    entries: list[Entry]  # oldest first, the one in use last
    dispensable: list[Entry]  # those that may be rewritten
    limits: dict[Lane, Limit]
    cursors: list[Cursor]  # with what `limits` give up as over
    after: dict[Lane, int]  # how far the slowest route is; without a route a lane is not here
    gaps: Gaps = {}
    changed: dict[Lane, Limit] = {}

    def waiting(self, lane: Lane, entries: Sequence[Entry] | None = None) -> list[Waiting]:
        """Return what of a lane waits for its slowest route, in all segments or these; of dead letters all."""
        after = self.after.get(lane)
        if after is None:
            return []
        return limits.waiting(self.entries if entries is None else entries, lane, after, self.limits[lane].over)


class Limiter:
    """Decides. `situation` first, then any of the others."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._even: dict[int, int] = {}  # life -> bucket for which there was nothing to take out of a segment
        self._thinner: Thinner | None = None
        self._ages_due_ns: dict[Lane, int] = {}
        self._clockwork = Clockwork()

    def situation(self, dispensable: Sequence[Entry]) -> Situation:
        """Take stock."""
        image, active = self._writer.image, self._writer.active
        entries = sorted(image.segments.values(), key=lambda entry: (entry.first, entry.life))
        found = limits.read(image.rows(limits.TABLE))
        rows = image.rows("cursors")
        after = {lane: retention.slowest(retention.cursors_of(rows), lane) for lane in limits.LIMITED}
        return Situation(
            entries=[*entries, *([active] if active is not None else [])],
            dispensable=list(dispensable),
            limits=found,
            cursors=retention.cursors_of(rows, found),
            after={Lane.DEAD_LETTER: 0} | {lane: each for lane, each in after.items() if each is not None},
        )

    # -- giving up ranges ----------------------------------------------------------------------------------

    def tidy(self, now: Situation) -> None:
        """Forget what no longer matters: ranges that every route has passed, a bucket whose backlog is delivered."""
        for lane, limit in now.limits.items():
            over = limits.pruned(limit.over, now.after.get(lane, 0))
            thin = any(each.entry.bucket_s for each in now.waiting(lane)) if limit.bucket_s else False
            tidied = Limit(over, limit.bucket_s if thin else 0)
            if tidied != limit:
                now.changed[lane] = now.limits[lane] = tidied

    def expire(self, now: Situation, wall_ns: int, boot_ns: int) -> None:
        """Give up what is older than its lane allows. Only when the wall clock can be believed."""
        for lane in limits.LIMITED:
            age_s = limits.age_max_s(self._writer.options, lane)
            if age_s is None or boot_ns < self._ages_due_ns.get(lane, 0):
                continue
            step_s = min(age_s, max(AGE_STEP_S, age_s / AGE_STEPS))
            self._ages_due_ns[lane] = boot_ns + int(step_s * NS_PER_S)
            through = self._older_than(now.entries, wall_ns - int(age_s * NS_PER_S))
            if through:
                self._give_up(now, lane, (1, through), EXPIRED)

    def fit(self, now: Situation) -> float:
        """Give up what is beyond a lane's bytes; returns the bytes of telemetry that have to be thinned away.

        What cannot be rewritten yet can be neither thinned nor refused: it does not count then.
        """
        thin = 0.0
        for lane in limits.LIMITED:
            limit = limits.bytes_max(self._writer.options, lane)
            if limit is None:
                continue
            policy = self._writer.options.telemetry.policy if lane is Lane.TELEMETRY else "oldest"
            used = sum(each.bytes for each in now.waiting(lane, None if policy == "oldest" else now.dispensable))
            if used <= limit:
                continue
            excess = used - limit * (1 - limits.SLACK)
            if policy == "thin":
                thin = excess
            elif policy == "oldest" or not self.refuse(now, excess):
                self.drop_oldest(now, lane, excess)
        return thin

    def drop_oldest(self, now: Situation, lane: Lane, amount: float) -> None:
        """Give up the oldest `amount` bytes of a lane."""
        through = limits.oldest(now.waiting(lane), amount)
        if through:
            self._give_up(now, lane, (1, through), EVICTED)

    def refuse(self, now: Situation, amount: float) -> bool:
        """Give up the newest `amount` bytes of telemetry, of segments that may be rewritten; False: there is none.

        What arrives is always taken: rules and routes that are up want it. So the newest goes a segment or two later.
        """
        lane = Lane.TELEMETRY
        found = limits.newest(now.waiting(lane, now.dispensable), amount)
        if found is None or len(now.limits[lane].over) >= limits.RANGES_MAX:
            return False
        first, last = found
        before = [high for _, high in now.limits[lane].over if high < first]
        parts = [part for each in now.waiting(lane) for part in each.parts]
        if before and not any(before[-1] < part[1] and part[0] < first for part in parts):
            first = before[-1] + 1  # nothing waits between the two ranges: they are one
        self._give_up(now, lane, (first, last), LANE_FULL)
        return True

    def count_letters(self, now: Situation, entry: Entry) -> None:
        """Count the dead letters that go with a segment."""
        letters = [each for each in now.cursors if each.key == retention.LETTERS]
        for header, sequences, _ in lane_records(self._writer, entry, Lane.DEAD_LETTER):
            count_missed(now.gaps, letters[0], Lane.DEAD_LETTER, EVICTED, sequences, (header.wall_ns, header.wall_ns))

    def _give_up(self, now: Situation, lane: Lane, part: tuple[int, int], reason: str) -> None:
        """Add a range to what is given up of a lane, and count what is in it for each cursor it is about."""
        limit = now.limits[lane]
        fresh = limits.without(limit.over, *part)
        key = retention.LETTERS if lane is Lane.DEAD_LETTER else None
        mine = [each for each in now.cursors if each.key == key or each.routes(lane)]
        touched = [each.entry for each in now.waiting(lane) if _meet(each.parts, fresh)]
        for entry in touched:
            for header, sequences, _ in lane_records(self._writer, entry, lane):
                gone = [each for each in sequences if any(first <= each <= last for first, last in fresh)]
                for cursor in mine:
                    count_missed(now.gaps, cursor, lane, reason, gone, (header.wall_ns, header.wall_ns))
        if not touched:
            return
        given_up = Limit(limits.joined(limit.over, [part]), limit.bucket_s)
        now.changed[lane] = now.limits[lane] = given_up
        now.cursors = [each.limited(given_up.over) if each in mine else each for each in now.cursors]

    def _older_than(self, entries: Sequence[Entry], cutoff_ns: int) -> int:
        """Return the last sequence that was surely written before a wall time; 0: none."""
        for entry in reversed(entries):
            if not entry.wall_first or (entry.wall_first > cutoff_ns and not entry.unsynced):
                continue  # without a time no block of it is left to read: nothing is known of when it was written
            if entry.wall_last <= cutoff_ns and not entry.unsynced:
                return entry.last
            found = 0
            for header in headers(self._writer, entry):
                if header.wall_ns <= cutoff_ns and not header.flags & blocks.UNSYNCED and header.events:
                    found = max(found, header.first + (0 if entry.survivors else header.events - 1))
            if found:
                return found
        return 0

    # -- thinning ------------------------------------------------------------------------------------------

    def thinning(self, now: Situation, *, further: bool) -> Plan | None:
        """Return what to thin next; `further`: to a coarser bucket when all is even, and `now.limits` says so then.

        None: there is nothing to thin, or no bucket would make a difference.
        """
        bucket_s = now.limits[Lane.TELEMETRY].bucket_s
        victims = retention.coarse(now.dispensable, now.cursors, bucket_s, self._even) if bucket_s else []
        if not victims and further:
            coarser = thinning.next_bucket(bucket_s, self._samples(now))
            if coarser is None:
                return None
            bucket_s = coarser
            victims = retention.coarse(now.dispensable, now.cursors, bucket_s, self._even)
            limit = now.limits[Lane.TELEMETRY]
            now.changed[Lane.TELEMETRY] = now.limits[Lane.TELEMETRY] = Limit(limit.over, bucket_s)
        if not victims:
            return None
        thinner = self._thinner
        if thinner is None or thinner.bucket_s != bucket_s or victims[0].first <= thinner.through:
            thinner = self._thinner = Thinner(bucket_s)
        return Plan(tuple(victims), frozenset(Lane), tuple(now.cursors), THINNED, thinner)

    def even(self, victims: Iterable[Entry], bucket_s: int) -> None:
        """Take note that there was nothing to take out of some segments."""
        live = self._writer.image.segments
        self._even = {life: bucket for life, bucket in self._even.items() if life in live}
        self._even |= {victim.life: bucket_s for victim in victims}

    def _samples(self, now: Situation) -> list[list[tuple[Key, int]]]:
        """Look at telemetry that waits in some segments that may be rewritten."""
        routes = [each for each in now.cursors if each.routes(Lane.TELEMETRY)]
        waiting = [entry for entry in now.dispensable if retention.wanted(entry, routes)]
        places = sorted({0, len(waiting) // 2, len(waiting) - 1})[:SAMPLES] if waiting else []
        found = []
        for place in places:
            blocks_of = lane_records(self._writer, waiting[place], Lane.TELEMETRY)
            events = ((raw, header.wall_ns) for header, _, raws in blocks_of for raw in raws)
            found.append([self._clockwork.look(*event) for event in islice(events, SAMPLE_MAX)])
        return found


def _meet(some: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]) -> bool:
    """Return whether any of some ranges meets any of others."""
    return any(first <= high and low <= last for first, last in some for low, high in others)
