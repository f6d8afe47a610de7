r"""``obis``: a P1 telegram of a smart meter (DSMR, eMUCS; IEC 62056-21 mode D): ``/header``, objects, ``!``.

Each object ``1-0:1.8.1(001581.123*kWh)`` becomes ``{"1-0:1.8.1": {"value": 1581.123, "unit": "kWh"}}``; a time before
the value (``0-1:24.2.1(161129200000W)(00981.443*m3)``) is its ``time``; of more than that, and of an object that comes
several times, there is ``values``, a list of texts. What is metered on M-Bus channels 1 to 4 (gas, water, heat) is
gathered in ``mbus``, by channel: ``type``, ``id``, ``value``, ``unit``, ``time``.

Older meters write ``1.8.1`` for ``1-0:1.8.1``. The storage number of now (``*255``) is left off; that of a former
month stays with the name, ``1-0:1.8.1*04``, which is no value of now.

Times are local: ``offset_h`` is the standard time's offset from UTC, and the letter S adds the hour of summer.
The framer has checked the CRC and taken it off.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec

from gateway.errors import DecodeError
from gateway.profiles.formats.cells import cell, shown
from gateway.profiles.formats.table import Parse, Table

OBJECTS_MAX = 256  # of one telegram
GROUPS_MAX = 128  # values of one object
CHANNELS = "1234"
NOW = "*255"

_OBJECT = re.compile(
    r"(?P<medium>[0-9]{1,3}-[0-9]{1,3}:)?(?P<code>[0-9CFLP]{1,3}\.[0-9CFLP]{1,3}(?:\.[0-9]{1,3})?)"
    r"(?P<storage>[*&][0-9]{1,3})?",
    re.ASCII,
)
_TIME = re.compile(r"(?P<digits>[0-9]{12})(?P<season>[SW]?)", re.ASCII)
_VALUE = re.compile(r"(?P<number>-?[0-9]{1,12}(?:\.[0-9]{1,12})?)(?:\*(?P<unit>[A-Za-z0-9]{1,8}))?", re.ASCII)
_STARLESS = re.compile(r"([0-9]{1,12}\.[0-9]{1,12})([A-Za-z]{1,5})", re.ASCII)  # (00.149kW); (534A) may be a name
_READINGS = (
    "24.2.1",
    "24.2.3",
    "24.3.0",
)  # cumulative; 24.2.3 is not converted for temperature (Belgium), 24.3.0 DSMR 2
_number = cell("number")


class Obis(Table, frozen=True, tag="obis"):
    """One telegram."""

    offset_h: Annotated[int, msgspec.Meta(ge=-12, le=14)] = 1  # of standard time from UTC; most of P1's countries: 1

    def reader(self) -> Parse:
        """Return the parser for meters of this time zone."""

        def parse(payload: bytes) -> dict[str, Any]:
            header, found = _objects(payload)
            document: dict[str, Any] = {"header": header, "mbus": {}}
            once: dict[str, list[str]] = {}
            for code, groups in found:
                if code in document:  # a list, hour by hour: no value of now
                    document[code] = {
                        "values": [*document[code].get("values", once.pop(code, [])), *groups][:GROUPS_MAX]
                    }
                else:
                    once[code], document[code] = groups, _value(groups, self.offset_h)
            _gather(document, once)
            return document

        return parse


def _objects(payload: bytes) -> tuple[str, list[tuple[str, list[str]]]]:
    text = payload.decode("latin-1").replace("\r\n", "\n").rstrip("\n")
    if not text.startswith("/") or not text.endswith("!"):
        raise DecodeError("not a telegram from / to !")
    header, _, body = text[1:-1].partition("\n")
    found: list[tuple[str, list[str]]] = []
    for line in body.split("\n"):
        if not line.strip():
            continue
        code, bracket, rest = line.partition("(")
        if not bracket or not rest.endswith(")"):
            raise DecodeError(f"{shown(line)} is no object")
        groups = rest[:-1].split(")(", GROUPS_MAX)
        if not code and found and len(found[-1][1]) + len(groups) < GROUPS_MAX:
            found[-1][1].extend(groups)  # DSMR 2 writes the value of gas on a line of its own
            continue
        named = _OBJECT.fullmatch(code)
        if named is None or len(found) >= OBJECTS_MAX or len(groups) >= GROUPS_MAX:
            raise DecodeError(f"{shown(line)} is no object")
        storage = named["storage"] or NOW
        found.append(((named["medium"] or "1-0:") + named["code"] + (storage if storage != NOW else ""), groups))
    if not found:
        raise DecodeError("a telegram without objects")
    return "".join(c for c in header if c.isprintable()), found


def _value(groups: list[str], offset_h: int) -> dict[str, Any]:
    stamp = _time(groups[0], offset_h) if len(groups) <= 2 else None
    if len(groups) == 1:
        return {"time": stamp} if stamp else _reading(groups[0])
    if stamp and len(groups) == 2:
        return {"time": stamp, **_reading(groups[1])}
    return {"values": groups}


def _reading(text: str) -> dict[str, Any]:
    found = _VALUE.fullmatch(text)
    if found is None:
        starless = _STARLESS.fullmatch(text)
        if starless:
            return {"value": _number(starless[1]), "unit": starless[2]}
        return {"text": text} if text else {}
    if found["unit"]:
        return {"value": _number(found["number"]), "unit": found["unit"]}
    return {"value": _number(found["number"]), "text": text} if len(found["number"]) <= 16 else {"text": text}


def _time(text: str, offset_h: int) -> str | None:
    """Return ``yymmddhhmmss`` with its season as ISO 8601, None when it is none."""
    found = _TIME.fullmatch(text)
    if found is None or not found["season"]:
        return None
    year, month, day, hour, minute, second = (found["digits"][i : i + 2] for i in range(0, 12, 2))
    offset = offset_h + (found["season"] == "S")
    sign = "-" if offset < 0 else "+"
    return f"20{year}-{month}-{day}T{hour}:{minute}:{second}{sign}{abs(offset):02d}:00"


def _gather(document: dict[str, Any], objects: dict[str, list[str]]) -> None:
    """Put together what the objects of each M-Bus channel say. A channel that has measured nothing yet has no value."""
    for channel in CHANNELS:
        kind = document.get(f"0-{channel}:24.1.0", {})
        reading = next((c for code in _READINGS if (c := f"0-{channel}:{code}") in objects), None)
        if reading is None or "value" not in kind:
            continue
        meter: dict[str, Any] = {"channel": channel, "type": kind["value"]}
        for code in ("96.1.0", "96.1.1"):
            if name := "".join(objects.get(f"0-{channel}:{code}", [])):
                meter["id"] = name
        groups = objects[reading]
        if reading.endswith("24.3.0"):  # (time)(..)(..)(..)(code)(unit)(value)
            if len(groups) == 7 and _VALUE.fullmatch(groups[6]):
                meter.update(value=_number(groups[6]), unit=groups[5])
        elif len(groups) == 2 and document[reading].get("unit"):
            meter.update(document[reading])
        if "value" in meter:
            document["mbus"][channel] = meter
