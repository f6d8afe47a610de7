"""What it means how far one gets to a server (`reach`), and what to type. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from gateway.clock import rfc3339
from gateway.codes.config import CERTIFICATE_ENDS, CERTIFICATE_UNUSABLE
from gateway.codes.targets import NAME_UNKNOWN, ROUTE_DOWN, SERVER_UNTRUSTED
from gateway.doctor.finding import Finding, bad, note
from gateway.doctor.reach import Reach

MTU_MIN = 1280  # below it IPv6 does not work, and TLS often hangs where packets that are too large are dropped unsaid
DAYS_SOON = 14.0
EXPIRED, NOT_YET, SELF_SIGNED, SELF_SIGNED_CHAIN, NO_ISSUER, NO_ISSUER_HERE, NO_LEAF = 10, 9, 18, 19, 2, 20, 21
OTHER_NAME, OTHER_ADDRESS = 62, 64  # X509_V_ERR_* of OpenSSL, x509_vfy.h


def unreached(found: Reach) -> Iterator[Finding]:
    """Say why a server is not reached; nothing when it is."""
    where = f"{found.host} port {found.port}"
    host = shlex.quote(found.host)
    text = {
        "name": f"the name {found.host} is not known: {found.why}",
        "nameserver": f"no name server answers, so {found.host} is not found: {found.why}",
        "refused": f"{where}: nobody listens there (connection refused)",
        "timeout": f"{where}: {found.why}: a firewall, or the machine is off",
        "unreachable": f"{where}: there is no way there: {found.why}",
        "ours": f"our own certificates cannot be used: {found.why}",
        "client": f"{where} does not take our certificate: {found.why}",
        "tls": f"{where} takes the connection and does not speak TLS with us: {found.why}",
    }
    command = {
        "name": f"getent hosts {host}; is the name in gateway.toml right?",
        "nameserver": "resolvectl status; ip route",
        "refused": f"nc -vz {host} {found.port}; is the port in gateway.toml right?",
        "timeout": f"ping -c 3 {host}; nc -vz {host} {found.port}",
        "unreachable": "ip addr; ip route",
        "ours": "edge-gateway doctor credentials",
        "client": "edge-gateway doctor credentials; is the certificate registered there?",
        "tls": f"openssl s_client -connect {host}:{found.port} -servername {host}; is it the port for TLS?",
    }
    code = {
        "name": NAME_UNKNOWN,
        "nameserver": NAME_UNKNOWN,
        "ours": CERTIFICATE_UNUSABLE,
        "client": CERTIFICATE_UNUSABLE,
    }
    if found.failed == "certificate":
        yield _untrusted(found, where)
    elif found.failed:
        yield bad(text[found.failed], command[found.failed], code.get(found.failed, ROUTE_DOWN))


def worth_knowing(found: Reach) -> Iterator[Finding]:
    """Say what is worth knowing of a server that is reached."""
    if found.tls and not found.verified:
        yield note(
            "anybody is taken for the server (tls.verify = false): for a bench, never for a house", "", SERVER_UNTRUSTED
        )
    if found.mtu is not None and found.mtu < MTU_MIN:
        yield note(
            f"packets on the way to {found.host} may have {found.mtu} bytes only",
            f"tracepath {shlex.quote(found.host)}",
        )
    for each in found.chain:
        days = each.days_left(found.now_s)
        if days < DAYS_SOON:
            text = f"the certificate of {found.host} ({each.name}) ends in {days:.0f} days"
            yield note(text, "tell whoever runs it", CERTIFICATE_ENDS, days=round(days, 1))


def _untrusted(found: Reach, where: str) -> Finding:
    """Say which certificate failed, and why."""
    chain = found.chain
    wrong = next((each for each in chain if each.state(found.now_s) != "ok"), chain[0] if chain else None)
    whose = f" {wrong.name}" if wrong is not None else ""
    command = "tell whoever runs it"
    now = rfc3339(int(found.now_s * 1e9))
    if found.verify_code in (EXPIRED, NOT_YET) and wrong is not None:
        ended = found.verify_code == EXPIRED
        at = rfc3339((wrong.not_after_s if ended else wrong.not_before_s) * 10**9)
        text = f"certificate{whose} {'ended' if ended else 'begins'} {at}; the clock here says {now}"
        command = "edge-gateway doctor clock" if not ended else command
    elif found.verify_code in (OTHER_NAME, OTHER_ADDRESS):
        names = ", ".join(chain[0].names) if chain else ""
        said = f"is for {names}, and not for {found.host}" if names else f"names no host, so not {found.host} either"
        text = f"certificate{whose} {said}"
        command = "write the host as it stands in the certificate, or tls.server_name"
    elif found.verify_code in (SELF_SIGNED, SELF_SIGNED_CHAIN) or (wrong is not None and wrong.own_issuer):
        text = f"certificate{whose} is signed by nobody but itself, or by an authority that is not known here"
        command = "if it is yours: tls.ca = its authority's certificate, in gateway.toml"
    elif found.verify_code in (NO_ISSUER, NO_ISSUER_HERE, NO_LEAF):
        issuer = chain[-1].issuer if chain else "?"
        text = f"certificate{whose}: its authority ({issuer}) is not known here"
        command = "tls.ca in gateway.toml, or: sudo apt install ca-certificates"
    else:
        text = f"certificate{whose}: {found.why}"
    return bad(f"{where} cannot prove who it is: {text}", command, SERVER_UNTRUSTED)
