"""Alarm panels, and lines of boards and weather instruments."""

from __future__ import annotations

from tests.profiles.corpora.expected import Expected, Name, Wanted, name, wanted
from tests.profiles.corpora.records import Record

DSC: dict[str, Name] = {"contact.open": name("open"), "tamper": name("tamper"), "alarm": name("alarm")}
LINES: dict[str, Name] = {
    "temperature_Cel": name("temperature"), "humidity_pct": name("humidity"), "contact.open": name("open"),
    "setpoint_heat_Cel": name("setpoint.heat"), "mode": name("mode"),
}  # fmt: skip
_MEANS = {  # what DSC's own words say, in ours
    "Armed": ("armed", "away"), "Disarmed": ("armed", "off"), "Alarm": ("alarm", True),
    "FireAlarmButton": ("alarm", True), "AuxAlarmButton": ("alarm", True), "AuxAlarmButtonOff": ("alarm", False),
    "PanicAlarmButton": ("alarm", True), "PanicAlarmButtonOff": ("alarm", False),
    "LowBatTrouble": ("battery.low", True), "LowBatTroubleOff": ("battery.low", False),
    "ACTrouble": ("power.failed", True), "ACTroubleOff": ("power.failed", False),
    "SystemTamper": ("tamper", True), "SystemTamperOff": ("tamper", False),
    "Zone Fault": ("fault", True), "Zone Fault Restore": ("fault", False),
}  # fmt: skip


def dsc(record: Record) -> Expected:
    """Read a DSC record."""
    found = Expected(wanted(record.fields, DSC))
    said = record.payload.decode().strip()
    if record.expect.get("event") in _MEANS and not (said.startswith("652") and len(said) < 7):  # how is not said
        field, value = _MEANS[record.expect["event"]]
        if said.startswith("652") and said[4] in "13":
            value = "home"
        found.wanted.append(Wanted((field,), value))
    if found.wanted and record.expect.get("device"):
        found.device = (record.expect["device"],)
    return found


def alarmdecoder(record: Record) -> Expected:
    """Read a line: of the keypad its bits, of an expander or relay its value, of a report that there is one."""
    fields, found = record.fields, Expected()
    text = record.payload.decode()
    if "ready" in fields:
        armed = "away" if fields["armed_away"] else "home" if fields["armed_home"] else "off"
        found.wanted = [Wanted(("armed",), armed), Wanted(("ext.ready",), fields["ready"])]
        found.wanted.append(Wanted(("ext.text",), fields["text"] or None))
    elif "fault" in fields:
        found.wanted = [Wanted(("open", "on"), fields["fault"])]
        found.device = (record.expect["device"],)
    elif text.startswith("!RFX"):
        found.device = (text[5:12],)
    elif ",CID_11" in text:
        found.wanted = [Wanted(("alarm",), True)]
    elif text.startswith("!LRR") and "CID_" not in text:
        found.events = ("panel_reported",)
    return found


def lines(record: Record) -> Expected:
    """Read what a board printed. What has no names (a row of numbers) only the board's own profile can read."""
    return Expected(wanted(record.fields, LINES))


def nmea(record: Record) -> Expected:
    """Read a sentence: temperatures of the water, transducers by their names, a checksum that must be right."""
    if record.expect.get("reject"):
        return Expected(rejected=True)
    said = record.expect["fields"]
    if record.expect["talker"] == "WIMTW":
        return Expected([Wanted(("temperature",), float(said[0]))])
    if record.expect["talker"] == "WIXDR":
        kinds = {"C": "temperature", "H": "humidity"}
        groups = [said[i : i + 4] for i in range(0, len(said), 4)]
        return Expected([Wanted((kinds[kind],), float(value)) for kind, value, _, _ in groups if kind in kinds])
    return Expected()


DIALECTS = {
    "dsc-it100": dsc,
    "alarmdecoder": alarmdecoder,
    "arduino-line": lines,
    "nmea-checksum": nmea,
}
