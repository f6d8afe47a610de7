"""What apt and pip would download in a machine, downloaded outside of it: machines have no network.

A `Fetched` folder has apt's lists and archives for one suite, as seen from a root; bound into a machine of that root
(`binds`), with `sources.list` in place, apt there does the rest by itself, with ``--no-download``.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.roots import LabError, cache, root_of, sources


@dataclass(frozen=True)
class Fetched:
    """Packages of Debian for machines."""

    folder: Path

    @property
    def sources(self) -> Path:
        """The machine's /etc/apt/sources.list for them."""
        return self.folder / "sources.list"

    @property
    def binds(self) -> dict[Path, str]:
        """Where apt looks for them."""
        return {self.folder / "lists": "/var/lib/apt/lists", self.folder / "archives": "/var/cache/apt/archives"}


def packages(suite: str, of: str, words: Sequence[str]) -> Fetched:
    """Download what apt would on a machine of `suite`, with the sources of `of`, for `words` (``install pipx``)."""
    root = root_of(suite)
    named = hashlib.sha256(f"{root.name} {of} {words}".encode()).hexdigest()[:12]
    fetched = Fetched(cache() / f"apt-{named}")
    for name in ("lists", "archives"):
        (fetched.folder / name / "partial").mkdir(parents=True, exist_ok=True)
    fetched.sources.write_text("\n".join(sources(of)) + "\n")
    places = {
        "State::lists": fetched.folder / "lists",
        "State::status": root / "var/lib/dpkg/status",
        "State::extended_states": root / "var/lib/apt/extended_states",
        "Cache::archives": fetched.folder / "archives",
        "Cache::pkgcache": "",
        "Cache::srcpkgcache": "",
        "Etc::sourcelist": fetched.sources,
        "Etc::sourceparts": "/dev/null",
        "Etc::preferencesparts": "/dev/null",
    }
    apt = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=1"]
    for name, place in places.items():
        apt += ["-o", f"Dir::{name}={place}"]
    run(*apt, "update")
    run(*apt, "-y", "--no-install-recommends", "--download-only", *words)
    return fetched


def wheels(locks: Sequence[Path], more: Sequence[str], python: str, to: Path) -> None:
    """Download what pip would on a Python of this architecture: locks with their hashes, and `more` without."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--dest", str(to)]
    only = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    for lock in locks:
        run(*pip, *only, "--require-hashes", "-r", str(lock))
    run(*pip, *only, "--no-deps", *more)


def run(*words: str) -> None:
    """Run a program, or say what it said."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{words[0]} failed:\n{done.stderr[-1500:]}")
