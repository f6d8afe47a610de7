"""A small arm64 computer in qemu: 512 MB, two slow cores, a real kernel, systemd and ext4, USB serial ports.

::

    board = Board(written("bookworm", package, {}), folder)
    with board.powered({1883: 18830}) as on:
        on.tell("systemctl is-active edge-gateway")     # what the shell on its console answers
        on.serial(0)                                    # the other end of /dev/serial/by-id/...BOARD0
        on.cut_power()                                  # SIGKILL: what was not on the card is gone

The card's changes stay in `folder`: the next time it is powered is the next boot of the same board. The board reaches
this machine's loopback as 10.0.2.2. Its processor is emulated (TCG): times are several times those of a real board.
"""

from __future__ import annotations

import itertools
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.card import Card
from lab.roots import LabError, need

MEMORY_MB = 512
CORES = 2
BOOT_S = 600.0  # until the console answers; the machine may be busy with other things
TELL_S = 300.0
OFF_S = 120.0
ANSWER_BYTES_MAX = 16 * 1024 * 1024


class Board:
    """A board and its card."""

    def __init__(self, card: Card, folder: Path, serial_ports: int = 0) -> None:
        need("qemu-system-aarch64", "qemu-system-arm")
        need("qemu-img", "qemu-utils")
        self._card = card
        self._folder = folder
        self._serial_ports = serial_ports
        self._boots = itertools.count(1)
        folder.mkdir(parents=True, exist_ok=True)
        self._disk = folder / "card.qcow2"
        if not self._disk.exists():
            command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(card.image), str(self._disk)]
            subprocess.run(command, check=True)

    @contextmanager
    def powered(self, ports: Mapping[int, int] | None = None, *, clock: str | None = None) -> Iterator[Powered]:
        """Switch it on; `ports` of the board by the port of our loopback that leads to it. Off again afterwards.

        `clock` is what its clock chip says, as ``1970-01-01T00:00:10``; default: the true time.
        """
        folder = self._folder / f"boot-{next(self._boots)}"
        folder.mkdir()
        command = self._command(folder, ports or {}, clock)
        with (folder / "qemu.log").open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        powered = Powered(process, folder)
        try:
            yield powered
        finally:
            powered.cut_power()

    def _command(self, folder: Path, ports: Mapping[int, int], clock: str | None) -> list[str]:
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{ours}-:{theirs}" for theirs, ours in ports.items())
        serial: list[str] = []
        for number in range(self._serial_ports):
            where = f"socket,id=line{number},path={folder}/serial{number},server=on,wait=off"
            device = f"usb-serial,id=usb{number},chardev=line{number},serial=BOARD{number},always-plugged=on"
            serial += ["-chardev", where, "-device", device]
        return [
            *("qemu-system-aarch64", "-M", "virt,gic-version=3", "-cpu", "cortex-a53", "-smp", str(CORES)),
            *("-m", str(MEMORY_MB), "-accel", "tcg,thread=multi", "-display", "none", "-no-reboot"),
            *("-kernel", str(self._card.kernel), "-initrd", str(self._card.first)),
            *("-append", "console=ttyAMA0 quiet mitigations=off", "-serial", f"file:{folder}/kernel.log"),
            *("-drive", f"file={self._disk},if=none,id=card,cache=writeback"),
            *("-device", "virtio-blk-pci,drive=card", "-device", "virtio-rng-pci"),
            *("-netdev", f"user,id=net,ipv6=off{forwards}", "-device", "virtio-net-pci,netdev=net,romfile="),
            *("-device", "virtio-serial-pci", "-chardev", f"socket,id=shell,path={folder}/shell,server=on,wait=off"),
            *("-device", "virtconsole,chardev=shell", "-device", "qemu-xhci", *serial),
            *("-qmp", f"unix:{folder}/qmp,server=on,wait=off"),
            *(["-rtc", f"base={clock},clock=vm"] if clock else []),
        ]


class Powered:
    """A board that is on."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.folder = folder
        self._process = process
        self._shell: socket.socket | None = None
        self._read = b""
        self._marks = itertools.count(1)

    def tell(self, command: str, limit_s: float = TELL_S) -> tuple[int, str]:
        """Have the shell on the console run a command; return its exit code and what it printed."""
        mark = f"done-{next(self._marks)}"
        shell = self._console()
        shell.sendall(f"{{ {command}\n}} </dev/null 2>&1; echo {mark} $?\n".encode())
        text = self._until(f"{mark} ", limit_s)
        code = self._until("\n", limit_s)
        return int(code), text.replace("\r\n", "\n")

    def serial(self, number: int) -> socket.socket:
        """Return the far end of one of the board's USB serial adapters."""
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        end.connect(str(self.folder / f"serial{number}"))
        return end

    def unplug(self, number: int) -> None:
        """Pull a USB serial adapter out."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as qmp, qmp.makefile("rw") as stream:
            qmp.connect(str(self.folder / "qmp"))
            for order in (
                {"execute": "qmp_capabilities"},
                {"execute": "device_del", "arguments": {"id": f"usb{number}"}},
            ):
                stream.write(json.dumps(order) + "\n")
                stream.flush()
                stream.readline()

    def still_on(self) -> None:
        """Raise LabError when it went off by itself."""
        self._still_on(float("inf"))

    def cut_power(self) -> None:
        """Cut the power: nothing is flushed, nobody is asked."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._close()

    def switch_off(self) -> None:
        """Shut it down in good order."""
        self._console().sendall(b"systemctl poweroff --no-block\n")
        self._process.wait(OFF_S)
        self._close()

    def _console(self) -> socket.socket:
        """Return the console; the first time it waits until the shell is there and quiet."""
        if self._shell is not None:
            return self._shell
        deadline = time.monotonic() + BOOT_S
        shell = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        while True:
            with suppress(OSError):
                shell.connect(str(self.folder / "shell"))
                break
            self._still_on(deadline)
            time.sleep(0.05)
        shell.settimeout(1.0)
        self._shell = shell
        while True:  # what is typed before the shell runs is lost or echoed
            shell.sendall(b"stty -echo -onlcr; echo the-shell-$((40+2))\n")
            with suppress(TimeoutError):
                while b"the-shell-42" not in self._read:
                    self._read += shell.recv(4096)
                break
            self._still_on(deadline)
        mark = f"quiet-{next(self._marks)}"
        shell.sendall(f"echo {mark[:5]}''{mark[5:]}\n".encode())
        self._until(mark + "\n", BOOT_S)
        return shell

    def _until(self, mark: str, limit_s: float) -> str:
        """Read the console up to a mark, which is taken off."""
        assert self._shell is not None
        deadline = time.monotonic() + limit_s
        wanted = mark.encode()
        while wanted not in self._read:
            with suppress(TimeoutError):
                got = self._shell.recv(65536)
                if not got:
                    raise LabError("the board went off")
                self._read += got
            if len(self._read) > ANSWER_BYTES_MAX:
                raise LabError("the board says too much")
            self._still_on(deadline)
        text, _, self._read = self._read.partition(wanted)
        return text.decode(errors="replace")

    def _still_on(self, deadline: float) -> None:
        if self._process.poll() is not None:
            raise LabError(f"the board is off: {(self.folder / 'qemu.log').read_text()[-1000:]}")
        if time.monotonic() > deadline:
            raise LabError(f"the board does not answer; its kernel said: {self.folder / 'kernel.log'}")

    def _close(self) -> None:
        if self._shell is not None:
            self._shell.close()
            self._shell = None


def copy_of(folder: Path, to: Path) -> None:
    """Copy what a board's boots left, without its card."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("*.qcow2", "serial*", "shell", "qmp"), dirs_exist_ok=True)
