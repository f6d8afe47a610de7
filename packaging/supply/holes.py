"""Known holes in what is locked: the lock against a database of vulnerabilities in OSV's format, without a network.

``./dev audit DATABASE [...]`` takes what osv.dev gives out for the ecosystem PyPI: its zip file, a folder of files,
or single ones.  A library is hit when its version is listed, or lies in a range (PEP 440, as the schema says for this
ecosystem).  Withdrawn entries count for nothing.  Exit codes: 0 none, 1 some, 2 nothing to compare with.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from supply.locked import LOCK, ROOT, pins

ECOSYSTEM = "PyPI"
ENTRY_BYTES_MAX = 8 * 2**20  # of one JSON file; the largest known is below 1 MB
NONE, SOME, USAGE = 0, 1, 2


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield each entry of a zip file, a folder or a file; what is no JSON raises ValueError with its name."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.filename.endswith(".json") and info.file_size <= ENTRY_BYTES_MAX:
                    yield _entry(archive.read(info), f"{path}:{info.filename}")
        return
    for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
        yield _entry(file.read_bytes(), str(file))


def _entry(raw: bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError as error:
        raise ValueError(f"{name}: no JSON: {error}") from None
    if not isinstance(found, dict) or "id" not in found:
        raise ValueError(f"{name}: no entry of OSV: it has no id")
    return found


def hits(entry: Mapping[str, Any], locked: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield (library, version, version that mends it or "") for each locked library that an entry is about."""
    if "withdrawn" in entry:
        return
    for affected in entry.get("affected", ()):
        package = affected.get("package", {})
        name = normal(str(package.get("name", "")))
        version = locked.get(name)
        if package.get("ecosystem") != ECOSYSTEM or version is None:
            continue
        ranges = [found["events"] for found in affected.get("ranges", ()) if found.get("type") == "ECOSYSTEM"]
        if version in affected.get("versions", ()) or any(inside(version, events) for events in ranges):
            mends = (str(event["fixed"]) for events in ranges for event in events if "fixed" in event)
            yield name, version, _least_above(version, mends)


def inside(version: str, events: Sequence[Mapping[str, str]]) -> bool:
    """Return whether a version lies between an event that introduces and the one that ends it (OSV schema, events)."""
    ours, hit = Version(version), False
    for event in sorted(events, key=_place):
        ((kind, text),) = event.items()
        if kind == "introduced" and (text == "0" or ours >= Version(text)):
            hit = True
        elif (kind == "fixed" and ours >= Version(text)) or (kind == "last_affected" and ours > Version(text)):
            hit = False
    return hit


def _place(event: Mapping[str, str]) -> Version:
    ((_, text),) = event.items()
    return Version(text)


def _least_above(version: str, others: Iterator[str]) -> str:
    newer = [found for found in sorted(map(Version, others)) if found > Version(version)]
    return str(newer[0]) if newer else ""


def normal(name: str) -> str:
    """Write a library's name in the one way that compares (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def audit(databases: Sequence[Path], lock: Path) -> int:
    """Compare, print one line for each hole, and return the exit code."""
    locked = {normal(name): version for name, version in pins(lock.read_text(encoding="utf-8"))}
    seen, found = 0, 0
    try:
        for database in databases:
            for entry in entries(database):
                seen += 1
                for name, version, mended in hits(entry, locked):
                    found += 1
                    what = f"mended in {mended}" if mended else "no version mends it yet"
                    print(f"{name} {version}: {entry['id']} {entry.get('summary', '')} ({what})")
    except (OSError, ValueError, InvalidVersion, zipfile.BadZipFile) as error:
        print(f"audit: {error}", file=sys.stderr)
        return USAGE
    print(f"{len(locked)} libraries, {seen} entries, {found} known holes", file=sys.stderr)
    if not seen:
        return USAGE
    return SOME if found else NONE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `./dev audit`."""
    parser = argparse.ArgumentParser(prog="./dev audit", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("databases", type=Path, nargs="+", metavar="DATABASE", help="OSV: zip, folder or JSON file")
    parser.add_argument("--lock", type=Path, default=LOCK, help=f"default: {LOCK.relative_to(ROOT)}")
    words = parser.parse_args(arguments)
    return audit(words.databases, words.lock)


if __name__ == "__main__":
    sys.exit(main())
