"""Every value in force, with its default and where it was set: what `check --effective` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

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
    """Yield every option of every table, in the order of the reference."""
    tables: list[tuple[Place, Any]] = [
        (("gateway",), config.gateway),
        (("api",), {"socket": config.places.socket}),
        (("journal",), config.journal),
        (("rules",), config.rules),
    ]
    for section, named in (("sources", config.sources), ("targets", config.targets), ("routes", config.routes)):
        tables += [((section, name), options) for name, options in named.items()]
    for at, options in tables:
        for place, value in _leaves(options, at):
            value = config.places.journal if place == ("journal", "folder") else value  # noqa: PLW2901
            origin = config.document.origin(place) or "default"
            yield Value(".".join(map(str, place[:-1])), str(place[-1]), plain(value), origin)


def _leaves(value: Any, at: Place) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from _leaves(getattr(value, field), (*at, field))
    elif isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*at, key))
    else:
        yield at, value


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
    """Write a value as TOML; what is not set is a comment, since TOML has no null."""
    if value is None:
        return "# not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(inner)}' for key, inner in value.items())} }}" if value else "{}"
    return str(value)
