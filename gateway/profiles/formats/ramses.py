"""``ramses``: packets of RAMSES-II radio (Honeywell evohome, CM; ventilation) as HGI80 and evofw3 print them.

``047 RP --- 01:123456 30:123456 --:------ 2349 007 0305DC01FFFFFF`` is signal strength, verb, sequence number,
three addresses, code, length and payload. The document: ``verb`` (I, RQ, RP, W), ``seq``, ``addresses``, ``source``,
``kind`` (its first two digits), ``controller`` (whether it speaks for zones), ``destination`` (of a broadcast the
source itself), ``code``, ``size``, ``payload`` (lower-case hexadecimal) and ``index``, its first byte, which most
codes use for the zone. The printed line has no checksum (the stick checked the radio's), so the length must be right
to the byte, and anything after the payload (sticks append what went wrong) refuses the packet. A line that begins
with # is a ``remark``.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.errors import DecodeError
from gateway.profiles.formats.cells import shown
from gateway.profiles.formats.table import Parse, Table, line_of

VERBS = frozenset({"I", "RQ", "RP", "W"})
NOBODY = "--:------"
CONTROLLERS = frozenset({"01", "02", "23"})  # first digits of those who speak for zones: evohome, floor heating, CM
PAYLOAD_BYTES_MAX = 64  # of one packet

_PACKET = re.compile(
    r"(?:(?P<rssi>[0-9]{3}|\.\.\.|---) +)?(?P<verb>[A-Z]{1,2}) +(?P<seq>---|\.\.\.|[0-9]{3})"
    r" +(?P<a>[0-9:-]{9}) +(?P<b>[0-9:-]{9}) +(?P<c>[0-9:-]{9})"
    r" +(?P<code>[0-9A-F]{4}) +(?P<size>[0-9]{3}) +(?P<payload>(?:[0-9A-F]{2}){1,64})",
    re.ASCII,
)
_ADDRESS = re.compile(r"[0-6][0-9]:[0-9]{6}|--:------", re.ASCII)


class Ramses(Table, frozen=True, tag="ramses"):
    """One packet a line."""

    def reader(self) -> Parse:
        """Return the parser; there are no options."""
        return parse


def parse(payload: bytes) -> dict[str, Any]:
    """Read one packet. DecodeError for a line that is none, or whose length is not what it says."""
    line = line_of(payload).strip()
    if line.startswith("#"):
        return {"remark": line[1:].strip()}
    found = _PACKET.fullmatch(line)
    if found is None or found["verb"] not in VERBS:
        raise DecodeError(f"{shown(line)} is no packet")
    addresses = [found["a"], found["b"], found["c"]]
    for address in addresses:
        if not _ADDRESS.fullmatch(address):
            raise DecodeError(f"{shown(address)} is no address")
    heard = [address for address in addresses if address != NOBODY]
    if not heard:
        raise DecodeError("a packet from nobody")
    size = len(found["payload"]) // 2
    if size != int(found["size"]):
        raise DecodeError(f"a payload of {size} bytes, the packet says {int(found['size'])}")
    document: dict[str, Any] = {
        "verb": found["verb"],
        "addresses": addresses,
        "source": heard[0],
        "kind": heard[0][:2],
        "controller": heard[0][:2] in CONTROLLERS,
        "destination": heard[-1],
        "code": found["code"],
        "size": size,
        "payload": found["payload"].lower(),
        "index": found["payload"][:2],
    }
    if found["seq"].isdigit():
        document["seq"] = int(found["seq"])
    if found["rssi"] and found["rssi"].isdigit():
        document["rssi"] = -int(found["rssi"])
    return document
