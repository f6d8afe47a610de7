"""The packages themselves: the same bytes each time, for both architectures, without a finding of lintian."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from conftest import NEWER, Packages, built


@pytest.mark.parametrize("target", ["amd64", "arm64"])
def test_the_same_bytes_again(target: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Built twice, in other folders, a package is the same to the byte."""
    commit = request.config.getoption("--commit")
    sums = set()
    for name in ("one", "another"):
        (tmp_path / name).mkdir()
        sums.add(hashlib.sha256(built(tmp_path / name, NEWER, commit, target).read_bytes()).hexdigest())
    assert len(sums) == 1


def test_lintian_finds_nothing(packages: Packages) -> None:
    """Lintian is silent: what it would say and is as it should be stands with its reason in the overrides."""
    command = ["lintian", "--allow-root", "--fail-on", "error,warning", str(packages.newer)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_manual_pages_are_read_without_a_warning(packages: Packages, tmp_path: Path) -> None:
    """Groff has nothing to say about the man pages."""
    subprocess.run(["dpkg-deb", "-x", str(packages.newer), str(tmp_path)], check=True)
    for page in (tmp_path / "usr/share/man").rglob("*.gz"):
        command = f"zcat {page} | groff -man -Tutf8 -ww -rLL=120n 2>&1 >/dev/null"
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
        assert done.stdout == "", done.stdout[:2000]
