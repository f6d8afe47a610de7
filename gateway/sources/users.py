"""Who may log in at the listener: users named in the config, and those of a Mosquitto password file.

Both are read at each login, so that a changed password or a new user needs no restart.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from gateway.mqtt import passwords
from gateway.secrets import Secret


class Users:
    """The listener's users; none at all means that nobody is asked."""

    def __init__(self, named: Mapping[str, Secret], file: Path | None) -> None:
        self._named = named
        self._file = file

    def admit(self, name: str | None, password: bytes | None) -> bool:
        """Check a login. Raises ConfigError, OSError or ValueError when secrets or file cannot be read."""
        if not self._named and self._file is None:
            return True
        if name is None or password is None:
            return False
        secret = self._named.get(name)
        if secret is not None:
            return passwords.equal(password, secret().encode())
        entry = self._entry(name)
        if entry is None:  # as much work as for a user who exists
            return passwords.equal(password, secrets.token_bytes())
        return passwords.verify(password, entry)

    def _entry(self, name: str) -> str | None:
        if self._file is None:
            return None
        with self._file.open(encoding="utf-8") as lines:
            return next((entry for _, known, entry in passwords.read_file(lines) if known == name), None)
