"""A bundle as one file: a tar archive, plain or compressed with gzip or zstd, from whom one does not know.

Read: regular files and folders only, each below the folder it is unpacked to; no links, devices or sparse files, no
name twice, and nothing beyond the limits below, however little of the archive's file it takes.  Names that begin with a
dot are left out.  One folder around everything, as ``tar -czf house.tar.gz house`` makes it, is taken off.

Written: names in order, no times, owners or modes that differ between machines: the same files make the same bytes.

Bounds: FILES_MAX files of FILE_BYTES_MAX, together BUNDLE_BYTES_MAX; STREAM_BYTES_MAX of tar, unpacked piece by piece;
a window of WINDOW_BYTES_MAX to decompress.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Final, cast

from gateway.bundles.manifest import BundleError
from gateway.journal.compression import STREAM_ERRORS, compressing, decompressing

FILES_MAX: Final = 10_000
FILE_BYTES_MAX: Final = 8 * 1024 * 1024
BUNDLE_BYTES_MAX: Final = 32 * 1024 * 1024
STREAM_BYTES_MAX: Final = BUNDLE_BYTES_MAX + FILES_MAX * 2048
WINDOW_BYTES_MAX: Final = 8 * 1024 * 1024  # what `zstd -19` uses; of --ultra it is 128 MB, which is a quarter of a Pi
NAME_CHARS_MAX: Final = 200
DEPTH_MAX: Final = 12
TOP: Final = "gateway.toml"
SUFFIXES: Final = (".tar.zst", ".tar.gz", ".tgz", ".tar")
_ZSTD, _GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"
_BROKEN: Final[tuple[type[Exception], ...]] = (
    tarfile.TarError,
    zlib.error,
    ValueError,
    EOFError,
    OverflowError,
    RecursionError,
    OSError,
    *STREAM_ERRORS,
)


def read(file: Path) -> dict[str, bytes]:
    """Return the files of an archive by name. Raises BundleError, OSError when it cannot be opened."""
    with file.open("rb") as raw:
        head = raw.read(4)
        raw.seek(0)
        try:
            found = dict(_members(cast("IO[bytes]", _Bounded(_plain(raw, head)))))
        except _BROKEN as error:
            raise BundleError(f"it is damaged, cut off, or no archive: {error}") from None
    found = _without_top(found)
    for name in found:
        folders = [str(folder) for folder in PurePosixPath(name).parents]
        if inside := set(folders) & found.keys():
            raise BundleError(f"{inside.pop()!r} is a file and a folder in it")
    return found


def write(file: IO[bytes], name: str, files: Mapping[str, bytes]) -> None:
    """Write files as an archive of the kind that `name` says. Raises BundleError for another kind."""
    if name.endswith(".tar.zst"):
        stream: IO[bytes] = compressing(file)
    elif name.endswith((".tar.gz", ".tgz")):
        stream = cast("IO[bytes]", gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0))
    elif name.endswith(".tar"):
        stream = file
    else:
        raise BundleError(f"{name}: a bundle's name ends in one of {', '.join(SUFFIXES)}")
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for each in sorted(files):
            info = tarfile.TarInfo(each)
            info.size, info.mode = len(files[each]), 0o644
            tar.addfile(info, io.BytesIO(files[each]))
    if stream is not file:
        stream.close()


def sound(name: str) -> bool:
    """Return whether a name leads to one place below the folder it is put under, on any machine."""
    path = PurePosixPath(name)
    return (
        0 < len(name) <= NAME_CHARS_MAX
        and str(path) == name
        and not path.is_absolute()
        and len(path.parts) <= DEPTH_MAX
        and not any(part in {"..", "."} for part in path.parts)
        and name.isprintable()
        and "\\" not in name
    )


def hidden(name: str) -> bool:
    """Return whether a file is nobody's configuration: its name, or that of a folder around it, says so."""
    parts = PurePosixPath(name).parts
    return any((part.startswith(".") and part != "..") or part == "__pycache__" for part in parts)


def _plain(raw: IO[bytes], head: bytes) -> IO[bytes]:
    if head == _ZSTD:
        return decompressing(raw, window_bytes_max=WINDOW_BYTES_MAX)
    return cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if head.startswith(_GZIP) else raw


def _members(stream: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    seen: set[str] = set()
    left = BUNDLE_BYTES_MAX
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for info in tar:
            name = info.name.removeprefix("./")
            if info.isdir() or hidden(name.lstrip("/")):
                continue
            if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.issparse() or not sound(name):
                raise BundleError(f"{info.name!r} does not belong in a bundle: only files, by names below it")
            left -= info.size
            if info.size > FILE_BYTES_MAX or left < 0 or len(seen) >= FILES_MAX:
                raise BundleError(
                    f"{name} is too much: at most {FILES_MAX:,} files, {FILE_BYTES_MAX:,} bytes each and "
                    f"{BUNDLE_BYTES_MAX:,} together"
                )
            if name in seen:
                raise BundleError(f"{name!r} is in it twice")
            seen.add(name)
            content = cast("IO[bytes]", tar.extractfile(info)).read()
            if len(content) != info.size:
                raise BundleError(f"it was cut off in {name}")
            yield name, content


def _without_top(files: dict[str, bytes]) -> dict[str, bytes]:
    tops = {PurePosixPath(name).parts[0] for name in files}
    if TOP in files or len(tops) != 1 or f"{(top := tops.pop())}/{TOP}" not in files:
        return files
    return {name.removeprefix(f"{top}/"): content for name, content in files.items()}


class _Bounded(io.RawIOBase):
    """A stream that ends in a complaint when more comes out of it than a bundle may be."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._left = STREAM_BYTES_MAX

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        data = self._stream.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise BundleError(f"more than {STREAM_BYTES_MAX:,} bytes come out of it")
        return data
