"""What a reload does to the parts: those that changed, those that hang on them, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.load import Config, load
from gateway.config.startable import startable
from gateway.reload.credentials import prints, touched
from gateway.reload.plan import Steps, steps

BASE = """
[gateway]
name = "pi"
timezone = "UTC"
[sources.house]
url = "mqtt://localhost"
[sources.attic]
listen = "127.0.0.1:1884"
users = { anna = { file = "anna" } }
[targets.cloud]
type = "mqtt"
url = "mqtts://a.example"
[targets.archive]
type = "http"
url = "https://b.example/events"
[routes.all]
to = "cloud"
[routes.kept]
to = "archive"
"""


def config(folder: Path, *replaced: tuple[str, str], more: str = "") -> Config:
    """Load the base with something replaced."""
    text = BASE
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    (folder / "anna").write_text("secret\n")
    (folder / "gateway.toml").write_text(text + more)
    return load(folder / "gateway.toml")


def planned(folder: Path, *replaced: tuple[str, str], more: str = "") -> Steps:
    """Plan the way from the base."""
    return steps(config(folder), config(folder, *replaced, more=more), touched=())


def parts(found: Steps) -> dict[str, set[str]]:
    """Return the parts that end or begin; those without any are left out."""
    return {name: set(value) for name, value in vars(found).items() if isinstance(value, frozenset) and value}


def test_nothing_is_done_for_nothing(tmp_path: Path) -> None:
    """The same config ends no part and begins none."""
    found = planned(tmp_path)
    assert parts(found) == {}
    assert not any((found.notify, found.http, found.offers, found.history, found.dead_letters))


def test_routes_go_with_their_target(tmp_path: Path) -> None:
    """A target with another address is made anew, with the routes to it; others are left alone."""
    found = planned(tmp_path, ("mqtts://a.example", "mqtts://c.example"))
    assert parts(found) == {
        "targets_ending": {"cloud"},
        "targets_beginning": {"cloud"},
        "routes_ending": {"all"},
        "routes_beginning": {"all"},
    }


def test_another_password_does_not_change_how_devices_are_read(tmp_path: Path) -> None:
    """A source with other options reads as before: what is held back or awaited of its devices stays."""
    found = planned(tmp_path, ("listen = ", "receive_max = 100\nlisten = "))
    assert parts(found) == {"sources_ending": {"attic"}, "sources_beginning": {"attic"}}
    found = planned(tmp_path, ("listen = ", 'prefixes = { zigbee2mqtt = "up" }\nlisten = '))
    assert found.decoders == {"attic"}


def test_a_new_route_is_told_what_was_dropped_by_the_right_one(tmp_path: Path) -> None:
    """With another set of routes the one that tells what was dropped is made anew; dead letters have other ways."""
    found = planned(tmp_path, more='[routes.new]\nto = "archive"\n')
    assert found.routes_beginning == {"new", "all"}
    assert found.routes_ending == {"all"}
    assert found.dead_letters


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ('[notify.anna]\nurl = { env = "ANNA" }\n', "notify"),
        ('[http.sun]\nurl = "https://sun.example"\n', "http"),
        ("[history]\nenabled = false\n", "history"),
        ('[offers]\nsource = "house"\n', "offers"),
        ("[inputs.guests]\ntype = 'boolean'\n", "offers"),
    ],
)
def test_sections_touch_only_what_they_are_about(change: str, part: str, tmp_path: Path) -> None:
    """Recipients, services, history and offers are made anew for their own section, routes and targets never."""
    found = planned(tmp_path, more=change)
    assert [name for name in ("notify", "http", "offers", "history") if getattr(found, name)] == [part]
    assert not found.routes_ending | found.targets_ending
    assert found.sources_ending == ({"house"} if "[offers]" in change else frozenset())


def test_other_contents_of_a_secret_are_noticed(tmp_path: Path) -> None:
    """A password that is replaced in its file is a change of the source that names it, and of no other."""
    same = config(tmp_path)
    before = prints(same)
    assert touched(before, prints(same)) == set()
    (tmp_path / "anna").write_text("other\n")
    assert touched(before, prints(same)) == {"sources.attic"}
    (tmp_path / "anna").unlink()
    assert touched(before, prints(same)) == {"sources.attic"}


@pytest.mark.parametrize("fault", ['[rutes.x]\nto = "cloud"\n', '[targets.other]\ntype = "htpp"\n'])
def test_a_route_that_the_start_left_out_begins(fault: str, tmp_path: Path) -> None:
    """Where a fault kept the one route that nobody wrote from running, a reload without the fault starts it."""
    file = tmp_path / "gateway.toml"
    whole = '[gateway]\nname = "pi"\n[targets.cloud]\ntype = "mqtt"\nurl = "mqtts://a.example"\n'
    file.write_text(whole + fault)
    began = startable(file)
    assert began.routes == {}
    file.write_text(whole)
    assert parts(steps(began, load(file), touched=())) == {"routes_beginning": {"cloud"}}
