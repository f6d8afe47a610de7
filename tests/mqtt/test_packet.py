"""The words for reason codes, and that a packet shown to a person keeps its secret."""

from __future__ import annotations

from gateway.mqtt import packet as p


def test_reason_names_are_the_specifications() -> None:
    """A reason code is told in the specification's words; one it does not know as a number."""
    assert p.reason_name(0x87) == "Not authorized"
    assert p.reason_name(0x9B) == "QoS not supported"
    assert p.reason_name(0xC3) == "0xC3"


def test_connack_codes_of_311() -> None:
    """3.1.1's return codes mean the same as their MQTT 5 reason codes."""
    assert [p.connack_reason(code, 4) for code in range(7)] == [0, 0x84, 0x85, 0x88, 0x86, 0x87, 0x80]
    assert p.connack_reason(0x87, 5) == 0x87


def test_connect_does_not_show_its_password() -> None:
    """A CONNECT in a log or a traceback shows neither password nor will payload."""
    shown = repr(p.Connect("c", username="anna", password=b"secret", will=p.Will("t", b"hidden")))
    assert "anna" in shown
    assert "secret" not in shown
    assert "hidden" not in shown
