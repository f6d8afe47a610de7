"""What a bundle says of itself: ``bundle.json``, beside gateway.toml.

::

    {"format": 1, "program": "0.1.0", "files": {"gateway.toml": {"bytes": 210, "sha256": "..."}, ...}}

`program` is the oldest edge-gateway that takes it. The bundle's hash is over names and hashes of its files, so it is
the same however the bundle is packed, and says nothing of when and where that was.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from gateway import __version__
from gateway.errors import GatewayError

FORMAT: Final = 1
NAME: Final = "bundle.json"
MANIFEST_BYTES_MAX: Final = 4 * 1024 * 1024
_NUMBERS: Final = re.compile(r"\d+(?:\.\d+){0,3}")


class BundleError(GatewayError):
    """A bundle cannot be made or used; nothing was changed by it."""


class Entry(msgspec.Struct, frozen=True):
    """One file."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle is."""

    format: int = FORMAT
    program: str = __version__
    files: dict[str, Entry]

    @property
    def hash(self) -> str:
        """Return the hash of the bundle, 64 hex digits."""
        return hash_of(self.files)


def entry(content: bytes) -> Entry:
    """Describe a file."""
    return Entry(len(content), hashlib.sha256(content).hexdigest())


def hash_of(files: Mapping[str, Entry]) -> str:
    """Return the hash over names and hashes of files."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{files[name].sha256} {name}\n".encode())
    return digest.hexdigest()


def encoded(manifest: Manifest) -> bytes:
    """Write a manifest, always in the same way."""
    ordered = msgspec.structs.replace(manifest, files=dict(sorted(manifest.files.items())))
    return msgspec.json.format(msgspec.json.encode(ordered), indent=1) + b"\n"


def decoded(text: bytes) -> Manifest:
    """Read a manifest, and whether this program takes the bundle. Raises BundleError."""

    class Head(msgspec.Struct):
        """What every format has."""

        format: int
        program: str = ""

    try:
        head = msgspec.json.decode(text, type=Head)
        if head.format > FORMAT:
            raise BundleError(f"{NAME}: it is of format {head.format}, this program reads {FORMAT}: upgrade it first")
        if numbers(head.program) > numbers(__version__):
            raise BundleError(
                f"it needs edge-gateway {head.program} or newer, this is {__version__}: upgrade the program first"
            )
        return msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BundleError(f"{NAME} cannot be read: {error}") from None


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, to compare; of ``1.2.0rc1`` those of 1.2.0. Nothing in it: the oldest."""
    found = _NUMBERS.match(version)
    return tuple(int(number) for number in found[0].split(".")) if found else ()
