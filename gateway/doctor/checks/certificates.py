"""Each certificate that the config names: readable, valid now and for a while, with the key that belongs to it."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gateway.certificates import Certificate, certificates_in
from gateway.clock import rfc3339
from gateway.codes.config import CERTIFICATE_ENDS, CERTIFICATE_UNUSABLE
from gateway.config.named import Pair, certificates
from gateway.doctor.check import Subject
from gateway.doctor.finding import Finding, bad, note, ok
from gateway.doctor.scene import SERVICE, Scene
from gateway.errors import ConfigError

AREA = "credentials"
DAYS_SOON, DAYS_LATE = 30.0, 7.0  # worth knowing, bad
AUTHORITY_DAYS_SOON = 90.0  # exchanging an authority takes everybody longer
FILE_BYTES_READ_MAX = 5 << 20
NEW = "put a new one in its place: it is read at the next connection"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a certificate file and its key."""

    file: str
    ours: bool
    now_s: float
    clock_synced: bool = True
    error: str = ""  # why the file cannot be used
    permission: bool = False  # the error is ours: somebody else may be able to read it
    chain: list[Certificate] = []
    key: str = ""  # the key's file
    key_error: str = ""  # why key and certificate do not go together
    key_seen: bool = True


def subjects(scene: Scene) -> list[Subject]:
    """Return every certificate file that the config names, once."""
    if scene.config is None:
        return []
    found: dict[tuple[Path, Path | None], Subject] = {}
    for pair in certificates(scene.config):
        found.setdefault((pair.certificate, pair.key), Subject(pair.place, pair))
    return list(found.values())


def look(scene: Scene, subject: Subject) -> Facts:
    """Read the file, and try it together with its key."""
    pair: Pair = subject.about
    synced = scene.status.clock_synced if scene.status is not None else True
    facts = Facts(file=str(pair.certificate), ours=pair.ours, now_s=time.time(), clock_synced=synced)
    facts = msgspec.structs.replace(facts, key=str(pair.key or "")) if pair.ours else facts
    try:
        with pair.certificate.open("rb") as file:
            chain = certificates_in(file.read(FILE_BYTES_READ_MAX))
    except OSError as error:
        permission = isinstance(error, PermissionError)
        return msgspec.structs.replace(facts, error=error.strerror or str(error), permission=permission)
    except ValueError as error:
        return msgspec.structs.replace(facts, error=str(error))
    facts = msgspec.structs.replace(facts, chain=chain)
    return _with_key(facts, pair) if pair.ours else facts


def judge(facts: Facts) -> Iterator[Finding]:
    """Say whether it can be used, and how long."""
    if facts.permission:
        yield note(f"{facts.file}: you may not read it", f"sudo {SERVICE} doctor credentials")
        return
    if facts.error:
        yield bad(f"{facts.file}: {facts.error}", f"openssl x509 -in {facts.file} -noout -text", CERTIFICATE_UNUSABLE)
        return
    if facts.key_error:
        where = f"key {facts.key}" if facts.key else "the key in it"
        command = f"openssl x509 -in {facts.file} -noout -pubkey; openssl pkey -in {facts.key or facts.file} -pubout"
        yield bad(f"{facts.file}: {where} {facts.key_error}", command, CERTIFICATE_UNUSABLE)
    judged = facts.chain if facts.ours else _authorities(facts)
    findings = [finding for each in judged if (finding := _time(facts, each)) is not None]
    findings += _order(facts)
    yield from findings
    if not findings and not facts.key_error:
        first = min(facts.chain, key=lambda each: each.not_after_s)
        days = "without an end" if first.endless else f"{first.days_left(facts.now_s):,.0f} days left"
        what = facts.chain[0].name if len(facts.chain) == 1 or facts.ours else f"{len(facts.chain)} authorities"
        unseen = "; you may not read its key, which was not looked at" if not facts.key_seen else ""
        yield ok(f"{facts.file}: {what}, {days}{unseen}", days=round(first.days_left(facts.now_s), 1))


def _time(facts: Facts, certificate: Certificate) -> Finding | None:
    """Judge the dates of one certificate."""
    state, days = certificate.state(facts.now_s), certificate.days_left(facts.now_s)
    name = f"{facts.file}: {certificate.name}"
    if state == "not yet valid":
        begins = rfc3339(certificate.not_before_s * 10**9)
        clock = "" if facts.clock_synced else ", and the clock is not synchronised: it is probably the clock"
        return bad(f"{name} is valid from {begins} on, which is still to come{clock}", "timedatectl", CERTIFICATE_ENDS)
    if state == "expired":
        ended = rfc3339(certificate.not_after_s * 10**9)
        return bad(f"{name} ended {-days:,.0f} days ago ({ended})", NEW, CERTIFICATE_ENDS, days=round(days, 1))
    soon = AUTHORITY_DAYS_SOON if certificate.authority else DAYS_SOON
    if days < DAYS_LATE:
        return bad(f"{name} ends in {days:.1f} days", NEW, CERTIFICATE_ENDS, days=round(days, 1))
    return note(f"{name} ends in {days:.0f} days", NEW, CERTIFICATE_ENDS, days=round(days, 1)) if days < soon else None


def _authorities(facts: Facts) -> list[Certificate]:
    """Return the authorities to judge: in a bundle of many some have always ended, and nobody minds."""
    valid = [each for each in facts.chain if each.state(facts.now_s) == "ok"]
    return facts.chain if len(facts.chain) <= 3 or not valid else []


def _order(facts: Facts) -> list[Finding]:
    """Find a chain of ours in which one did not sign the one before it."""
    for below, above in zip(facts.chain, facts.chain[1:], strict=False):
        if facts.ours and below.issuer != above.subject:
            text = f"{facts.file}: {below.name} is signed by {below.issuer}, and what follows it is {above.subject}"
            return [bad(text, "put ours first, then the one that signed it, and so on", CERTIFICATE_UNUSABLE)]
    return []


def _with_key(facts: Facts, pair: Pair) -> Facts:
    """Let OpenSSL say whether the key belongs to the certificate."""
    try:
        (pair.key or pair.certificate).open("rb").close()
    except PermissionError:
        return msgspec.structs.replace(facts, key_seen=False)
    except OSError as error:
        return msgspec.structs.replace(facts, key_error=f"cannot be read: {error.strerror}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        password = pair.key_password() if pair.key_password is not None else ""
        context.load_cert_chain(pair.certificate, pair.key, password=password)
    except ConfigError as error:
        return msgspec.structs.replace(facts, key_error=f"is encrypted, and its password: {error.faults[0].what}")
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        words = {"KEY_VALUES_MISMATCH": "does not belong to the certificate", "BAD_DECRYPT": "has another password"}
        said = words.get(reason, f"cannot be used: {reason.replace('_', ' ').lower()}")
        return msgspec.structs.replace(facts, key_error=said)
    return facts
