"""All formats with options: the tagged union of the profile language, and the way from a table to its parser."""

from __future__ import annotations

import msgspec

from gateway.profiles.formats.csv import Csv
from gateway.profiles.formats.esp3 import Esp3
from gateway.profiles.formats.obis import Obis
from gateway.profiles.formats.pairs import Pairs
from gateway.profiles.formats.pattern import Pattern
from gateway.profiles.formats.ramses import Ramses
from gateway.profiles.formats.raw import Raw
from gateway.profiles.formats.split import Split
from gateway.profiles.formats.table import Parse, Table

Tabled = Raw | Split | Pairs | Csv | Pattern | Esp3 | Ramses | Obis
"""``format = { type = "...", ... }``; a new format has its Struct here."""

PARSERS_MAX = 512  # that are remembered: most messages of a profile are read alike

_parsers: dict[str, Parse] = {}


def parser_of(table: Table) -> Parse:
    """Return the function ``bytes -> document`` of a table. ValueError for options that make no sense."""
    key = key_of(table)
    parser = _parsers.get(key)
    if parser is None:
        if len(_parsers) >= PARSERS_MAX:
            _parsers.clear()
        parser = _parsers[key] = table.parser()
    return parser


def key_of(table: Table) -> str:
    """Return a text that is the same for tables that read alike: messages with one key share one parse."""
    return msgspec.json.encode(table).decode()
