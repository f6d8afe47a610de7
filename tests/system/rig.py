"""A gateway as a house runs it, as a process; devices and a cloud around it that share no code with it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.api.client import ApiClient
from gateway.api.line import ApiError
from simulators.link import Link
from simulators.processes import free_port, wait_until
from simulators.subject import PROFILES, Gateway
from tests.cli.site import Result, command

PATIENCE_S = 60.0
SESSION_S = 3600
REDIAL_S = 0.1
UP = ("connected", "listening")  # states of a source that takes messages
IN_FLIGHT_MAX = 500  # less than the listener's receive maximum, which paho does not keep to by itself


class House(Gateway):
    """`edge-gateway run` in a folder of its own, with the profiles of simulators/traffic.py beside the shipped ones."""

    def __init__(self, folder: Path, *parts: str, name: str = "gw") -> None:
        """Write its config: `parts` are the sections behind [gateway] (those of `journal` unless one is there)."""
        journal = "" if any("[journal]" in part for part in parts) else "[journal]\nbytes_max = '8MB'"
        head = f'[gateway]\nname = "{name}"\nstate = "{folder / "state"}"\nprofiles = ["{PROFILES}"]\n'
        head += f"heartbeat_minutes = 0\n{journal}"  # what arrives is counted
        super().__init__(folder, "\n".join([head, *parts, ""]))

    @property
    def state(self) -> Path:
        """Return where it writes."""
        return self.folder / "state"

    def begin(self) -> House:
        """Start it and return when it is ready: each source is there, and subscribed, or has tried in vain."""
        session = self.start()
        ready = wait_until(lambda: self._ready() or not session.alive(), PATIENCE_S)
        assert ready, session.tail()
        assert session.alive(), session.tail()
        return self

    def kill(self) -> None:
        """SIGKILL the gateway alone; its children learn it the hard way."""
        assert self.session is not None
        self.session.kill_command()

    def end(self) -> None:
        """End it and all its children, whatever state it is in."""
        if self.session is not None:
            self.session.kill()
            self.session = None

    def ask(self, what: str, **arguments: Any) -> Any:
        """Ask its local API."""
        with ApiClient(self.state / "api.sock") as client:
            return client.ask(what, **arguments)

    def status(self) -> dict[str, Any]:
        """Return its status."""
        said: dict[str, Any] = self.ask("status")
        return said

    def __call__(self, *words: str) -> Result:
        """Run a verb on it, as its own process."""
        return command(*words, "--config", str(self.file))

    def json(self, *words: str) -> Any:
        """Run a verb and read its JSON."""
        result = self(*words, "--json")
        return json.loads(result.out)

    def events(self, *words: str) -> list[dict[str, Any]]:
        """Return events as `events --json` prints them, running or not."""
        result = self("events", "--json", "--limit", "100000", *words)
        assert result.code == 0, result.err
        return [json.loads(line) for line in result.out.splitlines()]

    def said(self) -> str:
        """Return its log."""
        return self.log.read_text(errors="replace")

    def _ready(self) -> bool:
        try:
            return all(each["state"] in UP or each["last_error"] for each in self.status()["sources"])
        except (ApiError, OSError):
            return False


@contextmanager
def running(house: House) -> Iterator[House]:
    """Run a gateway for the length of a block; the log is shown when the block fails."""
    try:
        yield house.begin()
    except BaseException:
        print(house.said()[-3000:])
        raise
    finally:
        house.end()


def _quick(client: Client) -> None:
    """Let a client dial again soon."""
    client.reconnect_delay_set(REDIAL_S, REDIAL_S)  # it waits for fractions, too


class Cloud:
    """Keeps every CloudEvent that arrives at a broker, in order, repeats included. A session that survives."""

    def __init__(self, port: int, topic_filter: str = "#") -> None:
        """Subscribe; return when the broker has said so."""
        self.arrived: list[dict[str, Any]] = []
        self.topics: list[str] = []
        self.raw: list[bytes] = []
        subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="far-end", clean_session=False)
        _quick(self._client)
        self._client.on_connect = lambda client, *_: client.subscribe(topic_filter, 1)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = self._take
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()
        assert subscribed.wait(PATIENCE_S)

    def _take(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        self.raw.append(message.payload)
        with suppress(ValueError):
            self.arrived.append(json.loads(message.payload))
        self.topics.append(message.topic)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def watching(port: int, topic_filter: str = "#") -> Iterator[Cloud]:
    """Watch a broker for the length of a block."""
    cloud = Cloud(port, topic_filter)
    try:
        yield cloud
    finally:
        cloud.close()


class Device:
    """An MQTT 5 device: publishes, and keeps what it is told. Its session outlives its connections."""

    def __init__(self, port: int, name: str = "device", *, clean: bool = False) -> None:
        """Connect."""
        self.told: list[tuple[str, bytes]] = []
        self.session_present = False
        self.lost = threading.Event()
        connected = threading.Event()

        def on_connect(_client: Client, _userdata: Any, flags: Any, *_: Any) -> None:
            self.session_present = flags.session_present
            connected.set()

        self._client = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=5)
        _quick(self._client)
        self._client.max_inflight_messages_set(IN_FLIGHT_MAX)
        self._client.on_connect = on_connect
        self._client.on_message = lambda _c, _u, message: self.told.append((message.topic, message.payload))
        self._client.on_disconnect = lambda *_: self.lost.set()
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = SESSION_S
        self._client.connect("127.0.0.1", port, clean_start=clean, properties=properties)
        self._client.loop_start()
        assert connected.wait(PATIENCE_S)

    def online(self) -> Device:
        """Wait until it is connected (again, by itself)."""
        until(self._client.is_connected, "never connected")
        return self

    def subscribe(self, topic_filter: str) -> None:
        """Subscribe at QoS 1 and wait for the answer."""
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.subscribe(topic_filter, 1)
        assert subscribed.wait(PATIENCE_S)

    def publish(
        self, topic: str, payload: bytes | str | dict[str, Any], qos: int = 1, *, retain: bool = False
    ) -> MQTTMessageInfo:
        """Publish without waiting."""
        body = json.dumps(payload) if isinstance(payload, dict) else payload
        return self._client.publish(topic, body, qos, retain)

    def tell(self, topic: str, payload: bytes | str | dict[str, Any], qos: int = 1, *, retain: bool = False) -> None:
        """Publish and wait for the acknowledgement."""
        self.publish(topic, payload, qos, retain=retain).wait_for_publish(PATIENCE_S)

    def count(self, name: str, numbers: range, qos: int = 1, *, bulk: int = 0) -> list[MQTTMessageInfo]:
        """Publish readings: one event each, the number in it as `temperature`; with `bulk` bytes nobody compresses."""
        return [
            self.publish(f"load/meter/{name}", {"temperature": n, "preset": token_hex(bulk // 2)}, qos) for n in numbers
        ]

    def close(self) -> None:
        """Disconnect; the session stays."""
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def device(port: int, name: str = "device", *, clean: bool = False) -> Iterator[Device]:
    """Have a device for the length of a block."""
    made = Device(port, name, clean=clean)
    try:
        yield made
    finally:
        made.close()


class SlowLink:
    """A link to a broker, slow or cut as told; its loop is in a thread of its own."""

    def __init__(self, port: int) -> None:
        """Carry connections to `port`."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="link", daemon=True)
        self._thread.start()
        self._link = Link("127.0.0.1", port)
        self.port = asyncio.run_coroutine_threadsafe(self._link.start(), self._loop).result(PATIENCE_S)
        self.url = f"mqtt://127.0.0.1:{self.port}"

    def delay(self, seconds: float) -> None:
        """Let everything arrive so much later, from now."""
        self._link.delay_s = seconds

    def cut(self) -> None:
        """Reset every connection; what was on its way is gone."""
        self._loop.call_soon_threadsafe(self._link.cut)

    def withhold(self) -> None:
        """Let nothing arrive that the gateway says, until `restore`; what it is told does."""
        self._link.delay_up_s = SESSION_S

    def restore(self) -> None:
        """Be whole again, without delay."""
        self._link.delay_s, self._link.delay_up_s = 0.0, None
        self._loop.call_soon_threadsafe(self._link.restore)

    def close(self) -> None:
        """End."""
        asyncio.run_coroutine_threadsafe(self._link.stop(), self._loop).result(PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def slow_link(port: int) -> Iterator[SlowLink]:
    """Have a link for the length of a block."""
    link = SlowLink(port)
    try:
        yield link
    finally:
        link.close()


def acknowledged(sent: list[MQTTMessageInfo]) -> bool:
    """Wait until every message was acknowledged."""
    for info in sent:
        info.wait_for_publish(PATIENCE_S)
    return all(info.is_published() for info in sent)


def until(true: Callable[[], Any], what: object = "", timeout_s: float = PATIENCE_S) -> Any:
    """Wait until something is so and return it; `what` is shown when it never is."""
    end = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.02)
    return found


def delivered(house: House) -> None:
    """Wait until the gateway knows that all has arrived: the cloud has an event before its answer is back."""
    until(lambda: not any(route["backlog"] for route in house.status()["routes"]), house.status)


def readings(events: list[dict[str, Any]], *, repeats: bool = False) -> dict[str, list[int]]:
    """Return the numbers of `Device.count` by device, in the order of their first arrival (with `repeats`: of each).

    Fails when one number arrived under two ids, or one id stands for two numbers.
    """
    found: dict[str, list[int]] = defaultdict(list)
    names: dict[str, tuple[str, int]] = {}
    ids: dict[tuple[str, int], str] = {}
    for event in list(events):
        data = event.get("data")
        if event["type"] != "reading_taken" or not isinstance(data, dict):
            continue
        reading = (event["subject"].rpartition(":")[2], int(data["temperature"]))
        assert names.setdefault(event["id"], reading) == reading, event
        assert ids.setdefault(reading, event["id"]) == event["id"], event
        if repeats or reading[1] not in found[reading[0]]:
            found[reading[0]].append(reading[1])
    return dict(found)


def broker_target(url: str, more: str = "") -> str:
    """Write [targets.cloud] of a broker, quick to come back."""
    return (
        f'[targets.cloud]\ntype = "mqtt"\nurl = "{url}"\ntopic = "gw/{{device}}"\n'
        f"reconnect_first_s = 0.1\nreconnect_max_s = 0.3\n{more}"
    )


def broker_source(url: str) -> str:
    """Write [sources.house] of a broker, quick to come back."""
    return f'[sources.house]\nurl = "{url}"\nreconnect_first_s = 0.1\nreconnect_max_s = 0.3\n'


def own_listener() -> tuple[int, str]:
    """Choose a port for the gateway's own listener; return it and [sources.house]."""
    port = free_port()
    return port, f'[sources.house]\nlisten = "127.0.0.1:{port}"\n'
