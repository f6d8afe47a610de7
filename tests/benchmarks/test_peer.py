"""The peer's profile reads what a side-by-side benchmark publishes, one event a message, its number kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway import event
from gateway.profiles.catalogue import BUILTIN, Catalogue
from gateway.profiles.decode import Decoder
from gateway.profiles.devices import Devices
from gateway.sources.source import Delivery

PROFILES = Path(__file__).parent / "peer" / "profiles"
SAMPLES = {
    "thermostat-07": {
        "battery": 87, "child_lock": "UNLOCK", "current_heating_setpoint": 21.5, "humidity": 45.2,
        "linkquality": 120, "position": 34, "preset": "manual", "system_mode": "heat", "running_state": "heat",
        "temperature": 25.31, "voltage": 2900, "seq": 1000007,
    },
    "door-31": {
        "battery": 96, "battery_low": False, "contact": True, "device_temperature": 22, "linkquality": 96,
        "power_outage_count": 12, "tamper": False, "trigger_count": 31, "voltage": 3005, "zone": "entrance-hall",
        "seq": 1000031,
    },
    "camera-44": {
        "camera": "cam-44", "label": "person", "motion": False, "score": 0.87, "region": [412, 118, 655, 590],
        "snapshot": "/clips/cam-44/1000044.jpg", "illuminance": 310, "linkquality": 255, "seq": 1000044,
    },
}  # fmt: skip


class Nobody:
    """Where a delivery that nobody waits for came from."""

    def acknowledge(self, delivery: Delivery) -> None:
        """Do nothing."""


@pytest.mark.parametrize("device", SAMPLES)
def test_each_message_is_one_event_with_its_number(device: str) -> None:
    """The peer's profile wins over the shipped ones; the same payload twice is two events."""
    decoder = Decoder(Catalogue.load([BUILTIN, PROFILES]), "bench", "house", Devices(), {})
    payload = json.dumps(SAMPLES[device], separators=(",", ":")).encode()
    for _ in range(2):
        decoded = decoder.decode(Delivery("house", f"zigbee2mqtt/{device}", payload, 0, Nobody()))
        assert decoded.rejected is None
        assert [made.type for made in decoded.events] == ["reading_taken"]
        assert decoded.events[0].subject == f"house/peer:{device}"
        assert f'"seq":{SAMPLES[device]["seq"]}'.encode() in event.encode(decoded.events[0])
        assert not decoded.faults
