"""between= and days= of @rule and @when, on the virtual clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.rules.files.loader import load
from tests.rules.scene import HEAD, house, loaded

RULE = '@rule("door_opened", {arguments})\ndef note(event, ctx): ctx.emit("noted")\n'
WHEN = """
@when(kind="door", open=True, {arguments})
def so(door, ctx): ctx.emit("so_begun", {{"at": ctx.now.strftime("%a %H:%M")}})
@so.end
def over(door, ctx): ctx.emit("so_ended", {{"at": ctx.now.strftime("%a %H:%M")}})
"""


def said(here: object) -> list[str]:
    """Return what `so` said, as ``begun Mon 22:00``."""
    return [f"{event.type[3:]} {event.data['at']}" for event in here.emitted]  # type: ignore[attr-defined]


def test_a_rule_runs_only_in_its_hours(tmp_path: Path) -> None:
    """The first minute belongs to the hours, the last does not; days are those on which hours begin."""
    here = house(tmp_path, RULE.format(arguments='between="22:00-06:00", days="fri"'))
    counts = {}
    for moment in ("2026-01-09 05:00", "2026-01-09 21:59", "2026-01-09 22:00", "2026-01-10 05:59", "2026-01-10 06:00"):
        here.until(moment)
        before = len(here.emitted)
        here.event("door_opened", "door-front")
        counts[moment[5:]] = len(here.emitted) - before
    assert list(counts.values()) == [0, 0, 1, 1, 0]


def test_the_hours_of_an_event_are_those_it_happened_in(tmp_path: Path) -> None:
    """A report from before the hours is outside of them, however late it comes."""
    here = house(tmp_path, RULE.format(arguments='between="22:00-06:00"'))
    here.until("22:30")
    here.event("door_opened", "door-front", ago="45m")
    here.event("door_opened", "door-front", ago="15m")
    assert len(here.emitted) == 1


def test_hours_of_the_sun_move_with_the_year(tmp_path: Path) -> None:
    """At six in the evening it is dark in January and light in June, by the clock of the house."""
    here = house(tmp_path, RULE.format(arguments='between=["sunset-15m..sunrise", "13:00-13:01"]'))
    here.place("Europe/Berlin")
    for moment, noted in (("2026-01-05 18:00", 1), ("2026-06-21 18:00", 1), ("2026-06-21 21:30", 2)):
        here.until(moment)
        here.event("door_opened", "door-front")
        assert len(here.emitted) == noted, moment


def test_a_condition_begins_and_ends_with_its_hours(tmp_path: Path) -> None:
    """What is so when the hours open begins then, and is over when they close, though nothing else happens."""
    here = house(tmp_path, WHEN.format(arguments='between="22:00-06:00", days=("mon", "tue")'))
    here.set("door-front", open=True)
    here.advance("3d")
    assert said(here) == ["begun Mon 22:00", "ended Tue 06:00", "begun Tue 22:00", "ended Wed 06:00"]


def test_hours_that_touch_are_one(tmp_path: Path) -> None:
    """Where one span begins when the other ends, on the next day, too, nothing ends in between."""
    here = house(tmp_path, WHEN.format(arguments='between=("20:00-24:00", "18:00-20:00", "00:00-06:00")'))
    here.set("door-front", open=True)
    here.advance("30h")
    assert said(here) == ["begun Mon 18:00", "ended Tue 06:00", "begun Tue 18:00"]


def test_lasts_counts_within_the_hours(tmp_path: Path) -> None:
    """A door that was open all day has not been open at night for ten minutes at ten."""
    here = house(tmp_path, WHEN.format(arguments='lasts="10m", between="22:00-22:30"'))
    here.set("door-front", open=True)
    here.until("22:40")
    assert said(here) == ["begun Mon 22:10", "ended Mon 22:30"]


def test_hours_survive_a_power_cut(tmp_path: Path) -> None:
    """After a cut over a closing or an opening the condition is what it has to be, without what it missed."""
    here = house(tmp_path, WHEN.format(arguments='between="22:00-06:00"'))
    here.set("door-front", open=True)
    here.until("23:00")
    here.restart(off="8h")
    assert said(here) == ["begun Mon 22:00", "ended Tue 07:00"]
    here.restart(off="990m")
    assert said(here)[2:] == ["begun Tue 23:30"]
    here.restart(off="48h")
    assert said(here)[3:] == []
    here.advance("12h")
    assert said(here)[3:] == ["ended Fri 06:00"]


def test_a_night_with_summer_time_in_it(tmp_path: Path) -> None:
    """Hours end when the clock on the wall says so."""
    here = house(tmp_path, WHEN.format(arguments='between="22:00-06:00"'))
    here.place("Europe/Berlin")
    here.set("door-front", open=True)
    here.until("2026-03-28 21:00")
    ended = len(here.emitted)
    here.advance("12h")
    assert said(here)[ended:] == ["begun Sat 22:00", "ended Sun 06:00"]
    assert here.now.strftime("%H:%M") == "10:00"


def test_a_condition_that_loses_its_hours_forgets_them(tmp_path: Path) -> None:
    """After an edit that takes between= away nothing of it is left, and the condition is what its fields say."""
    here = house(tmp_path, WHEN.format(arguments='between="22:00-06:00"'))
    here.set("door-front", open=True)
    here.reload(loaded(tmp_path, WHEN.format(arguments="per='device'")))
    assert said(here) == ["begun Mon 12:00"]
    assert here.rows("timers") == {}
    assert not [key for key in here.rows("rule_state") if "hours" in key]


def test_without_the_time_hours_stay_as_they_are(tmp_path: Path) -> None:
    """While nobody knows the time a condition keeps what it was, and follows the clock when it is set."""
    here = house(tmp_path, WHEN.format(arguments='between="22:00-06:00"'))
    here.set("door-front", open=True)
    here.until("23:00")
    here.set_clock("8h", synced=False)
    here.advance("5h")
    assert said(here) == ["begun Mon 22:00"]
    here.set_clock(synced=True)
    assert said(here) == ["begun Mon 22:00", "ended Tue 12:00"]


def test_without_the_time_only_alarms_pass_hours(tmp_path: Path) -> None:
    """An event in the alarm lane runs a rule when nobody knows the time; others wait for the clock, and it is said."""
    here = house(tmp_path, RULE.format(arguments='between="00:00-01:00"'))
    here.set_clock(synced=False)
    here.event("door_opened", "door-front")
    here.event("door_opened", "door-front")
    assert (len(here.emitted), len(here.logs)) == (0, 1)
    assert "nobody knows what time it is" in here.logs[0]
    here.event("door_opened", "door-front", lane="alarm")
    assert len(here.emitted) == 1


def test_unsynced_run_goes_by_the_clock_as_it_is(tmp_path: Path) -> None:
    """A rule that says so takes the clock for right."""
    here = house(tmp_path, RULE.format(arguments='between="12:00-13:00", unsynced="run"'))
    here.set_clock(synced=False)
    here.event("door_opened", "door-front")
    here.advance("2h")
    here.event("door_opened", "door-front")
    assert len(here.emitted) == 1


WRONG = [
    ('between="22:00"', 'such as "22:00-06:00"'),
    ('between="22:00-22:00"', 'for a whole day write "00:00-24:00"'),
    ('between="25:00-06:00"', 'write "06:30"'),
    ('between="sunst..sunrise"', "did you mean 'sunset'?"),
    ('between="sunset-13h..sunrise"', "at most 12h"),
    ('between="sunset-1x..sunrise"', "is not a duration"),
    ("between=22", ""),
    ("between=[]", "1 to 16 spans"),
    ('days="mon-fry"', "did you mean 'fri'?"),
    ('days=""', "there is no day ''"),
    ('unsynced="maybe"', '"skip" or "run"'),
    ('betwen="22:00-06:00"', ""),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=[arguments for arguments, _ in WRONG])
@pytest.mark.parametrize("text", [RULE, WHEN], ids=["rule", "when"])
def test_mistakes_have_a_line_and_a_way_out(tmp_path: Path, text: str, arguments: str, words: str) -> None:
    """What can't be read is a fault at the decorator's line that says what to write."""
    (fault,) = loaded(tmp_path, text.format(arguments=arguments)).faults
    assert fault.line == 2
    assert words in f"{fault.what} {fault.hint}"


@pytest.mark.parametrize(
    "source",
    [
        '@rule("door_opened", between="sunset..23:00")\ndef note(event, ctx): pass\n',
        '@when(open=True, between=("12:00-13:00", "dusk..dawn"))\ndef note(door, ctx): pass\n',
        '@at("07:30", "sunrise+10m")\ndef note(ctx): pass\n',
    ],
)
def test_the_sun_needs_a_place(tmp_path: Path, source: str) -> None:
    """Without a location a rule that needs the sun is a fault that says what to add to the config."""
    (tmp_path / "a.py").write_text(HEAD + source)
    assert load(tmp_path).faults == []
    (fault,) = load(tmp_path, located=False).faults
    assert fault.line == 2
    assert "[gateway.location]" in str(fault.hint)
