"""`profiles decode` with announcements: what they say, what became of them, and what the device says then."""

from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.cli.main import main
from tests.importers.house import CONTACT, z2m, zigbee


def decoded(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *lines: dict[str, Any]) -> list[Any]:
    """Feed lines to the verb; return what it prints."""
    fed = "\n".join(map(json.dumps, lines)).encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(fed)))
    assert main(["profiles", "decode"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_announcement_can_be_tried(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A list, a config and a birth say what they describe; lines behind them are read by it; a deletion ends it."""
    config = {"stat_t": "n/t", "dev_cla": "temperature", "unit_of_meas": "°C", "dev": {"ids": "n", "name": "N"}}
    found = decoded(
        monkeypatch, capsys,
        {"topic": "zigbee2mqtt/bridge/devices", "payload": json.loads(z2m(zigbee("0x01a2", "hall", *CONTACT)))},
        {"topic": "zigbee2mqtt/hall", "payload": {"contact": False, "battery": 50}},
        {"topic": "homeassistant/sensor/n/t/config", "payload": config},
        {"topic": "n/t", "payload": "21.5"},
        {"topic": "homeassistant/sensor/n/t/config", "payload": ""},
        {"topic": "n/t", "payload": "22"},
    )  # fmt: skip
    assert [each["described"][0]["id"] for each in found if "described" in each] == ["z2m:0x01a2", "ha:n"]
    assert found[0]["described"][0]["fields"] == ["battery", "battery.low", "battery.voltage", "open"]
    assert (found[1]["id"], found[1]["device"], found[1]["fields"]["open"]) == ("z2m:0x01a2", "hall", True)
    assert found[2]["says"]["state_topic"] == "n/t"
    assert (found[3]["id"], found[3]["fields"]) == ("ha:n", {"temperature": 21.5})
    assert (found[4]["says"], found[4]["no_longer_described"]) == ({"component": "sensor", "delete": True}, ["ha:n"])
    assert found[5]["rejected"] == "no profile claims this topic"
