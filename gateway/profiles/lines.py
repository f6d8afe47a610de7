"""How a serial line is set and read when several profiles share it: they have to agree."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from gateway.framing.options import Framing
from gateway.profiles.catalogue import Catalogue


class SerialLine(NamedTuple):
    """What profiles say about their port."""

    baud: int
    mode: str
    framing: Framing


def line_of(catalogue: Catalogue, words: Iterable[str], baud: int | None = None, mode: str | None = None) -> SerialLine:
    """Return the line that the profiles named by words (ids or families) want; `baud` and `mode` overrule them.

    Raises ValueError when one is not for serial ports, or two want different lines; KeyError for a word nobody knows.
    """
    lines: dict[bytes, tuple[str, SerialLine]] = {}
    for name in catalogue.named(words):
        link = catalogue.profiles[name].source.link
        if link.kind != "serial" or link.baud is None or link.framing is None:
            raise ValueError(f"profile {name!r} does not read serial ports")
        line = SerialLine(baud or link.baud, mode or link.mode, link.framing)
        lines.setdefault(msgspec.json.encode(line), (name, line))
    (first, line), *others = lines.values()
    for other, unlike in others:
        what = next(key for key in SerialLine._fields if getattr(line, key) != getattr(unlike, key))
        advice = "" if what == "framing" else f"; if the devices are set alike, write {what} at the source"
        raise ValueError(f"profiles {first!r} and {other!r} have different {what}: they cannot share a port{advice}")
    return line


def check_asking(catalogue: Catalogue, words: Iterable[str], *, asks: bool) -> None:
    """Check that a source with units has profiles with polls, and one without has none. ValueError says what to do."""
    for name in words if asks else catalogue.named(words):
        if name not in catalogue.profiles:
            raise ValueError(f"a unit has one profile, not the family {name!r}")
        polls = bool(catalogue.profiles[name].source.poll)
        if asks and not polls:
            raise ValueError(f"profile {name!r} has no [[poll]]: its devices speak by themselves, write profile = ...")
        if polls and not asks:
            raise ValueError(f"profile {name!r} is of units that are asked: write [[sources.<name>.unit]]")
