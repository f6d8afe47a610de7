"""The files of an installation: what a person wrote or put there, and a new card needs to go on.

Part of it: gateway.toml, the overlays in gateway.d, devices.toml, the rules with all that lies in their folder, folders
with own profiles, and certificates that sources and targets name. What the gateway can make again, or came with the
program, is not.

Secret, and left out unless somebody asks for it: files that a `Secret` names, private keys, files with users.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from gateway.config.load import Config
from gateway.errors import GatewayError
from gateway.secrets import Secret

FILES_MAX: Final = 10_000
FILE_BYTES_MAX: Final = 16 * 1024 * 1024
NOT_WRITTEN: Final = ("__pycache__",)  # by a person


class Part(NamedTuple):
    """One file of an installation."""

    path: Path
    secret: bool


def parts(config: Config) -> Iterator[Part]:
    """Yield every file of an installation that is there, once. Raises GatewayError when there are too many."""
    seen: set[Path] = set()
    for part in _parts(config):
        if part.path not in seen and part.path.is_file():
            seen.add(part.path)
            if len(seen) > FILES_MAX:
                raise GatewayError(f"{part.path.parent}: more than {FILES_MAX} files: is this the right folder?")
            yield part


def _parts(config: Config) -> Iterator[Part]:
    yield from named(config)
    file = config.file.absolute()
    yield Part(file, secret=False)
    written = [*sorted((file.parent / "gateway.d").glob("*.toml")), config.gateway.devices]
    yield from (Part(path, secret=False) for path in written)
    for folder in (config.rules.folder, *config.gateway.profiles):
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder).parts
            if not any(part.startswith(".") or part in NOT_WRITTEN for part in inside):
                yield Part(path, secret=False)


def named(config: Config) -> Iterator[Part]:
    """Yield the files that options name, whether they are there or not."""
    recipients = config.notify.recipients.values()
    sections = (config.sources, config.targets, config.http)
    for options in (config.journal, *(each for section in sections for each in section.values()), *recipients):
        yield from _named(options)


def _named(options: Any) -> Iterator[Part]:
    """Yield the files that options name."""
    if isinstance(options, Secret):
        if options.place == "file":
            yield Part(Path(options.name), secret=True)
    elif isinstance(options, msgspec.Struct):
        for field in options.__struct_fields__:
            value = getattr(options, field)
            if not isinstance(value, Path):
                yield from _named(value)
            elif field != "folder":
                yield Part(value, secret=_private(options, field))
    elif isinstance(options, Mapping):
        for value in options.values():
            yield from _named(value)
    elif isinstance(options, (list, tuple)):
        for value in options:
            yield from _named(value)


def _private(options: msgspec.Struct, field: str) -> bool:
    """Return whether a file is nobody else's business: a certificate's has its key in it when no other is named."""
    return field in {"key", "users_file"} or (field == "certificate" and getattr(options, "key", None) is None)
