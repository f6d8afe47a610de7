"""OpenMQTTGateway with Theengs: `home/<gateway>/BTtoMQTT/<MAC>`, both tempc and tempf, numbers from radio adverts.

https://docs.openmqttgateway.com/
"""

# ruff: noqa: ARG002 - every dialect is given what any of them needs

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, ClassVar

from simulators.house.gadget import Dialect, Gadget, Said, Value, compact

GATEWAY = "OMG_ESP32"


class OpenMqttGateway(Dialect):
    """One receiver and the sensors in its range."""

    name: ClassVar[str] = "openmqttgateway"
    models: ClassVar[Collection[str]] = frozenset({"thermometer", "contact", "motion"})
    repeat_s: ClassVar[float] = 300.0

    def mac(self, gadget: Gadget) -> str:
        """Return a sensor's address."""
        return f"A4C138{gadget.number:06X}"

    def identity(self, gadget: Gadget) -> str:
        """Go by addresses."""
        return f"ble:{self.mac(gadget)}"

    def will(self) -> Said:
        """Have the broker say that the receiver is gone."""
        return Said(f"home/{GATEWAY}/LWT", b"offline", "", retain=True)

    def births(self, now_s: float) -> Iterator[Said]:
        """Say online."""
        yield Said(f"home/{GATEWAY}/LWT", b"online", "", retain=True)

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Say what the advertisement held."""
        mac, state = self.mac(gadget), gadget.state
        document: dict[str, Any] = {"id": ":".join(mac[at : at + 2] for at in range(0, 12, 2)), "mac_type": 0,
                                    "rssi": -60 - gadget.sent % 20}  # fmt: skip
        facts: dict[str, Value] = {}
        if gadget.model == "thermometer":
            celsius = float(state["temperature"])
            document |= {"brand": "Xiaomi", "model": "TH Sensor", "model_id": "LYWSD03MMC_PVVX", "type": "THB",
                         "tempc": celsius, "tempf": round(celsius * 1.8 + 32, 2), "hum": state["humidity"]}  # fmt: skip
            facts = {"temperature": celsius, "humidity": state["humidity"]}
        elif gadget.model == "contact":
            document |= {"brand": "Sensor Easy", "model": "SE MAG", "model_id": "SE_MAG", "type": "CTMO", "cont": True,
                         "open": state["open"]}  # fmt: skip
            facts = {"open": state["open"]}
        else:
            document |= {"brand": "Xiaomi", "model": "Mi motion", "model_id": "RTCGQ02LM", "type": "PIR",
                         "motion": state["motion"]}  # fmt: skip
            facts = {"motion": state["motion"]}
        if gadget.battery is not None:
            document["batt"] = facts["battery"] = round(gadget.battery)
        yield Said(f"home/{GATEWAY}/BTtoMQTT/{mac}", compact(document), gadget.name, self.facts(gadget, facts))
