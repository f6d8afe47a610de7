"""What goes over the wire, written a second time: frames as devices send them, by code that shares none with framers.

`WIRES` has at least one way of each framing; a framing without one is found by `test_framing.py`. CRCs are computed
bit by bit here, COBS and SLIP byte by byte, as their descriptions have it.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from gateway.framing.checksums import Checksum
from gateway.framing.cobs import Cobs
from gateway.framing.delimiter import Delimiter
from gateway.framing.esp3 import Esp3
from gateway.framing.fixed import Fixed
from gateway.framing.framer import FramingOptions
from gateway.framing.gap import Gap
from gateway.framing.length import Length
from gateway.framing.line import Line
from gateway.framing.modbus_rtu import ModbusRtu
from gateway.framing.slip import Slip
from gateway.framing.start_end import StartEnd
from gateway.framing.telegram import Telegram
from gateway.framing.teleinfo import Teleinfo
from gateway.framing.ve_direct import VeDirect

TEXT = (string.ascii_letters + string.digits + " ;,.=:-").encode()


@dataclass(frozen=True)
class Wire:
    """A way to send frames: `body` makes up one, `sent` says how it looks on the wire and which frame comes out."""

    options: FramingOptions
    body: Callable[[Random], bytes]
    sent: Callable[[bytes], bytes]
    frame: Callable[[bytes], bytes] = lambda body: body
    pauses: bool = False  # frames are told apart by silence only


def bitwise(data: bytes, *, width: int, poly: int, init: int, reflected: bool, out: int = 0) -> int:
    """Compute any CRC of Williams' model, a bit at a time."""
    crc, top, mask = init, 1 << (width - 1), (1 << width) - 1
    for byte in data:
        bits = range(8) if reflected else range(7, -1, -1)
        for bit in bits:
            high = bool(crc & top) ^ bool(byte >> bit & 1)
            crc = (crc << 1 & mask) ^ (poly if high else 0)
    if reflected:
        crc = int(f"{crc:0{width}b}"[::-1], 2)
    return crc ^ out


def modbus_crc(data: bytes) -> bytes:
    return bitwise(data, width=16, poly=0x8005, init=0xFFFF, reflected=True).to_bytes(2, "little")


def arc(data: bytes) -> int:
    return bitwise(data, width=16, poly=0x8005, init=0, reflected=True)


def ccitt(data: bytes) -> int:
    return bitwise(data, width=16, poly=0x1021, init=0xFFFF, reflected=False)


def crc8(data: bytes) -> int:
    return bitwise(data, width=8, poly=0x07, init=0, reflected=False)


def crc32(data: bytes) -> int:
    return bitwise(data, width=32, poly=0x04C11DB7, init=0xFFFFFFFF, reflected=True, out=0xFFFFFFFF)


def xor(data: bytes) -> int:
    total = 0
    for byte in data:
        total ^= byte
    return total


def text(random: Random) -> bytes:
    return bytes(random.choices(TEXT, k=random.randint(4, 40)))


def binary(random: Random) -> bytes:
    return random.randbytes(random.randint(4, 40))


def slip(data: bytes) -> bytes:
    out = bytearray(b"\xc0")
    for byte in data:
        out += {0xC0: b"\xdb\xdc", 0xDB: b"\xdb\xdd"}.get(byte, bytes([byte]))
    return bytes(out + b"\xc0")


def cobs(data: bytes) -> bytes:
    out, block = bytearray(), bytearray()
    for at, byte in enumerate(data):
        if byte:
            block.append(byte)
            if len(block) == 254:
                out += b"\xff" + block
                block.clear()
                if at == len(data) - 1:
                    return bytes(out + b"\0")
        else:
            out += bytes([len(block) + 1]) + block
            block.clear()
    return bytes(out + bytes([len(block) + 1]) + block + b"\0")


def esp3(data: bytes) -> bytes:
    """Send a packet whose data and optional data are `data`."""
    optional = len(data) % 8
    header = (len(data) - optional).to_bytes(2, "big") + bytes([optional, 1])
    return b"\x55" + header + bytes([crc8(header)]) + data + bytes([crc8(data)])


def modbus_reply(random: Random) -> bytes:
    registers = random.randbytes(2 * random.randint(1, 12))
    return bytes([random.randint(1, 247), random.choice([3, 4]), len(registers)]) + registers


def modbus_request(random: Random) -> bytes:
    if random.random() < 0.5:
        return bytes([random.randint(1, 247), random.choice([1, 2, 3, 4, 5, 6])]) + random.randbytes(4)
    values = random.randbytes(2 * random.randint(1, 6))
    return (
        bytes([random.randint(1, 247), 16]) + random.randbytes(2) + bytes([0, len(values) // 2, len(values)]) + values
    )


def makers_own(random: Random) -> bytes:
    return bytes([random.randint(1, 247), random.choice([0x41, 0x42, 0x64])]) + random.randbytes(random.randint(1, 30))


def telegram(random: Random) -> bytes:
    lines = [f"1-0:{random.randint(1, 99)}.7.0({random.random() * 100:07.3f}*kW)" for _ in range(random.randint(1, 6))]
    return f"/ISK5\\2M550T-{random.randint(1000, 9999)}\r\n\r\n".encode() + "\r\n".join(lines).encode() + b"\r\n!"


def ve_records(random: Random) -> bytes:
    values = {"V": random.randint(0, 60000), "I": random.randint(-9000, 9000), "SOC": random.randint(0, 1000)}
    return (
        f"PID\t0x{random.randint(0xA040, 0xA3FF):X}\r\n".encode()
        + "\r\n".join(f"{label}\t{value}" for label, value in values.items()).encode()
    )


def ve_direct(body: bytes) -> bytes:
    """Send a block with messages of the other protocol before and in it."""
    block = b"\r\n" + body + b"\r\nChecksum\t"
    sent = b":A0102000345\n" + block.replace(b"\r\nI", b":ADBED00CD0AAC\n\r\nI")
    return sent + bytes([-sum(block) & 255])


def tic_groups(random: Random) -> bytes:
    values = {"ADCO": f"{random.randrange(10**12):012}", "PTEC": "HP..", "PAPP": f"{random.randrange(10**5):05}"}
    return "\r\n".join(f"{label}\t{value}" for label, value in values.items()).encode()


def teleinfo(body: bytes, *, standard: bool) -> bytes:
    """Send groups with their checks: over the last separator, too, in the standard mode."""
    sent = b""
    for line in body.split(b"\r\n"):
        group = line if standard else line.replace(b"\t", b" ")
        check = (sum(group) + (9 if standard else 0)) % 64 + 32
        sent += b"\n" + group + (b"\t" if standard else b" ") + bytes([check]) + b"\r"
    return b"\x02" + sent + b"\x03"


def rfxtrx(data: bytes) -> bytes:
    return bytes([len(data)]) + data


def reader_tag(random: Random) -> bytes:
    return random.randbytes(5).hex().upper().encode()


WIRES: dict[str, Wire] = {
    "line": Wire(Line(), text, lambda body: body + b"\r\n"),
    "line, nmea": Wire(
        Line(checksum=Checksum(type="xor", form="hex", sep="*", skip=1)),
        lambda random: b"$" + text(random),
        lambda body: body + b"*%02X\r\n" % xor(body[1:]),
    ),
    "line, it-100": Wire(
        Line(end="\r\n", checksum="sum-hex"), text, lambda body: body + b"%02X\r\n" % (sum(body) & 255)
    ),
    "delimiter": Wire(
        Delimiter(delimiter="\u00ff"),
        lambda random: binary(random).replace(b"\xff", b"\xfe"),
        lambda body: body + b"\xff",
    ),
    "delimiter, two bytes": Wire(
        Delimiter(delimiter="\r\r", checksum=Checksum(type="ccitt-ffff", form="hex")),
        text,
        lambda body: body + b"%04X\r\r" % ccitt(body),
    ),
    "start-end": Wire(StartEnd(start="\u0002", end="\u0003"), text, lambda body: b"\x02" + body + b"\x03"),
    "start-end, rdm6300": Wire(
        StartEnd(start="\u0002", end="\u0003", checksum=Checksum(type="xor", form="hex", over="hex")),
        reader_tag,
        lambda body: b"\x02" + body + b"%02X\x03" % xor(bytes.fromhex(body.decode())),
    ),
    "start-end, crc inside": Wire(
        StartEnd(start="<<", end=">>", checksum="crc16-modbus"),
        text,
        lambda body: b"<<" + body + modbus_crc(body) + b">>",
    ),
    "start-end, bcc behind": Wire(
        StartEnd(start="\u0002", end="\u0003", checksum="xor", checksum_at="after-end", covers_end=True),
        text,
        lambda body: b"\x02" + body + b"\x03" + bytes([xor(body + b"\x03")]),
    ),
    "length": Wire(Length(), binary, rfxtrx, pauses=True),
    "length, heatmiser": Wire(
        Length(offset=1, width=2, counts="all", checksum=Checksum(type="ccitt-ffff", order="little")),
        binary,
        lambda body: (
            (whole := body[:1] + (len(body) + 4).to_bytes(2, "little") + body[1:]) + ccitt(whole).to_bytes(2, "little")
        ),
    ),
    "length, start and crc32": Wire(
        Length(offset=2, width=2, order="big", start="\u00aa\u0055", extra=4, checksum="crc32"),
        lambda random: b"\xaa\x55" + binary(random),
        lambda body: (
            (whole := body[:2] + (len(body) - 2).to_bytes(2, "big") + body[2:]) + crc32(whole).to_bytes(4, "little")
        ),
    ),
    "fixed": Wire(Fixed(length=12), lambda random: random.randbytes(12), lambda body: body, pauses=True),
    "fixed, pelco-d": Wire(
        Fixed(length=7, start="\u00ff", checksum=Checksum(type="sum8", skip=1)),
        lambda random: b"\xff" + random.randbytes(5),
        lambda body: body + bytes([sum(body[1:]) & 255]),
    ),
    "fixed, crc": Wire(
        Fixed(length=20, checksum="crc16-arc"),
        lambda random: random.randbytes(18),
        lambda body: body + arc(body).to_bytes(2, "little"),
    ),
    "slip": Wire(Slip(), binary, slip),
    "slip, crc": Wire(Slip(checksum="ccitt-ffff"), binary, lambda body: slip(body + ccitt(body).to_bytes(2, "big"))),
    "cobs": Wire(Cobs(), binary, cobs),
    "cobs, crc32": Wire(
        Cobs(checksum="crc32"),
        lambda random: random.randbytes(random.choice([4, 40, 253, 254, 255, 300])),
        lambda body: cobs(body + crc32(body).to_bytes(4, "little")),
    ),
    "esp3": Wire(Esp3(), binary, esp3, esp3),
    "modbus-rtu": Wire(ModbusRtu(), modbus_reply, lambda body: body + modbus_crc(body)),
    "modbus-rtu, requests": Wire(ModbusRtu(side="requests"), modbus_request, lambda body: body + modbus_crc(body)),
    "modbus-rtu, both": Wire(
        ModbusRtu(side="both"),
        lambda random: random.choice((modbus_request, modbus_reply))(random),
        lambda body: body + modbus_crc(body),
        pauses=True,
    ),
    "modbus-rtu, maker's own": Wire(ModbusRtu(), makers_own, lambda body: body + modbus_crc(body), pauses=True),
    "telegram": Wire(Telegram(), telegram, lambda body: body + b"%04X\r\n" % arc(body)),
    "telegram, no zeros": Wire(Telegram(crc="always"), telegram, lambda body: body + b"%X\r\n" % arc(body)),
    "telegram, before 4": Wire(Telegram(), telegram, lambda body: body + b"\r\n"),
    "teleinfo": Wire(Teleinfo(), tic_groups, lambda body: teleinfo(body, standard=False)),
    "teleinfo, standard": Wire(Teleinfo(), tic_groups, lambda body: teleinfo(body, standard=True)),
    "ve-direct": Wire(VeDirect(), ve_records, ve_direct),
    "gap": Wire(Gap(gap="20ms"), binary, lambda body: body, pauses=True),
    "gap, crc": Wire(
        Gap(gap="20ms", checksum="crc16-modbus"), binary, lambda body: body + modbus_crc(body), pauses=True
    ),
}
