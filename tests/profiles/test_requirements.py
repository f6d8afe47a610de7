"""The page of what profiles can say names keys and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from gateway.cli.profiles.schema import structs
from gateway.profiles.language import Profile

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "profile-language.md").read_text()
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| \d", line)]


def test_every_requirement_has_a_row_and_a_proof() -> None:
    """All twenty-six stand there, each with a test."""
    assert [int(row.split("|")[1]) for row in ROWS] == list(range(1, 27))
    assert all("`tests/" in row for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_what_a_row_names_exists(row: str) -> None:
    """The tests are there under these names, and the keys are of the language."""
    for file, test in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", row):
        text = (ROOT / file).read_text()
        assert not test or f"def {test}(" in text, f"{file} has no {test}"
    keys = {field.encode_name for kind in structs(msgspec.inspect.type_info(Profile), set()) for field in _fields(kind)}
    named = re.findall(r"`([a-z_]+)`", row.split("|")[3])
    assert [name for name in named if name not in keys] == []


def _fields(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)
