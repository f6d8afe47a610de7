"""Repeats: the same thing said again within a short time, by a radio that sends eight times or on a second topic.

Change detection silences repeated state by itself; this is for what is an event each time (a button, a detection),
and for radio frames that would be decoded again and again. The first one counts and opens the window; who goes on
repeating is heard again when it is over. Windows are forgotten by a restart. Something else of the same device ends
its windows: what a broker kept comes in one burst, and open, closed, open is no repeat.

Bounds: `REPEATS_MAX` windows of one source and as many devices, the one opened longest ago goes first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from gateway.profiles.pointer import ABSENT, Read
from gateway.profiles.template import Segment

REPEATS_MAX = 4_096


class CompiledDedup(NamedTuple):
    """What makes two messages the same, and for how long. No key: all but what is ignored."""

    window_ns: int
    text: str
    key: tuple[Read, ...]
    ignore: tuple[tuple[Segment, ...], ...]

    def of(self, document: Any) -> Any:
        """Return what is compared."""
        if self.key:
            return [None if (value := read(document)) is ABSENT else value for read in self.key]
        for segments in self.ignore:
            document = _without(document, segments)
        return document


class Repeats:
    """The windows of one source."""

    def __init__(self) -> None:
        """Begin with none open."""
        self._opened: dict[bytes, int] = {}
        self._delivery: object = None  # the last one, and the windows it opened: its other messages are no repeats
        self._mine: set[bytes] = set()
        self._number = 0  # of deliveries
        self._newest: dict[tuple[str, ...], tuple[int, set[bytes]]] = {}  # whose -> delivery that counted last, windows
        self.count = 0  # repeats so far

    def again(
        self, spec: CompiledDedup, whose: Sequence[str], document: Any, at_ns: int, delivery: object = None
    ) -> bool:
        """Return whether this was said before, within the window and by another delivery; else it opens one."""
        if delivery is not self._delivery or delivery is None:
            self._delivery, self._mine = delivery, set()
            self._number += 1
        said = f"{whose!r}{spec.of(document)!r}".encode("utf-8", "surrogatepass")
        key = hashlib.blake2b(said, digest_size=12).digest()
        if key in self._mine:
            return False
        owner = tuple(whose)
        number, newest = self._newest.get(owner, (0, set[bytes]()))
        since = self._opened.pop(key, None)
        if since is not None and key in newest and 0 <= at_ns - since < spec.window_ns:  # < 0: the clock stepped back
            self._opened[key] = since
            self.count += 1
            return True
        self._opened[key] = at_ns
        self._mine.add(key)
        self._newest.pop(owner, None)
        self._newest[owner] = (self._number, newest | {key} if number == self._number else {key})
        while len(self._newest) > REPEATS_MAX:
            del self._newest[next(iter(self._newest))]
        while len(self._opened) > REPEATS_MAX:
            del self._opened[next(iter(self._opened))]
        return False


def _without(document: Any, segments: tuple[Segment, ...]) -> Any:
    if not segments or document.__class__ is not dict:
        return document
    first, rest = segments[0], segments[1:]
    left = {}
    for key, value in document.items():
        if first.match(key) is None:
            left[key] = value
        elif rest:
            left[key] = _without(value, rest)
    return left
