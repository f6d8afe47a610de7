"""What gates decide of an event: it goes, it goes with other data, or it is dropped.

Gates look at an event in the order of their files; each sees the data that those before have left it, and the first
that drops it ends that.  A gate that fails, or is in quarantine, lets the event go, or drops it when it says
``fail="closed"``: nothing waits for a gate to be mended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from gateway.rules.engine.call import DATA_BYTES_MAX, plain
from gateway.rules.engine.index import Index
from gateway.rules.engine.seen import Seen
from gateway.rules.engine.trace import GATED, Trace
from gateway.rules.language.acting import Acting
from gateway.rules.language.definition import Declared, EventRule, Gate
from gateway.rules.language.house import House
from gateway.rules.protocol import Verdict

UNDONE: Final = object()
"""Stands for what a function returned that was not called, or failed."""


def decision(function: Callable[..., Any], *arguments: Any) -> bool | dict[str, Any]:
    """Call a gate. TypeError when it returns no decision, LimitReached when the data are more than an event holds."""
    value = function(*arguments)
    if isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        data: dict[str, Any] = plain(dict(value), DATA_BYTES_MAX)
        return data
    raise TypeError(
        f"a gate returns True (let it go), False (drop it) or a dict (let it go with these data): {value!r}"
    )


class Decisions:
    """Asks the gates about events."""

    def __init__(self, house: House, trace: Trace, acting: Acting, offer: Callable[[EventRule, Seen], Any]) -> None:
        """`offer(gate, event)` runs a gate: what it returned, UNDONE, or None when something spoke against a run."""
        self._index = Index(house)
        self._trace = trace
        self._acting = acting
        self._offer = offer
        self.types: frozenset[str] = frozenset()

    def put(self, definitions: Iterable[Declared], disabled: Iterable[Declared]) -> None:
        """Take these gates and no others; events of `disabled` ones are still waiting for an answer."""
        self._index.put(definitions, Gate)
        waiting = {name for each in disabled if isinstance(each, Gate) for name in each.types}
        self.types = frozenset(waiting.union(self._index.by_type))

    def forget(self) -> None:
        """Devices came or changed: look again who is meant."""
        self._index.forget()

    def of(self, seen: Seen) -> Verdict:
        """Ask the gates about an event."""
        by_device = self._index.by_type.get(seen.type)
        found = None if by_device is None else by_device.get(seen.subject)
        if by_device is not None and found is None:
            found = self._index.find(seen.type, seen.subject)
        data: dict[str, Any] | None = None
        by: list[str] = []
        for gate in found or ():
            said = self._offer(gate, seen)
            if said is None:
                continue
            open_anyway = gate.commands == "observe" or gate.name in self._acting.observed
            goes, text = _weighed(gate, said, observed=open_anyway)
            self._trace.look(gate.index, seen.sequence, GATED, text)
            if not goes:
                return int(seen.sequence), False, gate.name
            if isinstance(said, dict) and not open_anyway:
                data, by = said, [*by, gate.name]
                seen = msgspec.structs.replace(seen, data=said)
        return int(seen.sequence), True if data is None else data, ", ".join(by)


def _weighed(gate: EventRule, said: Any, *, observed: bool) -> tuple[bool, str]:
    """Return whether an event goes, and that in words."""
    closed = isinstance(gate, Gate) and gate.fail == "closed"
    goes = not closed if said is UNDONE else said is not False
    text = "let it go" if goes else "dropped it"
    text += " with other data" if isinstance(said, dict) else ""
    text += f", as it could not be asked (fail {'closed' if closed else 'open'})" if said is UNDONE else ""
    return (True, f"would have {text} (only observed)") if observed else (goes, text)
