"""Dialects that describe themselves: Homie, Sparkplug B, Home Assistant's discovery. Records are heard in their order.

A discovery record says what its config is for, not what a device measures: what the importer keeps of it is compared.
"""

from __future__ import annotations

from typing import Any

from gateway.importers import words
from gateway.importers.discovery import VALUE_CHARS_MAX, Discovery
from gateway.importers.draft import ext
from gateway.importers.imports import Imports
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.context import Decoded, Reading
from gateway.profiles.decode import Decoder
from gateway.profiles.devices import Devices
from gateway.sources.source import Delivery
from tests.profiles.corpora.expected import Expected, Name, Wanted, name, wanted
from tests.profiles.corpora.records import Record
from tests.profiles.deliveries import NOW, Nobody

NAMES: dict[str, Name] = {
    "temperature_Cel": name("temperature"), "setpoint_heat_Cel": name("setpoint.heat"), "contact.open": name("open"),
    "on": name("on"), "brightness": name("brightness", "ext.brightness"), "mode": name("mode", "ext.mode"),
    "humidity_pct": name("humidity"), "battery_pct": name("battery"), "power_W": name("power"),
}  # fmt: skip
CONFIG = ("component", "delete", "device_class", "state_topic", "command_topic", "value_template")


class Told:
    """A gateway that has heard all records before."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Begin with nothing heard."""
        self._catalogue = catalogue
        self._decoders: dict[str, Decoder] = {}

    def decode(self, record: Record, _expected: Expected) -> Decoded:
        """Decode one record; of a discovery config return what is kept of it."""
        first = record.topic.partition("/")[0]
        alone = record.dialect == "ha-discovery"  # Zigbee2MQTT's own importer would leave them to itself
        key = f"{record.dialect}/{first}"
        if key not in self._decoders:
            imports = Imports(["home-assistant"] if alone else ["homie", "sparkplug"], {"homeassistant": first})
            self._decoders[key] = Decoder(self._catalogue, "gw", "corpus", Devices(), {}, imports=imports)
        decoder = self._decoders[key]
        decoded = decoder.decode(
            Delivery("corpus", record.topic, record.payload, NOW, Nobody(), retained=record.retained)
        )
        if alone and decoded.rejected is None:
            decoded.readings.append(Reading(record.topic, "", "unknown", "", _kept(decoder, record.topic)))
        return decoded


def _kept(decoder: Decoder, topic: str) -> dict[str, Any]:
    assert isinstance(decoder.imports, Imports)
    (importer,) = decoder.imports.importers
    assert isinstance(importer, Discovery)
    component, *place, _ = topic.split("/")[1:]
    node, object_id = place if len(place) == 2 else ("", place[0])
    row = importer.rows.get(f"{component}/{node}/{object_id}")
    config = dict(row["k"]) if row else {}
    if component == "climate":  # it has many topics; the records name these two
        config["state_topic"] = config.get("mode_state_topic")
        config["command_topic"] = config.get("temperature_command_topic")
    return {"component": component, "delete": row is None} | {key: config.get(key) for key in CONFIG[2:]}


def discovery(record: Record) -> Expected:
    """Read a record of a config; a template is compared as far as one is kept."""
    expect = dict(record.expect)
    if expect.get("delete"):
        return Expected([Wanted(("delete",), True)])
    if isinstance(expect.get("value_template"), str):
        expect["value_template"] = expect["value_template"][: VALUE_CHARS_MAX + 1]
    return Expected([Wanted((key,), expect[key]) for key in CONFIG if key in expect])


def homie(record: Record) -> Expected:
    """Read a record of Homie; a target is no state."""
    expect = record.expect
    if expect.get("target") or record.down:
        return Expected()
    found = Expected(wanted(record.fields, NAMES))
    if "online" in expect:
        found.wanted.append(Wanted(("online",), expect["online"]))
    return found


def sparkplug(record: Record) -> Expected:
    """Read a record of Sparkplug B: its metrics by their names, where the record knows them."""
    if record.down or "CMD/" in record.topic:
        return Expected()
    found = Expected()
    for metric in record.expect.get("decoded", {}).get("metrics", []):
        called = str(metric.get("name") or "")
        if called and called != "bdSeq" and not called.startswith("Node Control") and "value" in metric:
            last = words.word(called.rpartition("/")[2])
            tail = ext(called.replace("/", ".").replace(" ", "_")) or ""
            fields = (tail, words.NUMBERS.get(last, tail), words.BOOLS.get(last, tail))
            found.wanted.append(Wanted(fields, metric["value"]))
    if "DEATH/" in record.topic:
        found.wanted.append(Wanted(("online",), False))
    return found


DIALECTS = {"homie": homie, "sparkplug-b": sparkplug, "ha-discovery": discovery}
