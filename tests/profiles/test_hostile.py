"""Hostile input: payloads and profiles bent at random raise nothing but what says why."""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Iterator
from contextlib import suppress

from gateway.document import Document
from gateway.errors import ConfigError, DecodeError
from gateway.profiles import samples
from gateway.profiles.catalogue import BUILTIN, Catalogue
from gateway.profiles.compile import compile_profile
from gateway.profiles.decode import Decoder
from gateway.profiles.devices import Devices

NASTY = [b"\x00", b"\xff", b"9" * 400, b"1e999", b"[]", b'{"a":' * 50, b"null", b'""', b"\r\n", b'"\\ud800"', b"-1"]
WORDS = ['""', '"/"', '"{"', '"{x+}/{y+}"', '"#"', "-1", "0", "1e308", "[]", "{}", "true", '"1h"', '"-1s"', "nan",
         '"serial"', '"$value"', '["", "/x"]', '{ path = "/x", equals = 1 }', '"\\u0000"', "2026-01-01"]  # fmt: skip
MESSAGES, PROFILES = 1_000, 80


def bent(payload: bytes, chance: random.Random) -> bytes:
    """Return a payload with some bytes others, cut, doubled, or replaced by something nasty."""
    raw = bytearray(payload)
    for _ in range(chance.randint(1, 4)):
        at, kind = chance.randrange(len(raw) + 1), chance.randrange(4)
        numbers = list(re.finditer(rb'-?\d+(?:\.\d+)?|"[^"]*"|true|false|null', bytes(raw)))
        if kind == 0 and at < len(raw):
            raw[at] = chance.randrange(256)
        elif kind == 1:
            raw[at:at] = chance.choice(NASTY)
        elif kind == 2:
            del raw[at : at + chance.randint(1, 8)]
        elif numbers:
            found = chance.choice(numbers)
            raw[found.start() : found.end()] = chance.choice(NASTY)
    return bytes(raw)


def misspelt(text: str, chance: random.Random) -> str:
    """Return a profile with lines gone, doubled, swapped, values others, characters typed over."""
    lines = text.split("\n")
    for _ in range(chance.randint(1, 3)):
        at, kind = chance.randrange(len(lines)), chance.randrange(5)
        values = list(re.finditer(r'"[^"]*"|-?\d+(?:\.\d+)?|true|false', lines[at]))
        if kind == 0:
            lines[at] = ""
        elif kind == 1:
            lines.insert(at, chance.choice(lines))
        elif kind == 2 and values:
            found = chance.choice(values)
            lines[at] = lines[at][: found.start()] + chance.choice(WORDS) + lines[at][found.end() :]
        elif kind == 3:
            lines[at] += chance.choice('"{}[]=/#+:|*\\ ')
        else:
            other = chance.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
    return "\n".join(lines)


def shipped() -> Iterator[tuple[str, samples.Sample]]:
    """Yield (profile, sample) of everything that is shipped."""
    for file in sorted((BUILTIN / "samples").glob("*.jsonl")):
        for _, sample in samples.read(file):
            yield file.stem, sample


def line_of(sample: samples.Sample, payload: bytes) -> samples.Earlier:
    """Return a sample's message with another payload."""
    return samples.Earlier(topic=sample.topic, port=sample.port, payload_b64=base64.b64encode(payload).decode())


def test_bent_payloads() -> None:
    """Whatever is sent on a topic or a port is decoded or rejected, and nothing raises."""
    chance, heard, known = random.Random(1), samples.Heard(Catalogue.load()), list(shipped())
    for i in range(MESSAGES):
        _, sample = chance.choice(known)
        decoded = heard.decode(line_of(sample, bent(samples.incoming(sample, 0).payload, chance)), samples.NOW_NS + i)
        assert decoded.readings or decoded.events or decoded.rejected or decoded.ignored or decoded.faults


def test_misspelt_profiles() -> None:
    """A profile that somebody has bent is refused with its faults, or reads what it reads and takes what it takes."""
    chance, compiled = random.Random(3), 0
    by_profile: dict[str, list[samples.Sample]] = {}
    for name, sample in shipped():
        by_profile.setdefault(name, []).append(sample)
    texts = {name: (BUILTIN / f"{name}.toml").read_text() for name in sorted(by_profile)}
    for _ in range(PROFILES):
        name = chance.choice(list(texts))
        try:
            profile = compile_profile(Document(misspelt(texts[name], chance), "bent.toml"))
        except ConfigError:
            continue
        compiled += 1
        catalogue = Catalogue([profile])
        heard = samples.Heard(catalogue)
        for sample in chance.sample(by_profile[name], min(4, len(by_profile[name]))):
            heard.decode(sample, samples.NOW_NS)
        words = [profile.source.id] if profile.source.link.kind == "serial" else None
        decoder = Decoder(catalogue, "gateway", samples.SOURCE, Devices(), heard.values, profiles=words)
        decoder.release(samples.NOW_NS, 1)
        decoder.release(samples.NOW_NS, 10**18)
        for device in list(heard.values):
            for command in profile.commands:
                for value in (None, True, 21.5, "heat", "x\ny"):
                    with suppress(DecodeError):
                        decoder.encode(device, command, value)
    assert compiled > PROFILES // 20
