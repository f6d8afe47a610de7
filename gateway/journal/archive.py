"""A backup's file: a tar archive, compressed with zstd, with a manifest at its end.

    journal/00000001.segment   live segments, each up to its last block
    config/...                 files from the config's folder
    elsewhere/...              files of the installation from other folders, by their whole path
    manifest.json              what belongs to the backup: each file with its SHA-256

``tar --zstd -xf FILE`` unpacks it. The manifest is last because a stream cannot be gone back in; it counts. A file
that is not in it is the leftover of a try (a segment that was used again while it was copied), and of two with one
name the later is meant, as for tar. Behind the compressed archive stands END, a frame that zstd skips: without it the
file was cut off.

Bounds: a piece of a file PIECE_BYTES in memory, the manifest MANIFEST_BYTES_MAX, FILES_MAX files.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, Final

import msgspec

from gateway.errors import GatewayError
from gateway.journal.compression import STREAM_ERRORS, compressing, decompressing

FORMAT: Final = 1
PIECE_BYTES: Final = 1024 * 1024
MANIFEST: Final = "manifest.json"
MANIFEST_BYTES_MAX: Final = 16 * 1024 * 1024
FILES_MAX: Final = 20_000
_MARK: Final = b"edge-gateway backup: end"
END: Final = b"\x5d\x2a\x4d\x18" + len(_MARK).to_bytes(4, "little") + _MARK  # skippable frame, RFC 8878 section 3.1.2
JOURNAL, CONFIG, ELSEWHERE = "journal", "config", "elsewhere"


class BackupError(GatewayError):
    """A backup cannot be made or used; nothing was changed by it."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a backup."""

    name: str
    bytes: int
    sha256: str
    mode: int = 0o640
    size: int = 0  # of a segment's file: behind its last block there are zeros up to here
    secret: bool = False


class JournalPart(msgspec.Struct, frozen=True, kw_only=True):
    """The journal in a backup: as of one block, whole."""

    log_id: str
    epoch: int
    last_sequence: int
    records: int  # events ever written
    align: int
    unreadable_bytes: int = 0  # the disk refused to read them: there are zeros in their place


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is and holds."""

    format: int = FORMAT
    made: str  # RFC 3339
    made_s: int  # the same, as seconds since 1970
    program: str  # version that made it
    gateway: str
    config: str  # name of the config file in the backup
    places: dict[str, str]  # where config, state and journal were
    journal: JournalPart
    files: list[Kept]
    left_out: list[str] = []  # secret files, by their whole path


class ArchiveWriter:
    """Writes one; without `finish` what was written is no backup."""

    def __init__(self, raw: IO[bytes], mtime_s: int) -> None:
        self._raw = raw
        self._stream = compressing(raw)
        self._tar = tarfile.open(  # noqa: SIM115 - closed by `finish`
            fileobj=self._stream, mode="w|", bufsize=PIECE_BYTES, format=tarfile.PAX_FORMAT
        )
        self._mtime_s = mtime_s

    def add(
        self, name: str, length: int, pieces: Iterator[bytes], *, mode: int = 0o640, size: int = 0, secret: bool = False
    ) -> Kept:
        """Add a file of `length` bytes; returns its line for the manifest."""
        digest = hashlib.sha256()
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = length, mode, self._mtime_s
        self._tar.addfile(info, _Pieces(pieces, length, digest.update))
        next(pieces, None)  # so that what gives them knows that it is over
        return Kept(name=name, bytes=length, sha256=digest.hexdigest(), mode=mode, size=size, secret=secret)

    def finish(self, manifest: Manifest) -> None:
        """Add the manifest: from now on it is a backup."""
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        if len(text) > MANIFEST_BYTES_MAX or len(manifest.files) > FILES_MAX:
            raise BackupError(f"{len(manifest.files)} files are more than a backup holds")
        self.add(MANIFEST, len(text), iter([text]))
        self._tar.close()
        self._stream.close()
        self._raw.write(END)


class _Pieces(io.RawIOBase):
    """Pieces of bytes as a file that can be read once; what is missing at its end is zeros."""

    def __init__(self, pieces: Iterator[bytes], length: int, see: Callable[[bytes], None]) -> None:
        super().__init__()
        self._pieces = pieces
        self._left = length
        self._see = see
        self._piece = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; all that are asked for, while there are."""
        wanted = self._left if size < 0 else min(size, self._left)
        parts: list[memoryview] = []
        missing = wanted
        while missing:
            if not self._piece:
                self._piece = memoryview(next(self._pieces, None) or bytes(missing))
            part, self._piece = self._piece[:missing], self._piece[missing:]
            parts.append(part)
            missing -= len(part)
        data = b"".join(parts)
        self._left -= len(data)
        self._see(data)
        return data


Take = Callable[[str, int, Iterator[bytes]], None]
"""Is given each file of an archive: name, length, its bytes in pieces (which need not be read)."""


def read(raw: IO[bytes], take: Take) -> Manifest:
    """Go through an archive once; returns its manifest. Raises BackupError when it is none, damaged or cut off."""
    if raw.seek(0, os.SEEK_END) >= len(END):
        raw.seek(-len(END), os.SEEK_END)
    if raw.read() != END:
        raise BackupError("it does not end as a backup does: it was cut off, or is none")
    raw.seek(0)
    digests: dict[str, tuple[int, str]] = {}
    manifest: Manifest | None = None
    with _explained():
        stream = decompressing(raw)
        with tarfile.open(fileobj=stream, mode="r|", bufsize=PIECE_BYTES) as tar:
            for info in tar:
                file = tar.extractfile(info) if info.isreg() and sound(info.name) else None
                if file is None or len(digests) > FILES_MAX or manifest is not None:
                    raise BackupError(f"{info.name!r} does not belong in a backup")
                if info.name == MANIFEST:
                    manifest = _manifest(file.read(MANIFEST_BYTES_MAX))
                    continue
                digest = hashlib.sha256()
                pieces = _seen(file, digest.update)
                take(info.name, info.size, pieces)
                for _ in pieces:
                    pass  # what was not wanted is hashed all the same
                digests[info.name] = (info.size, digest.hexdigest())
        while stream.read(PIECE_BYTES):
            pass  # to the end, where the checksum is
    if manifest is None:
        raise BackupError("it has no manifest: it is no backup")
    for kept in manifest.files:
        if digests.get(kept.name) != (kept.bytes, kept.sha256):
            raise BackupError(f"{kept.name} in it is not what was put there: it is damaged")
    return manifest


def sound(name: str) -> bool:
    """Return whether a name is one that a backup may have: it can be put under a folder and stays there."""
    path = PurePosixPath(name)
    return name == MANIFEST or (
        str(path) == name
        and not path.is_absolute()
        and ".." not in path.parts
        and len(path.parts) > 1
        and path.parts[0] in {JOURNAL, CONFIG, ELSEWHERE}
    )


def _seen(file: IO[bytes], see: Callable[[bytes], None]) -> Iterator[bytes]:
    while piece := file.read(PIECE_BYTES):
        see(piece)
        yield piece


def _manifest(text: bytes) -> Manifest:
    class Head(msgspec.Struct):
        """What every format has."""

        format: int

    try:
        if (found := msgspec.json.decode(text, type=Head).format) > FORMAT:
            raise BackupError(f"it was made by a newer version (format {found}); this one reads {FORMAT}")
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BackupError(f"its manifest cannot be read: {error}") from None
    wrong = [kept.name for kept in manifest.files if not sound(kept.name) or kept.name == MANIFEST]
    if wrong:
        raise BackupError(f"{wrong[0]!r} does not belong in a backup")
    return manifest


@contextmanager
def _explained() -> Iterator[None]:
    """Say what is wrong with a file that is no tar archive, or no longer."""
    try:
        yield
    except STREAM_ERRORS as error:
        raise BackupError(f"it is damaged, cut off, or no backup: {error}") from None
    except tarfile.TarError as error:
        raise BackupError(f"it is damaged, cut off, or no backup: {error}") from None
