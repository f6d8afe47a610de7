"""The last values of devices on their way to the disk: in the block of the events that tell of them, never before.

A value that is on the disk is known, and a message that says it again makes no event.  So were it there before its
event, a kill between the two would lose the event, though its sender repeats it.  Decoding changes values first and
the pipeline appends behind it: meanwhile a batch that is full may close, and a picture may be waited for.  What is
then `ahead` of its events stays for the batch that has them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, Final

from gateway.profiles.report import note_arrival
from gateway.sources.source import Delivery

TABLE: Final = "values"


class LastValues:
    """Which devices have values that the journal has not. Belongs to the event loop's thread."""

    def __init__(self, values: MutableMapping[str, dict[str, Any]], keep: Callable[[str, str, Any], None]) -> None:
        """`keep(table, key, row)` puts a row into the open batch."""
        self._values, self._keep = values, keep
        self._late: Counter[str] = Counter()  # devices with events that are appended later
        self.changed: dict[str, Delivery | None] = {}  # since the last seal, by what
        self.ahead: Sequence[str] = ()  # devices whose events are being appended

    def wait(self, devices: Iterable[str]) -> None:
        """Put nothing of these until `appended`: their events are appended later."""
        self._late.update(devices)

    def appended(self, devices: Iterable[str]) -> None:
        """Put them again: their events are in the open batch."""
        self._late.subtract(devices)
        self._late = +self._late

    def adopt(self, values: Mapping[str, dict[str, Any]]) -> None:
        """Take last values of devices that have none."""
        for device, known in values.items():
            if device not in self._values:
                self._values[device] = known
                self.changed[device] = None

    def forget(self, device: str) -> None:
        """Forget the last values of a device."""
        if self._values.pop(device, None) is not None:
            self.changed[device] = None

    def put(self) -> None:
        """Put what changed into the batch that is about to be closed."""
        changed, self.changed = self.changed, {}
        for device, delivery in changed.items():
            if device in self._late or device in self.ahead:
                self.changed[device] = delivery
                continue
            known = self._values.get(device)
            if known is not None and delivery is not None:
                note_arrival(known, delivery.qos, delivery.topic)
            self._keep(TABLE, device, known)
