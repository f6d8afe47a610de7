"""Dialects: each file speaks as one maker's bridge does, and understands its commands.

A new dialect is one file with a subclass of `Dialect` called as `DIALECTS` says, and one line here.
"""

from __future__ import annotations

import importlib
from functools import cache

from simulators.house.gadget import Dialect

DIALECTS: dict[str, str] = {
    "zigbee2mqtt": "zigbee2mqtt:Zigbee2Mqtt",
    "tasmota": "tasmota:Tasmota",
    "shelly-gen1": "shelly_gen1:ShellyGen1",
    "shelly-gen2": "shelly_gen2:ShellyGen2",
    "esphome": "esphome:EspHome",
    "frigate": "frigate:Frigate",
    "ring-mqtt": "ring:Ring",
    "neolink": "neolink:Neolink",
    "rtl_433": "rtl_433:Rtl433Mqtt",
    "rtl_433-serial": "rtl_433:Rtl433Lines",
    "openmqttgateway": "openmqttgateway:OpenMqttGateway",
    "zwave-js-ui": "zwave:ZWaveJsUi",
    "homie": "homie:Homie5",
    "sparkplug": "sparkplug:SparkplugB",
    "mysensors-mqtt": "mysensors:MySensorsMqtt",
    "mysensors": "mysensors:MySensorsSerial",
    "enocean": "enocean:EnOcean",
    "rflink": "rflink:RfLink",
    "dsc-it100": "dsc:DscIt100",
    "arduino": "arduino:Arduino",
    "modbus": "modbus:Modbus",
}


@cache
def dialect_class(name: str) -> type[Dialect]:
    """Return a dialect by name; its module is imported now. KeyError for one that is not there."""
    module, _, kind = DIALECTS[name].partition(":")
    found: type[Dialect] = getattr(importlib.import_module(f"{__name__}.{module}"), kind)
    return found
