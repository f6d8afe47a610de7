"""What every profile in device_profiles/ promises: this suite runs over each file, shipped or added."""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.errors import ConfigError
from gateway.profiles import samples
from gateway.profiles.catalogue import BUILTIN, Catalogue, Entry, load_profile
from gateway.profiles.command import commands_of
from gateway.profiles.report import NOTES
from gateway.profiles.vocabulary import KIND_OF_CLASS, event_types, meaning, weight
from tests.profiles.deliveries import decoder

FILES = sorted(BUILTIN.glob("*.toml"))
CATALOGUE = Catalogue.load()
SAMPLES = [
    pytest.param(file.stem, number, sample, id=f"{file.stem}:{number}")
    for file in FILES
    for number, sample in samples.read(samples.sample_file(str(file)))
]
TYPES = {kind.format(kind=word) for kind in event_types() for word in {*KIND_OF_CLASS.values(), "window", "gate"}}
ENTRIES = CATALOGUE.entries({})
CUTS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_file_says_what_it_is_and_is_proved(file: Path) -> None:
    """Each profile loads, names maker and public manual, begins with a comment, and has samples of every outcome."""
    profile = load_profile(file).source
    found = [sample.expect for _, sample in samples.read(samples.sample_file(str(file)))]
    assert profile.maker
    assert profile.manual.startswith("https://")
    assert file.read_text().startswith("# ")
    told = any(expect.get("events") or "learned" in expect.get("ignored", "") for expect in found)
    assert told, "no sample that raises an event or is learned from"
    assert any(expect.get("rejected") for expect in found), "no sample that is rejected"
    assert any(not expect.get("events") and (expect.get("fields") or expect.get("ignored")) for expect in found), (
        "no replay that is silent"
    )


@pytest.mark.parametrize(("profile", "number", "sample"), SAMPLES)
def test_sample_decodes_as_it_says(profile: str, number: int, sample: samples.Sample) -> None:
    """A message decodes to the device, class, fields and events its sample names, or is refused for that reason."""
    got = samples.decode(CATALOGUE, sample)
    assert list(samples.differences(sample, got)) == [], f"{profile}.jsonl:{number}"
    assert got["profile"] in (profile, None)


@pytest.mark.parametrize(("profile", "number", "sample"), SAMPLES)
def test_sample_stays_in_the_vocabulary(profile: str, number: int, sample: samples.Sample) -> None:
    """Fields, classes, units and event types are those of the vocabulary, whatever the dialect calls them."""
    decoded = samples.Heard(CATALOGUE).decode(sample, samples.NOW_NS)
    for reading in decoded.readings:
        assert reading.device_class in KIND_OF_CLASS
        unknown = [name for name in reading.fields if meaning(name) is None]
        assert set(unknown) <= {"mime", "bytes", "sha256", "label"}
    for event in decoded.events:
        assert event.type in TYPES
        for name, value in event.data.items():
            field = meaning(name)
            if field and field.unit and not name.startswith("object."):
                assert event.data["unit"] == field.unit, name
            assert value is not None
        assert msgspec.json.decode(msgspec.json.encode(event.data)) == event.data


@pytest.mark.parametrize(("profile", "number", "sample"), SAMPLES)
def test_every_truncation_is_survived(profile: str, number: int, sample: samples.Sample) -> None:
    """A message cut off anywhere is decoded or refused with a reason; nothing is raised, nothing is half-known."""
    whole = samples.incoming(sample, 0)
    heard = samples.Heard(CATALOGUE)
    for cut in [*(n for n in CUTS if n < len(whole.payload)), max(0, len(whole.payload) - 1)]:
        heard.forget()
        part = base64.b64encode(whole.payload[:cut]).decode()
        decoded = heard.decode(msgspec.structs.replace(sample, payload_b64=part, retain=False), samples.NOW_NS)
        assert decoded.rejected or decoded.ignored or decoded.readings
        if decoded.rejected and not decoded.readings:
            assert decoded.events == []
            assert heard.values == {}


@cache
def alone(profile: str) -> samples.Heard:
    """Return a gateway with one profile."""
    return samples.Heard(Catalogue([CATALOGUE.profiles[profile]]))


def says_less(profile: str, than: str) -> bool:
    """Return whether a profile is of devices of which another one says more."""
    mine, theirs = (CATALOGUE.profiles[name].source.device_class for name in (profile, than))
    return weight(mine) < weight(theirs)


def reads(entry: Entry, topic: str) -> bool:
    """Return whether a message with fields of its own is on this topic."""
    return bool(topic) and entry.message is not None and entry.match(topic.split("/")) is not None


@pytest.mark.parametrize(("profile", "number", "sample"), SAMPLES)
def test_no_two_profiles_claim_it(profile: str, number: int, sample: samples.Sample) -> None:
    """Of the profiles that would read it alone, only the sample's own names the topic as closely as that."""
    claimed = set()
    word = sample.port.partition(":")[0]
    for other in CATALOGUE.profiles:
        if word and word not in CATALOGUE.profiles[other].source.link.ports:
            continue  # a port is read by the profiles that its source names
        if sample.after and says_less(other, profile):
            continue  # a part of what the device says: the profile that it is known by reads it
        heard = alone(other)
        heard.forget()
        if any(reading.fields for reading in heard.decode(sample, samples.NOW_NS).readings):
            claimed.add(other)
    close = {entry.profile: entry.template.specificity for entry in reversed(ENTRIES) if reads(entry, sample.topic)}
    closest = max((close[name] for name in claimed if name in close), default=())
    assert {name for name in claimed if close.get(name, closest) == closest} <= {profile}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_command_encodes(file: Path) -> None:
    """Each command makes a topic and a payload for some sampled device, and refuses what its argument forbids."""
    profile = CATALOGUE.profiles[file.stem]
    encoded = set()
    for _, sample in samples.read(samples.sample_file(str(file))):
        heard = samples.Heard(CATALOGUE)
        for message in [*sample.after, sample]:
            heard.decode(message, samples.NOW_NS)
        made = decoder(CATALOGUE, values=heard.values)
        for device, known in heard.values.items():
            for name, command in commands_of(profile, known[NOTES]).items():
                if known[NOTES].get("profile") != file.stem:
                    continue
                topic, payload = made.encode(device, name, _argument(command.arg))
                assert "{" not in topic
                assert "$" not in topic.removeprefix("$aws/") + payload.decode()
                assert command.json is None or json.loads(payload)
                encoded.add(name)
    assert encoded == set(profile.commands)


def _argument(argument: Any) -> Any:
    if argument is None:
        return None
    if argument.type == "number":
        return argument.min if argument.min is not None else 1
    return {"bool": True, "enum": argument.values[0] if argument.values else "", "text": "x"}[argument.type]


def test_catalogue_reports_the_faults_of_every_file(tmp_path: Path) -> None:
    """A folder with two broken profiles names both, each with its line."""
    (tmp_path / "a.toml").write_text('schema = 1\nid = "a"\nbroken')
    (tmp_path / "b.toml").write_text('schema = 1\nid = "c"\ntitle = "t"\ndevice_class = "thermostta"\n')
    with pytest.raises(ConfigError) as caught:
        Catalogue.load([tmp_path])
    assert {Path(fault.file).name for fault in caught.value.faults} == {"a.toml", "b.toml"}
