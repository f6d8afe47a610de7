"""A reload by signal, as the service manager sees it; and a bug while files are read is no reason to end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from gateway.config.load import load
from gateway.daemon import Daemon
from gateway.event import Lane
from gateway.service import Service
from simulators.processes import wait_until

PATIENCE_S = 60.0
LOOK_S = 0.02
CONFIG = (
    '[gateway]\nname = "gw"\nstate = "{state}"\n[journal]\nbytes_max = "8MB"\n[sources.house]\nlisten = "127.0.0.1:0"\n'
)


class Manager:
    """A service manager's end of the socket."""

    def __init__(self, path: Path) -> None:
        self.said: list[str] = []
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.setblocking(False)

    def marks(self) -> list[str]:
        """Return what was said of a start, a reload or the end, in order."""
        while True:
            try:
                self.said.append(self._socket.recv(10_000).decode())
            except BlockingIOError:
                break
        return [each for each in self.said if each.startswith(("READY", "RELOADING", "STOPPING"))]

    def close(self) -> None:
        """Hear nothing more."""
        self._socket.close()


def play(folder: Path, scene: Callable[[Daemon, Manager], Awaitable[None]]) -> None:
    """Run a scene with a gateway in this process."""
    (folder / "gateway.toml").write_text(CONFIG.format(state=folder / "state"))
    manager = Manager(folder / "notify")

    async def whole() -> None:
        daemon = Daemon(load(folder / "gateway.toml"), service=Service(manager.address))
        life = asyncio.create_task(daemon.run())
        try:
            async with asyncio.timeout(PATIENCE_S):
                await heard(manager, 1)
                await scene(daemon, manager)
            assert not life.done()
        finally:
            daemon.stop()
            await life

    try:
        asyncio.run(whole())
    finally:
        manager.close()


async def heard(manager: Manager, count: int) -> list[str]:
    """Wait until so much was said."""
    while len(manager.marks()) < count:
        await asyncio.sleep(LOOK_S)
    return manager.marks()


def test_the_service_manager_is_told_that_a_reload_began_and_ended(tmp_path: Path) -> None:
    """SIGHUP is answered by RELOADING=1 with the monotonic time, then READY=1, also for a broken config."""

    async def scene(daemon: Daemon, manager: Manager) -> None:
        for text, source in (("[sources.attic]\nlisten = '127.0.0.1:0'\n", "attic"), ("[sources\n", "attic")):
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            (tmp_path / "gateway.d").mkdir(exist_ok=True)
            (tmp_path / "gateway.d" / "a.toml").write_text(text)
            count = len(manager.marks())
            os.kill(os.getpid(), signal.SIGHUP)
            reloading, ready = (await heard(manager, count + 2))[count:]
            word, _, began = reloading.partition("\nMONOTONIC_USEC=")
            assert word == "RELOADING=1"
            assert before <= int(began) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            assert ready.startswith("READY=1\nSTATUS=")
            assert list(daemon.sources) == ["house", source]
        assert "a.toml:1" in daemon.reload.faults[0]

    play(tmp_path, scene)


def test_a_bug_while_reading_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody expected is said like any other fault: the gateway goes on, and reloads when it is over."""

    async def scene(daemon: Daemon, _manager: Manager) -> None:
        def broken(*_: object) -> None:
            raise KeyError("lost")

        with monkeypatch.context() as patch:
            patch.setattr("gateway.reload.reload.prints", broken)
            outcome = await daemon.reload.ask("person:anna")
            assert not outcome.applied
            assert "a fault of the gateway: KeyError" in outcome.faults[0]
        assert (await daemon.reload.ask("person:anna")).applied

    play(tmp_path, scene)


def test_all_who_ask_at_once_are_answered_by_one_reload(tmp_path: Path) -> None:
    """A storm of requests costs two reloads: the one under way, and one for all who came meanwhile."""

    async def scene(daemon: Daemon, manager: Manager) -> None:
        count = len(manager.marks())
        outcomes = await asyncio.gather(*(daemon.reload.ask("person:anna") for _ in range(50)))
        assert all(outcome.applied for outcome in outcomes)
        assert len((await heard(manager, count + 2))[count:]) <= 4

    play(tmp_path, scene)


def test_a_storm_over_a_broken_config_is_one_record(tmp_path: Path) -> None:
    """The same refusal again and again fills neither the disk nor the cloud; another one is recorded."""

    async def scene(daemon: Daemon, _manager: Manager) -> None:
        before = daemon.journal.last_sequence
        for text in ("[broken", "[broken", "[broken", "other = \n", "other = \n"):
            (tmp_path / "gateway.toml").write_text(text)
            assert not (await daemon.reload.ask("person:anna")).applied
        records = daemon.journal.reader(Lane.TELEMETRY)
        await daemon.committer.flush()
        found = [msgspec.json.decode(each.raw) for each in records.read(before, 100, 1 << 20)]
        records.close()
        assert sum(each["data"].get("what") == "config_refused" for each in found) == 2

    play(tmp_path, scene)


def test_a_hangup_while_it_starts_ends_nobody(tmp_path: Path) -> None:
    """SIGHUP that comes before there is anything to reload, again and again, does not keep a gateway from starting."""
    file, state = tmp_path / "gateway.toml", tmp_path / "state"
    file.write_text(CONFIG.format(state=state))
    argv = [sys.executable, "-m", "gateway", "run", "--config", str(file)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            assert wait_until(state.exists, PATIENCE_S)  # it has read its config and opens its journal
            while not (state / "api.sock").exists() and process.poll() is None:
                process.send_signal(signal.SIGHUP)
                time.sleep(LOOK_S)
            assert process.poll() is None
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
