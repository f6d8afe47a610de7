"""over= at work: which window an event falls into, what is kept of it, when the rule runs.

An event counts at its own time, in the window that time lies in, as long as that window has not been closed; a window
is closed by a timer `grace` behind its end (or behind the first event of it, if that came later still).  What comes for
a closed window is left out, and the trace says so: this is the policy for late data.  Everything is a row, so a kill
changes nothing, and closing is a record like any other, so a backtest closes the same windows.

Rows of "rule_state", by the scope (device, room or house):

* ``<rule>|tumbling|<scope>``: ``{closed}``, and ``...|<begin>``: the sums of one open window; one small row an event.
* ``<rule>|session|<scope>``: the sums, and the timer.
* ``<rule>|sliding|<scope>``: ``{chunks: [first, next], so}``, and ``...|<number>``: a chunk of it, ``[sums, entries]``.
  A chunk keeps `ENTRIES_MAX` events one by one; where more come in a `CHUNKS`th of the window, their sums are kept, and
  its edge is exact to that part of it.  So an event changes one row of bounded size, and a window has at
  most twice `CHUNKS` rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol

import msgspec

from gateway.clock import NS_PER_S, rfc3339
from gateway.rules.engine.call import Call, Cause, Site
from gateway.rules.engine.seen import Seen, field_of, time_ns
from gateway.rules.engine.tables import RULE_STATE, TIMERS
from gateway.rules.language.calendar import DAY_S, Place
from gateway.rules.language.definition import EventRule
from gateway.rules.language.over import WINDOW_CLOSED, Over, Sums, sums_of

CLOSE = "window"  # kind of timer
ENTRIES_MAX = 32
CHUNKS = 32
EARLY_NS_MAX = 10_000_000  # a timer's record has milliseconds, and so may be before its time
ROWS_MAX = 3000  # of the windows of all rules; beyond it edges are less exact, and further devices are left out
READ_MAX = 4096  # chunks that are kept as they were read
SCOPES_PER_RULE_MAX = 1000  # devices or rooms with a window; events of others are left out
LATE_NS = 60 * NS_PER_S  # closed so long behind its time, a window is of the past
AHEAD_NS_MAX = DAY_S * NS_PER_S  # a window closed further ahead than this was closed by a clock that was wrong


class Run(Protocol):
    """Runs a rule for an event, given with its bytes."""

    def __call__(self, rule: EventRule, seen: Seen, raw: bytes, cause: Cause | None = None, **more: Any) -> None:
        """Run it; `cause` is the event unless it is given, `more` goes into the call's `Work`."""
        ...


LEFT_OUT = "its window was closed before it came"
COUNTED = "counted in its window"
NO_FIELD = "it does not have the window's field"
TOO_MANY = f"more than {SCOPES_PER_RULE_MAX} devices have windows"
NOT_SO = "its window is not so"
STILL_SO = "its window was so before"


class Windows:
    """The windows of all rules. `take` is given the events that pass a rule's tests; it returns what came of one."""

    def __init__(self, site: Site, place: Place, run: Run) -> None:
        self._site = site
        self._place = place
        self._run = run
        self._scopes: dict[str, set[str]] = {}  # of each rule
        self.rows = 0  # of all windows
        self._read: dict[str, tuple[Any, Chunk]] = {}  # chunks by their keys, with the row they were read from

    def scope(self, per: str, device_id: str) -> str:
        """Return what a device counts in; nothing if it is in no room."""
        if per == "house":
            return "house"
        device = self._site.house.devices.get(device_id)
        return (device.room if device is not None else "") if per == "room" else device_id

    def take(self, rule: EventRule, over: Over, seen: Seen, raw: bytes, now_ns: int) -> str:
        """Count an event; returns what came of it, or nothing if the rule ran."""
        value = field_of(seen.data, over.field) if over.field else None
        if over.field and value is None:
            return NO_FIELD
        scope = self.scope(over.per, seen.subject)
        if not self._known(rule, over, scope):
            return TOO_MANY
        at = time_ns(seen, now_ns)
        cause = Cause(seen.id, int(seen.sequence), now_ns, seen.hops)
        if over.kind == "tumbling":
            return self._tumble(rule, over, scope, cause, sums_of(at, value))
        if over.kind == "session":
            return self._join(rule, over, scope, cause, sums_of(at, value))
        return self._slide(rule, over, scope, seen, raw, sums_of(at, value))

    def time_passed(self, rule: EventRule, row: Mapping[str, Any], key: str, seen: Seen, cause: Cause) -> None:
        """Close a window whose timer fired, unless it has moved on."""
        over = rule.over
        if over is None or over.kind == "sliding":
            return
        if over.kind == "tumbling":
            self._close(rule, over, row, seen, cause)
        else:
            self._silence(rule, over, str(row["scope"]), key, seen, cause)

    # ---- tumbling -----------------------------------------------------------------------------------

    def _tumble(self, rule: EventRule, over: Over, scope: str, cause: Cause, sums: Sums) -> str:
        begin, end = self._span(sums.since, over.length_ns)
        head = f"{rule.name}|tumbling|{scope}"
        closed = self._site.tables.get(RULE_STATE, head)
        if closed is not None and end <= closed["closed"] <= cause.time_ns + AHEAD_NS_MAX:
            return LEFT_OUT
        kept = self._site.tables.get(RULE_STATE, f"{head}|{begin}")
        if kept is None:
            waits_ns = max(end - cause.time_ns, 0) + over.grace_ns
            self._timer(rule, scope, cause, waits_ns, {"begin": begin, "end": end})
        else:
            sums.add(_sums(kept))
        self._put(f"{head}|{begin}", msgspec.to_builtins(sums))
        return COUNTED

    def _close(self, rule: EventRule, over: Over, row: Mapping[str, Any], seen: Seen, cause: Cause) -> None:
        tables, head = self._site.tables, f"{rule.name}|tumbling|{row['scope']}"
        kept = tables.get(RULE_STATE, f"{head}|{row['begin']}")
        if kept is None:
            return
        closed = (tables.get(RULE_STATE, head) or {"closed": 0})["closed"]
        if closed > cause.time_ns + AHEAD_NS_MAX:
            closed = 0  # by a clock that was wrong
        self._put(f"{head}|{row['begin']}", None)
        self._put(head, {"closed": max(closed, row["end"])})
        self._over(rule, over, str(row["scope"]), _sums(kept), row["begin"], row["end"], seen, cause)

    def _span(self, time_ns_: int, length_ns: int) -> tuple[int, int]:
        """Return the window an instant lies in: counted from midnight, the day's last one ends with it."""
        day = self._place.day(time_ns_)
        midnight, end = self._place.instant(day, 0), self._place.instant(day + timedelta(days=1), 0)
        begin = midnight + (time_ns_ - midnight) // length_ns * length_ns
        return begin, min(begin + length_ns, end)

    # ---- session ------------------------------------------------------------------------------------

    def _join(self, rule: EventRule, over: Over, scope: str, cause: Cause, sums: Sums) -> str:
        key = f"{rule.name}|session|{scope}"
        kept = self._site.tables.get(RULE_STATE, key)
        if kept is not None:
            before = _sums(kept["sums"])
            if sums.since < before.since - over.length_ns:
                return LEFT_OUT
            if sums.since > before.until + over.length_ns:
                record = Seen(cause.id, WINDOW_CLOSED, time="", sequence=f"{cause.sequence:016d}", actor="gateway")
                self._site.tables.put(TIMERS, kept["timer"], None)
                self._end_session(rule, over, scope, before, record, cause)
            else:
                sums.add(before)
                self._put(key, {**kept, "sums": msgspec.to_builtins(sums)})
                return COUNTED
        waits_ns = max(sums.until + over.length_ns - cause.time_ns, 0) + over.grace_ns
        timer = self._timer(rule, scope, cause, waits_ns, {})
        self._put(key, {"sums": msgspec.to_builtins(sums), "timer": timer})
        return COUNTED

    def _silence(self, rule: EventRule, over: Over, scope: str, timer: str, seen: Seen, cause: Cause) -> None:
        """End a session if the silence was long enough; else wait for the rest of it."""
        key = f"{rule.name}|session|{scope}"
        kept = self._site.tables.get(RULE_STATE, key)
        if kept is None or kept["timer"] != timer:
            return
        sums = _sums(kept["sums"])
        left_ns = sums.until + over.length_ns + over.grace_ns - cause.time_ns
        if left_ns > EARLY_NS_MAX:
            kept = {**kept, "timer": self._timer(rule, scope, cause, left_ns, {})}
            self._put(key, kept)
        else:
            self._end_session(rule, over, scope, sums, seen, cause)

    def _end_session(self, rule: EventRule, over: Over, scope: str, sums: Sums, seen: Seen, cause: Cause) -> None:
        self._put(f"{rule.name}|session|{scope}", None)
        self._over(rule, over, scope, sums, sums.since, sums.until, seen, cause)

    # ---- sliding ------------------------------------------------------------------------------------

    def _slide(self, rule: EventRule, over: Over, scope: str, seen: Seen, raw: bytes, sums: Sums) -> str:
        key, tables = f"{rule.name}|sliding|{scope}", self._site.tables
        head = tables.get(RULE_STATE, key) or {"chunks": [0, 0], "so": False}
        first, following = head["chunks"]
        chunks = [self._chunk(f"{key}|{number}") for number in range(first, following)]
        newest = max((chunk.sums.until for chunk in chunks), default=0)
        if newest > sums.until + AHEAD_NS_MAX:
            newest = 0  # by a clock that was wrong
        since = max(newest, sums.until) - over.length_ns
        if sums.until <= since:
            return LEFT_OUT
        while chunks and not since < chunks[0].sums.until <= since + over.length_ns:
            self._put(f"{key}|{first}", None)
            self._read.pop(f"{key}|{first}", None)
            first, chunks = first + 1, chunks[1:]
        if chunks and self.rows >= ROWS_MAX and not chunks[-1].has_room:
            chunks[-1].entries = []  # its edge is not exact any more
            chunks[-1].sums.add(sums)
        elif not chunks or not chunks[-1].add(sums, over.length_ns // CHUNKS):
            chunks.append(Chunk(sums, [(sums.until, sums.last)]))
            following += 1
        row = msgspec.to_builtins(chunks[-1])
        self._put(f"{key}|{following - 1}", row)
        self._read[f"{key}|{following - 1}"] = (row, chunks[-1])
        whole = _together(chunks, since)
        so = over.holds(whole)
        if head != {"chunks": [first, following], "so": so}:
            self._put(key, {"chunks": [first, following], "so": so})
        if not so or (over.tests and head["so"]):
            return STILL_SO if so else NOT_SO
        self._run(rule, seen, raw, window=told_of(whole, since, max(newest, sums.until)))
        return ""

    def _put(self, key: str, row: Any | None) -> None:
        """Set a row, and keep count of them."""
        self.rows += (row is not None) - (self._site.tables.get(RULE_STATE, key) is not None)
        self._site.tables.put(RULE_STATE, key, row)

    def _chunk(self, key: str) -> Chunk:
        """Return a chunk of a window; a row that is the same as last time is not read again."""
        row, known = self._site.tables.get(RULE_STATE, key), self._read.get(key)
        if known is not None and known[0] is row:
            return known[1]
        if len(self._read) >= READ_MAX:
            self._read.clear()
        self._read[key] = (row, chunk := msgspec.convert(row, Chunk))
        return chunk

    # ---- all of them --------------------------------------------------------------------------------

    def _known(self, rule: EventRule, over: Over, scope: str) -> bool:
        """Return whether a scope has a window, or may have one."""
        scopes = self._scopes.get(rule.name)
        if scopes is None:
            prefix = f"{rule.name}|{over.kind}|"
            keys = self._site.tables.keys(RULE_STATE, prefix)
            scopes = {key[len(prefix) :] for key in keys if isinstance(self._site.tables.get(RULE_STATE, key), dict)}
            self._scopes[rule.name] = scopes
        if scope not in scopes and (len(scopes) >= SCOPES_PER_RULE_MAX or self.rows >= ROWS_MAX):
            return False
        scopes.add(scope)
        return True

    def _timer(self, rule: EventRule, scope: str, cause: Cause, after_ns: int, row: Mapping[str, Any]) -> str:
        call = Call(self._site, rule, cause, scope=scope, name=f"{rule.name}|{CLOSE}|{row.get('begin', '')}")
        timer = call.start_timer(CLOSE, after_ns, row)
        call.commit()
        return timer

    def _over(
        self, rule: EventRule, over: Over, scope: str, sums: Sums, begin: int, end: int, seen: Seen, cause: Cause
    ) -> None:
        """Run a rule for a window that is over, if its tests hold."""
        if not over.holds(sums):
            return
        told = told_of(sums, begin, end)
        subject = scope if over.per == "device" else ""
        data = {name: value for name, value in told.items() if not name.endswith("_ns") and value is not None}
        sequence = f"{cause.sequence:016d}"
        event = Seen(cause.id, WINDOW_CLOSED, seen.source, subject, rfc3339(end), sequence, actor="gateway", data=data)
        expected = end + over.grace_ns + (over.length_ns if over.kind == "session" else 0)
        if cause.time_ns - expected > LATE_NS:
            cause = msgspec.structs.replace(cause, time_ns=end, time="")  # of the past: it switches nothing
        self._run(rule, event, msgspec.json.encode(event), cause, window=told)


class Chunk(msgspec.Struct, array_like=True):
    """A part of a sliding window: events one by one, or (no entries) only their sums."""

    sums: Sums
    entries: list[tuple[int, Any]]

    @property
    def has_room(self) -> bool:
        """Whether one more event can be kept by itself."""
        return 0 < len(self.entries) < ENTRIES_MAX

    def add(self, sums: Sums, part_ns: int) -> bool:
        """Take in one event if there is room; where too many come within `part_ns`, they are not kept one by one."""
        short = max(sums.until, self.sums.until) - min(sums.since, self.sums.since) < part_ns
        if len(self.entries) >= ENTRIES_MAX and short:
            self.entries = []
        elif self.has_room:
            self.entries.append((sums.until, sums.last))
        elif not short or self.entries:
            return False
        self.sums.add(sums)
        return True


def _sums(row: Any) -> Sums:
    return msgspec.convert(row, Sums)


def _together(chunks: list[Chunk], since: int) -> Sums:
    """Return the sums of what is younger than `since`."""
    whole: Sums | None = None
    for chunk in chunks:
        parts = [chunk.sums]
        if chunk.entries and chunk.sums.since <= since:
            parts = [sums_of(at, value) for at, value in chunk.entries if at > since]
        for part in parts:
            if whole is None:
                whole = msgspec.structs.replace(part)
            else:
                whole.add(part)
    assert whole is not None  # the event itself is in it
    return whole


def told_of(sums: Sums, begin_ns: int, end_ns: int) -> dict[str, Any]:
    """Return what a rule is told of a window; as a row, so that a call can be made again later."""
    return {
        "count": sums.count, "sum": sums.sum, "min": sums.min, "max": sums.max, "mean": sums.mean,
        "first": sums.first, "last": sums.last, "begin_ns": begin_ns, "end_ns": end_ns,
    }  # fmt: skip
