"""Passwords of the listener's users: compared in constant time, plain or in the form of Mosquitto's password file.

A line of such a file is ``name:$7$<iterations>$<salt>$<hash>`` (PBKDF2-HMAC-SHA512, base64; what `mosquitto_passwd`
writes) or ``name:$6$<salt>$<hash>`` (SHA-512 of password and salt, as older versions wrote).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Iterator
from typing import Final

ITERATIONS_MAX: Final = 1_000_000  # about a second; more would hold up every other client


def equal(given: bytes, expected: bytes) -> bool:
    """Compare two passwords in a time that says nothing about either, not even the length."""
    return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(expected).digest())


def verify(given: bytes, entry: str) -> bool:
    """Check a password against ``$7$...`` or ``$6$...``. Raises ValueError if the entry is neither."""
    kind, salt, expected, iterations = _parts(entry)
    if kind == "6":
        found = hashlib.sha512(given + salt).digest()
    else:
        found = hashlib.pbkdf2_hmac("sha512", given, salt, iterations, len(expected))
    return hmac.compare_digest(found, expected)


def _parts(entry: str) -> tuple[str, bytes, bytes, int]:
    fields = entry.split("$")
    try:
        match fields:
            case ["", "6", salt, digest]:
                return "6", _raw(salt), _raw(digest), 1
            case ["", "7", iterations, salt, digest] if 0 < int(iterations) <= ITERATIONS_MAX:
                return "7", _raw(salt), _raw(digest), int(iterations)
    except (binascii.Error, ValueError):
        pass
    raise ValueError("expected $7$iterations$salt$hash, as mosquitto_passwd writes it")


def _raw(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def read_file(lines: Iterable[str]) -> Iterator[tuple[int, str, str]]:
    """Yield (line number, name, entry). Raises ValueError that begins with the line number of a bad line."""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, _, entry = text.partition(":")
        try:
            _parts(entry)
        except ValueError as error:
            raise ValueError(f"{number}: user {name!r}: {error}") from None
        yield number, name, entry
