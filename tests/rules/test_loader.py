"""Loading rule files: faults with file, line and likely fix; hints; what rules want to see."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.rules.files.loader import known_types, load
from gateway.rules.language.house import House
from gateway.rules.language.recipients import Recipients
from gateway.rules.protocol import DeviceEntry
from tests.rules.scene import house, loaded

DEVICES = [
    DeviceEntry("house/z2m:0x01", "door-front", "hall", "door", ("entry",)),
    DeviceEntry("house/z2m:0x02", "siren-hall", "hall", "siren"),
    DeviceEntry("house/z2m:0x03", "trv-bath", "bath", "thermostat"),
]
MODES = ("home", "away", "night")
RULE = "{decorator}\ndef thing(event=None, ctx=None):\n    {body}\n"

WRONG = [
    ('@rule("door_opened", moode="night")', "pass", 2, "@rule has no argument 'moode'", "did you mean 'mode'?"),
    ('@rule("door_opened", mode="nigth")', "pass", 2, "there is no mode 'nigth'", "did you mean 'night'?"),
    ('@rule("door_opened", device="door-frnt")', "pass", 2, "no device 'door-frnt'", "did you mean 'door-front'?"),
    ('@rule("door_opened", room="hal")', "pass", 2, "there is no room 'hal'", "did you mean 'hall'?"),
    ('@rule("door_opened", kind="dor")', "pass", 2, "there is no kind 'dor'", "did you mean 'door'?"),
    ('@rule("door_opened", label="entri")', "pass", 2, "there is no label 'entri'", "did you mean 'entry'?"),
    ('@rule("Door Opened")', "pass", 2, "'Door Opened' is no event type", None),
    ("@rule()", "pass", 2, "@rule needs an event type", None),
    ('@rule("door_opened", cooldown="5 minutes")', "pass", 2, "is not a duration", None),
    ('@rule("door_opened", late="never")', "pass", 2, 'write "update" or "run"', None),
    ('@rule("door_opened", where={"x": ">=much"})', "pass", 2, "which is no number", None),
    ('@rule("door_opened", where={"x": [[]]})', "pass", 2, "can't be compared", None),
    ('@rule("door_opened", room=3)', "pass", 2, "", None),
    ('@when(kind="door")', "pass", 2, "@when needs a field", None),
    ('@when(knd="door", open=True)', "pass", 2, "'knd' is no argument of @when", "did you mean 'kind'?"),
    ('@when(kind="motion", moton=False)', "pass", 2, "devices report no 'moton'", "did you mean 'motion'?"),
    ('@when(open=True, per="floor")', "pass", 2, '"device", "room" or "house"', None),
    ('@when(open=True, unknown="perhaps")', "pass", 2, '"true after 2h"', None),
    ("@when(temperature=above(-12, clear=-10))", "pass", 2, "never clears", None),
    ('@when(temperature=above("warm"))', "pass", 2, "a number is wanted", None),
    ('@every("0.1s")', "pass", 2, "at least 1 s", None),
    ('@rule("door_opened")', "ctx.hold('siren-hal')", 4, "no device 'siren-hal'", "did you mean 'siren-hall'?"),
    ('@rule("door_opened")', "ctx.room('bat')", 4, "there is no room 'bat'", "did you mean 'bath'?"),
    ('@rule("door_opened")', "ctx.set_mode('awy')", 4, "there is no mode 'awy'", "did you mean 'away'?"),
    ('@rule("door_opened")', "ctx.alret('x')", 4, "ctx has no 'alret'", "did you mean 'alert'?"),
    ('@rule("door_opened")', "ctx.notify('x', to='ana')", 4, "there is no recipient 'ana'", "did you mean 'anna'?"),
    ('@rule("door_opened")', "ctx.notify('x', ttl='short')", 4, "is not a duration", None),
    ('@rule("door_opened")', "ctx.alert('x', escalate=[('1m', 'siren-hal')])", 4, "no recipient or", "did you mean"),
    ('@rule("door_opened")', "ctx.alert('x', escalate=[('soon', 'anna')])", 4, "is not a duration", None),
    ('@rule("door_opened")', "ctx.alert('x', repeat='often')", 4, "is not a duration", None),
    ('@rule("door_opened")', "ctx.after('soon', thing)", 4, "is not a duration", None),
    ('@rule("door_opened")', "x = = 1", 4, "not Python: invalid syntax", None),
    ("import nothing_like_it", "pass", 2, "ModuleNotFoundError", None),
    ("1 / 0", "pass", 2, "ZeroDivisionError", None),
    ("exit()", "pass", 2, "called exit()", None),
]  # fmt: skip


@pytest.mark.parametrize(("decorator", "body", "line", "words", "hint"), WRONG, ids=[f"{w[0]} {w[1]}" for w in WRONG])
def test_faults_have_file_line_and_fix(
    tmp_path: Path, decorator: str, body: str, line: int, words: str, hint: str | None
) -> None:
    """Each mistake is one fault with its line and, where one is near, what was meant; the other file is loaded."""
    good = '@rule("door_closed")\ndef fine(event, ctx): pass\n'
    known = {"house": House(DEVICES, {}), "modes": MODES, "recipients": Recipients(["anna", "ben"])}
    found = loaded(tmp_path, RULE.format(decorator=decorator, body=body), good, **known)
    (fault,) = found.faults
    assert str(fault.file).endswith("0.py")
    assert fault.line == line
    assert words in fault.what
    assert hint is None or (fault.hint or "").startswith(hint)
    assert [definition.name for definition in found.definitions] == ["fine"]


def test_all_faults_of_a_file_are_found(tmp_path: Path) -> None:
    """One wrong rule does not hide the next."""
    found = loaded(
        tmp_path,
        """
        @rule("door_opened", cooldown="x")
        def one(event, ctx): pass
        @every("y")
        def two(ctx): ctx.alret("z")
        @rule("door_opened")
        async def three(event, ctx): pass
        @rule("door_opened")
        def four(event): pass
        """,
    )
    assert [fault.line for fault in found.faults] == [2, 4, 5, 6, 8]
    assert "async" in found.faults[3].what
    assert "can't be called with (event, ctx)" in found.faults[4].what


def test_a_name_belongs_to_one_rule(tmp_path: Path) -> None:
    """State and timers are kept by name, so a second rule of a name is a fault that says where the first is."""
    source = '@rule("door_opened")\ndef same(event, ctx): pass\n'
    found = loaded(tmp_path, source, source)
    (fault,) = found.faults
    assert str(fault.file).endswith("1.py")
    assert "0.py:2" in fault.what


def test_unknown_types_and_kinds_are_hints(tmp_path: Path) -> None:
    """A type nobody raises may come from another rule, and a kind may come with the next device: worth a look."""
    source = '@rule("dor_opened", kind="sauna")\ndef one(event, ctx): pass\n'
    found = loaded(tmp_path, source, house=House(DEVICES, {}), types=known_types())
    assert found.faults == []
    assert [hint.what for hint in found.hints] == ["there is no event type 'dor_opened'", "there is no kind 'sauna'"]
    assert found.hints[0].hint == "did you mean 'door_opened'?"


def test_without_an_installation_names_are_not_judged(tmp_path: Path) -> None:
    """On a desk without devices.toml any device name may be right."""
    source = '@rule("door_opened", device="door-front", room="hall")\ndef one(event, ctx): ctx.device("x")\n'
    assert loaded(tmp_path, source).faults == []
    assert load(tmp_path / "rules", types=known_types()).faults == []


def test_modules_in_lib_are_imported_and_counted_in_the_hash(tmp_path: Path) -> None:
    """`from lib import ...` finds rules/lib, of this folder and as it is now."""
    lib = tmp_path / "rules" / "lib"
    lib.mkdir(parents=True)
    source = 'from lib.words import word\n@rule("door_opened")\ndef says(event, ctx): ctx.emit(word())\n'
    hashes = []
    for word in ("first_said", "second_said"):
        (lib / "words.py").write_text(f"def word(): return {word!r}\n")
        here = house(tmp_path, source)
        here.set("door-a", open=True)
        assert [event.type for event in here.emitted] == [word]
        hashes.append(here.loaded.hash)
    assert len(set(hashes)) == 2


def test_excluded_files_are_not_run(tmp_path: Path) -> None:
    """A file that hung is left out with its line and reason."""
    loaded(tmp_path, 'raise SystemExit("it was run")')
    found = load(tmp_path / "rules", excluded={str(tmp_path / "rules" / "0.py"): (7, "it hung")})
    assert [(fault.line, fault.what) for fault in found.faults] == [(7, "it hung")]


def test_a_file_that_hangs_is_a_fault_with_its_line(tmp_path: Path) -> None:
    """Where a person waits, a top level that does not end is stopped."""
    (tmp_path / "hangs.py").write_text("x = 1\nwhile x: pass\n")
    (fault,) = load(tmp_path, limit_s=0.2).faults
    assert (fault.line, fault.what) == (2, "TimeoutError: did not end within 0.2 s")


def test_files_are_bounded(tmp_path: Path) -> None:
    """A file larger than a rule file may be is refused."""
    found = loaded(tmp_path, "x = 1\n" * 100_000)
    assert "larger than" in found.faults[0].what


def test_rules_say_which_events_they_want(tmp_path: Path) -> None:
    """Types of @rule, and fields wherever their names appear; any field when code may read any."""
    source = """
    @rule("door_opened", where={"object.label": "person"})
    def one(event, ctx): ctx.emit("x_done", {"t": ctx.device("a").setpoint_heat})
    @when(battery=below(5))
    def two(device, ctx): pass
    """
    found = loaded(tmp_path, source)
    assert {"door_opened", "timer_fired", "device_offline"} <= found.types
    assert found.fields is not None
    assert {"battery", "setpoint.heat", "object.label"} <= found.fields
    assert "humidity" not in found.fields
    assert loaded(tmp_path, source, "x = getattr\n").fields is None


def test_whom_to_tell_may_stand_at_the_top_of_a_file(tmp_path: Path) -> None:
    """A name at the top of a file is looked up where it is used; the fault is at the line to be changed, once."""
    source = """
        TELL = [("0m", "ana"), ("5m", "ben")]
        TO = "bne"
        LATER = "nobody at all"
        LATER = "ben"
        @rule("door_opened")
        def told(event, ctx):
            ctx.alert("x", escalate=TELL)
            ctx.alert("y", key="y", escalate=TELL)
            ctx.notify("z", to=TO)
            ctx.notify("z", to=LATER)
    """
    found = loaded(tmp_path, source, house=House(DEVICES, {}), modes=MODES, recipients=Recipients(["anna", "ben"]))
    assert [(fault.line, fault.hint) for fault in found.faults] == [
        (2, "did you mean 'anna'?"),
        (3, "did you mean 'ben'?"),
    ]
