"""What is given on with the gateway: the bill of materials, the page of licences, and which licences may come in."""

from __future__ import annotations

import json

import pytest

from supply.bom import BOM, PAGE, bill, licences, not_allowed
from supply.locked import LOCK, Library, libraries, pins, refused


def test_the_bill_is_fresh() -> None:
    """The bill of materials is what the lock and the packages say, byte for byte; else type ./dev licences."""
    assert BOM.read_text(encoding="utf-8") == bill()


def test_the_page_is_fresh() -> None:
    """The page of licences is what the lock and the packages say; else type ./dev licences."""
    assert PAGE.read_text(encoding="utf-8") == licences()


def test_the_bill_names_every_locked_library() -> None:
    """Each library of the lock is in the bill, by name, version and package URL."""
    components = {(one["name"], one["version"]): one["purl"] for one in json.loads(bill())["components"]}
    assert components.keys() == set(pins(LOCK.read_text(encoding="utf-8")))
    assert components["orjson", dict(components.keys())["orjson"]].startswith("pkg:pypi/orjson@")


def test_every_licence_is_allowed() -> None:
    """No library comes in under a licence that is not on the list."""
    assert not_allowed(libraries()) == []


def test_a_stranger_is_refused() -> None:
    """A library under another licence, or none, is named with what it is under."""
    found = [
        Library("good", "1", "MIT", "", ""),
        Library("bad", "2", "GPL-3.0-only", "", ""),
        Library("mute", "3", "", "", ""),
    ]
    assert not_allowed(found) == ["bad 2: GPL-3.0-only", "mute 3: no licence"]


@pytest.mark.parametrize(
    ("expression", "bad"),
    [
        ("MIT", []),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", []),
        ("GPL-2.0-only OR MIT", []),
        ("GPL-2.0-only AND MIT", ["GPL-2.0-only"]),
        ("MIT AND (GPL-2.0-only OR AGPL-3.0-only)", ["GPL-2.0-only", "AGPL-3.0-only"]),
        ("BSD", ["BSD"]),
        ("see LICENSE, please", ["see LICENSE, please"]),
        ("MIT AND", ["nothing after AND or OR"]),
        ("MIT MIT", ["MIT MIT"]),
    ],
)
def test_expressions(expression: str, bad: list[str]) -> None:
    """One side of OR is enough, AND needs both, and what is no licence's name is refused."""
    assert refused(expression) == bad


def test_every_pin_has_hashes() -> None:
    """Each line of each lock names one version and the hashes it may have, and no place to get it from."""
    for lock in LOCK.parent.glob("requirements*.lock"):
        text = lock.read_text(encoding="utf-8")
        blocks = [block for block in text.replace("\\\n", " ").splitlines() if block and not block.startswith("#")]
        assert blocks
        for block in blocks:
            assert "==" in block, block
            assert "--hash=sha256:" in block, block
        assert "://" not in text
