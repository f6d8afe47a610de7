"""The serial ports of a machine and their identity: what stays the same when a cable is plugged in elsewhere.

=========================  =========================================================================================
``usb:1a86:7523``          the adapter with this vendor and product, if there is one of it
``usb:0403:6001:A50285BI`` that one of them with this serial number
``usb:1a86:7523@1-1.2``    that one of them at this place (hub and socket), for adapters without a serial number
``usb:10c4:8a2a:0011#1``   interface 1 of a device that has several ports
``/dev/...``               a path: a by-id link, a tty, a pseudo terminal
=========================  =========================================================================================

Sources: Linux's sysfs (Documentation/ABI/testing/sysfs-bus-usb, sysfs-tty), proc(5) for locks.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_SERIAL: Final = r"""[^@#/"'\\\s\x00-\x1f\x7f-\x9f]+"""  # what can be pasted; other numbers are not used
_IDENTITY: Final = re.compile(
    r"usb:([0-9a-fA-F]{4}):([0-9a-fA-F]{4})(?::(" + _SERIAL + "))?(?:@([0-9.-]+))?(?:#([0-9]{1,3}))?"
)
_NO_HARDWARE: Final = "0"  # what `type` says of the ttyS that the kernel made for ports which are not there
_PARENTS_MAX: Final = 12  # folders of sysfs between a tty and its USB device
HOLDERS_MAX: Final = 3  # processes that an error names


@dataclass(frozen=True)
class Found:
    """A port that is there."""

    path: Path  # the tty
    vendor: str = ""  # four hexadecimal digits; empty: not USB
    product: str = ""
    serial: str = ""
    place: str = ""
    interface: int = 0
    title: str = ""  # maker and product, as the device says
    by_id: Path | None = None
    identity: str = ""  # the shortest that is this port's alone, as to be pasted


@dataclass(frozen=True)
class Ports:
    """Looks into sysfs; nothing is kept, because ports come and go."""

    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    proc: Path = field(default=Path("/proc"))

    def all(self) -> list[Found]:
        """Return every port with hardware behind it, by path."""
        found = sorted(self._scan(), key=lambda port: (not port.vendor, str(port.path)))
        return [_named(port, found) for port in found]

    def resolve(self, identity: str) -> Path:
        """Return the path of a port. LookupError says why there is none, or which there are."""
        if not identity.startswith("usb:"):
            return Path(identity)
        wanted = _IDENTITY.fullmatch(identity)
        if wanted is None:
            raise LookupError(f"{identity!r} is no port: write usb:1a86:7523, or a path")
        ports = self.all()
        matching = [port for port in ports if _is(port, wanted)]
        if len(matching) == 1:
            return matching[0].path
        if matching:
            said = ", ".join(f"{port.identity} ({port.path})" for port in matching)
            raise LookupError(f"{len(matching)} ports are {identity}; say which: {said}")
        there = ", ".join(port.identity for port in ports) or "no port at all"
        raise LookupError(f"{identity} is not plugged in (there is {there})")

    def _scan(self) -> Iterator[Found]:
        by_id = {link.resolve(): link for link in sorted((self.dev / "serial/by-id").glob("*"))}
        for tty in sorted((self.sys / "class/tty").glob("*")):
            device = tty / "device"
            if not device.exists() or _text(tty / "type") == _NO_HARDWARE or tty.name.startswith("rfcomm"):
                continue
            path = self.dev / tty.name
            usb, interface = _usb_device(device.resolve())
            link = by_id.get(path.resolve())
            if usb is None:
                yield Found(path, by_id=link)
                continue
            title = " ".join(word for word in (_text(usb / "manufacturer"), _text(usb / "product")) if word)
            yield Found(
                path, _text(usb / "idVendor"), _text(usb / "idProduct"), _text(usb / "serial"), usb.name, interface,
                title, link,
            )  # fmt: skip

    def holders(self, path: Path) -> list[str]:
        """Return who has locked a port, or else opened it, as ``name (process 12)``; what /proc shows this user."""
        try:
            entry = path.stat()
        except OSError:
            return []
        processes = set(self._lockers(entry)) or set(self._openers(path))
        if os.getpid() in processes:
            return ["another source of this gateway"]
        named = [f"{_text(self.proc / str(pid) / 'comm') or 'somebody'} (process {pid})" for pid in sorted(processes)]
        return named[:HOLDERS_MAX]

    def _lockers(self, entry: os.stat_result) -> Iterator[int]:
        place = f"{os.major(entry.st_dev):02x}:{os.minor(entry.st_dev):02x}:{entry.st_ino}"
        for line in _text(self.proc / "locks").splitlines():
            words = line.split()
            if place in words and words[4].isdecimal():
                yield int(words[4])

    def _openers(self, path: Path) -> Iterator[int]:
        real = str(path.resolve())
        for descriptor in self.proc.glob("[0-9]*/fd/*"):
            try:
                if str(descriptor.readlink()) == real:
                    yield int(descriptor.parts[-3])
            except OSError:  # not ours to see, or gone
                continue


def is_identity(text: str) -> bool:
    """Tell whether a text can name a port: ``usb:`` and what belongs to it, or an absolute path."""
    return _IDENTITY.fullmatch(text) is not None if text.startswith("usb:") else text[:1] == "/" and "\0" not in text


def refusal(path: Path) -> str:
    """Say why this user may not open a port and what to type; empty when that is not so."""
    try:
        entry = path.stat()
    except OSError:
        return ""
    if os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        return ""
    return refused_by(entry, os.geteuid(), {os.getegid(), *os.getgroups()})


def refused_by(entry: os.stat_result, uid: int, gids: Collection[int]) -> str:
    """Say who keeps a user with these groups from a port that it may not open.

    What the file's owner and mode allow is refused by the unit's DeviceAllow: systemd looks drivers up by name when
    the service starts (systemd.resource-control(5)), one that is loaded later is not in its list.
    """
    read, write = stat.S_IRUSR, stat.S_IWUSR
    shift = 0 if uid == entry.st_uid else 3 if entry.st_gid in gids else 6
    if uid == 0 or ((entry.st_mode << shift) & read and (entry.st_mode << shift) & write):
        return (
            "the service may not use devices of this kind, their driver came after it: systemctl restart edge-gateway"
        )
    user, group = _user(uid), _group(entry.st_gid)
    if entry.st_mode & stat.S_IRGRP and entry.st_mode & stat.S_IWGRP and entry.st_gid:
        return f"user {user} may not open it, group {group} may: sudo usermod -aG {group} {user}, then log in again"
    return f"user {user} may not open it, only {_user(entry.st_uid)} may"


def _is(port: Found, wanted: re.Match[str]) -> bool:
    vendor, product, serial, place, interface = wanted.groups()
    return (
        (port.vendor, port.product) == (vendor.lower(), product.lower())
        and serial in (None, port.serial)
        and place in (None, port.place)
        and (interface is None or int(interface) == port.interface)
    )


def _named(port: Found, ports: Sequence[Found]) -> Found:
    """Give a port the shortest identity that no other port here has."""
    if not port.vendor:
        return _with(port, str(port.path))
    kind = f"usb:{port.vendor}:{port.product}"
    twins = Counter((each.vendor, each.product, each.serial) for each in ports if each.place != port.place)
    if port.serial and _IDENTITY.fullmatch(f"{kind}:{port.serial}"):
        kind += f":{port.serial}"
        same = twins[port.vendor, port.product, port.serial]
    else:
        same = sum(count for key, count in twins.items() if key[:2] == (port.vendor, port.product))
    if same:
        kind += f"@{port.place}"
    if sum(each.place == port.place for each in ports) > 1:
        kind += f"#{port.interface}"
    return _with(port, kind)


def _with(port: Found, identity: str) -> Found:
    return Found(
        port.path, port.vendor, port.product, port.serial, port.place, port.interface, port.title, port.by_id, identity
    )


def _usb_device(device: Path) -> tuple[Path | None, int]:
    """Go up from a tty's device to the USB device it belongs to; with the number of its interface."""
    interface = 0
    for folder in (device, *device.parents[:_PARENTS_MAX]):
        number = _text(folder / "bInterfaceNumber")
        if number:
            interface = int(number, 16)
        if (folder / "idVendor").exists():
            return folder, interface
    return None, 0


def _text(path: Path) -> str:
    """Read a small file of the kernel; "" when it is not there."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
