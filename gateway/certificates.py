"""What a certificate says: whose it is, who signed it, from when until when; read with the standard library only.

X.509 (RFC 5280) is DER (X.690): each value is a tag, a length and that many bytes. Only what is asked for is read::

    Certificate     ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signature }
    tbsCertificate  ::= SEQUENCE { [0] version?, serial, algorithm, issuer, validity, subject, key, [3] extensions? }
    validity        ::= SEQUENCE { notBefore, notAfter }     each UTCTime (1950-2049) or GeneralizedTime

This reads; it judges no signature: whether a chain holds is for OpenSSL to say, in a handshake. A server's certificates
come from `SSLObject.getpeercert(binary_form=True)` (the first of them), or all from `handshake_chain`, which reads what
the server sends in TLS 1.2, where certificates are not encrypted yet: Python before 3.13 shows no chain.

Everything raises ValueError for bytes that are not what they should be, after a bounded number of steps.
"""

from __future__ import annotations

import binascii
import hashlib
import ipaddress
import re
from calendar import timegm
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

CERTIFICATES_MAX: Final = 1000  # in one file: a system's bundle has some 150
FILE_BYTES_MAX: Final = 4 << 20
NAMES_MAX: Final = 200  # of one certificate
NAME_CHARS_MAX: Final = 300
HANDSHAKE_BYTES_MAX: Final = 256 << 10  # of what a server says before we answer
DAY_S: Final = 86_400
ENDLESS_S: Final = 253_402_300_799  # 9999-12-31T23:59:59Z: has no end (RFC 5280 4.1.2.5)

_SEQUENCE, _SET, _INTEGER, _OID, _OCTETS, _BOOLEAN = 0x30, 0x31, 0x02, 0x06, 0x04, 0x01
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS, _URI, _ADDRESS, _MAIL = 0x82, 0x86, 0x87, 0x81  # in subjectAltName
_ALTERNATIVE, _CONSTRAINTS = b"\x55\x1d\x11", b"\x55\x1d\x13"  # 2.5.29.17, 2.5.29.19
_WORDS = {b"\x55\x04\x03": "CN", b"\x55\x04\x0a": "O", b"\x55\x04\x0b": "OU", b"\x55\x04\x06": "C"}  # 2.5.4.n
_ENCODINGS = {0x1E: "utf-16-be", 0x1C: "utf-32-be", 0x14: "latin-1"}  # BMP, Universal, Teletex; all others are UTF-8
_BEGIN = b"-----BEGIN CERTIFICATE-----"
_PEM = re.compile(_BEGIN + rb"([^-]*)-----END CERTIFICATE-----")
_TIME = re.compile(rb"(\d\d|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)?(Z|[+-]\d{4})")

State = Literal["ok", "expired", "not yet valid"]


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate. Times are seconds since 1970, UTC."""

    subject: str  # "CN=mqtt.example.com, O=Example"
    issuer: str
    names: tuple[str, ...]  # hosts, addresses and URIs it is for
    not_before_s: int
    not_after_s: int
    authority: bool  # it may sign others
    own_issuer: bool  # subject and issuer are the same: a root, or signed by itself
    fingerprint: str  # SHA-256 of its bytes, hex

    @property
    def name(self) -> str:
        """Return how a person knows it: its common name, else the first name it is for, else the subject."""
        common = next((part[3:] for part in self.subject.split(", ") if part.startswith("CN=")), "")
        return common or next(iter(self.names), "") or self.subject or f"without a name, {self.fingerprint[:16]}"

    @property
    def endless(self) -> bool:
        """Return whether it says that it has no end."""
        return self.not_after_s >= ENDLESS_S

    def state(self, now_s: float) -> State:
        """Return whether it is valid at a time."""
        if now_s < self.not_before_s:
            return "not yet valid"
        return "expired" if now_s > self.not_after_s else "ok"

    def days_left(self, now_s: float) -> float:
        """Return how many days it is still valid; below 0 for how many it is over."""
        return (self.not_after_s - now_s) / DAY_S


class _Value(NamedTuple):
    tag: int
    content: bytes
    whole: bytes  # with tag and length


def parse(der: bytes) -> Certificate:
    """Read one certificate. ValueError when it is none."""
    outer = _values(_one(der, _SEQUENCE))
    fields = _values(_expect(outer, 0, _SEQUENCE))
    if fields and fields[0].tag == _VERSION:
        fields = fields[1:]
    _expect(fields, 0, _INTEGER)
    issuer, subject = _expect(fields, 2, _SEQUENCE), _expect(fields, 4, _SEQUENCE)
    validity = _values(_expect(fields, 3, _SEQUENCE))
    if len(validity) != 2:
        raise ValueError("a certificate has a first and a last moment")
    extensions = next((value.content for value in fields[6:] if value.tag == _EXTENSIONS), None)
    names, authority = _extensions(extensions) if extensions is not None else ((), False)
    return Certificate(
        subject=_distinguished(subject),
        issuer=_distinguished(issuer),
        names=names,
        not_before_s=_moment(validity[0]),
        not_after_s=_moment(validity[1]),
        authority=authority,
        own_issuer=subject == issuer,
        fingerprint=hashlib.sha256(der).hexdigest(),
    )


def certificates_in(content: bytes) -> list[Certificate]:
    """Read the certificates of a file, PEM (keys and text between them do not count) or DER, in its order.

    ValueError when there is none, or one that cannot be read.
    """
    if len(content) > FILE_BYTES_MAX:
        raise ValueError(f"it is larger than {FILE_BYTES_MAX >> 20} MB")
    if content[:1] == bytes([_SEQUENCE]):
        return [parse(content)]
    blocks = [block[1] for block in _PEM.finditer(content)]
    begun = content.count(_BEGIN)
    if not begun:
        raise ValueError(f"there is no certificate in it ({_BEGIN.decode()})")
    if begun > CERTIFICATES_MAX:
        raise ValueError(f"more than {CERTIFICATES_MAX} certificates")
    if begun != len(blocks):
        raise ValueError("a certificate in it is cut off")
    found = []
    for number, block in enumerate(blocks, 1):
        try:
            found.append(parse(binascii.a2b_base64(block)))
        except ValueError as error:
            raise ValueError(f"certificate {number} cannot be read: {error}") from None
    return found


def first_to_end(chain: Sequence[Certificate]) -> Certificate:
    """Return the certificate of a chain that ends first. ValueError for none."""
    return min(chain, key=lambda certificate: certificate.not_after_s)


def handshake_chain(received: bytes) -> list[bytes]:
    """Return the certificates (DER) in what a TLS 1.2 server sent, its own first; none where it sent none so far.

    `received` is records of TLS (RFC 5246 6.2, 7.4.2), the last perhaps not whole.
    """
    handshake = b"".join(_handshake_records(received[:HANDSHAKE_BYTES_MAX]))
    at = 0
    while at + 4 <= len(handshake):
        kind, length = handshake[at], int.from_bytes(handshake[at + 1 : at + 4], "big")
        body = handshake[at + 4 : at + 4 + length]
        if kind == 11 and len(body) == length:  # certificate: 3 bytes of length, then each with 3 of its own
            return list(_certificate_list(body))
        at += 4 + length
    return []


def _handshake_records(received: bytes) -> Iterator[bytes]:
    at = 0
    while at + 5 <= len(received):
        kind, length = received[at], int.from_bytes(received[at + 3 : at + 5], "big")
        if kind == 20:  # change cipher spec: all that follows is encrypted
            return
        if kind == 22:
            yield received[at + 5 : at + 5 + length]
        at += 5 + length


def _certificate_list(body: bytes) -> Iterator[bytes]:
    at, end = 3, min(len(body), 3 + int.from_bytes(body[:3], "big"))
    for _ in range(CERTIFICATES_MAX):
        if at + 3 > end:
            return
        length = int.from_bytes(body[at : at + 3], "big")
        if at + 3 + length > end:
            raise ValueError("a certificate in the handshake is cut off")
        yield body[at + 3 : at + 3 + length]
        at += 3 + length


# ---- DER ---------------------------------------------------------------------------------------------------------


def _values(content: bytes) -> list[_Value]:
    """Split the content of a constructed value. ValueError when lengths do not add up."""
    found, at = [], 0
    while at < len(content):
        start = at
        if at + 2 > len(content) or content[at] & 0x1F == 0x1F:
            raise ValueError("not DER")
        tag, length = content[at], content[at + 1]
        at += 2
        if length >= 0x80:
            size = length & 0x7F
            if not 1 <= size <= 4 or at + size > len(content):  # 0x80, a length that is not said, is not DER
                raise ValueError("not DER")
            length = int.from_bytes(content[at : at + size], "big")
            at += size
        if at + length > len(content):
            raise ValueError("it is cut off")
        found.append(_Value(tag, content[at : at + length], content[start : at + length]))
        at += length
    return found


def _one(der: bytes, tag: int) -> bytes:
    values = _values(der)
    if len(values) != 1:
        raise ValueError("not one value of DER")
    return _expect(values, 0, tag)


def _expect(values: list[_Value], index: int, tag: int) -> bytes:
    if index >= len(values) or values[index].tag != tag:
        raise ValueError("it is DER, but no certificate")
    return values[index].content


def _distinguished(content: bytes) -> str:
    """Write a distinguished name as ``CN=..., O=...``; other attributes than the usual are left out."""
    parts = []
    for group in _values(content)[:NAMES_MAX]:
        for pair in _values(group.content)[:NAMES_MAX] if group.tag == _SET else ():
            attribute = _values(pair.content)
            word = _WORDS.get(attribute[0].content) if len(attribute) == 2 else None
            if word is not None:
                parts.append(f"{word}={_text(attribute[1])}")
    return ", ".join(sorted(parts, key=lambda part: not part.startswith("CN=")))[:NAME_CHARS_MAX]


def _text(value: _Value) -> str:
    """Decode one of the string types; what a terminal would act on is replaced."""
    text = value.content.decode(_ENCODINGS.get(value.tag, "utf-8"), "replace")[:NAME_CHARS_MAX]
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _extensions(content: bytes) -> tuple[tuple[str, ...], bool]:
    """Return the alternative names, and whether it may sign others."""
    names: tuple[str, ...] = ()
    authority = False
    for extension in _values(_one(content, _SEQUENCE)):
        parts = _values(extension.content)
        if len(parts) < 2 or parts[-1].tag != _OCTETS:
            raise ValueError("an extension is not one")
        if parts[0].content == _ALTERNATIVE:
            names = tuple(filter(None, map(_name, _values(_one(parts[-1].content, _SEQUENCE))[:NAMES_MAX])))
        elif parts[0].content == _CONSTRAINTS:
            first = _values(_one(parts[-1].content, _SEQUENCE))[:1]
            authority = bool(first and first[0].tag == _BOOLEAN and first[0].content != b"\0")
    return names, authority


def _name(value: _Value) -> str:
    if value.tag == _ADDRESS:
        return str(ipaddress.ip_address(value.content)) if len(value.content) in (4, 16) else ""
    return _text(value) if value.tag in (_DNS, _URI, _MAIL) else ""


def _moment(value: _Value) -> int:
    """Read a UTCTime or GeneralizedTime into seconds since 1970."""
    parts = _TIME.fullmatch(value.content)
    if parts is None or len(parts[1]) != {_UTC_TIME: 2, _GENERALIZED_TIME: 4}.get(value.tag):
        raise ValueError("a time in it is none")
    year = int(parts[1])
    if value.tag == _UTC_TIME:
        year += 1900 if year >= 50 else 2000  # RFC 5280 4.1.2.5.1
    month, day, hour, minute = (int(parts[number]) for number in (2, 3, 4, 5))
    second = int(parts[6] or 0)
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60 and year):
        raise ValueError("a time in it is none")
    zone = parts[7]
    ahead_s = 0 if zone == b"Z" else (int(zone[1:3]) * 60 + int(zone[3:])) * (-60 if zone[:1] == b"-" else 60)
    return timegm((year, month, day, hour, minute, second)) - ahead_s
