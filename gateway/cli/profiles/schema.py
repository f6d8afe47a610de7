"""The JSON Schema of a profile file, for editors: keys and words to choose from, and what each is for.

Made from the types of the profile language (`gateway/profiles/language.py`), what is beside each field there, and the
vocabulary. What a schema cannot say (which keys go together, whether a pointer is one) `edge-gateway check` says.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect as shape

from gateway.cli.comments import comments
from gateway.profiles.language import Profile
from gateway.profiles.vocabulary import EVENTS_OF_MESSAGES, FIELDS, KIND_OF_CLASS, event_types
from gateway.units import UNITS

DRAFT = "http://json-schema.org/draft-07/schema#"
TITLE = "Device profile of edge-gateway"


def profile_schema() -> str:
    """Write docs/reference/profile.schema.json."""
    made = _without_null(msgspec.json.schema(Profile))
    tables = made["$defs"]
    for kind in structs(shape.type_info(Profile), set()):
        name = kind.__name__ if kind.__name__ in tables else f"{kind.__module__}.{kind.__qualname__}"
        about, properties = comments(kind), tables[name]["properties"]
        tables[name]["description"] = inspect.cleandoc(kind.__doc__ or "")  # the same whatever Python strips
        for field in msgspec.structs.fields(kind):
            if field.name in about:
                properties[field.encode_name]["description"] = about[field.name].replace("\\|", "|")
    _offer_words(tables)
    whole = {"$schema": DRAFT, "title": TITLE, **made}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def structs(kind: shape.Type, seen: set[type]) -> Iterator[type[msgspec.Struct]]:
    """Yield every table that a type leads to, once."""
    if isinstance(kind, shape.StructType):
        if kind.cls in seen:
            return
        seen.add(kind.cls)
        yield kind.cls
        inner = [field.type for field in kind.fields]
    elif isinstance(kind, shape.UnionType):
        inner = list(kind.types)
    elif isinstance(kind, shape.DictType):
        inner = [kind.value_type]
    elif isinstance(kind, (shape.ListType, shape.VarTupleType)):
        inner = [kind.item_type]
    elif isinstance(kind, shape.Metadata):
        inner = [kind.type]
    else:
        return
    for one in inner:
        yield from structs(one, seen)


def _without_null(value: Any) -> Any:
    """Leave out null, which TOML does not have."""
    if isinstance(value, list):
        return [_without_null(one) for one in value if one != {"type": "null"}]
    if not isinstance(value, dict):
        return value
    found = {key: _without_null(one) for key, one in value.items() if not (key == "default" and one is None)}
    members = found.get("anyOf")
    if isinstance(members, list) and len(members) == 1:
        del found["anyOf"]
        found = {**members[0], **found}
    return found


def _offer_words(tables: dict[str, Any]) -> None:
    """Name what has a fixed list of words, as words to choose from; fields may have others (``ext.``)."""
    fields = sorted(FIELDS)
    for table, key, words, others in (
        ("Profile", "device_class", sorted(KIND_OF_CLASS), False),
        ("Message", "device_class", sorted(KIND_OF_CLASS), False),
        ("Field", "name", fields, True),
        ("Field", "unit", sorted(UNITS), False),
        ("Field", "event", sorted(event_types()), False),
        ("Command", "field", fields, True),
        ("Command", "unit", sorted(UNITS), False),
        ("Argument", "unit", sorted({unit.code for unit in UNITS.values()}), False),
        ("Guard", "unit", sorted(UNITS), False),
    ):
        said = tables[table]["properties"][key]
        kept = {name: said[name] for name in ("description", "default") if name in said}
        choice = {"enum": words}
        tables[table]["properties"][key] = {**kept, **({"anyOf": [choice, {"type": "string"}]} if others else choice)}
    event = tables["Message"]["properties"]["event"]
    tables_of_event = [one for one in event["anyOf"] if one.get("type") != "string"]
    event["anyOf"] = [{"enum": sorted(EVENTS_OF_MESSAGES)}, *tables_of_event]
