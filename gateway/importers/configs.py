"""A config of Home Assistant's discovery as one means it: long keys, whole topics, and which device it is of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.importers.abbreviations import DEVICE_KEYS, KEYS

NAME_CHARS_MAX = 100


def expanded(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config with long keys, and ``~`` replaced by the topic it stands for."""
    found = full(config)
    start = found.pop("~", None)
    if isinstance(found.get("availability"), dict):
        found["availability"] = [found["availability"]]
    if isinstance(start, str):
        found = {key: _based(value, start) if key.endswith("topic") else value for key, value in found.items()}
        if isinstance(found.get("availability"), list):
            found["availability"] = [
                {k: _based(v, start) for k, v in full(one).items()} if isinstance(one, dict) else one
                for one in found["availability"]
            ]
        if isinstance(found.get("components"), dict):
            found["components"] = {
                key: {"~": start, **one} if isinstance(one, dict) else one for key, one in found["components"].items()
            }
    device = found.get("device")
    if isinstance(device, dict):
        found["device"] = {DEVICE_KEYS.get(key, key): value for key, value in device.items()}
    return found


def identity(config: Mapping[str, Any], object_id: str) -> tuple[str, str]:
    """Return the stable name of an entity's device, and what it is called."""
    about = config.get("device")
    about = about if isinstance(about, dict) else {}
    listed = about.get("identifiers")
    first = listed[0] if isinstance(listed, list) and listed else listed
    if not isinstance(first, str) or not first:
        pairs = about.get("connections")
        pair = pairs[0] if isinstance(pairs, list) and pairs else None
        first = pair[1] if isinstance(pair, list) and len(pair) == 2 else None
    if not isinstance(first, str) or not first:
        first = str(config.get("unique_id") or object_id or "entity")
    name = about.get("name") or config.get("name") or first
    return plain(first), str(name)[:NAME_CHARS_MAX]


def full(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with long keys."""
    return {KEYS.get(key, key): value for key, value in config.items()}


def _based(value: Any, start: str) -> Any:
    if isinstance(value, str) and value.startswith("~"):
        return start + value[1:]
    return value[:-1] + start if isinstance(value, str) and value.endswith("~") else value


def plain(text: str) -> str:
    """Return a text that can be a name and stand in a profile."""
    return "".join(char if char.isprintable() and char not in "{}" else "_" for char in text)[:NAME_CHARS_MAX] or "_"
