"""The last config a gateway was well with, kept in its state folder: so that one that cannot be read is no dead house.

What is kept is the text of gateway.toml, of the files in gateway.d and of devices.toml; secrets are references in there
and stay where they are. One file, written when the texts are others than those in it, replaced in one piece.

The config that people name and the one of an applied bundle are kept apart: who goes back to the first one finds it.

Reading it gives a Config as if the texts stood where they were read: paths in it are relative to the folder of the
config, and places in faults name the files as they are called there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from gateway import durable
from gateway.config.load import Config, Reading
from gateway.config.overlay import Overlaid
from gateway.document import Document, raise_faults
from gateway.profiles.devices import Devices

NAME: Final = "last_good.json"  # in the state folder
APPLIED: Final = "last_good_applied.json"  # there, of a config that lies there itself
TEXT_BYTES_MAX: Final = 4 * 1024 * 1024  # of all files together; more are not kept


class LastGood(msgspec.Struct, frozen=True, kw_only=True):
    """The texts of a config that was good."""

    time: str  # RFC 3339: when it took effect
    file: str  # gateway.toml
    texts: dict[str, str]  # path -> text: gateway.toml and gateway.d in the order in which they are merged
    given: dict[str, str] = {}  # variables that no file has to set: the site of a bundle
    devices: str = ""  # devices.toml

    def config(self) -> Config:
        """Read it. Raises ConfigError: what it names may be gone by now."""
        file = Path(self.file)
        documents = [Document(text, Path(path)) for path, text in self.texts.items()]
        reading = Reading(Overlaid(documents, self.given), file)
        config = reading.config()
        devices = config.gateway.devices
        faults = [fault for fault in reading.faults if fault.file != devices]  # its text is here
        raise_faults(list(dict.fromkeys(faults)))
        if self.devices:
            config.devices.become(Devices.of(Document(self.devices, devices)))
        return config


def keep(config: Config, time: str) -> bool:
    """Write down a config that is good; False when it is there already. BLOCKING. Raises OSError."""
    state, devices = config.places.state, config.gateway.devices
    found = LastGood(
        time=time,
        file=str(config.file.absolute()),
        texts=config.document.texts,
        given=dict(config.document.given),
        devices=devices.read_text(encoding="utf-8-sig") if devices.is_file() else "",
    )
    name_kept = name_of(state, config.file)
    before = read(state, name_kept)
    if sum(map(len, found.texts.values())) > TEXT_BYTES_MAX or (
        before is not None and msgspec.structs.replace(found, time=before.time) == before
    ):
        return False
    durable.replace(state / name_kept, msgspec.json.encode(found), mode=0o600)
    return True


def name_of(state: Path, file: Path) -> str:
    """Return the name under which the last good one of a config is kept."""
    return APPLIED if file.absolute().is_relative_to(state.absolute()) else NAME


def read(state: Path, name: str = NAME) -> LastGood | None:
    """Return what was good last; None when there is none, or it cannot be read. BLOCKING."""
    try:
        return msgspec.json.decode((state / name).read_bytes(), type=LastGood)
    except (OSError, msgspec.DecodeError):
        return None
