"""Bundles as archives: the same bytes each time, and nothing that an archive can do to who opens it."""

from __future__ import annotations

import gzip
import io
import random
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.bundles import archive
from gateway.bundles.archive import FILE_BYTES_MAX, NAME_CHARS_MAX, STREAM_BYTES_MAX
from gateway.bundles.manifest import BundleError
from gateway.journal.compression import compressing

FILES = {"gateway.toml": b"[gateway]\n", "rules/door.py": b"X = 1\n", "sites/berlin-3.toml": b""}


def made(*members: tarfile.TarInfo, **files: bytes) -> bytes:
    """Return a tar archive with members of any kind."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in {"gateway.toml": b"", **files}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    """Return the head of a member."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


HOSTILE: dict[str, Callable[[], bytes]] = {
    "up and away": lambda: made(member("../gateway.toml")),
    "up in the middle": lambda: made(member("rules/../../x")),
    "absolute": lambda: made(member("/etc/passwd")),
    "link": lambda: made(member("rules", tarfile.SYMTYPE, "/etc")),
    "link to a link": lambda: made(member("x", tarfile.SYMTYPE, "/etc"), member("x/passwd")),
    "hard link": lambda: made(member("shadow", tarfile.LNKTYPE, "/etc/shadow")),
    "device": lambda: made(member("null", tarfile.CHRTYPE)),
    "fifo": lambda: made(member("pipe", tarfile.FIFOTYPE)),
    "twice": lambda: made(member("gateway.toml")),
    "file and folder": lambda: made(member("rules"), member("rules/x.py")),
    "unprintable": lambda: made(member("rules/\x1b[2J.py")),
    "long name": lambda: made(member("a" * (NAME_CHARS_MAX + 1))),
    "deep": lambda: made(member("/".join("abcdefghijklmn"))),
    "large": lambda: made(member("x", size=FILE_BYTES_MAX + 1)),
    "cut off": lambda: made(x=bytes(4000))[:3000],
    "no archive": lambda: b"no archive at all\n" * 100,
    "empty": lambda: b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_an_archive_may_not_do(name: str, tmp_path: Path) -> None:
    """Each is refused with a sentence, before anything is written anywhere."""
    file = tmp_path / "bundle.tar"
    file.write_bytes(HOSTILE[name]())
    with pytest.raises(BundleError):
        archive.read(file)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle.tar"]


@pytest.mark.parametrize("packed", ["gzip", "zstd"])
def test_a_bomb_is_small_only_on_the_disk(packed: str, tmp_path: Path) -> None:
    """Gigabytes of zeros in kilobytes are refused when a bundle's size has come out of them."""
    file = tmp_path / "bundle.tar"
    with file.open("wb") as raw:
        stream = gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1) if packed == "gzip" else compressing(raw)
        stream.write(member(".hidden", size=2 * STREAM_BYTES_MAX).tobuf())
        for _ in range(STREAM_BYTES_MAX // FILE_BYTES_MAX + 1):
            stream.write(bytes(FILE_BYTES_MAX))
        stream.close()
    assert file.stat().st_size < 1_000_000
    with pytest.raises(BundleError, match="bytes come out of it"):
        archive.read(file)


def test_damage_is_a_sentence(tmp_path: Path) -> None:
    """Whatever is flipped or cut in an archive, it is read as it was or refused."""
    chance = random.Random(7)
    for suffix in (".tar.zst", ".tar.gz", ".tar"):
        whole = io.BytesIO()
        archive.write(whole, f"x{suffix}", FILES)
        content = whole.getvalue()
        for _ in range(150):
            hurt = bytearray(content)
            for _ in range(chance.randrange(1, 4)):
                hurt[chance.randrange(len(hurt))] = chance.randrange(256)
            file = tmp_path / f"x{suffix}"
            file.write_bytes(hurt[: chance.choice((len(hurt), chance.randrange(len(hurt))))])
            try:
                found = archive.read(file)
            except BundleError:
                continue
            assert all(archive.sound(name) for name in found)


@pytest.mark.parametrize("suffix", archive.SUFFIXES)
def test_the_same_files_make_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    """Two archives of one content are equal, and `tar` reads them."""
    first, second = io.BytesIO(), io.BytesIO()
    archive.write(first, f"x{suffix}", FILES)
    archive.write(second, f"y{suffix}", dict(reversed(FILES.items())))
    assert first.getvalue() == second.getvalue()
    file = tmp_path / f"x{suffix}"
    file.write_bytes(first.getvalue())
    assert archive.read(file) == FILES
    listed = subprocess.run(["tar", "-tf", file], capture_output=True, text=True, check=True).stdout.split()
    assert listed == sorted(FILES)


def test_a_folder_around_everything_is_taken_off(tmp_path: Path) -> None:
    """What `tar -czf house.tar.gz house` makes is a bundle; what begins with a dot is left out."""
    for name, content in {**FILES, ".git/config": b"", "rules/__pycache__/x.pyc": b""}.items():
        path = tmp_path / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    subprocess.run(["tar", "-C", tmp_path, "-czf", tmp_path / "house.tar.gz", "house"], check=True)
    assert archive.read(tmp_path / "house.tar.gz") == FILES
    subprocess.run(["tar", "-C", tmp_path / "house", "-cf", tmp_path / "dot.tar", "."], check=True)
    assert archive.read(tmp_path / "dot.tar") == FILES
