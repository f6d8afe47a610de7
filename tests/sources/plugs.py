"""Devices at the other end of serial ports: pseudo terminals, and a folder that looks like the kernel's about USB.

A `Plug` is a device: plugged in under a name, written to and read from at its own end, pulled out with or without
warning. `Sockets` are the machine's: what is plugged into them appears as a tty with vendor, product and place.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.sources.ports import Ports
from gateway.sources.source import Delivery

PATIENCE_S = 60.0


class Plug:
    """One device."""

    def __init__(self, path: Path | None = None) -> None:
        """Make it; with a path it is plugged in there."""
        self.master = -1
        self.path = Path()
        self.sent = 0  # bytes since it was plugged in
        if path is not None:
            self.plug(path)

    def plug(self, path: Path) -> None:
        """Appear as a tty of this name."""
        self.master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(self.master, False)
        self.sent = 0
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(os.ttyname(slave))
        os.close(slave)

    def unplug(self) -> None:
        """Vanish, with whatever the other side has not read."""
        if self.master >= 0:
            self.path.unlink()
            os.close(self.master)
            self.master = -1

    def send(self, data: bytes) -> int:
        """Send bytes; returns how many the line took."""
        try:
            taken = os.write(self.master, data)
        except BlockingIOError:
            taken = 0
        self.sent += taken
        return taken

    def read(self) -> bytes:
        """Return what came from the gateway."""
        try:
            return os.read(self.master, 65_536)
        except (BlockingIOError, OSError):  # nothing yet, or nobody has it open
            return b""


class Sockets:
    """A machine's USB sockets, as sysfs and /dev show them."""

    def __init__(self, folder: Path) -> None:
        self.ports = Ports(sys=folder / "sys", dev=folder / "dev")
        (folder / "sys/class/tty").mkdir(parents=True)
        (folder / "dev/serial/by-id").mkdir(parents=True)

    def plug(
        self,
        plug: Plug,
        name: str,
        kind: str = "1a86:7523",
        *,
        place: str = "1-1",
        serial: str = "",
        interface: int = 0,
    ) -> Plug:
        """Plug a device in: the kernel gives it a name."""
        plug.plug(self.ports.dev / name)
        device = self.ports.sys / "devices/usb1" / place
        inner = device / f"{place}:1.{interface}" / name
        (inner / "tty" / name).mkdir(parents=True)
        vendor, product = kind.split(":")
        facts = {
            "idVendor": vendor,
            "idProduct": product,
            "serial": serial,
            "manufacturer": "Example",
            "product": "Stick",
        }
        for fact, value in facts.items():
            if value:
                (device / fact).write_text(f"{value}\n")
        (inner.parent / "bInterfaceNumber").write_text(f"{interface:02x}\n")
        (inner / "tty" / name / "device").symlink_to(inner)
        (self.ports.sys / "class/tty" / name).symlink_to(inner / "tty" / name)
        if serial:
            (self.ports.dev / "serial/by-id" / f"usb-Example_Stick_{serial}-if{interface:02}-port0").symlink_to(
                plug.path
            )
        return plug

    def unplug(self, plug: Plug) -> None:
        """Pull a device out."""
        name = plug.path.name
        entry = self.ports.sys / "class/tty" / name
        inner = entry.resolve().parents[1]
        entry.unlink()
        for link in (self.ports.dev / "serial/by-id").iterdir():
            if link.readlink() == plug.path:
                link.unlink()
        shutil.rmtree(inner.parent)
        plug.unplug()


class Inbox:
    """Keeps frames by source, in order."""

    def __init__(self) -> None:
        self.frames: dict[str, list[bytes]] = {}
        self.deliveries: list[Delivery] = []

    def __call__(self, deliveries: Any) -> None:
        """Take deliveries."""
        self.deliveries += deliveries
        for delivery in deliveries:
            self.frames.setdefault(delivery.source, []).append(delivery.payload)


async def until(true: Callable[[], Any], what: object = "") -> Any:
    """Wait until something is so and return it."""
    end = time.monotonic() + PATIENCE_S
    while not (found := true()):
        assert time.monotonic() < end, what() if callable(what) else what
        await asyncio.sleep(0.01)
    return found


async def send_all(plug: Plug, data: bytes) -> None:
    """Send bytes, waiting while the line is full."""
    while data:
        data = data[plug.send(data) :]
        await asyncio.sleep(0.001)
