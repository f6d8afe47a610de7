"""Secrets: named in the config, read when used, never printed.

A config says where a secret is, not what it is, so that the file can be shown, copied and kept in git::

    password = { credential = "kafka" }          # the file /etc/edge-gateway/credentials/kafka, which root may read
    password = { file = "/etc/edge-gateway/kafka.password" }
    password = { env = "KAFKA_PASSWORD" }

A credential comes from systemd: the unit loads that folder, and LoadCredential= of a drop-in comes first. A program
that systemd did not start (`check`, `doctor`) looks where the unit's are at rest, which root may.

Each call reads again: a rotated file is used at the next connection. systemd takes credentials when the service starts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from gateway.errors import ConfigError, Fault, probably_meant

SECRET_BYTES_MAX = 64 * 1024  # a key in PEM is 2-4 KB; more is the wrong file
FOLDER = "credentials"  # what the unit calls the folder: systemd names a file in it credentials_<file>
Place = Literal["file", "credential", "env"]
PLACES: tuple[str, ...] = get_args(Place)
AT_REST = (Path("/etc/edge-gateway/credentials"), Path("/run/credentials/edge-gateway.service"))
ONLY_ROOT = "the service gets it from systemd; to look at it here type sudo before the command"
KNOWN_MAX = 256  # secrets that were read; of more, those read last

_known: tuple[str, ...] = ()


def known() -> tuple[str, ...]:
    """Return every secret that this process has read, rotated ones too: what a log must never show."""
    return _known


def _remember(text: str) -> None:
    """Take note of a secret; the one read last stands last."""
    global _known  # noqa: PLW0603 - whoever reads a secret has no log at hand, and a log must know all of them
    if text and text not in _known:
        _known = (*_known, text)[-KNOWN_MAX:]


class Secret:
    """Where a secret is. Call it for the text; `ConfigError` when it cannot be read."""

    __slots__ = ("_line", "_origin", "name", "place")

    def __init__(self, place: Place, name: str, origin: Path | str = "", line: int | None = None) -> None:
        self.place = place
        self.name = name
        self._origin = origin
        self._line = line

    def __call__(self) -> str:
        """Read the secret now; a file's line ending at the end does not count."""
        try:
            text = _READERS[self.place](self.name)
        except (OSError, ValueError) as error:
            what = f"cannot read the secret in {self.where}: {_words(error)}"
            away = isinstance(error, PermissionError) and self.place == "credential"
            raise ConfigError([self.fault(what, ONLY_ROOT if away else _ADVICE[self.place])]) from None
        _remember(text)
        return text

    def fault(self, what: str, hint: str | None = None) -> Fault:
        """Make a Fault at the place in the config that names the secret."""
        return Fault(self._origin or self.where, self._line, what, hint)

    @property
    def where(self) -> str:
        """Say where the secret is, which is no secret: ``file /etc/…``, ``credential kafka``, ``env TOKEN``."""
        return f"{self.place} {self.name}"

    def __repr__(self) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self.place, self.name) == (other.place, other.name)

    def __hash__(self) -> int:
        return hash((self.place, self.name))


def secret_of(table: object, folder: Path, origin: Path | str = "", line: int | None = None) -> Secret:
    """Make a `Secret` of its table in the config; `file` is relative to `folder`. ValueError says what to write."""
    if isinstance(table, str):
        raise ValueError(
            "a secret does not belong in the config: put it into a file that only the gateway can read and write"
            ' { file = "…" }, { credential = "…" } or { env = "…" } here'
        )
    if not isinstance(table, Mapping) or len(table) != 1:
        raise ValueError('expected one of { file = "…" }, { credential = "…" }, { env = "…" }')
    ((place, name),) = table.items()
    if place not in PLACES:
        hint = probably_meant(str(place), PLACES)
        raise ValueError(f"a secret has no {place!r}" + (f": {hint}" if hint else f": use one of {', '.join(PLACES)}"))
    if not isinstance(name, str) or not name:
        raise ValueError(f"{place} must be a text that is not empty")
    if place == "file":
        name = str(folder / name)
    return Secret(place, name, origin, line)


def _read_file(name: str) -> str:
    with Path(name).open("rb") as file:
        content = file.read(SECRET_BYTES_MAX + 1)
    if len(content) > SECRET_BYTES_MAX:
        raise ValueError(f"it is larger than {SECRET_BYTES_MAX} bytes")
    return content.decode().rstrip("\r\n")


def _read_credential(name: str) -> str:
    if "/" in name or name in (".", ".."):
        raise ValueError("a credential's name has no '/'")
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    found = [credential_in(place, name) for place in ([Path(folder)] if folder else AT_REST)]
    for path in found[:-1]:
        with suppress(FileNotFoundError):
            return _read_file(str(path))
    return _read_file(str(found[-1]))


def credential_in(folder: Path, name: str) -> Path:
    """Return where systemd has put a credential: by its name (LoadCredential= of a drop-in), or of the folder."""
    alone, listed = folder / name, folder / f"{FOLDER}_{name}"
    try:
        return alone if alone.exists() else listed
    except PermissionError:
        return alone


def _read_env(name: str) -> str:
    text = os.environ.get(name)
    if text is None:
        raise ValueError("the variable is not set")
    return text


def _words(error: OSError | ValueError) -> str:
    """Say what failed without the content: a UnicodeDecodeError would quote bytes of the secret."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


_READERS: Mapping[str, Callable[[str], str]] = {"file": _read_file, "credential": _read_credential, "env": _read_env}
_ADVICE = {
    "file": "does the file exist, and may the gateway's user read it?",
    "credential": "put it into /etc/edge-gateway/credentials as root, then: sudo systemctl restart edge-gateway",
    "env": "set it for the service: systemctl edit edge-gateway",
}


def named_in(options: Any) -> Iterator[Secret | Path]:
    """Yield the secrets and files that options name, in one order."""
    if isinstance(options, (Secret, Path)):
        yield options
    elif isinstance(options, msgspec.Struct):
        for field in options.__struct_fields__:
            yield from named_in(getattr(options, field))
    elif isinstance(options, Mapping):
        for value in options.values():
            yield from named_in(value)
    elif isinstance(options, (list, tuple)):
        for value in options:
            yield from named_in(value)
