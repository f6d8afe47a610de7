"""A support bundle of a running house full of secrets: none of them is in it, and what helps is."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from paho.mqtt import publish

from simulators.processes import Session, free_port
from tests.cli.site import Result, command
from tests.mqtt.authority import Authority
from tests.support.planted import DOOR, PLANTED, ROOM, log_lines, write
from tests.system.rig import until

READY_S = 60.0
NOT_IN_TIME = "could not be found out"
AT_QOS_0 = "zigbee2mqtt/back-door"


class House:
    """A gateway that runs in a folder, and how to ask it."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.folder = folder
        port = free_port()
        certificate, plain = authority.issue("house-of-anna")
        key = folder / "gateway.key"
        word = "pass:" + PLANTED["file of a key password"]
        arguments = ["openssl", "ec", "-in", str(plain), "-aes128", "-passout", word, "-out", str(key)]
        subprocess.run(arguments, check=True, capture_output=True)
        self.key_line = plain.read_text().splitlines()[1]
        environment = write(folder, port, free_port(), certificate, key)
        programs = folder / "bin"  # a machine without systemd: its log is read from a file, by the name of the program
        programs.mkdir()
        (folder / "lines").write_text(log_lines() + key.read_text() + plain.read_text())
        (programs / "journalctl").write_text(f"#!/bin/sh\ncat '{folder}/lines' '{folder}/gateway.log'\n")
        (programs / "journalctl").chmod(0o755)
        self.environment = {"PATH": f"{programs}:{os.environ['PATH']}"}
        argv = [sys.executable, "-m", "gateway", "run", "--config", str(folder / "gateway.toml")]
        self.session = Session(argv, folder / "gateway.log", env={**os.environ, **environment})
        self._feed(port)

    def _feed(self, port: int) -> None:
        """Publish a value that is a secret, and one nobody understands, as soon as somebody listens."""
        user = {"username": "anna", "password": PLANTED["file of a user of the listener"]}
        messages = {
            AT_QOS_0: json.dumps({"contact": False, "battery": 97}),
            "shellies/shellydw-1/sensor/state": "open",
            "tele/keypad/SENSOR": json.dumps({"code": PLANTED["value of a device"]}),
            "shellies/shellydw-1/sensor/battery": PLANTED["payload nobody understands"],
        }
        end = time.monotonic() + READY_S
        for topic, payload in messages.items():
            while True:
                try:
                    publish.single(
                        topic, payload, qos=0 if topic == AT_QOS_0 else 1, hostname="127.0.0.1", port=port, auth=user
                    )  # type: ignore[arg-type]
                    break
                except OSError:
                    assert time.monotonic() < end, (self.folder / "gateway.log").read_text()
                    time.sleep(0.1)

    def doctor(self, *words: str) -> Result:
        """Run the doctor on it; again when this machine had too much to do for one of its looks to end in time."""
        config = ("--config", str(self.folder / "gateway.toml"))
        found: Result = until(
            lambda: (
                None if NOT_IN_TIME in (said := command("doctor", *config, *words, **self.environment)).out else said
            )
        )
        return found

    def bundle(self, *words: str) -> dict[str, str]:
        """Make a bundle and return its files by name, without the folder."""
        suffix = ".tar.zst" if "--anonymous" in words else ".tar.gz"
        file = self.folder / f"bundle{len(list(self.folder.glob('bundle*')))}{suffix}"
        config = ["--config", str(self.folder / "gateway.toml")]
        said = command("support", *config, "-o", str(file), "--json", *words, **self.environment)
        assert said.code == 0, said.err
        assert file.stat().st_mode & 0o777 == 0o600
        raw = file.read_bytes()
        raw = zstandard.ZstdDecompressor().stream_reader(raw).read() if suffix == ".tar.zst" else raw
        with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
            members = [member for member in archive.getmembers() if member.isfile()]
            found = {each.name.partition("/")[2]: archive.extractfile(each).read().decode() for each in members}  # type: ignore[union-attr]
        assert {each["name"] for each in said.json["contents"]} | {"CONTENTS.txt"} == set(found)
        return found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[House]:
    """Run the house."""
    made = House(tmp_path_factory.mktemp("house"), authority)
    try:
        yield made
    finally:
        made.session.stop()


@pytest.fixture(scope="module")
def bundle(house: House) -> dict[str, str]:
    """Make a bundle of it."""
    return house.bundle()


@pytest.mark.parametrize("where", PLANTED)
def test_no_secret_is_in_it(house: House, bundle: dict[str, str], where: str) -> None:
    """Whatever was planted wherever is in no file of the bundle, neither as it is nor encoded."""
    secret = PLANTED[where] or house.key_line
    raw = secret.encode()
    forms = {secret, secret.replace('"', '\\"'), raw.hex(), base64.b64encode(raw).decode().rstrip("=")}
    found = [(name, form) for name, content in bundle.items() for form in forms if form in content]
    assert not found


def test_what_helps_is_in_it(bundle: dict[str, str]) -> None:
    """Doctor's lines, status, config with its places, effective values, rules, devices, reasons, log: all is there."""
    assert {"doctor.txt", "doctor.json", "status.json", "config/gateway.toml", "config/effective.toml"} <= set(bundle)
    assert {"rules/lib/keys.py", "devices.json", "journal.json", "dead-letters.json", "log.txt"} <= set(bundle)
    assert 'password = { env = "HOUSE_WORD" }' in bundle["config/gateway.toml"]
    assert json.loads(bundle["status.json"])["gateway"] == "house-of-anna"
    assert any(letter["type"] == "message_rejected" for letter in json.loads(bundle["dead-letters.json"]))
    devices = {device["id"]: device for device in json.loads(bundle["devices.json"])}
    assert devices["house/shelly:shellydw-1"]["fields"]
    assert DOOR in bundle["log.txt"]
    assert json.loads(bundle["doctor.json"])["running"] is True
    assert "log.txt" in bundle["CONTENTS.txt"]


def test_anonymous(house: House) -> None:
    """With --anonymous no name of a device, room or gateway is in it, and where the house is neither."""
    every = "\n".join(house.bundle("--anonymous").values())
    for name in (DOOR, ROOM, "house-of-anna", "shellydw-1", "48.137"):
        assert name not in every, every[max(0, every.find(name) - 200) : every.find(name) + 100]


def test_doctor_beside_a_running_gateway(house: House) -> None:
    """It asks the gateway, judges by the rights of its process, and ends with 1 for a broker that is away."""
    found = house.doctor("--json")
    assert found.code == 1
    lines = found.json["lines"]
    by_subject = {line["subject"]: line for line in lines}
    assert found.json["running"] is True
    assert by_subject["source house"]["level"] == "ok"
    assert (by_subject["source old"]["level"], by_subject["source old"]["code"]) == ("bad", "EG-201")
    assert by_subject["target web"]["level"] == "bad"
    assert {"clock", "disk", "journal", "machine", "versions", "rule walls"} <= set(by_subject)
    assert not [line for line in lines if "itself failed" in line["text"]]
    for secret in filter(None, PLANTED.values()):
        assert secret not in found.out


def test_a_device_that_sends_at_qos_0_is_named(house: House) -> None:
    """The gateway notes at which QoS a device last sent; doctor names those at 0 and says what to set there."""
    listed = command("devices", "list", "--json", "--config", str(house.folder / "gateway.toml"), **house.environment)
    levels = {device["id"]: device["qos"] for device in listed.json}
    assert levels["house/z2m:back-door"] == 0
    assert levels["house/shelly:shellydw-1"] == 1
    (line,) = house.doctor("devices", "--json").json["lines"]
    assert (line["level"], line["code"]) == ("warning", "EG-351")
    assert "house/z2m:back-door" in line["text"]
    assert "qos: 1" in line["type"]


def test_doctor_for_a_person(house: House) -> None:
    """A line each, what to type behind what is not good, a sum at the end; an area that is none gets a hint and 2."""
    house.doctor("broker")  # until all of it is in time
    said = house.doctor("broker", "--bad")
    assert said.code == 1
    assert said.lines[0].startswith("BAD   source old: 127.0.0.1 port ")
    assert said.lines[1].startswith("      -> nc -vz")
    assert "1 bad, 0 worth knowing, 1 ok" in said.out
    wrong = house.doctor("brokr")
    assert wrong.code == 2
    assert "did you mean 'broker'?" in wrong.err


def test_a_file_that_is_there_stays(house: House, tmp_path: Path) -> None:
    """A bundle never replaces a file: it says so and ends with 1."""
    there = tmp_path / "there.tar.gz"
    there.write_text("mine")
    said = command("support", "--config", str(house.folder / "gateway.toml"), "-o", str(there))
    assert said.code == 1
    assert "there.tar.gz" in said.err
    assert there.read_text() == "mine"
