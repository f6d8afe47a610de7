"""A cloud with an MQTT door: the gateway's own listener, whose inbox acknowledges at once and counts what came.

It is the far end without a broker between: what is acknowledged here has been judged. `CloudMqtt` runs in a loop of
somebody else's (the demo); as a program it listens until SIGINT or SIGTERM and prints the judge's findings.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

import msgspec

from gateway.sources.listener import Listener, ListenerOptions
from gateway.sources.source import Delivery
from simulators.far_end import EXAMPLES_MAX, Judge, reading_in_data


class CloudMqtt:
    """Listens on 127.0.0.1; `take` is shown every message before it is acknowledged."""

    def __init__(self, take: Callable[[Delivery], None], port: int = 0) -> None:
        self._take = take
        self._listener = Listener("cloud", ListenerOptions(port=port))

    @property
    def port(self) -> int:
        """Return where it listens, once `ready`."""
        return self._listener.port

    async def ready(self) -> None:
        """Return when it accepts connections."""
        await self._listener.ready.wait()

    async def run(self) -> None:
        """Listen until cancelled."""
        await self._listener.run(self._inbox)

    def status(self) -> dict[str, object]:
        """Return the listener's own count."""
        return self._listener.status()

    def _inbox(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._take(delivery)
            delivery.ack()


class JudgingCloud(CloudMqtt):
    """A cloud that shows its `judge` every CloudEvent; what is none is counted in `malformed`, examples kept."""

    def __init__(self, judge: Judge, port: int = 0) -> None:
        super().__init__(self._show, port)
        self.judge = judge
        self.malformed = 0
        self.examples: list[str] = []

    def _show(self, delivery: Delivery) -> None:
        try:
            self.judge.show(delivery.payload, time.monotonic_ns(), delivery.duplicate)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
            self.malformed += 1
            if len(self.examples) < EXAMPLES_MAX:
                self.examples.append(f"{delivery.topic}: {error}")


async def listen(cloud: JudgingCloud) -> None:
    """Listen until SIGINT or SIGTERM; the first line of output says where."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    running = asyncio.create_task(cloud.run(), name="cloud.listen")
    await cloud.ready()
    print(json.dumps({"listening": f"127.0.0.1:{cloud.port}"}), flush=True)
    stopping = asyncio.create_task(stopped.wait(), name="cloud.stop")
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (running, stopping):
        task.cancel()
    await asyncio.gather(running, stopping, return_exceptions=True)


def main() -> None:
    """Listen, then print one JSON object with the findings."""
    options = argparse.ArgumentParser(prog="python -m simulators.cloud_mqtt", description=__doc__)
    options.add_argument("--port", type=int, default=0, help="where to listen; 0 = any free port")
    options.add_argument("--key", default="counter", help="where the device's counter is in the event's data")
    options.add_argument("--expect", type=json.loads, default={}, help='JSON object {"subject": messages}')
    words = options.parse_args()
    cloud = JudgingCloud(Judge(reading_in_data(words.key)), words.port)
    asyncio.run(listen(cloud))
    print(json.dumps({**asdict(cloud.judge.findings(words.expect)), "malformed": cloud.malformed}))


if __name__ == "__main__":
    main()
