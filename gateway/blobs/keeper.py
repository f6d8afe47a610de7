"""Keeps blobs beside the event loop: one after the other in a thread, and says when each is on the disk."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from gateway.blobs.store import BlobStore
from gateway.codes.sources import BLOB_NOT_KEPT
from gateway.logs.about import about
from gateway.progress import Mark

log = logging.getLogger(__name__)

WAITING_MAX: Final = 256  # blobs; more are not kept, which their events say (their bytes are bounded by the path)

Then = Callable[[bool], None]
"""Is told, on the loop's thread, whether a blob is kept."""


class BlobKeeper:
    """Takes blobs in order. All methods belong to the loop's thread."""

    def __init__(self, store: BlobStore) -> None:
        self.store = store
        self.failed = 0  # blobs that could not be kept
        self.last_error = ""
        self._waiting: deque[tuple[str, bytes, Then]] = deque()
        self._wake = asyncio.Event()
        self._open = False
        self._over = 0  # blobs that are kept, or will not be

    @property
    def off(self) -> bool:
        """Whether no blob is to be kept."""
        return self.store.options.bytes_max == 0

    def keep(self, sha256: str, content: bytes, then: Then) -> None:
        """Write a blob soon; `then` is called when it is on the disk, or will never be."""
        if len(self._waiting) >= WAITING_MAX:
            self._fail(f"more than {WAITING_MAX} wait for the disk")
            then(False)
            return
        self._waiting.append((sha256, content, then))
        self._wake.set()

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        while True:
            while self._waiting:
                sha256, content, then = self._waiting[0]
                kept = await self._write(sha256, content)
                self._waiting.popleft()
                self._over += 1
                then(kept)
            self._wake.clear()
            await self._wake.wait()

    async def _write(self, sha256: str, content: bytes) -> bool:
        try:
            if not self._open:
                await asyncio.to_thread(self.store.open)
                self._open = True
            kept = await asyncio.to_thread(self.store.write, sha256, content)
        except OSError as error:
            self._fail(error.strerror or str(error))
            return False
        if not kept:
            self._fail(f"{len(content)} bytes are more than all blobs may have, [blobs] bytes_max")
        return kept

    def _fail(self, why: str) -> None:
        self.failed += 1
        if why != self.last_error:
            self.last_error = why
            log.error("a blob is not kept: %s", why, extra=about(BLOB_NOT_KEPT))

    def mark(self) -> Mark:
        """Return how it gets on."""
        return Mark(bool(self._waiting), self._over, f"{len(self._waiting)} pictures wait")

    def status(self) -> dict[str, Any]:
        """Say how many there are."""
        store = self.store
        return {
            "count": len(store), "bytes": store.bytes, "bytes_max": store.options.bytes_max,
            "evicted": store.evicted, "failed": self.failed, "last_error": self.last_error or None,
        }  # fmt: skip
