"""`rules logs`: what rules said with ctx.log, and what was wrong with them, with file, line and stack."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from gateway.cli.asking.running import connected
from gateway.cli.terminal.printing import printable, say, say_json, where
from gateway.cli.verb import OK


def logs(words: argparse.Namespace) -> int:
    """Print lines, oldest first; with --follow those that come, too."""
    with connected(words.config) as client:
        for line in client.stream("rules_log", rule=words.name or "", last=words.limit, follow=words.follow):
            if words.json:
                say_json(line)
            else:
                _say(line)
            if words.follow:
                sys.stdout.flush()
    return OK


def _say(line: dict[str, Any]) -> None:
    fault = line["kind"] == "fault"
    place = where(line.get("file", ""), line.get("line", 0))
    parts = [line["time"], line["rule"], place, line["text"]]
    say(printable("  ".join(part for part in parts if part)), "red" if fault else None)
    for text in line.get("stack", "").splitlines():
        say(f"    {printable(text)}", "dim")
