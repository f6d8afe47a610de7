"""`rules new`: write a commented rule with a test that passes, and say what to type next."""

from __future__ import annotations

import argparse
import keyword
from pathlib import Path

from gateway.cli.rules.catalogue import Shipped, shipped
from gateway.cli.rules.templates import DRAFTS
from gateway.cli.terminal.printing import complain, say, say_json
from gateway.cli.verb import BAD, OK, USAGE
from gateway.errors import probably_meant

NAME_CHARS_MAX = 64


def new(words: argparse.Namespace) -> int:
    """Write the file, never over another one."""
    from gateway.cli.rules.place import Place

    name = words.name.removesuffix(".py").replace("-", "_")
    wrong = _wrong(name)
    if wrong:
        complain(wrong)
        return USAGE
    folder = Place(words).folder
    path = folder / f"{name}.py"
    taken = _taken(folder, name)
    if path.exists() or taken:
        complain(f"{taken or path} is there already: choose another name, nothing was written")
        return BAD
    try:
        text, taken_from = _text(words.template, name)
    except LookupError as error:
        complain(str(error))
        return USAGE
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        sudo = ". Type the same with sudo before it" if isinstance(error, PermissionError) else ""
        complain(f"{path}: {error.strerror}{sudo}")
        return BAD
    following = [
        f"edge-gateway rules test {_short(path)}",
        f"edge-gateway rules why {name}",
        f"edge-gateway rules logs --follow {name}",
    ]
    if words.json:
        needs = {"needs": taken_from.needs, "change": taken_from.change} if taken_from else {}
        say_json({"file": str(path), "rule": name, "next": following, **needs})
        return OK
    say(f"wrote {_short(path)}: open it, change it to what you want; what to type then:", "green")
    what_for = ("run its tests", "when it is live: how it is now", "what it says")
    for command, what in zip(following, what_for, strict=True):
        say(f"  {command:<60} {what}")
    if taken_from is not None:
        say(f"it needs   {taken_from.needs}")
        say(f"to change  {taken_from.change}")
    return OK


def _text(template: str | None, name: str) -> tuple[str, Shipped | None]:
    """Return the new file's text and whose copy it is. LookupError says which template was probably meant."""
    ready = shipped()
    chosen = template or (name if name in ready else next(iter(DRAFTS)))
    if chosen in ready:
        return ready[chosen].copied(name), ready[chosen]
    if chosen not in DRAFTS:
        hint = probably_meant(chosen, [*DRAFTS, *ready]) or "see: edge-gateway rules catalogue"
        raise LookupError(f"there is no template {chosen!r}, {hint}")
    return DRAFTS[chosen].text.substitute(name=name, title=name.replace("_", " ").capitalize()), None


def _wrong(name: str) -> str:
    """Say why a text can't be a rule's name; nothing if it can."""
    if not name.isidentifier() or not name.isascii() or name.startswith("_") or len(name) > NAME_CHARS_MAX:
        return f"{name!r} can't be a rule's name: letters, digits and _, such as door_left_open"
    if keyword.iskeyword(name) or name.startswith("test_"):
        return f"{name!r} can't be a rule's name: it means something else in a rule file"
    return ""


def _taken(folder: Path, name: str) -> str:
    """Return where a rule of this name is declared already, as far as a look at the texts tells."""
    from gateway.cli.rules.names import declared

    found = declared(folder).get(name)
    return f"a rule {name!r} ({_short(found)})" if found else ""


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
