"""Pictures are written beside the event loop, and it is said of each when it is on the disk, or never will be."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

from gateway.blobs.keeper import WAITING_MAX, BlobKeeper
from gateway.blobs.store import BlobOptions, BlobStore


def name(content: bytes) -> str:
    """Return what a blob is called."""
    return hashlib.sha256(content).hexdigest()


def kept(folder: Path, act: Callable[[BlobKeeper, list[bool]], None], bytes_max: int = 100) -> tuple[BlobKeeper, list]:
    """Run a keeper until everything is answered; `act` gives it something to do."""
    answers: list[bool] = []
    keeper = BlobKeeper(BlobStore(folder / "blobs", BlobOptions(bytes_max=bytes_max)))

    async def main() -> None:
        running = asyncio.create_task(keeper.run())
        act(keeper, answers)
        async with asyncio.timeout(30):
            while len(answers) < 2:
                await asyncio.sleep(0.005)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())
    return keeper, answers


def test_it_says_what_is_kept_and_what_is_not(tmp_path: Path) -> None:
    """In order; one that is too large is counted, and why is said once."""

    def act(keeper: BlobKeeper, answers: list[bool]) -> None:
        keeper.keep(name(b"one"), b"one", answers.append)
        keeper.keep(name(b"x" * 200), b"x" * 200, answers.append)

    keeper, answers = kept(tmp_path, act)
    assert answers == [True, False]
    assert keeper.status()["count"] == 1
    assert keeper.status()["failed"] == 1
    assert "bytes_max" in keeper.status()["last_error"]


def test_a_folder_that_cannot_be_written_costs_the_picture_only(tmp_path: Path) -> None:
    """A file is in its place: each blob is answered, none is kept."""
    (tmp_path / "blobs").write_text("no folder")

    def act(keeper: BlobKeeper, answers: list[bool]) -> None:
        for content in (b"one", b"two"):
            keeper.keep(name(content), content, answers.append)

    keeper, answers = kept(tmp_path, act)
    assert answers == [False, False]
    assert keeper.failed == 2


def test_too_many_at_once_are_answered_at_once(tmp_path: Path) -> None:
    """Memory is bounded."""

    def act(keeper: BlobKeeper, answers: list[bool]) -> None:
        for number in range(WAITING_MAX):
            keeper.keep(name(b"%d" % number), b"%d" % number, lambda _: None)
        keeper.keep(name(b"more"), b"more", answers.append)
        assert answers == [False]
        answers.append(True)

    kept(tmp_path, act)
