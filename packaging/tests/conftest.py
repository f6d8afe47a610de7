"""Machines and packages for the tests here: they need root, apt and minutes, and are started by `./dev machine`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import gateway
from lab.machine import Boot, Machine
from lab.roots import SUITES

ROOT = Path(__file__).resolve().parents[2]
INSIDE = Path(__file__).parent / "inside"

OLDER, NEWER = f"{gateway.__version__}~before1", gateway.__version__
STEPS = (INSIDE / "steps.sh").read_text()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare what is tested, where, and what is kept of it."""
    parser.addoption("--commit", help="test the packages of this commit (default: the files as they lie here)")
    parser.addoption("--suite", choices=SUITES, action="append", help="only this Debian (default: each)")
    parser.addoption("--keep", type=Path, help="folder for consoles and journals (default: a new one)")


def pytest_configure(config: pytest.Config) -> None:
    """Declare how a test says that it is not for each Debian."""
    config.addinivalue_line("markers", "suites(name, ...): run only on these")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that names a suite on every Debian there is."""
    if "suite" in metafunc.fixturenames:
        asked = metafunc.config.getoption("--suite") or SUITES
        mark = metafunc.definition.get_closest_marker("suites")
        metafunc.parametrize("suite", [each for each in asked if mark is None or each in mark.args])


class Packages(NamedTuple):
    """The package, and one that is the same but for an older version."""

    older: Path
    newer: Path


def built(folder: Path, version: str, commit: str | None, architecture: str) -> Path:
    """Build one package."""
    what = ["--commit", commit] if commit else ["--as-it-is"]
    options = ["--arch", architecture, "--version", version, "-o", str(folder), *what]
    path = os.pathsep.join([str(ROOT / "packaging"), str(ROOT)])
    command = [sys.executable, "-m", "deb", *options]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / f"edge-gateway_{version}_{architecture}.deb"


@pytest.fixture(scope="session")
def architecture() -> str:
    """Return what this machine is; packages of another one can be built, not run."""
    return subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="session")
def packages(architecture: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Packages:
    """Both packages, built once a session."""
    folder, commit = tmp_path_factory.mktemp("packages"), request.config.getoption("--commit")
    return Packages(*(built(folder, version, commit, architecture) for version in (OLDER, NEWER)))


@pytest.fixture(scope="session")
def kept(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Give the folder in which each test leaves its consoles and journals; printed at the end."""
    folder = request.config.getoption("--keep") or Path(tempfile.mkdtemp(prefix="edge-gateway-machines-"))
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    print(f"\nconsoles and journals: {folder}", file=sys.__stderr__)


class Lab:
    """One machine for one test, with the package and the oracle at hand."""

    def __init__(self, machine: Machine, packages: Packages) -> None:
        self.machine, self.packages = machine, packages

    def run(
        self, script: str, *, files: Sequence[Path] = (), binds: Mapping[Path, str] | None = None, limit_s: float = 300
    ) -> Boot:
        """Boot and run a script made of steps.sh; it must come to its end with 0. `binds`: our paths, by theirs."""
        boot = self.attempt(script, files=files, binds=binds, limit_s=limit_s)
        assert boot.code == 0, f"exit code {boot.code}, kept in {boot.folder}\n{boot.console[-4000:]}"
        return boot

    def attempt(
        self, script: str, *, files: Sequence[Path] = (), binds: Mapping[Path, str] | None = None, limit_s: float = 300
    ) -> Boot:
        """Boot and run a script made of steps.sh, whatever comes of it."""
        older, newer = self.packages
        prelude = f"OLDER={older.name}\nNEWER={newer.name}\n"
        inside = [path for path in INSIDE.iterdir() if path.is_file()]
        given = [*inside, older, newer, *files]
        return self.machine.boot(f"{STEPS}\n{prelude}\n{script}", given, binds=binds, limit_s=limit_s)


@pytest.fixture
def lab(suite: str, packages: Packages, kept: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Make a new machine; its disk is deleted afterwards, its consoles and journals stay."""
    folder = kept / request.node.name.replace("[", "-").replace("]", "")
    machine = Machine(suite, folder)
    yield Lab(machine, packages)
    machine.discard()


def figures(boot: Boot, name: str) -> dict[str, Any]:
    """Return the JSON object on the last line ``NAME {...}`` of a console."""
    return all_figures(boot, name)[-1]


def all_figures(boot: Boot, name: str) -> list[dict[str, Any]]:
    """Return the JSON objects on the lines ``NAME {...}`` of a console."""
    found = [line.partition(" ")[2] for line in boot.console.splitlines() if line.startswith(f"{name} {{")]
    assert found, f"no line {name!r} in {boot.folder}"
    return [json.loads(text) for text in found]
