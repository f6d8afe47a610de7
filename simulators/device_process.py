"""The devices of a house as a process of its own, on an MQTT implementation that is not the gateway's.

``python -m simulators.device_process --url mqtt://127.0.0.1:1883 --seed 7 --rate 200 --count 10000``

It publishes at QoS 1 and keeps a ledger of what was acknowledged.  The session is persistent: what was not
acknowledged when the connection broke is sent again with DUP set, in order, when it is back.  While the other
side is away nothing is dropped; the house waits and then catches up.

Standard output is JSON lines: ``{"progress": {...}}`` every `--every` seconds and, last,
``{"ledger": {...}}`` with ``sent acknowledged resent reconnects seconds per_device``.  SIGTERM and SIGINT end it early:
nothing new is sent, the answers to what was sent are waited for, and the ledger closes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import aiomqtt

from simulators import wire
from simulators.devices import Fleet, House, Message

REDIAL_S = 0.1
CONNECT_TIMEOUT_S = 5.0
IDLE_S = 0.02  # how long to sleep at most before looking at the window and the connection again
DRAIN_TIMEOUT_S = 30.0  # for the last acknowledgements
WINDOW_MAX = 100  # messages in flight


@dataclass(slots=True)
class Ledger:
    """What was sent and what the other side has answered for."""

    sent: int = 0
    acknowledged: int = 0
    resent: int = 0
    reconnects: int = 0
    per_device: Counter[str] = field(default_factory=Counter)  # acknowledged, by device

    def summary(self, seconds: float) -> dict[str, object]:
        """Return it as the JSON object that ends the output."""
        return {
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "resent": self.resent,
            "reconnects": self.reconnects,
            "seconds": round(seconds, 3),
            "per_device": dict(self.per_device),
        }


class Devices(aiomqtt.Client):
    """An aiomqtt client that sends without waiting for each answer and books the answers in a ledger.

    `aiomqtt.Client.publish` waits for PUBACK, one task a message; a window needs the packet id at once.  The object
    outlives its connections, so that paho-mqtt, beneath it, sends again (with DUP) what was in flight.
    """

    def __init__(self, host: str, port: int, identifier: str, ledger: Ledger) -> None:
        """Prepare a persistent session at `host`:`port`."""
        quiet = logging.getLogger("simulators.devices")
        super().__init__(
            host,
            port,
            identifier=identifier,
            clean_session=False,
            max_inflight_messages=WINDOW_MAX,
            timeout=CONNECT_TIMEOUT_S,
            logger=quiet,
        )
        self.ledger = ledger
        self.in_flight: dict[int, str] = {}  # packet id -> device

    def post(self, message: Message) -> None:
        """Send one message; when the connection is just gone it is kept and sent with the next one."""
        packet_id = self._client.publish(message.topic, message.payload, message.qos, message.retain).mid
        self.in_flight[packet_id] = message.device
        self.ledger.sent += 1

    @property
    def has_room(self) -> bool:
        """Return whether the window allows another message."""
        return len(self.in_flight) < WINDOW_MAX

    @property
    def connected(self) -> bool:
        """Return whether the connection stands, as far as known."""
        return self._client.is_connected()

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any) -> None:
        super()._on_publish(client, userdata, mid, reason_code, properties)
        device = self.in_flight.pop(mid, None)
        if device is not None:
            self.ledger.acknowledged += 1
            if device:
                self.ledger.per_device[device] += 1


async def publish(client: Devices, messages: Iterable[Message], stopping: asyncio.Event) -> None:
    """Send `messages` when they are due, at most `WINDOW_MAX` in flight, over as many connections as it takes.

    Once `stopping` is set nothing new is sent, and it ends when the last answer is in or `DRAIN_TIMEOUT_S` later.
    """
    todo = iter(messages)
    start = time.monotonic()
    waiting = next(todo, None)
    while not _finished(client, waiting, stopping):
        try:
            async with client:
                client.ledger.resent += len(client.in_flight)
                while client.connected and not _finished(client, waiting, stopping):
                    now_s = time.monotonic() - start
                    while waiting and waiting.due_s <= now_s and client.has_room and not stopping.is_set():
                        client.post(waiting)
                        waiting = next(todo, None)
                    pause_s = waiting.due_s - now_s if waiting and client.has_room else IDLE_S
                    await asyncio.sleep(min(max(pause_s, 0.001), IDLE_S))
        except (aiomqtt.MqttError, OSError):
            pass  # away: a stopped broker is part of the show
        if _finished(client, waiting, stopping):
            return
        client.ledger.reconnects += 1
        await asyncio.sleep(REDIAL_S)


def _finished(client: Devices, waiting: Message | None, stopping: asyncio.Event) -> bool:
    return not client.in_flight and (waiting is None or stopping.is_set())


async def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Run the house until its messages are acknowledged, or a signal; return the ledger."""
    fleet = Fleet(**arguments.fleet)
    house = House(arguments.seed, fleet)
    messages: Iterator[Message] = house.messages(arguments.rate)
    if arguments.count is not None:
        messages = islice(messages, arguments.count)
    births = house.births() if arguments.births else []
    ledger, stopping = Ledger(), asyncio.Event()
    host, port = wire.address_of(arguments.url)
    client = Devices(host, port, f"house-{arguments.seed}", ledger)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    started = time.monotonic()
    reporting = asyncio.create_task(report(client, arguments.every))
    publishing = asyncio.create_task(publish(client, chain(births, messages), stopping))
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait((publishing, stopped, reporting), return_when=asyncio.FIRST_COMPLETED)
    stopping.set()  # `reporting` ended: whoever read the lines is gone
    await asyncio.wait((publishing,), timeout=DRAIN_TIMEOUT_S)
    for task in (publishing, stopped, reporting):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, BrokenPipeError):
            await task
    return ledger.summary(time.monotonic() - started)


async def report(client: Devices, every_s: float) -> None:
    """Print a line of progress every `every_s` seconds, so that a parent can show rates."""
    while True:
        await asyncio.sleep(every_s)
        ledger = client.ledger
        progress = {
            "sent": ledger.sent,
            "acknowledged": ledger.acknowledged,
            "in_flight": len(client.in_flight),
            "connected": client.connected,
        }
        print(json.dumps({"progress": progress}), flush=True)


def main() -> None:
    """Publish what the devices of a simulated house say."""
    options = argparse.ArgumentParser(prog="python -m simulators.device_process", description=main.__doc__)
    options.add_argument("--url", required=True, help="broker or gateway, mqtt://host:port")
    options.add_argument("--seed", type=int, default=1, help="the house; the same seed says the same for ever")
    options.add_argument("--rate", type=float, default=100.0, help="messages a second, on average")
    options.add_argument("--count", type=int, help="end after so many messages (default: on a signal)")
    options.add_argument("--every", type=float, default=0.5, help="seconds between lines of progress")
    options.add_argument("--births", action="store_true", help="begin with the retained birth messages")
    options.add_argument(
        "--fleet", type=json.loads, default={}, help='JSON object, how many of each: {"cameras": 2, ...}'
    )
    ledger = asyncio.run(run(options.parse_args()))
    try:
        print(json.dumps({"ledger": ledger}), flush=True)
    except BrokenPipeError:  # nobody is there to read it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
