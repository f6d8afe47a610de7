"""A link that can be cut: a TCP proxy between the gateway and its cloud.

Two ways to cut it, because they hurt differently:

* ``close``     both sides are reset and new connections are reset at once: the router says no.
* ``blackhole`` nothing moves and nothing is said: bytes wait, as behind a dead uplink; they flow again on restore.

A schedule ("cut at second 8 for 5 s") runs by itself: `Link.run`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from simulators import wire

WAITING_BYTES_MAX = 1 << 20  # in each direction of a connection; beyond it TCP pushes back

Cut = Literal["close", "blackhole"]


@dataclass(frozen=True, slots=True)
class Outage:
    """When the link is cut, in seconds from the start of the schedule, for how long and how."""

    at_s: float
    lasts_s: float
    how: Cut = "close"

    @classmethod
    def parse(cls, text: str) -> Outage:
        """Read ``AT:LASTS[:close|blackhole]``; ValueError if it is none."""
        at, lasts, *how = text.split(":")
        if how not in ([], ["close"], ["blackhole"]):
            raise ValueError(f"not an outage: {text!r} (AT:LASTS[:close|blackhole])")
        return cls(float(at), float(lasts), "blackhole" if how == ["blackhole"] else "close")


class Link:
    """Listens on a port of its own and forwards to `host`:`port` while it is whole."""

    def __init__(self, host: str, port: int, *, listen_port: int = 0, delay_s: float = 0.0) -> None:
        """Forward to `host`:`port`; every chunk arrives `delay_s` late."""
        self._far, self._listen_port = (host, port), listen_port
        self.delay_s = delay_s
        self.delay_up_s: float | None = None  # towards the far side, where that is another one
        self.port = listen_port
        self.connections = 0  # accepted since the start
        self.bytes_up = 0  # towards the far side
        self.bytes_down = 0
        self.cuts = 0
        self._cut: Cut | None = None
        self._cut_since = self._cut_total_s = 0.0
        self._ends: set[_End] = set()
        self._dialling: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def whole(self) -> bool:
        """Return whether bytes flow."""
        return self._cut is None

    @property
    def outage_s(self) -> float:
        """Return the seconds it has been cut, the present cut included."""
        return self._cut_total_s + (time.monotonic() - self._cut_since if self._cut else 0.0)

    async def start(self) -> int:
        """Listen on loopback and return the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _End(self, up=True), "127.0.0.1", self._listen_port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    async def stop(self) -> None:
        """Close everything."""
        if self._server:
            self._server.close()
        for dialling in list(self._dialling):
            dialling.cancel()
        await asyncio.gather(*self._dialling, return_exceptions=True)
        self._reset()
        await asyncio.sleep(0)  # each end leaves in its own connection_lost, at the next turn of the loop
        if self._server:
            await self._server.wait_closed()

    def cut(self, how: Cut = "close") -> None:
        """Cut it, now."""
        if self._cut is None:
            self._cut_since = time.monotonic()
            self.cuts += 1
        self._cut = how
        if how == "close":
            self._reset()
        for end in self._ends:
            end.pump()

    def restore(self) -> None:
        """Make it whole again."""
        if self._cut:
            self._cut_total_s += time.monotonic() - self._cut_since
        self._cut = None
        for end in list(self._ends):
            end.pump()

    async def run(self, schedule: Sequence[Outage]) -> None:
        """Cut and restore by the clock; ends behind the last outage."""
        start = time.monotonic()
        for outage in sorted(schedule, key=lambda each: each.at_s):
            await asyncio.sleep(max(0.0, start + outage.at_s - time.monotonic()))
            self.cut(outage.how)
            await asyncio.sleep(outage.lasts_s)
            self.restore()

    def _reset(self) -> None:
        for end in list(self._ends):
            end.abort()

    def _opened(self, end: _End) -> None:
        """Register one side of a connection; the near side has the far one dialled for it."""
        self._ends.add(end)
        if end.peer is not None:
            return
        self.connections += 1
        if self._cut == "close":
            end.abort()
            return
        task = asyncio.get_running_loop().create_task(self._dial(end))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    async def _dial(self, near: _End) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: _End(self, up=False, peer=near), *self._far)
        except OSError:
            near.abort()


class _End(asyncio.Protocol):
    """One side of a carried connection: what it reads waits here until it is due, then goes to its peer."""

    def __init__(self, link: Link, *, up: bool, peer: _End | None = None) -> None:
        self._link, self._up, self.peer = link, up, peer
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._waiting_bytes = 0
        self._closing = self._peer_full = False
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self.peer is not None:
            self.peer.peer = self
        self._link._opened(self)
        if self.peer is not None:
            self.peer.pump()

    def data_received(self, data: bytes) -> None:
        link = self._link
        delay_s = link.delay_s if link.delay_up_s is None or not self._up else link.delay_up_s
        self._waiting.append((time.monotonic() + delay_s, data))
        self._waiting_bytes += len(data)
        self.pump()

    def eof_received(self) -> bool:
        self._closing = True  # what was read before still goes out
        self.pump()
        return True

    def pause_writing(self) -> None:
        if self.peer is not None:
            self.peer._peer_full = True
            self.peer.pump()

    def resume_writing(self) -> None:
        if self.peer is not None:
            self.peer._peer_full = False
            self.peer.pump()

    def connection_lost(self, _error: Exception | None) -> None:
        self._link._ends.discard(self)
        self._transport = None
        if self._timer:
            self._timer.cancel()
        if self.peer is not None and not self._closing:
            self.peer.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def pump(self) -> None:
        """Hand over what is due; read on only while the link is whole and little waits."""
        if self._transport is None:
            return
        peer = self.peer
        if self._link.whole and peer is not None and peer._transport is not None:
            now = time.monotonic()
            while self._waiting and self._waiting[0][0] <= now and not self._peer_full:
                chunk = self._waiting.popleft()[1]
                self._waiting_bytes -= len(chunk)
                self._count(chunk)
                peer._transport.write(chunk)
            self._sleep_until_due(now)
            if self._closing and not self._waiting:
                peer._transport.close()
                self._transport.close()
                return
        if self._link.whole and self._waiting_bytes < WAITING_BYTES_MAX:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _sleep_until_due(self, now: float) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._waiting and not self._peer_full:
            delay_s = self._waiting[0][0] - now
            self._timer = asyncio.get_running_loop().call_later(delay_s, self.pump)

    def _count(self, chunk: bytes) -> None:
        if self._up:
            self._link.bytes_up += len(chunk)
        else:
            self._link.bytes_down += len(chunk)


async def _main(arguments: argparse.Namespace) -> None:
    link = Link(*wire.address_of(arguments.to), listen_port=arguments.listen, delay_s=arguments.delay)
    print(json.dumps({"listening": await link.start()}), flush=True)
    await link.run(arguments.cut)
    if arguments.seconds is not None:
        await asyncio.sleep(arguments.seconds)
    else:
        await asyncio.Event().wait()
    await link.stop()


def main() -> None:
    """Run a link with a schedule of outages."""
    options = argparse.ArgumentParser(prog="python -m simulators.link", description=main.__doc__)
    options.add_argument("--to", required=True, help="the far side, host:port")
    options.add_argument("--listen", type=int, default=0, help="port to listen on (default: any)")
    options.add_argument("--delay", type=float, default=0.0, help="seconds each way")
    options.add_argument("--cut", type=Outage.parse, nargs="*", default=[], help="AT:LASTS[:close|blackhole] ...")
    options.add_argument("--seconds", type=float, help="end so long after the schedule (default: never)")
    asyncio.run(_main(options.parse_args()))


if __name__ == "__main__":
    main()
