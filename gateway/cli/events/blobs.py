"""`blobs list` and `blobs get`: pictures of cameras that events refer to, by their hash. Needs no running gateway."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gateway.cli.terminal.printing import complain, say, say_json, table
from gateway.cli.verb import BAD, OK, USAGE, Verbs, add, group

PREFIX_MIN = 6  # digits that name a blob


def add_verbs(verbs: Verbs) -> None:
    """Declare the group."""
    inner = group(verbs, "blobs", "pictures that events refer to (data.sha256)")
    add(inner, "list", "what is kept, the newest first", listing, examples=["edge-gateway blobs list"], json=True)
    parser = add(
        inner,
        "get",
        "write one to a file, or to standard output",
        get,
        examples=["edge-gateway blobs get 3f9a12c0 -o door.jpg", "edge-gateway blobs get 3f9a12c0 > door.jpg"],
    )
    parser.add_argument("sha256", help=f"its hash, or the first digits of it, at least {PREFIX_MIN}")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="must not exist; default: standard output")


def listing(words: argparse.Namespace) -> int:
    """Print what is kept."""
    from gateway.blobs.store import blobs
    from gateway.clock import rfc3339

    found = blobs(_folder(words))[::-1]
    if words.json:
        say_json([{"sha256": each.sha256, "bytes": each.size, "time": rfc3339(each.mtime_ns)} for each in found])
    elif found:
        table(("sha256", "bytes", "time"), [(each.sha256, each.size, rfc3339(each.mtime_ns)) for each in found])
    else:
        say("none is kept")
    return OK


def get(words: argparse.Namespace) -> int:
    """Write one blob."""
    from gateway.blobs.store import blobs, read

    wanted = words.sha256.lower()
    if len(wanted) < PREFIX_MIN:
        complain(f"{wanted!r} is too short: at least {PREFIX_MIN} digits")
        return USAGE
    found = [each.sha256 for each in blobs(_folder(words)) if each.sha256.startswith(wanted)]
    if len(found) != 1:
        complain(f"{len(found)} blobs begin with {wanted}" if found else f"no blob {wanted} is kept (any more)")
        return BAD
    content = read(_folder(words), found[0])
    if content is None:
        complain(f"{found[0]} is damaged, or gone meanwhile")
        return BAD
    if words.output is None:
        sys.stdout.buffer.write(content)
        return OK
    try:
        with words.output.open("xb") as file:
            file.write(content)
    except OSError as error:
        complain(f"{words.output}: {error.strerror}")
        return BAD
    return OK


def _folder(words: argparse.Namespace) -> Path:
    from gateway.blobs.store import FOLDER
    from gateway.config.places import places

    return places(words.config).state / FOLDER
