"""A serial port of the simulated house: a PTY that can be unplugged and comes back under another name."""

from __future__ import annotations

import asyncio
import errno
import os
import tty
from collections.abc import Callable
from pathlib import Path

LINE_BYTES_MAX = 4096


class Port:
    """A serial port: our side of a PTY, with a link by which it is found."""

    def __init__(self, link: Path, *, lines: bool = True) -> None:
        """Be unplugged; `plug` makes it appear at `link`. Without `lines` what is written there is told as it comes."""
        self.link = link
        self._lines = lines
        self.lost_bytes = 0
        self._master = self._slave = -1
        self._rest = b""
        self._told: Callable[[bytes], None] | None = None

    def plug(self, told: Callable[[bytes], None]) -> None:
        """Appear, under whatever name the system gives."""
        self._told = told
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.link.parent.mkdir(parents=True, exist_ok=True)
        beside = self.link.with_suffix(".new")
        beside.unlink(missing_ok=True)
        beside.symlink_to(os.ttyname(self._slave))
        beside.rename(self.link)
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def unplug(self) -> None:
        """Disappear."""
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            self.link.unlink(missing_ok=True)
            os.close(self._slave)
            os.close(self._master)
            self._master = self._slave = -1
            self._rest = b""

    def write(self, data: bytes) -> int:
        """Send; return how many bytes went: the others are lost because nobody reads, or it is unplugged."""
        if self._master < 0:
            return 0
        try:
            written = os.write(self._master, data)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EIO):
                raise
            written = 0
        self.lost_bytes += len(data) - written
        return written

    def _read(self) -> None:
        try:
            data = os.read(self._master, LINE_BYTES_MAX)
        except OSError:
            return
        if not self._lines:
            if self._told:
                self._told(data)
            return
        self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        self._rest = self._rest[-LINE_BYTES_MAX:]
        for line in lines:
            if self._told:
                self._told(line + b"\n")
