"""What the comment beside a field of an options type says: the one place where an option is explained."""

from __future__ import annotations

import inspect
import io
import tokenize

import msgspec


def comments(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Return the comment beside each field, base types' fields included."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if owner in (msgspec.Struct, object) or not issubclass(owner, msgspec.Struct):
            continue
        try:
            source = inspect.getsource(owner)
        except (OSError, TypeError):
            continue  # made at run time: has no fields of its own in a file
        names = {line_of(source, name): name for name in owner.__annotations__}
        for token in tokenize.generate_tokens(io.StringIO(inspect.cleandoc(source)).readline):
            if token.type == tokenize.COMMENT and token.start[0] in names:
                found[names[token.start[0]]] = token.string.lstrip("# ").replace("|", "\\|")
    return found


def line_of(source: str, name: str) -> int:
    """Return the line of a field in its class's source, 0 when it has none."""
    for number, line in enumerate(source.splitlines(), 1):
        if line.strip().startswith(f"{name}:"):
            return number
    return 0
