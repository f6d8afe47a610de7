"""The time zone that hours in rules mean, and the database that knows its summer time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo

import msgspec

from gateway.doctor.check import Subject
from gateway.doctor.finding import Finding, bad, note, ok
from gateway.doctor.scene import Scene

AREA = "clock"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the zone."""

    zone: str
    known: bool
    database: str  # version, "" for none
    said: bool  # the config says it; else it is the machine's
    rules: bool  # there are some


def subjects(scene: Scene) -> list[Subject]:
    """There is one, when there is a config."""
    return [Subject("time zone")] if scene.config is not None else []


def look(scene: Scene, _subject: Subject) -> Facts:
    """Load the zone."""
    assert scene.config is not None
    zone = scene.config.gateway.timezone
    try:
        ZoneInfo(zone or "UTC")
        known = True
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        known = False
    said = scene.config.document.origin(("gateway", "timezone")) is not None
    rules = any(scene.config.rules.folder.glob("*.py"))
    return Facts(zone=zone, known=known, database=_version(), said=said, rules=rules)


def judge(facts: Facts) -> Iterator[Finding]:
    """Say what hours mean."""
    if not facts.known:
        command = "timedatectl list-timezones" if facts.database else "sudo apt install tzdata"
        yield bad(f"nothing is known of the time zone {facts.zone!r}", command)
    elif not facts.said and facts.rules and facts.zone in ("", "UTC", "Etc/UTC"):
        text = "hours in rules are UTC: neither the config nor the machine says a zone"
        yield note(text, 'in gateway.toml, under [gateway]: timezone = "Europe/Berlin"')
    else:
        database = f", time zone database {facts.database}" if facts.database else ""
        yield ok(f"{facts.zone or 'UTC'}{'' if facts.said else ', as the machine says'}{database}")


def _version() -> str:
    for folder in TZPATH:
        try:
            with (Path(folder) / "tzdata.zi").open(encoding="utf-8") as file:
                first = file.readline(100)
        except OSError:
            continue
        return first.removeprefix("# version ").strip()
    return ""
