"""Tables and texts for people."""

from __future__ import annotations

import pytest

from gateway.cli.devices.send import value_of
from gateway.cli.events.listing import line
from gateway.cli.terminal.printing import printable, table


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns are as wide as their content, numbers stand to the right, empty columns are left out."""
    table(["name", "queued", "oldest", "error"], [["alarm", 1234567, None, ""], ["telemetry", 0, None, "x"]])
    assert capsys.readouterr().out.splitlines() == [
        "name          queued  error",
        "alarm      1,234,567",
        "telemetry          0  x",
    ]


def test_a_devices_text_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters from outside are shown as such, in tables and in lines."""
    assert printable("a\x1b[2Jb\nc") == "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}c"
    table(["x"], [["\x1b]0;evil\x07"]])
    assert "\x1b" not in capsys.readouterr().out
    assert "\x1b" not in line({"type": "t", "data": {"x": "\x1b[31m"}})


@pytest.mark.parametrize(
    ("text", "value"),
    [("21.5", 21.5), ("true", True), ("heat", "heat"), ('"5"', "5"), ('{"a": 1}', {"a": 1}), (None, None)],
)
def test_a_commands_value(text: str | None, value: object) -> None:
    """A value on the command line is JSON where it is JSON, else a text."""
    assert value_of(text) == value
