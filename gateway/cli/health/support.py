"""`support`: everything somebody else needs to find out what is wrong, in one file, and no secret in it."""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway import __version__
from gateway.cli.health.doctor import report, scene_of
from gateway.cli.terminal.printing import say, say_json, table
from gateway.cli.verb import OK, Verbs, add
from gateway.errors import ConfigError
from gateway.quantity import size

if TYPE_CHECKING:
    from gateway.doctor.examination import Line
    from gateway.doctor.scene import Scene
    from gateway.support.bundle import Kept, Piece


def add_verbs(verbs: Verbs) -> None:
    """Declare `support`."""
    parser = add(
        verbs,
        "support",
        "put what somebody else needs to help into one file, without secrets: doctor, status, config, log, system",
        support,
        examples=[
            "sudo edge-gateway support",
            "edge-gateway support -o /tmp/pi.tar.gz --anonymous",
            "tar -tzf edge-gateway-support-pi-*.tar.gz",
        ],
        json=True,
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="a .tar.gz or .tar.zst that is not there yet")
    parser.add_argument("--anonymous", action="store_true", help="names of devices, rooms and machines as anon-...")


def support(words: argparse.Namespace) -> int:
    """Make a bundle and list what is in it."""
    from gateway.doctor.check import every
    from gateway.doctor.examination import examine
    from gateway.support.bundle import write
    from gateway.support.private import scrub_of

    scene, faulty = scene_of(words)
    lines = [line for found in examine(scene, every()) for line in found]
    bad = any(line.finding.level == "bad" for line in lines)
    examined = report(scene, lines, 78 if faulty else 1 if bad else 0)
    scrub = scrub_of(scene, anonymous=words.anonymous)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    gateway = scrub(scene.config.gateway.name, ours=True) if scene.config is not None else "gateway"
    folder = f"edge-gateway-support-{re.sub(r'[^A-Za-z0-9._-]', '-', gateway)}-{stamp}"
    file = words.output or Path(f"{folder}.tar.gz")
    kept = write(file, folder, _pieces(scene, lines, examined), scrub)
    if words.json:
        say_json({"file": str(file), "bytes": file.stat().st_size, "anonymous": words.anonymous, "contents": kept})
    else:
        _list(file, kept, scene, anonymous=words.anonymous)
    return OK


def _pieces(scene: Scene, lines: list[Line], examined: dict[str, Any]) -> Iterator[Piece]:
    from gateway.support.bundle import Piece
    from gateway.support.pieces import pieces

    said = "".join(_text(line) for line in lines)
    yield Piece("doctor.txt", "what edge-gateway doctor finds", said, ours=True)
    yield Piece(
        "doctor.json", "the same for programs, with figures", json.dumps(examined, indent=1, default=str), ours=True
    )
    versions = {"edge-gateway": __version__, "python": sys.version, "machine": platform.machine(), "argv": sys.argv[1:]}
    yield Piece("versions.json", "program, Python", json.dumps(versions, indent=1), ours=True)
    if scene.config is not None:
        from gateway.cli.config.check import effective_lines

        with contextlib.suppress(ConfigError):
            effective = "\n".join(effective_lines(scene.config)) + "\n"
            yield Piece("config/effective.toml", "every value in force, and where it is from", effective)
    yield from pieces(scene)


def _text(line: Line) -> str:
    finding = line.finding
    code = f" [{finding.code}]" if finding.code else ""
    command = f"\n    -> {finding.command}" if finding.command else ""
    return f"{finding.level:<8}{line.area}/{line.subject}: {finding.text}{code}{command}\n"


def _list(file: Path, kept: list[Kept], scene: Scene, *, anonymous: bool) -> None:
    table(["file", "bytes", "what it is"], [[each.name, each.bytes, each.title] for each in kept])
    say()
    say(
        f"{file}: {size(file.stat().st_size)}, readable by you only. No passwords, keys, tokens or payloads are in it;",
        "green",
    )
    say(f"look into it before you send it: tar -x{'z' if file.suffix == '.gz' else ''}f {file}")
    if not anonymous:
        say("Names of devices, rooms and machines are in it; without them: --anonymous", "dim")
    if "log.txt" not in {each.name for each in kept}:
        say("Its log is not in it: there is none here, or only root may read it (sudo edge-gateway support)", "dim")
    if scene.status is None:
        say("The gateway did not answer: what it would say of itself is not in it", "dim")
