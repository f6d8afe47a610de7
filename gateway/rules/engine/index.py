"""Finds the rules that look at an event: by type and device, so that the others cost nothing."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.rules.language.definition import Declared, EventRule
from gateway.rules.language.house import Device, House


class Index:
    """Event rules by type, and for each type by device as far as asked for."""

    def __init__(self, house: House) -> None:
        """Look devices up in `house`."""
        self._house = house
        self._by_type: dict[str, list[EventRule]] = {}
        self.by_type: dict[str, dict[str, tuple[EventRule, ...]]] = {}  # type -> device -> rules that look

    def put(self, definitions: Iterable[Declared], sort: type[EventRule] = EventRule) -> None:
        """Index these rules and no others, as far as they are of exactly this sort."""
        self._by_type.clear()
        self.by_type.clear()
        for definition in definitions:
            if type(definition) is sort and isinstance(definition, EventRule):
                for view in definition.views:
                    for event_type in view.types:
                        self._by_type.setdefault(event_type, []).append(view)
                        self.by_type[event_type] = {}

    def forget(self) -> None:
        """Devices came or changed: look again who is meant."""
        for by_device in self.by_type.values():
            by_device.clear()

    def find(self, event_type: str, subject: str) -> tuple[EventRule, ...]:
        """Return the rules that look at events of a type about a device, and remember them."""
        device = self._house.devices.get(subject)
        rules = tuple(rule for rule in self._by_type[event_type] if _selects(rule, device))
        if device is not None or not subject:
            self.by_type[event_type][subject] = rules
        return rules


def _selects(rule: EventRule, device: Device | None) -> bool:
    if device is None:
        return rule.selector.anything
    return rule.selector.fits(device.id, device.name, device.room, device.kind, device.labels)
