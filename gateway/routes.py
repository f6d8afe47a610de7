"""Which events go to which target.

::

    [routes.alarms]
    to = "cloud"
    lanes = ["alarm"]
    [routes.cellar]
    to = "archive"
    types = ["*", "!snapshot_*"]     # any type but snapshots
    rooms = ["cellar", "boiler room"]

Each selector is a list: one of its values must fit, and every selector given must.  A value is a glob (``*``, ``?``,
``[ab]``); one that begins with ``!`` excludes what the others let in.  ``rooms``, ``kinds`` and ``labels`` ask the
installation (devices.toml).  No routes and one target means: everything to it, alarms first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from fnmatch import fnmatchcase
from typing import Literal, Protocol

import msgspec

from gateway.errors import probably_meant
from gateway.event import ROUTED, Lane
from gateway.topic import check_template

CACHE_ENTRIES_MAX = 10_000  # (type, device) pairs whose verdict is remembered
GLOB_CHARS = frozenset("*?[")


class Described(Protocol):
    """What the installation knows of a device, as far as routes ask."""

    @property
    def room(self) -> str | None: ...  # noqa: D102
    @property
    def kind(self) -> str | None: ...  # noqa: D102
    @property
    def labels(self) -> Collection[str]: ...  # noqa: D102


Lookup = Callable[[str], Described | None]
"""Device id -> what the installation says of it."""


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way out: which events, to which target, at what pace."""

    to: str  # the target's name
    lanes: tuple[Literal["alarm", "telemetry"], ...] = ("alarm", "telemetry")
    types: tuple[str, ...] = ()  # of events: "door_*", "!snapshot_taken"; none given: any
    devices: tuple[str, ...] = ()  # their ids, as in `devices list`
    rooms: tuple[str, ...] = ()  # of devices.toml
    kinds: tuple[str, ...] = ()  # of devices.toml: "door", "window", "freezer" ...
    labels: tuple[str, ...] = ()  # of devices.toml; one of the device's labels must fit
    topic: str = ""  # of events on this route, as "site/{device}/{type}"; default: the target's (MQTT)
    start: Literal["oldest", "newest"] = "oldest"  # a new route begins with what is kept, or with what comes
    order: Literal["device", "fresh"] = "device"  # behind an outage: each device in order, or what is new first
    window_max: int = 1000  # events sent and not yet over on the disk: what a kill may repeat
    drain_per_s: float | None = None  # events a second of a backlog; slows no alarm, and with "fresh" nothing live
    replayed_after_s: float = 10.0  # an outage as long as this marks what waited as `replayed`
    dropped_every_s: float = 300.0  # an `events_dropped` event of one counter at most so often
    retry_first_s: float = 1.0  # full jitter: a wait is uniform in 0..min(longest, first * 2**failures)
    retry_longest_s: float = 60.0  # between two tries
    refused_retry_s: float = 60.0  # how often a target that refuses us (401, 404 ...) is asked again
    retries_max: int = 3  # an event that others pass this often is parked, so that nothing waits behind it
    parked_max: int = 32  # events in the retry list
    attempts_max: int = 10  # of a parked event while others pass; then it is a dead letter

    def __post_init__(self) -> None:
        if self.topic:
            check_template(self.topic)
        if not self.lanes:
            raise ValueError('lanes: at least one of "alarm", "telemetry"')
        for name, least in (("window_max", 1), ("retries_max", 1), ("parked_max", 1), ("attempts_max", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is at least {least}")
        if self.parked_max > PARKED_MAX:
            raise ValueError(f"parked_max is at most {PARKED_MAX}")
        if self.dropped_every_s < 0:
            raise ValueError("dropped_every_s is at least 0")
        if self.drain_per_s is not None and self.drain_per_s <= 0:
            raise ValueError("drain_per_s is more than 0; leave it out for no limit")

    @property
    def reads(self) -> tuple[Lane, ...]:
        """Return the lanes in the order they leave: alarms first."""
        return tuple(lane for lane in ROUTED if lane.name.lower() in self.lanes)


PARKED_MAX = 48  # leaves ranges of the cursor (64) for what is in flight


class Selection:
    """A route's selectors, made ready: `takes` answers for one event."""

    def __init__(self, route: Route, lookup: Lookup | None = None) -> None:
        self.topic = route.topic
        self._types = _Globs(route.types)
        self._devices = _Globs(route.devices)
        self._rooms, self._kinds, self._labels = _Globs(route.rooms), _Globs(route.kinds), _Globs(route.labels)
        self._lookup = lookup
        self._asks_installation = any((route.rooms, route.kinds, route.labels))
        self._known: dict[tuple[str, str], bool] = {}
        self.takes_all = not (route.types or route.devices or self._asks_installation)

    def takes(self, event_type: str, device: str) -> bool:
        """Return whether the route carries an event of this type and device."""
        key = (event_type, device)
        verdict = self._known.get(key)
        if verdict is None:
            if len(self._known) >= CACHE_ENTRIES_MAX:
                self._known.clear()
            verdict = self._known[key] = self._judge(event_type, device)
        return verdict

    def installed(self, devices: Iterable[str]) -> None:
        """Ask again: the installation has changed. `devices` are the route's, by the ids they have now."""
        self._devices = _Globs(devices)
        self._known.clear()

    def _judge(self, event_type: str, device: str) -> bool:
        if not (self._types.fit((event_type,)) and self._devices.fit((device,))):
            return False
        if not self._asks_installation:
            return True
        found = self._lookup(device) if self._lookup else None
        room, kind = (found.room or "", found.kind or "") if found else ("", "")
        labels = tuple(found.labels) if found else ()
        return self._rooms.fit((room,)) and self._kinds.fit((kind,)) and self._labels.fit(labels)


class _Globs:
    """One selector: what it wants and what it excludes."""

    def __init__(self, values: Iterable[str]) -> None:
        values = tuple(values)
        self._wanted = tuple(value for value in values if not value.startswith("!"))
        self._excluded = tuple(value[1:] for value in values if value.startswith("!"))

    def fit(self, words: Collection[str]) -> bool:
        """Return whether one of `words` is wanted (or nothing in particular is) and none is excluded."""
        wanted = not self._wanted or any(fnmatchcase(word, glob) for word in words for glob in self._wanted)
        return wanted and not any(fnmatchcase(word, glob) for word in words for glob in self._excluded)


def only_target(targets: Collection[str]) -> dict[str, Route]:
    """Return the route that no routes mean: everything to the one target, under its name. None or many: no route."""
    return {name: Route(to=name) for name in targets} if len(targets) == 1 else {}


def unknown_words(route: Route, known: dict[str, Collection[str]]) -> list[tuple[str, str, str | None]]:
    """Return (selector, value, what was probably meant) for each value without wildcards that names nothing.

    `known` has the words by selector: ``{"rooms": {...}, "kinds": ..., "labels": ..., "devices": ...}``.
    """
    unknown = []
    for selector, words in known.items():
        for value in getattr(route, selector):
            word = value.removeprefix("!")
            if not GLOB_CHARS & set(word) and word not in words:
                unknown.append((selector, value, probably_meant(word, words)))
    return unknown
