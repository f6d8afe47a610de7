"""`reload` and `config diff`: what the files say now, compared with what the gateway goes by; and to go by them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.asking.running import ask
from gateway.cli.terminal.printing import complain, say, say_json
from gateway.cli.verb import CONFIG_FAULT, OK, USAGE, Verbs, add, group

if TYPE_CHECKING:
    from gateway.config.load import Config

DIFFERENT = 1
RESTART = "sudo systemctl restart edge-gateway"


def add_verbs(verbs: Verbs) -> None:
    """Declare `reload` and `config diff`."""
    add(
        verbs,
        "reload",
        "go by the config, profiles, rules, secrets and certificates as they are now, without a restart",
        reload,
        examples=["edge-gateway reload", "edge-gateway reload --json", "systemctl reload edge-gateway"],
        json=True,
    )
    words = group(verbs, "config", "the config: what has changed")
    parser = add(
        words,
        "diff",
        "what a reload would change, key by key, and what each change means; exit code 1 when there is something",
        diff,
        examples=[
            "edge-gateway config diff",
            "edge-gateway config diff --json",
            "edge-gateway config diff old/gateway.toml new/gateway.toml",
            "edge-gateway config diff fleet.tar.zst --site berlin-3",
        ],
        json=True,
    )
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="PATH", help="two configs or bundles to compare instead, or one bundle"
    )
    parser.add_argument("--site", default="", metavar="NAME", help="of a bundle's sites; default: as applied here")


def reload(words: argparse.Namespace) -> int:
    """Have the running gateway reload; 78 when it refused, 1 when something needs a restart."""
    outcome = ask(words, "reload")
    if words.json:
        say_json(outcome)
    elif outcome["applied"]:
        say_changes(outcome.get("changes", []))
        say(f"reloaded in {outcome.get('seconds', 0.0):.2f} s", "green")
    else:
        _say_refused(outcome)
    if outcome["applied"]:
        return OK
    return DIFFERENT if outcome.get("restart") else CONFIG_FAULT


def diff(words: argparse.Namespace) -> int:
    """Say what is different: of the files to what the gateway goes by, or of two configs."""
    bundles = any(map(_is_bundle, words.files))
    if len(words.files) not in (0, 2) and not (len(words.files) == 1 and bundles):
        complain("name two configs, or none: then the running gateway is compared with its files")
        return USAGE
    if bundles:
        from gateway.cli.bundles.diff import of_bundles

        outcome = of_bundles(words)
    else:
        outcome = _of_two(*words.files) if words.files else ask(words, "config_diff")
    changes = [*outcome.get("changes", []), *outcome.get("files", [])]
    if words.json:
        say_json(outcome)
    elif outcome.get("faults"):
        _say_refused(outcome)
    else:
        say_changes(outcome.get("changes", []))
        for each in outcome.get("files", []):
            say(f"{each['file']}: {each['change']}" + (f" ({each['summary']})" if each["summary"] else ""), "bold")
        if not changes:
            say("no difference", "green")
        elif outcome.get("restart") and not words.files:
            say(f"needs a restart: {', '.join(outcome['restart'])}. Type: {RESTART}", "yellow")
    if outcome.get("faults"):
        return CONFIG_FAULT
    return DIFFERENT if changes else OK


def _is_bundle(path: Path) -> bool:
    from gateway.cli.bundles.diff import is_bundle

    return is_bundle(path)


def say_changes(changes: Sequence[dict[str, Any]]) -> None:
    """Print changes, one a line, with their origin and what they mean."""
    for change in changes:
        before, after = _shown(change["before"]), _shown(change["after"])
        say(f"{change['key']}: {before} -> {after}", "bold")
        say(
            f"    {change['origin']}" + (f": {change['means']}" if change["means"] else ""),
            "red" if change["effect"] == "restart" else None,
        )


def _say_refused(outcome: dict[str, Any]) -> None:
    for fault in outcome.get("faults", []):
        complain(str(fault))
    if outcome.get("restart"):
        say_changes([change for change in outcome.get("changes", []) if change["effect"] == "restart"])
        complain(f"nothing is changed: this needs a restart. Type: {RESTART}")
    else:
        complain("nothing is changed: the gateway goes on as before. Mend it, and see: edge-gateway check")


def _of_two(before: Path, after: Path) -> dict[str, Any]:
    import msgspec

    from gateway.config.diff import differences

    return {"changes": msgspec.to_builtins(differences(_read(before), _read(after)), enc_hook=str)}


def _read(file: Path) -> Config:
    from gateway.config.load import load

    return load(file / "gateway.toml" if file.is_dir() else file)


def _shown(value: Any) -> str:
    from gateway.config.effective import toml

    return "not set" if value is None else toml(value)
