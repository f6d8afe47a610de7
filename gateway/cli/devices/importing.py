"""`import home-assistant`: areas, names and kinds of devices from its registries into devices.toml.

What devices.toml says already stays, unless --overwrite is given. Exit codes: 0 done, 1 it can't be done.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.terminal.printing import Colour, printable, say, say_json
from gateway.cli.verb import OK, Verbs, add, group

if TYPE_CHECKING:
    from gateway.cli.devices.adopting import Work
    from gateway.installation.edit import DevicesText
    from gateway.installation.home_assistant import Match, Unmatched

UNMATCHED_SHOWN_MAX = 20
_COLOURS: Mapping[str, Colour] = {"+": "green", "-": "red", "@": "blue"}


def add_verbs(verbs: Verbs) -> None:
    """Declare `import home-assistant`."""
    words = group(verbs, "import", "take over what another system knows of devices: home-assistant")
    parser = add(
        words,
        "home-assistant",
        "areas, names and kinds from Home Assistant's registries into devices.toml",
        home_assistant,
        examples=[
            "edge-gateway import home-assistant /config --dry-run",
            "edge-gateway import home-assistant ./exported.json",
        ],
        json=True,
    )
    parser.add_argument(
        "path", type=Path, metavar="PATH", help="its configuration folder, its .storage, or a JSON file"
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would be changed")
    parser.add_argument("--overwrite", action="store_true", help="though devices.toml says something else already")
    parser.add_argument("--force", action="store_true", help="though rules name what is no more")


def home_assistant(words: argparse.Namespace) -> int:
    """Match, show the difference, write."""
    from gateway.cli.devices.adopting import Work
    from gateway.installation.home_assistant import matches, read

    registries = read(words.path)
    work = Work(words)
    known = {*work.heard, *(device.id for device in work.devices)}
    found, rest = matches(registries, known, work.called)
    changes = wanted(work, found, overwrite=words.overwrite)
    before = work.file.read_text(encoding="utf-8") if work.file.exists() else ""
    after = edited(work, before, changes)
    difference = list(
        difflib.unified_diff(before.splitlines(), after.splitlines(), work.file.name, "as imported", lineterm="")
    )
    if words.json:
        _say_json(work, found, rest, difference, written=not words.dry_run and bool(changes))
    else:
        _show(found, rest, difference)
    if words.dry_run or not changes:
        return OK
    return work.do(lambda text: _apply(text, changes), list(changes), "imported", quiet=True)


def wanted(work: Work, found: Sequence[Match], *, overwrite: bool) -> dict[str, dict[str, Any]]:
    """Return what is to be said of which device; names that somebody has get a number."""
    from gateway.cli.devices.adopting import free

    changes: dict[str, dict[str, Any]] = {}
    taken = {device.name for device in work.devices}
    for match in found:
        listed = work.devices.get(match.device)
        said = {"name": match.name, "room": match.room, "kind": match.kind, "labels": list(match.labels)}
        new = {
            key: value
            for key, value in said.items()
            if value
            and (listed is None or overwrite or not getattr(listed, key))
            and value != getattr(listed, key, None)
        }
        if "name" in new:
            new["name"] = free(str(new["name"]), taken)
        if new:
            changes[match.device] = new
    return changes


def edited(work: Work, text: str, changes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the text with the changes in it."""
    from gateway.installation.edit import DevicesText

    made = DevicesText(text, work.file)
    _apply(made, changes)
    return made.text


def _apply(text: DevicesText, changes: Mapping[str, Mapping[str, Any]]) -> None:
    for device, fields in changes.items():
        if device in text:
            text.change(device, fields)
    text.add_all({device: fields for device, fields in changes.items() if device not in text})


def _show(found: Sequence[Match], rest: Sequence[Unmatched], difference: Sequence[str]) -> None:
    for line in difference:
        say(printable(line), _COLOURS.get(line[:1]))
    if difference:
        say()
    for match in found:
        say(printable(f"{match.device} is {match.name!r} ({match.room or 'no area'}) by {match.by}"), "dim")
    for each in rest[:UNMATCHED_SHOWN_MAX]:
        say(printable(f"not matched: {each.name!r} ({', '.join(each.identifiers)}): {each.why}"), "yellow")
    if len(rest) > UNMATCHED_SHOWN_MAX:
        say(f"and {len(rest) - UNMATCHED_SHOWN_MAX} more; all of them: --json", "yellow")
    say(f"{len(found)} devices matched, {len(rest)} not" + ("" if difference else "; devices.toml says it all already"))


def _say_json(
    work: Work, found: Sequence[Match], rest: Sequence[Unmatched], difference: Sequence[str], *, written: bool
) -> None:
    matched = [match._asdict() for match in found]
    unmatched = [each._asdict() for each in rest]
    say_json(
        {"file": str(work.file), "matched": matched, "unmatched": unmatched, "diff": difference, "written": written}
    )
