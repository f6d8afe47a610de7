"""``./dev deb``: build the Debian packages of a commit and print each one's path, size and SHA-256.

The commit is unpacked beside, and built from there by its own code: what lies about in a checkout is not in a package.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deb import tree
from deb.control import write_control
from deb.libraries import MACHINES, BuildError

RELEASE = 1700000000  # the time of a build outside git, unless SOURCE_DATE_EPOCH says another


def main() -> int:
    """Build what was asked for."""
    parser = argparse.ArgumentParser(prog="packaging/build", description=__doc__)
    parser.add_argument("--arch", choices=[*MACHINES, "all"], default="all", help="default: all")
    parser.add_argument(
        "-o", dest="folder", type=Path, default=tree.ROOT / "dist", metavar="DIR", help="default: dist/"
    )
    parser.add_argument("--version", default="", help="another than the program's own, for tests of upgrades")
    parser.add_argument("--commit", default="HEAD", metavar="REV", help="what to build (default: HEAD)")
    parser.add_argument("--as-it-is", action="store_true", help="build the files that lie here, committed or not")
    words = parser.parse_args()
    words.folder.mkdir(parents=True, exist_ok=True)
    try:
        if not words.as_it_is and (tree.ROOT / ".git").exists():
            return of_commit(words)
        for architecture in MACHINES if words.arch == "all" else [words.arch]:
            started = time.monotonic()
            path = build(architecture, words.version or own_version(), words.folder)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            print(f"{path}  {path.stat().st_size} bytes  sha256 {digest}  {time.monotonic() - started:.0f} s")
    except BuildError as error:
        print(f"packaging/build: {error}", file=sys.stderr)
        return 1
    return 0


def of_commit(words: argparse.Namespace) -> int:
    """Unpack a commit and have its own code build it."""
    with tempfile.TemporaryDirectory() as scratch:
        archive = subprocess.run(
            ["git", "archive", "--format=tar", words.commit], cwd=tree.ROOT, capture_output=True, check=False
        )
        if archive.returncode:
            raise BuildError(f"git archive: {archive.stderr.decode()}")
        subprocess.run(["tar", "-x", "-C", scratch], input=archive.stdout, check=True)
        options = [f"--arch={words.arch}", "-o", str(words.folder.absolute()), "--as-it-is"]
        options += [f"--version={words.version}"] if words.version else []
        environment = {
            **os.environ,
            "PYTHONPATH": f"{scratch}{os.pathsep}{scratch}/packaging",
            "PYTHONDONTWRITEBYTECODE": "1",
            "SOURCE_DATE_EPOCH": str(epoch(words.commit)),
        }
        return subprocess.run(
            [sys.executable, "-m", "deb", *options], cwd=scratch, env=environment, check=False
        ).returncode


def own_version() -> str:
    """Return the version that the program says of itself."""
    import gateway

    return gateway.__version__


def epoch(commit: str = "HEAD") -> int:
    """Return the time that every file gets: of the commit, unless the caller sets one."""
    if named := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(named)
    command = ["git", "log", "-1", "--format=%ct", commit]
    git = subprocess.run(command, cwd=tree.ROOT, capture_output=True, text=True, check=False)
    return int(git.stdout) if git.returncode == 0 else RELEASE


def build(architecture: str, version: str, folder: Path) -> Path:
    """Build one package."""
    seconds = epoch()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "tree"
        root.mkdir()
        tree.fill(root, architecture, version, seconds)
        write_control(root, architecture, version)
        tree.settle(root, seconds)
        path = folder / f"{tree.NAME}_{version}_{architecture}.deb"
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(seconds)}
        command = ["dpkg-deb", "-Zxz", "--root-owner-group", "--build", str(root), str(path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(f"dpkg-deb: {done.stderr}")
    return path


if __name__ == "__main__":
    sys.exit(main())
