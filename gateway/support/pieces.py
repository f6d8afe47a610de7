"""What goes into a support bundle, beside what doctor says: each part for itself, so that one that fails costs only it.

Never in it: payloads, last values of devices, files that a secret is in, the environment, keys.
"""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.doctor.scene import SERVICE, Scene, text
from gateway.event import Lane
from gateway.journal.reader import Reader
from gateway.support.bundle import PIECE_BYTES_MAX, Piece
from gateway.support.scrub import HIDDEN

FILES_MAX: Final = 200  # of one kind
LETTERS_MAX: Final = 2000
LETTERS_BYTES_MAX: Final = 16 << 20
LOG_LINES: Final = 4000
KERNEL_LINES: Final = 300
RUN_S_MAX: Final = 10.0
REASON_CHARS_MAX: Final = 300
_OWN: Final = ("/edge-gateway", "/kill")  # programs of the unit that are told nothing secret
_SETTING = re.compile(
    r"(?m)^(\s*(Environment|SetCredential(?:Encrypted)?|Exec(?!Paths)\w+)\s*=)((?:[^\n]*\\\n)*[^\n]*)"
)
_VARIABLE = re.compile(r"(?:^|[\s\"'])([A-Za-z_]\w*)=")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")

UNIT: Final = (
    "ActiveState,SubState,Result,NRestarts,ExecMainStatus,ExecMainStartTimestamp,MemoryCurrent,TasksCurrent,StatusText,"
    "FragmentPath,DropInPaths,User,SupplementaryGroups,WatchdogUSec"
)
PROGRAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "system/unit.txt": ("systemctl", "cat", SERVICE),
    "system/unit-state.txt": ("systemctl", "show", SERVICE, "--no-pager", "--property", UNIT),
    "system/clock.txt": ("timedatectl",),
    "system/listening.txt": ("ss", "-ltn"),
    "system/addresses.txt": ("ip", "-brief", "address"),
    "system/routes.txt": ("ip", "route"),
    "system/free.txt": ("df", "-hT"),
    "system/usb.txt": ("lsusb",),
    "system/packages.txt": ("dpkg-query", "-W", SERVICE, "mosquitto", "systemd", "linux-image-*", "raspberrypi-kernel"),
}
KERNEL_FILES: Final = ("meminfo", "loadavg", "uptime", "mounts", "swaps", "version", "locks")


def pieces(scene: Scene) -> Iterator[Piece]:
    """Yield every part but those of doctor; never raises for what a machine lacks."""
    yield from _config(scene)
    yield from _files(scene)
    yield from _running(scene)
    yield from _journal(scene)
    yield from _logs(scene)
    yield from _system(scene)


def _config(scene: Scene) -> Iterator[Piece]:
    folder = scene.file.absolute().parent
    named = [scene.file, *sorted((folder / "gateway.d").glob("*.toml")), folder / "devices.toml"]
    if scene.config is not None and scene.config.gateway.devices not in named:
        named.append(scene.config.gateway.devices)
    for file in dict.fromkeys(named):
        content = _read(file)
        if content is not None:
            name = file.relative_to(folder) if file.is_relative_to(folder) else Path(file.name)
            yield Piece(f"config/{name}", "as it is on the disk, without secrets", content)


def _files(scene: Scene) -> Iterator[Piece]:
    """Yield rules and the installation's own profiles."""
    if scene.config is None:
        return
    places: list[tuple[str, Path, str]] = [("rules", scene.config.rules.folder, "*.py")]
    places += [("profiles", folder, "*.toml") for folder in scene.config.profiles[1:]]
    for title, folder, pattern in places:
        for file in sorted(folder.rglob(pattern))[:FILES_MAX]:
            content = _read(file)
            if content is not None:
                yield Piece(f"{title}/{file.relative_to(folder)}", f"{title}, without what looks secret", content)


def _running(scene: Scene) -> Iterator[Piece]:
    if scene.status is not None:
        status = msgspec.json.format(msgspec.json.encode(scene.status)).decode()
        yield Piece("status.json", "what the running gateway says of itself", status, ours=True)
    if scene.values is not None:
        rows = [_device(device, known) for device, known in sorted(scene.values.items())]
        listed = msgspec.json.format(msgspec.json.encode(rows)).decode()
        yield Piece("devices.json", "devices: profile, class, QoS, names of fields; no values", listed, ours=True)


def _device(device: str, known: Mapping[str, Any]) -> dict[str, Any]:
    notes = known.get("$", {})
    said = {key: notes.get(key) for key in ("profile", "class", "from", "qos")}
    return {"id": device, **said, "fields": sorted(name for name in known if not name.startswith("$"))}


def _journal(scene: Scene) -> Iterator[Piece]:
    from gateway.journal.cipher import keys_of
    from gateway.journal.inspection import Inspection
    from gateway.journal.options import JournalOptions

    options = scene.config.journal if scene.config is not None else JournalOptions()
    try:
        found = Inspection(scene.places.journal, align=options.align, keys=keys_of(options))
        contents = {"contents": found.contents(), "recovery": msgspec.to_builtins(found.recovery)}
        letters = _letters(found.reader(Lane.DEAD_LETTER))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it is what the bundle is for
        yield Piece(
            "journal.txt", "the journal: why it could not be read", f"{type(error).__name__}: {error}\n", ours=True
        )
        return
    said = msgspec.json.format(msgspec.json.encode(contents, enc_hook=str)).decode()
    yield Piece("journal.json", "what the journal holds: counts, no records", said, ours=True)
    if letters:
        listed = msgspec.json.format(msgspec.json.encode(letters)).decode()
        yield Piece("dead-letters.json", "dead letters: how many for which reason, no payloads", listed, ours=True)


def _letters(reader: Reader) -> list[dict[str, Any]]:
    """Count dead letters by kind, place and reason; what a reason quotes was in a message, and stays here."""
    counts: Counter[tuple[str, str, str]] = Counter()
    try:
        for record in reader.read(0, LETTERS_MAX, LETTERS_BYTES_MAX):
            event = msgspec.json.decode(record.raw)
            reason = str(event.get("data", {}).get("reason", ""))[:REASON_CHARS_MAX]
            counts[event.get("type", ""), event.get("source", ""), _QUOTED.sub("'...'", reason)] += 1
    finally:
        reader.close()
    rows = counts.most_common()
    return [{"count": count, "type": kind, "source": source, "reason": why} for (kind, source, why), count in rows]


def _logs(scene: Scene) -> Iterator[Piece]:
    lines = ("--no-pager", "-o", "short-iso", "-n")
    said = scene.run("journalctl", "-u", SERVICE, *lines, str(LOG_LINES), seconds=RUN_S_MAX)
    if said:
        yield Piece("log.txt", f"the last {LOG_LINES:,} lines of its log", said, end=True)
    kernel = scene.run("journalctl", "-k", "-p", "warning", *lines, str(KERNEL_LINES), seconds=RUN_S_MAX)
    if kernel:
        yield Piece("system/kernel.txt", "warnings of the kernel: disks, power, memory", kernel, end=True)


def _system(scene: Scene) -> Iterator[Piece]:
    facts = [
        f"{platform.system()} {platform.release()} {platform.version()} {platform.machine()}",
        text(scene.roots.etc / "os-release"),
    ]
    facts += [f"\n== {name}\n{text(scene.roots.proc / name)}" for name in KERNEL_FILES]
    yield Piece("system/kernel-facts.txt", "system, memory, load, mounts", "\n".join(facts) + "\n")
    for name, command in PROGRAMS.items():
        said = scene.run(*command, seconds=RUN_S_MAX)
        if said:
            yield Piece(name, " ".join(command[:4]), unit_text(said) if command[:2] == ("systemctl", "cat") else said)


def unit_text(said: str) -> str:
    """Return unit files without what people write into them: values of variables, credentials, words of commands."""
    return _SETTING.sub(_without_values, said)


def _without_values(found: re.Match[str]) -> str:
    setting, name, value = found[1], found[2], found[3].strip()
    if name == "Environment":
        return setting + " ".join(f"{each}={HIDDEN}" for each in _VARIABLE.findall(value))
    if name.startswith("SetCredential"):
        return f"{setting}{value.partition(':')[0]}:{HIDDEN}" if value else found[0]
    program, _, words = value.partition(" ")
    return f"{setting}{program} {HIDDEN}" if words and not program.endswith(_OWN) else found[0]


def _read(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            return opened.read(PIECE_BYTES_MAX).decode(errors="replace")
    except OSError:
        return None
