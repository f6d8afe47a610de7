"""`devices adopt|rename|invert|forget` without a running gateway, and what `check` knows of devices."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from gateway.profiles.devices import Devices
from tests.cli.site import Site

RULE = '''\
"""A rule."""

from gateway.rules import rule


@rule("door_opened", device="front-door")
def rings(event, ctx):
    """The front door opened."""
'''


@pytest.fixture
def made(site: Site) -> Site:
    """Return a site with two devices and a rule about one of them."""
    site.write({"rules/rings.py": RULE})
    return site


def devices(site: Site) -> Devices:
    """Return what devices.toml says."""
    return Devices.load(site.folder / "devices.toml")


def test_a_device_is_adopted_by_its_id(made: Site) -> None:
    """Options say it all: nothing is asked, the file has it, and a second time changes what is said."""
    result = made.run("devices", "adopt", "house/z2m:new one", "--unheard", "--room", "bath", "--label", "a")
    assert result.code == 0, result.err
    assert "counts when the gateway starts" in result.out
    found = devices(made).find("new-one")
    assert found is not None
    assert (found.room, found.labels, found.kind) == ("bath", ["a"], None)
    result = made.run("devices", "adopt", "new-one", "--name", "lamp", "--kind", "light", "--json")
    assert json.loads(result.out)["devices"][0]["name"] == "lamp"
    assert "lamp" in made.run("devices", "list", "--names").out.split()


def test_nobody_is_adopted_by_mistake(made: Site) -> None:
    """An id that was never heard, of no source, or misspelt is refused with what to type."""
    before = (made.folder / "devices.toml").read_text()
    result = made.run("devices", "adopt", "house/z2m:nobody")
    assert (result.code, "add --unheard" in result.err) == (1, True)
    result = made.run("devices", "adopt", "huose/z2m:a", "--unheard")
    assert (result.code, "did you mean 'house'" in result.err) == (1, True)
    assert made.run("devices", "adopt", "house/z2m:a", "--unheard", "--name", "front-door").code == 78
    assert made.run("devices", "adopt").code == 1
    assert (made.folder / "devices.toml").read_text() == before


def test_rules_that_would_miss_a_name_are_named_first(made: Site) -> None:
    """A new name is refused with file and line of the rule that knows the old one, unless it is forced."""
    result = made.run("devices", "rename", "front-door", "main-door")
    assert result.code == 78
    assert made.relative(result.err).startswith("rules/rings.py:6: there is no device 'front-door'")
    assert devices(made).find("front-door") is not None
    assert made.run("devices", "forget", "front-door").code == 78
    result = made.run("devices", "rename", "front-door", "main-door", "--force")
    assert (result.code, devices(made).find("front-door")) == (0, None)
    assert made.run("check").code == 78
    assert made.run("devices", "rename", "siren-hall", "siren").code == 0, "no rule names it"


def test_a_contact_is_turned_round_and_back(made: Site) -> None:
    """`invert` writes one line and `--off` takes it out; the rest of the file stays."""
    before = (made.folder / "devices.toml").read_text()
    assert made.run("devices", "invert", "front-door").code == 0
    assert (made.folder / "devices.toml").read_text() == before.replace('"entry"]\n', '"entry"]\ninvert = true\n')
    assert made.run("devices", "invert", "front-door", "--off").code == 0
    assert (made.folder / "devices.toml").read_text() == before


def test_forgetting_data_needs_the_gateway(made: Site) -> None:
    """Last values are in the journal of a running gateway: without one nothing is forgotten, the file neither."""
    result = made.run("devices", "forget", "siren-hall", "--data")
    assert (result.code, "last values are in its journal" in result.err) == (1, True)
    assert devices(made).find("siren-hall") is not None
    assert made.run("devices", "forget", "siren-hall").code == 0
    assert devices(made).find("siren-hall") is None


def test_check_says_what_it_cannot_know(made: Site) -> None:
    """Without devices.toml, a gateway and a journal, names in rules cannot be judged, and `check` says so."""
    (made.folder / "devices.toml").unlink()
    result = made.run("check")
    assert result.code == 0
    assert "whether rules name the right ones cannot be known" in result.out


def test_at_a_terminal_it_asks_what_only_a_person_knows(made: Site) -> None:
    """Without options name, room, kind and labels are asked for; an empty answer takes what is shown, or nothing."""
    ours, theirs = os.openpty()
    words = ["devices", "adopt", "house/z2m:hall/lamp", "--unheard", "--config", str(made.config)]
    try:
        os.write(ours, b"\nhall\n\nentry, evening\n")
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *words], stdin=theirs, capture_output=True, timeout=240, check=False
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0, done.stderr
    assert b"name [hall-lamp]: " in done.stdout
    found = devices(made).find("hall-lamp")
    assert found is not None
    assert (found.room, found.kind, found.labels) == ("hall", None, ["entry", "evening"])
