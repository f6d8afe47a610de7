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


def line_of(catalogue: Catalogue, words: Iterable[str]) -> SerialLine:
    """Return the line that the profiles named by words (ids or families) want.

    Raises ValueError when one is not for serial ports, or two want different lines; KeyError for a word nobody knows.
    """
    lines: dict[bytes, tuple[str, SerialLine]] = {}
    for name in catalogue.named(words):
        link = catalogue.profiles[name].source.link
        if link.kind != "serial" or link.baud is None or link.framing is None:
            raise ValueError(f"profile {name!r} does not read serial ports")
        line = SerialLine(link.baud, link.mode, link.framing)
        lines.setdefault(msgspec.json.encode(line), (name, line))
    (first, line), *others = lines.values()
    for other, unlike in others:
        what = next(key for key in SerialLine._fields if getattr(line, key) != getattr(unlike, key))
        raise ValueError(f"profiles {first!r} and {other!r} have different {what}: they cannot share a port")
    return line
