"""The config and what it names: the same faults as `edge-gateway check`, found by that verb in a process of its own.

Rule files are programs: one that hangs while it is loaded must not hang the doctor.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import msgspec

from gateway.codes.config import CONFIG_DOUBTFUL, CONFIG_FAULT
from gateway.doctor.check import Subject
from gateway.doctor.finding import Finding, bad, note, ok
from gateway.doctor.scene import LOOK_S_MAX, Scene
from gateway.quantity import counted
from gateway.secrets import ONLY_ROOT

AREA = "config"
SAID_MAX = 5  # faults and warnings that get a line of their own
HEADROOM_S = 0.5  # for the process to end


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What `check` says."""

    file: str
    ended: bool = True
    error: str = ""  # `check` itself did not work
    faults: list[str] = []
    warnings: list[str] = []
    counts: dict[str, int] = {}


def subjects(scene: Scene) -> list[Subject]:
    """There is one config."""
    return [Subject("config", scene.file)]


def look(scene: Scene, subject: Subject) -> Facts:
    """Run `check --json`."""
    facts = Facts(file=str(subject.about))
    command = [sys.executable, "-m", "gateway", "check", "--json", "--config", str(scene.file)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            command, capture_output=True, timeout=LOOK_S_MAX - HEADROOM_S, check=False, env=environment,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return msgspec.structs.replace(facts, ended=False, faults=list(scene.faults))
    try:
        said = msgspec.json.decode(done.stdout)
    except msgspec.DecodeError:
        error = done.stderr.decode(errors="replace").strip().splitlines()
        return msgspec.structs.replace(facts, error=error[-1] if error else f"exit code {done.returncode}")
    return msgspec.structs.replace(
        facts,
        faults=[_line(each) for each in said["faults"]],
        warnings=[_line(each) for each in said["warnings"]],
        counts=said["counts"],
    )


def judge(facts: Facts) -> Iterator[Finding]:
    """Repeat the faults, the first few of each kind."""
    if facts.error:
        yield bad(f"{facts.file} could not be checked: {facts.error}", "edge-gateway check", CONFIG_FAULT)
        return
    for fault in facts.faults[:SAID_MAX]:
        yield bad(fault, _mend(fault), CONFIG_FAULT)
    for warning in facts.warnings[:SAID_MAX]:
        yield note(warning, _mend(warning), CONFIG_DOUBTFUL)
    for several in (facts.faults, facts.warnings):
        if len(several) > SAID_MAX:
            yield note(f"and {len(several) - SAID_MAX} more", "edge-gateway check")
    if not facts.ended:
        rest = "profiles and rules" if facts.faults else f"{facts.file} has no fault itself; its profiles and rules"
        yield note(f"{rest} could not be checked in time", "edge-gateway check")
    elif not facts.faults and not facts.warnings:
        counts = ", ".join(counted(number, name) for name, number in facts.counts.items())
        yield ok(f"{facts.file} is good: {counts}")


def _mend(fault: str) -> str:
    """Return what opens the file at the line, and what to type then."""
    if ONLY_ROOT in fault:
        return "sudo edge-gateway check"
    place = re.match(r"(\S+):(\d+): ", fault)
    return f"nano +{place[2]} {place[1]}; then: edge-gateway check" if place else "edge-gateway check"


def _line(fault: dict[str, object]) -> str:
    where = f"{fault['file']}:{fault['line']}" if fault["line"] else f"{fault['file']}"
    return f"{where}: {fault['what']}" + (f" ({fault['hint']})" if fault["hint"] else "")
