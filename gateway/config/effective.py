"""Every value in force, with its default and where it was set: what `check --effective` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gateway.config.options import KINDS
from gateway.rules.language.recipients import EVERYONE
from gateway.secrets import Secret

if TYPE_CHECKING:
    from gateway.config.load import Config
    from gateway.document import Place


class Value(NamedTuple):
    """One option in force."""

    table: str  # dotted name of its table, as in the config
    key: str
    value: Any
    origin: str  # file:line, or "default"


def values(config: Config) -> Iterator[Value]:
    """Yield every option of every table, in the order of the reference; written out it is a config again."""
    tables: list[tuple[Place, Any]] = [
        (("gateway",), config.gateway),
        (("api",), {"socket": config.places.socket}),
        (("log",), config.log),
        (("journal",), config.journal),
        (("history",), config.history),
        (("blobs",), config.blobs),
        (("rules",), config.rules),
        (("offers",), config.offers),
    ]
    if set(config.notify.groups) - {EVERYONE}:
        tables.append((("notify",), {name: list(members) for name, members in config.notify.groups.items()}))
    for section, named in (
        ("notify", config.notify.recipients),
        ("inputs", config.inputs),
        ("http", config.http),
        ("sources", config.sources),
        ("targets", config.targets),
        ("routes", config.routes),
    ):
        tables += [((section, name), _written(section, options)) for name, options in named.items()]
    for at, options in tables:
        for place, value in _leaves(options, at):
            shown = config.places.journal if place == ("journal", "folder") else value
            origin = config.document.origin(place) or "default"
            yield Value(".".join(map(str, place[:-1])), str(place[-1]), plain(shown), origin)


def _written(section: str, options: msgspec.Struct) -> dict[str, Any]:
    """Return options under the keys they have in the config, which for some are others than in their type."""
    fields = {name: getattr(options, name) for name in options.__struct_fields__}
    kinds = {place.partition(":")[2]: kind for kind, place in KINDS.get(section, {}).items()}
    kind = kinds.get(type(options).__name__)
    if section == "targets":
        return {"type": kind, **fields}
    if kind == "listener":
        host = fields.pop("host")
        return {"listen": f"{f'[{host}]' if ':' in host else host}:{fields.pop('port')}", **fields}
    return fields


def _leaves(value: Any, at: Place) -> Iterator[tuple[Place, Any]]:
    """Yield single values first and tables after them, as TOML wants it."""
    fields = _fields(value)
    if fields is None:
        yield at, value
        return
    for key, inner in sorted(fields.items(), key=lambda item: _fields(item[1]) is not None):
        yield from _leaves(inner, (*at, key))


def _fields(value: Any) -> Mapping[str, Any] | None:
    """Return what a table holds; None for anything else, and for a table with nothing in it."""
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    return value if isinstance(value, Mapping) and value else None


def plain(value: Any) -> Any:
    """Return a value as JSON and TOML know it; a secret says only where it is."""
    if isinstance(value, Secret):
        return {value.place: value.name}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, msgspec.Struct):
        return {field: plain(getattr(value, field)) for field in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value


def toml(value: Any) -> str:
    """Write a value as TOML (not None, which TOML cannot say)."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(inner)}' for key, inner in value.items())} }}" if value else "{}"
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)
