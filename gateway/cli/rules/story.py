"""What `explain` says of rules: which looked at an event and why they ran or not, and which rule made an event.

The worker remembers its last looks; of older events the history knows what rules put out, by `cause` and `actor`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gateway.api.line import ApiError
from gateway.cli.terminal.printing import where
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from gateway.cli.asking.records import Records

Event = Mapping[str, Any]
BY_HISTORY = "by history"


def looks(records: Records, event: Event, outcomes: Sequence[Event]) -> tuple[list[dict[str, Any]], str]:
    """Return what each rule made of an event, and a note when that is not, or not all, from the worker's memory."""
    note = ""
    try:
        said = records.ask(
            "rules_looks",
            sequence=event["sequence"],
            id=event["id"],
            type=event["type"],
            subject=event.get("subject", ""),
            fields=list(event.get("data") or {}),
        )
    except ApiError as error:
        said, note = [], str(error)
    done = by_rule(outcomes)
    known = {look["rule"] for look in said if look.get("ran")}
    for rule, outputs in done.items():
        if rule not in known:
            types = ", ".join(f"{output['type']} {output['id']}" for output in outputs)
            ids = [output["id"] for output in outputs]
            said = [look for look in said if look["rule"] != rule or look["verdict"] != "forgotten"]
            said.append({"rule": rule, "verdict": BY_HISTORY, "ran": True, "text": f"put out {types}", "outputs": ids})
            note = note or "rules that ran are known by what they put out, others are not in memory any more"
    return said, note


def by_rule(outcomes: Sequence[Event]) -> dict[str, list[Event]]:
    """Return what rules put out, by rule."""
    found: dict[str, list[Event]] = {}
    for outcome in outcomes:
        rule, _ = rule_of(outcome)
        if rule:
            found.setdefault(rule, []).append(outcome)
    return found


def rule_of(event: Event) -> tuple[str, str]:
    """Return the rule that made an event, and the version of its file; nothing if none did."""
    kind, _, rest = str(event.get("actor", "")).partition(":")
    name, _, version = rest.partition("@")
    return (name, version) if kind == "rule" else ("", "")


class Authors:
    """Where the rules are that made events: asked of the running gateway, else read from the rules folder; once."""

    def __init__(self, records: Records, words: argparse.Namespace) -> None:
        self._records = records
        self._words = words
        self._rules: dict[str, Mapping[str, Any]] | None = None

    def of(self, event: Event) -> dict[str, Any] | None:
        """Describe the rule that made an event; None if no rule did."""
        name, version = rule_of(event)
        if not name:
            return None
        if self._rules is None:
            self._rules = self._known()
        found = self._rules.get(name, {})
        now = str(found.get("actor", "")).partition("@")[2]
        return {
            "rule": name,
            "version": version,
            "title": found.get("title", ""),
            "file": found.get("file", ""),
            "line": found.get("line", 0),
            "current": None if not (now and version) else now == version,
        }

    def _known(self) -> dict[str, Mapping[str, Any]]:
        try:
            return {rule["name"]: rule for rule in self._records.ask("rules_list")["rules"]}
        except ApiError:
            pass
        from gateway.cli.rules.place import Place

        try:
            place = Place(self._words)
            loaded = place.inspect() if place.folder.is_dir() else None
        except GatewayError:
            return {}
        rules = loaded.definitions if loaded is not None else []
        return {r.name: {"title": r.title, "file": r.file, "line": r.line, "actor": r.actor} for r in rules}


def author_line(author: Mapping[str, Any]) -> str:
    """Say which rule it was, with its title, place and version."""
    title = f" “{author['title']}”" if author["title"] else ""
    parts = [f"rule {author['rule']}{title}", where(author["file"], author["line"])]
    if author["version"]:
        changed = {True: "", False: " (its file was edited since)", None: ""}[author["current"]]
        parts.append(f"version {author['version']}{changed}")
    return ", ".join(part for part in parts if part)
