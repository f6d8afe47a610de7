"""The same line again and again: the first ones are said, the rest is counted and said once.

The same is: from the same place in the program, by the same template, about the same device, source, route …  A place
that says something about a thousand devices has a limit of its own.  Pure: times come from outside, in seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace

from gateway.logs.line import Line

WINDOW_S = 60.0
LINES_MAX = 10  # of one place about one thing, in a window
PLACE_LINES_MAX = 100  # of one place about anything, in a window
KEYS_MAX = 500  # windows that are open, of places, and of places about things; more close the oldest early


@dataclass(slots=True)
class _Window:
    began_s: float
    said: int = 0
    counted: int = 0
    last: Line | None = None


Windows = OrderedDict[Hashable, _Window]


class Repeats:
    """Decides which lines are said."""

    def __init__(self) -> None:
        self._things: Windows = OrderedDict()  # the oldest first
        self._places: Windows = OrderedDict()

    def __len__(self) -> int:
        return len(self._things) + len(self._places)

    def take(self, template: str, line: Line, now_s: float) -> Iterator[Line]:
        """Yield the lines to be said now: those that sum up what is over, and this one if it is not one too many."""
        yield from self.over(now_s)
        name = (*line.place[:2], template)
        place = self._places.setdefault(name, _Window(now_s))
        thing = place
        if place.said < PLACE_LINES_MAX:
            thing = self._things.setdefault((*name, *sorted(line.about.items())), _Window(now_s))
        if thing.said < (PLACE_LINES_MAX if thing is place else LINES_MAX):
            thing.said += 1
            place.said += 1
            yield line
        else:
            thing.counted += 1
            thing.last = line
        for windows in (self._things, self._places):
            while len(windows) > KEYS_MAX:
                yield from _summary(windows.popitem(last=False)[1], now_s)

    def over(self, now_s: float) -> Iterator[Line]:
        """Yield what sums up windows that are over."""
        for windows in (self._things, self._places):
            while windows and now_s - next(iter(windows.values())).began_s >= WINDOW_S:
                yield from _summary(windows.popitem(last=False)[1], now_s)

    def close(self, now_s: float) -> Iterator[Line]:
        """Yield what sums up all windows: the log ends, or its form changes."""
        for windows in (self._things, self._places):
            while windows:
                yield from _summary(windows.popitem(last=False)[1], now_s)


def _summary(window: _Window, now_s: float) -> Iterator[Line]:
    if window.last is not None:
        first = window.last.message.partition("\n")[0]
        passed_s = max(1, round(now_s - window.began_s))
        yield replace(window.last, message=f"{first} … {window.counted:,} more in {passed_s} s", stack="")
