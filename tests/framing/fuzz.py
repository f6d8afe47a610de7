"""Trials of framers: bytes of all sorts, cut anywhere, and what must hold whatever they are.

* nothing raises, nothing is kept beyond the framing's limit;
* the same bytes give the same frames and refusals, however they are cut;
* frames before garbage arrive whole, and of those behind it at most the first is lost. A frame that nobody sent but
  whose checksum fits by chance is counted as a stranger; it may cost one more, or those that stand in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from gateway.framing.framer import Framer
from tests.framing.wires import Wire

Piece = bytes | None
"""Bytes, or a silence."""

Sent = tuple[bytes, bytes]
"""A frame, and how it looks on the wire."""

POOL = 40  # frames that a run of trials takes from


class FramerFault(AssertionError):
    """A framer did what none may do; the text has what is needed to do it again."""


@dataclass
class Tally:
    """What came of trials."""

    inputs: int = 0
    frames: int = 0
    strangers: int = 0
    lost: int = 0  # first frames behind garbage
    swallowed: int = 0  # times that whole frames were taken for a part of a stranger
    rejected: Counter[str] = field(default_factory=Counter)


def run(wire: Wire, trials: int, seed: int, tally: Tally | None = None) -> Tally:
    """Do trials; each is of one sort. Raises FramerFault."""
    random, tally = Random(seed), tally or Tally()
    pool = _pool(wire, random)
    for _ in range(trials):
        sort = random.random()
        if sort < 0.3:
            _indifferent(wire, [_random_bytes(random)], random, tally)
        elif sort < 0.65:
            _indifferent(wire, list(_mutated(pool, random)), random, tally)
        else:
            _garbage_between(wire, pool, random, tally)
    return tally


def _pool(wire: Wire, random: Random) -> list[Sent]:
    """Make up some frames, no two alike: writing them is slow, damaging them is not."""
    bodies = dict.fromkeys(wire.body(random) for _ in range(POOL))
    return [(wire.frame(body), wire.sent(body)) for body in bodies]


def pieces(data: bytes, random: Random) -> Iterator[bytes]:
    """Cut bytes anywhere."""
    at = 0
    while at < len(data):
        size = random.choice([1, 1, 2, 3, 7, 16, 64, 4096])
        yield data[at : at + size]
        at += size


def fed(framer: Framer, stream: list[Piece]) -> list[bytes]:
    """Feed a stream; return all frames."""
    frames: list[bytes] = []
    for piece in stream:
        frames += framer.idle() if piece is None else framer.feed(piece)
    return frames


def held(framer: Framer) -> int:
    """Return how many bytes a framer keeps."""
    return sum(len(value) for value in vars(framer).values() if isinstance(value, (bytes, bytearray)))


def _indifferent(wire: Wire, stream: list[Piece], random: Random, tally: Tally) -> None:
    """Whole and in pieces: the same frames, the same refusals, and not too much kept."""
    whole, cut = wire.options.framer(), wire.options.framer()
    frames = fed(whole, [*stream, None])
    tally.inputs += 1
    tally.frames += len(frames)
    tally.rejected += whole.rejected
    limit = getattr(wire.options, "bytes_max", 300) * 2 + 64
    small: list[bytes] = []
    for piece in (*stream, None):
        if piece is None:
            small += cut.idle()
        else:
            for part in pieces(piece, random):
                small += cut.feed(part)
                if held(cut) > limit + len(part):
                    raise FramerFault(f"{held(cut)} bytes are kept: {wire.options} {stream}")
    if frames != small or whole.rejected != cut.rejected:
        raise FramerFault(f"{frames} {whole.rejected} or {small} {cut.rejected}: {wire.options} {stream}")
    if any(not frame for frame in frames):
        raise FramerFault(f"an empty frame: {wire.options} {stream}")


def _garbage_between(wire: Wire, pool: list[Sent], random: Random, tally: Tally) -> None:
    """Whole frames, garbage, whole frames; silence only where this wire has it."""
    taken = random.sample(pool, random.randint(4, 6))
    before, behind, broken = taken[4:], taken[:3], taken[3][1]
    silence: list[Piece] = [None] if wire.pauses else []
    stream: list[Piece] = []
    for _, wired in before:
        stream += [wired, *silence]
    stream += [_garbage(broken, random), *silence]
    for _, wired in behind:
        stream += [wired, *silence]
    joined = stream if wire.pauses else list(pieces(b"".join(piece or b"" for piece in stream), random))
    framer = wire.options.framer()
    frames = fed(framer, [*joined, None])
    tally.inputs += 1
    tally.frames += len(frames)
    tally.rejected += framer.rejected
    sent = [frame for frame, _ in (*before, *behind)]
    strangers = len(frames) - len([frame for frame in frames if frame in sent])
    lost = [frame for frame in sent if frame not in frames]
    tally.strangers += strangers
    if frames[: len(before)] != sent[: len(before)]:
        raise FramerFault(f"{sent[: len(before)]} came as {frames}: {wire.options} {joined}")
    tally.lost += bool(lost)
    swallowed = [frame for frame in lost if any(frame in other for other in frames)]
    tally.swallowed += bool(swallowed)
    if len(lost) - len(swallowed) > 1 + strangers:
        raise FramerFault(f"lost {lost} behind garbage, got {frames}: {wire.options} {joined}")


def _random_bytes(random: Random) -> bytes:
    data = random.randbytes(random.randint(1, 80))
    if random.random() < 0.3:  # few values: marks, lengths and escapes come often
        alphabet = b"\x00\x01\x02\x03\x55\x7f\xc0\xdb\xdc\xdd\xff\r\n/!$*<>0A"
        data = bytes(random.choices(alphabet, k=len(data)))
    return data * (random.randint(2, 80) if random.random() < 0.01 else 1)


def _garbage(broken: bytes, random: Random) -> bytes:
    sort = random.random()
    if sort < 0.4:
        return random.randbytes(random.randint(1, 40))
    if sort < 0.7:
        return broken[: random.randint(1, len(broken) - 1)]
    return _mutate(broken, random)


def _mutated(pool: list[Sent], random: Random) -> Iterator[Piece]:
    for _ in range(random.randint(1, 4)):
        sent = random.choice(pool)[1]
        yield _mutate(sent, random) if random.random() < 0.6 else sent
        if random.random() < 0.3:
            yield None


def _mutate(data: bytes, random: Random) -> bytes:
    """Flip, put in, take out, double or cut."""
    out = bytearray(data)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(out)) if out else 0
        sort = random.randrange(5)
        if sort == 0 and out:
            out[at] ^= 1 << random.randrange(8)
        elif sort == 1:
            out[at:at] = random.randbytes(random.randint(1, 4))
        elif sort == 2:
            del out[at : at + random.randint(1, 4)]
        elif sort == 3:
            out[at:at] = out[at : at + 8]
        else:
            del out[at:]
    return bytes(out)
