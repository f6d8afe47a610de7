"""What a config names that lies elsewhere: secrets, certificates and their keys, with the place that names each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gateway.secrets import Secret

if TYPE_CHECKING:
    from gateway.config.load import Config

CERTIFICATES = ("certificate", "ca", "client_ca")  # keys of options that name files with certificates (PEM)


class Pair(NamedTuple):
    """A certificate file and, where it is one of ours, the key that belongs to it."""

    place: str  # "targets.cloud.tls.certificate"
    certificate: Path
    key: Path | None  # None: in the same file, or none at all (an authority)
    key_password: Secret | None
    ours: bool  # we show it to others; else others are recognised by it


def secrets(config: Config) -> Iterator[tuple[str, Secret]]:
    """Yield every secret with the place in the config that names it: ``sources.house.password``."""
    for place, value in _values(config):
        if isinstance(value, Secret):
            yield place, value


def certificates(config: Config) -> Iterator[Pair]:
    """Yield every certificate file that the config names."""
    for place, options in _values(config):
        if isinstance(options, msgspec.Struct):
            fields = options.__struct_fields__
            for name in CERTIFICATES:
                file = getattr(options, name, None) if name in fields else None
                if isinstance(file, Path):
                    ours = name == "certificate"
                    key = getattr(options, "key", None) if ours else None
                    word = getattr(options, "key_password", None) if ours else None
                    yield Pair(f"{place}.{name}", file, key, word, ours)


def _values(config: Config) -> Iterator[tuple[str, Any]]:
    parts: dict[str, Any] = {
        "sources": config.sources, "targets": config.targets, "http": config.http, "notify": config.notify.recipients,
        "journal": config.journal,
    }  # fmt: skip
    yield from _within("", parts)


def _within(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if place:
        yield place, value
    if isinstance(value, msgspec.Struct):
        inner: Any = [(name, getattr(value, name)) for name in value.__struct_fields__]
    elif isinstance(value, Mapping):
        inner = value.items()
    elif isinstance(value, (list, tuple)):
        inner = enumerate(value)
    else:
        return
    for key, each in inner:
        yield from _within(f"{place}.{key}" if place else str(key), each)
