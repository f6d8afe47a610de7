"""Areas, names and kinds from Home Assistant's registries, for devices the gateway knows. Pure.

The registries are JSON files in ``.storage`` of its configuration folder: ``core.area_registry``,
``core.device_registry``, ``core.entity_registry``; or one exported file with what is under ``data`` in each.
Source: https://developers.home-assistant.io/docs/device_registry_index, .../area_registry_index,
.../entity_registry_index

A device is the same one by, in this order: an address in its identifiers or connections that is the gateway's name of
it (``zigbee2mqtt_0x00158d...``, a MAC); the last six digits of its MAC at the end of that name (Shelly, Tasmota); its
name. What could be two is left to a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gateway.errors import GatewayError
from gateway.profiles.vocabulary import CONTACT_KINDS

REGISTRIES = ("area_registry", "device_registry", "entity_registry")
FILE_BYTES_MAX = 64 * 1024 * 1024
KINDS: Mapping[str, str] = {  # device classes of binary sensors and covers
    "window": "window", "door": "door", "garage_door": "garage", "garage": "garage", "gate": "gate",
    "opening": "", "shutter": "shutter",
}  # fmt: skip
OURS = ("mqtt", "mac", "zigbee")  # kinds of identifiers and connections that a gateway may know a device by
_HEX = re.compile(r"(?:0x)?([0-9a-f]{16}|[0-9a-f]{12})")


class _Area(msgspec.Struct, frozen=True):
    name: str
    id: str = ""
    area_id: str = ""  # in exports


class _HaDevice(msgspec.Struct, frozen=True):
    id: str
    area_id: str | None = None
    name: str | None = None
    name_by_user: str | None = None
    identifiers: list[list[Any]] = []
    connections: list[list[Any]] = []
    labels: list[str] = []
    disabled_by: str | None = None
    model: str | None = None


class _Entity(msgspec.Struct, frozen=True):
    entity_id: str
    device_id: str | None = None
    area_id: str | None = None
    device_class: str | None = None
    original_device_class: str | None = None
    disabled_by: str | None = None


class Registries(msgspec.Struct, frozen=True):
    """What Home Assistant knows."""

    areas: list[_Area] = []
    devices: list[_HaDevice] = []
    entities: list[_Entity] = []


class Match(NamedTuple):
    """A device of the gateway's and what Home Assistant says of it."""

    device: str  # the gateway's id
    name: str
    room: str
    kind: str
    labels: tuple[str, ...]
    by: str  # how it was found


class Unmatched(NamedTuple):
    """A device of Home Assistant's that the gateway does not know, or not for sure."""

    name: str
    identifiers: tuple[str, ...]
    why: str


def read(path: Path) -> Registries:
    """Read a configuration folder, its ``.storage``, or an exported file. GatewayError says what is wrong."""
    storage = next((each for each in (path / ".storage", path) if (each / "core.device_registry").exists()), None)
    if storage is None and path.is_dir():
        raise GatewayError(f"{path}: there is no .storage/core.device_registry: is this Home Assistant's folder?")
    if storage is None:
        found = _json(path)
        return _registries(path, found.get("data", found) if isinstance(found, dict) else {})
    data: dict[str, Any] = {}
    for name in REGISTRIES:
        file = storage / f"core.{name}"
        if file.exists():
            data |= _json(file).get("data", {})
    return _registries(storage, data)


def _json(file: Path) -> Any:
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            raise GatewayError(f"{file}: more than {FILE_BYTES_MAX} bytes")
        return msgspec.json.decode(file.read_bytes())
    except OSError as error:
        raise GatewayError(f"{file}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise GatewayError(f"{file}: not JSON: {error}") from None


def _registries(where: Path, data: Mapping[str, Any]) -> Registries:
    try:
        found = msgspec.convert({key: data.get(key, []) for key in ("areas", "devices", "entities")}, Registries)
    except msgspec.ValidationError as error:
        raise GatewayError(f"{where}: not as Home Assistant writes it: {error}") from None
    if not found.devices:
        raise GatewayError(f"{where}: there are no devices in it")
    return found


# ---- the same devices ----------------------------------------------------------------------------------------------


def matches(
    registries: Registries, known: Iterable[str], called: Mapping[str, str]
) -> tuple[list[Match], list[Unmatched]]:
    """Return the devices of Home Assistant's that are known here, and those that are not.

    known   ids of the gateway's devices
    called  what they are called in their own dialect, where that is not in the id
    """
    ids = sorted(known)
    areas = {area.id or area.area_id: area.name for area in registries.areas}
    entities: dict[str, list[_Entity]] = {}
    for entity in registries.entities:
        if entity.device_id and not entity.disabled_by:
            entities.setdefault(entity.device_id, []).append(entity)
    found: dict[str, Match] = {}
    rest: list[Unmatched] = []
    for device in registries.devices:
        if device.disabled_by:
            continue
        name = device.name_by_user or device.name or ""
        at, by = _same(device, [each for each in ids if each not in found], called)
        if len(at) == 1:
            mine = entities.get(device.id, [])
            room = areas.get(device.area_id or next((each.area_id for each in mine if each.area_id), "") or "", "")
            labels = tuple(sorted(device.labels))
            found[at[0]] = Match(at[0], name, room.strip().lower(), _kind(mine), labels, by)
        elif addresses := tuple(_addresses(device)):
            why = f"it could be {', '.join(at)} by {by}" if at else "nothing of it was heard here"
            rest.append(Unmatched(name, addresses, why))
    return [found[each] for each in sorted(found)], rest


def _same(device: _HaDevice, ids: Sequence[str], called: Mapping[str, str]) -> tuple[list[str], str]:
    """Return the ids that a device of Home Assistant's may be, and by what."""
    addresses = set(_addresses(device))
    ends = {each[-6:] for each in addresses if _HEX.fullmatch(each)}
    names = _names(device)
    tails = {each: each.partition(":")[2].strip().lower() for each in ids}
    found = [each for each, tail in tails.items() if {_plain(tail), _digits(tail)} & addresses]
    if found:
        return found, "its address"
    found = [each for each, tail in tails.items() if _end(tail) in ends]
    if found:
        return found, "the end of its MAC"
    found = [each for each, tail in tails.items() if {tail, called.get(each, "").lower()} & names]
    return found, "its name"


def _addresses(device: _HaDevice) -> Iterator[str]:
    """Yield what a device is known by on a network, in small letters and without separators."""
    for pair in (*device.identifiers, *device.connections):
        if len(pair) >= 2 and str(pair[0]) in OURS:
            text = str(pair[1])
            yield _plain(text.removeprefix("zigbee2mqtt_"))


def _plain(text: str) -> str:
    text = text.strip().lower()
    joined = re.sub(r"[:-]", "", text)
    return joined.removeprefix("0x") if _HEX.fullmatch(joined) else text


def _digits(tail: str) -> str:
    """Return the address that a name ends with: ``shellyplus1-a8032ab12345``; nothing when there is none."""
    found = re.search(r"(?:^|[^0-9a-f])((?:0x)?(?:[0-9a-f]{16}|[0-9a-f]{12}))$", re.sub(r":", "", tail.lower()))
    return found[1].removeprefix("0x") if found else ""


def _end(tail: str) -> str:
    """Return the last six digits of a MAC that a name ends with: ``shellydw-F3B842``, ``tasmota_F3B842``."""
    found = re.search(r"[-_]([0-9a-f]{6})$", tail.lower())
    return found[1] if found else "-"


def _names(device: _HaDevice) -> set[str]:
    return {name.strip().lower() for name in (device.name_by_user, device.name) if name and name.strip()}


def _kind(entities: Sequence[_Entity]) -> str:
    """Return what a contact is on, where its class says something else than a door."""
    classes = [entity.device_class or entity.original_device_class or "" for entity in entities
               if entity.entity_id.partition(".")[0] in ("binary_sensor", "cover")]  # fmt: skip
    kinds = [KINDS[each] for each in classes if KINDS.get(each)]
    return kinds[0] if kinds and kinds[0] in CONTACT_KINDS and kinds[0] != "door" else ""
