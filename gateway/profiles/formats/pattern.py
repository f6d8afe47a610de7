"""``pattern``: lines of fixed words with typed gaps: ``"!RFX:{serial},{flags:bytes}"``, ``"DOOR {state:word}"``.

A pattern is a row of literals and captures, matched from left to right without ever going back: a capture with a width
(``{zone:int*3}``) takes so many characters, any other ends where the literal after it begins the next time, or at the
end of the line. So a match takes time linear in the line, whatever the line says. A line with the words of a pattern
and a capture that cannot be read is refused; only a pattern that begins with a capture lets later ones try.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple, get_args

import msgspec

from gateway.errors import DecodeError
from gateway.profiles.formats.cells import Cell, Kind, cell, shown
from gateway.profiles.formats.table import Parse, Table, line_of

PATTERNS_MAX = 64  # of one table
PIECES_MAX = 64  # literals and captures of one pattern

_CAPTURE = re.compile(r"\{([^{}]*)\}")
_INNER = re.compile(r"(?P<name>[a-z_][a-z0-9_]*)(?P<empty>\?)?(?::(?P<kind>[a-z-]+))?(?:\*(?P<width>[0-9]{1,3}))?")


class Pattern(Table, frozen=True, tag="pattern"):
    """Lines by name: the first pattern that fits is the document's `line`."""

    lines: Annotated[dict[str, str], msgspec.Meta(min_length=1, max_length=PATTERNS_MAX)]

    def reader(self) -> Parse:
        """Compile. ValueError for a pattern that cannot be matched in one way only."""
        patterns = [(name, Pieces(text)) for name, text in self.lines.items()]

        def parse(payload: bytes) -> dict[str, Any]:
            line = line_of(payload)
            why = ""
            for name, pieces in patterns:
                found = pieces.match(line)
                if found.__class__ is dict:
                    return {"line": name, **found}
                if found and pieces.start:
                    raise DecodeError(str(found))  # garbled: no later pattern is to take it for something else
                why = why or str(found)
            raise DecodeError(why or f"{shown(line)} is like none of {', '.join(self.lines)}")

        return parse


class Gap(NamedTuple):
    """One capture, and the literal after it ("" at the end of the line)."""

    name: str
    read: Cell
    width: int  # 0: up to `until`
    empty: bool
    until: str


class Pieces:
    """One pattern, compiled."""

    def __init__(self, text: str) -> None:
        """Compile. Raises ValueError with what is wrong."""
        pieces = _CAPTURE.split(text)
        if len(pieces) > 2 * PIECES_MAX:
            raise ValueError(f"{text!r}: more than {PIECES_MAX} captures")
        if any("{" in piece or "}" in piece for piece in pieces[::2]):
            raise ValueError(f"{text!r}: captures are {{name}}, {{name:int}}, {{name:int*3}}")
        self.start = pieces[0]
        self.gaps = tuple(_gap(text, pieces[i], pieces[i + 1]) for i in range(1, len(pieces), 2))
        for gap, after in zip(self.gaps, self.gaps[1:], strict=False):
            if not gap.width and not gap.until:
                raise ValueError(f"{text!r}: where {{{gap.name}}} ends before {{{after.name}}} begins nobody can tell")
        names = [gap.name for gap in self.gaps]
        if len(names) != len(set(names)):
            raise ValueError(f"{text!r}: a capture's name may stand once")

    def match(self, line: str) -> dict[str, Any] | str:
        """Return what was captured; or why a line that has the pattern's words is still none of it; or ""."""
        if not line.startswith(self.start):
            return ""
        found: dict[str, Any] = {}
        at = len(self.start)
        wrong = ""
        for gap in self.gaps:
            end = at + gap.width if gap.width else line.find(gap.until, at) if gap.until else len(line)
            if end < at or end > len(line) or not line.startswith(gap.until, end) or (end == at and not gap.empty):
                return ""
            try:
                found[gap.name] = gap.read(line[at:end])
            except DecodeError as error:
                wrong = wrong or f"{gap.name}: {error}"
            at = end + len(gap.until)
        if at != len(line):
            return ""
        return wrong or found


def _gap(pattern: str, inner: str, until: str) -> Gap:
    parts = _INNER.fullmatch(inner)
    kind: Any = (parts["kind"] or "text") if parts else ""
    if parts is None or kind not in get_args(Kind):
        raise ValueError(f"{pattern!r}: {{{inner}}} is no capture; its types are {', '.join(get_args(Kind))}")
    return Gap(parts["name"], cell(kind), int(parts["width"] or 0), bool(parts["empty"]), until)
