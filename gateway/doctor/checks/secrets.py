"""Each secret that the config names: there, readable by the gateway and by nobody else, and as it was meant."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gateway.codes.config import SECRET_UNUSABLE
from gateway.config.named import secrets
from gateway.config.texts import UNREADABLE
from gateway.doctor.check import Subject
from gateway.doctor.finding import Finding, bad, note, ok
from gateway.doctor.scene import SERVICE, Scene, User
from gateway.secrets import SECRET_BYTES_MAX, Secret, credential_in

AREA = "credentials"
CREDENTIALS = Path("credentials") / f"{SERVICE}.service"  # in /run: systemd's, of the running service


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a secret: nothing of what is in it but its shape."""

    where: str  # "file /etc/...", "credential x", "env X"
    kind: str
    user: str = ""
    there: bool | None = None  # None: cannot be seen from here
    service_reads: bool | None = None
    others_read: bool = False
    path: str = ""  # of the file it is in
    error: str = ""
    length: int | None = None  # characters, without the line ending
    blank_ends: bool = False  # begins or ends with a blank, or has a second line ending
    lines: int = 1
    binary: bool = False
    pem: bool = False


def subjects(scene: Scene) -> list[Subject]:
    """Return every secret that the config names, once a place."""
    if scene.config is None:
        return []
    return [Subject(place, secret) for place, secret in secrets(scene.config) if secret is not UNREADABLE]


def look(scene: Scene, subject: Subject) -> Facts:
    """Read it, if we may, and keep only its shape."""
    secret: Secret = subject.about
    if secret.place == "env":
        return _variable(scene, secret)
    path = Path(secret.name)
    if secret.place == "credential":
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        path = credential_in(Path(folder) if folder else scene.roots.run / CREDENTIALS, secret.name)
    facts = Facts(where=secret.where, kind=secret.place, user=scene.user.name, path=str(path))
    try:
        entry = path.stat()
        reads = _service_reads(path, entry, scene.user) if secret.place == "file" else True
        facts = msgspec.structs.replace(
            facts, there=True, service_reads=reads, others_read=bool(entry.st_mode & stat.S_IROTH) and _reachable(path)
        )
        with path.open("rb") as file:
            return _shape(facts, file.read(SECRET_BYTES_MAX + 1))
    except FileNotFoundError:
        seen = secret.place == "file"
        return msgspec.structs.replace(facts, there=False if seen else None)
    except OSError as error:
        return msgspec.structs.replace(facts, error=error.strerror or str(error))


def judge(facts: Facts) -> Iterator[Finding]:
    """Say whether the gateway can use it."""
    where = facts.where
    if facts.there is None:
        if facts.kind == "credential":
            name = where.partition(" ")[2]
            text = f"{where}: not to be seen while the service does not run, or by you"
            yield note(text, f"sudo {SERVICE} doctor credentials; systemctl cat {SERVICE} | grep {name}")
        else:
            yield note(f"{where}: cannot be seen from here", f"sudo {SERVICE} doctor credentials")
        return
    if not facts.there:
        how = "put it there" if facts.kind == "file" else f"sudo systemctl edit {SERVICE}"
        if facts.kind == "file":
            how = f"sudo install -m 640 -g {facts.user} /dev/stdin {facts.path}"
        yield bad(f"{where} is not there", how, SECRET_UNUSABLE)
        return
    if facts.service_reads is False:
        command = f"sudo chgrp {facts.user} {facts.path} && sudo chmod 640 {facts.path}"
        yield bad(f"{where} is there, and user {facts.user} may not read it", command, SECRET_UNUSABLE)
        return
    if facts.others_read:
        text = f"{where}: every user of this machine can read it"
        yield bad(text, f"sudo chgrp {facts.user} {facts.path} && sudo chmod 640 {facts.path}")
        return
    if facts.length is None:
        seen = f"is there for user {facts.user}" if facts.service_reads else "is there"
        yield ok(f"{where} {seen}; you may not read it, so its content was not looked at")
        return
    if facts.length > SECRET_BYTES_MAX or facts.binary:
        what = "is not text (UTF-8)" if facts.binary else f"is larger than {SECRET_BYTES_MAX} bytes"
        yield bad(f"{where} {what}: probably the wrong file", f"file {facts.path or where}", SECRET_UNUSABLE)
    elif not facts.length:
        yield bad(f"{where} is empty", f"ls -l {facts.path}; then put the secret there", SECRET_UNUSABLE)
    elif facts.lines > 1 and not facts.pem:
        yield note(f"{where} has {facts.lines} lines; all of them are taken for the secret")
    elif facts.blank_ends:
        yield note(f"{where} begins or ends with a blank, which is taken for part of it: written by mistake?")
    else:
        yield ok(f"{where}, {facts.length} characters")


def _variable(scene: Scene, secret: Secret) -> Facts:
    """Look for a variable in the environment of the running gateway, else in ours."""
    facts = Facts(where=secret.where, kind="env", user=scene.user.name)
    environment = os.environ if scene.status is None else scene.environment()
    if environment is None:
        return facts
    value = environment.get(secret.name)
    if value is not None:
        return _shape(facts, value.encode("utf-8", "surrogateescape"))
    return facts if scene.status is None else msgspec.structs.replace(facts, there=False)


def _shape(facts: Facts, content: bytes) -> Facts:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return msgspec.structs.replace(facts, there=True, binary=True, length=len(content))
    value = text.rstrip("\r\n")
    return msgspec.structs.replace(
        facts,
        there=True,
        length=len(value),
        blank_ends=value != value.strip(),
        lines=value.count("\n") + 1 if value else 0,
        pem="-----BEGIN " in value,
    )


def _service_reads(path: Path, entry: os.stat_result, user: User) -> bool:
    """Return whether the modes let the service's user read a file, folders on the way to it included."""
    if user.ourselves:
        return os.access(path, os.R_OK, effective_ids=True)
    folders = path.resolve().parents
    return user.may(entry, 4) and all(user.may(folder.stat(), 1) for folder in folders)


def _reachable(path: Path) -> bool:
    """Return whether everybody may enter the folders on the way to a file."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)
