"""The same line again and again: the first ones are said, the rest is counted and said once.

The same is: from the same place in the program, by the same template, about the same device, source, route …  A place
that says something about a thousand devices has a limit of its own.  Pure: times come from outside, in seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

WINDOW_S = 60.0
LINES_MAX = 10  # of one place about one thing, in a window
PLACE_LINES_MAX = 100  # of one place about anything, in a window
KEYS_MAX = 500  # windows that are open, of places, and of places about things; more close the oldest early


T = TypeVar("T")


class Said(NamedTuple, Generic[T]):
    """What is to be said: a record as it is, or for the last of several how many there were in how many seconds."""

    record: T
    more: int = 0
    seconds: int = 0


@dataclass(slots=True)
class _Window(Generic[T]):
    began_s: float
    said: int = 0
    counted: int = 0
    last: T | None = None


class Repeats(Generic[T]):
    """Decides which records are said, before anything is made of them."""

    def __init__(self) -> None:
        self._things: OrderedDict[Hashable, _Window[T]] = OrderedDict()  # the oldest first
        self._places: OrderedDict[Hashable, _Window[T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._things) + len(self._places)

    def take(self, place: Hashable, about: Hashable, record: T, now_s: float) -> Iterator[Said[T]]:
        """Yield what is to be said now: what sums up windows that are over, and this one if it is not one too many."""
        yield from self.over(now_s)
        window = of_place = self._places.setdefault(place, _Window(now_s))
        room = of_place.said < PLACE_LINES_MAX
        if room:
            window = self._things.setdefault((place, about), _Window(now_s))
            room = window.said < LINES_MAX
        if room:
            window.said += 1
            of_place.said += 1
            yield Said(record)
        else:
            window.counted += 1
            window.last = record
        for windows in (self._things, self._places):
            while len(windows) > KEYS_MAX:
                yield from _summary(windows.popitem(last=False)[1], now_s)

    def over(self, now_s: float) -> Iterator[Said[T]]:
        """Yield what sums up windows that are over."""
        for windows in (self._things, self._places):
            while windows and now_s - next(iter(windows.values())).began_s >= WINDOW_S:
                yield from _summary(windows.popitem(last=False)[1], now_s)

    def close(self, now_s: float) -> Iterator[Said[T]]:
        """Yield what sums up all windows: the log ends, or its form changes."""
        for windows in (self._things, self._places):
            while windows:
                yield from _summary(windows.popitem(last=False)[1], now_s)


def _summary(window: _Window[T], now_s: float) -> Iterator[Said[T]]:
    if window.last is not None:
        yield Said(window.last, window.counted, max(1, round(now_s - window.began_s)))
