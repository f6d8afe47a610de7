"""Names of rules, quickly and without running a rule file: for completion, and for `rules new`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

DECORATORS = frozenset({"rule", "when", "every", "at", "timer", "gate"})
FILE_BYTES_MAX = 256 * 1024


def declared(folder: Path) -> dict[str, Path]:
    """Return the rules that the files of a folder declare, by name; files that are no Python are left out."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.py")):
        if not path.name.startswith(("_", ".")):
            found |= dict.fromkeys(_names(path), path)
    return found


def _names(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            yield from rules_in(file.read(FILE_BYTES_MAX))
    except OSError:
        return


def rules_in(text: bytes) -> Iterator[str]:
    """Yield the rules that a text declares; none when it is no Python."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and any(_decorates(each) for each in node.decorator_list):
            yield node.name


def _decorates(node: ast.expr) -> bool:
    name = node.func if isinstance(node, ast.Call) else node
    return isinstance(name, ast.Name) and name.id in DECORATORS
