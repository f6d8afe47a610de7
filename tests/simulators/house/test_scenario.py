"""A scenario file: what it may say, and how its faults are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from simulators.house.dialects import DIALECTS, dialect_class
from simulators.house.gadget import MODELS
from simulators.house.house import House
from simulators.house.scenario import FAULTS, chosen, fault_of, read, seconds, weekdays

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "simulators" / "scenarios").glob("*.toml"))
SOUND = """\
schema = 1
lasts = "2h"
[[room]]
name = "hall"
[[device]]
name = "front"
dialect = "zigbee2mqtt"
model = "contact"
room = "hall"
[[happening]]
name = "wind"
at = "1h"
device = "front"
set = { open = true }
"""


def faults(tmp_path: Path, text: str) -> list[str]:
    """Return what is said against a scenario."""
    file = tmp_path / "house.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        read(file)
    return [str(fault).removeprefix(f"{tmp_path}/") for fault in raised.value.faults]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_what_is_shipped_is_sound(file: Path) -> None:
    """Every scenario that comes with the program is read without a fault."""
    assert read(file).device


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ('dialect = "zigbee2mqt"', 'dialect = "zigbee2mqtt"', "house.toml:7: no dialect 'zigbee2mqt' (did you mean"),
        ('room = "hal"', 'room = "hall"\n[[happening]]', "house.toml:9: no room 'hal' (did you mean 'hall'?)"),
        ('model = "camera"', 'model = "contact"', "house.toml:8: zigbee2mqtt has no camera here"),
        ('device = "frond"', 'device = "front"', "house.toml:13: no device 'frond' (did you mean 'front'?)"),
        ('at = "soon"', 'at = "1h"', "house.toml:12: 'soon' is not a duration"),
        ("colour = 1", "schema = 1", "house.toml:1: unknown key 'colour'"),
    ],
)
def test_a_fault_has_its_line(tmp_path: Path, wrong: str, right: str, said: str) -> None:
    """What cannot be is named with file and line, and what was probably meant."""
    found = faults(tmp_path, SOUND.replace(right.partition("\n")[0], wrong, 1))
    assert any(fault.startswith(said) for fault in found), found


def test_all_faults_at_once(tmp_path: Path) -> None:
    """Three mistakes are three faults, not the first of them."""
    text = SOUND.replace('room = "hall"', 'room = "hal"').replace('device = "front"', 'device = "x"')
    assert len(faults(tmp_path, text.replace('at = "1h"', 'at = "1 hour"'))) == 3


def test_an_expectation_names_a_moment(tmp_path: Path) -> None:
    """`after` is a duration or the name of a happening; a name that nothing has is a fault."""
    more = '[[expect]]\nevent = "door_opened"\nafter = "{}"\n'
    assert "did you mean 'wind'?" in faults(tmp_path, SOUND + more.format("win"))[0]
    file = tmp_path / "good.toml"
    file.write_text(SOUND + more.format("wind"))
    assert read(file).moment_s("wind") == 3600


def test_words_of_people() -> None:
    """Durations, days and faults of the command line are read as people write them."""
    assert (seconds("1d 6h"), seconds("90s"), seconds("1h30m")) == (108_000, 90, 5400)
    assert weekdays("mon-fri") == frozenset(range(5))
    assert weekdays("fri-mon") == frozenset({4, 5, 6, 0})
    fault = fault_of("garbled@dialect:rflink@10m@1h,share=0.3")
    assert (fault.kind, fault.device, fault.at, fault.lasts, fault.share) == (
        "garbled",
        "dialect:rflink",
        "10m",
        "1h",
        0.3,
    )
    with pytest.raises(ValueError, match="did you mean 'garbled'"):
        fault_of("garbeld")


def test_whom_a_fault_means() -> None:
    """A pattern is of names, of a dialect or of a room."""
    assert chosen("hall/*", "hall/door", "zigbee2mqtt", "hall")
    assert chosen("dialect:zig*", "hall/door", "zigbee2mqtt", "hall")
    assert not chosen("room:bath", "hall/door", "zigbee2mqtt", "hall")


def test_the_catalogue_of_dialects() -> None:
    """There are twenty dialects or more, each with models that exist."""
    assert len(DIALECTS) >= 20
    for name in DIALECTS:
        kind = dialect_class(name)
        assert kind.name == name
        assert kind.models
        assert set(kind.models) <= set(MODELS)
    assert len(set(FAULTS)) == len(FAULTS) >= 25


def test_the_guides_scenario_is_sound(tmp_path: Path) -> None:
    """The scenario that the guide shows is read, and all of it happens."""
    guide = (ROOT / "docs" / "guides" / "test-a-house.md").read_text(encoding="utf-8")
    (text,) = [block for block in re.findall(r"```toml\n(.*?)```", guide, re.DOTALL) if block.startswith("schema")]
    (tmp_path / "left-open.toml").write_text(text, encoding="utf-8")
    scenario = read(tmp_path / "left-open.toml")
    said = [sent.said for sent in House(scenario).upto(scenario.lasts_s)]
    opened = [each for each in said if each.facts.get("house/z2m:hall/door", {}).get("open")]
    assert opened
    assert not all(each.clean for each in said)


def test_the_guide_names_every_dialect_and_fault() -> None:
    """What the guide lists is what there is."""
    guide = (ROOT / "docs" / "guides" / "test-a-house.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w-]+)`", guide))
    assert set(DIALECTS) <= named
    assert set(FAULTS) <= named
