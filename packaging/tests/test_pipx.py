"""`pipx install` as the guide says, on a Debian that has nothing else: the program without the service."""

from __future__ import annotations

import subprocess
from pathlib import Path

from conftest import ROOT, Lab

from lab.fetched import packages, wheels

LOCKS = (ROOT / "requirements.lock", ROOT / "requirements-build.lock")
OF_PIPX = ("pip", "setuptools", "wheel")  # it brings its own up to date first
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}


def test_installed_by_pipx(lab: Lab, suite: str, tmp_path: Path) -> None:
    """In a checkout `pipx install .` brings a program that a plain user runs: its version, and the demo to its end."""
    pipx, checkout, index = packages(suite, suite, ["install", "pipx"]), tmp_path / "checkout.tar", tmp_path / "wheels"
    wheels(LOCKS, OF_PIPX, PYTHONS[suite], index)
    subprocess.run(["git", "archive", "-o", str(checkout), "HEAD"], cwd=ROOT, check=True)
    lab.run(
        """
        cp sources.list /etc/apt/sources.list
        apt-get install -y --no-download --no-install-recommends pipx
        useradd --create-home anna
        mkdir /home/anna/edge-gateway
        tar -xf checkout.tar -C /home/anna/edge-gateway
        chown -R anna: /home/anna
        cat >/tmp/typed <<'SH'
        set -eux
        cd ~/edge-gateway
        pipx install .
        pipx ensurepath
        PATH=~/.local/bin:$PATH
        cd /
        edge-gateway --version
        edge-gateway demo --seconds 8
SH
        runuser -u anna -- env HOME=/home/anna PIP_NO_INDEX=1 PIP_FIND_LINKS=/mnt sh /tmp/typed
    """,
        files=[pipx.sources, checkout],
        binds={**pipx.binds, index: "/mnt"},
    )
