"""Passwords are checked against what mosquitto_passwd writes, and against nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gateway.mqtt import passwords


def test_file_of_mosquitto(tmp_path: Path) -> None:
    """A password file that mosquitto_passwd made lets its users in with their passwords."""
    path = tmp_path / "passwords"
    path.touch(mode=0o600)
    users = {"anna": "correct horse", "bert": "pässwörd"}
    for name, password in users.items():
        subprocess.run(["mosquitto_passwd", "-b", str(path), name, password], check=True, capture_output=True)
    lines = ["# made by hand", "", *path.read_text().splitlines()]
    entries = {name: entry for _, name, entry in passwords.read_file(lines)}
    assert set(entries) == set(users)
    for name, password in users.items():
        assert passwords.verify(password.encode(), entries[name])
        assert not passwords.verify(b"wrong", entries[name])


def test_older_form() -> None:
    """An entry of the older form, one SHA-512, is understood too."""
    entry = (
        "$6$c2FsdHNhbHRzYWx0$3aiBbchfIZo+1WYrkPzJjQxZ79F/NmwLQ+wF073kTd+6ANhaic8G/jWF/X4sqSFUKpLNdm1FZjBck6HQ8knM3A=="
    )
    assert passwords.verify(b"secret", entry)
    assert not passwords.verify(b"Secret", entry)


@pytest.mark.parametrize(
    "entry", ["secret", "$7$101$!!$!!", "$7$0$c2FsdA==$c2FsdA==", "$7$99999999$c2FsdA==$c2FsdA==", ""]
)
def test_bad_entries_are_named(entry: str) -> None:
    """A line that is no password entry is refused with its number and its user's name, without what it says."""
    with pytest.raises(ValueError, match=r"^2: user 'anna': expected \$7\$"):
        list(passwords.read_file(["# users", f"anna:{entry}"]))
    with pytest.raises(ValueError, match="expected"):
        passwords.verify(b"secret", entry)


def test_plain_passwords() -> None:
    """Plain passwords are equal only when they are the same."""
    assert passwords.equal(b"secret", b"secret")
    assert not passwords.equal(b"secret", b"secret ")
    assert not passwords.equal(b"", b"secret")
