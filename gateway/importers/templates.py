"""Templates of Home Assistant's discovery, compiled to a pointer and what a profile can say about its value.

Nine of ten are a bare path.  Understood beside it: quoted keys and indices, ``| float / n``, ``| int``, ``| round``,
``| lower``, a look-up in a dictionary, ``a if x == y else b`` and its ``{% if %}`` form, also with ``elif`` and ``or``,
also when the other side is the value itself; ``if x is defined and x.y is defined`` around a value says nothing more.
Nothing is evaluated: what is not one of these shapes is an `Unclear`, which names what was met, and is left out.

A default that stands for a value (``| default(0)``) is unclear, too: a key that is missing would have to become news.
Source: https://www.home-assistant.io/docs/configuration/templating/ and Jinja's template designer documentation.
"""

from __future__ import annotations

import re

from gateway.importers.expressions import TOKENS_MAX, Parser
from gateway.importers.shapes import Const, Path, Shape, Table, Unclear, Value, choice, shape

__all__ = ["Path", "Shape", "Table", "Unclear", "pointer_of", "shape_of"]

TEMPLATE_CHARS_MAX = 1_000

_PIECE = re.compile(r"\{\{-?(.*?)-?\}\}|\{%-?(.*?)-?%\}", re.DOTALL)
_SET = re.compile(r"\s*set\s+(\w+)\s*=(.*)", re.DOTALL)


def shape_of(template: str | None) -> Shape:
    """Return the shape of a template; none is the payload itself. Raises Unclear."""
    if template is None or not template.strip():
        return Path(None)
    if len(template) > TEMPLATE_CHARS_MAX:
        raise Unclear(f"a template of {len(template)} characters")
    names: dict[str, Value] = {}
    pieces = _pieces(template)
    while pieces and pieces[0][0] == "tag" and (found := _SET.fullmatch(pieces[0][1])):
        names[found[1]] = Parser(found[2], names).whole()
        pieces = pieces[1:]
    if len(pieces) == 1 and pieces[0][0] == "value":
        return shape(Parser(pieces[0][1], names).whole())
    kinds = [kind for kind, _ in pieces]
    if len(pieces) >= 5 and set(kinds[::2]) == {"tag"} and "tag" not in kinds[1::2]:
        return shape(_branches(pieces, names))
    raise Unclear("more than a path, a table or one if")


def pointer_of(path: Path) -> str:
    """Return the JSON pointer of a path. Raises Unclear for keys a pointer of a profile cannot hold."""
    if any("{" in key or "}" in key or key == "*" for key in path.keys or ()):
        raise Unclear("a key with braces")
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path.keys or ())


def _pieces(template: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    for piece in _PIECE.finditer(template):
        if template[at : piece.start()].strip():
            found.append(("text", template[at : piece.start()].strip()))
        found.append(("value", piece[1]) if piece[1] is not None else ("tag", piece[2].strip()))
        at = piece.end()
        if len(found) > TOKENS_MAX:
            raise Unclear("too long")
    if template[at:].strip():
        found.append(("text", template[at:].strip()))
    return found


def _branches(pieces: list[tuple[str, str]], names: dict[str, Value]) -> Value:
    """Read ``{% if c %}a{% elif d %}b{% else %}e{% endif %}``."""
    first, *others, last = [text for _, text in pieces[::2]]
    sides: list[Value] = [
        Parser(text, names).whole() if kind == "value" else Const(text) for kind, text in pieces[1::2]
    ]
    found: Value = Const("")
    if others[-1] == "else":
        others.pop()
        found = sides.pop()
    if not first.startswith("if ") or last != "endif" or not all(tag.startswith("elif ") for tag in others):
        raise Unclear(f"{{% {first.split(' ')[0][:20]} %}}")
    for tag, side in zip([*reversed(others), first], reversed(sides), strict=True):
        found = choice(Parser(tag.partition(" ")[2], names).whole(), side, found)
    return found
