"""A memory card that can be asked what was written to it: a real block device for a real ext4, made of memory.

A file of this process (FUSE, the protocol of fuse(4), no library) lies under a loop device, and that under ext4. So
every sector that the kernel writes passes here, in order, with every flush. `log` has them all: a power cut at any of
them can be put together afterwards (simulators/powercuts.py). `refuse` makes it fail: an errno for each call.

    ext4 --bio--> /dev/loopN --write, fsync--> FUSE file --request--> Card.pages + Card.log

What the kernel believes to be on the card after a flush is there; what it wrote since may be lost, in any order.

Needs root, /dev/fuse and loop devices (`see_that_it_can`). After `private_mounts` all of it is gone with this process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from gateway.errors import GatewayError

SECTOR: Final = 512
WRITE_BYTES_MAX: Final = 128 * 1024  # in one request
UNMOUNT_TRIES: Final = 100
TRY_S: Final = 0.05
TOOLS: Final = ("losetup", "mount", "umount", "mke2fs")

_INIT, _GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _STATFS, _RELEASE, _FSYNC, _FLUSH = (
    26,
    3,
    4,
    14,
    15,
    16,
    17,
    18,
    20,
    25,
)
_NO_ANSWER: Final = {2, 36, 42}  # FORGET, INTERRUPT, BATCH_FORGET
_IN = struct.Struct("<IIQQIIIHH")
_OUT = struct.Struct("<IiQ")
_RW = struct.Struct("<QQIIQII")
_BIG_WRITES, _MAX_PAGES = 1 << 5, 1 << 22
_CLONE_NEWNS, _MS_REC, _MS_PRIVATE, _MNT_DETACH = 0x20000, 0x4000, 1 << 18, 2


class CannotMount(GatewayError):
    """This machine or this user may not have a block device; says what is missing."""


class Entry(NamedTuple):
    """One thing that happened to the card: a write, or with `data` None a flush."""

    offset: int
    data: bytes | None


Refusal = Callable[[str, bytes], int]
"""("read", "write" or "flush", what is written) -> errno."""


def none(_what: str, _data: bytes) -> int:
    """Refuse nothing."""
    return 0


class Card:
    """The device. `serve` runs in a thread until the mount is gone."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.log: list[Entry] = []
        self.refuse: Refusal = none  # errno for a call, 0: let it pass
        self._content = bytearray(size)
        self._fuse = -1

    def load(self, image: bytes) -> None:
        """Begin with these contents."""
        self._content[: len(image)] = image

    def image(self) -> bytes:
        """Return what reads see."""
        return bytes(self._content)

    @contextmanager
    def attached(self, folder: Path) -> Iterator[Path]:
        """Have it as a loop device for the length of a block."""
        file = folder / "card"
        file.touch()
        self._fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        _mount("card", file, "fuse", f"fd={self._fuse},rootmode=100000,user_id=0,group_id=0,max_read={WRITE_BYTES_MAX}")
        server = threading.Thread(target=self._serve, name="card", daemon=True)
        server.start()
        device = None
        try:
            device = Path(_run("losetup", "--find", "--show", str(file)))
            yield device
        finally:
            self.refuse = none
            if device is not None:
                with suppress(CannotMount):
                    _run("losetup", "--detach", str(device))
            _call("umount2", os.fsencode(file), _MNT_DETACH)
            server.join(UNMOUNT_TRIES * TRY_S)
            os.close(self._fuse)

    # -- the protocol -----------------------------------------------------------------------------------

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._fuse, WRITE_BYTES_MAX + 4096)
            except InterruptedError:
                continue
            except OSError:  # ENODEV: unmounted
                return
            _, opcode, unique, *_ = _IN.unpack_from(request)
            if opcode in _NO_ANSWER:
                continue
            answer = self._answer(opcode, memoryview(request)[_IN.size :])
            error, data = (-answer, b"") if isinstance(answer, int) else (0, answer)
            with suppress(OSError):  # the one who asked was killed
                os.write(self._fuse, _OUT.pack(_OUT.size + len(data), error, unique) + data)

    def _answer(self, opcode: int, body: memoryview) -> bytes | int:
        """Return the answer's bytes, or an errno."""
        if opcode == _READ:
            _, offset, size, *_ = _RW.unpack_from(body)
            return self.refuse("read", b"") or bytes(self._content[offset : offset + size])
        if opcode == _WRITE:
            _, offset, size, *_ = _RW.unpack_from(body)
            return self._write(offset, bytes(body[_RW.size : _RW.size + size]))
        if opcode == _FSYNC:
            return self._flush()
        if opcode == _INIT:
            major, minor, ahead, _ = struct.unpack_from("<IIII", body)
            pages = WRITE_BYTES_MAX // 4096
            limits = struct.pack("<HHIIHHI28x", 12, 9, WRITE_BYTES_MAX, 1, pages, 0, 0)
            return struct.pack("<IIII", major, min(minor, 31), ahead, _BIG_WRITES | _MAX_PAGES) + limits
        if opcode in {_GETATTR, _SETATTR}:
            times = (0,) * 6
            return struct.pack("<QII", 3600, 0, 0) + struct.pack(
                "<QQQQQQIIIIIIIIII", 1, self.size, self.size // SECTOR, *times, 0o100600, 1, 0, 0, 0, 4096, 0
            )
        if opcode == _OPEN:
            return struct.pack("<QII", 1, 0, 0)
        if opcode == _STATFS:
            return struct.pack("<QQQQQIIII24x", self.size // 4096, 0, 0, 1, 0, 4096, 255, 4096, 0)
        return b"" if opcode in {_RELEASE, _FLUSH} else errno.ENOSYS

    def _write(self, offset: int, data: bytes) -> bytes | int:
        if error := self.refuse("write", data):
            return error
        self._content[offset : offset + len(data)] = data
        self.log.append(Entry(offset, data))
        return struct.pack("<II", len(data), 0)

    def _flush(self) -> bytes | int:
        if error := self.refuse("flush", b""):
            return error
        self.log.append(Entry(0, None))
        return b""


def see_that_it_can() -> None:
    """Raise CannotMount, with what is missing, where no card can be had."""
    missing = [tool for tool in TOOLS if _which(tool) is None]
    if os.geteuid():
        raise CannotMount("mounting a file system and making a block device needs root; type: sudo ./dev powercuts")
    if missing:
        raise CannotMount(f"missing: {', '.join(missing)}; type: apt-get install e2fsprogs mount")
    for device in ("/dev/fuse", "/dev/loop-control"):
        if not os.access(device, os.W_OK):
            raise CannotMount(f"there is no {device} here (in a container it has to be passed in)")


def private_mounts() -> None:
    """Have mounts of our own from here on, in this thread and its children. Raises CannotMount."""
    see_that_it_can()
    try:
        _call("unshare", _CLONE_NEWNS)
        _call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)
    except OSError as error:
        raise CannotMount(f"mounts of our own are refused: {error.strerror}") from error


def new_ext4(size: int, folder: Path) -> bytes:
    """Return the image of an empty ext4."""
    path = folder / "new"
    with path.open("wb") as file:
        file.truncate(size)
    _run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(path))
    image = path.read_bytes()
    path.unlink()
    return image


@contextmanager
def mounted(device: Path, at: Path, options: str = "relatime") -> Iterator[Path]:
    """Have a device (or an image, by a loop device of its own) mounted for the length of a block."""
    at.mkdir(exist_ok=True)
    loop = "" if device.is_block_device() else "loop,"
    _run("mount", "-t", "ext4", "-o", loop + options, str(device), str(at))
    try:
        yield at
    finally:
        unmount(at)


def unmount(at: Path) -> None:
    """Unmount, when those who use it are gone; at last whether they are or not."""
    for _ in range(UNMOUNT_TRIES):
        if not at.is_mount():
            return
        with suppress(CannotMount):
            _run("umount", str(at))
            return
        time.sleep(TRY_S)
    unmount_lazily(at)


def unmount_lazily(at: Path) -> None:
    """Take a mount out of sight, whoever uses it; nothing if there is none."""
    with suppress(CannotMount):
        _run("umount", "--lazy", str(at))


def _which(tool: str) -> str | None:
    return next((place for folder in PATH if os.access(place := f"{folder}/{tool}", os.X_OK)), None)


PATH: Final = (*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/sbin")


def _run(*command: str) -> str:
    tool = _which(command[0])
    if tool is None:
        raise CannotMount(f"there is no {command[0]} here")
    done = subprocess.run([tool, *command[1:]], capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode:
        raise CannotMount(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()


def _mount(source: str, target: Path, kind: str, options: str) -> None:
    _call("mount", source.encode(), os.fsencode(target), kind.encode(), 0, options.encode())


def _call(name: str, *arguments: object) -> None:
    """Call libc, with the global lock released. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
