"""Dialects with few records: values named with their unit, the same names for all of them."""

from __future__ import annotations

from tests.profiles.corpora.expected import Expected, Name, Wanted, is_number, name, wanted
from tests.profiles.corpora.records import Record

NAMES: dict[str, Name] = {
    "motion": name("motion"), "contact.open": name("open"), "ding": name("doorbell"), "person": name("detected.person"),
    "battery_pct": name("battery"), "temperature_Cel": name("temperature", within=0.01),
    "setpoint_heat_Cel": name("setpoint.heat"), "mode": name("mode"), "action": name("action"),
    "humidity_pct": name("humidity"), "status": name("activity"), "on": name("on"),
}  # fmt: skip


def expected(record: Record) -> Expected:
    """Read a record."""
    expect = record.expect
    found = Expected(wanted(record.fields, NAMES), (expect["device"],) if expect.get("device") else ())
    if "online" in expect:
        found.wanted.append(Wanted(("online",), expect["online"]))
    if "blob" in expect and not expect.get("ignore"):
        found.wanted.append(Wanted(("mime",), expect["blob"]["mime"]))
    found.device += tuple(expect.get("devices", ()))
    return found


ECOWITT: dict[str, Name] = {
    "tempinf": name("temperature", within=0.01), "tempf": name("temperature", within=0.01),
    "baromrelin": name("pressure.sea_level", within=0.1), "baromabsin": name("pressure", within=0.1),
    **{f"temp{n}f": name("temperature", within=0.01) for n in range(1, 9)},
    **{f"tf_ch{n}": name("temperature", "temperature.probe", within=0.01) for n in range(1, 9)},
    **{f"leak_ch{n}": name("leak") for n in range(1, 5)},
}  # fmt: skip


def ecowitt(record: Record) -> Expected:
    """Weather stations: keys of the maker with an arrow and the unit."""
    return Expected(wanted({key.partition("→")[0]: value for key, value in record.fields.items()}, ECOWITT))


RTL433: dict[str, Name] = {
    "temperature_Cel": name("temperature", within=0.01), "humidity": name("humidity"),
    "battery_low": name("battery.low"),
    "contact.open": name("open"), "tamper": name("tamper"), "setpoint_heat_Cel": name("setpoint.heat", within=0.01),
    "power_W": name("power"), "energy_kWh": name("energy", factor=1000), "current_A": name("current"),
    "voltage_V": name("voltage"), "pm2_5_ug_m3": name("pm25"), "online": name("online"),
}  # fmt: skip


def rtl433(record: Record) -> Expected:
    """Radio sensors: model, channel and id name the device."""
    found = wanted(record.fields, RTL433)
    parts = str(record.expect.get("device", "")).split("/")
    return Expected(found, tuple(part for part in parts if part) if found else ())


def rf433(record: Record) -> Expected:
    """Raw codes of 433 MHz contacts: the first 20 bits are the device."""
    return Expected(wanted(record.fields, RTL433), (record.expect["device"],))


THEENGS: dict[str, Name] = {
    "tempc": name("temperature"), "hum": name("humidity"), "batt": name("battery"), "lux": name("illuminance"),
    "open": name("open", map={True: True, False: False}), "motion": name("motion"), "pres": name("pressure"),
    "co2": name("co2"), "pm25": name("pm25"), "pm10": name("pm10"), "tempc2": name("temperature.probe", "temperature"),
    "moi": name("soil_moisture"), "fer": name("conductivity", factor=1e-4), "weight": name("weight", within=0.001),
    "presence": name("presence"), "volt": name("battery.voltage", "voltage"), "lowbatt": name("battery.low"),
}  # fmt: skip


def theengs(record: Record) -> Expected:
    """Bluetooth advertisements as Theengs decodes them. A weight in pounds is left to the profile's own samples."""
    fields = dict(record.fields)
    if fields.get("type") == "WCVR":  # how far a blind is tilted, and whether it moves
        fields = {key: value for key, value in fields.items() if key not in ("open", "motion")}
    if fields.get("type") == "TIRE":  # bar, of a tyre
        fields.pop("pres", None)
    if fields.get("unit") not in (None, "kg"):
        fields.pop("weight", None)
    return Expected(wanted({key: v for key, v in fields.items() if is_number(v) or isinstance(v, bool)}, THEENGS))


DIALECTS = {
    **dict.fromkeys(
        [
            "ring-mqtt",
            "neolink",
            "onvif2mqtt",
            "esphome",
            "valetudo",
            "aws-shadow",
            "thingsboard",
            "zwave-js-ui",
            "homie",
        ],
        expected,
    ),
    "ecowitt": ecowitt,
    "rtl_433-json": rtl433,
    "rf433-raw": rf433,
    "openmqttgateway-ble": theengs,
}
