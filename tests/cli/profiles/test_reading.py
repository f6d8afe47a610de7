"""`profiles list`, `decode` and `test`, as a person runs them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROFILE = """# A made-up sensor.
schema = 1
id = "attic"
title = "Attic sensor"
maker = "Nobody"
manual = "https://example.org"
device_class = "temperature_sensor"
[link]
topics = ["attic/{device}"]
[device]
id = "attic:{device}"
[[field]]
name = "temperature"
from = "/t"
unit = "[degF]"
"""


def run(*words: str, text: str = "", code: int = 0) -> str:
    """Run the command in a process of its own; return its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "profiles", *words, "--config", "/nowhere.toml"],
        input=text.encode("utf-8", "surrogateescape"),
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == code, done.stderr.decode()
    return done.stdout.decode() + done.stderr.decode()


def decode(*messages: Any) -> list[dict[str, Any]]:
    """Decode messages; text is taken as a line as it stands."""
    lines = [message if isinstance(message, str) else json.dumps(message) for message in messages]
    return [json.loads(line) for line in run("decode", text="\n".join(lines) + "\n").splitlines()]


def test_decode_prints_one_line_for_each() -> None:
    """Each message has its line: device, class, profile, fields, events, or the reason it is refused."""
    press = {"topic": "home/gw/433toMQTT", "payload": {"value": 5592405, "protocol": 1}}
    first, second, contact, text, again, down = decode(
        press,
        press,
        {"topic": "zigbee2mqtt/front door", "payload": {"contact": False, "battery": 90}},
        {"topic": "shellies/shellydw2-1/sensor/state", "payload": "open", "qos": 1, "source": "anything"},
        {"topic": "zigbee2mqtt/front door", "payload": '{"contact":false,"battery":90}'},
        {"topic": "nobody/knows", "payload": "x"},
    )
    assert contact == {
        "device": "front door",
        "id": "z2m:front door",
        "device_class": "contact_sensor",
        "profile": "zigbee2mqtt-contact",
        "fields": {"open": True, "battery": 90},
        "events": ["door_opened", "battery_changed"],
        "rejected": None,
    }
    assert (text["fields"], text["events"]) == ({"open": True}, ["door_opened"])
    assert again == contact  # nothing is remembered from line to line
    assert first == second
    assert second["events"] == ["button_pressed"]  # no repeat of another line, either
    assert (down["device"], down["rejected"]) == (None, "no profile claims this topic")


def test_decode_survives_hostile_lines() -> None:
    """Lines that are not JSON, not UTF-8, no object or no base64 are refused, and the next line is decoded."""
    picture = base64.b64encode(b"\xff\xd8\xff\xe0rest").decode()
    got = decode(
        "not json",
        "[1]",
        '"text"',
        '{"topic": 5}',
        '{"topic": "a", "payload_b64": "%%"}',
        '{"topic": "zigbee2mqtt/a", "payload": "\\ud800"}',
        '{"topic": "zigbee2mqtt/a\\u0000", "payload": {"contact": true}}',
        '{"topic": "zigbee2mqtt/a", "payload": ' + "[" * 100_000 + "]" * 100_000 + "}",
        json.dumps({"topic": "zigbee2mqtt/a", "payload": "x" * 10_000_000}),
        '{"port": "tty", "payload": ""}',
        "\udcff\udcfe",
        {"topic": "frigate/a/person/snapshot", "payload_b64": picture},
        {"topic": "frigate/a/person/snapshot", "payload_b64": picture, "retain": True},
    )
    assert all(line["rejected"] for line in got[:11])
    assert got[11]["events"] == ["snapshot_taken"]
    assert (got[12]["events"], got[12]["rejected"], "retained" in got[12]["ignored"]) == ([], None, True)


def test_test_passes_for_what_is_shipped() -> None:
    """All shipped samples match, in text and in JSON."""
    assert "does not match" not in run("test")
    report = json.loads(run("test", "zigbee2mqtt-contact", "--json"))
    assert report["profiles"][0]["samples"] > 5
    assert report["profiles"][0]["mismatches"] == []


def test_test_shows_what_differs(tmp_path: Path) -> None:
    """A sample that does not match is shown with file, line and each difference; the exit code is 1."""
    (tmp_path / "attic.toml").write_text(PROFILE)
    (tmp_path / "samples").mkdir()
    sample = {
        "topic": "attic/a",
        "payload": {"t": 68},
        "expect": {"device": "a", "fields": {"temperature": 68}, "events": []},
    }
    (tmp_path / "samples" / "attic.jsonl").write_text("\n" + json.dumps(sample) + "\n")
    out = run("test", str(tmp_path / "attic.toml"), code=1)
    assert "attic.jsonl:2: does not match" in out
    assert "fields: temperature = 20.0, expected 68" in out
    assert 'events: ["temperature_changed"], expected []' in out
    assert json.loads(run("test", "attic", "--profiles", str(tmp_path), "--json", code=1))["profiles"][0]["mismatches"]


def test_test_without_samples_or_profile(tmp_path: Path) -> None:
    """A profile without samples fails; a name nobody knows is a usage error with a hint."""
    (tmp_path / "attic.toml").write_text(PROFILE)
    assert "no samples" in run("test", str(tmp_path / "attic.toml"), code=1)
    assert "did you mean 'tasmota'?" in run("test", "tasmotta", code=2)


def test_faults_of_a_profile_are_configuration(tmp_path: Path) -> None:
    """A broken profile is named with file and line, and the exit code says configuration."""
    (tmp_path / "attic.toml").write_text(PROFILE.replace("unit", "unti"))
    out = run("test", str(tmp_path / "attic.toml"), code=78)
    assert "attic.toml:15: unknown key 'unti' (did you mean 'unit'?)" in out


@pytest.mark.parametrize("words", [("list",), ("list", "--json")])
def test_list_names_every_profile(words: tuple[str, ...]) -> None:
    """The list has every shipped profile, with how many samples prove it."""
    out = run(*words)
    assert "zigbee2mqtt-thermostat" in out
    if "--json" in words:
        assert all(row["samples"] for row in json.loads(out)["profiles"])
