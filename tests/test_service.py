"""The service manager is told, or nobody is."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.health import watchdog
from gateway.service import STATUS_CHARS_MAX, Service


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Give a service manager's end of the socket."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(str(tmp_path / "notify"))
    listening.settimeout(60)
    yield listening
    listening.close()


def test_lines_of_the_protocol(manager: socket.socket) -> None:
    """Each call is one datagram in the form of sd_notify(3)."""
    service = Service(manager.getsockname())
    service.ready("2 sources connected")
    assert manager.recv(1000) == b"READY=1\nSTATUS=2 sources connected"
    service.alive()
    assert manager.recv(1000) == b"WATCHDOG=1"
    service.reloading()
    assert manager.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    service.stopping()
    assert manager.recv(1000) == b"STOPPING=1\nSTATUS=stopping"
    service.close()


def test_status_is_one_short_line(manager: socket.socket) -> None:
    """Line breaks in a status cannot make another key, and its length is bounded."""
    service = Service(manager.getsockname())
    service.status("bad\nREADY=1 " + "x" * 1000)
    got = manager.recv(5000).decode()
    assert got.startswith("STATUS=bad READY=1 ")
    assert len(got) == len("STATUS=") + STATUS_CHARS_MAX
    service.close()


def test_abstract_address() -> None:
    """An address with @ is in the abstract name space."""
    name = f"edge-gateway-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        listening.settimeout(60)
        service = Service("@" + name)
        service.alive()
        assert listening.recv(100) == b"WATCHDOG=1"
        service.close()


def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of systemd every call is a quiet no-op."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    service = Service()
    service.ready("x")
    service.alive()
    assert service.watchdog_s is None
    service.close()


def test_manager_that_is_gone_does_not_stop_us(tmp_path: Path) -> None:
    """A socket that nobody reads is no error of the gateway."""
    service = Service(str(tmp_path / "gone"))
    service.status("still here")
    service.close()


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [("3000000", None, 3.0), ("3000000", "me", 3.0), ("3000000", "1", None), ("0", None, None), ("x", None, None)],
)
def test_watchdog_is_asked_for_by_the_environment(
    usec: str, pid: str | None, seconds: float | None, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watchdog runs when systemd asked this process for it."""
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    if pid:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "me" else pid)
    service = Service(manager.getsockname())
    assert service.watchdog_s == seconds
    service.close()


def test_a_start_that_gets_on_is_given_time(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that reads and writes asks for more time again and again; one that does neither does not."""
    monkeypatch.setattr(watchdog, "EXTEND_EVERY_S", 0.01)
    moved, looks = [0], threading.Semaphore(0)

    def bytes_moved() -> int:
        looks.release()
        return moved[0]

    monkeypatch.setattr(watchdog, "bytes_moved", bytes_moved)
    service = Service(manager.getsockname())
    with watchdog.patient(service):
        for _ in range(3):
            assert looks.acquire(timeout=30)
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(100)
        manager.settimeout(30)
        moved[0] = watchdog.BUSY_BYTES
        assert manager.recv(100) == b"EXTEND_TIMEOUT_USEC=30000000"
        assert manager.recv(100) == b"STATUS=starting: recovering the journal"
    service.close()


def test_what_was_read_is_counted(tmp_path: Path) -> None:
    """The kernel's count of bytes grows with what is read."""
    before = watchdog.bytes_moved()
    (tmp_path / "file").write_bytes(bytes(100_000))
    (tmp_path / "file").read_bytes()
    assert watchdog.bytes_moved() - before >= 200_000
