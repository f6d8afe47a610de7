"""`serial list`: what a person pastes into the config, and why a port cannot be opened."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from gateway.cli.config import serial
from gateway.cli.main import main
from tests.sources.plugs import Plug, Sockets


def test_identities_to_paste(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each port is shown with the identity to write, what it is now and by whom it is open; --json has all of it."""
    sockets = Sockets(tmp_path)
    words = argparse.Namespace(json=False)
    assert serial.listing(words, sockets.ports) == 0
    assert "no serial port" in capsys.readouterr().out
    plug = sockets.plug(Plug(), "ttyUSB0", "1a86:7523")
    sockets.plug(Plug(), "ttyUSB1", "0403:6001", place="1-2", serial="A5\x1b[31m")
    assert serial.listing(words, sockets.ports) == 0
    said = capsys.readouterr().out
    assert '"usb:1a86:7523"' in said
    assert "Example Stick" in said
    assert "\x1b[31m" not in said
    assert serial.listing(argparse.Namespace(json=True), sockets.ports) == 0
    first = json.loads(capsys.readouterr().out)[0]
    assert first["identity"] == "usb:1a86:7523"
    assert (first["path"], first["place"], first["refused"]) == (str(plug.path), "1-1", None)
    assert first["held_by"] == []


def test_the_real_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """On whatever machine this is, the verb answers with a list."""
    assert main(["serial", "list", "--json"]) == 0
    for port in json.loads(capsys.readouterr().out):
        assert port["identity"]
        assert port["path"].startswith("/dev/")
