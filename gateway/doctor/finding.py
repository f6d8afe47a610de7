"""What a check says: one line for a person, and what to type about it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from gateway.codes.code import Code

Level = Literal["ok", "warning", "bad"]  # warning: worth knowing


class Finding(msgspec.Struct, frozen=True):
    """One line. `figures` are the numbers in it for programs, no secrets."""

    level: Level
    text: str
    command: str = ""  # what to type, or to write
    code: str = ""  # EG-nnn
    figures: dict[str, Any] = {}


def ok(text: str, **figures: Any) -> Finding:
    """Say that something is good."""
    return Finding("ok", text, figures=figures)


def note(text: str, command: str = "", code: Code | None = None, **figures: Any) -> Finding:
    """Say something worth knowing: nothing is lost by it now."""
    return Finding("warning", text, command, str(code) if code else "", figures)


def bad(text: str, command: str = "", code: Code | None = None, **figures: Any) -> Finding:
    """Say that something is wrong."""
    return Finding("bad", text, command, str(code) if code else "", figures)
