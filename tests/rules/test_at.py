"""@at and what becomes of missed times, on the virtual clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.rules.testing import SimulatedHouse
from tests.rules.scene import house, loaded

AT = '@at({arguments})\ndef tick(ctx): ctx.emit("ticked", {{"at": ctx.now.strftime("%a %d %H:%M:%S")}})\n'


def ticks(here: SimulatedHouse) -> list[str]:
    """Return when the rule ran."""
    return [event.data["at"] for event in here.emitted]


def test_at_times_of_day_on_days(tmp_path: Path) -> None:
    """It runs once at each time on each of the days, at that time exactly."""
    here = house(tmp_path, AT.format(arguments='"07:30", "18:00", days="mon,wed-thu"'))
    here.advance("4d")
    assert ticks(here) == [
        "Mon 05 18:00:00",
        "Wed 07 07:30:00",
        "Wed 07 18:00:00",
        "Thu 08 07:30:00",
        "Thu 08 18:00:00",
    ]


def test_by_a_cron_line(tmp_path: Path) -> None:
    """Every twenty minutes from seven to nine on working days."""
    here = house(tmp_path, AT.format(arguments='cron="*/20 7-8 * * mon-fri"'))
    here.until("2026-01-12 07:10")
    assert len(ticks(here)) == 4 * 6 + 1
    assert ticks(here)[-2:] == ["Fri 09 08:40:00", "Mon 12 07:00:00"]


def test_with_the_sun(tmp_path: Path) -> None:
    """Sunset is another time each day, in the house's timezone."""
    here = house(tmp_path, AT.format(arguments='"sunset+10m"'))
    here.place("Europe/Berlin", 52.52, 13.405)
    here.advance("30h")
    assert [tick[:12] for tick in ticks(here)] == ["Mon 05 16:17", "Tue 06 16:18"]


def test_a_skipped_time_runs_at_the_jump_and_a_doubled_one_once(tmp_path: Path) -> None:
    """In the night that has no 02:30 it is at 03:00; in the one that has two of them the first counts."""
    here = house(tmp_path, AT.format(arguments='"02:30"'))
    here.place("Europe/Berlin")
    for day, expected in (("2026-03-29", "Sun 29 03:00:00"), ("2026-10-25", "Sun 25 02:30:00")):
        here.until(f"{day} 00:30")
        before = len(here.emitted)
        here.advance("8h")
        assert ticks(here)[before:] == [expected]


@pytest.mark.parametrize(
    ("missed", "off", "expected"),
    [
        ("", "30m", ["Mon 05 18:20:00"]),  # within 1h
        ("", "90m", []),
        (', missed="skip"', "12m", []),
        (', missed="run"', "30h", ["Tue 06 23:50:00"]),  # one of two
        (', missed="within 10m"', "15m", ["Mon 05 18:05:00"]),
        (', missed="within 10m"', "25m", []),
    ],
)
def test_what_was_missed(tmp_path: Path, missed: str, off: str, expected: list[str]) -> None:
    """After a power cut the last missed time runs late, once, or is left out and said; the next one is in time."""
    here = house(tmp_path, AT.format(arguments=f'"18:00"{missed}'))
    here.until("17:50")
    here.restart(off=off)
    assert ticks(here) == expected
    assert bool(here.logs) is not bool(expected)
    assert expected or "left out" in here.logs[0]
    here.until("2026-01-07 18:00")
    assert ticks(here)[-1] == "Wed 07 18:00:00"


def test_what_runs_late_acts(tmp_path: Path) -> None:
    """A missed time that may still run does all it would have done, now."""
    text = '@at("18:00", missed="run")\ndef lamp(ctx): ctx.hold("light-hall", on=True, lasts="1h")\n'
    here = house(tmp_path, text)
    here.device("light-hall", kind="light", on=False)
    here.until("17:50")
    here.restart(off="5h")
    assert here.commands == [("light-hall", "set_on", True)]
    here.advance("50m")
    assert len(here.commands) == 1
    here.advance("11m")
    assert here.commands[1:] == [("light-hall", "set_on", False)]


def test_a_clock_that_jumps_by_years_makes_no_storm(tmp_path: Path) -> None:
    """Seven years of missed mornings are one call at most, and the next morning is the next."""
    for number, (missed, expected) in enumerate((("run", 1), ("within 1h", 0))):
        (tmp_path / str(number)).mkdir()
        here = house(tmp_path / str(number), AT.format(arguments=f'"07:30", missed="{missed}"'))
        here.set_clock("2555d")
        assert len(ticks(here)) == expected
        assert len(here.logs) == 1 - expected
        here.advance("24h")
        assert ticks(here)[expected:] == ["Tue 04 07:30:00"]


def test_a_clock_that_was_years_ahead_waits_for_none_of_them(tmp_path: Path) -> None:
    """When a clock that was wrong is put right, the next time is the next by the right clock."""
    here = house(tmp_path, AT.format(arguments='"07:30"'))
    here.set_clock("3650d", back=True)
    here.advance("24h")
    assert len(ticks(here)) == 1
    assert ticks(here)[0].endswith("07:30:00")


def test_a_clock_that_is_set_back_a_little_repeats_nothing(tmp_path: Path) -> None:
    """Ten minutes back over a time that was: it does not run again today."""
    here = house(tmp_path, AT.format(arguments='"18:00"'))
    here.until("18:05")
    here.set_clock("10m", back=True)
    here.advance("1h")
    assert ticks(here) == ["Mon 05 18:00:00"]
    here.advance("24h")
    assert ticks(here)[1:] == ["Tue 06 18:00:00"]


def test_without_the_time_nothing_runs_and_it_is_said(tmp_path: Path) -> None:
    """Nobody knows when 18:00 is; when the clock is right again, what was missed is treated as such."""
    here = house(tmp_path, AT.format(arguments='"18:00"'))
    here.set_clock(synced=False)
    here.advance("380m")
    assert ticks(here) == []
    assert "nobody knows what time it is" in here.logs[0]
    here.set_clock(synced=True)
    assert ticks(here) == ["Mon 05 18:20:00"]


def test_unsynced_run(tmp_path: Path) -> None:
    """A rule that has to run whatever the clock says runs by it."""
    here = house(tmp_path, AT.format(arguments='"18:00", unsynced="run"'))
    here.set_clock(synced=False)
    here.advance("24h")
    assert ticks(here) == ["Mon 05 18:00:00"]


def test_an_edited_time_makes_up_for_nothing(tmp_path: Path) -> None:
    """A rule whose time is changed to one that was today runs tomorrow."""
    here = house(tmp_path, AT.format(arguments='"12:30", missed="run"'))
    here.advance("1h")
    here.reload(loaded(tmp_path, AT.format(arguments='"12:45", missed="run"')))
    assert ticks(here) == ["Mon 05 12:30:00"]
    here.advance("24h")
    assert ticks(here) == ["Mon 05 12:30:00", "Tue 06 12:45:00"]


def test_what_a_rule_that_was_away_missed_is_not_made_up_for(tmp_path: Path) -> None:
    """A rule that was removed or disabled at its time meant it: it goes on with the next one."""
    here = house(tmp_path, AT.format(arguments='"12:30", missed="run"'))
    here.reload(loaded(tmp_path, '@rule("door_opened")\ndef other(event, ctx): pass\n'))
    here.advance("1h")
    here.reload(loaded(tmp_path, AT.format(arguments='"12:30", missed="run"')))
    assert ticks(here) == []
    here.advance("24h")
    assert ticks(here) == ["Tue 06 12:30:00"]


def test_one_timer_and_one_row_each(tmp_path: Path) -> None:
    """However often it is loaded and runs, one timer waits."""
    here = house(tmp_path, AT.format(arguments='cron="* * * * *"'))
    for _ in range(3):
        here.advance("5m")
        here.restart()
    assert (len(here.rows("timers")), len(here.rows("rule_state"))) == (1, 1)
    assert len(ticks(here)) == 15


TIMER = """
@timer{missed}
def later(ctx): ctx.emit("ticked", {{"at": ctx.now.strftime("%H:%M")}}); ctx.hold("light-hall", on=True)
@rule("door_opened")
def starts(event, ctx): ctx.after("10m", later)
"""


@pytest.mark.parametrize(
    ("missed", "off", "expected", "commands"),
    [
        ("", "1h", ["12:10"], 0),  # as a late event: it switches nothing
        ('(missed="run")', "1h", ["13:00"], 1),
        ('(missed="within 20m")', "25m", ["12:25"], 1),
        ('(missed="within 20m")', "1h", [], 0),
        ('(missed="skip")', "1h", [], 0),
        ('(missed="skip")', "1m", ["12:10"], 1),
    ],
)
def test_what_a_timer_missed(tmp_path: Path, missed: str, off: str, expected: list[str], commands: int) -> None:
    """@timer says the same of what ctx.after asked for; without it, it is an event of the past."""
    here = house(tmp_path, TIMER.format(missed=missed))
    here.device("light-hall", kind="light", on=False)
    here.event("door_opened", "door-front")
    here.restart(off=off)
    here.advance("10m")
    assert [event.data["at"] for event in here.emitted if event.type == "ticked"] == expected
    assert len(here.commands) == commands


WRONG = [
    ("", "@at needs a time"),
    ('"7.30"', 'such as "07:30"'),
    ('"24:30"', ""),
    ('"sunsett"', "did you mean 'sunset'?"),
    ('"07:30", cron="* * * * *"', "either"),
    ('cron="* * * *"', "minute hour day month weekday"),
    ('cron="61 * * * *"', "minute 61: 0 to 59"),
    ('cron="* * * * mon-fry"', "did you mean 'fri'?"),
    ('cron="*/0 * * * *"', "a step is a number"),
    ('cron="0 0 31 feb *"', "no such day"),
    ('"07:30", missed="later"', '"run", "skip"'),
    ('"07:30", missed="within"', '"within 10m"'),
    ('"07:30", missed="within a bit"', "not a duration"),
    ('"07:30", days="weekend"', "there is no day 'weekend'"),
    ('"07:30", dys="mon"', "did you mean 'days'?"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=[arguments for arguments, _ in WRONG])
def test_mistakes_have_a_line_and_a_way_out(tmp_path: Path, arguments: str, words: str) -> None:
    """What can't be read is a fault at the decorator's line that says what to write."""
    (fault,) = loaded(tmp_path, AT.format(arguments=arguments)).faults
    assert fault.line == 2
    assert words in f"{fault.what} {fault.hint}"
