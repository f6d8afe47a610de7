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
from simulators.house.house import House
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


def agreement(house: House, folder: Path) -> tuple[Verdict, list[str]]:
    """Let a gateway's decoders hear a house; return the oracle's verdict and what was refused of clean messages."""
    file = folder / "devices.toml"
    file.write_text(devices_toml(house))
    devices = Devices.load(file)
    sources: dict[str, Heard] = {}
    sent, arrived, refused = [], [], []
    for each in house.upto(house.scenario.lasts_s):
        dialect = house.dialects[each.dialect]
        if dialect.source not in sources:
            sources[dialect.source] = Heard(dialect.source, devices, dialect.profile if dialect.serial else None)
        now_ns = round((house.scenario.start_s + each.at_s) * 1e9)
        events, why = sources[dialect.source].hear(each.said.topic, each.said.payload, now_ns)
        refused += why if each.said.clean else []
        said = each.said
        sent.append(SentRow(each.number, said.device, said.facts, acked=True, clean=said.clean, at=each.at_s))
        for event in events:
            arrived.append(Arrived(str(len(arrived)), event.type, event.subject, event.data))
    return judge(sent, arrived), refused
