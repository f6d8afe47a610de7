"""Formats: a frame or line to a document, strictly; anything else is refused with a reason, in bounded time."""

from __future__ import annotations

import random
import re
from typing import Any, get_args

import msgspec
import pytest

from gateway.errors import DecodeError
from gateway.profiles.formats.formats import Tabled, key_of, parser_of

FUZZ_ROUNDS = 400  # of each example; longer runs were made by hand
P1 = (
    b"/XMX5LGBBFG1012345678\r\n\r\n1-3:0.2.8(50)\r\n0-0:1.0.0(230115201500W)\r\n0-0:96.1.1(4530)\r\n"
    b"1-0:1.8.1(000123.456*kWh)\r\n1-0:1.8.0*255(000123.9*kWh)\r\n0-0:96.14.0(0002)\r\n1-0:1.7.0(01.193*kW)\r\n"
    b"1-0:99.97.0(1)(0-0:96.7.19)(190326095015W)(0000002014*s)\r\n0-0:96.13.0()\r\n"
    b"0-1:24.1.0(003)\r\n0-1:96.1.0(3234)\r\n0-1:24.2.1(230715200000S)(00981.443*m3)\r\n"
    b"0-2:24.1.0(007)\r\n0-2:24.2.1(700101010000W)(00000000)\r\n!"
)
ESP3 = bytes.fromhex("55000707017ad50905112233a001ffffffff4b0000")  # a closed contact; its CRCs are the framer's affair

# options, a frame, what it becomes
EXAMPLES: dict[str, tuple[dict[str, Any], bytes, Any]] = {
    "split": (
        {"type": "split", "sep": ";", "limit": 3, "names": ["node", "type", "value"], "types": {"node": "int"}},
        b"12;6;a;b\r\n",
        {"node": 12, "type": "6", "value": "a;b"},
    ),
    "split of white space, with a list": (
        {"type": "split", "names": ["node"], "rest": "values", "types": {"node": "int", "values": "number"}},
        b"10 1250 -35  0.5\r\n",
        {"node": 10, "values": [1250, -35, 0.5]},
    ),
    "split in groups": (
        {"type": "split", "sep": ",", "begins": "$", "names": ["talker"], "rest": "readings",
         "group": ["kind", "value", "unit", "id"], "types": {"value": "number"}},
        b"$WIXDR,C,-3.5,C,AIR,H,,P,RH",
        {"talker": "WIXDR", "readings": [{"kind": "C", "value": -3.5, "unit": "C", "id": "AIR"},
                                         {"kind": "H", "value": None, "unit": "P", "id": "RH"}]},
    ),
    "pairs": (
        {"type": "pairs", "leading": ["to", "seq", "name"],
         "types": {"T": "hex-magnitude", "C": "hex-magnitude", "P": "hex", "H": "int"}},
        b"20;e5;Some Sensor;ID=5a6d;T=800d;C=b0;P=03d7;H=40;CMD=SET=3;\r\n",
        {"to": "20", "seq": "e5", "name": "Some Sensor", "ID": "5a6d", "T": -13, "C": 176, "P": 983, "H": 40,
         "CMD": "SET=3"},
    ),
    "pairs of numbers": (
        {"type": "pairs", "sep": ",", "equals": ":", "type_else": "number", "bare": True},
        b"ct1:4.56, ct2:-1,armed\n",
        {"ct1": 4.56, "ct2": -1, "armed": True},
    ),
    "pairs, each a line": (
        {"type": "pairs", "sep": "\r\n", "equals": "\t", "types": {"V": "int", "I": "int"}},
        b"PID\t0xA381\r\nV\t13720\r\nI\t-1252\r\nBMV\t712 Smart",
        {"PID": "0xA381", "V": 13720, "I": -1252, "BMV": "712 Smart"},
    ),
    "pattern": (
        {"type": "pattern", "lines": {"zone": "609{zone:int*3}", "rfx": "!RFX:{serial:word},{flags:bytes}",
                                      "key": '[{bits}],{code:text*3},"{text?}"'},
         "bits": [{"name": "open", "from": "flags", "bit": 0, "kind": "bool"}]},
        b"!RFX:0123456,80\r\n",
        {"line": "rfx", "serial": "0123456", "flags": "80", "open": True},
    ),
    "csv": (
        {"type": "csv", "columns": ["t", "", "name"], "types": {"t": "number"}},
        b'21.50,"4,8","a ""b"""\r\n',
        {"t": 21.5, "name": 'a "b"'},
    ),
    "bytes": (
        {"type": "bytes", "bits": [
            {"name": "flag", "bit": 7, "kind": "bool"}, {"name": "nibble", "at": 1, "bit": 4, "bits": 4},
            {"name": "temperature", "at": 2, "bytes": 2, "order": "little", "kind": "signed"},
            {"name": "sign", "at": 4, "bytes": 2, "kind": "magnitude"}, {"name": "bcd", "at": 6, "kind": "bcd"},
            {"name": "last", "at": -1, "kind": "hex"}, {"name": "far", "at": 90},
            {"name": "float", "at": 8, "bytes": 4, "kind": "float", "order": "big-swapped"},
            {"name": "name", "at": 12, "bytes": 3, "kind": "text"}]},
        bytes.fromhex("01 a7 9cff 8011 42 00 0000 41c8 414200 7f".replace(" ", "")),
        {"data": "01a79cff80114200000041c84142007f", "size": 16, "flag": True, "nibble": 7, "temperature": -100,
         "sign": -17, "bcd": 42, "last": "7f", "float": 25.0, "name": "AB"},
    ),
    "bytes with records": (
        {"type": "bytes", "every": {"name": "zones", "bytes": 3, "at": 1, "also": ["size"], "bits": [
            {"name": "zone", "kind": "hex"}, {"name": "t", "at": 1, "bytes": 2, "kind": "signed"}]}},
        bytes.fromhex("ff0007d001fffe"),
        {"data": "ff0007d001fffe", "size": 7,
         "zones": [{"zone": "00", "t": 2000, "size": 7}, {"zone": "01", "t": -2, "size": 7}]},
    ),
    "esp3": (
        {"type": "esp3", "bits": [{"name": "closed", "bit": 7}]},
        ESP3,
        {"packet": "radio", "telegram": "1bs", "rorg": "D5", "data": "09", "size": 1, "sender": "05112233",
         "status": 0xA0, "hops": 0, "learn": False, "eep": "D5-00-01", "subtelegrams": 1, "destination": "FFFFFFFF",
         "security": 0, "dbm": -75, "closed": 1},
    ),
    "ramses": (
        {"type": "ramses"},
        b"047  I --- 01:145038 --:------ 01:145038 30C9 003 0007D0\r\n",
        {"verb": "I", "addresses": ["01:145038", "--:------", "01:145038"], "source": "01:145038", "kind": "01",
         "controller": True,
         "destination": "01:145038", "code": "30C9", "size": 3, "payload": "0007d0", "index": "00", "rssi": -47},
    ),
    "obis": (
        {"type": "obis"},
        P1,
        {"header": "XMX5LGBBFG1012345678", "1-3:0.2.8": {"value": 50, "text": "50"},
         "0-0:1.0.0": {"time": "2023-01-15T20:15:00+01:00"}, "0-0:96.1.1": {"value": 4530, "text": "4530"},
         "1-0:1.8.1": {"value": 123.456, "unit": "kWh"}, "1-0:1.8.0": {"value": 123.9, "unit": "kWh"},
         "0-0:96.14.0": {"value": 2, "text": "0002"}, "1-0:1.7.0": {"value": 1.193, "unit": "kW"},
         "1-0:99.97.0": {"values": ["1", "0-0:96.7.19", "190326095015W", "0000002014*s"]}, "0-0:96.13.0": {},
         "0-1:24.1.0": {"value": 3, "text": "003"}, "0-1:96.1.0": {"value": 3234, "text": "3234"},
         "0-1:24.2.1": {"time": "2023-07-15T20:00:00+02:00", "value": 981.443, "unit": "m3"},
         "0-2:24.1.0": {"value": 7, "text": "007"},
         "0-2:24.2.1": {"time": "2070-01-01T01:00:00+01:00", "value": 0, "text": "00000000"},
         "mbus": {"1": {"channel": "1", "type": 3, "id": "3234", "time": "2023-07-15T20:00:00+02:00",
                        "value": 981.443, "unit": "m3"}}},
    ),
}  # fmt: skip


def parser(options: dict[str, Any]) -> Any:
    """Compile a format as a profile says it."""
    return parser_of(msgspec.convert(options, Tabled))


@pytest.mark.parametrize("name", EXAMPLES)
def test_frame_becomes_a_document(name: str) -> None:
    """A frame becomes the document that its format says, and nothing in it is anything but JSON."""
    options, frame, expected = EXAMPLES[name]
    got = parser(options)(frame)
    assert got == expected
    assert msgspec.json.decode(msgspec.json.encode(got)) == got


def test_every_format_has_an_example() -> None:
    """Each member of the union is shown and fuzzed here, and messages of one table share one key."""
    assert {one.__struct_config__.tag for one in get_args(Tabled)} == {o["type"] for o, _, _ in EXAMPLES.values()}
    one, two = (msgspec.convert(EXAMPLES["split"][0], Tabled) for _ in range(2))
    assert key_of(one) == key_of(two)
    assert key_of(one) != key_of(msgspec.convert(EXAMPLES["csv"][0], Tabled))


@pytest.mark.parametrize("name", EXAMPLES)
def test_garbage_is_refused_with_a_reason(name: str) -> None:
    """Random bytes, and frames with bytes changed, lost, doubled or added, give a document or a DecodeError."""
    options, frame, _ = EXAMPLES[name]
    parse, random_ = parser(options), random.Random(name)
    refused = 0
    for turn in range(FUZZ_ROUNDS):
        try:
            document = parse(random_.randbytes(random_.randrange(80)) if turn % 4 == 0 else mutated(frame, random_))
        except DecodeError:
            refused += 1
        else:
            assert document.__class__ is dict
            msgspec.json.encode(document)
    assert refused > FUZZ_ROUNDS // 10


def mutated(frame: bytes, random_: random.Random) -> bytes:
    """Return a frame as a bad line would bring it."""
    raw = bytearray(frame)
    for _ in range(random_.randrange(1, 5)):
        at = random_.randrange(len(raw) + 1)
        what = random_.randrange(5)
        if what == 0:
            raw[at : at + 1] = random_.randbytes(1)
        elif what == 1:
            del raw[at : at + random_.randrange(6)]
        elif what == 2:
            raw[at:at] = raw[: random_.randrange(20)]
        elif what == 3:
            raw[at:at] = random_.choice([b";", b",", b"=", b"\xff", b"\0", b"(", b"9" * 40, b"\xc3\xa9", b" "])
        else:
            raw[at : at + 1] = bytes([random_.choice(b";,=()[]\"'{}:*!/0Ff\n\r")])
    return bytes(raw)


@pytest.mark.parametrize(
    ("options", "frame", "reason"),
    [
        (EXAMPLES["split"][0], b"12;6", "2 cells, expected 3 or more"),
        (EXAMPLES["split"][0], b"1x;6;0", 'node: "1x" is not a whole number'),
        (EXAMPLES["split"][0] | {"limit": None}, b"1;2;3;4", "4 cells, expected at most 3"),
        (EXAMPLES["split"][0], b"1;\xff;2", "byte 0xff is not text"),
        (EXAMPLES["split"][0], b"1;\x1b;2", "control characters"),
        (EXAMPLES["split"][0], b"\r\n", "an empty line"),
        (EXAMPLES["split"][0], b"1" * 5000, "a line of 5000 bytes"),
        (EXAMPLES["split in groups"][0], b"WIXDR,C", 'does not begin with "$"'),
        (EXAMPLES["split in groups"][0], b"$WIXDR,C,1", "2 cells are no groups of 4"),
        (EXAMPLES["pairs"][0], b"20;e5;x;ID=1;ID=2;", '"ID" is there twice'),
        (EXAMPLES["pairs"][0], b"20;e5;x;ID", '"ID" is no pair'),
        (EXAMPLES["pairs"][0], b"20;e5;x;T=8 0d;", "T: "),
        (EXAMPLES["pattern"][0], b"!RFX:0123456,8", "not bytes in hexadecimal"),
        (EXAMPLES["pattern"][0], b"609x03", "not a whole number"),
        (EXAMPLES["pattern"][0], b"6090031", "like none of zone, rfx, key"),
        (EXAMPLES["csv"][0], b'1,"2', "not columns"),
        (EXAMPLES["csv"][0], b"1,2", "2 columns, expected 3 to 3"),
        (EXAMPLES["bytes"][0], b"", "0 bytes"),
        ({"type": "bytes", "bits": [{"name": "n", "kind": "bcd"}]}, b"\x4f", "0x4f is not digits"),
        (EXAMPLES["bytes with records"][0], b"\x01\x02\x03", "2 bytes are not"),
        (EXAMPLES["esp3"][0], ESP3[:-1], "20 bytes, the header says 21"),
        (EXAMPLES["esp3"][0], bytes.fromhex("55000000010700"), "a radio telegram of 0 bytes"),
        (EXAMPLES["ramses"][0], EXAMPLES["ramses"][1][:-4], "a payload of 2 bytes, the packet says 3"),
        (EXAMPLES["ramses"][0], EXAMPLES["ramses"][1].strip() + b" * Checksum", "is no packet"),
        (EXAMPLES["obis"][0], P1[:-1], "not a telegram"),
        (EXAMPLES["obis"][0], P1.replace(b"*kW)", b"*kW"), "is no object"),
    ],
)
def test_reason(options: dict[str, Any], frame: bytes, reason: str) -> None:
    """What is refused says what is wrong with it."""
    with pytest.raises(DecodeError) as caught:
        parser(options)(frame)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"type": "split", "names": ["a"], "types": {"b": "int"}}, "no cell is called 'b'"),
        ({"type": "split", "names": ["a"], "group": ["b"]}, "`group` needs `rest`"),
        ({"type": "pairs", "sep": "=", "equals": "="}, "are the same"),
        ({"type": "csv", "columns": ["a"], "types": {"b": "int"}}, "no column is called 'b'"),
        ({"type": "pattern", "lines": {"x": "{a}{b}"}}, "where {a} ends before {b} begins nobody can tell"),
        ({"type": "pattern", "lines": {"x": "{a:integer}"}}, "its types are text, lower"),
        ({"type": "pattern", "lines": {"x": "{a},{a}"}}, "may stand once"),
        ({"type": "pattern", "lines": {"x": "{a"}}, "captures are"),
        ({"type": "bytes", "bits": [{"name": "x", "bytes": 9}]}, "1 to 8 bytes wide"),
        ({"type": "bytes", "bits": [{"name": "x", "bytes": 2, "bit": 1}]}, "either `bytes` or `bit`"),
        ({"type": "bytes", "bits": [{"name": "x", "bytes": 3, "kind": "float"}]}, "4 or 8 bytes"),
        ({"type": "bytes", "bits": [{"name": "x", "bytes": 3, "order": "little-swapped"}]}, "even number"),
        ({"type": "bytes", "bits": [{"name": "x", "bit": 3, "kind": "text"}]}, "whole bytes"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], reason: str) -> None:
    """A table that cannot be compiled says why when the profile is loaded."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        parser(options)


def test_matching_takes_linear_time() -> None:
    """The line a backtracking matcher would choke on is refused after one pass over each pattern."""
    parse = parser({"type": "pattern", "lines": {"x": "".join(f"{{a{n}}}a" for n in range(60)) + "b"}})
    with pytest.raises(DecodeError, match="is like none of x"):
        parse(b"a" * 4000)


@pytest.mark.parametrize(
    ("teach_in", "expected"),
    [
        ("a5 08284680", {"learn": True, "eep": "A5-02-05", "maker": 0x46}),
        ("a5 00000000", {"learn": True}),
        ("a5 00000008", {"learn": False}),
        ("d5 00", {"learn": True, "eep": "D5-00-01"}),
        ("d4 a0013e000101d2", {"learn": True, "eep": "D2-01-01", "maker": 0x3E, "channels": 1}),
        ("f6 50", {"learn": False}),
    ],
)
def test_enocean_teach_in(teach_in: str, expected: dict[str, Any]) -> None:
    """A teach-in names the profile where the telegram has room for it."""
    data = bytes.fromhex(teach_in) + bytes.fromhex("0102030480")
    packet = b"\x55" + len(data).to_bytes(2, "big") + b"\x00\x01\x00" + data + b"\x00"
    got = parser({"type": "esp3"})(packet)
    assert {name: got[name] for name in ("learn", "eep", "maker", "channels") if name in got} == expected
