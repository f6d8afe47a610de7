"""Routes: which events go where."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest

from gateway.routes import PARKED_MAX, Route, Selection, only_target, unknown_words


@dataclass
class Device:
    """What devices.toml would say."""

    room: str | None = None
    kind: str | None = None
    labels: tuple[str, ...] = ()


HOUSE = {
    "house/z2m:a": Device("hall", "door", ("entry", "outside")),
    "house/z2m:b": Device("cellar", "window"),
    "house/frigate:cam": Device(),
}


def taken(route: Route) -> set[tuple[str, str]]:
    """Return which of some events a route takes, as (type, end of the device's id)."""
    selection = Selection(route, HOUSE.get)
    types = ("door_opened", "temperature_changed", "snapshot_taken")
    return {(kind, device[-1]) for kind in types for device in HOUSE if selection.takes(kind, device)}


@pytest.mark.parametrize(
    ("selectors", "types", "devices"),
    [
        ({}, "dts", "abm"),
        ({"types": ("door_*",)}, "d", "abm"),
        ({"types": ("door_*", "snapshot_taken")}, "ds", "abm"),
        ({"types": ("!snapshot_*",)}, "dt", "abm"),
        ({"types": ("*", "!snapshot_*")}, "dt", "abm"),
        ({"devices": ("house/z2m:*",)}, "dts", "ab"),
        ({"devices": ("house/z2m:[ab]", "!*:b")}, "dts", "a"),
        ({"rooms": ("hall", "attic")}, "dts", "a"),
        ({"rooms": ("!cellar",)}, "dts", "am"),
        ({"kinds": ("window",)}, "dts", "b"),
        ({"labels": ("entry",)}, "dts", "a"),
        ({"labels": ("!entry",)}, "dts", "bm"),
        ({"types": ("door_opened",), "rooms": ("hall",)}, "d", "a"),
        ({"rooms": ("hall",), "kinds": ("window",)}, "", ""),
    ],
)
def test_selectors(selectors: dict[str, tuple[str, ...]], types: str, devices: str) -> None:
    """One value of each selector must fit, `!` excludes, and all selectors must hold."""
    assert taken(Route(to="x", **selectors)) == {
        (kind, device) for kind in ("door_opened", "temperature_changed", "snapshot_taken") if kind[0] in types
        for device in devices
    }  # fmt: skip


def test_without_selectors_nothing_is_looked_at() -> None:
    """A route without selectors is known to take everything."""
    assert Selection(Route(to="x")).takes_all
    assert not Selection(Route(to="x", labels=("entry",))).takes_all


def test_a_changed_installation_is_asked_again() -> None:
    """After `installed` a device that moved is judged anew."""
    house = dict(HOUSE)
    selection = Selection(Route(to="x", rooms=("hall",)), house.get)
    assert not selection.takes("door_opened", "house/z2m:b")
    house["house/z2m:b"] = Device("hall")
    selection.installed(())
    assert selection.takes("door_opened", "house/z2m:b")


def test_a_device_nobody_described_fits_no_wanted_room() -> None:
    """An unknown device is in no room and has no label, so a route that wants one does not take it."""
    selection = Selection(Route(to="x", rooms=("hall",)), HOUSE.get)
    assert not selection.takes("door_opened", "house/z2m:new")
    assert Selection(Route(to="x", rooms=("!hall",)), HOUSE.get).takes("door_opened", "house/z2m:new")


def test_one_target_and_no_routes_means_everything_to_it() -> None:
    """The default route exists for exactly one target."""
    assert only_target(["cloud"]) == {"cloud": Route(to="cloud")}
    assert only_target([]) == only_target(["a", "b"]) == {}


def test_names_that_do_not_exist_are_found() -> None:
    """A misspelt room is reported with what was probably meant; globs and known words are not."""
    route = Route(to="x", rooms=("hal", "cellar", "h*"), labels=("!entri",))
    known = {"rooms": {"hall", "cellar"}, "labels": {"entry"}}
    assert unknown_words(route, known) == [
        ("rooms", "hal", "did you mean 'hall'?"),
        ("labels", "!entri", "did you mean 'entry'?"),
    ]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"to": "x", "lanes": []}, "at least one"),
        ({"to": "x", "lanes": ["dead_letter"]}, "Invalid enum value"),
        ({"to": "x", "window_max": 0}, "window_max is at least 1"),
        ({"to": "x", "parked_max": PARKED_MAX + 1}, "at most"),
        ({"to": "x", "drain_per_s": 0.0}, "more than 0"),
        ({"to": "x", "dropped_every_s": -1.0}, "at least 0"),
        ({"to": "x", "rooom": []}, "unknown field"),
        ({}, "missing required field `to`"),
    ],
)
def test_a_route_that_cannot_work_is_refused(wrong: dict[str, object], words: str) -> None:
    """A wrong route is refused with words that say what is wrong."""
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert(wrong, Route)
