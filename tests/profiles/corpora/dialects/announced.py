"""Devices that describe themselves: Home Assistant's discovery, Homie, Sparkplug B."""

from __future__ import annotations

from tests.profiles.corpora.dialects.small import NAMES
from tests.profiles.corpora.expected import Expected, Wanted, wanted
from tests.profiles.corpora.records import Record

UNREAD = ("button", "scene", "device_automation", "update", "text", "event", "siren", "select", "number")
"""Entities that only take commands, or hold a setting: an importer may leave them out."""
METRICS = {
    "Temperature": ("temperature", "ext.Temperature"),
    "Setpoint": ("setpoint.heat", "ext.Setpoint"),
    "Door/Open": ("open",),
}


def discovery(record: Record) -> Expected:
    """Read a config message: afterwards the entity's state topic is read, unless it was taken back."""
    expect = record.expect
    if expect["delete"] or not expect["state_topic"] or expect["component"] in UNREAD:
        return Expected()
    return Expected(reads=expect["state_topic"])


def homie(record: Record) -> Expected:
    """Read a value or the state of a device; a target is a wish, not a value."""
    expect = record.expect
    if expect.get("target"):
        return Expected()
    found = Expected(wanted(record.fields, NAMES))
    if "online" in expect:
        found.wanted.append(Wanted(("online",), expect["online"]))
    return found


def sparkplug(record: Record) -> Expected:
    """Read the metrics of births and data; deaths are offline. Names of data stand in the birth before it."""
    kind = record.topic.split("/")[2]
    found = Expected()
    if kind in ("NDEATH", "DDEATH"):
        found.wanted.append(Wanted(("online",), False))
    for metric in record.expect.get("decoded", {}).get("metrics", ()):
        if metric.get("name") in METRICS and kind in ("DBIRTH", "DDATA"):
            found.wanted.append(Wanted(METRICS[metric["name"]], metric["value"], 1e-4))
    return found


DIALECTS = {"ha-discovery": discovery, "homie": homie, "sparkplug-b": sparkplug}
