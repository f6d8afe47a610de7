"""The profiles over recorded corpora, when EDGE_GATEWAY_CORPORA names a folder with them.

A corpus is ``<folder>/<name>/samples.jsonl``; each record has topic, payload (or payload_b64), direction and what it
must decode to. The corpora name fields in their own way; `EXPECTED` says which of our fields each one is. Records
that no profile here is for (a light, a command going down) must be claimed by none, or be known as nothing to report.
"""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.profiles.catalogue import Catalogue
from gateway.profiles.context import Decoded
from gateway.profiles.decode import Decoder
from gateway.profiles.devices import Devices
from tests.profiles.deliveries import delivery

FOLDER = os.environ.get("EDGE_GATEWAY_CORPORA")

# corpus field -> our fields it may be, and the factor from the corpus's unit to ours
EXPECTED: dict[str, tuple[tuple[str, ...], float]] = {
    "temperature_Cel": (("temperature", "device.temperature"), 1), "temperature|°C": (("temperature",), 1),
    "setpoint_heat_Cel": (("setpoint.heat",), 1), "demand_pct": (("valve",), 1), "valve_pct": (("valve",), 1),
    "battery_pct": (("battery",), 1), "battery|%": (("battery",), 1), "contact.open": (("open",), 1),
    "battery_low": (("battery.low",), 1), "tamper": (("tamper",), 1), "vibration": (("vibration",), 1),
    "occupancy": (("motion",), 1), "presence": (("presence",), 1), "motion": (("motion", "setting.motion"), 1),
    "voltage_V": (("battery.voltage", "voltage"), 1), "illuminance|lx": (("illuminance",), 1),
    "illuminance_lx": (("illuminance",), 1), "humidity|%": (("humidity",), 1), "humidity_pct": (("humidity",), 1),
    "preset": (("preset",), 1), "power|W": (("power",), 1), "energy|kWh": (("energy",), 1000),
    "current|A": (("current",), 1), "tilt_deg": (("tilt",), 1), "illumination": (("illumination",), 1),
    "action": (("button",), 1), "on": (("on",), 1), "power_W": (("power",), 1), "energy_Wh": (("energy",), 1),
    "object_id": (("object.id",), 1), "score": (("object.score",), 1), "top_score": (("object.top_score",), 1),
    "zones": (("object.zones", "review.zones"), 1), "sub_label": (("object.sub_label",), 1),
    "plate": (("object.plate",), 1), "leak": (("leak",), 1), "smoke": (("smoke",), 1), "gas": (("gas",), 1),
    "input": (("input",), 1), "position_pct": (("position",), 1),
}  # fmt: skip
Z2M_CLASSES = {"thermostat": "thermostat", "contact_sensor": "contact_sensor", "motion_sensor": "occupancy_sensor"}


def records(corpus: str) -> Iterator[tuple[dict[str, Any], Decoded]]:
    """Decode each record of a corpus by a decoder that has heard nothing before."""
    catalogue = Catalogue.load()
    file = Path(FOLDER or "") / corpus / "samples.jsonl"
    for line in file.read_text().splitlines():
        record = json.loads(line)
        raw = record.get("payload_b64")
        payload = base64.b64decode(raw) if raw else str(record["payload"]).encode()
        decoder = Decoder(catalogue, "gw", "corpus", Devices(), {})
        yield record, decoder.decode(delivery(record["topic"], payload, retained=bool(record.get("retain"))))


def differences(record: dict[str, Any], decoded: Decoded) -> list[str]:
    """Compare the fields of a record with the first reading; corpus fields we have no name for are left out."""
    wrong = []
    for key, value in record["expect"].get("fields", {}).items():
        names, factor = EXPECTED.get(key, ((), 1))
        numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
        wanted = round(value * factor, 6) if numeric and factor != 1 else value
        got = [reading.fields[name] for reading in decoded.readings for name in names if name in reading.fields]
        if names and wanted not in got and not (wanted == "none" and not got):
            wrong.append(f"{names[0]}: {got}, expected {wanted!r}")
    return wrong


def report(corpus: str, counts: Counter[str], wrong: list[str]) -> None:
    """Print the figures of one corpus."""
    print(f"\n{corpus}: " + ", ".join(f"{name} {number}" for name, number in sorted(counts.items())))
    for line in wrong[:60]:
        print("   ", line)


def outcome(decoded: Decoded) -> str:
    """Name what became of a record."""
    if decoded.rejected:
        return "unclaimed" if decoded.rejected.startswith("no profile claims") else "rejected"
    return "ignored" if decoded.ignored and not decoded.readings else "claimed"


# Generated records whose expectation is not the device's truth, each read by hand.
EXPLAINED = {
    "zigbee2mqtt-exposes-derived-0549": "occupancy_1 of a heater's endpoint: no motion sensor",
    "zigbee2mqtt-exposes-derived-0890": "temperature and local_temperature: the thermostat's own one is taken",
    "zigbee2mqtt-exposes-derived-1006": "temperature and local_temperature",
    "zigbee2mqtt-exposes-derived-1092": "temperature and local_temperature",
    "zigbee2mqtt-exposes-derived-1165": "temperature and local_temperature",
    "zigbee2mqtt-exposes-derived-1350": "a model that contradicts itself: `invert` in devices.toml",
    "zigbee2mqtt-exposes-derived-1706": "ten endpoints; the record expects the value of a key that is there twice",
}


if FOLDER:

    @pytest.mark.parametrize(
        "corpus",
        ["zigbee2mqtt-exposes-derived", "zigbee2mqtt-runtime", "zigbee2mqtt-captured"],
    )
    def test_zigbee2mqtt(corpus: str) -> None:
        """Thermostats, contacts and motion sensors are claimed and right; nothing else is taken for one."""
        counts: Counter[str] = Counter()
        wrong: list[str] = []
        for record, decoded in records(corpus):
            expected = Z2M_CLASSES.get(record["expect"].get("device_class") or "")
            got = outcome(decoded)
            where = f"{record['id']} {record['topic']} {str(record['payload'])[:160]}: "
            if expected is None:
                counts[f"other {got}"] += 1
                continue
            counts["ours"] += 1
            counts[got] += 1
            bad = differences(record, decoded)
            if got == "claimed" and decoded.readings[0].device_class != expected:
                bad.append(f"class {decoded.readings[0].device_class}, expected {expected}")
            counts["right"] += got == "claimed" and not bad
            if bad or got != "claimed":
                wrong.append(where + (decoded.rejected or "; ".join(bad)))
        report(corpus, counts, wrong)
        assert [line for line in wrong if line.split()[0] not in EXPLAINED] == []

    @pytest.mark.parametrize("corpus", ["frigate", "tasmota", "shelly-gen1", "shelly-gen2", "shelly-gen2-components"])
    def test_others(corpus: str) -> None:
        """Every record has an outcome; the figures are printed."""
        counts: Counter[str] = Counter()
        wrong: list[str] = []
        for record, decoded in records(corpus):
            got = outcome(decoded)
            way = record.get("direction", "up")
            counts[f"{way} {got}"] += 1
            bad = differences(record, decoded) if got == "claimed" else []
            counts["right"] += got == "claimed" and not bad
            if way == "up" and (bad or got != "claimed"):
                why = decoded.rejected or decoded.ignored or "; ".join(bad)
                wrong.append(f"{record['id']} {record['topic']} {str(record.get('payload'))[:140]!r}: {why}")
        report(corpus, counts, wrong)
        assert counts["right"] == counts["up claimed"] + counts["down claimed"]
