"""The verbs beside a running gateway: the real command in its own process, fed by an MQTT client that is not ours."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from paho.mqtt import publish
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from simulators.processes import Session, free_port, listening
from tests.cli.site import Result, command

DEVICES = """\
[[device]]
id = "house/shelly:shellydw-1"
name = "front-door"
room = "hall"
labels = ["entry"]
"""
DOOR = "shellies/shellydw-1/sensor/state"
TRV = "shellies/shellytrv-1/info"
TRV_INFO = {
    "thermostats": [
        {"pos": 10, "target_t": {"value": 20.0, "units": "C"}, "tmp": {"value": 19.5, "units": "C", "is_valid": True}}
    ]
}


class Running:
    """A gateway that runs."""

    def __init__(self, folder: Path, devices: str = DEVICES) -> None:
        self.port = free_port()
        self.config = folder / "gateway.toml"
        self.config.write_text(
            f"[gateway]\nname = 'pi'\nstate = 'state'\n[journal]\nbytes_max = '8MB'\npreallocate = false\n"
            f"[sources.house]\nlisten = '127.0.0.1:{self.port}'\n"
            f"[targets.cloud]\ntype = 'http'\nurl = 'http://127.0.0.1:{free_port()}/events'\n"
        )
        (folder / "devices.toml").write_text(devices)
        argv = [sys.executable, "-m", "gateway", "run", "--config", str(self.config)]
        self.session = Session(argv, folder / "gateway.log")

    def ready(self) -> None:
        """Wait until it answers, and takes what devices send."""
        until((self.config.parent / "state" / "api.sock").exists)
        until(lambda: listening("127.0.0.1", self.port))

    def __call__(self, *words: str, stdin: str | None = None) -> Result:
        """Run a verb on it."""
        return command(*words, "--config", str(self.config), stdin=stdin)

    def json(self, *words: str) -> Any:
        """Run a verb and read its JSON."""
        return json.loads(self(*words, "--json").out)

    def publish(self, topic: str, payload: str) -> None:
        """Publish at QoS 1 and wait for the acknowledgement: then it is on the disk."""
        publish.single(topic, payload, qos=1, hostname="127.0.0.1", port=self.port)

    def events(self, *words: str) -> list[dict[str, Any]]:
        """Return events as the command prints them."""
        return [json.loads(line) for line in self("events", "--json", *words).out.splitlines()]


def until(true: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Wait until something is so and return it."""
    end = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a gateway with a door that opened, a message nobody understands, and a cloud that is not there."""
    running = Running(tmp_path_factory.mktemp("site"))
    try:
        running.ready()
        running.publish(DOOR, "open")
        running.publish("shellies/shellydw-1/sensor/battery", "nonsense")
        running.publish(DOOR, "close")
        yield running
    finally:
        running.session.stop()


def test_status_is_a_sentence_and_tables(gateway: Running) -> None:
    """The first line says what is wrong and what to type; the rest is what is behind it."""
    result = until(lambda: found if "cloud is" in (found := gateway("status")).out else None)
    first = result.out.splitlines()[0]
    assert "Route cloud to cloud is" in first
    assert " Type: " in first
    assert "house  listener  listening" in result.out
    assert "telemetry" in result.out


def test_status_as_json(gateway: Running) -> None:
    """The same as data: sources, lanes, routes, disk."""
    status = gateway.json("status")
    assert (status["gateway"], status["sources"][0]["received"] >= 3) == ("pi", True)
    assert status["routes"][0]["backlog"] == sum(lane["queued"] for lane in status["lanes"]) >= 2
    assert status["level"] in ("warning", "bad")
    assert status["disk"]["state"] == "ok"
    assert status["dead_letters"] >= 1


def test_events_and_filters(gateway: Running) -> None:
    """Events come oldest first and can be narrowed by type, device, lane, time and number."""
    doors = gateway.events("--type", "door_*")
    assert [event["type"] for event in doors][:2] == ["door_opened", "door_closed"]
    assert gateway.events("--type", "door_*", "--limit", "1") == doors[-1:]
    assert gateway.events("--device", "shellydw-1", "--type", "door_*") == doors
    assert gateway.events("--device", "somebody") == []
    assert [event["type"] for event in gateway.events("--lane", "dead_letter", "--limit", "1")] == ["message_rejected"]
    assert gateway.events("--since", "1h", "--type", "door_*") == doors
    assert gateway.events("--since", "2000-01-01T00:00:00Z", "--type", "door_*") == doors
    text = gateway("events", "--type", "door_opened").out
    assert "door_opened  house/shelly:shellydw-1  open=true" in text


def test_wrong_filters_say_what_is_wrong(gateway: Running) -> None:
    """A time or number that makes no sense is told."""
    wrong = gateway("events", "--since", "yesterday")
    assert wrong.code == 2
    said = "events: error: argument --since: 'yesterday' is not a time: write 10m, 2h, 7d or 2026-11-23T06:00:00Z\n"
    assert wrong.err.endswith(said)
    assert "limit is 0 to" in gateway("events", "--limit", "-5").err


def test_follow_shows_what_happens_now(gateway: Running) -> None:
    """A follower sees an event within a moment of its acknowledgement, and ends with Ctrl-C as 130."""
    words = ["events", "--follow", "--json", "--limit", "1", "--type", "door_*", "--config", str(gateway.config)]
    follower = subprocess.Popen(
        [sys.executable, "-m", "gateway", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline())["type"] == "door_closed", "what was: from here on it follows"
        gateway.publish(DOOR, "open")
        assert json.loads(follower.stdout.readline())["type"] == "door_opened"
        gateway.publish(DOOR, "close")
        assert json.loads(follower.stdout.readline())["type"] == "door_closed"
        follower.send_signal(2)
        _, errors = follower.communicate(timeout=60)
        assert (follower.returncode, errors) == (130, b"")
    finally:
        follower.kill()
        follower.wait()


def test_explain_tells_the_story(gateway: Running) -> None:
    """One event: where it came from, its record and lane, and that the route still waits."""
    event = gateway.events("--type", "door_opened", "--limit", "1")[0]
    story = gateway.json("explain", event["id"])
    assert story["event"] == event
    assert [(route["route"], route["outcome"]) for route in story["routes"]] == [("cloud", "waits")]
    text = gateway("explain", event["id"]).out
    assert "from     /pi/house (127.0.0.1:" in text
    assert "device house/shelly:shellydw-1" in text
    assert "route    cloud: waits" in text
    assert gateway("explain", "nonsense").code == 1


def test_devices(gateway: Running) -> None:
    """A device is shown with what a person decided and what it said last, by id or by name."""
    (door,) = [device for device in gateway.json("devices", "list") if device["name"] == "front-door"]
    assert (door["room"], door["labels"], door["values"]["open"]) == ("hall", ["entry"], False)
    assert door["profile"] == "shelly-gen1-door"
    shown = gateway.json("devices", "show", "front-door")
    nothing = {"rules": [], "claims": [], "not_taken": {}, "awaited": [], "observed": {"count": 0, "last": []}}
    nothing |= {"not_read": []}
    assert shown == {**door, **nothing}
    assert "shelly-gen1-door" in gateway("devices", "list").out
    missing = gateway("devices", "show", "front-dor")
    assert (missing.code, "did you mean 'front-door'?" in missing.err) == (1, True)


def test_dead_letters(gateway: Running) -> None:
    """A dead letter is listed with its reason, shown with its content, retried in vain, dropped for good."""
    letter = gateway.json("dead-letters", "list")[0]
    assert "nonsense" in gateway("dead-letters", "list").out
    assert "nonsense" in gateway("dead-letters", "show", letter["id"]).out
    retried = gateway.json("dead-letters", "retry", letter["id"])
    assert (retried["state"], retried["actor"].startswith("person:")) == ("refused", True)
    assert gateway("dead-letters", "retry", "--reason", "*").out.startswith("refused again: ")
    (again,) = gateway.json("dead-letters", "list", "--since", "1h", "--device", "*battery")
    assert (again["id"], again["attempts"]) == (letter["id"], 3)
    assert again["reason"] == letter["data"]["reason"]
    assert gateway.json("dead-letters", "list", "--reason", "something else") == []
    assert gateway("dead-letters", "retry").code == 2
    assert gateway("dead-letters", "drop", again["id"]).out == "dropped\n"
    assert "was dropped before" in gateway("dead-letters", "retry", letter["id"]).out
    assert gateway("dead-letters", "list").out == "no dead letters\n"
    assert [found["state"] for found in gateway.json("dead-letters", "list", "--all")] == ["dropped"]
    assert gateway("dead-letters", "show", "nonsense").code == 1


def test_send_reaches_the_device(gateway: Running) -> None:
    """A command goes to the device in the form its profile says, and is a record like any other."""
    gateway.publish(TRV, json.dumps(TRV_INFO))
    with subscribed(gateway, "shellies/shellytrv-1/thermostat/0/command/target_t") as received:
        answer = gateway.json("send", "house/shelly:shellytrv-1", "set_setpoint", "21.5")
        assert received.get(timeout=60) == b"21.5"
    (record,) = gateway.events("--lane", "command", "--limit", "1")
    assert (record["id"], record["data"]["value"]) == (answer["id"], 21.5)
    assert record["actor"].startswith("person:")
    refused = gateway("send", "house/shelly:shellytrv-1", "explode")
    assert (refused.code, "explode" in refused.err) == (1, True)


@contextmanager
def subscribed(gateway: Running, topic: str) -> Iterator[Queue[bytes]]:
    """Be a device that has subscribed to its commands."""
    device, ready, received = Client(CallbackAPIVersion.VERSION2), threading.Event(), Queue[bytes]()
    device.on_subscribe = lambda *_: ready.set()
    device.on_message = lambda _client, _data, message: received.put(bytes(message.payload))
    device.connect("127.0.0.1", gateway.port)
    device.subscribe(topic, 1)
    device.loop_start()
    try:
        assert ready.wait(60)
        yield received
    finally:
        device.disconnect()
        device.loop_stop()


def test_the_journal_beside_it(gateway: Running) -> None:
    """What is on the disk can be looked at and verified while the gateway runs."""
    assert gateway("journal", "verify").code == 0
    contents = gateway.json("journal", "stat")
    assert contents["last_sequence"] >= 3
    assert "dead_letter" in gateway("journal", "stat").out


def test_when_it_has_ended(gateway: Running) -> None:
    """Without the gateway events, devices and dead letters are read from the disk, and status says that it is so."""
    before = {words: gateway.json(*words) for words in (("devices", "list"), ("dead-letters", "list", "--all"))}
    doors = gateway.events("--type", "door_*", "--limit", "3")
    assert gateway.session.stop() == 0
    assert gateway.events("--type", "door_*", "--limit", "3") == doors
    assert {words: gateway.json(*words) for words in before} == before
    status = gateway("status")
    assert (status.code, status.out.startswith("The gateway is not running")) == (1, True)
    assert gateway.json("status")["level"] == "bad"
    assert gateway("events", "--follow").code == 1
