"""Samples: messages beside a profile and what they must decode to; data that proves the data.

``device_profiles/samples/<id>.jsonl`` holds one JSON object a line::

    {"topic": "..." | "port": "mysensors:115200", "payload": {...} | "text", "payload_b64": "...", "retain": true,
     "installed": {"kind": "window", "invert": true},        what devices.toml says of the device
     "after": [{"topic": "...", "payload": ...}, ...],        messages that came before
     "expect": {"device", "id", "device_class", "profile", "fields", "events", "rejected", "ignored", "more"}}

Each sample is decoded by a decoder that has heard nothing but `after`. Of `expect` only the keys that are there
are compared: `rejected` and `ignored` by a part of the reason, the others whole. `rejected` that is not
expected is a mismatch. `as_line` is what `edge-gateway profiles decode` prints.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from gateway.clock import NS_PER_S
from gateway.errors import ConfigError, DecodeError, Fault
from gateway.profiles import announced
from gateway.profiles.announced import Announcing
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.context import Decoded, Reading
from gateway.profiles.decode import Decoder
from gateway.profiles.devices import Device, Devices
from gateway.profiles.ports import Ports
from gateway.profiles.repeats import Repeats

SAMPLE_BYTES_MAX = 32_000_000  # of one line of input: a 16 MB blob in base64, and some room
NOW_NS = 1_772_323_200_000_000_000  # 2026-03-01T00:00:00Z: samples are decoded then, so that they stay true
SOURCE = "sample"  # the source samples come from; ids in `expect` are without it


@dataclass(frozen=True)
class Incoming:
    """A message as decoding wants it."""

    topic: str
    payload: bytes
    received_ns: int
    retained: bool


class Earlier(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One message: of a topic, or the bytes of a port."""

    topic: str = ""
    port: str = ""
    payload: Any = ""
    payload_b64: str | None = None
    retain: bool = False
    at: float | None = None  # seconds after the first one; default: a second after the one before


class Installed(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What devices.toml says of the sample's device."""

    profile: str = ""
    kind: str | None = None
    invert: bool = False


class Sample(Earlier, kw_only=True, forbid_unknown_fields=True):
    """One message and its expectation."""

    expect: dict[str, Any]
    installed: Installed | None = None
    after: list[Earlier] = []
    note: str = ""


class Line(msgspec.Struct, kw_only=True):
    """What `profiles decode` reads; other keys (a corpus has many) are passed over."""

    topic: str = ""
    port: str = ""
    payload: Any = ""
    payload_b64: str | None = None
    retain: bool = False


@dataclass(frozen=True)
class Mismatch:
    """A sample that does not decode as it says."""

    file: Path
    line: int
    differences: tuple[str, ...]


def incoming(message: Earlier | Line, received_ns: int) -> Incoming:
    """Turn a line into a message. DecodeError when payload_b64 is not base64."""
    if message.payload_b64 is not None:
        try:
            payload = base64.b64decode(message.payload_b64, validate=True)
        except (binascii.Error, ValueError) as error:
            raise DecodeError(f"payload_b64 is not base64: {error}") from None
    elif isinstance(message.payload, str):
        payload = message.payload.encode("utf-8", "surrogatepass")
    else:
        payload = msgspec.json.encode(message.payload)
    return Incoming(message.topic, payload, received_ns, message.retain)


class Heard:
    """Decodes messages and captured bytes of ports, one after the other, as one gateway that heard them all."""

    def __init__(self, catalogue: Catalogue, devices: Devices | None = None, imports: Announcing | None = None) -> None:
        """Begin with nothing heard."""
        self.devices, self._imports = devices or Devices(), imports
        self.values: dict[str, dict[str, Any]] = {}
        self._decoder: Decoder | None = None  # of topics; made when one comes
        self._ports = Ports(catalogue, self._serial)
        self._catalogue = catalogue

    def _serial(self, names: Iterable[str]) -> Decoder:
        return Decoder(self._catalogue, "gateway", SOURCE, self.devices, self.values, profiles=names)

    def decode(self, message: Earlier | Line, at_ns: int) -> Decoded:
        """Decode one message, or all frames in some bytes of a port. DecodeError when payload_b64 is not base64."""
        received = incoming(message, at_ns)
        if message.port:
            return self._ports.decode(message.port, received.payload, at_ns, message.topic)
        if self._decoder is None:
            self._decoder = Decoder(
                self._catalogue, "gateway", SOURCE, self.devices, self.values, imports=self._imports
            )
        return self._decoder.decode(received)

    def settle(self, at_ns: int) -> None:
        """Take over what devices said about themselves, as the gateway does within a second."""
        if self._decoder is not None and self._imports is not None and self._imports.pending:
            announced.settle(self._decoder, self._imports, Decoded(), at_ns)

    def forget(self) -> None:
        """Begin anew, but for what devices said about themselves."""
        self.values.clear()
        if self._decoder is not None:
            self._decoder.installed(self.devices)  # forgets what it learned of topics too
            self._decoder.repeats = Repeats()
        self._ports.forget()


def as_line(decoded: Decoded) -> dict[str, Any]:
    """Return what one message says, as people and tests read it: the first device, and `more` for others."""
    merged: dict[str, Reading] = {}
    for reading in decoded.readings:
        first = merged.get(reading.subject)
        if first is None:
            merged[reading.subject] = msgspec.structs.replace(reading, fields=dict(reading.fields))
        else:
            first.fields.update({name: v for name, v in reading.fields.items() if name not in first.fields})
    readings = [_reading(reading) for reading in merged.values()]
    line = readings[0] if readings else {"device": None, "device_class": None, "profile": None, "fields": {}}
    line["events"] = [event.type for event in decoded.events]
    line["rejected"] = decoded.rejected
    for name, value in (("ignored", decoded.ignored), ("faults", decoded.faults), ("more", readings[1:])):
        if value:
            line[name] = value
    return line


def _reading(reading: Reading) -> dict[str, Any]:
    return {
        "device": reading.device,
        "device_class": reading.device_class,
        "profile": reading.profile,
        "fields": reading.fields,
        "id": reading.subject.partition("/")[2],
    }


def read(file: Path) -> Iterator[tuple[int, Sample]]:
    """Yield the samples of a file with their line numbers; empty lines are passed over. ConfigError for a bad one."""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            try:
                yield number, msgspec.json.decode(line, type=Sample)
            except msgspec.DecodeError as error:
                raise ConfigError([Fault(file, number, str(error))]) from None


def decode(catalogue: Catalogue, sample: Sample) -> dict[str, Any]:
    """Decode one sample after what came before it."""
    devices = Devices()
    if sample.installed and sample.expect.get("id"):
        said = sample.installed
        name = f"{SOURCE}/{sample.expect['id']}"
        devices = Devices([Device(id=name, kind=said.kind, invert=said.invert, profile=said.profile)])
    heard, at = Heard(catalogue, devices), 0.0
    for earlier in sample.after:
        at = at + 1.0 if earlier.at is None else earlier.at
        heard.decode(earlier, NOW_NS + round(at * NS_PER_S))
    at = at + 1.0 if sample.at is None else sample.at
    return as_line(heard.decode(sample, NOW_NS + round(at * NS_PER_S)))


def differences(sample: Sample, got: dict[str, Any]) -> Iterator[str]:
    """Yield what is not as expected, one line each."""
    expected = {"rejected": None, **sample.expect}
    for key, wanted in expected.items():
        value = got.get(key)
        if key in ("rejected", "ignored") and isinstance(wanted, str):
            if wanted not in (value or ""):
                yield f"{key}: {value!r}, expected one with {wanted!r}"
        elif key == "fields" and isinstance(wanted, dict):
            yield from _field_differences(wanted, value or {})
        elif value != wanted:
            yield f"{key}: {_text(value)}, expected {_text(wanted)}"


def _field_differences(wanted: dict[str, Any], got: dict[str, Any]) -> Iterator[str]:
    for name in sorted(wanted.keys() | got.keys()):
        if name not in got:
            yield f"fields: {name} is missing, expected {_text(wanted[name])}"
        elif name not in wanted:
            yield f"fields: {name} = {_text(got[name])} is not expected"
        elif got[name] != wanted[name] or isinstance(got[name], bool) is not isinstance(wanted[name], bool):
            yield f"fields: {name} = {_text(got[name])}, expected {_text(wanted[name])}"


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def sample_file(profile: str) -> Path:
    """Return where the samples of a profile's file stand."""
    file = Path(profile)
    return file.parent / "samples" / f"{file.stem}.jsonl"


def run(catalogue: Catalogue, profile: str) -> tuple[int, list[Mismatch]]:
    """Run the samples of one profile; returns how many there are and those that do not match."""
    compiled = catalogue.profiles[profile]
    file = sample_file(compiled.file)
    count, wrong = 0, []
    for number, sample in read(file) if file.exists() else ():
        count += 1
        got = decode(catalogue, sample)
        found = list(differences(sample, got))
        if not (got["profile"] == profile or sample.expect.get("rejected") or sample.expect.get("ignored")):
            found.append(f"profile: {got['profile']!r} decodes it, expected {profile!r}")
        if found:
            wrong.append(Mismatch(file, number, tuple(found)))
    return count, wrong
