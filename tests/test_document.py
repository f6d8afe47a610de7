"""The TOML document that knows its lines."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from gateway.document import Document, Place
from gateway.errors import ConfigError

TEXT = '''# a comment with [brackets] and = signs
title = "a # not a comment"
owner.name = 'Anna' # dotted
owner."e mail" = """
several
lines ""
"""

[links]
list = [
  "x", # first
  { name = "y", deep = [1, 2] },
]
odd = """a""""
[[field]]
name = "one"
[field.report]
deadband = 0.1
[[field]]
name = "two"
when = 2026-11-23T06:02:42Z
'''


class Report(msgspec.Struct, forbid_unknown_fields=True):
    """A nested table."""

    deadband: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class Field(msgspec.Struct, forbid_unknown_fields=True):
    """One of an array of tables."""

    name: str
    kind: Literal["number", "text"] = "number"
    report: Report | Literal["never"] | None = None

    def __post_init__(self) -> None:
        if self.name == "":
            raise ValueError("a field needs a name")


class Mqtt(msgspec.Struct, forbid_unknown_fields=True, tag="mqtt", tag_field="type"):
    """One of a tagged union."""

    url: str


class Http(msgspec.Struct, forbid_unknown_fields=True, tag="http", tag_field="type"):
    """The other."""

    urls: list[str]


class Whole(msgspec.Struct, forbid_unknown_fields=True):
    """The document's type."""

    field: list[Field] = []
    targets: dict[str, Mqtt | Http] = {}
    limits: dict[str, int] = {}


def faults(text: str, kind: type = Whole) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Document(text, "house.toml").convert(kind)
    return sorted(map(str, caught.value.faults))


def test_every_key_has_its_line() -> None:
    """Comments, dotted keys, multi-line strings, nested arrays and tables do not shift a line."""
    document = Document(TEXT, "x")
    expected: dict[Place, int] = {
        ("title",): 2,
        ("owner",): 3,
        ("owner", "name"): 3,
        ("owner", "e mail"): 4,
        ("links",): 9,
        ("links", "list"): 10,
        ("links", "list", 0): 11,
        ("links", "list", 1, "name"): 12,
        ("links", "list", 1, "deep", 1): 12,
        ("links", "odd"): 14,
        ("field",): 15,
        ("field", 0): 15,
        ("field", 0, "report", "deadband"): 18,
        ("field", 1): 19,
        ("field", 1, "name"): 20,
        ("field", 1, "when"): 21,
    }
    assert {place: document.line(place) for place in expected} == expected


def test_every_place_in_the_data_is_found() -> None:
    """No key or array member that tomllib knows is without a line of its own."""
    document = Document(TEXT, "x")

    def places(value: Any, at: Place) -> list[Place]:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [at] + [place for key, child in inner for place in places(child, (*at, key))]

    assert document.data == tomllib.loads(TEXT)
    assert [p for p in places(document.data, ())[1:] if p not in document._lines] == []


def test_unknown_place_falls_back_to_its_table() -> None:
    """A key that is missing is reported at the table it is missing from."""
    assert Document(TEXT, "x").line(("field", 1, "unit")) == 19
    assert Document(TEXT, "x").line(()) is None


def test_unknown_key_names_line_and_hint() -> None:
    """A misspelt key is an error with file, line and what was probably meant."""
    assert faults('[[field]]\nname = "a"\nreprot = { deadband = 1 }\n') == [
        "house.toml:3: unknown key 'reprot' (did you mean 'report'?)"
    ]


def test_all_faults_are_found_at_once() -> None:
    """Faults in different tables are reported together, each on its own line."""
    text = '[[field]]\nnam = "a"\n[[field]]\nname = 5\n[[field]]\nname = "c"\nkind = "numbr"\n[limits]\na = "x"\n'
    assert faults(text) == [
        "house.toml:1: missing key 'name'",
        "house.toml:2: unknown key 'nam' (did you mean 'name'?)",
        "house.toml:4: 'name': Expected `str`, got `int`",
        "house.toml:7: 'kind': 'numbr' is not one of 'number', 'text' (did you mean 'number'?)",
        "house.toml:9: 'a': Expected `int`, got `str`",
    ]


def test_constraints_and_own_checks_have_lines() -> None:
    """A value out of range, and a table's own check, are reported where they stand."""
    text = '[[field]]\nname = ""\n[[field]]\nname = "b"\n[field.report]\ndeadband = -1\n'
    assert faults(text) == [
        "house.toml:1: a field needs a name",
        "house.toml:6: 'deadband': Expected `float` >= 0.0",
    ]


def test_tagged_union_is_checked_as_what_it_says_it_is() -> None:
    """In a union of tables the tag chooses which keys are known."""
    assert faults('[targets.a]\ntype = "http"\nurl = "x"\n') == [
        "house.toml:1: missing key 'urls'",
        "house.toml:3: unknown key 'url' (did you mean 'urls'?)",
    ]
    assert faults('[targets.a]\ntype = "htp"\n') == [
        "house.toml:2: 'type': 'htp' is not one of 'mqtt', 'http' (did you mean 'http'?)"
    ]


@pytest.mark.parametrize(
    ("text", "line"), [("a = \n", 1), ("a = 1\nb == 2\n", 2), ('a = 1\n\nb = "open', 3), ("a = 1\na = 2\n", 2)]
)
def test_syntax_error_has_a_line(text: str, line: int) -> None:
    """A file that is not TOML is named with the line tomllib stopped at."""
    with pytest.raises(ConfigError) as caught:
        Document(text, "x.toml")
    assert str(caught.value).startswith(f"x.toml:{line}: not TOML: ")


def test_unreadable_files_are_faults(tmp_path: Path) -> None:
    """A missing file, a folder and bytes that are not UTF-8 are faults, not tracebacks."""
    bad = tmp_path / "bad.toml"
    bad.write_bytes(b'a = 1\nb = "\xff"\n')
    for path, what in ((tmp_path / "none.toml", "No such file"), (tmp_path, "directory"), (bad, ":2: byte 0xff")):
        with pytest.raises(ConfigError, match=what):
            Document.read(path)


def test_good_file_converts(tmp_path: Path) -> None:
    """A document without faults becomes the Struct, with its defaults; CRLF and a BOM are no fault."""
    file = tmp_path / "good.toml"
    file.write_bytes(b'\xef\xbb\xbf[[field]]\r\nname = "a"\r\n[targets.t]\r\ntype = "mqtt"\r\nurl = "u"\r\n')
    whole = Document.read(file).convert(Whole)
    assert whole == Whole(field=[Field("a")], targets={"t": Mqtt("u")})
