"""What a start goes without, and what it does not start with."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import last_good
from gateway.config.load import load
from gateway.config.startable import routes_left_out, startable, with_profiles
from gateway.errors import ConfigError

WHOLE = """\
[gateway]
name = "gw"
state = "state"
[sources.house]
listen = "127.0.0.1:1883"
[sources.attic]
listen = "127.0.0.1:1884"
[targets.cloud]
type = "mqtt"
url = "mqtt://cloud.example"
[targets.archive]
type = "http"
url = "https://archive.example/events"
[routes.all]
to = "cloud"
[routes.old]
to = "archive"
lanes = ["telemetry"]
"""


def written(folder: Path, text: str) -> Path:
    """Write a config."""
    (folder / "state").mkdir(exist_ok=True)
    file = folder / "gateway.toml"
    file.write_text(text)
    return file


def parts(file: Path) -> list[str]:
    """Return what a start leaves out."""
    return [f"{part.section} {part.name}".strip() for part in startable(file).left_out]


@pytest.mark.parametrize(
    ("was", "now", "gone"),
    [
        ('listen = "127.0.0.1:1884"', 'listen = "here"', ["sources attic"]),
        ('listen = "127.0.0.1:1884"', 'listen = "127.0.0.1:1884"\nqos = 1', ["sources attic"]),
        ('listen = "127.0.0.1:1884"', 'listen = "127.0.0.1:1883"', ["sources attic"]),
        ('url = "mqtt://cloud.example"', 'url = "mqtt://cloud.example"\nqoss = 1', ["routes all", "targets cloud"]),
        ('type = "http"', 'type = "htpp"', ["routes old", "targets archive"]),
        ('to = "cloud"', 'to = "clod"', ["routes all"]),
        ('lanes = ["telemetry"]', 'lanes = ["telemetri"]', ["routes old"]),
        ('lanes = ["telemetry"]', 'rooms = ["nowhere"]', ["routes old"]),
        ('name = "gw"', 'name = "gw"\nprofiles = ["not-there"]', ["profiles"]),
        ("[routes.old]", "[rules]\ncall_s_max = 'long'\n[routes.old]", ["rules"]),
        ("[routes.old]", "[offfers]\n[routes.old]", ["offfers"]),
    ],
)
def test_one_fault_costs_one_part(tmp_path: Path, was: str, now: str, gone: list[str]) -> None:
    """A part with a fault is left out with its line, and `check` still refuses the whole; the other parts are there."""
    file = written(tmp_path, WHOLE.replace(was, now, 1))
    assert sorted(parts(file)) == gone
    with pytest.raises(ConfigError):
        load(file)
    found = startable(file)
    for section in ("sources", "targets", "routes"):
        named = {part.name for part in found.left_out if part.section == section}
        assert set(getattr(found, section)) == set(getattr(load_whole(tmp_path), section)) - named


def load_whole(folder: Path) -> object:
    """Load the config without a fault."""
    other = folder / "whole"
    other.mkdir(exist_ok=True)
    return load(written(other, WHOLE))


def test_a_config_without_fault_leaves_nothing_out(tmp_path: Path) -> None:
    """What is good is as `load` has it."""
    found = startable(written(tmp_path, WHOLE))
    assert (found.left_out, list(found.routes)) == ((), ["all", "old"])


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ('name = "gw"', "name = "),
        ('name = "gw"', 'name = "gw"\ncommands = "observ"'),
        ("[sources.house]", "[journal]\nbytes_max = 'much'\n[sources.house]"),
        ("[sources.house]", "[jornal]\nbytes_max = '8GB'\n[sources.house]"),
    ],
)
def test_who_and_where_is_not_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was: str, now: str) -> None:
    """With a fault in TOML, in [gateway] or in [journal] there is no start, unless a good config was kept."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    file = written(tmp_path, WHOLE.replace(was, now, 1))
    with pytest.raises(ConfigError):
        startable(file)
    file.write_text(WHOLE)
    assert last_good.keep(load(file), "2026-11-23T19:00:00.000Z")
    file.write_text(WHOLE.replace(was, now, 1))
    found = startable(file)
    assert sorted(found.routes) == ["all", "old"]
    (part,) = found.left_out
    assert str(part).startswith("config as it is now (going by the one of 2026-11-23T19:00:00.000Z): ")
    assert str(file) in str(part)


def test_a_target_left_out_does_not_make_the_other_the_only_one(tmp_path: Path) -> None:
    """With two targets and no route nothing is sent anywhere, also when one of them has a fault."""
    text = WHOLE.partition("[routes.all]")[0].replace("htpp", "http")
    found = startable(written(tmp_path, text.replace('type = "http"', 'type = "htpp"')))
    assert (list(found.targets), dict(found.routes)) == (["cloud"], {})


def test_misspelt_routes_send_nothing_everywhere(tmp_path: Path) -> None:
    """With [route.x] for [routes.x] and one target, not everything goes there: that was not what was meant."""
    text = WHOLE.partition("[targets.archive]")[0] + '[route.alarms]\nto = "cloud"\nlanes = ["alarm"]\n'
    found = startable(written(tmp_path, text))
    assert (dict(found.routes), parts(found.file)) == ({}, ["route"])


def test_the_route_nobody_wrote_is_kept_for(tmp_path: Path) -> None:
    """The one target has a fault: the route to it that no routes mean is named, so that its events are kept."""
    text = WHOLE.partition("[targets.archive]")[0].replace("mqtt://", "mqqt://")
    found = startable(written(tmp_path, text))
    assert routes_left_out(found) == ["cloud"]


def test_one_broken_profile_costs_itself(tmp_path: Path) -> None:
    """A profile with a fault is left out, the shipped ones are read; a source told to read it alone is, too."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "broken.toml").write_text('id = "broken"\nnonsense = 1\n')
    text = WHOLE.replace('name = "gw"', 'name = "gw"\nprofiles = ["mine"]')
    text += '[sources.port]\nserial = "/dev/ttyUSB9"\nprofile = "broken"\n'
    config, catalogue = with_profiles(load(written(tmp_path, text)))
    assert "broken" not in catalogue.profiles
    assert len(catalogue.profiles) > 1
    assert [f"{part.section} {part.name}" for part in config.left_out] == ["profiles broken", "sources port"]
    assert list(config.sources) == ["house", "attic"]
