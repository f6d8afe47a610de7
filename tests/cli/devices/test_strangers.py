"""`devices list --unknown` on a real broker: also what no profile asks for, so that the gateway never gets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from paho.mqtt import publish

from gateway.cli.main import main
from simulators.processes import free_port
from tests.mqtt.broker import Broker
from tests.system.rig import until

DOOR = '[[device]]\nid = "house/z2m:attic/hall"\nname = "hall"\n'
PASSWORD = "not-to-be-printed"


def config(folder: Path, source: str) -> str:
    """Write a config with one source; return its path."""
    file = folder / "gateway.toml"
    file.write_text(f'gateway.state = "state"\n{source}\n')
    (folder / "devices.toml").write_text(DOOR)
    return str(file)


def test_what_no_profile_asks_for_is_listed(
    tmp_path: Path, mosquitto: Callable[..., Broker], capsys: pytest.CaptureFixture[str]
) -> None:
    """With the source's own credentials and prefixes, and no gateway running, only what nobody reads is told."""
    broker = mosquitto(users={"gateway": PASSWORD})
    kept = {"attic/hall": {"contact": False}, "sauna/7/kgb": {"zorp": 1}, "meters": {"ENERGY": {"Power": 12}}}
    publish.multiple(
        [(topic, json.dumps(payload), 1, True) for topic, payload in kept.items()],
        hostname="127.0.0.1",
        port=broker.port,
        auth={"username": "gateway", "password": PASSWORD},
    )
    (tmp_path / "secret").write_text(PASSWORD)
    file = config(
        tmp_path,
        f'[sources.house]\nurl = "{broker.url}"\nusername = "gateway"\npassword = {{ file = "secret" }}\n'
        'prefixes = { zigbee2mqtt = "attic" }',
    )
    words = ["devices", "list", "--unknown", "--config", file, "--for", "2s"]

    def heard(*more: str) -> str:
        """Listen; nothing when the machine took longer than that to hand over what the broker keeps."""
        assert main([*words, *more]) == 0
        said = capsys.readouterr().out
        return said if "sauna/7" in said and "meters" in said else ""

    found = {each["device"]: each for each in json.loads(until(lambda: heard("--json")))}
    assert set(found) == {"sauna/7", "meters"}
    assert found["sauna/7"]["source"] == "house"
    assert found["sauna/7"]["do"].startswith("mosquitto_sub -v -t 'sauna/7/kgb'")
    assert found["meters"]["fit"]["profile"] == "tasmota"
    said = until(heard)
    assert "sauna/7 (source house), 1 message\n" in said
    assert PASSWORD not in said


def test_nobody_to_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a gateway nor a broker that answers: it says of both why, and that is no success."""
    file = config(tmp_path, f'sources.house = "mqtt://127.0.0.1:{free_port()}"')
    assert main(["devices", "list", "--unknown", "--config", file]) == 1
    said = capsys.readouterr().err
    assert "source house: " in said
    assert "no gateway answers" in said
    for wrong, said in ([], "expected one argument"), (["soon"], "'soon' is not a duration"):
        with pytest.raises(SystemExit):
            main(["devices", "list", "--unknown", "--config", file, "--for", *wrong])
        assert f"argument --for: {said}" in capsys.readouterr().err
