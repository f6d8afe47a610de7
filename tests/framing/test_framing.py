"""Every framing: sound frames come out, damaged ones are refused and counted, whatever the bytes and their cuts."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path
from random import Random
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gateway.framing
from gateway.document import Document
from gateway.errors import ConfigError
from gateway.framing import telegram
from gateway.framing.checksums import CHECKS, SUMS, WIDTHS, Checksum, Short, check_of, seal
from gateway.framing.cobs import Cobs
from gateway.framing.esp3 import Esp3
from gateway.framing.fixed import Fixed
from gateway.framing.framer import FramingOptions
from gateway.framing.gap import Gap
from gateway.framing.length import Length
from gateway.framing.line import Line
from gateway.framing.modbus_rtu import ModbusRtu
from gateway.framing.options import FRAMINGS, Framing, framer_of
from gateway.framing.slip import Slip
from gateway.framing.start_end import StartEnd
from gateway.framing.telegram import Telegram
from gateway.framing.teleinfo import Teleinfo
from gateway.framing.ve_direct import VeDirect
from tests.framing import wires
from tests.framing.fuzz import fed, pieces, run
from tests.framing.wires import WIRES, Wire

TRIALS = 120  # of each way to frame; `./dev framing` does a million
FUZZ_SEED = 20_261_123

written = pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)


def framed(options: FramingOptions, data: bytes, *, silence: bool = False) -> tuple[list[bytes], dict[str, int]]:
    """Feed bytes to a new framer; return frames and refusals."""
    framer = options.framer()
    frames = framer.feed(data) + (framer.idle() if silence else [])
    return frames, dict(framer.rejected)


@written
def test_what_was_sent_comes_out(wire: Wire) -> None:
    """Frames that another hand wrote come out whole, in order, and nothing is refused."""
    random = Random(FUZZ_SEED)
    bodies = [wire.body(random) for _ in range(50)]
    framer = wire.options.framer()
    stream: list[bytes | None] = []
    for body in bodies:
        stream += [*pieces(wire.sent(body), random), *([None] if wire.pauses else [])]
    assert fed(framer, [*stream, None]) == [wire.frame(body) for body in bodies]
    assert not framer.rejected


@written
def test_any_bytes_at_all(wire: Wire) -> None:
    """Random and damaged bytes raise nothing, keep little, depend on no cut, and cost at most one frame behind them."""
    tally = run(wire, TRIALS, FUZZ_SEED)
    assert tally.inputs == TRIALS
    assert tally.frames


@settings(max_examples=30, deadline=None)
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(1, 40), max_size=20))
def test_cuts_never_matter(data: bytes, cuts: list[int]) -> None:
    """However bytes are cut, every framing makes the same frames and refusals of them."""
    for wire in WIRES.values():
        whole, cut = wire.options.framer(), wire.options.framer()
        frames, rest = [], data
        for size in cuts:
            frames += cut.feed(rest[:size])
            rest = rest[size:]
        frames += cut.feed(rest) + cut.idle()
        assert frames == whole.feed(data) + whole.idle(), wire.options
        assert cut.rejected == whole.rejected, wire.options


@written
def test_half_a_frame_before_an_interruption(wire: Wire) -> None:
    """Half a frame at an unplug is refused and does not reach into the frame that comes first afterwards."""
    random = Random(FUZZ_SEED)
    half, body = wire.sent(wire.body(random)), wire.body(random)
    framer = wire.options.framer()
    assert framer.feed(half[: len(half) - 1]) == []
    framer.reset()
    assert sum(framer.rejected.values()) == 1
    assert framer.feed(wire.sent(body)) + framer.idle() == [wire.frame(body)]


def test_every_file_is_a_framing() -> None:
    """Each file of the room that has options is in `FRAMINGS`, each is written by another hand, and each has a name."""
    found: set[type[FramingOptions]] = set()
    for module in pkgutil.iter_modules(gateway.framing.__path__):
        members = vars(__import__(f"gateway.framing.{module.name}", fromlist=["x"])).values()
        kinds = [each for each in members if isinstance(each, type) and issubclass(each, FramingOptions)]
        found |= {each for each in kinds if each is not FramingOptions}
    assert found == set(FRAMINGS)
    assert {type(wire.options) for wire in WIRES.values()} == set(FRAMINGS)
    names = {kind.__struct_config__.tag for kind in FRAMINGS}
    assert {"line", "delimiter", "start-end", "length", "fixed", "slip", "cobs"} < names
    assert {"esp3", "modbus-rtu", "telegram", "gap"} < names


@pytest.mark.parametrize("name", SUMS)
def test_checksums_have_their_published_values(name: str) -> None:
    """Each checksum of "123456789" is the published one, and of other bytes what a bitwise computation says."""
    assert SUMS[name](b"123456789") == CHECKS[name]
    assert set(SUMS) == set(CHECKS) == set(WIDTHS)
    second = {
        "xor": wires.xor,
        "sum8": lambda data: sum(data) % 256,
        "crc8-07": wires.crc8,
        "crc16-modbus": lambda data: int.from_bytes(wires.modbus_crc(data), "little"),
        "crc16-arc": wires.arc,
        "ccitt-ffff": wires.ccitt,
        "crc32": wires.crc32,
    }
    random = Random(1)
    for data in (b"", *(random.randbytes(size) for size in range(1, 40))):
        assert SUMS[name](data) == second[name](data)


def test_checksums_as_they_stand_in_frames() -> None:
    """A checksum may be bytes or digits, of either order, behind a separator, over digits; a wrong one is refused."""
    sentence = b"$GPGLL,4916.45,N,12311.12,W,225444,A"  # NMEA 0183's own example
    nmea = check_of(Checksum(type="xor", form="hex", sep="*", skip=1))
    assert nmea is not None
    assert nmea(sentence + b"*31") == sentence
    assert nmea(sentence + b"*32") is None
    assert nmea(sentence + b"#31") is None
    assert nmea(sentence + b"*3G") is None
    assert nmea(b"*") is None
    little, big = check_of("crc16-modbus"), check_of(Checksum(type="crc16-modbus", order="big"))
    assert little is not None
    assert big is not None
    assert little(b"123456789\x37\x4b") == big(b"123456789\x4b\x37") == b"123456789"
    tag = check_of(Checksum(type="xor", form="hex", over="hex"))
    assert tag is not None
    assert tag(b"62E3086CED08") == b"62E3086CED"
    assert tag(b"62E3086CEX08") is None
    assert check_of(None) is None


@pytest.mark.parametrize("option", [*get_args(Short), Checksum(type="xor", form="hex", sep="*", skip=1)])
def test_what_is_sealed_is_verified(option: Any) -> None:
    """A frame that is sent carries the checksum that the same framing would accept."""
    body = b"$0301"
    check = check_of(option)
    assert check is not None
    assert check(seal(option, body)) == body
    assert check(seal(option, body)[:-1] + b"?") is None
    assert seal(None, body) == body


def test_lines() -> None:
    """Empty lines are nothing, one too long costs itself only, the first is left out if it may lack its beginning."""
    options = Line(bytes_max=8)
    assert framed(options, b"\r\nab\r\n\n123456789\ncd\n12345678\nx") == ([b"ab", b"cd", b"12345678"], {"too long": 1})
    first = Line(first="drop")
    assert framed(first, b"p=21.5\ntemp=21.6\n") == ([b"temp=21.6"], {"first": 1})
    listening = first.framer()
    assert listening.gap_s
    assert fed(listening, [None, b"DOOR OPEN\n"]) == [b"DOOR OPEN"]
    listening.reset()
    assert fed(listening, [b"OR OP", None, b"EN\nDOOR CLOSED\n"]) == [b"DOOR CLOSED"]
    dsc = Line(checksum="sum-hex")
    assert framed(dsc, b"60900332\r\n6100032A\r\n6100032B\r\n") == ([b"609003", b"610003"], {"checksum": 1})


def test_start_and_end() -> None:
    """A start inside a frame says that the one before was cut short, and a checksum may look like an end mark."""
    plain = StartEnd(start="\u0002", end="\u0003", bytes_max=8)
    assert framed(plain, b"x\x02ab\x02cd\x03\x02123456789\x03") == (
        [b"cd"],
        {"noise": 2, "cut short": 1, "too long": 1},
    )
    checked = StartEnd(start="<", end=">", checksum="sum8")
    assert framed(checked, b"<\x3d\x01>>") == ([b"\x3d\x01"], {})  # the sum is 3E, which is ">"


def test_lengths() -> None:
    """A packet's length may be one of many kinds; where nothing else marks a packet, a refusal ends with a silence."""
    framer = Length(bytes_max=32).framer()
    packet = bytes.fromhex("0710002a45050170")
    assert framer.feed(packet + b"\xff" + packet) == [packet[1:]]
    assert framer.feed(packet) == []  # deaf
    assert framer.idle() == []
    assert framer.feed(packet) == [packet[1:]]
    assert framer.rejected == {"too long": 1}
    with pytest.raises(ValueError, match="offset 0"):
        Length(start="\u00aa")
    with pytest.raises(ValueError, match="only a gap"):
        Length(gap="")
    with pytest.raises(ValueError, match="only a gap"):
        Fixed(length=3, gap="")
    with pytest.raises(ValueError, match="do not hold"):
        Fixed(length=1, checksum="crc32")


def test_slip_and_cobs() -> None:
    """RFC 1055's escapes and the examples of the COBS paper decode; what breaks their rules is refused."""
    assert framed(Slip(), bytes.fromhex("c061dbdc62dbdd63c0")) == ([bytes.fromhex("61c062db63")], {})
    assert framed(Slip(), b"\xc0a\xdbb\xc0c\xc0") == ([b"c"], {"escape": 1})
    assert framed(Cobs(), bytes.fromhex("0101010003112202330000")) == ([b"\0\0", b"\x11\x22\0\x33"], {})
    assert framed(Cobs(), b"\x05ab\0\x02c\0") == ([b"c"], {"code": 1})
    long = bytes(range(1, 255)) + b"\xff"
    assert framed(Cobs(), wires.cobs(long)) == ([long], {})


def test_esp3_begins_anywhere() -> None:
    """A telegram behind garbage, behind a wrong checksum and with 55 in its data is found."""
    contact = bytes.fromhex("55000707017ad50801825dab0001ffffffff360053")
    wrong = contact[:-1] + b"\x54"
    inside = wires.esp3(b"\x55\x55\x00\x55")
    frames, refused = framed(Esp3(), b"\x00\x55\x12" + contact + wrong + inside + contact)
    assert frames == [contact, inside, contact]
    assert refused["checksum"] == 1
    assert framed(Esp3(), contact[:12], silence=True) == ([], {"cut short": 1})
    swallowed = wires.esp3(b"ab" + contact + b"cd")  # as when the first was cut short and its CRC fits by chance
    assert framed(Esp3(), swallowed + contact)[0] == [contact, contact]


def test_modbus_rtu() -> None:
    """Replies, exceptions and requests end where their function code says, a maker's own function with a silence."""
    reply = bytes.fromhex("05030e0015000100160002000400000000")
    exception = bytes.fromhex("0a8102")
    request = bytes.fromhex("1103006b0003")
    own = bytes.fromhex("0141abcdef")
    sent = [body + wires.modbus_crc(body) for body in (reply, exception, request, own)]
    assert framed(ModbusRtu(), sent[0] + sent[1]) == ([reply, exception], {})
    assert framed(ModbusRtu(side="requests"), sent[2] * 2) == ([request] * 2, {})
    assert framed(ModbusRtu(side="both"), sent[2] + sent[0], silence=True) == ([request, reply], {})
    assert framed(ModbusRtu(), sent[3]) == ([], {})
    assert framed(ModbusRtu(), sent[3], silence=True) == ([own], {})
    assert framed(ModbusRtu(), sent[0][:-1] + b"\0" + sent[1]) == ([exception], {"checksum": 1})
    ambiguous = next(
        body
        for number in range(65_536)
        if wires.modbus_crc((body := b"\x01\x03\x04\0\0" + number.to_bytes(2, "big"))[:6])[0] == body[6]
    )
    assert framed(ModbusRtu(side="both"), ambiguous + wires.modbus_crc(ambiguous)) == ([ambiguous], {})


def test_telegrams() -> None:
    """A CRC may lack its zeros and its line end, may be missing until there was one, and must fit when it is there."""
    body = next(b for n in range(9999) if wires.arc(b := b"/MET\r\n\r\n0-0:96.1.1(%d)\r\n!" % n) < 0x1000)
    crc = b"%X" % wires.arc(body)
    assert len(crc) < 4
    assert framed(Telegram(), b"5\r\n!0000\r\n" + body + crc + b"\r\n") == ([body], {"noise": 1})
    assert framed(Telegram(), body + crc, silence=True) == ([body], {})
    assert framed(Telegram(), body + b"\r\n" + body + crc + b"\r\n" + body + b"\r\n") == (
        [body, body],
        {"no checksum": 1},
    )
    assert framed(Telegram(crc="always"), body + b"\r\n") == ([], {"no checksum": 1})
    assert framed(Telegram(), body.replace(b"MET", b"MAT") + crc + b"\n" + body + crc + b"\n") == (
        [body],
        {"checksum": 1},
    )
    assert framed(Telegram(), body[:9] + body + b"\r\n") == ([body], {"cut short": 1})


def test_a_hostile_telegram_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of marks that are no end, byte by byte, are each looked at a few times, not again for each byte."""
    looks: list[int] = []
    end = telegram._END

    class Counting:
        def match(self, buffer: bytearray, at: int) -> re.Match[bytes] | None:
            looks.append(at)
            return end.match(buffer, at)

    monkeypatch.setattr(telegram, "_END", Counting())
    framer = Telegram(bytes_max=4000).framer()
    for byte in b"/" + b"!" * 3000:
        assert framer.feed(bytes([byte])) == []
    assert len(looks) < 10 * 3000


def test_teleinfo() -> None:
    """A published frame is read; one bit, a group without its check or a frame broken off refuses all of it."""
    frame = b"\x02\nADCO 021528603314 :\r\nPTEC HP..  \r\nIINST 001 X\r\nPAPP 00200 #\r\x03"
    lines = b"ADCO\t021528603314\r\nPTEC\tHP..\r\nIINST\t001\r\nPAPP\t00200"
    assert framed(Teleinfo(), frame + frame) == ([lines, lines], {})
    assert framed(Teleinfo(), b"\x02\nUMOY1\tE221013203000\t235\t#\r\x03") == ([b"UMOY1\tE221013203000\t235"], {})
    assert framed(Teleinfo(), frame.replace(b"00200", b"00201") + frame) == ([lines], {"checksum": 1})
    assert framed(Teleinfo(), frame.replace(b" X\r", b"\r") + frame) == ([lines], {"checksum": 1})
    assert framed(Teleinfo(), frame[:30] + frame) == ([lines], {"cut short": 1})
    assert framed(Teleinfo(), b"\x02\x03" + frame) == ([lines], {"checksum": 1})


def test_ve_direct() -> None:
    """HEX messages before and in a block are no part of its sum; half a block and one that is too long say nothing."""
    records = b"PID\t0xA381\r\nV\t13720\r\nI\t-1252"
    body = b"\r\n" + records + b"\r\nChecksum\t"
    block = body + bytes([-sum(body) & 0xFF])
    asked = b":A0102000543\n"
    assert framed(VeDirect(), block + asked + block[:9] + asked + block[9:]) == ([records, records], {})
    assert framed(VeDirect(), block.replace(b"13720", b"13730") + block) == ([records], {"checksum": 1})
    assert framed(VeDirect(), block[7:] + block) == ([records], {"noise": 1})
    assert framed(VeDirect(), block + block[:-1], silence=True) == ([records], {"cut short": 1})
    assert framed(VeDirect(), asked, silence=True) == ([], {})
    assert framed(VeDirect(bytes_max=64), b"\r\nV\t" + b"1" * 99 + block + block) == ([records], {"too long": 1})


def test_gaps() -> None:
    """Silence ends a frame; one that grows too long is refused up to the next silence."""
    framer = Gap(gap="20ms", bytes_max=4).framer()
    assert framer.gap_s == pytest.approx(0.02)
    assert fed(framer, [b"ab", b"cd", None, b"abcde", b"f", None, b"x", None, None]) == [b"abcd", b"x"]
    assert framer.rejected == {"too long": 1}


def test_options_as_a_profile_writes_them() -> None:
    """`type` chooses the framing; an unknown type, key or byte is a fault with its line."""
    table = Document(
        'framing = { type = "start-end", start = "\\u0002", end = "\\u0003", checksum = "xor-hex" }\n', "p"
    )
    options = msgspec.convert(table.data["framing"], Framing)
    assert framer_of(options).feed(b"\x02AB03\x03") == [b"AB"]
    for text, said in {
        'type = "lime"': "p.toml:2: 'type': 'lime' is not one of",
        'type = "line", ende = "x"': "p.toml:2: unknown key 'ende' (did you mean 'end'?)",
        'type = "line", end = "\\u20ac"': "a character is a byte",
        'type = "line", end = ""': "at least one character",
        'type = "line", checksum = "crc17"': "'crc17' is not one of",
        'type = "fixed", length = 100000': "<= 65536",
        'type = "gap", gap = "2m"': "at most a minute",
    }.items():
        document = Document(f"\nframing = {{ {text} }}\n", "p.toml")
        with pytest.raises(ConfigError) as refused:
            document.convert(_Link)
        assert said in str(refused.value)


class _Link(msgspec.Struct, forbid_unknown_fields=True):
    framing: Framing


def test_the_guide_shows_framings_that_work() -> None:
    """Each framing that the guide writes is one, and every type of framing stands in it."""
    guide = (Path(__file__).parents[2] / "docs/guides/serial-framing.md").read_text(encoding="utf-8")
    shown = re.findall(r"`(framing = \{.*\})`", guide)
    options = [Document(f"{line}\n", "guide").convert(_Link).framing for line in shown]
    assert {type(each) for each in options} == set(FRAMINGS)
    heatmiser = next(each for each in options if isinstance(each, Length) and each.offset)
    body = b"\x81\x05\x00" + bytes(9)
    whole = body[:1] + (len(body) + 4).to_bytes(2, "little") + body[1:]
    assert framer_of(heatmiser).feed(whole + wires.ccitt(whole).to_bytes(2, "little")) == [body]
