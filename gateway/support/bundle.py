"""A support bundle: named texts, each scrubbed and bounded, in one tar file that only its maker may read."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, Literal, cast

import msgspec

from gateway.errors import GatewayError
from gateway.support.scrub import Scrub

PIECE_BYTES_MAX: Final = 2 << 20
BUNDLE_BYTES_MAX: Final = 24 << 20  # before compression
PIECES_MAX: Final = 500
CUT = "\n[cut: this is the beginning, {left:,} bytes more were left out]\n"


class Piece(msgspec.Struct, frozen=True):
    """One file of a bundle before it is scrubbed."""

    name: str  # its path in the bundle
    title: str  # what it is, for the list
    text: str
    ours: bool = False  # made by this program: long hexadecimal numbers are ids
    end: bool = False  # of a text that is too long the end is kept, as of a log


class Kept(msgspec.Struct, frozen=True):
    """A line of the list of what is in a bundle."""

    name: str
    title: str
    bytes: int


class BundleError(GatewayError):
    """A bundle cannot be written where it should be."""


def write(file: Path, folder: str, pieces: Iterator[Piece], scrub: Scrub) -> list[Kept]:
    """Write a bundle; returns what is in it. BundleError when it is there already or cannot be written."""
    kept: list[Kept] = []
    room = BUNDLE_BYTES_MAX
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror}: write another with -o FILE") from None
    try:
        with os.fdopen(descriptor, "wb") as raw, _archive(file, raw) as archive:
            for count, piece in enumerate(pieces):
                content = _content(piece, scrub)
                if count >= PIECES_MAX or len(content) > room:
                    break
                room -= len(content)
                name = scrub(piece.name, ours=True)  # of a rule's file, after a device
                _add(archive, f"{folder}/{name}", content)
                kept.append(Kept(name, piece.title, len(content)))
            listed = "".join(f"{each.name:<40} {each.bytes:>10,}  {each.title}\n" for each in kept)
            _add(archive, f"{folder}/CONTENTS.txt", listed.encode())
    except OSError as error:
        with contextlib.suppress(OSError):
            file.unlink()
        raise BundleError(f"{file}: {error.strerror or error}") from None
    return kept


def _content(piece: Piece, scrub: Scrub) -> bytes:
    """Scrub all of it, then cut: a secret that is cut in half would not be known any more."""
    content = scrub(piece.text, ours=piece.ours).encode("utf-8", "replace")
    if len(content) <= PIECE_BYTES_MAX:
        return content
    cut = CUT.format(left=len(content) - PIECE_BYTES_MAX).encode()
    return cut + content[-PIECE_BYTES_MAX:] if piece.end else content[:PIECE_BYTES_MAX] + cut


@contextlib.contextmanager
def _archive(file: Path, raw: IO[bytes]) -> Iterator[tarfile.TarFile]:
    if file.suffix == ".zst":
        import zstandard

        with (
            zstandard.ZstdCompressor(level=6).stream_writer(raw, closefd=False) as packed,
            tarfile.open(fileobj=cast("IO[bytes]", packed), mode="w|") as archive,
        ):
            yield archive
        return
    mode: Literal["w:gz", "w"] = "w" if file.suffix == ".tar" else "w:gz"
    with tarfile.open(fileobj=raw, mode=mode) as archive:
        yield archive


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
    archive.addfile(entry, io.BytesIO(content))
