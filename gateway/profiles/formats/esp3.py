"""``esp3``: EnOcean Serial Protocol 3 packets, as the framer verified them, from 0x55 to the last CRC.

A radio telegram (ERP1, packet type 1) becomes ``rorg`` (two hexadecimal digits), ``data`` (the bytes after it),
``sender``, ``status``, ``hops``, ``learn`` and, of RPS, ``n_message``; from the optional data ``subtelegrams``,
``destination``, ``dbm`` and ``security``. What kind of device it is the telegram does not say (its EEP is agreed on
when it is taught in); where it does, ``eep`` names it: a 4BS teach-in with profile, a universal teach-in (D4), and 1BS,
which has one profile. All other packet types are named in ``packet`` and carry their bytes in ``data``.

Source: EnOcean Serial Protocol 3 specification (packet types, ERP1); EnOcean Equipment Profiles (teach-in).
"""

from __future__ import annotations

from typing import Any

from gateway.errors import DecodeError
from gateway.profiles.formats.table import Parse, Table

PACKETS = {
    1: "radio", 2: "response", 3: "radio_sub_telegram", 4: "event", 5: "common_command", 6: "smart_ack_command",
    7: "remote_management", 9: "radio_message", 10: "radio_erp2", 16: "radio_802_15_4", 17: "command_2_4",
}  # fmt: skip
RETURN_CODES = {0: "ok", 1: "error", 2: "not_supported", 3: "wrong_parameter", 4: "operation_denied"}
TELEGRAMS = {
    0xF6: "rps", 0xD5: "1bs", 0xA5: "4bs", 0xD2: "vld", 0xD1: "msc", 0xA6: "adt", 0xC6: "sm_lrn_req",
    0xC7: "sm_lrn_ans", 0xA7: "sm_rec", 0xC5: "sys_ex", 0x30: "sec", 0x31: "sec_encaps", 0xD4: "ute", 0xD0: "signal",
}  # fmt: skip

_HEADER_BYTES = 6  # 0x55, two of data length, optional length, packet type, CRC
_TAIL_BYTES = 5  # of ERP1 data: four of sender, one of status
_ONE_BS_LEARN = 0x08  # of 1BS data and of 4BS data byte 0: 0 is a teach-in
_RPS = 0xF6
_N_MESSAGE = 0x10  # of an RPS telegram's status
_WITH_PROFILE = 0x80  # of 4BS data byte 0 in a teach-in: function and type are given


class Esp3(Table, frozen=True, tag="esp3"):
    """One packet."""

    def reader(self) -> Parse:
        """Return the parser; there are no options."""
        return parse


def parse(payload: bytes) -> dict[str, Any]:
    """Read one packet. DecodeError when its lengths are not those of its header."""
    if len(payload) < _HEADER_BYTES or payload[0] != 0x55:
        raise DecodeError("not an ESP3 packet")
    length, optional = int.from_bytes(payload[1:3], "big"), payload[3]
    if len(payload) != _HEADER_BYTES + length + optional + 1:
        raise DecodeError(f"{len(payload)} bytes, the header says {_HEADER_BYTES + length + optional + 1}")
    data = payload[_HEADER_BYTES : _HEADER_BYTES + length]
    packet = PACKETS.get(payload[4], f"type_{payload[4]}")
    if packet == "radio":
        return _radio(data, payload[_HEADER_BYTES + length : -1])
    document: dict[str, Any] = {"packet": packet, "data": data.hex()}
    if packet == "response" and data:
        document["return"] = RETURN_CODES.get(data[0], f"code_{data[0]}")
    return document


def _radio(data: bytes, optional: bytes) -> dict[str, Any]:
    if len(data) < 1 + _TAIL_BYTES:
        raise DecodeError(f"a radio telegram of {len(data)} bytes, expected at least {1 + _TAIL_BYTES}")
    rorg, body, status = data[0], data[1:-_TAIL_BYTES], data[-1]
    document: dict[str, Any] = {
        "packet": "radio",
        "telegram": TELEGRAMS.get(rorg, "unknown"),
        "rorg": f"{rorg:02X}",
        "data": body.hex(),
        "size": len(body),
        "sender": data[-_TAIL_BYTES:-1].hex().upper(),
        "status": status,
        "hops": status & 0x0F,
    }
    document.update(_learned(rorg, body))
    if rorg == _RPS:
        document["n_message"] = bool(status & _N_MESSAGE)  # buttons by name; a U-message only counts them
    if len(optional) >= 7:
        document["subtelegrams"] = optional[0]
        document["destination"] = optional[1:5].hex().upper()
        document["security"] = optional[6]
        if optional[5] not in (0x00, 0xFF):  # 0xFF stands in telegrams to be sent
            document["dbm"] = -optional[5]
    return document


def _learned(rorg: int, body: bytes) -> dict[str, Any]:
    """Return whether this is a teach-in, and the profile that it or its kind names."""
    if rorg == 0xD5 and len(body) == 1:
        return {"learn": not body[0] & _ONE_BS_LEARN, "eep": "D5-00-01"}
    if rorg == 0xA5 and len(body) == 4:
        if body[3] & _ONE_BS_LEARN:
            return {"learn": False}
        if not body[3] & _WITH_PROFILE:
            return {"learn": True}
        function, kind = body[0] >> 2, (body[0] & 0x03) << 5 | body[1] >> 3
        return {"learn": True, "eep": f"A5-{function:02X}-{kind:02X}", "maker": (body[1] & 0x07) << 8 | body[2]}
    if rorg == 0xD4 and len(body) == 7:
        channels, maker, kind, function, of = body[1], body[2] | (body[3] & 0x07) << 8, body[4], body[5], body[6]
        return {"learn": True, "eep": f"{of:02X}-{function:02X}-{kind:02X}", "maker": maker, "channels": channels}
    return {"learn": rorg == 0xD4}
