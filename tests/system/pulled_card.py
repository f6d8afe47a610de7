"""A card that fails, is pulled, and is put in again: a real ext4 where we may make a device, else what comes close."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gateway.journal.block import MAGIC
from simulators.card import CannotMount, Card, mounted, new_ext4, see_that_it_can, unmount_lazily

CARD_BYTES = 32 * 1024 * 1024


class Real:
    """An ext4 on a card; put in again it is another device with the same contents."""

    def __init__(self, folder: Path, place: Path, stack: ExitStack) -> None:
        self.folder, self._place, self._stack = folder, place, stack
        self._card = Card(CARD_BYTES)
        self._card.load(new_ext4(CARD_BYTES, place))
        self._put_in()

    def fail(self, _pid: int) -> None:
        """Take no block of the journal any more; the file system itself is well."""
        self._card.refuse = lambda what, data: errno.EIO if what == "write" and MAGIC in data else 0

    def heal(self, _pid: int) -> None:
        """Take everything."""
        self._card.refuse = lambda _what, _data: 0

    def pull(self) -> None:
        """Be gone, with whatever the kernel has not written."""
        self._card.refuse = lambda _what, _data: errno.EIO
        unmount_lazily(self.folder)

    def put_in(self) -> None:
        """Come back as another device; the first one stays dead."""
        card = Card(CARD_BYTES)
        card.load(self._card.image())
        self._card = card
        self._put_in()

    def _put_in(self) -> None:
        place = self._place / f"device{len(list(self._place.iterdir()))}"
        place.mkdir()
        device = self._stack.enter_context(self._card.attached(place))
        self._stack.enter_context(mounted(device, self.folder))


class Near:
    """Without a device: a limit on what the gateway may write, and a folder that is moved away."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder

    def fail(self, pid: int) -> None:
        """Refuse every write (EFBIG)."""
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def heal(self, pid: int) -> None:
        """Allow them again."""
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def pull(self) -> None:
        """Leave an empty folder where it was."""
        self.folder.rename(self.folder.with_name("pulled"))
        self.folder.mkdir()

    def put_in(self) -> None:
        """Bring it back."""
        self.folder.rmdir()  # nobody has written there
        self.folder.with_name("pulled").rename(self.folder)


@contextmanager
def pulled_card(folder: Path) -> Iterator[Real | Near]:
    """Have one at `folder` for the length of a block."""
    place = folder.with_name("devices")
    place.mkdir()
    with ExitStack() as stack:
        try:
            see_that_it_can()
            card: Real | Near = Real(folder, place, stack)
        except CannotMount:
            card = Near(folder)
        yield card
