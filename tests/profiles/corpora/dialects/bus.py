"""Buses that are asked: replies by themselves. What holds no reading (requests, exceptions) is to be refused."""

from __future__ import annotations

from tests.profiles.corpora.expected import Expected, Name, name, wanted
from tests.profiles.corpora.records import Record

CLIMATE: dict[str, Name] = {
    "temperature_Cel": name("temperature"),
    "setpoint_heat_Cel": name("setpoint.heat"),
    "setpoint_Cel": name("setpoint.heat"),
    "on": name("on"),
    "mode": name("mode"),
    "fan": name("fan"),
    "heating": name("action", map={True: "heating", False: "idle"}),
}


def reply(record: Record) -> Expected:
    """Read a reply: its fields, or nothing that a device reports."""
    found = Expected(wanted(record.fields, CLIMATE))
    found.rejected = not found.wanted
    if found.wanted and "slave" in record.expect:
        found.device = (f":{record.expect['slave']}",)
    return found


DIALECTS = {"modbus-rtu": reply, "heatmiser-v3": reply}
