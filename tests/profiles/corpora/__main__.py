"""`./dev corpora`: print the table; with --list also each record that is not right."""

from __future__ import annotations

import argparse
import sys

from tests.profiles.corpora.records import VARIABLE, folder, read
from tests.profiles.corpora.table import as_json, as_markdown, as_text, table


def main(words: list[str] | None = None) -> int:
    """Print the table; 1 when something is silently wrong, 2 without corpora."""
    parser = argparse.ArgumentParser(prog="./dev corpora", description=__doc__)
    parser.add_argument("dialect", nargs="?", help="only dialects that begin so")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--markdown", action="store_true", help="as docs/figures.md has it")
    parser.add_argument("--list", action="store_true", help="also each record that is not right, and why")
    parser.add_argument("--all", action="store_true", help="with --list: the explained ones, too")
    said = parser.parse_args(words)
    root = folder()
    if root is None:
        print(f"{VARIABLE} names no folder with corpora (<name>/samples.jsonl)", file=sys.stderr)
        return 2
    rows = table(read(root), said.dialect)
    if said.json:
        print(as_json(rows))
    else:
        print("\n".join(as_markdown(rows) if said.markdown else as_text(rows)))
    for row in rows if said.list else ():
        for record, verdict, why in row.left:
            if said.all or not why:
                print(f"\n{record.id} {verdict.outcome}: {verdict.why}" + (f"\n  explained: {why}" if why else ""))
                print(f"  {record.topic or record.port} {record.payload[:400]!r}\n  expect {str(record.expect)[:400]}")
    return int(any(v.outcome == "wrong" and not why for row in rows for _, v, why in row.left))


sys.exit(main())
