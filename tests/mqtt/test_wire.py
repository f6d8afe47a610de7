"""Numbers and strings on the wire, at their edges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ProtocolError
from gateway.mqtt import wire


@given(st.integers(0, 268_435_455))
def test_varint_round_trip(value: int) -> None:
    """Every variable byte integer is read back, in as few bytes as section 1.5.5's table says."""
    raw = wire.varint(value)
    assert len(raw) == 1 + (value > 127) + (value > 16_383) + (value > 2_097_151)
    assert wire.Reader(wire.PUBLISH, raw, 0, len(raw)).varint() == value


def test_numbers_that_do_not_fit() -> None:
    """Too large a number is a ValueError."""
    for write, value in ((wire.varint, 1 << 28), (wire.u16, 1 << 16), (wire.u16, -1)):
        with pytest.raises(ValueError, match="does not fit"):
            write(value)


def test_byte_order_mark_is_kept() -> None:
    """U+FEFF is a character like others and must not be stripped (1.5.4-3)."""
    assert wire.text_of("\ufeffa".encode(), "topic") == "\ufeffa"


@pytest.mark.parametrize("raw", [b"\xed\xa0\x80", b"\xc0\x80", b"\xf8\x88\x80\x80\x80", b"a\0", b"\xff"])
def test_strings_that_are_none(raw: bytes) -> None:
    """Surrogates, overlong forms, U+0000 and stray bytes are malformed."""
    with pytest.raises(ProtocolError) as caught:
        wire.text_of(raw, "topic")
    assert caught.value.reason_code == 0x81
