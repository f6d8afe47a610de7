"""What rules remember of times goes along when the wall clock is set: a window of five minutes stays five minutes.

The record `clock_set` stands between what was stamped before and behind it, and says by how much the clock was set. So
the times of what came before it are moved by as much: windows, pauses, sequences, debounce. Nothing but records decide
it, so a backtest does the same. What is further ahead than a day is of another clock, and stays.

Timers go by the boot clock by themselves; one of `unless` also has the time since when it waits, which is reckoned with
the jumps behind its record: the row ``|jumps`` of "rule_state" has the last JUMPS_MAX of them, [sequence, ns].
Windows from full hour to full hour (tumbling) belong to the day's clock, and are closed by their timers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.clock import NS_PER_S
from gateway.rules.engine.seen import Seen
from gateway.rules.engine.tables import RULE_STATE, Rows

JUMPS: Final = "|jumps"
JUMPS_MAX: Final = 32
AHEAD_NS_MAX: Final = 86_400 * NS_PER_S

Move = Callable[[int], int]


def clock_set(tables: Rows, seen: Seen, now_ns: int) -> None:
    """Take note of a record `clock_set`: move what rules remember of times."""
    jump_ns = round(float(seen.data.get("jumped_s") or 0) * NS_PER_S)
    if not jump_ns:
        return
    limit_ns = now_ns - jump_ns + AHEAD_NS_MAX

    def move(time_ns: int) -> int:
        return time_ns + jump_ns if time_ns <= limit_ns else time_ns

    for key in list(tables.keys(RULE_STATE)):
        kind = key.partition("|")[2].partition("|")[0]
        change = _MOVED.get(kind)
        if change is not None:
            row = tables.get(RULE_STATE, key)
            moved = change(row, move)
            if moved != row:
                tables.put(RULE_STATE, key, moved)
    known = tables.get(RULE_STATE, JUMPS) or []
    tables.put(RULE_STATE, JUMPS, [*known, [int(seen.sequence), jump_ns]][-JUMPS_MAX:])


def since(tables: Rows, timer: str, time_ns: int) -> int:
    """Return a time that was noted with a timer, by the clock as it is now; its key says when (`Call.start_timer`)."""
    parts = timer.split("|")
    if len(parts) < 2 or not parts[-2].isdigit():
        return time_ns
    known: list[tuple[int, int]] = tables.get(RULE_STATE, JUMPS) or []
    return time_ns + sum(ns for sequence, ns in known if sequence > int(parts[-2]))


def _plain(row: Any, move: Move) -> Any:
    return move(row) if isinstance(row, int) else row


def _named(*names: str) -> Callable[[Any, Move], Any]:
    def change(row: Any, move: Move) -> Any:
        if not isinstance(row, dict):
            return row
        return {name: move(value) if name in names and isinstance(value, int) else value for name, value in row.items()}

    return change


def _session(row: Any, move: Move) -> Any:
    return {**row, "sums": _sums(row["sums"], move)} if isinstance(row, dict) and "sums" in row else row


def _chunk(row: Any, move: Move) -> Any:
    if isinstance(row, dict):
        return row  # which chunks there are
    sums, entries = row
    return [_sums(sums, move), [[move(at), value] for at, value in entries]]


def _sums(sums: Any, move: Move) -> list[Any]:
    """Move a row of `over.Sums`: count, since, until, and the rest."""
    count, first, last, *rest = sums
    return [count, move(first), move(last), *rest]


_MOVED: Final[dict[str, Callable[[Any, Move], Any]]] = {
    "cooldown": _plain,
    "after": _named("at"),
    "debounce": _named("due"),
    "session": _session,
    "sliding": _chunk,
}
