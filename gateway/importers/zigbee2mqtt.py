"""Zigbee2MQTT: ``bridge/devices`` lists every device with what it exposes; models that need no file of their own.

Source: https://www.zigbee2mqtt.io/guide/usage/mqtt_topics_and_messages.html (zigbee2mqtt/bridge/devices) and
.../exposes.html.  The id is the IEEE address, the friendly name is the name.  A definition is kept once for all devices
of its model, without descriptions and labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import msgspec
import orjson

from gateway.importers.exposes import document, endpoints
from gateway.importers.importer import DEVICES_MAX, Description, Rows, Taken

PREFIX = "zigbee2mqtt"
EXPOSES_MAX = 200  # members of one list of exposes or features
DEPTH_MAX = 4
TEXT_CHARS_MAX = 120

_KEPT = ("type", "name", "property", "endpoint", "unit", "access", "value_on", "value_off", "values",
         "value_min", "value_max", "value_step")  # fmt: skip


class Zigbee2Mqtt:
    """One bridge.

    Rows: ``0x...`` -> [friendly name, model's key]; ``model/<key>`` -> [title, maker, power source, exposes].
    """

    name = "zigbee2mqtt"
    rank = 1

    def __init__(self, prefixes: Mapping[str, str], kept: Mapping[str, Any]) -> None:
        """Begin with the rows of an earlier run."""
        self.base = prefixes.get(PREFIX, PREFIX)
        self.rows = Rows(kept)
        self.rows.keep_only(_is_row)
        self.rows.keep_only(lambda key, row: "/" in key or self.rows.get(f"model/{row[1]}") is not None)
        self.yielded: set[str] = set()
        self._topic = f"{self.base}/bridge/devices"
        self._documents: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {}  # model's key -> document, left out

    def beside(self, names: Collection[str], is_read: Callable[[Iterable[str]], bool]) -> None:
        """Know nothing of the others: a bridge knows its devices best."""

    def filters(self) -> Iterable[str]:
        """Return where the bridge lists its devices, and what they say."""
        return (f"{self.base}/#",)

    def wants(self, topic: str) -> bool:
        """Return whether this is the list."""
        return topic == self._topic

    def explain(self, _topic: str, _payload: bytes) -> dict[str, Any]:
        """Add nothing: what came of it says it all."""
        return {}

    def described(self) -> Iterable[str]:
        """Return the IEEE addresses of all devices."""
        return self.rows.keys("0x")

    def take(self, _topic: str, payload: bytes, _now_ns: int) -> Taken:
        """Take the list of devices; who is not in it is no more."""
        try:
            listed = orjson.loads(payload) if payload else []
        except orjson.JSONDecodeError as error:
            return Taken(refused=f"not JSON: {error}")
        if not isinstance(listed, list):
            return Taken(refused="not a list of devices")
        taken, there = Taken(whole=True), set[str]()
        for device in listed[:DEVICES_MAX]:
            found = _device(device)
            if found is None:
                there |= _addresses(device)  # it is interviewed, or switched off there: it stays as it was
                continue
            address, friendly, model = found
            key = hashlib.blake2b(msgspec.json.encode(model), digest_size=6).hexdigest()
            row = [friendly, key]
            if self.rows.put(f"model/{key}", model) and self._put(address, row, taken):
                there.add(address)
            elif self.rows.get(address) is not None:
                there.add(address)  # as it was: there is no room for what it says now
        for address in set(self.rows.keys("0x")) - there:
            self.rows.drop(address)
            taken.changed.append(address)
        used = {f"model/{self.rows.get(address)[1]}" for address in self.rows.keys("0x")}
        for model_key in set(self.rows.keys("model/")) - used:
            self.rows.drop(model_key)
            self._documents.pop(model_key.removeprefix("model/"), None)
        taken.why = f"{len(there)} devices described"
        return taken

    def _put(self, address: str, row: list[str], taken: Taken) -> bool:
        if self.rows.get(address) == row:
            return True
        if not self.rows.put(address, row):
            return False
        taken.changed.append(address)
        return True

    def describe(self, key: str) -> Description | None:
        """Return a device as a profile."""
        row = self.rows.get(key)
        if row is None:
            return None
        friendly, model_key = row
        model = self.rows.get(f"model/{model_key}")
        made = self._documents.get(model_key)
        if made is None:
            made = self._documents[model_key] = document(*model)
        aliases = {f"z2m:{friendly}": f"z2m:{key}"}
        for end in endpoints(model[3]):
            aliases[f"z2m:{friendly}/{end}"] = f"z2m:{key}/{end}"
        return Description(
            key=key, document=made[0], topics=(f"{self.base}/{friendly}",), device=f"z2m:{key}", name=friendly,
            aliases=aliases, left_out=made[1],
        )  # fmt: skip


def _is_row(key: str, row: Any) -> bool:
    if key.startswith("model/"):
        return len(row) == 4 and isinstance(row[3], list)
    return len(row) == 2 and all(isinstance(each, str) for each in row)


def _device(device: Any) -> tuple[str, str, list[Any]] | None:
    """Return address, friendly name and model of a device that says what it exposes; None for any other."""
    if not isinstance(device, dict) or device.get("type") == "Coordinator" or device.get("disabled") is True:
        return None
    address, friendly, definition = device.get("ieee_address"), device.get("friendly_name"), device.get("definition")
    if not (isinstance(address, str) and address.startswith("0x") and 3 < len(address) <= 20 and address.isalnum()):
        return None
    if not (isinstance(friendly, str) and 0 < len(friendly) <= TEXT_CHARS_MAX and isinstance(definition, dict)):
        return None
    exposes = list(_stripped(definition.get("exposes"), DEPTH_MAX))
    if not exposes or set("+#\0") & set(friendly):
        return None
    title = str(definition.get("description") or definition.get("model") or "Zigbee device")[:TEXT_CHARS_MAX]
    maker = str(definition.get("vendor") or "")[:TEXT_CHARS_MAX]
    return address, friendly, [title, maker, str(device.get("power_source") or "")[:20], exposes]


def _addresses(device: Any) -> set[str]:
    address = device.get("ieee_address") if isinstance(device, dict) else None
    return {address} if isinstance(address, str) else set()


def _stripped(exposes: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Yield exposes with what matters only, so that they are small and equal for equal models."""
    if not isinstance(exposes, list) or depth == 0:
        return
    for expose in exposes[:EXPOSES_MAX]:
        if isinstance(expose, dict) and isinstance(expose.get("type"), str):
            kept = {key: expose[key] for key in _KEPT if _is_small(expose.get(key))}
            inner = list(_stripped(expose.get("features"), depth - 1))
            yield {**kept, "features": inner} if inner else kept


def _is_small(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= EXPOSES_MAX and all(isinstance(v, str) and len(v) <= TEXT_CHARS_MAX for v in value)
    if isinstance(value, str):
        return len(value) <= TEXT_CHARS_MAX
    return isinstance(value, (bool, int, float))
