"""`simulate` as a person types it: alone, against a gateway, with serial ports, captures and Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
import serial

from gateway.cli.main import main
from gateway.config.load import load
from simulators.cloud_mqtt import CloudMqtt
from simulators.house import own
from simulators.house.house import House
from simulators.house.oracle import verify_files
from simulators.house.port import Port
from simulators.house.scenario import read
from simulators.house.stage import Stage
from simulators.processes import Session, free_port, wait_until
from tests.cli.site import Result, command

WAIT_S = 60.0
SCENARIO = """\
schema = 1
title = "a small house"
lasts = "20m"
seed = 3
tick = "30s"

[[room]]
name = "hall"

[[device]]
name = "door"
dialect = "zigbee2mqtt"
model = "contact"
room = "hall"

[[device]]
name = "lamp"
dialect = "tasmota"
model = "plug"
room = "hall"
kind = "light"

[[device]]
name = "cellar"
dialect = "rflink"
model = "thermometer"
room = "hall"

[[happening]]
name = "somebody"
at = "4m"
device = "door"
set = { open = true }
lasts = "12m"

[[fault]]
kind = "garbled"
device = "lamp"
at = "2m"
lasts = "16m"
share = 0.5

[[fault]]
kind = "unplug"
device = "dialect:rflink"
at = "6m"
lasts = "4m"

[gateway]
rules = ["light.py"]

[[expect]]
event = "door_opened"
device = "door"
after = "somebody"
within = "5m"

[[expect]]
command = "on"
device = "lamp"
to = true

[[expect]]
event = "window_opened"
name = "what never happens"
"""
RULE = '''\
"""The lamp goes on with the door."""

from gateway.rules import Context, Event, rule


@rule("door_opened")
def light(event: Event, ctx: Context) -> None:
    """Switch it on."""
    for lamp in ctx.devices(kind="light"):
        ctx.hold(lamp, on=True, lasts="5m")


@rule("smoke_detected")
def idle(event: Event, ctx: Context) -> None:
    """Do nothing, ever."""
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write the scenario and its rule."""
    (tmp_path / "light.py").write_text(RULE)
    (tmp_path / "small.toml").write_text(SCENARIO)
    return tmp_path / "small.toml"


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run a verb in this process."""

    def run(*words: str) -> Result:
        code = main(words)
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return run


def test_it_is_printed_the_same_twice(file: Path, said: Callable[..., Result]) -> None:
    """`--print` sends nothing, and says the same for the same seed."""
    one, two = (said("simulate", str(file), "--print") for _ in range(2))
    assert one.code == 0
    assert one.out == two.out
    rows = [json.loads(line) for line in one.out.splitlines()]
    assert {row["dialect"] for row in rows} == {"zigbee2mqtt", "tasmota", "rflink"}
    assert said("simulate", str(file), "--print", "--seed", "4").out != one.out


def test_with_a_gateway(file: Path) -> None:
    """What the far end and the devices saw meets expectations; one that was not met makes the exit code."""
    folder = file.parent
    words = ["--gateway", "--speed", "300", "--json", "--keep", str(folder / "kept")]
    words += [
        "--junit",
        str(folder / "j.xml"),
        "--evidence",
        str(folder / "e.json"),
        "--record",
        str(folder / "r.ndjson"),
    ]
    done = command("simulate", str(file), *words)
    assert done.code == 1, done.err
    said = json.loads(done.out)
    met = {each["name"]: each["met"] for each in said["expectations"]}
    assert met == {"door_opened of door after somebody within 5m": True, "command on of lamp to True": True,
                   "what never happens": False}  # fmt: skip
    assert said["ledger"]["balanced"], said["ledger"]
    assert said["ledger"]["unheard"] == 0
    assert said["ledger"]["values"] > 0
    assert 0 < said["dead_letters"] <= said["damaged"]
    assert {each["rule"]: each["never"] for each in said["coverage"]} == {"light": [], "idle": ["it never ran"]}
    suite = ET.parse(folder / "j.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    evidence = json.loads((folder / "e.json").read_text())
    assert evidence["seed"] == 3
    assert {"small.toml", "light.py", "sent.ndjson", "received.ndjson"} <= set(evidence["sha256"])
    judged = verify_files(folder / "kept" / "received.ndjson", folder / "kept" / "sent.ndjson")
    assert (judged.balanced, judged.values) == (True, said["ledger"]["values"])
    rows = [json.loads(line) for line in (folder / "r.ndjson").read_text().splitlines()]
    assert [row for row in rows if row.get("heard") == "ON"]


def test_a_capture_is_played_to_a_broker(tmp_path: Path, file: Path, said: Callable[..., Result]) -> None:
    """What a house was recorded to say is said again, to the byte, over MQTT and on a serial port."""
    capture = tmp_path / "c.ndjson"
    capture.write_text(said("simulate", str(file), "--print", "--for", "3m").out)
    got: list[tuple[str, bytes]] = []

    async def listen() -> int:
        cloud = CloudMqtt(lambda delivery: got.append((delivery.topic, delivery.payload)))
        running = asyncio.create_task(cloud.run())
        await cloud.ready()
        words = ["--play", str(capture), "--speed", "1000", "--broker", f"mqtt://127.0.0.1:{cloud.port}"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "simulate", *words, "--ports", str(tmp_path / "ports"), "--json",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return int(json.loads(out)["played"])

    rows = [json.loads(line) for line in capture.read_text().splitlines()]
    assert asyncio.run(listen()) == len(rows)
    assert got == [(row["topic"], row["payload"].encode()) for row in rows if row["topic"]]


def test_a_port_comes_back_under_another_name(tmp_path: Path) -> None:
    """A serial port of the house is a terminal by its link; unplugged it is gone, and then another terminal."""

    async def run() -> tuple[list[bytes], set[Path]]:
        heard: list[bytes] = []
        told: list[bytes] = []
        port, names = Port(tmp_path / "radio"), set()
        for number in range(2):
            port.plug(told.append)
            names.add(port.link.resolve())
            with serial.Serial(str(port.link), 57600, timeout=10) as line:
                assert port.write(b"20;%d;\n" % number)
                heard.append(await asyncio.to_thread(line.readline))
                line.write(b"10;PING;\n")
                end = asyncio.get_running_loop().time() + WAIT_S
                while len(told) <= number and asyncio.get_running_loop().time() < end:
                    await asyncio.sleep(0.01)
            held = os.open(os.ttyname(port._slave), os.O_RDWR | os.O_NOCTTY)  # so that its number is not used again
            port.unplug()
            assert not port.link.exists()
            assert not port.write(b"lost")
            if number:
                os.close(held)
        assert told == [b"10;PING;\n"] * 2
        return heard, names

    heard, names = asyncio.run(run())
    assert heard == [b"20;0;\n", b"20;1;\n"]
    assert len(names) == 2


def test_ctrl_c_ends_it_with_what_there_is(file: Path, tmp_path: Path) -> None:
    """Interrupted, a run drains, says what was sent, ends with 130 and leaves nothing behind."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    argv = [sys.executable, "-m", "gateway", "simulate", str(file), "--gateway", "--speed", "10"]
    session = Session(argv, tmp_path / "out", env={**os.environ, "TMPDIR": str(folder)})
    try:
        assert wait_until(lambda: "answered for" in (tmp_path / "out").read_text(), WAIT_S), session.tail()
        os.kill(session.pid, signal.SIGINT)
        assert session.process.wait(WAIT_S) == 130
    finally:
        session.kill()
    assert list(folder.iterdir()) == []
    assert "messages of 3 devices" in (tmp_path / "out").read_text()
    assert "Traceback" not in (tmp_path / "out").read_text()


def test_what_cannot_be_is_said(said: Callable[..., Result]) -> None:
    """An unknown scenario, fault or speed is refused with what was probably meant."""
    assert "flat" in said("simulate", "flatt").err
    assert "did you mean 'garbled'" in said("simulate", "flat", "--fault", "garbld").err
    assert "garbled" in said("simulate", "--fault", "help").out
    assert said("simulate", "flat", "--speed", "0").code == 1
    nobody = said("simulate", "flat", "--broker", f"mqtt://127.0.0.1:{free_port()}")
    assert (nobody.code, "nobody listens" in nobody.err) == (1, True)
    assert said("simulate").code == 2


def test_my_own_house(tmp_path: Path, said: Callable[..., Result]) -> None:
    """devices.toml becomes a scenario with the same ids; what cannot be simulated is named."""
    (tmp_path / "gateway.toml").write_text('[gateway]\nstate = "state"\n[sources.house]\nlisten = "127.0.0.1:1883"\n')
    devices = {"z2m:hall/door": "door", "tasmota:kettle": "plug", "shelly:shellydw2-1": "window", "ext:thing": "door"}
    rows = [f'[[device]]\nid = "house/{name}"\nkind = "{kind}"\nroom = "hall"\n' for name, kind in devices.items()]
    (tmp_path / "devices.toml").write_text("\n".join(rows))
    words = ("simulate", "--from-config", "--config", str(tmp_path / "gateway.toml"), "--print", "--for", "10m")
    done = said(*words)
    assert done.code == 0, done.err
    assert "left out: house/ext:thing" in done.err
    topics = {json.loads(line)["topic"] for line in done.out.splitlines()}
    assert {"zigbee2mqtt/hall/door", "tele/kettle/LWT", "shellies/shellydw2-1/sensor/state"} <= topics


def test_a_rule_that_does_not_load_ends_it(file: Path) -> None:
    """A scenario whose rules do not run is not played: its expectations would be about nothing."""
    (file.parent / "light.py").write_text(RULE.replace("ctx.hold", "ctx.hald"))
    done = command("simulate", str(file), "--gateway", "--speed", "300")
    assert done.code == 1
    assert "rules of the scenario do not run" in done.err
    assert "light.py:" in done.err


def test_my_own_house_has_my_modes_place_and_people(tmp_path: Path) -> None:
    """Rules of mine that name them load beside the simulated devices; who would be told is in the log instead."""
    mine = own.House(modes=("in", "out"), location=(52.5, 13.4), groups={"parents": ["anna"]}, people=["anna", "ben-2"])
    text, left_out = own.scenario_of([own.Installed("house/z2m:hall/door", "door", "hall", "door", ())], mine)
    file = tmp_path / "house.toml"
    file.write_text(text)
    stage = Stage(tmp_path, House(read(file), 1), speed=1, here=tmp_path, broker=False)
    try:
        stage._write()
        found = load(tmp_path / "gateway.toml")
    finally:
        stage.stop()
    assert left_out == []
    assert found.rules.modes == ("in", "out")
    assert found.rules.location is not None
    assert (found.rules.location.latitude, found.rules.location.longitude) == (52.5, 13.4)
    assert {"anna", "ben-2", "parents"} <= set(found.notify.names)
