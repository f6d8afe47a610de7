"""Radio gateways on a serial port: RFLink's lines and EnOcean's packets."""

from __future__ import annotations

from typing import Any

from gateway.profiles.devices import Device
from tests.profiles.corpora.expected import Expected, Name, Wanted, name, wanted
from tests.profiles.corpora.records import Record

_KMH = 1 / 3.6
_ON = {"on": True, "off": False, "allon": True, "alloff": False}
RFLINK: dict[str, Name] = {
    "temperature": name("temperature"), "humidity": name("humidity"), "barometric_pressure": name("pressure"),
    "windspeed": name("wind.speed", factor=_KMH), "windgusts": name("wind.gust", factor=_KMH),
    "winddirection": name("wind.direction"), "total_rain": name("rain"), "rain_rate": name("rain.rate"),
    "battery": name("battery.low", map={"ok": False, "low": True}), "command": name("on", map=_ON),
    "smokealert": name("smoke", map=_ON), "motion": name("motion", map=_ON), "co2_air_quality": name("co2"),
    "watt": name("power"), "light_intensity": name("illuminance"),
}  # fmt: skip


def rflink(record: Record) -> Expected:
    """Read a line. A doorbell is an event; its protocol and id name the device."""
    found = Expected(wanted(record.fields, RFLINK))
    if "doorbell_melody" in record.fields:
        found.wanted = [want for want in found.wanted if want.names != ("on",)]
        found.events = ("doorbell_pressed",)
    if found.wanted and "id" in record.fields:
        words = record.payload.decode().split(";")
        found.device = (words[2], next(word[3:] for word in words if word.startswith("ID=")))
    return found


def enocean(record: Record) -> Expected:
    """Read a packet: contacts and rockers say what they are by their kind; for others the record may name the EEP.

    Where nobody names it, refusing is right: a telegram read by the range of another sensor would be wrong. Where the
    recorder's decoder stumbled ("error"), only a packet too short for a telegram is to be refused.
    """
    expect = record.expect
    found = Expected()
    unnamed = "eep" not in expect and "error" not in expect
    silent = expect.get("rorg") == "D2" or (expect.get("rorg") == "A5" and not expect.get("learn"))
    if expect.get("status", "0") != "0" or (unnamed and silent) or ("error" in expect and len(record.payload) < 12):
        found.rejected = True
        return found
    fields: dict[str, Any] = record.fields
    if expect.get("rorg") == "D5" and "CO" in fields:
        found.wanted.append(Wanted(("open",), fields["CO"] == "open"))
    if expect.get("rorg") == "F6" and fields.get("EB") == "pressed":
        found.wanted.append(Wanted(("button",), fields["R1"].removeprefix("Button ")))
    if expect.get("rorg") == "F6" and fields.get("EB") == "released":
        found.wanted.append(Wanted(("button",), "released"))
    sender = expect.get("sender", "").replace(":", "")
    if str(expect.get("eep", "")).startswith("D2-01") and "OV" in fields:
        found.installed = [Device(id=f"sample/enocean:{sender}", profile="enocean-actuator")]
        found.wanted.append(Wanted(("on",), str(fields["OV"]) not in ("0", "Output value 0% or OFF")))
    found.device = (sender,) if found.wanted else ()
    return found


_STATUS = {"Normal": False, "Normal Delayed": False, "Alarm": True, "Alarm Delayed": True}
RFXTRX: dict[str, Name] = {
    "Temperature": name("temperature", "temperature.probe"), "Temperature2": name("temperature"),
    "Humidity": name("humidity"), "Barometer": name("pressure"), "UV": name("uv"),
    "Wind direction": name("wind.direction"),
    "Wind average speed": name("wind.speed"), "Wind gust": name("wind.gust"), "Rain total": name("rain"),
    "Rain rate": name("rain.rate"), "Tamper": name("tamper"), "Energy usage": name("power"),
    "Total usage": name("energy", within=1), "Voltage": name("voltage"),
    **{f"Current Ch. {n}": name(f"current.phase.{n}") for n in (1, 2, 3)},
    "Command": name("on", map={"On": True, "Off": False, "Group on": True, "Group off": False, "All on": True}),
    "Sensor Status": name("open", "motion", "smoke", map=_STATUS),
}  # fmt: skip


def rfxtrx(record: Record) -> Expected:
    """Read a packet. A humidity of 0 and a pressure of 36 hPa are what a sensor without them sends."""
    if record.expect.get("invalid"):
        return Expected(rejected=True)
    fields = dict(record.fields)
    for key, least in (("Humidity", 1), ("Barometer", 300)):
        if key in fields and fields[key] < least:
            fields[key] = None
    return Expected(wanted(fields, RFXTRX))


DIALECTS = {"rflink": rflink, "enocean-esp3": enocean, "rfxtrx": rfxtrx}
