"""Serial adapters that are plugged in and that no source reads: with the identity to write."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gateway.doctor.check import Subject
from gateway.doctor.finding import Finding, ok
from gateway.doctor.scene import Scene
from gateway.sources.ports import Ports

AREA = "serial"
NAMED_MAX = 10


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Adapters that nobody reads: identity, name of now, what they call themselves."""

    unread: list[tuple[str, str, str]] = []


def subjects(scene: Scene) -> list[Subject]:
    """Return one for all, where there is an adapter."""
    return [Subject("serial ports")] if any((scene.roots.sys / "class/tty").glob("tty[UA]*[0-9]")) else []


def look(scene: Scene, _subject: Subject) -> Facts:
    """Find every port of USB, and leave out those that the config names."""
    ports = Ports(scene.roots.sys, scene.roots.dev, scene.roots.proc)
    named = set()
    for options in scene.config.sources.values() if scene.config is not None else ():
        identity = getattr(options, "serial", None)
        if isinstance(identity, str) and identity:
            try:
                named.add(ports.resolve(identity).resolve())
            except (LookupError, OSError):
                continue
    found = [port for port in ports.all() if port.vendor and port.path.resolve() not in named]
    return Facts(unread=[(port.identity, str(port.path), port.title) for port in found[:NAMED_MAX]])


def judge(facts: Facts) -> Iterator[Finding]:
    """Say how each is written in the config."""
    for identity, path, title in facts.unread:
        yield ok(f'serial = "{identity}" would read {path}{f" ({title})" if title else ""}; no source does')
    if not facts.unread:
        yield ok("every serial adapter that is plugged in is read by a source")
