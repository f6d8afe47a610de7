"""Serial ports: those that the config names, and what takes ports away from programs."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Iterator

import msgspec

from gateway.codes.sources import PORT_GONE
from gateway.doctor.check import Subject
from gateway.doctor.finding import Finding, bad, note, ok
from gateway.doctor.scene import SERVICE, Scene, text
from gateway.sources.ports import Ports

AREA = "serial"
MODEM_MANAGER, BRLTTY = "ModemManager", "brltty"
BRAILLE = {("1a86", "7523"), ("10c4", "ea60"), ("0403", "6001")}  # adapters that brltty takes for braille displays


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one port."""

    identity: str  # as the config says
    path: str = ""  # the tty it is now
    better: str = ""  # an identity that stays, for a path that does not
    missing: str = ""  # why there is none
    is_tty: bool = True
    user: str = ""
    group: str = ""
    may_open: bool = True
    held_by: tuple[str, ...] = ()
    ours: bool = False  # the running gateway has it
    modem_manager: bool = False  # runs, and is not told to leave this port alone
    brltty: bool = False  # runs, and knows this kind of adapter
    rule: str = ""  # for udev, that keeps both away


def subjects(scene: Scene) -> list[Subject]:
    """Return the ports that the config names."""
    if scene.config is None:
        return []
    named = ((name, getattr(options, "serial", None)) for name, options in scene.config.sources.items())
    return [Subject(f"source {name}", port) for name, port in named if isinstance(port, str) and port]


def look(scene: Scene, subject: Subject) -> Facts:
    """Find the port, and who has it."""
    ports = Ports(scene.roots.sys, scene.roots.dev, scene.roots.proc)
    facts = Facts(identity=subject.about, user=scene.user.name)
    try:
        path = ports.resolve(subject.about)
        entry = path.stat()
    except LookupError as error:
        return msgspec.structs.replace(facts, missing=str(error))
    except OSError as error:
        there = ", ".join(f"{port.identity} ({port.path})" for port in ports.all()) or "no port at all"
        missing = f"{subject.about} is not there: {error.strerror} (there is {there})"
        return msgspec.structs.replace(facts, missing=missing)
    found = next((port for port in ports.all() if port.path == path.resolve()), None)
    running = scene.processes(MODEM_MANAGER, BRLTTY)
    held = tuple(ports.holders(path))
    pid = str(scene.status.pid) if scene.status is not None else ""
    usb = found is not None and found.vendor
    return msgspec.structs.replace(
        facts,
        path=str(path),
        better=found.identity if found and usb and not _stays(subject.about) else "",
        is_tty=stat.S_ISCHR(entry.st_mode),
        group=_group(entry.st_gid),
        may_open=scene.user.may(entry, 6),
        held_by=held,
        ours=any(f"(process {pid})" in each for each in held) if pid else False,
        modem_manager=bool(usb) and MODEM_MANAGER in running and not _left_alone(entry, scene),
        brltty=found is not None and BRLTTY in running and (found.vendor, found.product) in BRAILLE,
        rule=_rule(found.vendor, found.product) if found and usb else "",
    )


def judge(facts: Facts) -> Iterator[Finding]:
    """Say whether the gateway gets its bytes."""
    if facts.missing:
        yield bad(facts.missing, "edge-gateway serial list; sudo dmesg | tail", PORT_GONE)
        return
    where = facts.identity if facts.identity == facts.path else f"{facts.identity}, now {facts.path}"
    if not facts.is_tty:
        yield bad(f"{where} is no serial port", "edge-gateway serial list", PORT_GONE)
        return
    findings = list(_troubles(facts, where))
    yield from findings
    if all(finding.level == "ok" for finding in findings):
        yield ok(f"{where}: user {facts.user} may open it" + (", and has it open" if facts.ours else ""))


def _troubles(facts: Facts, where: str) -> Iterator[Finding]:
    if not facts.may_open:
        command = f"sudo usermod -aG {facts.group} {facts.user}; sudo systemctl restart {SERVICE}"
        yield bad(f"{where}: user {facts.user} may not open it, group {facts.group} may", command, PORT_GONE)
    if facts.held_by and not facts.ours:
        yield bad(f"{where} is open in {', '.join(facts.held_by)}", "stop that program: one program a port", PORT_GONE)
    for runs, name, does in (
        (facts.modem_manager, MODEM_MANAGER, "tries every new port for a modem, and sends it AT commands"),
        (facts.brltty, BRLTTY, "takes this kind of adapter for a braille display"),
    ):
        if runs:
            command = f"sudo systemctl disable --now {name}, or in /etc/udev/rules.d/60-{SERVICE}.rules: {facts.rule}"
            yield note(f"{where}: {name} runs, which {does}", command)
    if facts.better:
        text = f"{where}: this name goes to whatever is plugged in first"
        yield note(text, f'in gateway.toml: serial = "{facts.better}"')


def _stays(identity: str) -> bool:
    return identity.startswith("usb:") or "/by-id/" in identity or "/by-path/" in identity


def _left_alone(entry: os.stat_result, scene: Scene) -> bool:
    """Return whether udev tells ModemManager to leave a port alone (its properties are in /run/udev/data)."""
    place = f"c{os.major(entry.st_rdev)}:{os.minor(entry.st_rdev)}"
    said = text(scene.roots.run / "udev/data" / place)
    return any(f"E:{name}=1" in said for name in ("ID_MM_PORT_IGNORE", "ID_MM_DEVICE_IGNORE"))


def _rule(vendor: str, product: str) -> str:
    return (
        f'SUBSYSTEM=="tty", ATTRS{{idVendor}}=="{vendor}", ATTRS{{idProduct}}=="{product}", '
        'ENV{ID_MM_PORT_IGNORE}="1", GROUP="dialout", MODE="0660"'
    )


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
