"""The table of promises points at tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE = (ROOT / "docs" / "promise.md").read_text()
NAMED = sorted(set(re.findall(r"`((?:packaging/)?tests/[\w/]+\.py)(?:::(\w+))?`", TABLE)))


@pytest.mark.parametrize(("file", "test"), NAMED, ids=lambda part: part.rpartition("/")[2])
def test_the_proof_of_a_promise_exists(file: str, test: str) -> None:
    """A test that the table names is there under that name."""
    text = (ROOT / file).read_text()
    assert not test or f"def {test}(" in text, f"docs/promise.md names {test}, which {file} does not have"


def test_every_row_has_a_proof() -> None:
    """No promise stands in the table without a test."""
    rows = [line for line in TABLE.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 14
    for row in rows:
        assert "`tests/" in row, row
