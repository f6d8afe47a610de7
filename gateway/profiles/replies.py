"""Captured frames of a polled bus, without the requests they answer: what can honestly be said of them.

A reply names its unit and function, not its registers. One that has the length of a poll and whose values are all what
that poll's fields may be (an enum's numbers, a range) is taken for its answer when that cannot well be chance:
`EVIDENCE_BITS_MIN`. Everything else is refused with what it is. On a bus nothing is guessed: its requests are known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gateway.errors import DecodeError
from gateway.polling.heatmiser import MASTER, READ
from gateway.polling.rtu import READ_BITS, READ_REGISTERS, WRITE_BIT, WRITE_BITS, WRITE_REGISTER, WRITE_REGISTERS
from gateway.polling.rtu import exception_name as exception
from gateway.profiles.compiled import Compiled, CompiledField, CompiledMessage
from gateway.profiles.polls import protocol_of

EVIDENCE_BITS_MIN = 20  # other registers would look so once in a million
REGISTER_BITS = 16
_REFUSED = 0x80


class Reply(NamedTuple):
    """A reply that could be told: whose poll it answers."""

    profile: str
    topic: str
    data: bytes


def reply_of(profiles: Iterable[Compiled], bus: str, frame: bytes) -> Reply:
    """Tell what a frame (address, function, data) answers. Raises DecodeError with what it is when it can't be told."""
    profiles = list(profiles)
    if profiles and protocol_of(profiles[0].source.link) == "heatmiser-v3":
        return _block(profiles, bus, frame)
    address, function, data = _reply(frame)
    fitting: list[Reply] = []
    for profile in profiles:
        for poll in profile.source.poll:
            message = next((m for m in profile.messages if m.topics[0].text.endswith(f"/{poll.name}")), None)
            size = 2 * poll.count if function in READ_REGISTERS else (poll.count + 7) // 8
            if message is None or poll.function != function or size != len(data):
                continue
            if _evidence_bits(message, data) >= EVIDENCE_BITS_MIN:
                fitting.append(Reply(profile.source.id, f"{bus}/{address}/{poll.name}", data))
    if len(fitting) == 1:
        return fitting[0]
    what = f"unit {address} answers function {function} with {len(data)} bytes"
    if fitting:
        raise DecodeError(f"{what}: it may be of {' or '.join(one.profile for one in fitting)}")
    raise DecodeError(f"{what}: a reply does not name its registers; only what was asked tells")


def _block(profiles: list[Compiled], bus: str, frame: bytes) -> Reply:
    """Tell a Heatmiser's block, which says where it begins; the frame is without its length and checksum."""
    if len(frame) < 7 or frame[0] != MASTER or frame[2] != READ or any(frame[3:5]):
        raise DecodeError("no reply with a whole block")
    data = frame[7:]
    for profile in profiles:
        for poll in profile.source.poll:
            if poll.start + poll.count <= len(data):
                taken = data[poll.start : poll.start + poll.count]
                return Reply(profile.source.id, f"{bus}/{frame[1]}/{poll.name}", taken)
    raise DecodeError(f"unit {frame[1]} answers with {len(data)} bytes, which is less than any poll wants")


def _reply(frame: bytes) -> tuple[int, int, bytes]:
    """Return address, function and values of a reply to a read. DecodeError says what another frame is."""
    if len(frame) < 3:
        raise DecodeError("a frame that is too short")
    address, function = frame[0], frame[1]
    if function & _REFUSED and len(frame) == 3:
        raise DecodeError(f"unit {address} refuses function {function & ~_REFUSED}: {exception(frame[2])}")
    if function in (*READ_BITS, *READ_REGISTERS):
        if len(frame) == 3 + frame[2] and frame[2] and not (function in READ_REGISTERS and frame[2] % 2):
            return address, function, frame[3:]
        if len(frame) == 6:
            start, count = int.from_bytes(frame[2:4], "big"), int.from_bytes(frame[4:6], "big")
            raise DecodeError(f"a master asks unit {address}: function {function}, {count} from {start}")
    elif function in (WRITE_BIT, WRITE_REGISTER, WRITE_BITS, WRITE_REGISTERS) and len(frame) >= 6:
        start = int.from_bytes(frame[2:4], "big")
        raise DecodeError(f"unit {address} is written to, or says so: function {function} at {start}")
    raise DecodeError(f"unit {address}: function {function} with {len(frame) - 2} bytes is no reply to a poll")


def _evidence_bits(message: CompiledMessage, data: bytes) -> float:
    """Return how unlikely it is that other registers look like this answer; 0 when some value cannot be its."""
    document = message.parse(data)
    if isinstance(document, DecodeError):
        return 0.0
    bits, seen = 0.0, set[str]()
    for field in message.fields:
        try:
            value = field.convert(field.read(document), document)
        except DecodeError:
            return 0.0
        if value is None and field.source.range is not None:
            return 0.0
        for pointer, chance in _narrow(field):
            if pointer not in seen:
                seen.add(pointer)
                bits += chance
    return bits


def _narrow(field: CompiledField) -> Iterator[tuple[str, float]]:
    """Yield the registers of a field that may hold few numbers only, each with the bits that says."""
    source = field.source
    for pointer in [source.source] if isinstance(source.source, str) else source.source:
        if source.map and source.fallback is None:
            yield pointer, max(0.0, REGISTER_BITS - math.log2(len(source.map)))
        elif source.range is not None and not pointer.endswith(("float32", "float64")):
            yield pointer, max(0.0, REGISTER_BITS - math.log2(source.range[1] - source.range[0] + 1))
    for pointer in source.unit_from.source if source.unit_from else ():
        yield pointer, REGISTER_BITS - math.log2(len(source.unit_from.map)) if source.unit_from else 0.0
