"""Certificates: made by openssl with odd dates and names, and bytes that are none."""

from __future__ import annotations

import random
import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.certificates import (
    CERTIFICATES_MAX,
    ENDLESS_S,
    FILE_BYTES_MAX,
    certificates_in,
    first_to_end,
    handshake_chain,
    parse,
)
from tests.mqtt.authority import Authority

_CONFIG = """
[ca]
default_ca = house
[house]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
unique_subject = no
x509_extensions = {extensions}
[any]
commonName = optional
organizationName = optional
[req]
distinguished_name = dn
[dn]
[leaf]
subjectAltName = {names}
basicConstraints = CA:FALSE
[root]
basicConstraints = critical,CA:TRUE
[none]
"""


class Dated:
    """Makes certificates signed by themselves whose first and last moment are written as one likes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = folder / "key.pem"
        (folder / "index.txt").write_text("")
        (folder / "serial").write_text("01")
        curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        subprocess.run(["openssl", "genpkey", *curve, "-out", self.key], check=True, capture_output=True)

    def make(self, start: str, end: str, subject: str, extensions: str = "none", names: str = "DNS:x") -> bytes:
        """Return PEM."""
        config, request, made = (self.folder / name for name in ("ca.cnf", "request.pem", "made.pem"))
        config.write_text(_CONFIG.format(folder=self.folder, extensions=extensions, names=names))
        common = ("-config", config)
        self._openssl("req", "-new", *common, "-utf8", "-key", self.key, "-subj", subject, "-out", request)
        dates = ("-startdate", start, "-enddate", end)
        sign = ("-batch", "-selfsign", "-utf8", "-notext", "-keyfile", self.key, "-in", request, "-out", made)
        self._openssl("ca", *common, *sign, *dates)
        return made.read_bytes()

    @staticmethod
    def _openssl(*arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> Dated:
    """Make an authority with the dates one likes."""
    return Dated(tmp_path_factory.mktemp("dated"))


def _at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        ("700101000000Z", "491231235959Z", "1970-01-01T00:00:00", "2049-12-31T23:59:59"),
        ("500101000000Z", "20500101000000Z", "1950-01-01T00:00:00", "2050-01-01T00:00:00"),
        ("20261123060242Z", "99991231235959Z", "2026-11-23T06:02:42", "9999-12-31T23:59:59"),
        ("19491231235959Z", "19700101000001Z", "1949-12-31T23:59:59", "1970-01-01T00:00:01"),
    ],
)
def test_dates_of_both_kinds(dated: Dated, start: str, end: str, first: str, last: str) -> None:
    """A certificate's moments are read whatever century and encoding they have, as openssl reads them."""
    (found,) = certificates_in(dated.make(start, end, "/CN=old"))
    assert (found.not_before_s, found.not_after_s) == (_at(first), _at(last))


def test_says_how_long_it_is_valid(dated: Dated) -> None:
    """Days are counted to its end, below zero after it; one until 9999 has no end."""
    (found,) = certificates_in(dated.make("20260101000000Z", "20260111000000Z", "/CN=short"))
    assert found.days_left(_at("2026-01-01")) == 10
    assert found.days_left(_at("2026-01-12T12:00:00")) == -1.5
    assert found.state(_at("1970-01-01")) == "not yet valid"
    assert found.state(_at("2026-01-11")) == "ok"
    assert found.state(_at("2026-01-12")) == "expired"
    (endless,) = certificates_in(dated.make("19700101000000Z", "99991231235959Z", "/CN=for ever"))
    assert endless.endless
    assert not found.endless
    assert first_to_end([endless, found]) is found


def test_names(dated: Dated) -> None:
    """A certificate says its common name first, and the hosts and addresses it is for."""
    names = "DNS:mqtt.example.com,DNS:*.example.com,IP:192.0.2.7,IP:2001:db8::1,URI:urn:x:1"
    made = dated.make("20260101000000Z", "20260111000000Z", "/O=Häuser/CN=Türe 7", "leaf", names)
    (found,) = certificates_in(made)
    assert (found.subject, found.issuer, found.name) == ("CN=Türe 7, O=Häuser", "CN=Türe 7, O=Häuser", "Türe 7")
    assert found.names == ("mqtt.example.com", "*.example.com", "192.0.2.7", "2001:db8::1", "urn:x:1")
    assert not found.authority
    (root,) = certificates_in(dated.make("20260101000000Z", "20260111000000Z", "/O=Root", "root"))
    assert root.authority
    assert root.own_issuer
    assert root.name == "O=Root"


def test_a_name_that_would_move_the_cursor(dated: Dated) -> None:
    """What a terminal would act on is replaced in names from outside."""
    (found,) = certificates_in(dated.make("20260101000000Z", "20260111000000Z", "/CN=a\x1b[2Jb"))
    assert found.name == "a\N{REPLACEMENT CHARACTER}[2Jb"


def test_a_chain_in_a_file(authority: Authority) -> None:
    """A file may hold several certificates, keys and text between them; their order stays."""
    leaf, key = authority.issue("chain")
    content = (
        b"Bag Attributes\n" + key.read_bytes() + leaf.read_bytes() + b"\nroot:\n" + authority.certificate.read_bytes()
    )
    assert [found.name for found in certificates_in(content)] == ["chain", "Test CA"]
    assert [found.own_issuer for found in certificates_in(content)] == [False, True]
    der = ssl.PEM_cert_to_DER_cert(leaf.read_text())
    assert certificates_in(der) == certificates_in(leaf.read_bytes())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no certificate in it"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "no certificate in it"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB", "cut off"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "certificate 1 cannot be read"),
        (b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----", "certificate 1 cannot be read"),
        (b"\x30\x80\x00\x00", "not DER"),
        (b"\x30\x84\xff\xff\xff\xff", "cut off"),
        (b"-----BEGIN CERTIFICATE-----" * (CERTIFICATES_MAX + 1), "more than"),
        (b"x" * (FILE_BYTES_MAX + 1), "larger than"),
    ],
)
def test_what_is_no_certificate(content: bytes, why: str) -> None:
    """A file without a certificate, or a broken one, says what is wrong with it."""
    with pytest.raises(ValueError, match=why):
        certificates_in(content)


def test_damaged_bytes_raise_valueerror_only(authority: Authority) -> None:
    """Whatever bytes of a certificate are changed or cut, it is read or refused, never anything else."""
    der = ssl.PEM_cert_to_DER_cert(authority.issue("fuzz")[0].read_text())
    chance = random.Random(7)
    refused = 0
    for _ in range(3000):
        broken = bytearray(der[: chance.randrange(len(der))] if chance.random() < 0.3 else der)
        for _ in range(chance.randrange(1, 6)):
            if broken:
                broken[chance.randrange(len(broken))] = chance.randrange(256)
        try:
            parse(bytes(broken))
        except ValueError:
            refused += 1
    assert refused > 1000


def test_a_servers_whole_chain_is_seen_in_its_handshake(authority: Authority, tmp_path: Path) -> None:
    """What a TLS 1.2 server sends before anything is encrypted holds its certificates, in their order."""
    leaf, key = authority.issue("server")
    chain = tmp_path / "chain.pem"
    chain.write_bytes(leaf.read_bytes() + authority.certificate.read_bytes())
    assert [parse(der).name for der in handshake_chain(_handshake(chain, key))] == ["server", "Test CA"]


def _handshake(chain: Path, key: Path) -> bytes:
    """Return what a real TLS server answers to a ClientHello of TLS 1.2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    serving = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.maximum_version = ssl.TLSVersion.TLSv1_2
    client = ours.wrap_bio(*asking, server_hostname="localhost")
    server = context.wrap_bio(*serving, server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    serving[0].write(asking[1].read())
    with pytest.raises(ssl.SSLWantReadError):
        server.do_handshake()
    return serving[1].read()


@pytest.mark.parametrize(
    "received", [b"", b"\x16", b"\x15\x03\x03\x00\x02\x02\x28", b"HTTP/1.1 400 Bad", b"\xff" * 5000]
)
def test_a_server_that_sent_no_certificate(received: bytes) -> None:
    """An alert, another protocol, or a part of a record holds no certificates."""
    assert handshake_chain(received) == []


def test_a_handshake_that_lies_about_lengths() -> None:
    """A list of certificates whose inner length is beyond its end is refused."""
    body = b"\x00\x00\x06" + b"\x00\xff\xff" + b"abc"
    message = b"\x0b" + len(body).to_bytes(3, "big") + body
    with pytest.raises(ValueError, match="cut off"):
        handshake_chain(b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message)


def test_endless_is_the_moment_of_the_standard() -> None:
    """The moment that means "no end" is the last second of 9999."""
    assert datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp() == ENDLESS_S
