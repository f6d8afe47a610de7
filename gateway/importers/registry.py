"""Every importer there is: one line each. Its module is imported when a source has it on."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from gateway.importers.importer import Importer

IMPORTERS: dict[str, str] = {
    "zigbee2mqtt": "gateway.importers.zigbee2mqtt:Zigbee2Mqtt",
    "homie": "gateway.importers.homie:Homie",
    "sparkplug": "gateway.importers.sparkplug:Sparkplug",
    "home-assistant": "gateway.importers.discovery:Discovery",
}
"""By name. The order counts: of two that describe one device the first does."""


def importer_of(name: str, prefixes: Mapping[str, str], kept: Mapping[str, Any]) -> Importer:
    """Make one importer; `prefixes` are the source's own words for first levels of topics, `kept` are its rows."""
    module, kind = IMPORTERS[name].split(":")
    made: Importer = getattr(importlib.import_module(module), kind)(prefixes, kept)
    return made
