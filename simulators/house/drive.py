"""Drives a simulated house: real time or faster, MQTT through aiomqtt, serial ports through PTYs.

Each MQTT dialect has a connection of its own, with its bridge's will; each serial dialect a port, found by a link in
a folder.  What was published at QoS 1 is booked when the other side has answered for it (`Books`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from simulators.house.books import Books, Clock
from simulators.house.bridge import LOOK_S_MAX, Bridge
from simulators.house.house import House, Sent
from simulators.house.port import Port
from simulators.house.scenario import chosen
from simulators.house.troubles import Trouble
from simulators.link import Link

DRAIN_S_MAX = 30.0


class Drive:
    """A house at work."""

    def __init__(
        self,
        house: House,
        clock: Clock,
        books: Books,
        *,
        broker: tuple[str, int],
        ports: Path,
        acts: Mapping[str, Callable[[bool], None]] | None = None,
        qos: int = 1,
    ) -> None:
        """Prepare: MQTT dialects publish at `broker`, serial ports appear in the folder `ports`.

        `acts` are the faults of lines that are somebody else's: kind -> called with True when it begins, False when it
        ends.
        """
        self.house, self.clock, self.books = house, clock, books
        self._acts = dict(acts or {})
        self._broker, self._qos = broker, qos
        self.bridges: dict[str, Bridge] = {}
        self.ports: dict[str, Port] = {}
        self._links: dict[str, Link] = {}
        self._folder = ports
        self.done_s = 0.0
        self._running = False  # every line is there

    async def run(self, lasts_s: float, stopping: asyncio.Event) -> None:
        """Run for so long of the house's time, or until `stopping`; then wait for the last answers."""
        await self._connect()
        self._running = True
        running = [asyncio.create_task(bridge.run(self._told)) for bridge in self.bridges.values()]
        running.append(asyncio.create_task(self._trouble()))
        try:
            while self.done_s < lasts_s and not stopping.is_set():
                self._play(min(self.clock.now_s(), lasts_s))
                pause_s = min(self.clock.until_s(min(self.house.next_s, lasts_s)), LOOK_S_MAX)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(pause_s, 0.001)):
                        await stopping.wait()
            await self._drain()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await self._close()

    def _play(self, until_s: float) -> None:
        for sent in self.house.upto(until_s):
            self._dispatch(sent)
        self.done_s = until_s

    def _dispatch(self, sent: Sent) -> None:
        self.books.leaves(sent)
        if (port := self.ports.get(sent.dialect)) is not None:
            self.books.went(sent, port.write(sent.said.payload))
            self.books.settled(sent, acked=False)  # a serial line promises nothing
        else:
            self.bridges[sent.dialect].post(sent)

    def _told(self, dialect: str, topic: str, payload: bytes) -> None:
        """Hear a command, at the house's time."""
        if self._running and self.clock.now_s() >= 0:
            self._play(max(self.clock.now_s(), self.done_s))
        elif not self.house.dialects[dialect].asked:
            return
        before = len(self.house.heard)
        for sent in self.house.told(dialect, topic, payload):
            self._dispatch(sent)
        if len(self.house.heard) > before:
            self.books.heard(self.done_s, dialect, topic, payload)

    def plug_in(self) -> None:
        """Have the serial ports appear: a gateway looks for them when it starts."""
        for name, dialect in self.house.dialects.items():
            if dialect.serial:
                self._folder.mkdir(parents=True, exist_ok=True)
                port = self.ports[name] = Port(self._folder / dialect.source, lines=not dialect.asked)
                port.plug(lambda line, name=name: self._told(name, "", line))  # type: ignore[misc]

    async def _connect(self) -> None:
        host, port = self._broker
        if not self.ports:
            self.plug_in()
        for name, dialect in self.house.dialects.items():
            if dialect.serial:
                continue
            way = (host, port)
            if any(name in self.meant(trouble) for trouble in self.house.troubles.lines(("half_open",))):
                link = self._links[name] = Link(host, port)
                await link.start()
                way = ("127.0.0.1", link.port)
            identifier = f"sim-{name}-{self.house.seed}"
            self.bridges[name] = Bridge(dialect, *way, self.books, identifier=identifier, qos=self._qos)

    def meant(self, trouble: Trouble) -> set[str]:
        """Return the dialects whose devices a fault means."""
        pattern = trouble.table.device
        return {each.dialect for each in self.house.gadgets if chosen(pattern, each.name, each.dialect, each.room)}

    async def _trouble(self) -> None:
        """Begin and end the faults of lines, by the house's clock."""
        acts: list[tuple[float, bool, Trouble]] = []
        for trouble in self.house.troubles.lines(("unplug", "half_open", *self._acts)):
            acts += [(trouble.start_s, True, trouble), (trouble.end_s, False, trouble)]
        for moment_s, begins, trouble in sorted(acts, key=lambda act: act[0]):
            await asyncio.sleep(max(0.0, self.clock.until_s(moment_s)))
            if trouble.kind in self._acts:
                await asyncio.to_thread(self._acts[trouble.kind], begins)
                continue
            for name in self.meant(trouble):
                self._line(trouble.kind, name, begins=begins)

    def _line(self, kind: str, name: str, *, begins: bool) -> None:
        if kind == "half_open" and name in self._links:
            if begins:
                self._links[name].cut("blackhole")
            else:
                self._links[name].restore()
        elif kind == "unplug" and name in self.ports:
            if begins:
                self.ports[name].unplug()
            else:
                self.ports[name].plug(lambda line: self._told(name, "", line))
        elif kind == "unplug" and name in self.bridges:
            self.bridges[name].unplugged = begins
            if begins:
                self.bridges[name].cut()

    async def _drain(self) -> None:
        for link in self._links.values():
            link.restore()
        for bridge in self.bridges.values():
            bridge.unplugged = False
        end = time.monotonic() + DRAIN_S_MAX
        while time.monotonic() < end and not all(  # noqa: ASYNC110 - bridges settle one by one
            bridge.settled for bridge in self.bridges.values()
        ):
            await asyncio.sleep(LOOK_S_MAX)

    async def _close(self) -> None:
        for bridge in self.bridges.values():
            for sent in (*bridge.in_flight.values(), *bridge.waiting):
                self.books.settled(sent, acked=False)
        for port in self.ports.values():
            port.unplug()
        for link in self._links.values():
            await link.stop()


def counts(drive: Drive) -> dict[str, Any]:
    """Return what there is to show of a run."""
    books = drive.books
    return {
        "at_s": round(drive.done_s, 1),
        "sent": books.sent,
        "acknowledged": books.acknowledged,
        "waiting": sum(len(bridge.waiting) + len(bridge.in_flight) for bridge in drive.bridges.values()),
        "unsent": books.unsent,
        "damaged": books.damaged,
        "lost_serial_bytes": sum(port.lost_bytes for port in drive.ports.values()),
        "commands": books.commands,
        "per_dialect": dict(books.per_dialect),
    }
