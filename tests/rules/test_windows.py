"""over=: tumbling, sliding and session windows, on the virtual clock and against a brute-force count."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.rules.engine.windows import CHUNKS, ENTRIES_MAX
from gateway.rules.testing import SimulatedHouse
from tests.rules.scene import house

SAYS = """
@rule("power_changed", over={over})
def note(event, ctx):
    w = event.window
    about = {{"who": event.device.name, "at": ctx.now.strftime("%H:%M:%S"), "all": [w.min, w.max, w.first, w.last]}}
    ctx.emit("noted", about | {{"n": w.count, "sum": w.sum, "span": f"{{w.begin:%H:%M:%S}}-{{w.end:%H:%M:%S}}"}})
"""


def counting(tmp_path: Path, over: str) -> SimulatedHouse:
    """Return a house with two plugs and a rule over windows."""
    here = house(tmp_path, SAYS.format(over=over))
    here.device("plug-a", kind="plug", room="bath")
    here.device("plug-b", kind="plug", room="bath")
    return here


def said(here: SimulatedHouse, *what: str) -> list[list[object]]:
    """Return some of what the rule said, each time."""
    return [[event.data[name] for name in what] for event in here.emitted]


def test_tumbling_windows_lie_side_by_side(tmp_path: Path) -> None:
    """Each device's window closes a little behind its end; an empty one runs nothing; the edge belongs to the next."""
    here = counting(tmp_path, 'tumbling("15m", field="power")')
    for minutes, plug, power in ((1, "a", 10), (4, "a", 30), (1, "b", 5), (9, "a", 7), (40, "a", 1)):
        here.advance(minutes * 60)
        here.event("power_changed", f"plug-{plug}", power=power)
    here.advance("1h")
    assert said(here, "who", "n", "sum", "span") == [
        ["plug-a", 2, 40.0, "12:00:00-12:15:00"],
        ["plug-b", 1, 5.0, "12:00:00-12:15:00"],
        ["plug-a", 1, 7.0, "12:15:00-12:30:00"],
        ["plug-a", 1, 1.0, "12:45:00-13:00:00"],
    ]
    assert said(here, "at", "all")[0] == ["12:15:10", [10.0, 30.0, 10, 30]]
    assert here.rows("timers") == {}


def test_a_text_is_a_tumbling_window_and_tests_decide(tmp_path: Path) -> None:
    """over="15m" runs for each window with events; with tests only for one of which they hold."""
    here = counting(tmp_path, '"15m"')
    here.event("power_changed", "plug-a", power=3)
    here.advance("20m")
    assert said(here, "n", "sum") == [[1, 0.0]]
    (tmp_path / "b").mkdir()
    here = counting(tmp_path / "b", 'tumbling("15m", field="power", mean=">10", count=2)')
    for power in (5, 20):
        here.event("power_changed", "plug-a", power=power)
        here.event("power_changed", "plug-b", power=power / 2)
    here.advance("20m")
    assert said(here, "who", "n") == [["plug-a", 2]]


def test_late_data_counts_until_its_window_is_closed(tmp_path: Path) -> None:
    """An event counts at its own time, while its window waits; what comes later is left out, and that is said."""
    here = counting(tmp_path, 'tumbling("15m", grace="1m")')
    here.advance("10m")
    here.event("power_changed", "plug-a", power=1)
    here.advance("330s")
    here.event("power_changed", "plug-a", power=1, ago="45s")  # 12:14:45, at 12:15:30
    here.event("power_changed", "plug-a", power=1)
    here.advance("1m")
    assert said(here, "n", "span") == [[2, "12:00:00-12:15:00"]]
    here.event("power_changed", "plug-a", power=1, ago="2m")
    here.advance("30m")
    assert said(here, "n", "span")[1:] == [[1, "12:15:00-12:30:00"]]


def test_a_window_of_the_past_switches_nothing(tmp_path: Path) -> None:
    """Readings of hours ago that arrive together are one window, and its commands are recorded only."""
    text = '@rule("power_changed", over="15m")\ndef lamp(event, ctx): ctx.command("light-hall", "set_on", True)\n'
    here = house(tmp_path, text)
    here.device("light-hall", kind="light")
    here.device("plug-a", kind="plug")
    for minutes in (184, 183, 182):
        here.event("power_changed", "plug-a", power=1, ago=minutes * 60)
    here.advance("1m")
    assert (here.commands, [event.type for event in here.outputs]) == ([], ["command_suppressed"])
    here.event("power_changed", "plug-a", power=1)
    here.advance("20m")
    assert len(here.commands) == 1


def test_windows_survive_a_power_cut(tmp_path: Path) -> None:
    """What was counted is counted; a window that was over meanwhile closes at the start, once."""
    for number, over in enumerate(('tumbling("15m")', 'session("5m")')):
        (tmp_path / str(number)).mkdir()
        here = counting(tmp_path / str(number), over)
        here.event("power_changed", "plug-a", power=1)
        here.restart(off="2m")
        here.event("power_changed", "plug-a", power=1)
        here.restart(off="30m")
        here.advance("1h")
        assert said(here, "n") == [[2]]


def test_sliding_runs_when_it_becomes_so(tmp_path: Path) -> None:
    """The third event in five minutes runs it, not the fourth; when fewer came in between, again."""
    here = counting(tmp_path, 'sliding("5m", count=3)')
    for seconds in (0, 60, 60, 60, 240, 100, 100, 100):
        here.advance(seconds)
        here.event("power_changed", "plug-a", power=1)
    assert said(here, "at", "n") == [["12:02:00", 3], ["12:10:20", 3]]


def test_sliding_over_a_room(tmp_path: Path) -> None:
    """per="room" counts what comes from any device in it; another field's value is none of a window's."""
    here = counting(tmp_path, 'sliding("5m", field="power", per="room", sum=">=10")')
    here.event("power_changed", "plug-a", power=6)
    here.event("power_changed", "plug-a", energy=60)
    here.event("power_changed", "plug-b", power=5)
    assert said(here, "n", "sum", "who") == [[2, 11.0, "plug-b"]]


def test_a_session_ends_with_silence(tmp_path: Path) -> None:
    """It lasts as long as no silence is longer, and the rule runs when that has come."""
    here = counting(tmp_path, 'session("5m", field="power")')
    for seconds, power in ((0, 1), (240, 2), (240, 4), (400, 8)):
        here.advance(seconds)
        here.event("power_changed", "plug-a", power=power)
    here.advance("10m")
    assert said(here, "at", "n", "sum", "span") == [
        ["12:13:00", 3, 7.0, "12:00:00-12:08:00"],
        ["12:19:40", 1, 8.0, "12:14:40-12:14:40"],
    ]


def test_the_last_window_of_a_short_day_ends_with_it(tmp_path: Path) -> None:
    """Windows count what has passed since midnight in the house; that of a day with 23 hours is one hour short."""
    here = counting(tmp_path, 'tumbling("2h")')
    here.place("Europe/Berlin")
    here.until("2026-03-29 22:30")
    here.event("power_changed", "plug-a", power=1)
    here.advance("1h")
    here.event("power_changed", "plug-a", power=1)
    here.advance("2h")
    assert said(here, "span") == [["21:00:00-23:00:00"], ["23:00:00-00:00:00"]]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30), st.integers(-5, 5)), min_size=1, max_size=150),
    st.sampled_from([5, 20, 64]),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_sliding_windows_are_those_of_a_count_by_hand(events: list[tuple[int, int, int]], length: int) -> None:
    """With times out of order, however many, each window has what a look at all events finds in it."""
    from gateway.rules.engine.windows import Chunk, _together
    from gateway.rules.language.over import sums_of

    now, seen, chunks = 0, [], []
    for step, late, value in events:
        now += step
        at, newest = now - late, max([time for time, _ in seen], default=now - late)
        since = max(at, newest) - length
        if at <= since:
            continue
        seen.append((at, value))
        chunks = [chunk for chunk in chunks if chunk.sums.until > since]
        one = sums_of(at, value)
        if not chunks or not chunks[-1].add(one, 0):
            chunks.append(Chunk(one, [(at, value)]))
        inside = [(time, number) for time, number in seen if time > since]
        whole = _together(chunks, since)
        assert (whole.count, whole.sum) == (len(inside), sum(number for _, number in inside))
        assert (whole.min, whole.max) == (min(n for _, n in inside), max(n for _, n in inside))
        assert whole.since == min(time for time, _ in inside)
        assert whole.until == max(time for time, _ in inside)


def test_a_window_is_bounded_and_an_event_changes_one_small_row(tmp_path: Path) -> None:
    """Thousands of events in a window are a few rows; the count is exact to a part of the window."""
    here = counting(tmp_path, 'sliding("20m", field="power")')
    for _ in range(3000):
        here.advance("500ms")
        here.event("power_changed", "plug-a", power=1)
    rows = here.rows("rule_state")
    assert len(rows) <= 2 * CHUNKS + 2
    assert max(len(repr(row)) for row in rows.values()) < 40 * ENTRIES_MAX + 400
    counts = [event.data["n"] for event in here.emitted]
    assert abs(counts[-1] - 2400) <= 2400 / CHUNKS + ENTRIES_MAX
    here.advance("2h")
    here.event("power_changed", "plug-a", power=1)
    assert len(here.rows("rule_state")) == 2


def test_devices_with_windows_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit further devices are left out, the others go on."""
    monkeypatch.setattr("gateway.rules.engine.windows.SCOPES_PER_RULE_MAX", 1)
    here = counting(tmp_path, 'sliding("5m")')
    for plug in ("a", "b", "a"):
        here.event("power_changed", f"plug-{plug}", power=1)
    assert said(here, "who", "n") == [["plug-a", 1], ["plug-a", 2]]


def test_windows_of_all_rules_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the rows are used up a window goes on, less exact, and further devices are left out, a restart or not."""
    monkeypatch.setattr("gateway.rules.engine.windows.ROWS_MAX", 4)
    here = counting(tmp_path, 'sliding("1d")')
    here.event("power_changed", "plug-b", power=1)
    for _ in range(200):
        here.advance("5m")
        here.event("power_changed", "plug-a", power=1)
    here.restart()
    here.device("plug-c", kind="plug")
    here.event("power_changed", "plug-c", power=1)
    assert len(here.rows("rule_state")) == 4
    assert said(here, "who", "n")[-1] == ["plug-a", 200]


def test_without_over_there_is_no_window(tmp_path: Path) -> None:
    """event.window in a rule without windows says what it lacks, on the author's line."""
    here = house(tmp_path, '@rule("power_changed")\ndef note(event, ctx): ctx.log(event.window.count)\n')
    here.device("plug-a", kind="plug")
    here.raises = False
    here.event("power_changed", "plug-a", power=1)
    assert "only in a rule with over=" in here.faults[0]
