"""Dialects whose devices describe themselves: heard whole by importers first, then each record on its own."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.importers.imports import Imports
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.context import Decoded
from gateway.profiles.decode import Decoder
from gateway.profiles.devices import Devices
from tests.profiles.corpora.records import Record
from tests.profiles.deliveries import NOW, SECOND, delivery

IMPORTERS = {"ha-discovery": "home-assistant", "homie": "homie", "sparkplug-b": "sparkplug"}
"""Dialect -> the importer that reads it."""
PREFIX = "homeassistant"


class Announced:
    """A gateway with one importer that has heard every record of a dialect, in their order."""

    def __init__(self, dialect: str, records: Iterable[Record]) -> None:
        """Let it hear them."""
        self.imports = Imports([IMPORTERS[dialect]])
        catalogue = (
            Catalogue() if dialect == "ha-discovery" else Catalogue.load()
        )  # it alone; its entities are read twice
        self._decoder = Decoder(catalogue, "gw", "corpus", Devices(), {}, imports=self.imports)
        self._now = NOW
        for record in records:
            if record.dialect == dialect and not record.down:
                self.decode(record)

    def decode(self, record: Record) -> Decoded:
        """Decode one record, and let descriptions that changed take effect."""
        self._now += SECOND
        topic = record.topic
        if record.dialect == "ha-discovery":  # under another prefix, which a source would say
            topic = f"{PREFIX}/{topic.partition('/')[2]}"
        decoded = self._decoder.decode(delivery(topic, record.payload, retained=record.retained, at=self._now))
        self._decoder.release(self._now + SECOND // 2)
        return decoded

    def reads(self, topic: str) -> bool:
        """Return whether a description reads a topic."""
        return any(self.imports.entries(topic))
