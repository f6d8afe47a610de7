"""Versions: the program, Python, the libraries it asks for, the system."""

from __future__ import annotations

import platform
import re
import sqlite3
import ssl
import sys
from collections.abc import Iterator
from importlib import metadata

import msgspec

from gateway import __version__
from gateway.codes.service import LIBRARIES_DIFFER
from gateway.doctor.check import Subject
from gateway.doctor.finding import Finding, bad, note, ok
from gateway.doctor.scene import Scene, pairs, text

AREA = "system"
PYTHON_MIN, PYTHON_TRIED = (3, 11), (3, 14)
REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*>=\s*([0-9.]+)(?:.*extra == ['\"](\w+)['\"])?")
NUMBER = re.compile(r"\d+")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is installed."""

    program: str
    running: str = ""  # the version of the gateway that runs
    python: tuple[int, ...]
    libraries: dict[str, str] = {}
    missing: dict[str, str] = {}  # library -> the version that is asked for
    old: dict[str, tuple[str, str]] = {}  # library -> (installed, asked for)
    system: str = ""
    kernel: str = ""
    systemd: str = ""
    machine: str = ""
    tls: str = ""
    sqlite: str = ""


def subjects(_scene: Scene) -> list[Subject]:
    """There is one set of them."""
    return [Subject("versions")]


def look(scene: Scene, _subject: Subject) -> Facts:
    """Read what is installed."""
    libraries, missing, old = _libraries()
    systemd = (scene.run("systemctl", "--version") or "").split()
    return Facts(
        program=__version__,
        running=scene.status.version if scene.status is not None else "",
        python=tuple(sys.version_info[:3]),
        libraries=libraries,
        missing=missing,
        old=old,
        system=pairs(text(scene.roots.etc / "os-release")).get("PRETTY_NAME", "").strip('"'),
        kernel=platform.release(),
        systemd=systemd[1] if len(systemd) > 1 else "",
        machine=_model(scene),
        tls=ssl.OPENSSL_VERSION,
        sqlite=sqlite3.sqlite_version,
    )


def judge(facts: Facts) -> Iterator[Finding]:
    """Say what does not fit."""
    python = ".".join(map(str, facts.python))
    figures = {"libraries": facts.libraries, "kernel": facts.kernel, "openssl": facts.tls, "sqlite": facts.sqlite}
    parts = [f"Python {python}", facts.system, f"kernel {facts.kernel}", facts.machine]
    parts += [f"systemd {facts.systemd}"] if facts.systemd else []
    yield ok(f"edge-gateway {facts.program}, {', '.join(filter(None, parts))}", **figures)
    if facts.python[:2] < PYTHON_MIN:
        yield bad(f"Python {python} is too old: {'.'.join(map(str, PYTHON_MIN))} or newer", "python3 --version")
    elif facts.python[:2] > PYTHON_TRIED:
        yield note(f"Python {python} is newer than any this version was tried with")
    if facts.running and facts.running != facts.program:
        text = f"version {facts.running} runs, {facts.program} is installed: the new one counts from the next start"
        yield note(text, "sudo systemctl restart edge-gateway")
    mend = "install the package again: sudo apt install --reinstall edge-gateway"
    for name, asked in facts.missing.items():
        yield bad(f"the library {name} is not installed ({asked} or newer is asked for)", mend, LIBRARIES_DIFFER)
    for name, (installed, asked) in facts.old.items():
        yield bad(f"the library {name} is {installed}, {asked} or newer is asked for", mend, LIBRARIES_DIFFER)


def _libraries() -> tuple[dict[str, str], dict[str, str], dict[str, tuple[str, str]]]:
    """Return libraries with their versions; those that are missing; those that are too old."""
    installed: dict[str, str] = {}
    missing: dict[str, str] = {}
    old: dict[str, tuple[str, str]] = {}
    try:
        asked = metadata.requires("edge-gateway") or []
    except metadata.PackageNotFoundError:  # run from a folder: nobody says what is asked for
        return installed, missing, old
    for requirement in asked:
        found = REQUIREMENT.match(requirement)
        if found is None:
            continue
        name, least, extra = found.groups()
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            if extra is None:
                missing[name] = least
            continue
        installed[name] = version
        if _numbers(version) < _numbers(least):
            old[name] = (version, least)
    return installed, missing, old


def _numbers(version: str) -> list[int]:
    return [int(number) for number in NUMBER.findall(version)[:3]]


def _model(scene: Scene) -> str:
    model = text(scene.roots.proc / "device-tree/model").strip("\0") or text(
        scene.roots.sys / "class/dmi/id/product_name"
    )
    return f"{model} ({platform.machine()})" if model else platform.machine()
