"""Fault codes are a promise: in their hundred, each once, documented, used, and the same in every version."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.codes.table import CODES, HUNDREDS, constants, find, looks_like_one

ROOT = Path(__file__).parents[2]
IMPORTED = re.compile(r"^ *from gateway\.codes[^\n(]*(\([^)]*\)|$)", re.MULTILINE)
PUBLISHED = Path(__file__).with_name("published.txt")


def test_every_code_is_one_of_its_hundred_and_the_only_one() -> None:
    """A code stands in the module of its hundred, in the order of numbers, and no number, title or id twice."""
    every = [code for module, _ in HUNDREDS for _, code in constants(module)]
    for hundred, (module, _) in enumerate(HUNDREDS, 1):
        numbers = [code.number for _, code in constants(module)]
        assert numbers == sorted(set(numbers))
        assert all(number // 100 == hundred for number in numbers)
    for each in ("number", "title", "message_id"):
        assert len({getattr(code, each) for code in every}) == len(every) == len(CODES)


def test_every_code_is_used() -> None:
    """No code is only on paper: the gateway says each of them somewhere, or the table says since when no more."""
    used: set[str] = set()
    for path in (ROOT / "gateway").rglob("*.py"):
        if "codes" not in path.relative_to(ROOT).parts:
            used.update(re.findall(r"\b[A-Z][A-Z0-9_]{2,}\b", IMPORTED.sub("", path.read_text())))
    unused = [f"{code} {name}" for module, _ in HUNDREDS for name, code in constants(module) if name not in used]
    assert not [each for each in unused if not CODES[each.split()[0]].gone]


def test_every_code_says_what_to_do() -> None:
    """Each has a title without a full stop, what it means in whole sentences, and what to type."""
    for code in CODES.values():
        assert code.title[0].isupper() or code.title.startswith("devices.toml")
        assert not code.title.endswith(".")
        assert code.means.endswith((".", "?"))
        assert code.type
        assert "`" not in code.type
        assert not code.do or code.do.endswith(".")


def test_no_code_is_ever_taken_back() -> None:
    """What was published once stays in the table, with its message id: this is the list as it was published."""
    for line in PUBLISHED.read_text().splitlines():
        name, message_id = line.split()
        assert name in CODES, f"{name} was taken out of the table: give it `gone` instead"
        assert CODES[name].message_id == message_id, f"{name} has another message id: alarms hang on it"


@pytest.mark.parametrize("typed", ["EG-204", "eg-204", "EG204", "eg 204".replace(" ", "")])
def test_people_type_them_in_many_ways(typed: str) -> None:
    """A code is found however it is written, and an event's id is none."""
    assert looks_like_one(typed)
    assert str(find(typed)) == "EG-204"
    assert not looks_like_one("0a1b2c3d4e5f-1-2f")


def test_a_code_that_is_none_says_so() -> None:
    """What is not in the table names one that is."""
    with pytest.raises(KeyError, match="no fault code EG-999"):
        find("EG-999")
