"""The locked libraries as files: wheels of another architecture and Python, without compiler or emulation."""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

PYTHONS = ("3.11", "3.13")  # of Debian 12 and 13, and of Raspberry Pi OS on them
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
GLIBC = ("2_36", "2_35", "2_34", "2_31", "2_28", "2_27", "2_24", "2_17")  # newest first; Debian 12 has 2.36
USELESS = ("__pycache__", "tests", "bin", "*.pyi", "*.pyx", "*.c", "*.h", "py.typed")  # on a device
SECOND_BACKEND = ("zstandard/_cffi*.so", "zstandard/backend_cffi.py")  # for PyPy; CPython takes the other
KEPT_OF_METADATA = ("METADATA",)  # name and version for whoever looks for known holes in what is installed


class BuildError(Exception):
    """The package can't be built; the text says what to do."""


def fetch(lock: Path, architecture: str, python: str, to: Path) -> None:
    """Unpack every library of the lock, hashes compared, as that Python on that architecture needs it."""
    machine = MACHINES[architecture]
    platforms = [f"--platform=manylinux_{version}_{machine}" for version in GLIBC]
    platforms.append(f"--platform=manylinux2014_{machine}")
    command = [
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"),
        *("--only-binary=:all:", "--require-hashes", "--implementation=cp", f"--python-version={python}"),
        *(*platforms, "--target", str(to), "-r", str(lock)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"pip could not fetch what requirements.lock names:\n{done.stderr[-2000:]}")


def distributions(folder: Path) -> Iterator[tuple[Path, Message]]:
    """Yield (its .dist-info folder, headers of its METADATA) of each library, by name."""
    for info in sorted(folder.glob("*.dist-info"), key=lambda path: path.name.lower()):
        yield info, HeaderParser().parsestr((info / "METADATA").read_text(encoding="utf-8"))


def is_pure(info: Path) -> bool:
    """Return whether a library is Python alone, and so the same for each Python and architecture."""
    return "Root-Is-Purelib: true" in (info / "WHEEL").read_text()


def files_of(info: Path) -> list[Path]:
    """Return the files of a library, from its RECORD, relative to the folder it is in."""
    names = (line.rsplit(",", 2)[0].strip('"') for line in (info / "RECORD").read_text().splitlines() if line)
    inside = (name for name in names if not name.startswith("../") and (info.parent / name).is_file())
    return sorted(Path(name) for name in inside)


def share_pure(folders: list[Path], common: Path) -> None:
    """Move what is the same for each Python into one folder."""
    first, *others = folders
    for info, _ in list(distributions(first)):
        if not is_pure(info):
            continue
        for name in files_of(info):
            for other in others:
                if name.name not in ("RECORD", "INSTALLER", "REQUESTED") and not filecmp.cmp(
                    first / name, other / name, shallow=False
                ):
                    raise BuildError(f"{name} is not the same for each Python")
                (other / name).unlink()
            (common / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(first / name, common / name)
    for folder in folders:
        _without_empty(folder)


def trim(folder: Path) -> None:
    """Leave out what a device never reads."""
    for pattern in (*USELESS, *SECOND_BACKEND):
        for path in sorted(folder.rglob(pattern) if "/" not in pattern else folder.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for info in folder.glob("*.dist-info"):
        for path in sorted(info.rglob("*"), reverse=True):
            if path.is_dir():
                path.rmdir()
            elif path.relative_to(info).as_posix() not in KEPT_OF_METADATA:
                path.unlink()
        metadata = info / "METADATA"
        metadata.write_text(metadata.read_text(encoding="utf-8").partition("\n\n")[0] + "\n", encoding="utf-8")
    _without_empty(folder)


def strip(folder: Path, architecture: str) -> None:
    """Take symbols out of compiled libraries: half of their size."""
    tool = f"{MACHINES[architecture]}-linux-gnu-strip"
    compiled = sorted(folder.rglob("*.so"))
    if shutil.which(tool) is None:
        package = f"binutils-{MACHINES[architecture].replace('_', '-')}-linux-gnu"
        raise BuildError(f"there is no {tool}; type:  sudo apt-get install {package}")
    if compiled:
        subprocess.run([tool, "--strip-unneeded", *map(str, compiled)], check=True)


def _without_empty(folder: Path) -> None:
    for path, _, _ in os.walk(folder, topdown=False):
        if path != str(folder) and not any(Path(path).iterdir()):
            Path(path).rmdir()
