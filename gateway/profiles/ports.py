"""Bytes of a serial port as the profiles read them, without the port: framing and decoding of what was captured.

A port is written as corpora and people write it, ``mysensors:115200``: the word before the colon chooses the profiles
that call such a port so (`[link] ports`); a word that none knows tries every serial profile. Profiles that frame alike
share a decoder, as they would on one line. Where the profiles do not name a port, bytes are tried framing by framing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from gateway.errors import DecodeError
from gateway.framing.framer import marker
from gateway.framing.line import Line
from gateway.framing.options import Framing, framer_of
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.context import Decoded
from gateway.profiles.decode import Decoder
from gateway.profiles.replies import reply_of

FRAMES_MAX = 1_000  # of one capture


class Frame(NamedTuple):
    """One frame as a delivery."""

    topic: str
    payload: bytes
    received_ns: int
    retained: bool = False


class _Line(NamedTuple):
    """Profiles that frame alike, and their decoder; `polled` tells whose reply a frame is where they ask."""

    framing: Framing
    decoder: Decoder
    polled: Callable[[str, Frame], Decoded] | None = None

    def decode(self, frame: Frame) -> Decoded:
        """Decode one frame."""
        if self.polled is not None and "/" not in frame.topic:
            return self.polled(frame.topic, frame)
        return self.decoder.decode(frame)


class Ports:
    """Decodes captured bytes; keeps what it heard between calls until `forget`."""

    def __init__(self, catalogue: Catalogue, decoder: Callable[[Iterable[str]], Decoder]) -> None:
        """Take the profiles; `decoder` makes the decoder of some of them."""
        self._catalogue, self._decoder = catalogue, decoder
        self._lines: dict[str, list[_Line]] = {}

    def forget(self) -> None:
        """Begin as if nothing had been heard."""
        self._lines.clear()

    def decode(self, port: str, payload: bytes, at_ns: int, topic: str = "") -> Decoded:
        """Decode all frames in some bytes; with a `topic` the bytes are one frame, the reply to that poll."""
        lines = self._of(port.partition(":")[0].lower())
        if not lines:
            return Decoded(rejected="no serial profile", unclaimed=True)
        refused: list[Decoded] = []
        for line in lines:
            frames = [payload] if topic else None
            out = _decoded(line, frames, payload, topic or port.partition(":")[0] or "port", at_ns)
            if out.rejected is None:
                return out
            refused.append(out)
        if not self._named(port):
            return Decoded(rejected=f"no serial profile reads it, and none calls a port {port!r}", unclaimed=True)
        claimed = [out for out in refused if not out.unclaimed]
        return (claimed or refused)[0]

    def _named(self, port: str) -> bool:
        """Return whether a profile calls its ports so."""
        word = port.partition(":")[0].lower()
        links = (self._catalogue.profiles[name].source.link for name in self._catalogue.of_kind("serial"))
        return any(word in link.ports for link in links)

    def _of(self, word: str) -> list[_Line]:
        found = self._lines.get(word)
        if found is None:
            links = {name: self._catalogue.profiles[name].source.link for name in self._catalogue.of_kind("serial")}
            named = [name for name, link in links.items() if word in link.ports] or list(links)
            alike: dict[bytes, list[str]] = {}
            for name in named:
                if links[name].framing is not None:
                    alike.setdefault(msgspec.json.encode(links[name].framing), []).append(name)
            found = [self._line(_framing(links[names[0]].framing), names) for names in alike.values()]
            self._lines[word] = found
        return found

    def _line(self, framing: Framing, names: list[str]) -> _Line:
        profiles = [self._catalogue.profiles[name] for name in names if self._catalogue.profiles[name].source.poll]

        def polled(bus: str, frame: Frame) -> Decoded:
            try:
                reply = reply_of(profiles, bus, frame.payload)
            except DecodeError as error:
                return Decoded(rejected=str(error))
            return self._decoder([reply.profile]).decode(Frame(reply.topic, reply.data, frame.received_ns))

        return _Line(framing, self._decoder(names), polled if profiles else None)


def _missing_end(framing: Framing, payload: bytes) -> bytes:
    """Return the end of a line that was captured without it."""
    end = marker(framing.end) if isinstance(framing, Line) else b""
    return b"" if payload.endswith(end) else end


def _framing(framing: Framing | None) -> Framing:
    assert framing is not None
    return framing


def _decoded(line: _Line, frames: list[bytes] | None, payload: bytes, topic: str, at_ns: int) -> Decoded:
    """Decode the frames of one capture; what one of them is refused for is said when nothing else is said."""
    rejected = ""
    if frames is None:
        framer = framer_of(line.framing)
        framer.idle()  # a capture begins with a frame
        frames = [*framer.feed(payload), *framer.feed(_missing_end(line.framing, payload)), *framer.idle()]
        rejected = ", ".join(f"{why}" + (f" ({n} times)" if n > 1 else "") for why, n in framer.rejected.items())
    if not frames:
        return Decoded(rejected=f"framing: {rejected or 'no whole frame'}")
    out, refused, unclaimed = Decoded(), [rejected] if rejected else [], True
    for frame in frames[:FRAMES_MAX]:
        one = line.decode(Frame(topic, frame, at_ns))
        out.events += one.events
        out.readings += one.readings
        out.faults += one.faults
        out.changed += one.changed
        out.ignored = out.ignored or one.ignored
        if one.rejected is not None:
            refused.append(one.rejected)
            unclaimed = unclaimed and one.unclaimed
    if refused and not (out.readings or out.events or out.ignored):
        out.rejected, out.unclaimed = "; ".join(dict.fromkeys(refused)), unclaimed
    else:
        out.faults += refused
    return out
