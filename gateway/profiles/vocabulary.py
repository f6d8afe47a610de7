"""What fields mean: type, canonical unit, the events a change raises, and their lane.

One line a field; a new field is a new line here and nothing else. Profiles use these names, rules and clouds see
them, so a name is never changed. Anything a device says beyond them may be kept as ``ext.<name>``, which raises no
event. Names: a dot path is one flat key. A name that ends in ``.*`` is a family (``object.count.person``).
Enums follow Home Assistant's climate modes; device classes follow Matter's device types.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from gateway.event import LaneName

FieldType = Literal["number", "bool", "enum", "text", "list", "time"]


class Meaning(NamedTuple):
    """What one field is. `off` is the event of a bool that becomes false; `{kind}` is filled in from the device."""

    type: FieldType
    event: str | None = None  # raised when the value changes (for a bool: becomes true); None: never
    unit: str | None = None  # canonical, SenML
    off: str | None = None
    lane: LaneName = "telemetry"
    quiet: bool = False  # a first value of false is no news: nothing was raised before


def _binary(event: str, off: str, lane: LaneName = "telemetry", *, quiet: bool = False) -> Meaning:
    return Meaning("bool", event, off=off, lane=lane, quiet=quiet)


def _alarm(event: str, off: str) -> Meaning:
    return _binary(event, off, "alarm", quiet=True)


def _quantity(unit: str, event: str | None) -> Meaning:
    return Meaning("number", event, unit)


FIELDS: dict[str, Meaning] = {
    # contacts, presence, alarms
    "open": _binary("{kind}_opened", "{kind}_closed"),
    "motion": _binary("motion_detected", "motion_cleared"),
    "presence": _binary("presence_detected", "presence_cleared"),
    "vibration": _binary("vibration_detected", "vibration_cleared", quiet=True),
    "tamper": _alarm("tamper_raised", "tamper_cleared"),
    "smoke": _alarm("smoke_detected", "smoke_cleared"),
    "co": _alarm("co_detected", "co_cleared"),
    "gas": _alarm("gas_detected", "gas_cleared"),
    "leak": _alarm("leak_detected", "leak_cleared"),
    "fault": _binary("fault_raised", "fault_cleared", quiet=True),
    "locked": _binary("door_locked", "door_unlocked"),
    "input": _binary("input_activated", "input_deactivated"),
    "button": Meaning("text", "button_pressed"),
    "tilt": _quantity("deg", "tilt_changed"),
    "alarm": _alarm("alarm_raised", "alarm_cleared"),
    "armed": Meaning("text", "arming_changed"),  # of an alarm panel: off, home, away
    "panel.report": Meaning("text", "panel_reported"),
    "jammed": _alarm("lock_jammed", "lock_freed"),
    "cover": Meaning("enum", "cover_changed"),
    "lock.action": Meaning("text", "lock_operated"),
    "lock.user": Meaning("text"),
    "doorbell": _binary("doorbell_pressed", "doorbell_released", quiet=True),
    "people": _quantity("count", "people_counted"),
    "distance": _quantity("m", None),
    "acceleration.*": _quantity("m/s2", None),
    # climate
    "temperature": _quantity("Cel", "temperature_changed"),
    "humidity": _quantity("%RH", "humidity_changed"),
    "pressure": _quantity("hPa", "pressure_changed"),
    "pressure.sea_level": _quantity("hPa", None),
    "dew_point": _quantity("Cel", None),
    "temperature.floor": _quantity("Cel", "temperature_changed"),
    "temperature.probe": _quantity("Cel", "temperature_changed"),
    "setpoint.heat": _quantity("Cel", "setpoint_changed"),
    "setpoint.cool": _quantity("Cel", "setpoint_changed"),
    "mode": Meaning("enum", "mode_changed"),
    "action": Meaning("enum", "action_changed"),
    "preset": Meaning("text", "preset_changed"),
    "valve": _quantity("%", "valve_changed"),
    "window_detected": _binary("open_window_detected", "open_window_cleared", quiet=True),
    "co2": _quantity("ppm", "co2_changed"),
    "voc": _quantity("ppm", "voc_changed"),
    "pm25": _quantity("ug/m3", "pm25_changed"),
    "pm1": _quantity("ug/m3", None),
    "pm4": _quantity("ug/m3", None),
    "pm10": _quantity("ug/m3", "pm10_changed"),
    "formaldehyde": _quantity("ug/m3", "formaldehyde_changed"),
    "aqi": Meaning("number", "aqi_changed"),
    "co.level": _quantity("ppm", None),
    "gas.level": _quantity("ppm", None),
    "smoke.level": _quantity("ppm", None),
    "fan": Meaning("text", "fan_changed"),
    "fan.speed": _quantity("%", "fan_changed"),
    # weather, soil, water
    "wind.speed": _quantity("m/s", "wind_changed"),
    "wind.gust": _quantity("m/s", None),
    "wind.direction": _quantity("deg", None),
    "rain": _quantity("mm", "rain_changed"),
    "rain.rate": _quantity("mm/h", "rain_rate_changed"),
    "raining": _binary("rain_started", "rain_stopped", quiet=True),
    "uv": Meaning("number", "uv_changed"),
    "radiation": _quantity("W/m2", None),
    "lightning.count": _quantity("count", "lightning_counted"),
    "lightning.distance": _quantity("m", None),
    "soil_moisture": _quantity("%", "soil_moisture_changed"),
    "conductivity": _quantity("S/m", None),
    "ph": Meaning("number", "ph_changed", "pH"),
    "weight": _quantity("kg", "weight_changed"),
    "level": _quantity("%", "level_changed"),
    "depth": _quantity("m", "depth_changed"),
    "water.volume": _quantity("m3", "water_volume_changed"),
    "water.flow": _quantity("m3/s", None),
    "gas.volume": _quantity("m3", "gas_volume_changed"),
    "illuminance": _quantity("lx", "illuminance_changed"),
    "illumination": Meaning("text", "illumination_changed"),
    # switching and energy
    "on": _binary("switched_on", "switched_off"),
    "power": _quantity("W", "power_changed"),
    "power.failed": _alarm("power_failed", "power_restored"),  # the mains, where something else keeps the device going
    "power.returned": _quantity("W", None),  # to the grid
    "power.apparent": _quantity("VA", None),
    "power.reactive": _quantity("var", None),
    "power.factor": _quantity("/", None),
    "energy": _quantity("Wh", "energy_changed"),
    "energy.returned": _quantity("Wh", "energy_changed"),
    "energy.tariff.*": _quantity("Wh", "energy_changed"),
    "energy.returned.tariff.*": _quantity("Wh", "energy_changed"),
    "voltage": _quantity("V", "voltage_changed"),
    "current": _quantity("A", "current_changed"),
    "power.phase.*": _quantity("W", None),
    "voltage.phase.*": _quantity("V", None),
    "current.phase.*": _quantity("A", None),
    "frequency": _quantity("Hz", None),
    "position": _quantity("%", "position_changed"),  # of a cover; 100 is open
    "position.tilt": _quantity("%", "slats_changed"),
    "brightness": _quantity("%", "brightness_changed"),
    "color_temperature": _quantity("mired", None),
    "color.x": _quantity("/", None),
    "color.y": _quantity("/", None),
    "color.hue": _quantity("deg", None),
    "color.saturation": _quantity("%", None),
    "effect": Meaning("text", "effect_changed"),
    "charging": _binary("charging_started", "charging_stopped", quiet=True),
    "activity": Meaning("text", "activity_changed"),
    # the device itself
    "online": _binary("device_online", "device_offline"),
    "battery": _quantity("%EL", "battery_changed"),
    "battery.low": _binary("battery_low", "battery_ok", quiet=True),
    "battery.voltage": _quantity("V", None),
    "link_quality": _quantity("count", None),
    "rssi": _quantity("dBm", None),
    "snr": _quantity("dB", None),
    "uptime": _quantity("s", None),
    "device.temperature": _quantity("Cel", None),
    "seq": Meaning("number"),  # the device's own message number: shows what was lost before the gateway
    "setting.*": _binary("setting_changed", "setting_changed"),
    # cameras
    "object.id": Meaning("text"),
    "object.label": Meaning("text"),
    "object.sub_label": Meaning("text"),
    "object.score": _quantity("/", None),
    "object.top_score": _quantity("/", None),
    "object.zones": Meaning("list"),
    "object.started": Meaning("time"),
    "object.ended": Meaning("time"),
    "object.has_snapshot": Meaning("bool"),
    "object.plate": Meaning("text"),
    "object.description": Meaning("text"),
    "object.update": Meaning("text"),
    "object.count.*": _quantity("count", "object_count_changed"),
    "object.active.*": _quantity("count", None),
    "detected.*": _binary("detection_started", "detection_ended", quiet=True),
    "review": Meaning("enum", "review_changed"),
    "review.id": Meaning("text"),
    "review.severity": Meaning("text"),
    "review.objects": Meaning("list"),
    "review.zones": Meaning("list"),
    "trigger": Meaning("text"),
    "trigger.type": Meaning("text"),
    "sound.*": _binary("sound_detected", "sound_cleared", quiet=True),
    "sound_level": _quantity("dB", None),
    "classification.*": Meaning("text", "classification_changed"),
    "snapshot": Meaning("text", "snapshot_taken"),
}

EVENTS_OF_MESSAGES = frozenset(
    {
        "object_detected", "object_updated", "object_left", "object_described",
        "review_started", "review_updated", "review_ended",
        "trigger_raised", "snapshot_taken", "button_pressed", "reading_taken",
        "device_joined", "device_left", "device_announced", "device_interviewed", "device_removed",
        "device_renamed",
    }
)  # fmt: skip
"""Types a message as a whole may raise (``event =``), beside those of the fields."""

MODES = frozenset({"off", "heat", "cool", "heat_cool", "auto", "dry", "fan_only", "other"})
ACTIONS = frozenset({"off", "preheating", "heating", "cooling", "drying", "fan", "idle", "defrosting", "other"})
COVERS = frozenset({"open", "closed", "opening", "closing", "stopped", "other"})
ENUMS: dict[str, frozenset[str]] = {"mode": MODES, "action": ACTIONS, "cover": COVERS}

KIND_OF_CLASS: dict[str, str] = {
    "thermostat": "thermostat",
    "contact_sensor": "door",
    "occupancy_sensor": "motion",
    "camera": "camera",
    "temperature_sensor": "thermometer",
    "humidity_sensor": "hygrometer",
    "light_sensor": "light_sensor",
    "on_off_plug": "plug",
    "light": "light",
    "door_lock": "lock",
    "window_covering": "cover",
    "water_leak_detector": "leak",
    "smoke_co_alarm": "smoke",
    "generic_switch": "button",
    "air_quality_sensor": "air",
    "electrical_meter": "meter",
    "siren": "siren",
    "doorbell": "doorbell",
    "alarm_panel": "panel",
    "vibration_sensor": "vibration",
    "pressure_sensor": "barometer",
    "rain_sensor": "rain",
    "soil_sensor": "soil",
    "weather_station": "weather",
    "water_valve": "valve",
    "water_meter": "water_meter",
    "gas_meter": "gas_meter",
    "fan": "fan",
    "robotic_vacuum_cleaner": "vacuum",
    "scale": "scale",
    "gateway": "gateway",
    "device": "device",  # it is known, and is nothing of these
    "unknown": "device",
}
"""Device classes, and what a device of that class is on or in unless devices.toml says otherwise."""

_LITTLE: dict[str, int] = {
    "unknown": 0, "temperature_sensor": 1, "humidity_sensor": 1, "pressure_sensor": 1, "light_sensor": 1,
    "air_quality_sensor": 1, "electrical_meter": 1, "generic_switch": 2, "on_off_plug": 2,
}  # fmt: skip


def weight(device_class: str) -> int:
    """Return how much a class says of a device: nearly all measure something, many switch, few are thermostats."""
    return _LITTLE.get(device_class, 3)


CONTACT_KINDS = frozenset(
    {
        "door", "window", "gate", "garage", "hatch", "drawer", "cupboard", "safe", "shutter",
        "skylight", "letterbox", "freezer", "fridge", "lid",
    }
)  # fmt: skip
FAMILY_OF_KIND: dict[str, str] = dict.fromkeys(CONTACT_KINDS, "contact") | {
    "motion": "motion", "leak": "leak", "smoke": "smoke", "button": "button", "doorbell": "button",
}  # fmt: skip
"""What a bare input (a relay board's `Switch1`) means once devices.toml gives its device a kind."""


def meaning(name: str) -> Meaning | None:
    """Return what a field means; None for a name nobody knows. ``ext.*`` is known and raises nothing."""
    found = FIELDS.get(name)
    if found is None and name.startswith("ext."):
        return Meaning("text")
    while found is None and "." in name:
        name = name.rpartition(".")[0]
        found = FIELDS.get(f"{name}.*")
    return found


def event_types() -> frozenset[str]:
    """Return every type a profile can raise, with `{kind}` left in: what rules and routes may name."""
    named = {t for m in FIELDS.values() for t in (m.event, m.off) if t}
    return frozenset(named | EVENTS_OF_MESSAGES)
