"""A simulated house and the gateway's decoding in one process: what was meant against what was understood."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from gateway.framing.options import framer_of
from gateway.importers.imports import Imports
from gateway.importers.registry import IMPORTERS
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.decode import Decoder
from gateway.profiles.devices import Devices
from simulators.house.house import House, Sent
from simulators.house.oracle import Arrived, SentRow, Verdict, judge
from simulators.house.stage import devices_toml

CATALOGUE = Catalogue.load()


class Message(msgspec.Struct, frozen=True):
    """What a decoder is given."""

    topic: str
    payload: bytes
    received_ns: int
    retained: bool = False


class Heard:
    """One source of a gateway: a decoder, behind its framer if it is a serial one."""

    def __init__(self, source: str, devices: Devices, profile: str | None) -> None:
        self.source = source
        self.framer = None
        if profile is None:
            self.decoder = Decoder(CATALOGUE, "gw", source, devices, {}, imports=Imports(tuple(IMPORTERS)))
        else:
            self.decoder = Decoder(CATALOGUE, "gw", source, devices, {}, profiles=[profile])
            names = CATALOGUE.named([profile])
            framing = next(CATALOGUE.profiles[name].source.link.framing for name in names)
            self.framer = framer_of(framing)

    def hear(self, topic: str, payload: bytes, now_ns: int) -> tuple[list[Any], list[str]]:
        """Return events, and why something was refused."""
        payloads = [payload] if self.framer is None else self.framer.feed(payload)
        events, refused = [], []
        for each in payloads:
            out = self.decoder.decode(Message(topic or self.source, each, now_ns))
            events += out.events
            if out.rejected is not None and not out.unclaimed:
                refused.append(f"{topic or self.source}: {out.rejected}")
        return events, refused


class Gateway:
    """The decoders of a gateway that a house talks to, one for each source."""

    def __init__(self, house: House, folder: Path) -> None:
        file = folder / "devices.toml"
        file.write_text(devices_toml(house))
        self._devices = Devices.load(file)
        self._house = house
        self._sources: dict[str, Heard] = {}

    def hear(self, sent: Sent) -> tuple[list[Any], list[str]]:
        """Return the events of a message, and why something in it was refused."""
        dialect = self._house.dialects[sent.dialect]
        if dialect.source not in self._sources:
            profile = dialect.profile if dialect.serial else None
            self._sources[dialect.source] = Heard(dialect.source, self._devices, profile)
        now_ns = round((self._house.scenario.start_s + sent.at_s) * 1e9)
        return self._sources[dialect.source].hear(sent.said.topic, sent.said.payload, now_ns)

    def encode(self, source: str, device: str, command: str, value: Any) -> tuple[str, bytes]:
        """Write a command. DecodeError when the device takes none of that name."""
        return self._sources[source].decoder.encode(device, command, value)


def agreement(house: House, folder: Path) -> tuple[Verdict, list[str]]:
    """Let a gateway's decoders hear a house; return the oracle's verdict and what was refused of clean messages."""
    gateway = Gateway(house, folder)
    rows, arrived, refused = [], [], []
    for sent in house.upto(house.scenario.lasts_s):
        events, why = gateway.hear(sent)
        said = sent.said
        refused += why if said.clean else []
        rows.append(SentRow(sent.number, said.device, said.facts, acked=True, clean=said.clean, at=sent.at_s))
        for event in events:
            arrived.append(Arrived(str(len(arrived)), event.type, event.subject, event.data))
    return judge(rows, arrived), refused
