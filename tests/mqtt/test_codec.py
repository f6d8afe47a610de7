"""The codec as a whole: what is written is read back, in any pieces, within its limits."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ProtocolError
from gateway.mqtt import packet as p
from gateway.mqtt.codec import Decoder, encode
from tests.mqtt.packets import EXAMPLES, packets


@settings(max_examples=250, deadline=None)
@given(st.sampled_from([4, 5]).flatmap(lambda v: st.tuples(st.just(v), st.lists(packets(v), min_size=1, max_size=4))))
def test_round_trip_every_packet(case: tuple[int, list[p.Packet]]) -> None:
    """Any packets, written one behind the other, are read back equal."""
    version, sent = case
    assert Decoder(version).feed(b"".join(encode(packet, version) for packet in sent)) == sent


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from([4, 5]).flatmap(lambda v: st.tuples(st.just(v), st.lists(packets(v), min_size=1, max_size=4))),
    st.randoms(),
)
def test_round_trip_in_any_pieces(case: tuple[int, list[p.Packet]], chance: random.Random) -> None:
    """However the bytes are cut, the same packets come out."""
    version, sent = case
    data = b"".join(encode(packet, version) for packet in sent)
    decoder, got = Decoder(version), []
    at = 0
    while at < len(data):
        step = chance.choice([1, 1, 2, 3, 7, 50])
        got += decoder.feed(memoryview(data)[at : at + step])
        at += step
    assert got == sent


@pytest.mark.parametrize(("version", "packet"), EXAMPLES)
def test_every_split_of_every_packet(version: int, packet: p.Packet) -> None:
    """A packet cut anywhere comes out exactly once, with the second piece."""
    data = encode(packet, version)
    for cut in range(1, min(len(data), 400)):
        decoder = Decoder(version)
        assert decoder.feed(data[:cut]) == []
        assert decoder.feed(data[cut:] + encode(p.Pingreq(), version)) == [packet, p.Pingreq()]


def test_server_learns_the_version_from_connect() -> None:
    """A decoder without a version reads CONNECT and what follows it in the version that CONNECT names."""
    for version in (4, 5):
        decoder = Decoder()
        connect = p.Connect("c", version)
        publish = p.Publish("t", b"\0\0", 1, packet_id=1)
        assert decoder.feed(encode(connect, version) + encode(publish, version)) == [connect, publish]
        assert decoder.version == version


def test_server_refuses_anything_before_connect() -> None:
    """The first packet from a client must be CONNECT."""
    for packet in (p.Publish("t", b""), p.Puback(1), p.Pingreq()):
        with pytest.raises(ProtocolError, match="before CONNECT"):
            Decoder().feed(encode(packet, 4))
