"""Secrets are named in the config, read when used, never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import secrets
from gateway.errors import ConfigError
from gateway.secrets import SECRET_BYTES_MAX, Secret, secret_of
from tests.rights import shared_folder, with_few_rights


def test_file_is_read_at_each_call(tmp_path: Path) -> None:
    """A rotated secret is used at the next call, without its line ending."""
    (tmp_path / "password").write_text("old\n")
    secret = secret_of({"file": "password"}, tmp_path)
    assert secret() == "old"
    (tmp_path / "password").write_text("new\r\n")
    assert secret() == "new"


def test_credential_of_the_units_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the folder that the unit loads has a longer name there; one that is loaded by name comes first."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    secret = secret_of({"credential": "kafka"}, Path())
    (tmp_path / "credentials_kafka").write_text("of the folder\n")
    assert secret() == "of the folder"
    (tmp_path / "kafka").write_text("by name")
    assert secret() == "by name"


def test_credential_is_in_systemds_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential is a file in $CREDENTIALS_DIRECTORY."""
    (tmp_path / "kafka").write_text("s3cret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert secret_of({"credential": "kafka"}, Path())() == "s3cret"


def test_a_credential_is_looked_at_where_the_services_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without systemd it is read at rest, else as the running service has it; who may not is told to use sudo."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with shared_folder() as folder:
        rest, running = folder / "etc", folder / "run"
        rest.mkdir()
        running.mkdir()
        monkeypatch.setattr(secrets, "AT_REST", (rest, running))
        secret = secret_of({"credential": "kafka"}, Path())
        with pytest.raises(ConfigError, match=r"credential kafka: No such file .*put it into /etc"):
            secret()
        (running / "credentials_kafka").write_text("as it runs\n")
        assert secret() == "as it runs"
        (rest / "kafka").write_text("for the next start\n")
        assert secret() == "for the next start"
        with with_few_rights(rest, 0), pytest.raises(ConfigError, match="type sudo before the command"):
            secret()


def test_env_is_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment variable is taken as it is."""
    monkeypatch.setenv("KAFKA_PASSWORD", "s3cret ")
    assert secret_of({"env": "KAFKA_PASSWORD"}, Path())() == "s3cret "


def test_nothing_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed of a secret is only that it is one."""
    monkeypatch.setenv("TOKEN", "s3cret")
    secret = Secret("env", "TOKEN")
    assert secret() == "s3cret"
    assert "s3cret" not in f"{secret} {secret!r} {[secret]} {secret.where}"
    assert repr(secret) == "<secret>"


@pytest.mark.parametrize("place", ["file", "credential", "env"])
def test_unreadable_secret_says_where_it_was_asked_for(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret that cannot be read is a fault at the line of the config that names it."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    secret = secret_of({place: "missing"}, tmp_path, "gateway.toml", 7)
    with pytest.raises(ConfigError, match=rf"gateway.toml:7: cannot read the secret in {place} .*missing"):
        secret()


def test_content_that_is_no_text_is_not_quoted(tmp_path: Path) -> None:
    """A fault about a secret's content has nothing of the content in it."""
    (tmp_path / "key").write_bytes(b"s3cret\xff")
    with pytest.raises(ConfigError) as caught:
        secret_of({"file": "key"}, tmp_path)()
    assert "not UTF-8" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__context__ is None or "s3cret" not in str(caught.value.__cause__)


def test_too_large_file_is_refused(tmp_path: Path) -> None:
    """A secret has a size limit: a larger file is the wrong one."""
    (tmp_path / "key").write_bytes(b"a" * (SECRET_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="larger than"):
        secret_of({"file": "key"}, tmp_path)()


def test_credential_stays_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential's name cannot lead out of the credentials' folder."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "in"))
    (tmp_path / "out").write_text("s3cret")
    with pytest.raises(ConfigError, match="no '/'"):
        Secret("credential", "../out")()


@pytest.mark.parametrize(
    ("table", "advice"),
    [
        ("hunter2", "does not belong in the config"),
        ({"flie": "x"}, "did you mean 'file'"),
        ({"vault": "x"}, "use one of file, credential, env"),
        ({"file": "x", "env": "Y"}, "expected one of"),
        ({}, "expected one of"),
        (5, "expected one of"),
        ({"env": ""}, "not empty"),
    ],
)
def test_wrong_forms_say_what_to_write(table: object, advice: str) -> None:
    """A secret written any other way is refused with what to write instead."""
    with pytest.raises(ValueError, match=advice) as caught:
        secret_of(table, Path())
    assert "hunter2" not in str(caught.value)
