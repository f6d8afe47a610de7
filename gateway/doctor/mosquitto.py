"""Mosquitto's own config, where it runs on this machine: what of it loses messages. Source: mosquitto.conf(5), 2.0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from gateway.doctor.mounts import seen
from gateway.doctor.scene import Roots, text

PROGRAM: Final = "mosquitto"
FILES_MAX: Final = 50
LINES_MAX: Final = 5000
PORT: Final = 1883
DEFAULTS: Final[Mapping[str, str]] = {
    "persistence": "false",
    "autosave_interval": "1800",
    "autosave_on_changes": "false",
    "max_queued_messages": "1000",
    "queue_qos0_messages": "false",
    "persistent_client_expiration": "",
    "message_size_limit": "0",
    "max_packet_size": "0",
    "memory_limit": "0",
    "max_qos": "2",
    "retain_available": "true",
}


class Settings(msgspec.Struct, frozen=True):
    """What counts in a running Mosquitto, as its files say now; it may have been started with older ones."""

    file: str
    values: dict[str, str]  # every key of DEFAULTS
    readable: bool = True  # all of its files could be read


def settings_of(port: int, roots: Roots) -> Settings | None:
    """Return the settings of the Mosquitto on this machine that listens on a port; None when there is none."""
    for comm in sorted(roots.proc.glob("[0-9]*/comm")):
        if text(comm) == PROGRAM:
            found = _of_process(comm.parent)
            if found is not None and port in _ports(found[1]):
                return found[0]
    return None


def _of_process(process: Path) -> tuple[Settings, list[tuple[str, str]]] | None:
    words = text(process / "cmdline").split("\0")
    name = next((after for word, after in pairwise(words) if word in ("-c", "--config-file")), "")
    if not name:
        port = next((after for word, after in pairwise(words) if word in ("-p", "--port")), str(PORT))
        return Settings("", dict(DEFAULTS)), [("listener", port)]
    file = Path(name)
    if not file.is_absolute():
        try:
            file = (process / "cwd").readlink() / file
        except OSError:
            return Settings(name, dict(DEFAULTS), readable=False), []
    inside = process / "root" / file.relative_to("/")  # its own root: it may be in a container
    lines, readable = _read(inside if seen(inside) else file)
    values = {**DEFAULTS, **{key: value for key, value in lines if key in DEFAULTS}}
    return Settings(str(file), values, readable), lines


def _read(file: Path) -> tuple[list[tuple[str, str]], bool]:
    """Read a file and those it includes, as (key, value) in order; and whether all could be read."""
    lines: list[tuple[str, str]] = []
    files, readable = [file], True
    for count, each in enumerate(files):
        try:
            content = each.read_text(errors="replace").splitlines()[:LINES_MAX]
        except OSError:
            readable = False
            continue
        for key, value in _lines(content):
            lines.append((key, value))
            if key == "include_dir" and count < FILES_MAX:
                files += sorted(Path(value).glob("*.conf"))[:FILES_MAX]
    return lines, readable


def _lines(content: list[str]) -> Iterator[tuple[str, str]]:
    for line in content:
        key, _, value = line.strip().partition(" ")
        if key and not key.startswith("#"):
            yield key, value.strip()


def _ports(lines: list[tuple[str, str]]) -> set[int]:
    said = [value.split()[0] for key, value in lines if key in ("listener", "port") and value.split()]
    return {int(word) for word in said if word.isdecimal()} or {PORT}
