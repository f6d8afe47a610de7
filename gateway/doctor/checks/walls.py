"""What keeps rules in: the kernel's Landlock and seccomp, or only an audit hook."""

from __future__ import annotations

import platform
from collections.abc import Iterator

import msgspec

from gateway.codes.rules import WALLS_ARE_THIN
from gateway.doctor.check import Subject
from gateway.doctor.finding import Finding, note, ok
from gateway.doctor.scene import Scene, text
from gateway.rules.walls.enforced import Enforced
from gateway.rules.walls.landlock import ABI_KNOWN, abi

AREA = "system"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel offers, and what is in force."""

    kernel: str
    landlock: int
    seccomp: bool
    enforced: Enforced | None = None  # in the running worker
    modules: str = ""  # the kernel's security modules


def subjects(_scene: Scene) -> list[Subject]:
    """There is one kernel."""
    return [Subject("rule walls")]


def look(scene: Scene, _subject: Subject) -> Facts:
    """Ask the kernel, and the running gateway."""
    running = scene.status.rules.enforced if scene.status is not None else None
    return Facts(
        kernel=platform.release(),
        landlock=abi(),
        seccomp="kill_process" in text(scene.roots.proc / "sys/kernel/seccomp/actions_avail"),
        enforced=running if running is not None and running.by else None,
        modules=text(scene.roots.sys / "kernel/security/lsm"),
    )


def judge(facts: Facts) -> Iterator[Finding]:
    """Say who enforces what a rule may do."""
    if facts.enforced is not None:
        line = facts.enforced.line()
        yield ok(line) if facts.enforced.whole else note(line, "edge-gateway rules list --json", WALLS_ARE_THIN)
        return
    offers = [f"Landlock {facts.landlock}"] if facts.landlock else []
    offers += ["seccomp"] if facts.seccomp else []
    if facts.landlock and facts.seccomp:
        less = f" ({ABI_KNOWN} is the newest that is used)" if facts.landlock < ABI_KNOWN else ""
        yield ok(f"kernel {facts.kernel} offers {' and '.join(offers)}{less}")
        return
    text = (
        f"kernel {facts.kernel} offers {' and '.join(offers) or 'neither Landlock nor seccomp'}: what is missing falls"
    )
    text += " back to an audit hook, which keeps honest rules in"
    switched_off = not facts.landlock and facts.modules and "landlock" not in facts.modules
    command = f"in the kernel's command line: lsm=landlock,{facts.modules}" if switched_off else ""
    yield note(text, command, WALLS_ARE_THIN)
