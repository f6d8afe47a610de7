"""The simulated cloud acknowledges what it has judged, as a program and inside another one's loop."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys

import aiomqtt

from gateway.sources.source import Delivery
from simulators.cloud_mqtt import CloudMqtt


def event(subject: str, counter: int, event_id: str) -> bytes:
    """Return a CloudEvent that reports a device's counter."""
    head = {"specversion": "1.0", "id": event_id, "source": "/gw/house", "type": "counted", "subject": subject}
    return json.dumps({**head, "data": {"counter": counter}}).encode()


def test_cloud_as_a_program() -> None:
    """It says where it listens, takes events and batches, and prints what was lost, repeated and malformed."""
    command = [sys.executable, "-m", "simulators.cloud_mqtt", "--expect", '{"a": 3, "b": 1}']

    async def send(port: int) -> None:
        async with aiomqtt.Client("127.0.0.1", port) as client:
            for payload in (
                event("a", 1, "1"),
                b"[" + event("a", 2, "2") + b"," + event("b", 1, "3") + b"]",
                event("a", 2, "2"),
                b"no event",
            ):
                await client.publish("events", payload, qos=1)

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(json.loads(process.stdout.readline())["listening"].rpartition(":")[2])
        asyncio.run(send(port))
        process.send_signal(signal.SIGTERM)
        found = json.loads(process.stdout.read())
    assert process.returncode == 0
    assert (found["received"], found["readings"], found["repeats"], found["malformed"]) == (4, 3, 1, 1)
    assert (found["missing"], found["examples"]["missing"]) == (1, ["a #3"])


def test_cloud_inside_another_loop() -> None:
    """Whoever runs it is shown each message, and its sender is answered."""

    async def play() -> list[bytes]:
        taken: list[Delivery] = []
        cloud = CloudMqtt(taken.append)
        running = asyncio.create_task(cloud.run())
        await cloud.ready()
        async with aiomqtt.Client("127.0.0.1", cloud.port) as client:
            for payload in (b"1", b"2", b"3"):
                await client.publish("events", payload, qos=1)
        assert cloud.status()["received"] == 3
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return [delivery.payload for delivery in taken]

    assert asyncio.run(play()) == [b"1", b"2", b"3"]
