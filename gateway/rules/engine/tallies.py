"""Of how many members of a room, or of the house, a condition is true: kept by the one that changed.

A condition `per="room"` or `per="house"` costs the same however many devices are in it.  What is counted here follows
from the devices' fields alone, so that it can be forgotten at any time and counted again.
"""

from __future__ import annotations

from gateway.rules.language.definition import Condition, Threshold
from gateway.rules.language.house import Device, House

HOUSE = "house"  # the one scope of per="house"


class Tally:
    """The members of one scope and what a condition is of each: true, false, None for unknown."""

    __slots__ = ("members", "of_each", "true", "unknown", "was")

    def __init__(self) -> None:
        self.members: list[Device] = []
        self.of_each: dict[str, bool | None] = {}
        self.true = 0
        self.unknown = 0
        self.was: bool | None = None  # what the condition was when it was counted; None before that

    def count(self, condition: Condition, was: bool) -> None:
        """Ask all members."""
        self.was = was
        self.of_each = {member.id: truth_of(condition, member, was) for member in self.members}
        self.true = sum(truth is True for truth in self.of_each.values())
        self.unknown = sum(truth is None for truth in self.of_each.values())

    def put(self, device_id: str, truth: bool | None) -> None:
        """Take note of what it is of one member now."""
        before = self.of_each[device_id]
        self.of_each[device_id] = truth
        self.true += (truth is True) - (before is True)
        self.unknown += (truth is None) - (before is None)


class Tallies:
    """The tallies of all conditions over rooms and the house."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._of: dict[str, dict[str, Tally]] = {}  # by name of the condition and scope

    def forget(self) -> None:
        """Devices came or changed: look again who is meant."""
        self._of.clear()

    def changed(self, condition: Condition, scope: str, device_id: str) -> None:
        """Ask one member again."""
        tally = self._scopes(condition).get(scope)
        if tally is not None and tally.was is not None and device_id in tally.of_each:
            tally.put(device_id, truth_of(condition, self._house.devices[device_id], tally.was))

    def truth(self, condition: Condition, scope: str, was: bool) -> bool | None:
        """Return whether it is so of any member; None if that is not known; False without members."""
        tally = self._scopes(condition).get(scope)
        if tally is None:
            return False
        if tally.was is None or (tally.was is not was and depends_on_before(condition)):
            tally.count(condition, was)
        return True if tally.true else None if tally.unknown else False

    def _scopes(self, condition: Condition) -> dict[str, Tally]:
        found = self._of.get(condition.name)
        if found is None:
            found = self._of[condition.name] = {}
            for _, device in sorted(self._house.devices.items()):
                scope = HOUSE if condition.per == "house" else device.room
                if scope and meant(condition, device):
                    found.setdefault(scope, Tally()).members.append(device)
        return found


def meant(condition: Condition, device: Device) -> bool:
    """Return whether a condition is about a device."""
    return condition.selector.fits(device.id, device.name, device.room, device.kind, device.labels)


def truth_of(condition: Condition, device: Device, was: bool) -> bool | None:
    """Return whether a condition is true of a device; None if that is not known."""
    found: bool | None = True
    for name, test in condition.fields:
        value = device[name] if device.is_online or name == "online" else None
        if value is None:
            found = None
        elif not test.holds(value, was):
            return False
    return found


def depends_on_before(condition: Condition) -> bool:
    """Return whether what a condition is now may depend on what it was: a threshold with `clear`."""
    return any(isinstance(test, Threshold) for _, test in condition.fields)
