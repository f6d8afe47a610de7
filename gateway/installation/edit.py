"""Edits of devices.toml that leave everything else as it is: comments, order, blanks.

A device is the lines from its ``[[device]]`` to its last key. Only these lines are rewritten (tomlkit keeps comments in
them), so that what stands above the next device stays there. A comment right above a device goes with it when it is
removed. The new text is checked as at a start before it takes the old one's place, in one piece, with mode and owner.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Table

from gateway.document import Document
from gateway.errors import ConfigError, GatewayError
from gateway.profiles.devices import Devices

HEADER = "# Devices as installed: `edge-gateway devices adopt` writes here, and so may you. Live when saved.\n"
HEAD = "[[device]]"
NEW_MODE = 0o644

Fields = Mapping[str, Any]
"""What is to be said of a device; None takes a key out."""
Accept = Callable[[bytes, Devices], None]


class DevicesText:
    """The text of a devices.toml, to be edited."""

    def __init__(self, text: str, file: Path) -> None:
        """Take a text without faults. Raises ConfigError when it is no TOML, GatewayError when it can't be edited."""
        self._file = file
        self.text = text
        self._look()

    def _look(self) -> None:
        document = Document(self.text, self._file)
        self._lines = self.text.splitlines(keepends=True)
        devices = document.data.get("device", [])
        self._ids = [str(device.get("id", "")) for device in devices]
        self._heads = [(document.line(("device", place)) or 1) - 1 for place in range(len(devices))]
        for head in self._heads:
            if not self._lines[head].lstrip().startswith(HEAD):
                raise GatewayError(f"{self._file}:{head + 1}: devices are not written as {HEAD} here: edit it by hand")
        kinds = [document.line(("kind", name)) for name in document.data.get("kind", {})]
        others = {line - 1 for line in (*kinds, document.line(("kind",))) if line}
        tables = {line for line in others if self._lines[line].lstrip().startswith("[")}
        self._stops = sorted({*self._heads, *tables, len(self._lines)})

    def __contains__(self, device: object) -> bool:
        return device in self._ids

    def _block(self, device: str) -> tuple[int, int]:
        """Return the first line of a device and the one behind its last key."""
        head = self._heads[self._ids.index(device)]
        end = next(stop for stop in self._stops if stop > head)
        while not self._lines[end - 1].strip() or self._lines[end - 1].lstrip().startswith("#"):
            end -= 1
        return head, end

    def change(self, device: str, fields: Fields) -> None:
        """Say something of a listed device."""
        head, end = self._block(device)
        block = tomlkit.parse("".join(self._lines[head:end]))
        table: Any = block["device"][0]
        _put(table, fields)
        self._replace(head, end, tomlkit.dumps(block))

    def add(self, device: str, fields: Fields) -> None:
        """List a device, behind those that are there."""
        self.add_all({device: fields})

    def add_all(self, devices: Mapping[str, Fields]) -> None:
        """List devices, behind those that are there."""
        if not devices:
            return
        blocks = []
        for device, fields in devices.items():
            table = tomlkit.table()
            table.add("id", device)
            _put(table, fields)
            blocks.append(f"\n{HEAD}\n{table.as_string()}")
        end = self._block(self._ids[-1])[1] if self._ids else len(self._lines)
        before = "".join(self._lines[:end]) or HEADER
        ends = "" if before.endswith("\n") else "\n"
        self.text = f"{before}{ends}{''.join(blocks)}{''.join(self._lines[end:])}"
        self._look()

    def remove(self, device: str) -> None:
        """Take a device out, with the comment right above it."""
        head, end = self._block(device)
        while head > 0 and self._lines[head - 1].lstrip().startswith("#") and self._own(head - 1):
            head -= 1
        while end < len(self._lines) and not self._lines[end].strip():
            end += 1
        self._replace(head, end, "")

    def _own(self, line: int) -> bool:
        """Return whether a comment is a device's: not the file's first lines."""
        while line > 0 and self._lines[line - 1].lstrip().startswith("#"):
            line -= 1
        return line > 0

    def _replace(self, head: int, end: int, text: str) -> None:
        rest = "".join(self._lines[end:])
        self.text = "".join(self._lines[:head]) + text + rest
        self._look()


def _put(table: Table, fields: Fields) -> None:
    for key, value in fields.items():
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value


@contextmanager
def editing(file: Path, accept: Accept | None = None) -> Iterator[DevicesText]:
    """Edit a devices.toml alone; the text is saved at the end, if it is another one and good.

    `accept` sees text and devices right before, and may raise. Raises ConfigError with the faults of the file as it is,
    or as it would be, and GatewayError when it can't be written.
    """
    file = file.resolve()  # a link stays a link
    try:
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise GatewayError(f"{file.parent}: {error.strerror}") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        Devices.load(file)
        edited = DevicesText(before, file)
        yield edited
        if edited.text != before:
            _save(file, edited.text.encode(), folder, accept or _anything)
    except OSError as error:
        allowed = ". Type the same with sudo before it" if isinstance(error, PermissionError) else ""
        raise GatewayError(f"{file}: {error.strerror or error}{allowed}") from None
    finally:
        os.close(folder)


def _anything(_text: bytes, _devices: Devices) -> None:
    """Have nothing against it."""


def _save(file: Path, text: bytes, folder: int, accept: Accept) -> None:
    """Put a text in a file's place: there is the old one or the new one, whatever happens."""
    status = file.stat() if file.exists() else None
    beside = file.with_name(f".{file.name}.new")
    beside.unlink(missing_ok=True)
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:  # noqa: PTH123 - Path.open sets no mode
            new.write(text)
            os.fchmod(new.fileno(), status.st_mode & 0o7777 if status else NEW_MODE)
            if status is not None:
                with suppress(PermissionError):  # only root gives files away
                    os.fchown(new.fileno(), status.st_uid, status.st_gid)
            new.flush()
            os.fsync(new.fileno())
        try:
            devices = Devices.load(beside)
        except ConfigError as error:
            raise ConfigError([dataclasses.replace(fault, file=file) for fault in error.faults]) from None
        accept(text, devices)
        beside.replace(file)
        os.fsync(folder)
    finally:
        beside.unlink(missing_ok=True)
