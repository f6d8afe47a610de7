"""One serial port that stays: opened by identity, locked, read in bulk, found again after it was unplugged (asyncio).

pyserial does the settings (speed, mode, flow control); the bytes are read and written here, by the event loop and
without a thread. Whoever uses a port is its `PortOwner`:

    port = Port("bus-1", LineSettings(serial="usb:1a86:7523"), owner)
    await port.run()                      # until cancelled; owner.back(), owner.received(bytes), owner.lost(why)
    port.write(b"...")                    # False: the port is away, or too much is waiting

A port that is away is looked for again after `REOPEN_FIRST_S`, later up to `REOPEN_LONGEST_S`, under whatever name it
then has. Nothing that was read is lost by that; what the device sent meanwhile nobody received.

DTR stays as it is when the gateway ends (HUPCL is off), so that a board which restarts at its edge does so when it is
plugged in, and not with every restart of the gateway.

Exclusive: flock, which every decent program asks for, and TIOCEXCL, which keeps the others out (not on a pseudo
terminal, where it would outlive a gateway that was killed).

Bounds: `READ_BYTES` at a time, `write_bytes_max` waiting to be written, `write_timeout_s` without progress.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import termios
import time
from collections import deque
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
import serial  # type: ignore[import-untyped]

from gateway.backoff import Backoff
from gateway.clock import Clock, SystemClock, rfc3339
from gateway.codes.sources import PORT_GONE, PORT_STUCK
from gateway.logs.about import about
from gateway.sources.ports import Ports, is_identity, refusal

log = logging.getLogger(__name__)

READ_BYTES: Final = 65_536
REOPEN_FIRST_S: Final = 0.25
REOPEN_LONGEST_S: Final = 2.0
BAUD: Final = 9600
MODE: Final = "8N1"
PSEUDO: Final = "/dev/pts/"

Baud = Annotated[int, msgspec.Meta(ge=50, le=4_000_000)]
Mode = Annotated[str, msgspec.Meta(pattern=r"^[5-8][NEOMS](1|1\.5|2)$")]


class LineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which port, and how its line is set. What is left out of `baud` and `mode` is the profile's."""

    serial: str  # its identity: "usb:1a86:7523", "usb:0403:6001:A50285BI", "/dev/serial/by-id/...", "/dev/ttyAMA0"
    baud: Baud | None = None  # default: the profile's
    mode: Mode | None = None  # data bits, parity (N E O M S), stop bits; default: the profile's
    flow: Literal["none", "hardware", "software"] = "none"  # RTS/CTS, XON/XOFF
    dtr: bool | None = None  # false: lower DTR behind the opening, at which the kernel raises it
    rts: bool | None = None  # the same for RTS
    write_bytes_max: Annotated[int, msgspec.Meta(ge=1)] = 65_536  # of commands that wait for the line
    write_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 5.0  # without a byte taken; then they are dropped

    def __post_init__(self) -> None:
        if not is_identity(self.serial):
            hint = "write usb:1a86:7523 or a path; `edge-gateway serial list` shows them"
            raise ValueError(f"{self.serial!r} is no serial port: {hint}")


class PortOwner(Protocol):
    """Who a port belongs to. All calls come on the event loop's thread; what raises ends `Port.run`."""

    def back(self) -> None:
        """Take note that the port is open."""
        ...

    def received(self, data: bytes) -> None:
        """Take bytes as they were read."""
        ...

    def lost(self, why: str) -> None:
        """Take note that the port which was open is gone; `run` is looking for it."""
        ...


class PortRefused(OSError):
    """A port cannot be opened now; the text says why and what to do."""


class Port:
    """Keeps one serial port open."""

    def __init__(
        self,
        name: str,
        settings: LineSettings,
        owner: PortOwner,
        *,
        clock: Clock | None = None,
        ports: Ports | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.path = ""  # the tty, while it is open
        self.since = ""  # since when it is open, or away
        self.last_error = ""
        self.bytes_read = 0
        self.reopened = 0  # times it came back
        self.writes_refused = 0
        self._owner = owner
        self._clock = clock or SystemClock()
        self._ports = ports or Ports()
        self._line: Any = None  # pyserial's Serial, while open
        self._fd = -1
        self._loop: asyncio.AbstractEventLoop
        self._ended: asyncio.Future[str] | None = None  # why the port that is open is lost
        self._paused = False
        self._waiting: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._write_timer: asyncio.TimerHandle | None = None
        self._write_progress = 0.0

    @property
    def open(self) -> bool:
        """Tell whether the port is there."""
        return self._fd >= 0

    @property
    def unwritten_bytes(self) -> int:
        """Return how many bytes have not left the machine: here and in the kernel."""
        try:
            return self._waiting_bytes + (self._line.out_waiting if self.open else 0)
        except OSError:  # it is going; the reader says so
            return self._waiting_bytes

    async def run(self) -> None:
        """Open the port, and again whenever it is lost, until cancelled. What the owner raises ends it."""
        self._loop = asyncio.get_running_loop()
        self.since = rfc3339(self._clock.wall_ns())
        backoff = Backoff(REOPEN_FIRST_S, REOPEN_LONGEST_S)
        while True:
            try:
                self._open()
            except OSError as error:
                self._note(str(error))
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            try:
                self._owner.back()
                why = await self._until_lost()
            finally:
                self._close()
            self.since = rfc3339(self._clock.wall_ns())
            self._note(why)
            self._owner.lost(why)

    def write(self, data: bytes) -> bool:
        """Write bytes, or have them wait for the line; False when the port is away or too many are waiting."""
        if not self.open or self._waiting_bytes + len(data) > self.settings.write_bytes_max:
            self.writes_refused += 1
            return False
        if data:
            self._waiting.append(memoryview(data))
            self._waiting_bytes += len(data)
            if len(self._waiting) == 1:
                self._write_progress = time.monotonic()
                self._write_on()
        return True

    def fail(self, error: Exception) -> None:
        """End `run` with an error of the owner's, which came from a timer of its own."""
        if self._ended is not None and not self._ended.done():
            self._loop.remove_reader(self._fd)
            self._ended.set_exception(error)

    def discard(self) -> None:
        """Forget what was received and has not been read."""
        if self.open:
            try:
                termios.tcflush(self._fd, termios.TCIFLUSH)
            except termios.error:
                return  # it is going; the reader says so

    def pause(self) -> None:
        """Stop reading: the kernel keeps 4 KB, then flow control holds the device, or bytes are lost."""
        self._paused = True
        if self.open:
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        """Go on reading."""
        if self._paused:
            self._paused = False
            if self.open:
                self._loop.add_reader(self._fd, self._read)

    def status(self) -> dict[str, object]:
        """Say what `edge-gateway status` shows of a port."""
        said: dict[str, object] = {"kind": "serial", "address": self.settings.serial, "connected": self.open}
        said["since"] = self.since
        if self.open:
            said["port"] = self.path
        said["bytes"] = self.bytes_read
        if self.reopened:
            said["reconnects"] = self.reopened
        if self.writes_refused:
            said["refused_commands"] = self.writes_refused
        if self.last_error:
            said["last_error"] = self.last_error
        return said

    # -- opening and losing --------------------------------------------------------------------

    def _open(self) -> None:
        """Find, open, lock and set the port. OSError says why that did not work."""
        try:
            path = self._ports.resolve(self.settings.serial)
        except LookupError as error:
            raise PortRefused(str(error)) from None
        self._line = opened(path, self.settings, self._ports)
        self._fd = self._line.fileno()
        self._ended = self._loop.create_future()
        self.reopened += self.path != ""
        self.path, self.since, self.last_error = str(path), rfc3339(self._clock.wall_ns()), ""
        said = about(source=self.name)
        log.info("port %s: open, %s at %s", self.name, self.settings.serial, self.path, extra=said)
        if not self._paused:
            self._loop.add_reader(self._fd, self._read)

    async def _until_lost(self) -> str:
        assert self._ended is not None
        return await self._ended

    def _close(self) -> None:
        self._loop.remove_reader(self._fd)
        self._forget_writes()
        fd, self._fd = self._fd, -1
        if not self._line.port.startswith(PSEUDO):
            _ioctl(fd, termios.TIOCNXCL)
        try:
            self._line.close()
        except OSError as error:  # a port that is gone may say so once more
            log.debug("port %s: %s", self.name, error)

    def _note(self, why: str) -> None:
        if why != self.last_error:
            said = about(PORT_GONE, source=self.name)
            log.warning(
                "port %s: %s; looking for it every %.0f s at most", self.name, why, REOPEN_LONGEST_S, extra=said
            )
        self.last_error = why

    def _lose(self, why: str) -> None:
        if self._ended is not None and not self._ended.done():
            self._loop.remove_reader(self._fd)
            self._ended.set_result(why)

    # -- bytes ---------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(f"{self.path} is gone: {error.strerror}")
            return
        if not data:
            self._lose(f"{self.path} is gone: unplugged")
            return
        self.bytes_read += len(data)
        try:
            self._owner.received(data)
        except Exception as error:  # noqa: BLE001 - a bug: asyncio would log it and go on; it must end `run`
            self.fail(error)

    def _write_on(self) -> None:
        """Write what the line takes now."""
        waiting = self._waiting
        try:
            while waiting:
                written = os.write(self._fd, waiting[0])
                self._write_progress = time.monotonic()
                self._waiting_bytes -= written
                if written < len(waiting[0]):
                    waiting[0] = waiting[0][written:]
                    break
                waiting.popleft()
        except BlockingIOError:
            pass
        except OSError as error:
            self._lose(f"{self.path} is gone: {error.strerror}")
            return
        if not waiting:
            self._forget_writes()
        elif self._write_timer is None:
            self._loop.add_writer(self._fd, self._write_on)
            self._write_timer = self._loop.call_later(self.settings.write_timeout_s, self._look_at_writes)

    def _look_at_writes(self) -> None:
        """Drop what waits when the device took nothing for too long."""
        left = self._write_progress + self.settings.write_timeout_s - time.monotonic()
        if left > 0:
            self._write_timer = self._loop.call_later(left, self._look_at_writes)
            return
        self.writes_refused += len(self._waiting)
        self._forget_writes()
        try:
            termios.tcflush(self._fd, termios.TCOFLUSH)  # half a command must not meet the next one
        except termios.error as error:
            log.debug("port %s: %s", self.name, error)
        self.last_error = f"{self.path} took nothing for {self.settings.write_timeout_s:g} s: commands were dropped"
        log.warning("port %s: %s", self.name, self.last_error, extra=about(PORT_STUCK, source=self.name))

    def _forget_writes(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
            self._loop.remove_writer(self._fd)
        self._waiting.clear()
        self._waiting_bytes = 0


def opened(path: Path, settings: LineSettings, ports: Ports) -> Any:
    """Open, lock and set a port. PortRefused says why not, and who has it."""
    mode = settings.mode or MODE
    line = serial.Serial()
    line.port = str(path.resolve())
    line.baudrate = settings.baud or BAUD
    line.bytesize, line.parity, line.stopbits = int(mode[0]), mode[1], float(mode[2:])
    line.rtscts, line.xonxoff = settings.flow == "hardware", settings.flow == "software"
    line.timeout, line.inter_byte_timeout = 0, 0  # VMIN = 1: a read without bytes is "not yet", not the end
    line.exclusive = True
    if settings.dtr is not None:
        line.dtr = settings.dtr
    if settings.rts is not None:
        line.rts = settings.rts
    try:
        line.open()
    except (serial.SerialException, termios.error, OSError, ValueError) as error:
        raise PortRefused(_why_not(path, error, ports)) from None
    _keep_modem_lines(line.fileno())
    if not line.port.startswith(PSEUDO):
        _ioctl(line.fileno(), termios.TIOCEXCL)
    return line


def _keep_modem_lines(fd: int) -> None:
    """Have DTR and RTS left alone when the port is closed."""
    try:
        settings = termios.tcgetattr(fd)
        settings[2] &= ~termios.HUPCL
        termios.tcsetattr(fd, termios.TCSANOW, settings)
    except termios.error as error:
        log.debug("HUPCL: %s", error)


def _why_not(path: Path, error: Exception, ports: Ports) -> str:
    number = error.args[0] if isinstance(error, termios.error) else getattr(error, "errno", None)
    if number == errno.ENOENT:
        return f"{path} is not there"
    if number in (errno.EACCES, errno.EPERM):
        return f"{path}: {refusal(path) or 'permission denied'}"
    if number in (errno.EBUSY, errno.EAGAIN) or "exclusive" in str(error):
        return f"{path} is held by {', '.join(ports.holders(path)) or 'somebody else'}"
    return f"{path}: {os.strerror(number) if number else error}"


def _ioctl(fd: int, request: int) -> None:
    try:
        fcntl.ioctl(fd, request)
    except OSError as error:
        log.debug("ioctl %#x: %s", request, error)
