"""Faults of a profile: each names its line and what was probably meant."""

from __future__ import annotations

import pytest

from gateway.document import Document
from gateway.errors import ConfigError
from gateway.profiles.compile import compile_profile

GOOD = """schema = 1
id = "attic"
title = "Attic"
device_class = "thermostat"
[link]
topics = ["attic/{device}"]
[device]
id = "attic:{device}"
[[field]]
name = "temperature"
from = "/t"
unit = "Cel"
"""


def faults(text: str) -> list[str]:
    """Return the faults of a profile as a person sees them."""
    with pytest.raises(ConfigError) as caught:
        compile_profile(Document(text, "attic.toml"))
    return [str(fault) for fault in caught.value.faults]


def test_good_profile_has_none() -> None:
    """The profile the others are made from compiles."""
    assert compile_profile(Document(GOOD, "attic.toml")).source.id == "attic"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('unit = "Cel"', 'unti = "Cel"', "12: unknown key 'unti' (did you mean 'unit'?)"),
        ('unit = "Cel"', 'unit = "[degX]"', "12: unknown unit '[degX]' (did you mean '[degF]'?)"),
        ('unit = "Cel"', 'unit = "mV"', "12: 'mV' is a unit of 'V', not of 'Cel'"),
        ('name = "temperature"', 'name = "temprature"', "10: unknown field 'temprature'"),
        ('"thermostat"', '"termostat"', "4: unknown device_class 'termostat' (did you mean 'thermostat'?)"),
        ("schema = 1", "schema = 2", "1: 'schema': 2 is not one of '1'"),
        ('"attic:{device}"', '"attic:{devise}"', "8: nothing captures {devise} (did you mean 'device'?)"),
        ('"attic:{device}"', '"Attic {device}"', "8: 'Attic {device}': an id is <dialect>:<name>"),
        ('"attic/{device}"', '"attic/+"', "6: 'attic/+' is no topic template"),
        ('"attic/{device}"', '"{device+}"', "6: '{device+}' would subscribe to everything"),
        ('from = "/t"', 'from = "t"', "11: 't' is no JSON pointer: it begins with /"),
        ('from = "/t"', "from = 5", "11: 'from': Expected `str | array`, got `int`"),
        ('unit = "Cel"', 'report = { deadband = -1 }', "12: 'deadband': Expected `float` >= 0.0"),
        ('unit = "Cel"', 'report = { max_silence = "1 hour" }', "12: '1 hour' is no duration"),
        ('unit = "Cel"', 'event = "temperture_changed"', "12: unknown event type 'temperture_changed'"),
        ('unit = "Cel"', 'group = "extra"', "9: no message reads the group 'extra'"),
        ('title = "Attic"\n', "", "missing key 'title'"),
        ("[link]\ntopics", "[links]\ntopics", "5: unknown key 'links' (did you mean 'link'?)"),
    ],
)  # fmt: skip
def test_fault_names_its_line(old: str, new: str, fault: str) -> None:
    """Each mistake is found where it stands, with a hint where there is one."""
    assert old in GOOD
    found = faults(GOOD.replace(old, new, 1))
    assert any(f"attic.toml:{fault}" in one or one == f"attic.toml: {fault}" for one in found), found


def test_all_faults_of_a_file_at_once() -> None:
    """A file with mistakes in several tables lists them all, in order."""
    text = GOOD.replace('"thermostat"', '"x"').replace('unit = "Cel"', 'unit = "y"').replace("attic:{device}", "a:{b}")
    assert [fault.split(":")[1] for fault in faults(text)] == ["4", "8", "12"]


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ('[[message]]\ntopics = ["a/b"]\nkey = "/id"\n', "15: 'key' needs an `event`"),
        ('[[message]]\ntopics = ["a/b"]\nevent = "object_seen"\n', "15: unknown event type 'object_seen'"),
        ('[[message]]\ntopics = ["a/b"]\neach = "/x"\nper = "/y"\n', "16: either `each` or `per`"),
        ('[[message]]\ntopics = ["a/b"]\nfields = "nothing"\n', "15: no [[field]] of the group 'nothing'"),
        ('[[message]]\ntopics = ["a/b"]\nwhen = [{ path = "/x" }]\n', "15: a condition has one of"),
        ('[[command]]\nname = "go"\ntopic = "a"\n', "13: a command has one of `json`, `text`"),
        ('[[command]]\nname = "go"\ntopic = "a"\ntext = "x"\nfield = "temp"\n', "17: no field 'temp' here"),
    ],
)  # fmt: skip
def test_faults_of_messages_and_commands(more: str, fault: str) -> None:
    """Messages and commands are checked for what only together makes sense."""
    assert any(found.startswith(f"attic.toml:{fault}") for found in faults(GOOD + more)), faults(GOOD + more)
