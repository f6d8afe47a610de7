"""The watchdog over a whole gateway, with a service manager's socket at the other end: each stage broken by hand."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

import gateway.daemon
from gateway.config.load import load
from gateway.daemon import Daemon
from gateway.errors import DiskRefused
from gateway.event import Event
from gateway.progress import SHARES
from gateway.service import Service
from simulators.processes import free_port
from tests.system.rig import PATIENCE_S

WATCHDOG_S = 2.0
TICK_S = 0.1
SOON = 0.5  # of it, for stages that have more time in a house
LOOK_S = 0.02
BEATS = 3
BEATS_OF_A_LIMIT = 15


class Manager:
    """A service manager's end of the socket: every datagram, in order."""

    def __init__(self, path: Path) -> None:
        self.said: list[str] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(LOOK_S)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                self.said.append(self.socket.recv(10_000).decode())
            except TimeoutError:
                continue

    def close(self) -> None:
        """Hear nothing more."""
        self._over.set()
        self._thread.join()
        self.socket.close()

    def line(self) -> str:
        """Return the last status line."""
        lines = [line for each in self.said for line in each.splitlines() if line.startswith("STATUS=")]
        return lines[-1].removeprefix("STATUS=") if lines else ""

    def pings_since(self, text: str) -> int:
        """Count the pings behind the last datagram with a text."""
        last = max(i for i, each in enumerate(self.said) if text in each)
        return self.said[last:].count("WATCHDOG=1")


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """Give a service manager that does not wait long for a ping, and stages that are judged sooner than in a house."""
    monkeypatch.setenv("WATCHDOG_USEC", str(int(WATCHDOG_S * 1e6)))
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.setattr(gateway.daemon, "TICK_S", TICK_S)
    shares: Any = SHARES
    for stage in ("commit", "forward", "acknowledge", "inbox"):
        monkeypatch.setitem(shares, stage, SOON)
    found = Manager(tmp_path / "notify")
    yield found
    found.close()


def configured(folder: Path) -> Path:
    """Write a config with a listener and a cloud that is not there."""
    file = folder / "gateway.toml"
    file.write_text(
        f'[gateway]\nname = "gw"\nstate = "{folder / "state"}"\n[journal]\nbytes_max = "8MB"\n'
        f'[sources.house]\nlisten = "127.0.0.1:{free_port()}"\n'
        f'[targets.cloud]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1:{free_port()}"\nkeep_alive_s = 1\n'
        "answer_timeout_s = 0.5\n"
    )
    return file


@asynccontextmanager
async def running(folder: Path, manager: Manager) -> Any:
    """Run a gateway in this process."""
    daemon = Daemon(load(configured(folder)), service=Service(manager.socket.getsockname()))
    life = asyncio.create_task(daemon.run())
    try:
        await until(lambda: any(each.startswith("READY=1") for each in manager.said), life)
        yield daemon
    finally:
        daemon.stop()
        await life


async def until(true: Callable[[], object], life: asyncio.Task[None] | None = None) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "it never came"
        assert life is None or not life.done(), life and life.exception()
        await asyncio.sleep(LOOK_S)


async def beats(daemon: Daemon, number: int = BEATS) -> None:
    """Wait for so many looks of the watchdog."""
    first = daemon.watchdog.beats
    await until(lambda: daemon.watchdog.beats >= first + number)


def record(daemon: Daemon) -> None:
    """Have something happen."""
    daemon.pipeline.record(Event(source="/gw/house", type="alarm_raised", lane="alarm", data={}))


@contextmanager
def broken(owner: Any, name: str, instead: Any) -> Iterator[None]:
    """Put something else in the place of an attribute for a while."""
    whole = getattr(owner, name)
    setattr(owner, name, instead)
    try:
        yield
    finally:
        setattr(owner, name, whole)


def run(folder: Path, manager: Manager, scene: Callable[[Daemon], Awaitable[None]]) -> None:
    """Play a scene on a running gateway."""

    async def _run() -> None:
        async with running(folder, manager) as daemon:
            await scene(daemon)

    asyncio.run(_run())


def test_a_hanging_disk_stops_the_ping_until_it_goes_on(tmp_path: Path, manager: Manager) -> None:
    """A write that does not return is named in STATUS, no ping follows; when it returns, pings do."""

    async def scene(daemon: Daemon) -> None:
        free = threading.Event()
        write = daemon.journal.write

        def hang(block: Any) -> None:
            free.wait(PATIENCE_S)
            write(block)

        with broken(daemon.journal, "write", hang):
            record(daemon)
            await until(lambda: "stage commit is stuck" in manager.line())
            await beats(daemon)
            assert manager.pings_since("stage commit is stuck") == 0
            free.set()
            await until(lambda: not daemon.watchdog.stuck)
        await until(lambda: manager.pings_since("stage commit is stuck") > 0)
        await until(lambda: "stuck" not in manager.line())

    run(tmp_path, manager, scene)


def test_a_target_that_never_comes_back_stops_the_ping(tmp_path: Path, manager: Manager) -> None:
    """A send without an end is named with its route, and no ping follows."""

    async def scene(daemon: Daemon) -> None:
        target, never = daemon.targets["cloud"], asyncio.Event()

        async def there() -> None:
            return

        async def hang(_batch: Any) -> Any:
            await never.wait()

        with broken(target, "ready", there), broken(target, "send", hang):
            await daemon.stages.replace("forward[cloud]", daemon.forwarders[0].run())
            record(daemon)
            await until(lambda: "stage forward[cloud] is stuck" in manager.line())
            await beats(daemon)
            assert manager.pings_since("stage forward[cloud] is stuck") == 0

    run(tmp_path, manager, scene)


def test_what_is_not_acknowledged_stops_the_ping(tmp_path: Path, manager: Manager) -> None:
    """Messages that are on the disk and whose senders are not told are a stage that is stuck."""

    async def scene(daemon: Daemon) -> None:
        await until(lambda: daemon.committer.commits)
        with broken(daemon.pipeline, "durable", lambda: None):
            daemon.pipeline.inbox([delivery()])
            await until(lambda: "stage acknowledge is stuck" in manager.line())

    run(tmp_path, manager, scene)


def test_an_event_loop_that_hangs_is_named_by_line(
    tmp_path: Path, manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    """Decoding that does not return pings nobody, and what it hangs in is in STATUS and in the log meanwhile."""

    async def scene(daemon: Daemon) -> None:
        said: list[str] = []

        def hang(_delivery: Any) -> Any:
            deadline = time.monotonic() + PATIENCE_S
            while "the event loop hangs" not in manager.line():
                assert time.monotonic() < deadline, "nobody noticed"
                time.sleep(LOOK_S)
            said.append(manager.line())
            raise ValueError("at last")

        with broken(daemon.decoders["house"], "decode", hang):
            daemon.pipeline.inbox([delivery()])
        assert said[0].startswith("stage inbox is stuck: the event loop hangs in gateway/pipeline.py:")
        assert "(inbox)" in said[0]
        await until(lambda: "stuck" not in manager.line())

    run(tmp_path, manager, scene)
    assert "in hang" in caplog.text


def test_a_disk_that_refuses_and_a_cloud_that_is_away_are_not_stuck(tmp_path: Path, manager: Manager) -> None:
    """With no cloud, a disk that refuses each write and sources that pause, pings go on, and STATUS says what is so."""

    async def scene(daemon: Daemon) -> None:
        def refuse(_block: Any) -> None:
            raise DiskRefused("no room left")

        await until(lambda: "cloud away since" in manager.line())
        with broken(daemon.journal, "write", refuse), broken(daemon.pipeline, "paused", instead=True):
            daemon.pipeline._waiting_bytes += 1 << 30
            record(daemon)
            await until(lambda: "the disk refuses writes, acknowledgements wait: no room left" in manager.line())
            before = manager.said.count("WATCHDOG=1")
            await beats(daemon, BEATS_OF_A_LIMIT)
            await until(lambda: manager.said.count("WATCHDOG=1") >= before + BEATS_OF_A_LIMIT)
            await until(lambda: "sources pause" in manager.line())
            await until(lambda: daemon.watchdog.stuck == [])
            daemon.pipeline._waiting_bytes -= 1 << 30

    run(tmp_path, manager, scene)


def delivery() -> Any:
    """Return a message that no profile reads."""
    from gateway.sources.source import Delivery

    return Delivery("house", "nobody/reads/this", b"1", time.time_ns(), Nobody())


class Nobody:
    """Is told nothing."""

    def acknowledge(self, delivery: Any) -> None:
        """Take it."""
