"""The reference pages are what the code says."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.cli.health.faults import CATALOG, catalog, faults_page
from gateway.cli.reference import cli_page, comments, config_page, tables
from gateway.cli.rules.pages import rules_page
from gateway.sources.listener import ListenerOptions

PAGES = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize(
    ("name", "made"),
    [("config.md", config_page), ("cli.md", cli_page), ("rules.md", rules_page), ("faults.md", faults_page)],
)
def test_pages_are_fresh(name: str, made: object) -> None:
    """The page in docs/reference is the one the code makes: python -m gateway.cli.reference docs/reference."""
    assert callable(made)
    assert (PAGES / name).read_text() == made()


def test_the_catalog_is_fresh() -> None:
    """What `journalctl -x` prints is made of the same table: python -m gateway.cli.reference docs/reference."""
    assert (PAGES.parents[1] / CATALOG).read_text() == catalog()


def test_every_option_is_explained_or_plain() -> None:
    """Every table of the config is in the reference, with a row for each of its options."""
    page = config_page()
    for title, kind in tables():
        assert f"## {title}\n" in page
        for field in msgspec.structs.fields(kind):
            written = "listen" if kind is ListenerOptions and field.name in ("host", "port") else field.encode_name
            assert f"| `{written}` |" in page


def test_comments_are_found_beside_fields() -> None:
    """What an option is for is the comment on its line, of inherited options too, and of no other line."""

    class Below(msgspec.Struct, frozen=True):
        """Options of a base type."""

        # not this one
        first: int = 1  # the first
        second: str = "#"

    class Above(Below, frozen=True):
        """More options."""

        third: bool = True  # the | third

    assert comments(Above) == {"first": "the first", "third": "the \\| third"}
