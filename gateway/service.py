"""Talk to systemd: READY, STATUS, RELOADING, STOPPING and the watchdog; nothing anywhere else.

The notify protocol is datagrams of ``KEY=value`` lines to the socket named by ``$NOTIFY_SOCKET``
(sd_notify(3)). Without that variable each call is a quiet no-op, so the daemon need not ask.
"""

from __future__ import annotations

import os
import socket
import time

AGAIN = -1  # no exit code: the program starts itself again, as the same process
STATUS_CHARS_MAX = 200  # `systemctl status` shows one line


class Service:
    """The service manager's ear."""

    def __init__(self, address: str | None = None) -> None:
        named = os.environ.get("NOTIFY_SOCKET") if address is None else address
        self._address = "\0" + named[1:] if named and named.startswith("@") else named
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if self._address else None
        if self._socket is not None:
            self._socket.setblocking(False)

    @property
    def managed(self) -> bool:
        """Whether a service manager has started this program, and listens."""
        return self._socket is not None

    def ready(self, status: str) -> None:
        """Say that sources are subscribed or retrying and the journal is open."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def status(self, status: str) -> bool:
        """Replace the line that `systemctl status` shows; False when nobody took it: say it again."""
        return self._send(f"STATUS={_line(status)}")

    def extend(self, seconds: float) -> None:
        """Ask for so much time from now on, for a start or an end that takes long and gets on."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def reloading(self) -> None:
        """Say that a reload begins; `ready` ends it. systemd wants the time of CLOCK_MONOTONIC with it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str = "stopping") -> None:
        """Say that the orderly end has begun."""
        self._send(f"STOPPING=1\nSTATUS={_line(status)}")

    def alive(self) -> None:
        """Feed the watchdog; call it only when the event path made progress."""
        self._send("WATCHDOG=1")

    @property
    def watchdog_s(self) -> float | None:
        """Return within how many seconds `alive` must be called, None without a watchdog (sd_watchdog_enabled(3))."""
        usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
        if self._socket is None or not usec.isdecimal() or int(usec) == 0 or (pid and pid != str(os.getpid())):
            return None
        return int(usec) / 1e6

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> bool:
        if self._socket is None or self._address is None:
            return True  # there is nobody to be told
        try:
            self._socket.sendto(text.encode(), self._address)
        except OSError:
            return False  # systemd is restarting, or its buffer is full
        return True


def _line(text: str) -> str:
    return " ".join(text.split())[:STATUS_CHARS_MAX]
