"""Time, replaceable: wall, boot time, and whether the wall can be believed.

A Raspberry Pi has no clock chip: after a power cut the wall says some past date until the network
answers. So order comes from the journal's sequence, durations from `boot_ns`, and the wall is a label.

The gateway's wall clock is the boot clock and an offset. When somebody sets the machine's clock, the offset follows at
`SystemClock.settle` and nowhere else: so all that is stamped before it, and nothing behind it, is of the old offset,
and a time that was wrong can be mended afterwards to the millisecond (journal/timeline.py). Slewing, which NTP does
within half a second or so, moves both clocks of Linux alike and no offset.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec

NS_PER_S = 1_000_000_000
STEP_NS_MIN: Final = 5 * NS_PER_S  # a wall clock that moves by more against the boot clock was set: that is said
RELEASED_NS: Final = 1_735_689_600 * NS_PER_S  # 2025-01-01: no clock that is right shows less to this program
State = Literal["synced", "unsynced", "behind"]
"""synced: believed; unsynced: nobody disciplines it; behind: it shows less than what is known to be over."""


class ClockState(msgspec.Struct, frozen=True, kw_only=True):
    """How the clock is, as `status` and the heartbeat say it."""

    state: State
    synced: bool
    since: str  # in this state, by the clock as it is now
    boot_id: str
    boot_s: float  # seconds since boot
    steps: int = 0  # times that it was set by more than 5 s, since start
    not_before: str = ""  # while it is behind: what is surely over


_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_SETTLED_NS = 1_000_000  # less than this is how badly two clocks can be read at once
_READ_TRIES = 5
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
        self._trusted = self._synced = trusted
        self._asked_ns = -_ASK_EVERY_NS
        self._doubted = 0  # when timesyncd's flag was written that stood when a believed clock was set
        self._offset_ns = _offset_ns()

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970 as of the last `settle`."""
        return time.clock_gettime_ns(_BOOT) + self._offset_ns

    def boot_ns(self) -> int:
        """Return CLOCK_BOOTTIME where the kernel has it, else the monotonic clock."""
        return time.clock_gettime_ns(_BOOT)

    def boot_id(self) -> str:
        """Return the kernel's boot id."""
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return "unknown"

    def settle(self) -> int:
        """Take over what the machine's wall clock was set to; returns by how many ns, 0 if it goes on as it did.

        A believed clock that was set by more than STEP_NS_MIN is doubted until it is disciplined again.
        """
        offset_ns = _offset_ns()
        moved_ns = offset_ns - self._offset_ns
        if abs(moved_ns) < _SETTLED_NS:
            return 0
        self._offset_ns = offset_ns
        if abs(moved_ns) >= STEP_NS_MIN and not self._trusted:
            if self._synced:
                self._synced, self._doubted = False, _flagged()
            self._asked_ns = -_ASK_EVERY_NS  # whoever has set it may have said so
        return moved_ns

    def synced(self) -> bool:
        """Ask timesyncd's flag first, then the kernel (adjtimex), which chrony and ntpd set; at most once a second.

        A clock that was right stays believed until it is set: the kernel gives up its flag after hours without a
        network, while the clock is off by seconds a day. One that was just set is believed from the next `settle` on:
        until then our wall clock is the one that was wrong.
        """
        now = time.monotonic_ns()
        if not self._synced and now - self._asked_ns >= _ASK_EVERY_NS:
            self._asked_ns = now
            said = _flagged() != self._doubted or _kernel_synced()
            self._synced = said and abs(_offset_ns() - self._offset_ns) < _SETTLED_NS
        return self._synced


def _offset_ns() -> int:
    """Return what the wall clock shows more than the boot clock: of a few tries the one that took least."""
    best, found = 1 << 62, 0
    for _ in range(_READ_TRIES):
        before, wall, after = time.clock_gettime_ns(_BOOT), time.time_ns(), time.clock_gettime_ns(_BOOT)
        if after - before < best:
            best, found = after - before, wall - (before + after) // 2
    return found


def _flagged() -> int:
    """Return when timesyncd wrote its flag, which it does each time it has set the clock; 0: it did not."""
    try:
        return _SYNCHRONIZED.stat().st_mtime_ns or 1
    except OSError:
        return 0


@cache
def _adjtimex() -> Callable[[ctypes.Array[ctypes.c_char]], int]:
    """Find the call once: it is asked each second."""
    found: Callable[[ctypes.Array[ctypes.c_char]], int] = ctypes.CDLL(None, use_errno=True).adjtimex
    return found


def _kernel_synced() -> bool:
    timex = ctypes.create_string_buffer(256)  # struct timex is 208 bytes on 64-bit Linux; zeroed = read only
    try:
        state = _adjtimex()(timex)
    except (OSError, AttributeError):
        return True  # not Linux: a laptop, whose clock is fine
    status = ctypes.c_int.from_buffer(timex, 40 if ctypes.sizeof(ctypes.c_long) == 8 else 20).value
    return state >= 0 and not status & _STA_UNSYNC


def state_of(clock: Clock, not_before_ns: int = RELEASED_NS) -> State:
    """Say how far the wall clock can be believed; `not_before_ns`: what is surely over (the newest believed record)."""
    if clock.synced():
        return "synced"
    return "behind" if clock.wall_ns() < max(RELEASED_NS, not_before_ns) else "unsynced"


def rfc3339(wall_ns: int) -> str:
    """Write a wall time as RFC 3339 in UTC with milliseconds: ``2026-11-23T06:02:42.123Z``."""
    seconds, rest = divmod(wall_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{rest // 1_000_000:03d}Z"


def wall_ns_of(text: str) -> int:
    """Read an RFC 3339 time back into nanoseconds since 1970 (ValueError if it is none)."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time without a zone: {text!r}")
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * NS_PER_S + delta.microseconds * 1000
