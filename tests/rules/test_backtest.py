"""Rules over a recorded journal: what they would have done, on virtual time, the same every time."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.cli.main import main
from gateway.cli.rules.backtest import say_counts
from gateway.clock import NS_PER_S, wall_ns_of
from gateway.event import Lane
from gateway.journal.inspection import Inspection
from gateway.journal.through import Through
from gateway.quantity import counted
from gateway.rules.desk import tally
from gateway.rules.desk.backtest import Backtest, Window, summary
from gateway.rules.desk.candidate import CallLimit, Installation
from gateway.rules.desk.comparison import Comparison, Difference
from gateway.rules.desk.following import LAG_NS, Following
from gateway.rules.desk.tally import Action
from gateway.rules.files.loader import load
from gateway.rules.protocol import DeviceEntry
from tests.rules.recorded import MONDAY, Recorder

DOOR = "house/z2m:front"
DEVICES = (DeviceEntry(DOOR, "front-door", "hall", "door"),)
LEFT_OPEN = """
@when(kind="door", open=True, lasts="30m")
def left_open(door, ctx):
    ctx.alert(f"{door.name} open for 30 min")
"""
MINUTE = 60.0


def rules(folder: Path, source: str, name: str = "candidate.py") -> Path:
    """Write a rule file."""
    file = folder / "rules" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("from gateway.rules import *\n" + textwrap.dedent(source).lstrip("\n"))
    return file


class Run:
    """A backtest from beginning to end."""

    def __init__(
        self, journal: Path, file: Path, *, tables: Any = None, until: float | None = None, diff: bool = False,
        after: int = 0, since: float = 0, devices: Sequence[DeviceEntry] = DEVICES, limit: CallLimit | None = None,
        log_id: str = "", done_before: int = 0,
    ) -> None:  # fmt: skip
        loaded = load(file.parent, files=[file])
        assert [*map(str, loaded.faults)] == []
        inspection = Inspection(journal)
        self.actions: list[Action] = []
        self.differences: list[Difference] = []
        self.comparison = Comparison(self.differences.append) if diff else None
        begin = wall_ns_of(MONDAY)
        window = Window(
            after=after, through=inspection.last_sequence, done_before=done_before,
            since_ns=begin + round(since * 1e9), tables=tables,
            until_ns=None if until is None else begin + round(until * 1e9),
        )  # fmt: skip
        self.test = Backtest(
            Through(inspection), loaded, Installation(log_id=log_id or inspection.log_id, devices=devices), window,
            tell=self.actions.append, watch=limit, comparison=self.comparison,
        )  # fmt: skip
        for _ in self.test.run():
            pass
        self.test.end()

    @property
    def told(self) -> list[tuple[str, str]]:
        """When and what, in short."""
        return [(done.time[11:19], f"{done.kind} {done.what}") for done in self.actions]


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    """Return an empty journal on a clock of the test's own."""
    return Recorder(tmp_path / "journal")


def test_timers_fire_at_their_time_between_records(recorder: Recorder, tmp_path: Path) -> None:
    """A door that was open for 30 minutes raises its alert at the 30th, however far apart the records are."""
    recorder.event(60, "door_opened", DOOR, open=True)
    recorder.event(60 + 45 * MINUTE, "door_closed", DOOR, open=False)
    recorder.event(60 + 50 * MINUTE, "door_opened", DOOR, open=True)
    recorder.event(60 + 60 * MINUTE, "door_closed", DOOR, open=False)
    recorder.close()
    found = Run(recorder.folder, rules(tmp_path, LEFT_OPEN))
    assert found.told == [
        ("00:31:00", "alert left_open: front-door open for 30 min"),
        ("00:46:00", "clear left_open: front-door open for 30 min"),
    ]


def test_the_window_ends_at_until(recorder: Recorder, tmp_path: Path) -> None:
    """Timers that are due before the end of the window fire though no record follows; later ones do not."""
    recorder.event(60, "door_opened", DOOR, open=True)
    recorder.close()
    file = rules(tmp_path, LEFT_OPEN)
    assert [Run(recorder.folder, file, until=minutes * MINUTE).told != [] for minutes in (30, 32)] == [False, True]


def test_time_goes_on_with_what_nobody_looks_at(recorder: Recorder, tmp_path: Path) -> None:
    """Records that are not for the candidate tell how late it is all the same."""
    recorder.event(60, "door_opened", DOOR, open=True)
    recorder.event(3600, "alert_raised", DOOR, actor="rule:left_open@1", alert="left_open")
    recorder.close()
    assert [when for when, _ in Run(recorder.folder, rules(tmp_path, LEFT_OPEN)).told] == ["00:31:00"]


def test_outputs_of_the_candidates_own_rules_are_not_seen_twice(recorder: Recorder, tmp_path: Path) -> None:
    """What the live version put out is left out, what another rule did is an event like any other."""
    recorder.event(10, "door_opened", DOOR, open=True)
    recorder.event(10, "visit_noted", DOOR, actor="rule:notes@0a0b", cause="x")
    recorder.event(20, "visit_noted", DOOR, actor="rule:another@0a0b", cause="y")
    recorder.close()
    source = """
    @rule("door_opened")
    def notes(event, ctx): ctx.emit("visit_noted")
    @rule("visit_noted")
    def counts(event, ctx):
        ctx.state["n"] = ctx.state.get("n", 0) + 1
        ctx.emit("visit_counted", {"n": ctx.state["n"]})
    """
    found = Run(recorder.folder, rules(tmp_path, source))
    assert [what for _, what in found.told] == [
        "event visit_noted {}",
        'event visit_counted {"n":1}',
        'event visit_counted {"n":2}',
    ]


def test_timers_are_the_candidates_own(recorder: Recorder, tmp_path: Path) -> None:
    """A timer that the live version had fires no timer of the candidate, though both have the same name."""
    recorder.event(60, "door_opened", DOOR, open=True)
    timer = f"left_open|lasts|left_open|when|{DOOR}|{DOOR}|1|0"
    recorder.event(60 + 10 * MINUTE, "timer_fired", "rule:left_open", lane="timer", actor="gateway", timer=timer)
    recorder.event(60 + 40 * MINUTE, "door_closed", DOOR, open=False)
    recorder.close()
    assert [when for when, _ in Run(recorder.folder, rules(tmp_path, LEFT_OPEN)).told] == ["00:31:00", "00:41:00"]


def test_what_follows_has_a_number_of_its_own(recorder: Recorder, tmp_path: Path) -> None:
    """An event of the candidate's and the next recorded one both set a timer, and both timers fire."""
    recorder.event(0, "door_opened", DOOR)
    recorder.event(1, "visit_noted", DOOR)
    recorder.event(60, "door_closed", DOOR)
    recorder.close()
    source = """
    @rule("door_opened")
    def notes(event, ctx): ctx.emit("visit_noted")
    @rule("visit_noted")
    def waits(event, ctx): ctx.after("30s", over)
    @timer
    def over(ctx): ctx.emit("visit_over")
    """
    found = Run(recorder.folder, rules(tmp_path, source))
    assert [when for when, what in found.told if "over" in what] == ["00:00:30", "00:00:31"]


def test_following_tells_the_time_with_a_lag() -> None:
    """Blocks come as they were written; when nothing happens, time is a little behind the gateway's."""
    event = {"specversion": "1.0", "id": "a", "source": "/x", "type": "t", "lane": "alarm"}
    written = [
        {"wall_ns": 10 * NS_PER_S, "events": [event], "sequences": [7]},
        {"wall_ns": 20 * NS_PER_S, "events": []},
    ]
    runs = list(Following(written, msgspec.json.encode, lambda: False).runs(0, 9, ()))
    assert [(run.wall_ns, len(run.raws)) for run in runs] == [(10 * NS_PER_S, 1), (20 * NS_PER_S - LAG_NS, 0)]
    assert (runs[0].sequence(0), runs[0].lanes) == (7, bytes([Lane.ALARM]))
    assert len(list(Following(written, msgspec.json.encode, lambda: True).runs(0, 9, ()))) == 1


def test_recorded_late_is_late(recorder: Recorder, tmp_path: Path) -> None:
    """An event that reached the journal an hour after it happened switches nothing here either."""
    happened = recorder.at(10)
    recorder.event(10, "door_opened", DOOR, open=True)
    recorder.event(3600, "door_opened", DOOR, open=True, time=happened)
    recorder.close()
    source = '@rule("door_opened")\ndef bell(event, ctx): ctx.command(event.device, "ring")'
    assert [what for _, what in Run(recorder.folder, rules(tmp_path, source)).told] == [
        "command ring null",
        "suppressed ring null",
    ]


def test_state_as_of_the_beginning(recorder: Recorder, tmp_path: Path) -> None:
    """With the tables of a time the rules go on from there: a door that is open, an alert that is raised."""
    recorder.event(10, "door_opened", DOOR, open=True)
    recorder.event(5 * MINUTE, "door_closed", DOOR, open=False)
    recorder.close()
    alert = {"key": "left_open", "scope": DOOR, "rule": "left_open", "text": "open", "lane": "telemetry", "since": 1,
             "count": 1, "device": DOOR, "timer": None, "repeat": 0}  # fmt: skip
    state = {"true": True, "since": 1, "begun": True, "lasted": True, "timer": None}
    tables = {
        "values": {DOOR: {"open": True}},
        "rule_state": {
            f"left_open|when|{DOOR}": state,
            f"gone|when|{DOOR}": state,
            "left_open|disabled": {"since": 1, "until": None, "actor": "person:x", "timer": None},
        },
        "alerts": {f"left_open|{DOOR}": alert, "of|another": {**alert, "rule": "gone"}},
    }
    found = Run(recorder.folder, rules(tmp_path, LEFT_OPEN), tables=tables, after=1, since=60)
    assert found.told == [("00:05:00", "clear left_open: open")]


def test_a_day_without_records_is_a_gateway_that_was_off(recorder: Recorder, tmp_path: Path) -> None:
    """Ticks are not made up for when the clock jumps by years or the gateway was off."""
    recorder.event(0, "door_opened", DOOR, open=True)
    recorder.event(40 * 366 * 86_400, "door_closed", DOOR, open=False)
    recorder.close()
    found = Run(recorder.folder, rules(tmp_path, '@every("1s")\ndef tick(ctx): ctx.emit("ticked")'))
    assert len(found.actions) < 5


def test_a_clock_that_was_years_ahead_makes_nothing_late(recorder: Recorder, tmp_path: Path) -> None:
    """When the clock was wrong and is set back, what is recorded then is of that time."""
    recorder.event(10 * 366 * 86_400, "door_opened", DOOR, open=True)
    recorder.event(60, "door_opened", DOOR, open=True)
    recorder.close()
    source = '@rule("door_opened")\ndef bell(event, ctx): ctx.command(event.device, "ring")'
    assert [what for _, what in Run(recorder.folder, rules(tmp_path, source)).told] == ["command ring null"] * 2


def test_faults_are_counted_with_their_line(recorder: Recorder, tmp_path: Path) -> None:
    """A rule that raises is tried again as in the gateway; its fault is one line with how often it happened."""
    for minute in range(3):
        recorder.event(minute * 60, "door_opened", DOOR, open=True)
    recorder.close()
    file = rules(tmp_path, '@rule("door_opened")\ndef bad(event, ctx):\n    1 / 0')
    found = Run(recorder.folder, file).test.tally
    (failing,) = found.faults.values()
    assert (failing.fault.file, failing.fault.line, failing.times > 3) == (str(file), 4, True)
    assert found.rules["bad"].kinds["failed"] >= 1


def test_faults_beyond_the_limit_are_said(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of more different faults than are kept a backtest says that there were more, and how many."""
    recorder.event(60, "door_opened", DOOR, open=True)
    recorder.close()
    monkeypatch.setattr(tally, "FAULTS_MAX", 1)
    bad = '@rule("door_opened")\ndef {0}(event, ctx):\n    1 / 0\n'
    found = summary(Run(recorder.folder, rules(tmp_path, bad.format("bad") + bad.format("worse"))).test)
    assert len(found["faults"]) == 1
    assert found["more_faults"] >= 1
    say_counts(found)
    assert f"and {counted(found['more_faults'], 'fault')} more, beyond the first 1" in capsys.readouterr().out


def test_a_call_without_end_is_interrupted_and_named(recorder: Recorder, tmp_path: Path) -> None:
    """At the desk a call has a limit, too; the fault names the line it hung in, and the run goes on."""
    recorder.event(0, "door_opened", DOOR, open=True)
    recorder.event(1, "door_closed", DOOR, open=False)
    recorder.close()
    source = """
    @rule("door_opened")
    def hangs(event, ctx):
        while True: pass
    @rule("door_closed")
    def works(event, ctx): ctx.emit("noted")
    """
    file, limit = rules(tmp_path, source), CallLimit(0.3)
    with limit.armed():
        found = Run(recorder.folder, file, limit=limit)
    fault = next(iter(found.test.tally.faults.values())).fault
    assert (fault.line, "did not return within 0.3 s" in fault.what) == (4, True)
    assert [what for _, what in found.told if "noted" in what] == ["event noted {}"]


def test_compared_with_what_was_done(recorder: Recorder, tmp_path: Path) -> None:
    """The same output for the same cause is the same; what only one version did, or did otherwise, is told apart."""
    source = """
    @rule("door_opened")
    def bell(event, ctx): ctx.emit("rung", {"loud": event["by"] != "cat"})
    @rule("door_opened", where={"by": "owl"})
    def owl(event, ctx): ctx.emit("owl_seen")
    """
    causes = [recorder.event(n, "door_opened", DOOR, by=by) for n, by in enumerate(("dog", "cat", "owl"))]
    recorder.close()
    first = Run(recorder.folder, rules(tmp_path, source))
    again = Recorder(tmp_path / "again")
    for number, cause in enumerate(causes):
        again.event(number, "door_opened", DOOR, id=cause.id, **cause.data)
        for done in first.actions:
            if done.cause == cause.id and done.rule == "bell":
                again.event(
                    number, done.type, DOOR, id=done.id, actor="rule:bell@1", cause=done.cause, data={"loud": True}
                )
    again.event(9, "command_requested", DOOR, lane="command", actor="rule:bell@1", cause="z", command="ring", value=1)
    again.close()
    found = Run(again.folder, rules(tmp_path, source), diff=True, log_id=recorder.journal.log_id)
    assert found.comparison is not None
    assert found.comparison.counts == {"bell": {"same": 2, "changed": 1, "only live": 1}, "owl": {"only candidate": 1}}
    later = Run(again.folder, rules(tmp_path, source), diff=True, log_id=recorder.journal.log_id, done_before=99)
    assert later.comparison is not None
    assert later.comparison.counts["bell"] == {"only candidate": 3}, "what was done before is not compared"


# ---- the verb ------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Write a gateway's folder: a config, a door, a journal with some days of it, a rule."""
    recorder = Recorder(tmp_path / "state" / "journal")
    for day in range(4):
        recorder.event(86_400 * day, "door_opened", DOOR, open=True)
        recorder.rows(86_400 * day, {"values": {DOOR: {"open": True}}})
        for minute in range(0, 60, 2):
            recorder.event(86_400 * day + minute * 60, "temperature_changed", "house/z2m:t", temperature=20 + minute)
        recorder.event(86_400 * day + 3600, "door_closed", DOOR, open=False)
    recorder.close()
    (tmp_path / "gateway.toml").write_text('gateway.state = "state"\ngateway.timezone = "UTC"\n')
    (tmp_path / "devices.toml").write_text(f'[[device]]\nid = "{DOOR}"\nname = "front-door"\nkind = "door"\n')
    rules(tmp_path, LEFT_OPEN)
    return tmp_path


def verb(site: Path, *words: str, code: int = 0) -> tuple[str, str]:
    """Run `rules backtest` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "rules", "backtest", *words, "--config", str(site / "gateway.toml")],
        capture_output=True, timeout=240, check=False, cwd=site, text=True,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


def test_the_verb_prints_lines_and_a_table_the_same_twice(site: Path) -> None:
    """What would have happened, then counts with first and last; byte for byte the same again; nothing is written."""
    before = {path: path.read_bytes() for path in (site / "state").rglob("*") if path.is_file()}
    out, _ = verb(site)
    assert "2026-01-08T00:30:00.000Z  left_open  alert  front-door: left_open: front-door open for 30 min  <- " in out
    assert out.splitlines()[-1].split() == [
        *("left_open", "4", "4", "4", "2026-01-05T00:30:00.000Z", "2026-01-08T01:00:00.000Z"),
    ]
    assert verb(site)[0] == out
    assert {path: path.read_bytes() for path in (site / "state").rglob("*") if path.is_file()} == before


Here = Callable[..., tuple[str, str]]


@pytest.fixture
def here(site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    """Return a function that runs `rules backtest` in this process."""
    monkeypatch.chdir(site)

    def run(*words: str, code: int = 0) -> tuple[str, str]:
        assert main(["rules", "backtest", *words, "--config", "gateway.toml"]) == code
        said = capsys.readouterr()
        return said.out, said.err

    return run


def test_since_until_and_json(here: Here) -> None:
    """A part of the journal, as JSON lines that end with a summary; state is that of `--since`."""
    words = ["--since", "2026-01-06T00:10:00Z", "--until", "2026-01-06T12:00:00Z", "--json"]
    lines = [json.loads(line) for line in here(*words)[0].splitlines()]
    assert [(line["kind"], line["time"]) for line in lines[:-1]] == [
        ("alert", "2026-01-06T00:40:00.000Z"),
        ("clear", "2026-01-06T01:00:00.000Z"),
    ]
    assert lines[-1]["summary"]["rules"]["left_open"]["clear"] == 1
    with_nothing = [json.loads(line) for line in here(*words, "--empty")[0].splitlines()]
    assert with_nothing[-1]["summary"]["rules"]["left_open"]["calls"] == 0


def test_filters_leave_out_records(here: Here) -> None:
    """Who looks at one device or type gets what comes of it alone."""
    assert "no rule would have run in" in here("--type", "temperature_*", "--summary")[0]
    assert "left_open" in here("--device", "front", "--summary")[0]


def test_what_is_wrong_is_said(site: Path, here: Here) -> None:
    """A fault in the file, a file or journal that is not there: named, with an exit code."""
    bad = rules(site, '@rule("door_opened", devic="x")\ndef bad(event, ctx): pass', "bad.py")
    assert f"{bad}:2: " in here(str(bad), code=2)[1]
    assert "there is no file" in here("nothing.py", code=2)[1]
    assert "there is no journal" in here("--journal", "nowhere", code=1)[1]


def test_interrupted_it_says_what_there_is(site: Path) -> None:
    """Ctrl-C ends it with the counts so far."""
    source = """
    import os, signal
    @rule("temperature_changed", where={"temperature": 40})
    def warm(event, ctx):
        if "said" not in ctx.state: os.kill(os.getpid(), signal.SIGINT)
        ctx.state["said"] = True
    @rule("door_opened")
    def opened(event, ctx): ctx.emit("seen")
    """
    out, _ = verb(site, str(rules(site, source, "stops.py")), code=130)
    assert "ended early, at 2026-01-0" in out
    assert "event  front-door: seen {}" in out
    assert out.splitlines()[-1].split()[:2] == ["warm", "4"]
