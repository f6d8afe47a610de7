"""The published JSON Schema of profiles: fresh, true of every shipped profile, and against what is none."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.comments import comments
from gateway.cli.profiles.schema import profile_schema
from gateway.profiles.catalogue import BUILTIN
from gateway.profiles.language import Field

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "profile.schema.json"
SCHEMA = json.loads(PAGE.read_text())
KINDS = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}


def wrong(value: Any, schema: dict[str, Any], at: str = "") -> Iterator[str]:
    """Yield where a document is against a schema (as much of JSON Schema as is used here)."""
    if "$ref" in schema:
        yield from wrong(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], at)
        return
    if "anyOf" in schema and all(list(wrong(value, one, at)) for one in schema["anyOf"]):
        yield f"{at}: {value!r} is none of what it may be"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is not one of {schema['enum'][:5]}"
    kind = KINDS.get(schema.get("type", ""))
    if kind is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
        yield f"{at}: {value!r} is no {schema['type']}"
        return
    if isinstance(value, dict):
        known, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
        yield from (f"{at}: {key} is missing" for key in schema.get("required", ()) if key not in value)
        for key, inner in value.items():
            if key in known:
                yield from wrong(inner, known[key], f"{at}/{key}")
            elif rest is False:
                yield f"{at}: unknown key {key}"
            elif isinstance(rest, dict):
                yield from wrong(inner, rest, f"{at}/{key}")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9):
            yield f"{at}: {len(value)} members"
        for i, inner in enumerate(value):
            yield from wrong(inner, schema.get("items", {}), f"{at}/{i}")
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield f"{at}: {value!r} is not {schema['pattern']}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        if not low <= value <= high or value <= schema.get("exclusiveMinimum", value - 1):
            yield f"{at}: {value} is out of range"


def test_it_is_fresh() -> None:
    """The schema in docs/reference is the one the code makes: python -m gateway.cli.reference docs/reference."""
    assert PAGE.read_text() == profile_schema()


def test_shipped_profiles_are_what_it_says() -> None:
    """Every shipped profile is right by the schema."""
    files = sorted(BUILTIN.glob("*.toml"))
    assert files
    found = [(file.name, list(wrong(tomllib.loads(file.read_text()), SCHEMA["$defs"]["Profile"]))) for file in files]
    assert not [(name, faults) for name, faults in found if faults]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"tittle": "x"}, "unknown key tittle"),
        ({"device_class": "termostat"}, "/device_class"),
        ({"schema": 2}, "/schema"),
        ({"link": {"kind": "serial", "baud": 5}}, "/link/baud"),
        ({"link": {"framing": {"type": "lines"}}}, "/link/framing"),
        ({"field": [{"name": "temperature", "unit": "[degX]"}]}, "/field/0/unit"),
        ({"field": [{"name": "temperature", "report": {"deadband": -1}}]}, "/field/0/report"),
        ({"message": [{"topics": "a"}]}, "/message/0/topics"),
        ({"command": [{"name": "Go"}]}, "/command/0/name"),
    ],
)
def test_what_is_no_profile_is_against_it(change: dict[str, Any], fault: str) -> None:
    """Misspelt keys and words, numbers out of range and other types are seen in the editor."""
    good = tomllib.loads((BUILTIN / "zigbee2mqtt-contact.toml").read_text())
    found = list(wrong({**good, **change}, SCHEMA["$defs"]["Profile"]))
    assert any(fault in one for one in found), found


def test_it_says_what_keys_are_for() -> None:
    """What stands beside a key in the language stands in the schema, and the words of the vocabulary to choose from."""
    field = SCHEMA["$defs"]["Field"]["properties"]
    assert field["momentary"]["description"] == comments(Field)["momentary"]
    assert "battery.low" in field["name"]["anyOf"][0]["enum"]
    assert all("description" in table for table in SCHEMA["$defs"].values())
    assert '"type": "null"' not in PAGE.read_text()


def test_it_is_printed() -> None:
    """`profiles schema` prints it, for a folder of one's own."""
    words = [sys.executable, "-m", "gateway", "profiles", "schema"]
    assert json.loads(subprocess.run(words, capture_output=True, check=True).stdout) == SCHEMA
