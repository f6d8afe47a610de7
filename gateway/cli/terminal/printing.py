"""What a person sees: colour where it helps, tables, JSON where it is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TextIO

import msgspec

from gateway.errors import Fault

Colour = Literal["red", "green", "yellow", "blue", "dim", "bold"]
_CODES: dict[str, int] = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "dim": 2, "bold": 1}
CELL_CHARS_MAX = 100  # a longer cell is cut; --json has it whole


def coloured(stream: TextIO) -> bool:
    """Return whether to colour: a terminal, and nobody said no (https://no-color.org)."""
    return movable(stream) and not os.environ.get("NO_COLOR")


def movable(stream: TextIO) -> bool:
    """Return whether lines can be written over: a terminal that can do more than print."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def paint(text: str, colour: Colour | None, stream: TextIO | None = None) -> str:
    """Return the text in a colour, or as it is where colour is not wanted."""
    if colour is None or not coloured(stream or sys.stdout):
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def say(text: str = "", colour: Colour | None = None) -> None:
    """Print a line for a person."""
    print(paint(text, colour))


def complain(text: str) -> None:
    """Print a line about what is wrong, on standard error."""
    print(paint(text, "red", sys.stderr), file=sys.stderr)


def say_json(value: Any) -> None:
    """Print one JSON document on one line."""
    sys.stdout.write(json_text(value) + "\n")


def json_text(value: Any) -> str:
    """Write a value as JSON; what JSON has no word for as its text."""
    return msgspec.json.encode(value, enc_hook=str).decode()


def as_text(value: Any) -> str:
    """Write a value for a person: a text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json_text(value)


def fault_json(fault: Fault) -> dict[str, Any]:
    """Return a fault as JSON has it."""
    return {"file": str(fault.file), "line": fault.line, "what": fault.what, "hint": fault.hint}


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]], colours: Sequence[Colour | None] = ()) -> None:
    """Print columns as wide as their content, numbers to the right, without those that are empty.

    `colours` are those of the rows.
    """
    columns = [
        [header, *map(_cell, column)]
        for header, column in zip(headers, zip(*rows, strict=True), strict=True)
        if any(value not in (None, "") for value in column)
    ]
    numbers = [
        all(cell[:1].isdecimal() and cell.replace(",", "").isdecimal() for cell in column[1:]) for column in columns
    ]
    widths = [max(map(len, column)) for column in columns]
    for index, row in enumerate(zip(*columns, strict=True)):
        cells = zip(row, widths, numbers, strict=True)
        text = "  ".join(cell.rjust(width) if number else cell.ljust(width) for cell, width, number in cells).rstrip()
        say(text, "bold" if index == 0 else colours[index - 1] if index <= len(colours) else None)


def printable(text: str) -> str:
    """Return a text from outside without what would move the cursor or change the terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def where(file: str, line: int) -> str:
    """Write a place as ``file:line``, short when it is below the folder one is in."""
    if not file:
        return ""
    path = Path(file)
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f"{path}:{line}"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else printable(str(value))
    return text if len(text) <= CELL_CHARS_MAX else text[: CELL_CHARS_MAX - 1] + "…"
