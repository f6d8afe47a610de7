"""`rules catalogue`: the rules that come with the gateway. None of them runs until `rules new` has copied it.

A file of rules/catalogue/ has a docstring of three parts: what it does, ``Needs:`` and ``Change:``.  Its rules' names
begin with the file's, so that a copy under another name has names of its own.
"""

from __future__ import annotations

import argparse
import ast
import re
from pathlib import Path
from typing import NamedTuple

from gateway.cli.terminal.printing import say, say_json, table
from gateway.cli.verb import OK

FOLDER = Path(__file__).resolve().parents[3] / "rules" / "catalogue"


class Shipped(NamedTuple):
    """A file of the catalogue."""

    name: str
    file: Path
    title: str  # what it does, one sentence
    needs: str  # devices and settings
    change: str  # what people may want otherwise

    def copied(self, name: str) -> str:
        """Return its text for another name: of the file and its rules."""
        return re.sub(rf"\b{self.name}", name, self.file.read_text(encoding="utf-8"))


def shipped() -> dict[str, Shipped]:
    """Return the catalogue by name, in order."""
    return {file.stem: _read(file) for file in sorted(FOLDER.glob("*.py"))}


def _read(file: Path) -> Shipped:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    title, _, rest = docstring.partition("\n\n")
    needs, _, change = rest.removeprefix("Needs: ").partition("\nChange: ")
    return Shipped(file.stem, file, *(part.replace("\n", " ") for part in (title, needs, change)))


def catalogue(words: argparse.Namespace) -> int:
    """Print what there is to choose from."""
    from gateway.cli.rules.templates import DRAFTS

    found = shipped()
    if words.names:
        for name in (*DRAFTS, *found):
            say(name)
        return OK
    if words.json:
        drafts = [{"name": name, "title": draft.what_for} for name, draft in DRAFTS.items()]
        ready = [{**each._asdict(), "file": str(each.file)} for each in found.values()]
        say_json({"catalogue": ready, "templates": drafts})
        return OK
    table(("rule", "what it does"), [(each.name, each.title) for each in found.values()])
    say()
    table(("template", "to begin with"), [(name, draft.what_for) for name, draft in DRAFTS.items()])
    say()
    say("edge-gateway rules new frost_guard                       puts a copy into your rules: it is yours to change")
    say("edge-gateway rules new cellar_dry --template humidity_fan    the same under a name of your own")
    return OK
