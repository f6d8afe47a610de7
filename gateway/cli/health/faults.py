"""Fault codes for people: `explain EG-204`, the page of all of them, and the catalog that `journalctl -x` shows."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.terminal.printing import complain, say, say_json
from gateway.cli.verb import BAD, OK
from gateway.codes.table import CODES, HUNDREDS, constants, find

if TYPE_CHECKING:
    from gateway.codes.code import Code

CATALOG = Path("packaging/systemd/edge-gateway.catalog")  # in the checkout
WIDTH_CHARS = 100
PAGE_HEAD = """# Fault codes

Made from `gateway/codes/` by `python -m gateway.cli.reference docs/reference`; a test fails when it is stale.

A code stands in the log (`journalctl GATEWAY_CODE=EG-201`), in the first line of `edge-gateway status`, in events
(`code`) and in what the gateway tells the cloud about itself. It means the same in every version: it is never given to
anything else. `edge-gateway explain EG-201` prints one, `journalctl -x` prints it below the line.

"""


def show(words: argparse.Namespace) -> int:
    """Print one code."""
    try:
        code = find(words.id)
    except KeyError as error:
        complain(error.args[0])
        return BAD
    if words.json:
        say_json(described(code))
        return OK
    say(f"{code}  {code.title}", "bold")
    for line in textwrap.wrap(code.means, WIDTH_CHARS):
        say(f"  {line}")
    for line in textwrap.wrap(code.do, WIDTH_CHARS):
        say(f"  {line}")
    say(f"  Type: {code.type}")
    if code.gone:
        say(f"  Since version {code.gone} it does not happen any more.")
    return OK


def described(code: Code) -> dict[str, str]:
    """Return a code for programs."""
    found = {"code": str(code), "title": code.title, "means": code.means, "type": code.type, "do": code.do}
    return {**found, "message_id": code.message_id} | ({"gone": code.gone} if code.gone else {})


def faults_page() -> str:
    """Write docs/reference/faults.md."""
    return PAGE_HEAD + "\n".join(_page_lines())


def _page_lines() -> Iterator[str]:
    for number, (module, what) in enumerate(HUNDREDS, 1):
        yield f"## {number}xx: {what}\n"
        for _, code in constants(module):
            gone = f" (not since {code.gone})" if code.gone else ""
            yield f"### {code}: {code.title}{gone}\n"
            yield "\n".join(textwrap.wrap(f"{code.means} {code.do}".strip(), 120, break_on_hyphens=False))
            yield f"\nType: `{code.type}`. In the journal: `MESSAGE_ID={code.message_id}`.\n"


def catalog() -> str:
    """Write the message catalog of journald (https://systemd.io/CATALOG)."""
    return "\n".join(_catalog_lines())


def _catalog_lines() -> Iterator[str]:
    yield "# Made from gateway/codes/ by `python -m gateway.cli.reference docs/reference`."
    yield "# /usr/lib/systemd/catalog/edge-gateway.catalog; `journalctl --update-catalog` takes it over.\n"
    for code in CODES.values():
        yield f"-- {code.message_id}"
        yield f"Subject: {code}: {code.title}"
        yield "Defined-By: edge-gateway"
        yield "Documentation: man:edge-gateway(1)\n"
        yield from textwrap.wrap(code.means, 80)
        if code.do:
            yield from textwrap.wrap(code.do, 80)
        yield f"\nType: {code.type}\n"
