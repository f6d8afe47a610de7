"""The wheel: what `pipx install` takes, in an environment that never saw this checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, install it into an empty environment, and return the command."""
    folder = tmp_path_factory.mktemp("wheel")
    run(*PIP, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"))
    python = folder / "venv/bin/python"
    (packages,) = (folder / "venv/lib").glob("python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")  # the locked ones, not the checkout
    run(*PIP, "--python", str(python), "install", "--quiet", "--no-index", "--no-deps", str(wheel))
    return folder / "venv/bin/edge-gateway"


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a command that must succeed; return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_outside_a_checkout(installed: Path, tmp_path: Path) -> None:
    """Profiles, rules to take and completion come with the wheel, and a config is checked."""
    (tmp_path / "gateway.toml").write_text('gateway.state = "state"\n')
    checked = run(str(installed), "check", "--config", "gateway.toml", cwd=tmp_path)
    assert "is good" in checked
    assert " 0 profiles" not in checked
    assert "zigbee2mqtt-contact" in run(str(installed), "profiles", "list", cwd=tmp_path)
    assert "alarm_snapshot" in run(str(installed), "rules", "catalogue", cwd=tmp_path)
    assert "complete " in run(str(installed), "completion", "fish", cwd=tmp_path)
