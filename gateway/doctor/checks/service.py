"""The running gateway: what its `status` finds, and what systemd says of its unit."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gateway.codes.clock import CLOCK_UNSYNCED
from gateway.doctor.check import Subject
from gateway.doctor.finding import Finding, bad, note, ok
from gateway.doctor.scene import SERVICE, Scene, pairs

AREA = "service"
UNIT = f"{SERVICE}.service"
PROPERTIES = "LoadState,ActiveState,SubState,Result,NRestarts,NeedDaemonReload,UnitFileState,MainPID,ExecMainStatus"
RESTARTS_MANY = 3
CONFIG_STATUS = "78"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What both say."""

    answers: bool
    why_not: str = ""
    closed: bool = False  # it may answer, but not to who asks
    pid: int | None = None
    version: str = ""
    running_s: float = 0.0
    found: list[Finding] = []  # what `status` finds
    unit: dict[str, str] = {}  # systemd's properties; empty: no systemd, or no such unit
    start: str = ""  # what starts this gateway


def subjects(_scene: Scene) -> list[Subject]:
    """There is one gateway."""
    return [Subject("gateway")]


def look(scene: Scene, _subject: Subject) -> Facts:
    """Take what the gateway answered, and ask systemd."""
    from gateway.api.client import MAY_NOT
    from gateway.api.findings import findings

    said = pairs(scene.run("systemctl", "show", UNIT, f"--property={PROPERTIES}") or "")
    unit = said if said.get("LoadState") == "loaded" else {}
    start = f"sudo systemctl start {SERVICE}" if unit else f"edge-gateway run --config {scene.file}"
    status = scene.status
    if status is None:
        why = scene.why_no_status
        return Facts(answers=False, why_not=why, closed=MAY_NOT in why, unit=unit, start=start)
    own = [each for each in findings(status) if each.code is not CLOCK_UNSYNCED]  # the clock's check says more of it
    found = [Finding(each.level, each.text, each.command or "", str(each.code or "")) for each in own]
    return Facts(
        answers=True, pid=status.pid, version=status.version, running_s=status.uptime_s, found=found, unit=unit,
        start=start,
    )  # fmt: skip


def judge(facts: Facts) -> Iterator[Finding]:
    """Say whether it runs, and what it finds itself."""
    yield from _unit(facts)
    if facts.closed:
        why, _, command = facts.why_not.partition(". Type: ")
        yield note(f"the gateway was not asked: {why}", command)
        return
    if not facts.answers:
        yield bad(f"the gateway is not running: {facts.why_not}", facts.start)
        return
    yield from facts.found
    if not facts.found:
        yield ok(f"version {facts.version} runs as process {facts.pid}, and finds nothing wrong")


def _unit(facts: Facts) -> Iterator[Finding]:
    unit = facts.unit
    if not unit:
        return
    log = f"journalctl -u {SERVICE} -n 50 --no-pager"
    failed = unit.get("ActiveState") == "failed"
    if failed and unit.get("ExecMainStatus") == CONFIG_STATUS:
        yield bad(f"systemd does not start {UNIT} again: its config has a fault", "edge-gateway check")
    elif failed:
        yield bad(f"systemd has given up on {UNIT}: {unit.get('Result', 'failed')}", log)
    if not facts.answers and not facts.closed and unit.get("ActiveState") == "active":
        text = (
            f"{UNIT} runs as process {unit.get('MainPID')} and does not answer where the config says: another config?"
        )
        yield note(text, f"systemctl cat {SERVICE} | grep ExecStart")
    restarts = unit.get("NRestarts", "0")
    if restarts.isdecimal() and int(restarts) >= RESTARTS_MANY:
        yield note(f"systemd has had to start {UNIT} again {restarts} times", log)
    if unit.get("UnitFileState") in ("disabled", "masked"):
        yield note(
            f"{UNIT} is {unit['UnitFileState']}: it will not start with the machine", f"sudo systemctl enable {SERVICE}"
        )
    if unit.get("NeedDaemonReload") == "yes":
        yield note(f"{UNIT} was changed on the disk since systemd read it", "sudo systemctl daemon-reload")
