"""Polled profiles: registers to fields by what was asked, commands to requests, and what a profile may not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.document import Document
from gateway.errors import ConfigError, DecodeError
from gateway.polling.plan import Choice, Step, Write, decoded
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.compile import compile_profile
from gateway.profiles.decode import Decoder
from gateway.profiles.replies import Reply, reply_of
from gateway.profiles.units import OfUnits, everybody
from tests.profiles.deliveries import decoder, delivery

UNIT = """schema = 1
id = "unit"
title = "A unit on a bus"
device_class = "thermostat"
[link]
kind = "serial"
baud = 9600
framing = { type = "modbus-rtu" }
[device]
id = "modbus:{address}"
[[poll]]
name = "state"
every = "10s"
function = 3
start = 2
count = 8
[[poll]]
name = "lamps"
every = "1m"
function = 1
start = 0
count = 10
[[field]]
name = "temperature"
from = "state/2"
type = "int16"
scale = 0.1
null = [32767, 65535]
[[field]]
name = "setpoint.heat"
from = "state/3"
unit_from = { from = "state/9", map = { 0 = "Cel", 1 = "[degF]" } }
[[field]]
name = "energy"
from = "state/4"
type = "float32"
words = "low-first"
unit = "kW.h"
[[field]]
name = "mode"
from = "state/6"
mask = 0x00F0
map = { 1 = "heat", 2 = "cool" }
force = [{ when = { path = "state/7", equals = 0 }, value = "off" }]
[[field]]
name = "ext.total"
type = "uint32"
from = "state/7"
when = [{ path = "state/9", exists = true }]
[[field]]
name = "on"
from = "lamps/9"
[[command]]
name = "set_setpoint"
field = "setpoint.heat"
arg = { type = "number", unit = "Cel", min = 5, max = 30, step = 0.5 }
write = { function = 6, register = 3 }
confirm = { readback = "state/3", within = "2s" }
[[command]]
name = "set_mode"
field = "mode"
arg = { type = "enum", values = ["off", "heat", "cool"] }
write = [{ when = "off", function = 6, register = 7, value = 0 }, { function = 16, register = 6, values = [16, 1] }]
[[command]]
name = "set_energy"
field = "energy"
arg = { type = "number", unit = "Wh" }
write = { function = 16, register = 4 }
[[command]]
name = "set_on"
field = "on"
arg = { type = "bool" }
write = { function = 5, register = 9, once = true }
"""
STATE = bytes.fromhex("ffef 0046 8000 4248 0010 0001 0002 0001")  # 50.125 as a float, its low word first


def made(text: str = UNIT) -> Decoder:
    """Return a decoder of the unit."""
    return decoder(Catalogue([compile_profile(Document(text, "unit.toml"))]), profiles=["unit"])


def fields(one: Decoder, topic: str, payload: bytes) -> dict[str, Any]:
    """Decode an answer."""
    got = one.decode(delivery(topic, payload))
    assert got.rejected is None
    assert not got.faults
    return got.readings[0].fields


def test_an_answer_is_read_by_what_was_asked() -> None:
    """Types, word order, masks, units in registers and conditions; the topic tells which poll it answers."""
    one = made()
    assert fields(one, "house/7/state", STATE) == {
        "temperature": -1.7, "setpoint.heat": 21.111111, "energy": 50125.0, "mode": "heat", "ext.total": 65538,
    }  # fmt: skip
    assert fields(one, "house/7/lamps", b"\x00\x02") == {"on": True}
    assert one.decode(delivery("house/7/lamps", STATE)).rejected == "an answer of 16 bytes to a poll of 2"
    assert one.decode(delivery("house/7/other", STATE)).unclaimed


def test_what_a_register_cannot_be_is_unknown() -> None:
    """Sentinels as manuals write them, also of a signed register, and a float that is no number are unknown."""
    for raw in ("7fff", "ffff"):
        assert fields(made(), "house/7/state", bytes.fromhex(raw) + STATE[2:])["temperature"] is None
    nan = STATE[:4] + bytes.fromhex("00007fc0") + STATE[8:]
    assert fields(made(), "house/7/state", nan)["energy"] is None


def test_force_holds_whatever_the_field_says() -> None:
    """A mode is off while the unit is switched off, even when its own register is nothing that is in the map."""
    off = STATE[:8] + bytes.fromhex("0090 0000") + STATE[12:]
    assert fields(made(), "house/7/state", off)["mode"] == "off"
    assert "mode" in made().decode(delivery("house/7/state", STATE[:8] + b"\0\x90" + STATE[10:])).faults[0]


def test_presence_is_said_of_the_device() -> None:
    """A unit that does not answer is offline and one that does again is online, each an event of its device."""
    one = made()
    assert [e.type for e in one.decode(delivery("house/7/presence", b"online", retained=True)).events] == []
    (event,) = one.decode(delivery("house/7/presence", b"offline")).events
    assert (event.type, event.subject) == ("device_offline", "house/modbus:7")
    assert [e.type for e in one.decode(delivery("house/7/presence", b"online")).events] == ["device_online"]


def test_a_command_is_the_inverse_of_its_field() -> None:
    """Scale, unit, type and word order are the field's; a unit in a register is left for the bus to choose by."""
    one = made()
    fields(one, "house/7/state", STATE)

    def write(name: str, value: Any) -> Write:
        topic, payload = one.encode("house/modbus:7", name, value)
        assert topic == "house/7/write"
        return decoded(payload)

    choice = Choice("state", 14, {"0": b"\x00\x15", "1": b"\x00\x46"})
    assert write("set_setpoint", 21.1).steps == (Step(6, 3, choice=choice),)
    assert write("set_setpoint", 21).confirm == ("state",)
    assert write("set_setpoint", 21).within_s == 2.0
    assert write("set_mode", "off").steps == (Step(6, 7, 1, b"\0\0"),)
    assert write("set_mode", "heat").steps == (Step(16, 6, 2, b"\0\x10\0\x01"),)
    assert write("set_energy", 50125).steps == (Step(16, 4, 2, bytes.fromhex("80004248")),)
    assert write("set_on", True).steps == (Step(5, 9, 1, b"\xff\x00"),)
    assert write("set_on", False).once
    assert (write("set_on", True).device, write("set_on", True).command) == ("house/modbus:7", "set_on")
    with pytest.raises(DecodeError, match="outside 5 to 30"):
        write("set_setpoint", 31)


def test_a_unit_keeps_what_it_is_told_as_exactly_as_its_register_can() -> None:
    """What is awaited of a command may be off by half of what the register cannot hold."""
    one = made()
    fields(one, "house/7/state", STATE)
    assert one.expected("house/modbus:7", "set_setpoint", 20.5) == ("setpoint.heat", 20.5, 0.5, 2.0)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('from = "state/2"', 'from = "state/20"', "20 is not asked by the poll 'state': 2 to 9"),
        ('from = "state/2"', 'from = "stat/2"', "there is no poll 'stat' (did you mean 'state'?)"),
        ('from = "state/2"', 'from = "/2"', "write <poll>/<register>"),
        ('from = "state/4"', 'from = "state/9"', "takes 2 registers, the poll 'state' ends before"),
        ('from = "lamps/9"', 'from = "lamps/9"\ntype = "uint16"', "the poll 'lamps' brings bits"),
        ('path = "state/7"', 'path = "lamps/7"', "a field reads one poll, not lamps and state"),
        ("count = 8", "count = 126", "at most 125 registers"),
        ('every = "10s"', 'every = "1ms"', "too often"),
        ('name = "lamps"', 'name = "presence"', "'presence' is taken"),
        ('name = "lamps"', 'name = "state"', "two polls are called 'state'"),
        ("function = 1\n", "function = 5\n", "function"),
        ('framing = { type = "modbus-rtu" }', 'framing = { type = "line" }', "[[poll]] needs a serial link"),
        ("mask = 0x00F0", 'mask = 0x00F0\ntype = "int16"', "a mask is for unsigned registers"),
        ('name = "on"\n', 'name = "on"\ngroup = "x"\n', "the fields of polls have no groups"),
        ("function = 5, register = 9", "function = 6, register = 9", "function 6 writes registers, not bit"),
        ("function = 16, register = 4", "function = 6, register = 4", "float32 takes 2 registers: function 16"),
        ('readback = "state/3"', 'readback = "nothing"', "there is no poll 'nothing'"),
        ("max = 30", "max = 300000", "for 300000: 300000 does not fit uint16"),
        ("function = 16, register = 6, values = [16, 1]", "function = 6, register = 6, map = { heat = 1 }", 'cool'),
        ("once = true }", 'once = true }\ntopic = "x"', "a `write` has no `topic`"),
        ("[device]", "[availability]\ntopics = ['x']\n[device]", "a polled unit has no 'topics'"),
        ('kind = "serial"', 'kind = "mqtt"', "needs a serial link"),
    ],
)  # fmt: skip
def test_what_a_profile_may_not_say(old: str, new: str, fault: str) -> None:
    """A poll, a register or a request that cannot be is a fault with a reason, when the profile is loaded."""
    assert old in UNIT
    with pytest.raises(ConfigError) as caught:
        compile_profile(Document(UNIT.replace(old, new, 1), "unit.toml"))
    assert any(fault in str(one) for one in caught.value.faults), [str(one) for one in caught.value.faults]


def test_a_poll_that_nobody_reads_is_a_fault_at_its_line() -> None:
    """A poll without a field would only cost time of the bus; the fault names its line."""
    text = UNIT.replace('name = "on"\nfrom = "lamps/9"', 'name = "on"\nfrom = "state/9"')
    with pytest.raises(ConfigError) as caught:
        compile_profile(Document(text, "unit.toml"))
    fault = next(one for one in caught.value.faults if "no field reads the poll 'lamps'" in one.what)
    assert text.splitlines()[(fault.line or 0) - 1] == "[[poll]]"


def test_a_captured_reply_is_told_only_by_its_values() -> None:
    """Without its request a reply is taken for an answer only when that is no chance; else it is refused, with why."""
    narrow = UNIT.replace('name = "temperature"\n', 'name = "temperature"\nrange = [-400, 1000]\n')
    catalogue = Catalogue([compile_profile(Document(narrow, "unit.toml"))])
    profiles = list(catalogue.profiles.values())
    head = bytes((7, 3, len(STATE)))
    assert reply_of(profiles, "bus", head + STATE) == Reply("unit", "bus/7/state", STATE)
    wrong_unit = STATE[:-1] + b"\x09"
    for frame, why in (
        (head + wrong_unit, "does not name its registers"),
        (bytes((7, 3, 2, 0, 1)), "does not name its registers"),
        (bytes((7, 1, 2, 0, 1)), "does not name its registers"),
        (bytes((7, 0x83, 2)), r"refuses function 3: exception 2 \(illegal data address\)"),
        (bytes((7, 3, 0, 2, 0, 8)), "a master asks unit 7: function 3, 8 from 2"),
        (bytes((7, 6, 0, 3, 0, 21)), "is written to"),
        (bytes((7, 65, 1)), "is no reply to a poll"),
        (bytes((7,)), "too short"),
    ):
        with pytest.raises(DecodeError, match=why):
            reply_of(profiles, "bus", frame)
    twin = compile_profile(Document(narrow.replace('id = "unit"', 'id = "twin"'), "twin.toml"))
    with pytest.raises(DecodeError, match="it may be of unit or twin"):
        reply_of([*profiles, twin], "bus", head + STATE)


def test_the_guide_s_profile_works() -> None:
    """The profile in the guide compiles, reads what it says it reads and writes its command."""
    guide = Path(__file__).parents[2] / "docs" / "guides" / "modbus.md"
    text = next(block for block in guide.read_text().split("```toml\n") if block.startswith("schema")).split("```")[0]
    one = decoder(Catalogue([compile_profile(Document(text, "boiler-room.toml"))]), profiles=["boiler-room"])
    answer = bytes.fromhex("00d7 0015 3039 0000 0001 0001 0000 0000")
    assert fields(one, "house/5/state", answer) == {
        "temperature": 21.5, "setpoint.heat": 21, "energy": 12_345_000, "mode": "heat",
    }  # fmt: skip
    _, payload = one.encode("house/modbus:5", "set_setpoint", 22)
    assert decoded(payload).steps == (Step(6, 101, choice=Choice("state", 14, {"0": b"\0\x16", "1": b"\0\x48"})),)


def test_all_units_at_once_can_be_told() -> None:
    """Address 0 takes commands without ever having been heard, and nothing is awaited of it."""
    catalogue = Catalogue([compile_profile(Document(UNIT, "unit.toml"))])
    known = everybody(catalogue, "house", {0: "unit", 7: "unit"})
    assert list(known) == ["house/modbus:0"]
    one = decoder(OfUnits(catalogue, {0: "unit", 7: "unit"}), profiles=["unit"], values=known)
    topic, payload = one.encode("house/modbus:0", "set_mode", "off")
    assert topic == "house/0/write"
    assert decoded(payload).steps == (Step(6, 7, 1, b"\0\0"),)
    assert one.expected("house/modbus:0", "set_mode", "off") is None
    assert everybody(catalogue, "house", {7: "unit"}) == {}


def test_each_unit_is_read_by_its_own_profile() -> None:
    """Two units with polls of the same name are read by two profiles; addresses that are not on the bus by none."""
    cold = UNIT.replace('id = "unit"', 'id = "cold"').replace("scale = 0.1", "scale = 0.01")
    catalogue = Catalogue([compile_profile(Document(text, "unit.toml")) for text in (UNIT, cold)])
    one = decoder(OfUnits(catalogue, {7: "unit", 8: "cold"}), profiles=["unit", "cold"])
    assert fields(one, "house/7/state", STATE)["temperature"] == -1.7
    assert fields(one, "house/8/state", STATE)["temperature"] == -0.17
    assert one.decode(delivery("house/9/state", STATE)).unclaimed
