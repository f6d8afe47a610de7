"""Commands as devices take them: lines and bytes of a port, the field the other way round, terms; and their faults."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.document import Document
from gateway.errors import ConfigError, DecodeError
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.compile import compile_profile
from gateway.profiles.decode import Decoder
from tests.profiles.deliveries import decoder, delivery

SERIAL = """schema = 1
id = "t"
title = "t"
device_class = "thermostat"
[link]
kind = "serial"
baud = 9600
framing = { type = "line", end = "\\r" }
[decode]
format = { type = "split", sep = ";", names = ["node", "temp", "mode"] }
[device]
id = "t:{/node}"
[[field]]
name = "setpoint.heat"
from = "/temp"
unit = "[degF]"
scale = 0.5
[[field]]
name = "mode"
from = "/mode"
map = { 0 = "off", 1 = "heat", 2 = "auto", 3 = "auto" }
[[command]]
name = "set_setpoint"
field = "setpoint.heat"
arg = { type = "number", unit = "Cel", min = 5, max = 30, step = 0.5 }
inverse = true
line = "{/node};T;$value"
confirm = { within = "2s" }
rate = "5s"
expires = "2h"
[[command]]
name = "set_mode"
field = "mode"
arg = { type = "enum", values = ["off", "heat", "auto"] }
inverse = true
hex = "a5 {/node} $value $value:2 $value:2le"
[[command]]
name = "say"
arg = { type = "text" }
line = "{/node};S;$value"
confirm = { within = "1s", field = "mode" }
[[command]]
name = "toggle"
line = "{/node};X"
once = true
"""


@pytest.fixture
def made() -> Decoder:
    """Return a decoder that has heard node 07."""
    found = decoder(Catalogue([compile_profile(Document(SERIAL, "t.toml"))]), profiles=["t"])
    found.decode(delivery("house", b"07;140;1"))
    return found


@pytest.mark.parametrize(
    ("command", "value", "sent"),
    [
        ("set_setpoint", 20, b"07;T;136\r"),
        ("set_setpoint", 20.5, b"07;T;137.8\r"),
        ("set_mode", "off", b"\xa5\x07\x00\x00\x00\x00\x00"),
        ("set_mode", "auto", b"\xa5\x07\x02\x00\x02\x02\x00"),
        ("say", "good day", b"07;S;good day\r"),
        ("toggle", None, b"07;X\r"),
    ],
)
def test_what_goes_down_the_line(made: Decoder, command: str, value: Any, sent: bytes) -> None:
    """A command is the field the other way round, as a line with its end or as bytes, to the port of the device."""
    assert made.encode("house/t:07", command, value) == ("house", sent)


@pytest.mark.parametrize(
    ("command", "value", "why"),
    [
        ("set_setpoint", 31, "outside 5 to 30"),
        ("say", "a\r07;X", "is not a text"),
        ("set_mode", "warm", "not one of"),
        ("set_moed", 1, "did you mean 'set_mode'"),
    ],
)
def test_what_does_not(made: Decoder, command: str, value: Any, why: str) -> None:
    """What is out of range or would end the line is refused with the reason."""
    with pytest.raises(DecodeError, match=why):
        made.encode("house/t:07", command, value)


def test_what_counts_beside_the_bytes(made: Decoder) -> None:
    """How often, how long and how it is confirmed is known without sending anything."""
    terms = made.terms("house/t:07", "set_setpoint")
    assert (terms.rate_s, terms.expires_s, terms.once) == (5, 7200, False)
    assert terms.confirm is not None
    assert terms.confirm.within == "2s"
    assert made.terms("house/t:07", "toggle").once
    with pytest.raises(DecodeError, match="has not been heard"):
        made.terms("house/t:99", "toggle")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('line = "{/node};X"', 'line = "{/nood};X"', "{/nood} is not known of a device"),
        ('line = "{/node};X"', 'line = "{/node};X"\ntopic = "a"', "a `line` has no `topic`"),
        ('line = "{/node};X"', 'hex = "a5 5"', '"a5 5" is not bytes in hexadecimal'),
        ('line = "{/node};X"', 'hex = "a5"\ntext = "x"', "a command has one of"),
        ('rate = "5s"', 'rate = "5 s"', "'5 s' is no duration"),
        ('"Cel", min', '"°C", min', "'°C' is not what rules say (write 'Cel')"),
        ("min = 5", "min = 50", "min 50 is more than max 30"),
        ("step = 0.5", "step = 0", "a step is more than 0"),
        (', values = ["off", "heat", "auto"]', "", "an enum has `values`"),
        ('{ type = "text" }', '{ type = "text", min = 5 }', "'min' is for a number"),
        ('field = "mode"\n', "", "`inverse` needs the `field` that is read"),
        ('field = "mode"', 'field = "moode"', "no field 'moode' here (did you mean 'mode'?)"),
        ('"1s", field = "mode" }', '"1s", field = "mode", topic = "a" }', "`confirm` has one of"),
        ('"1s", field = "mode" }', '"1s" }', "nothing confirms it"),
        ('"1s", field = "mode" }', '"1s", topic = "a/b" }', "no message here reads 'a/b'"),
        ("once = true", 'confirm = { within = "1s", field = "x" }', "no field 'x' here"),
    ],
)
def test_faults_of_commands(old: str, new: str, fault: str) -> None:
    """What a command cannot be is a fault at its line, with what was probably meant."""
    assert old in SERIAL
    with pytest.raises(ConfigError) as caught:
        compile_profile(Document(SERIAL.replace(old, new, 1), "t.toml"))
    assert fault in str(caught.value)
    assert all(found.line and found.line > 3 for found in caught.value.faults)


def test_what_comes_back_on_a_topic_confirms() -> None:
    """A command whose echo a message reads is confirmed by that field, whatever the dialect's prefix is here."""
    made = decoder(Catalogue.load(), prefixes={"frigate": "cams/nvr"})
    made.decode(delivery("cams/nvr/yard/motion", "ON"))
    (device,) = made.values
    assert made.encode(device, "set_detect", value=True) == ("cams/nvr/yard/detect/set", b"ON")
    expected = made.expected(device, "set_detect", value=True)
    assert expected is not None
    field, value, _, within_s = expected
    assert (field, within_s) == ("setting.detect", 5)
    made.decode(delivery("cams/nvr/yard/detect/state", "OFF"))
    assert made.values[device][field] != value
    made.decode(delivery("cams/nvr/yard/detect/state", "ON"))
    assert made.values[device][field] == value
