"""`doctor`: one line for each thing that can be wrong around a gateway, and what to type about it."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from gateway.cli.terminal.printing import Colour, printable, say, say_json
from gateway.cli.verb import BAD, CONFIG_FAULT, OK, Verbs, add

if TYPE_CHECKING:
    from gateway.doctor.examination import Line
    from gateway.doctor.scene import Scene

MARKS: dict[str, tuple[str, Colour]] = {"ok": ("ok  ", "green"), "warning": ("note", "yellow"), "bad": ("BAD ", "red")}
AREAS_HELP = "config, service, clock, credentials, disk, serial, broker, cloud, devices, system; default: all"


def add_verbs(verbs: Verbs) -> None:
    """Declare `doctor`."""
    parser = add(
        verbs,
        "doctor",
        "look at what is around the gateway (clock, secrets, disk, ports, brokers, cloud), and say what to type",
        doctor,
        examples=[
            "edge-gateway doctor",
            "sudo edge-gateway doctor credentials disk",
            "edge-gateway doctor broker --probe",
            "edge-gateway doctor --json | jq -r '.lines[] | select(.level == \"bad\") | .text'",
        ],
        json=True,
    )
    parser.add_argument("areas", nargs="*", metavar="AREA", help=AREAS_HELP)
    parser.add_argument("--bad", action="store_true", help="only what is bad or worth knowing")
    parser.add_argument(
        "--probe", action="store_true", help="publish one message to brokers on edge-gateway/doctor/..."
    )


def doctor(words: argparse.Namespace) -> int:
    """Look, say a line each; 0 nothing is bad, 1 something is, 78 the config has a fault."""
    from gateway.doctor.check import AREAS, every
    from gateway.doctor.examination import examine
    from gateway.errors import probably_meant

    for word in words.areas:
        if word not in AREAS:
            hint = probably_meant(word, AREAS) or f"there are {', '.join(AREAS)}"
            words.program.error(f"doctor: there is no area {word!r} ({hint})")
    scene, faulty = scene_of(words)
    lines: list[Line] = []
    for found in examine(scene, every(), words.areas):
        lines += found
        if not words.json:
            for line in found:
                show(line, only_bad=words.bad)
    levels = Counter[str](line.finding.level for line in lines)
    code = CONFIG_FAULT if faulty else BAD if levels["bad"] else OK
    if words.json:
        say_json(report(scene, lines, code))
    else:
        codes = [line.finding.code for line in lines if line.finding.code]
        _sum_up(scene, levels, words, codes[0] if codes else "")
    return code


def scene_of(words: argparse.Namespace) -> tuple[Scene, bool]:
    """Gather what every check needs; and whether the config has faults."""
    from gateway.cli.asking.heard import heard
    from gateway.config.load import read
    from gateway.config.places import places
    from gateway.doctor.scene import Scene, user_of

    config, faults = read(words.config)
    where = config.places if config is not None else places(words.config)
    status, why = _status(where.socket)
    scene = Scene(
        file=words.config, config=config, places=where, status=status, why_no_status=why,
        faults=tuple(map(str, faults)),
        values=heard(words.config), user=user_of(status.pid if status is not None else None),
        probe=getattr(words, "probe", False),
    )  # fmt: skip
    return scene, bool(faults)


def report(scene: Scene, lines: list[Line], code: int) -> dict[str, Any]:
    """Return everything as JSON has it."""
    levels = Counter(line.finding.level for line in lines)
    return {
        "ok": code == OK,
        "config": str(scene.file),
        "running": scene.status is not None,
        "user": scene.user.name,
        "counts": {level: levels[level] for level in ("bad", "warning", "ok")},
        "lines": [
            {
                "level": line.finding.level,
                "area": line.area,
                "check": line.check,
                "subject": line.subject,
                "text": line.finding.text,
                "type": line.finding.command or None,
                "code": line.finding.code or None,
                "figures": line.finding.figures,
                "seconds": line.seconds,
            }
            for line in lines
        ],
    }


def show(line: Line, *, only_bad: bool = False) -> None:
    """Print one finding."""
    finding = line.finding
    if only_bad and finding.level == "ok":
        return
    mark, colour = MARKS[finding.level]
    subject = "" if finding.text.startswith(line.subject) else f"{line.subject}: "
    code = f"  [{finding.code}]" if finding.code else ""
    say(printable(f"{mark}  {subject}{finding.text}{code}"), colour if finding.level != "ok" else None)
    if finding.command and finding.level != "ok":
        say(printable(f"      -> {finding.command}"), "dim")


def _sum_up(scene: Scene, levels: Counter[str], words: argparse.Namespace, code: str) -> None:
    say()
    parts = [f"{levels['bad']} bad", f"{levels['warning']} worth knowing", f"{levels['ok']} ok"]
    colour: Colour = "red" if levels["bad"] else "yellow" if levels["warning"] else "green"
    say(", ".join(parts), colour)
    if os.geteuid() not in (0, scene.user.uid) and not words.areas:
        say("Some of it only root or the gateway's user can see: sudo edge-gateway doctor", "dim")
    if code:
        say(f"What a code means: edge-gateway explain {code}", "dim")
    if levels["bad"]:
        say("For somebody else to look at: edge-gateway support", "dim")


def _status(socket: Any) -> tuple[Any, str]:
    """Ask the running gateway how it is; why not, when it does not answer."""
    import msgspec

    from gateway.api.client import ApiClient
    from gateway.api.status import Status
    from gateway.errors import GatewayError

    try:
        with ApiClient(socket) as client:
            return msgspec.convert(client.ask("status"), Status), ""
    except (GatewayError, msgspec.ValidationError, OSError) as error:
        return None, str(error).partition(": is it")[0]
