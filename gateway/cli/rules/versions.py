"""`rules history`, `rollback`, `disable`, `enable`: which version of a file runs, and rules switched off and on.

History and rollback work without a running gateway, too: the versions are in its state folder.
Exit codes: 0 done, 1 it can't be done or the version is refused.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import msgspec

from gateway.cli.asking.running import connected
from gateway.cli.terminal.printing import complain, say, say_json, table
from gateway.cli.times import seconds
from gateway.cli.verb import BAD, OK, RULE_NAMES, Verbs, add, completed
from gateway.errors import GatewayError

SEEN_S_MAX = 5.0  # for a switched rule to be so


def add_verbs(verbs: Verbs) -> None:
    """Declare them."""
    words = add(
        verbs,
        "history",
        "good versions of rule files, the last ten of each: since when, and by whom",
        history,
        examples=["edge-gateway rules history", "edge-gateway rules history left_open.py --json"],
        json=True,
    )
    words.add_argument("file", nargs="?", default="", metavar="FILE", help="only this file's, such as left_open.py")
    words = add(
        verbs,
        "rollback",
        "put an earlier good version of a rule file back in place",
        rollback,
        examples=["edge-gateway rules rollback left_open.py", "edge-gateway rules rollback left_open.py 3"],
        json=True,
    )
    words.add_argument("file", metavar="FILE", help="such as left_open.py or lib/sun.py")
    words.add_argument("to", nargs="?", default="1", metavar="N", help="versions back, or a version (default: 1)")
    words = add(
        verbs,
        "disable",
        "let a rule do nothing: what it holds is released, its state is kept",
        disable,
        examples=["edge-gateway rules disable night_watch --for 2h", "edge-gateway rules disable night_watch"],
        json=True,
    )
    completed(words.add_argument("name", metavar="NAME", help="of the rule"), RULE_NAMES)
    words.add_argument(
        "--for", type=seconds, dest="for_s", metavar="TIME", help="such as 30m or 2h (default: until it is enabled)"
    )
    words = add(
        verbs,
        "enable",
        "let a disabled rule act again",
        enable,
        examples=["edge-gateway rules enable night_watch"],
        json=True,
    )
    completed(words.add_argument("name", metavar="NAME", help="of the rule"), RULE_NAMES)


def history(words: argparse.Namespace) -> int:
    """Print versions, newest first."""
    from gateway.api.line import NotRunning
    from gateway.cli.rules.place import Place

    file = _name(words.file)
    try:
        with connected(words.config) as client:
            found: dict[str, Any] = client.ask("rules_history", file=file)
    except NotRunning:
        index = _store(words.config).index
        found = {
            name: [msgspec.to_builtins(version) for version in versions]
            for name, versions in sorted(index.history.items())
            if file in ("", name)
        }
    if words.json:
        say_json(found)
        return OK
    folder = Place(words).folder
    rows = [
        (name, place or "runs", version["hash"][:8], version["time"], version["actor"])
        for name, versions in found.items()
        for place, version in enumerate(versions, start=0 if (folder / name).exists() else 1)  # nothing of it runs
    ]
    if not rows:
        say("no good version is known yet", "dim")
    else:
        table(("file", "back", "version", "live since", "by"), [(name, str(back), *rest) for name, back, *rest in rows])
    return OK


def rollback(words: argparse.Namespace) -> int:
    """Put a version back, and wait until it is live."""
    from gateway.api.line import NotRunning

    file = _name(words.file)
    try:
        with connected(words.config) as client:
            said: dict[str, Any] = client.ask("rules_rollback", file=file, to=words.to)
            if not said["written"]:
                _write(Path(said["path"]), said.pop("text").encode(errors="surrogateescape"), said["why"])
            said |= client.ask("rules_settled", file=file, wanted=said["version"])
    except NotRunning:
        said = _rollback_alone(words, file)
    if words.json:
        say_json(said)
    elif said.get("live", True):
        state = "is live" if "live" in said else "is in place; the gateway is not running"
        say(f"{file}: version {said['version']} of {said['time']} {state}", "green")
    else:
        for fault in said["faults"]:
            complain(fault)
    return OK if said.get("live", True) else BAD


def _rollback_alone(words: argparse.Namespace, file: str) -> dict[str, Any]:
    """Do it without the gateway."""
    from gateway.cli.rules.place import Place

    store, folder = _store(words.config), Place(words).folder
    there = (folder / file).read_bytes() if (folder / file).is_file() else b""
    from gateway.rules.files.snapshot import content

    earlier = [version for version in store.index.history.get(file, []) if version.hash != content(there)]
    if words.to.isdigit() and len(words.to) < 3:
        earlier = earlier[max(0, int(words.to) - 1) :]
    else:
        earlier = [version for version in earlier if version.hash.startswith(words.to)]
    source = store.text(earlier[0].hash) if earlier else None
    if source is None:
        raise GatewayError(f"no good version {words.to} of {file} is known: see edge-gateway rules history")
    _write(folder / file, source, "")
    return {"file": file, "version": earlier[0].hash[:8], "time": earlier[0].time, "path": str(folder / file)}


def _write(path: Path, source: bytes, why: str) -> None:
    from gateway import durable

    try:
        durable.replace(path, source, path.stat().st_mode & 0o777 if path.exists() else 0o644)
    except OSError as error:
        also = f" (nor may the gateway: {why})" if why else ""
        raise GatewayError(f"{path}: {error.strerror}{also}") from None


def _store(config: Path) -> Any:
    from gateway.config.places import places
    from gateway.rules.files.versions import Versions

    return Versions(places(config).state / "rules")


def _name(file: str) -> str:
    """Return a file's name below the folder of rules, however it was said."""
    path = Path(file)
    if path.name and path.parent.name == "lib":
        return f"lib/{path.name}"
    return file if file.startswith("lib/") else path.name


def disable(words: argparse.Namespace) -> int:
    """Disable a rule."""
    return _switch(words, "rules_disable", rule=words.name, for_s=words.for_s)


def enable(words: argparse.Namespace) -> int:
    """Enable a rule."""
    return _switch(words, "rules_enable", rule=words.name)


def _switch(words: argparse.Namespace, what: str, **arguments: Any) -> int:
    """Ask for it and wait until it is so."""
    wanted = what == "rules_disable"
    with connected(words.config) as client:
        said: dict[str, Any] = client.ask(what, **arguments)
        end = time.monotonic() + SEEN_S_MAX
        while (words.name in client.ask("status")["rules"]["disabled"]) != wanted and time.monotonic() < end:
            time.sleep(0.05)
    if words.json:
        say_json(said)
        return OK
    until = f" until {said['until']}" if said.get("until") else ""
    say(
        f"{words.name} is disabled{until}; to end that: edge-gateway rules enable {words.name}"
        if wanted
        else f"{words.name} acts again"
    )
    return OK
