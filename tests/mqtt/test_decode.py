"""What the decoder refuses, with which words, and that nothing else than its own error ever escapes."""

from __future__ import annotations

import contextlib
import random

import pytest

from gateway.errors import ProtocolError
from gateway.mqtt import packet as p
from gateway.mqtt.codec import Decoder, encode
from gateway.mqtt.wire import varint
from tests.mqtt.packets import EXAMPLES

MALFORMED, PROTOCOL = 0x81, 0x82
_CONNECT = "00044d515454"  # the protocol name
_CLEAN_311 = _CONNECT + "04" + "02003c"
_CLEAN_5 = _CONNECT + "05" + "02003c"

REFUSED: list[tuple[int | None, str, int, str]] = [
    # fixed header
    (5, "0000", MALFORMED, "packet type 0 is reserved"),
    (4, "f000", MALFORMED, "packet type 15 is reserved"),
    (5, "c100", MALFORMED, "PINGREQ: reserved flags are 1"),
    (5, "c001ff", MALFORMED, "PINGREQ: 1 bytes too many"),
    (5, "60020001", MALFORMED, "PUBREL: reserved flags are 0"),
    (5, "8000", MALFORMED, "SUBSCRIBE: reserved flags are 0"),
    (5, "30ffffffff01", MALFORMED, "PUBLISH: remaining length over four bytes"),
    (5, "c08000", MALFORMED, "PINGREQ: remaining length is longer than needed"),
    (5, "308000", MALFORMED, "PUBLISH: remaining length is longer than needed"),
    (None, "c000", PROTOCOL, "PINGREQ before CONNECT"),
    (None, "0000", PROTOCOL, "type 0 before CONNECT"),
    # PUBLISH
    (4, "3000", MALFORMED, "PUBLISH: ends too early"),
    (4, "300100", MALFORMED, "PUBLISH: ends too early"),
    (4, "300300" + "0561", MALFORMED, "PUBLISH: ends too early"),
    (4, "32030001" + "61", MALFORMED, "PUBLISH: ends too early"),
    (4, "3204000161" + "00", MALFORMED, "PUBLISH: ends too early"),
    (5, "3003000161", MALFORMED, "PUBLISH: ends too early"),
    (4, "3205000161" + "0000", PROTOCOL, "PUBLISH: packet identifier 0"),
    (4, "3605000161" + "0001", MALFORMED, "PUBLISH: QoS 3"),
    (4, "3803000161", MALFORMED, "PUBLISH: DUP at QoS 0"),
    (4, "30020000", 0x90, "PUBLISH: invalid topic ''"),
    (5, "3003000000", 0x90, "PUBLISH: invalid topic ''"),
    (4, "3005000361" + "2f23", 0x90, "PUBLISH: invalid topic 'a/#'"),
    (4, "30030001" + "2b", 0x90, "PUBLISH: invalid topic '+'"),
    (4, "30030001" + "00", MALFORMED, "PUBLISH: topic: U+0000 in a string"),
    (4, "30030001" + "ff", MALFORMED, "PUBLISH: topic: not UTF-8 at byte 0"),
    (4, "30050003" + "eda080", MALFORMED, "PUBLISH: topic: not UTF-8 at byte 0"),  # a surrogate
    (4, "30040002" + "c080", MALFORMED, "PUBLISH: topic: not UTF-8 at byte 0"),  # overlong NUL
    (5, "3006000161" + "03" + "2300", MALFORMED, "PUBLISH: properties run past the end"),
    (5, "3007000161" + "03" + "230000", 0x94, "PUBLISH: topic_alias 0 is out of range"),
    (5, "300a000161" + "06" + "230001230001", PROTOCOL, "PUBLISH: property topic_alias twice"),
    (5, "3006000161" + "02" + "0b00", PROTOCOL, "PUBLISH: subscription_identifier 0 is out of range"),
    (5, "3006000161" + "02" + "0102", PROTOCOL, "PUBLISH: payload_format_indicator 2 is out of range"),
    (5, "3006000161" + "02" + "2401", PROTOCOL, "PUBLISH: property maximum_qos is not allowed in PUBLISH"),
    (5, "3006000161" + "02" + "7f01", MALFORMED, "PUBLISH: unknown property 0x7F"),
    (5, "3008000161" + "04" + "08000123", 0x90, "PUBLISH: invalid response topic"),
    (5, "3008000161" + "04" + "030001ff", MALFORMED, "PUBLISH: content_type: not UTF-8 at byte 0"),
    # answers
    (4, "40020000", PROTOCOL, "PUBACK: packet identifier 0"),
    (5, "4003000000", PROTOCOL, "PUBACK: packet identifier 0"),
    (4, "400100", MALFORMED, "PUBACK: ends too early"),
    (4, "4003000100", MALFORMED, "PUBACK: 1 bytes too many"),
    (5, "500500011000" + "00", MALFORMED, "PUBREC: 1 bytes too many"),
    (5, "4006000100" + "02" + "2401", PROTOCOL, "PUBACK: property maximum_qos is not allowed in PUBACK"),
    # CONNECT and CONNACK
    (None, "100c" + "00064d514973647003" + "020000", 0x84, "CONNECT: protocol b'MQIsdp' level 3"),
    (None, "100c" + _CONNECT + "06" + "02003c" + "0000", 0x84, "CONNECT: protocol b'MQTT' level 6"),
    (None, "100c" + _CONNECT + "04" + "03003c" + "0000", MALFORMED, "CONNECT: reserved flag is 1"),
    (None, "100e" + _CONNECT + "04" + "42003c" + "00000000", MALFORMED, "CONNECT: password without a user name"),
    (None, "100c" + _CONNECT + "04" + "0a003c" + "0000", MALFORMED, "CONNECT: will QoS or retain without a will"),
    (None, "100c" + _CONNECT + "04" + "1e003c" + "0000", MALFORMED, "CONNECT: will QoS 3"),
    (None, "1011" + _CONNECT + "04" + "06003c" + "0000" + "0001230000", 0x90, "CONNECT: invalid will topic '#'"),
    (None, "100b" + _CONNECT + "04" + "02003c" + "00", MALFORMED, "CONNECT: ends too early"),
    (None, "100d" + _CLEAN_311 + "0001ff", MALFORMED, "CONNECT: client identifier: not UTF-8 at byte 0"),
    (None, "1010" + _CLEAN_5 + "03210000" + "0000", PROTOCOL, "CONNECT: receive_maximum 0 is out of range"),
    (None, "1010" + _CLEAN_5 + "03160000" + "0000", PROTOCOL, "CONNECT: authentication data without a method"),
    (5, "2003020000", MALFORMED, "CONNACK: reserved flags are 2"),
    (5, "2003018700", PROTOCOL, "CONNACK: session present in a refusal"),
    (5, "20020000", MALFORMED, "CONNACK: ends too early"),
    # SUBSCRIBE and UNSUBSCRIBE
    (4, "82020001", PROTOCOL, "SUBSCRIBE: no topic filter"),
    (4, "82060000" + "00016100", PROTOCOL, "SUBSCRIBE: packet identifier 0"),
    (4, "82060001" + "00016103", MALFORMED, "SUBSCRIBE: reserved subscription options 0x03"),
    (4, "82060001" + "00016104", MALFORMED, "SUBSCRIBE: reserved subscription options 0x04"),
    (5, "8207000100" + "00016140", MALFORMED, "SUBSCRIBE: reserved subscription options 0x40"),
    (5, "8207000100" + "00016130", PROTOCOL, "SUBSCRIBE: retain handling 3"),
    (4, "82070001" + "0002612300", 0x8F, "SUBSCRIBE: invalid topic filter 'a#'"),
    (5, "8210000100" + "000a" + b"$share/g/a".hex() + "04", PROTOCOL, "SUBSCRIBE: no local on a shared subscription"),
    (4, "a2020001", PROTOCOL, "UNSUBSCRIBE: no topic filter"),
    (4, "90020001", PROTOCOL, "SUBACK: no reason code"),
    (5, "b003000100", PROTOCOL, "UNSUBACK: no reason code"),
    (4, "e00100", MALFORMED, "DISCONNECT: 1 bytes too many"),
    (5, "e003008000" , MALFORMED, "DISCONNECT: variable byte integer is longer than needed"),
]  # fmt: skip


@pytest.mark.parametrize(("version", "raw", "reason_code", "what"), REFUSED)
def test_malformed_bytes(version: int | None, raw: str, reason_code: int, what: str) -> None:
    """Each breach is named exactly, with the reason code that a server would send."""
    with pytest.raises(ProtocolError) as caught:
        Decoder(version).feed(bytes.fromhex(raw))
    assert (str(caught.value), caught.value.reason_code) == (what, reason_code)


@pytest.mark.parametrize(("version", "packet"), EXAMPLES)
def test_every_truncation_of_every_packet(version: int, packet: p.Packet) -> None:
    """A packet whose body is cut short (its length made to fit) is another packet or a ProtocolError."""
    data = encode(packet, version)
    head = 1 + len(varint(len(data) - 2)) if len(data) > 130 else 2
    for size in range(min(len(data) - head, 300)):
        short = data[:1] + varint(size) + data[head : head + size]
        try:
            packets = Decoder(None if isinstance(packet, p.Connect) else version).feed(short)
        except ProtocolError:
            continue
        assert len(packets) == 1


@pytest.mark.parametrize(("version", "packet"), EXAMPLES)
def test_flipped_bytes(version: int, packet: p.Packet) -> None:
    """Any one byte of a packet set to anything gives packets, more waiting, or a ProtocolError."""
    data = encode(packet, version)
    chance = random.Random(len(data))
    for at in range(min(len(data), 60)):
        for value in [0, 1, 0x7F, 0x80, 0xFF, *(chance.randrange(256) for _ in range(20))]:
            broken = bytearray(data)
            broken[at] = value
            _feed_whole(version, bytes(broken))


@pytest.mark.parametrize("version", [None, 4, 5])
def test_random_bytes(version: int | None) -> None:
    """Ten thousand seeded strings of noise: the decoder answers or refuses, and holds no more than it may."""
    chance = random.Random(20_26)
    for _ in range(10_000):
        noise = chance.randbytes(chance.randrange(1, 60))
        if chance.random() < 0.7:  # a fitting header gets the noise past the frame
            noise = bytes((chance.randrange(256),)) + varint(len(noise)) + noise
        _feed_whole(version, noise)


def _feed_whole(version: int | None, data: bytes) -> None:
    decoder = Decoder(version, packet_bytes_max=100_000)
    with contextlib.suppress(ProtocolError):
        decoder.feed(data)
        decoder.feed(data)
    if decoder.error is not None:
        assert 0x80 <= decoder.error.reason_code <= 0xA2


def test_too_large_is_refused_by_its_header() -> None:
    """A packet over the limit is refused before its body arrives; one at the limit passes."""
    decoder = Decoder(4, packet_bytes_max=1000)
    payload = b"x" * (1000 - 3 - 3)
    data = encode(p.Publish("t", payload), 4)
    assert len(data) == 1000
    assert decoder.feed(data) == [p.Publish("t", payload)]
    with pytest.raises(ProtocolError, match="PUBLISH: 1001 bytes, allowed are 1000") as caught:
        decoder.feed(encode(p.Publish("t", payload + b"x"), 4)[:3])
    assert caught.value.reason_code == 0x95


def test_packets_before_the_fault_are_delivered() -> None:
    """What came whole before the bad bytes is handed out; the error is there at once and raised from then on."""
    decoder = Decoder(5)
    good = p.Publish("t", b"1", 1, packet_id=1)
    assert decoder.feed(encode(good, 5) + b"\x00\x00") == [good]
    assert decoder.error is not None
    for _ in range(2):
        with pytest.raises(ProtocolError, match="packet type 0"):
            decoder.feed(encode(good, 5))


def test_longer_length_than_needed_in_311() -> None:
    """3.1.1 does not forbid a remaining length in more bytes than needed; small clients send it so."""
    assert Decoder(4).feed(b"\xc0\x80\x00") == [p.Pingreq()]


def test_topic_cache_stays_bounded() -> None:
    """A device with ever new topics does not grow the decoder."""
    decoder = Decoder(4)
    for i in range(10_000):
        decoder.feed(encode(p.Publish(f"t/{i}", b""), 4))
    assert len(decoder._topics) <= 4096


def test_empty_topic_needs_its_alias_every_time() -> None:
    """An empty topic with an alias does not make an empty topic without one valid."""
    decoder = Decoder(5)
    decoder.feed(encode(p.Publish("", b"", properties=p.Properties(topic_alias=1)), 5))
    with pytest.raises(ProtocolError, match="invalid topic"):
        decoder.feed(encode(p.Publish("", b""), 5))
