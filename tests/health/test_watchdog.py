"""What the watchdog says reaches a service manager that has no room for a while."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.health.watchdog import Watchdog
from gateway.service import Service

WATCHDOG_S = "2000000"  # microseconds


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Give a service manager's end of the socket that takes nothing more before somebody reads."""
    monkeypatch.setenv("WATCHDOG_USEC", WATCHDOG_S)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        listening.settimeout(60)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filling, suppress(BlockingIOError):
            filling.setblocking(False)
            while True:
                filling.sendto(b"full", path)
        yield listening


@pytest.fixture
def dog(full: socket.socket) -> Iterator[Watchdog]:
    """Give a watchdog whose service manager that is."""
    service = Service(full.getsockname())
    yield Watchdog(service, dict, lambda: "the disk refuses writes")
    service.close()


def rest(listening: socket.socket) -> list[str]:
    """Return what waits to be read."""
    listening.setblocking(False)
    found = []
    with suppress(BlockingIOError):
        while True:
            found.append(listening.recv(10_000).decode())
    listening.settimeout(60)
    return found


def test_a_line_that_found_no_room_is_said_again(full: socket.socket, dog: Watchdog) -> None:
    """What changed while the manager's buffer was full is said once it takes lines again, and then no more."""
    dog.beat()
    assert set(rest(full)) == {"full"}
    for lines in (["WATCHDOG=1", "STATUS=the disk refuses writes"], ["WATCHDOG=1"]):
        dog.beat()
        assert rest(full) == lines


def test_a_loop_that_hangs_is_named_when_there_is_room_again(
    full: socket.socket, dog: Watchdog, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread that looks after a hanging loop says so until somebody takes it."""
    with dog.guarded():  # and nobody beats
        while "the event loop hangs" not in caplog.text:
            time.sleep(0.01)
        while "the event loop hangs" not in full.recv(10_000).decode():
            continue
