"""Time, replaceable: wall, boot time, and whether the wall can be believed.

A Raspberry Pi has no clock chip: after a power cut the wall says some past date until the network
answers. So order comes from the journal's sequence, durations from `boot_ns`, and the wall is a label.
"""

from __future__ import annotations

import ctypes
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

NS_PER_S = 1_000_000_000
_SYNCHRONIZED = Path("/run/systemd/timesync/synchronized")
_ASK_EVERY_NS = NS_PER_S
_STA_UNSYNC = 0x0040  # adjtimex(2): the kernel's own "nobody disciplines this clock"


class Clock(Protocol):
    """What the gateway may know about time."""

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970-01-01 UTC, as far as this machine knows."""
        ...

    def boot_ns(self) -> int:
        """Return nanoseconds since boot, suspend included; never steps (CLOCK_BOOTTIME)."""
        ...

    def boot_id(self) -> str:
        """Return an identifier that changes with each boot."""
        ...

    def synced(self) -> bool:
        """Return whether somebody disciplines the wall clock."""
        ...


class SystemClock:
    """The machine's clock."""

    def __init__(self, *, trusted: bool = False) -> None:
        """Read the machine's clock; `trusted`: it is right whatever the kernel says (a clock chip)."""
        self._synced = trusted
        self._asked_ns = -_ASK_EVERY_NS

    def wall_ns(self) -> int:
        """Return `time.time_ns`."""
        return time.time_ns()

    def boot_ns(self) -> int:
        """Return CLOCK_BOOTTIME where the kernel has it, else the monotonic clock."""
        clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        return time.clock_gettime_ns(clock)

    def boot_id(self) -> str:
        """Return the kernel's boot id."""
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return "unknown"

    def synced(self) -> bool:
        """Ask timesyncd's flag first, then the kernel (adjtimex), which chrony and ntpd set; at most once a second.

        A clock that was right stays believed: the kernel gives up its flag after hours without a network, while the
        clock is off by seconds a day.
        """
        now = time.monotonic_ns()
        if not self._synced and now - self._asked_ns >= _ASK_EVERY_NS:
            self._asked_ns = now
            self._synced = _SYNCHRONIZED.exists() or _kernel_synced()
        return self._synced


def _kernel_synced() -> bool:
    timex = ctypes.create_string_buffer(256)  # struct timex is 208 bytes on 64-bit Linux; zeroed = read only
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    except (OSError, AttributeError):
        return True  # not Linux: a laptop, whose clock is fine
    status = ctypes.c_int.from_buffer(timex, 40 if ctypes.sizeof(ctypes.c_long) == 8 else 20).value
    return state >= 0 and not status & _STA_UNSYNC


def rfc3339(wall_ns: int) -> str:
    """Write a wall time as RFC 3339 in UTC with milliseconds: ``2026-11-23T06:02:42.123Z``."""
    seconds, rest = divmod(wall_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03d}Z"


def wall_ns_of(text: str) -> int:
    """Read an RFC 3339 time back into nanoseconds since 1970 (ValueError if it is none)."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time without a zone: {text!r}")
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * NS_PER_S + delta.microseconds * 1000
