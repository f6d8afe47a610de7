"""@rule, @every, @timer and what a call may do, on the real engine and a virtual clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.rules.testing import RuleFailed
from tests.rules.scene import house

COUNTS = """
@rule("door_opened")
def counts(event, ctx):
    ctx.state["count"] = ctx.state.get("count", 0) + 1
    ctx.emit("door_counted", {"count": ctx.state["count"]})
"""


def test_an_event_of_its_type_runs_a_rule(tmp_path: Path) -> None:
    """A rule runs for its types and no others; its outputs carry cause, actor and the device at hand."""
    here = house(tmp_path, COUNTS)
    here.set("door-front", open=True)
    here.set("door-front", open=False)
    (output,) = here.emitted
    assert (output.type, output.data) == ("door_counted", {"count": 1})
    assert output.subject == "house/test:door-front"
    assert output.cause == "test-2"
    assert output.actor.startswith("rule:counts@")
    assert output.hops == 1


def test_ids_are_derived_from_rule_cause_and_number(tmp_path: Path) -> None:
    """The same call for the same cause names its outputs the same; each has its own id."""
    source = '@rule("door_opened")\ndef twice(event, ctx):\n    ctx.emit("a_done")\n    ctx.emit("b_done")\n'
    ids = []
    for attempt in range(2):
        (tmp_path / str(attempt)).mkdir()
        here = house(tmp_path / str(attempt), source)
        here.set("door-front", open=True)
        ids.append([event.id for event in here.emitted])
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        ('device="door-front"', ["door-front"]),
        ('device="house/test:door-front"', ["door-front"]),
        ('device=("door-front", "door-back")', ["door-front", "door-back"]),
        ('room="back"', ["door-back", "window-back"]),
        ('kind="window"', ["window-back"]),
        ('label="entry"', ["gate"]),
        ('kind="door", room="back"', ["door-back"]),
        ("", ["door-front", "door-back", "window-back", "gate"]),
    ],
)
def test_selectors(tmp_path: Path, arguments: str, runs: list[str]) -> None:
    """device, room, kind and label select; several together have all to fit."""
    types = '"door_opened", "window_opened", "gate_opened"'
    here = house(tmp_path, f'@rule({types}, {arguments})\ndef seen(event, ctx): ctx.emit("was_seen")\n')
    here.device("gate", kind="gate", labels=["entry"])
    for name in ("door-front", "door-back", "window-back", "gate"):
        here.set(name, open=True)
    assert [event.subject.rpartition(":")[2] for event in here.emitted] == runs


@pytest.mark.parametrize(
    ("where", "data", "runs"),
    [
        ('{"object.label": "person"}', {"object.label": "person"}, True),
        ('{"object.label": "person"}', {"object": {"label": "person"}}, True),
        ('{"object.label": "person"}', {"object.label": "dog"}, False),
        ('{"object.label": ("person", "dog")}', {"object.label": "dog"}, True),
        ('{"object.score": ">=0.7"}', {"object.score": 0.7}, True),
        ('{"object.score": ">=0.7"}', {"object.score": 0.69}, False),
        ('{"object.score": ">=0.7"}', {"object.score": "high"}, False),
        ('{"object.score": ">=0.7"}', {}, False),
        ('{"object.score": above(0.7)}', {"object.score": 0.7}, False),
        ('{"object.score": below(0.7)}', {"object.score": 0.6}, True),
        ('{"moving": True}', {"moving": 1}, False),
        ('{"zones": "!=street"}', {"zones": "garden"}, True),
    ],
)
def test_where_tests_the_fields_of_the_event(tmp_path: Path, where: str, data: dict[str, object], runs: bool) -> None:
    """Values, several values, comparisons and thresholds; what is not there or not comparable does not pass."""
    here = house(tmp_path, f'@rule("object_detected", where={where})\ndef seen(event, ctx): ctx.emit("was_seen")\n')
    here.event("object_detected", "cam-drive", **data)
    assert bool(here.emitted) is runs


def test_mode_and_cooldown(tmp_path: Path) -> None:
    """A rule runs only in its modes, and then not again for the same device within its cooldown."""
    here = house(
        tmp_path, '@rule("button_pressed", mode="night", cooldown="5m")\ndef rings(e, ctx): ctx.emit("was_heard")\n'
    )
    here.event("button_pressed", "button-hall")
    assert here.emitted == []
    here.mode = "night"
    for _ in range(3):
        here.event("button_pressed", "button-hall")
        here.advance("2m")
    here.event("button_pressed", "button-attic")
    assert [event.subject[-4:] for event in here.emitted] == ["hall", "ttic"]
    here.advance("2m")
    here.event("button_pressed", "button-hall")
    assert len(here.emitted) == 3


def test_state_is_kept_over_a_restart_and_changes_inside_it_are_noticed(tmp_path: Path) -> None:
    """ctx.state is durable, nested values included, and has a part for each device."""
    here = house(
        tmp_path,
        """
        @rule("door_opened")
        def remembers(event, ctx):
            ctx.state.setdefault("names", []).append(event.device.name)
            mine = ctx.state[event.device]
            mine["count"] = mine.get("count", 0) + 1
            ctx.emit("count_noted", {"names": ctx.state["names"], "count": mine["count"], "keys": list(ctx.state)})
        """,
    )
    for name in ("door-a", "door-b", "door-a"):
        here.set(name, open=True)
        here.set(name, open=False)
        here.restart()
    assert here.emitted[-1].data == {"names": ["door-a", "door-b", "door-a"], "count": 2, "keys": ["names"]}


def test_state_can_be_deleted(tmp_path: Path) -> None:
    """A deleted key is gone, in the same call and later."""
    here = house(
        tmp_path,
        """
        @rule("door_opened")
        def forgets(event, ctx):
            ctx.state["x"] = 1
            del ctx.state["x"]
            ctx.emit("x_noted", {"there": "x" in ctx.state, "all": dict(ctx.state)})
        """,
    )
    here.set("door-a", open=True)
    assert here.emitted[0].data == {"there": False, "all": {}}
    assert here.state("forgets") == {}


def test_a_call_that_raises_leaves_nothing(tmp_path: Path) -> None:
    """Outputs, alerts, state, timers, claims and mode of a call that raises never happened."""
    here = house(
        tmp_path,
        """
        @timer
        def later(ctx): ctx.emit("later_done")
        @rule("door_opened")
        def fails(event, ctx):
            ctx.emit("early_done")
            ctx.alert("oh")
            ctx.state["x"] = 1
            ctx.after("1s", later)
            ctx.hold("light-hall", on=True)
            ctx.set_mode("night")
            raise ValueError("no")
        """,
    )
    here.raises = False
    here.set("door-front", open=True)
    assert "early_done" not in [event.type for event in here.outputs]
    assert (here.alerts, here.commands, here.state("fails"), here.mode) == ([], [], {}, "home")
    assert "0.py:12: ValueError: no" in here.faults[0]


def test_every_ticks_and_does_not_make_up_for_missed_ticks(tmp_path: Path) -> None:
    """@every runs at its interval; after a long stop the next tick is the next, not a hundred at once."""
    here = house(tmp_path, '@every("5m")\ndef ticks(ctx): ctx.emit("tick_done", {"at": ctx.now.isoformat()})\n')
    here.advance("16m")
    assert [event.data["at"][11:16] for event in here.emitted] == ["12:05", "12:10", "12:15"]
    here.restart()
    here.advance("5m")
    assert len(here.emitted) == 4


def test_after_calls_a_timer_with_its_arguments(tmp_path: Path) -> None:
    """ctx.after calls a @timer function at its time with what it was given, over a restart, in the rule's name."""
    here = house(
        tmp_path,
        """
        @timer
        def sound(ctx, where, times):
            ctx.state["count"] = ctx.state.get("count", 0) + times
            ctx.emit("was_sounded", {"where": where, "at": ctx.now.strftime("%H:%M:%S")})
        @rule("door_opened")
        def starts(event, ctx):
            ctx.after("30s", sound, where=event.device.name, times=2)
        """,
    )
    here.set("door-front", open=True)
    here.advance("29s")
    here.restart()
    assert here.emitted == []
    here.advance("2m")
    (output,) = here.emitted
    assert output.data == {"where": "door-front", "at": "12:00:30"}
    assert output.subject == "house/test:door-front"
    assert here.state("starts") == {"count": 2}


def test_modes(tmp_path: Path) -> None:
    """A rule may change the mode; others see it and the event, and an unknown one is refused with a hint."""
    here = house(
        tmp_path,
        """
        @rule("button_pressed")
        def sleeps(event, ctx):
            ctx.set_mode(event["button"])
            ctx.emit("mode_noted", {"mode": ctx.mode})
        @rule("mode_changed")
        def follows(event, ctx): ctx.emit("mode_followed", {"mode": ctx.mode, "was": event["was"]})
        """,
    )
    here.event("button_pressed", "button-bed", button="night")
    assert here.mode == "night"
    assert [event.data for event in here.emitted] == [{"mode": "night"}, {"mode": "night", "was": "home"}]
    here.restart()
    assert here.mode == "night"
    with pytest.raises(RuleFailed, match="did you mean 'night'"):
        here.event("button_pressed", "button-bed", button="nigt")


def test_late_events_update_and_emit_but_switch_nothing(tmp_path: Path) -> None:
    """Older than a minute: state and events as ever, commands and claims suppressed and recorded."""
    source = """
        @rule("motion_detected"{late})
        def light(event, ctx):
            ctx.state["seen"] = True
            ctx.emit("was_seen", {{"late": ctx.late}})
            ctx.command("light-hall", "set_on", True)
            ctx.hold("light-hall", on=True, lasts="5m")
        """
    here = house(tmp_path, source.format(late=""))
    here.set("motion-hall", motion=True, ago="2m")
    assert here.commands == []
    assert here.state("light") == {"seen": True}
    assert here.emitted[0].data == {"late": True}
    suppressed = [event for event in here.outputs if event.type == "command_suppressed"]
    assert [event.data for event in suppressed] == [{"command": "set_on", "value": True, "reason": "late"}] * 2
    here.set("motion-hall", motion=False)
    here.set("motion-hall", motion=True, ago="50s")
    assert len(here.commands) == 2
    (tmp_path / "run").mkdir()
    runs = house(tmp_path / "run", source.format(late=', late="run"'))
    runs.set("motion-hall", motion=True, ago="2m")
    assert len(runs.commands) == 2


def test_a_circle_of_rules_is_cut(tmp_path: Path) -> None:
    """Rules that answer each other, also through timers without delay, stop after eight hops."""
    here = house(
        tmp_path,
        """
        @timer
        def again(ctx): ctx.after("0s", again)
        @rule("door_opened", "pong_sent")
        def ping(event, ctx): ctx.emit("ping_sent")
        @rule("ping_sent")
        def pong(event, ctx): ctx.emit("pong_sent")
        @rule("window_opened")
        def spins(event, ctx): ctx.after("0s", again)
        """,
    )
    here.raises = False
    here.set("door-front", open=True)
    assert sum(event.type == "ping_sent" for event in here.emitted) == 4
    here.set("window-bath", open=True)
    here.advance("1s")
    assert any("in a circle" in fault for fault in here.faults)


def test_rules_find_devices_and_rooms(tmp_path: Path) -> None:
    """By name, by id, by kind, room and label; with their fields, and did-you-mean for what is not there."""
    here = house(
        tmp_path,
        """
        @rule("button_pressed")
        def looks(event, ctx):
            door = ctx.device("door-front")
            ctx.emit("was_found", {
                "id": ctx.device("house/test:door-front").id, "open": door.open, "never": door.humidity,
                "heat": ctx.device("trv-bath").setpoint_heat, "bath": [d.name for d in ctx.room("bath").devices()],
                "thermostats": [d.name for d in ctx.devices(kind="thermostat")], "fields": dict(door.fields),
            })
        """,
    )
    here.device("trv-bath", kind="thermostat", room="bath", setpoint_heat=21)
    here.device("door-front", kind="door", open=True)
    here.event("button_pressed", "button-hall")
    assert here.emitted[0].data == {
        "id": "house/test:door-front", "open": True, "never": None, "heat": 21, "bath": ["trv-bath"],
        "thermostats": ["trv-bath"], "fields": {"open": True},
    }  # fmt: skip


def test_what_can_not_be_done_is_said_on_the_authors_line(tmp_path: Path) -> None:
    """Wrong lanes, types, fields, priorities and timers are refused where they are written."""
    lines = {
        'ctx.emit("Bad Type")': "can't be emitted",
        'ctx.emit("timer_fired")': "can't be emitted",
        'ctx.emit("x_done", lane="command")': 'write "telemetry" or "alarm"',
        'ctx.alert("x", lane="loud")': 'write "telemetry" or "alarm"',
        'ctx.hold("light-hall")': "needs a field",
        'ctx.hold("light-hall", on=True, priority="god")': '"safety", "person" or "rule"',
        'ctx.command("light-hall", "Set On")': "no command",
        'ctx.after("5s", print)': "put @timer above it",
        "ctx.device(3)": "no device",
        'ctx.state["x"] = None': "delete the key",
        'ctx.state[3] = "x"': "a key of ctx.state is a text",
        'ctx.room("bth")': "there is no room 'bth', did you mean 'bath'",
        'ctx.clear("x|y"); ctx.alert("a", key="x|y")': "no '|'",
    }
    for number, (line, words) in enumerate(lines.items()):
        (tmp_path / str(number)).mkdir()
        here = house(tmp_path / str(number), f'@rule("door_opened")\ndef bad(event, ctx):\n    {line}\n')
        here.device("trv-bath", room="bath")
        here.raises = False
        here.set("door-front", open=True)
        assert "0.py:4: " in here.faults[0]
        assert words in here.faults[0]


def test_a_record_that_can_not_be_read_is_a_fault_and_no_more(tmp_path: Path) -> None:
    """Bytes that are no event are passed over; what comes behind them is looked at."""
    here = house(tmp_path, COUNTS)
    outcome = here._engine.step([b"{", b'{"specversion":"1.0"}'], 9, 0)
    assert len(outcome.faults) == 2
    here.set("door-front", open=True)
    assert len(here.emitted) == 1


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    """Reading state, or setting it to what it is, writes no row."""
    here = house(
        tmp_path,
        """
        @rule("door_opened")
        def reads(event, ctx):
            ctx.state["seen"] = ctx.state.get("seen", [1])
        """,
    )
    here.set("door-a", open=True)
    written = []
    take = here._engine.site.tables.take_changes
    here._engine.site.tables.take_changes = lambda: written.append(take()) or written[-1]  # type: ignore[method-assign]
    here.set("door-b", open=True)
    assert written == [[]]
