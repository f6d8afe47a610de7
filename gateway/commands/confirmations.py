"""Which commands wait for their device to say that it is so, and what to do when it does not. Pure.

A command is confirmed when the device reports the value it was given (rounded as its profile says).  Until then it is
sent again, each `confirm_s`, as often as it may be; one that can't be repeated never is.  A newer command for the same
field takes the place of an older one.

A row of the table "confirming" (by the command's id) is an `Awaiting`; it goes with the event that says how it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any

import msgspec

from gateway.clock import NS_PER_S
from gateway.errors import JournalError
from gateway.event import Event

AWAITING_MAX = 1000  # commands; of further ones nothing is known
NEAR = 1e-6  # of two numbers that mean the same


class Awaiting(msgspec.Struct, frozen=True, kw_only=True):
    """A command that was sent, and what its device is to say then."""

    device: str
    command: str
    value: Any
    by: str  # actor
    field: str
    wanted: Any  # the value as the device rounds it
    near: float = NEAR  # how far from it a number may be
    confirm_s: float
    until: str = ""  # RFC 3339: not sent again after that
    sequence: int = 0  # of the command: by which clock `until` is
    left: int = 0  # how often it may be sent again
    sent: int = 1  # times

    @property
    def key(self) -> tuple[str, str]:
        """What a newer command takes over: the field of the device."""
        return self.device, self.field

    def met_by(self, value: Any) -> bool:
        """Return whether a reported value is what was wanted."""
        if isinstance(value, bool) or isinstance(self.wanted, bool):
            return value is self.wanted
        if isinstance(value, (int, float)) and isinstance(self.wanted, (int, float)):
            return abs(value - self.wanted) <= max(self.near, NEAR)
        return bool(value == self.wanted)


class Step(Enum):
    """What is to be done about an awaited command."""

    CONFIRMED = "confirmed"
    AGAIN = "again"
    FAILED = "failed"


Save = Callable[[str, Any], None]
"""Puts a row: id, row (None deletes)."""


class Confirmations:
    """The commands that are awaited. Times are of the boot clock: after a start each has its whole time again."""

    def __init__(self, rows: Mapping[str, Any], save: Save, now_ns: int) -> None:
        self._save = save
        self._awaited: dict[str, tuple[Awaiting, int]] = {}  # id -> when its time is over
        for command_id, row in rows.items():
            self._await(command_id, msgspec.convert(row, Awaiting), now_ns)

    def __len__(self) -> int:
        """Return how many are awaited."""
        return len(self._awaited)

    def __iter__(self) -> Iterator[Awaiting]:
        return iter([awaiting for awaiting, _ in self._awaited.values()])

    def begin(self, command_id: str, awaiting: Awaiting, now_ns: int) -> bool:
        """Await a command that was just sent; False when too many are."""
        if len(self._awaited) >= AWAITING_MAX:
            return False
        try:
            self._save(command_id, msgspec.to_builtins(awaiting))
        except JournalError:  # its tables are full
            return False
        self._await(command_id, awaiting, now_ns)
        return True

    def overtaken(self, device: str, field: str) -> list[tuple[str, Awaiting]]:
        """Return what a newer command for the same field takes over."""
        return [(key, each) for key, (each, _) in self._awaited.items() if each.key == (device, field)]

    def of(self, device: str, command: str) -> list[tuple[str, Awaiting]]:
        """Return what is awaited of a command to a device."""
        return [
            (key, each) for key, (each, _) in self._awaited.items() if (each.device, each.command) == (device, command)
        ]

    def look(self, reported: Callable[[str, str], Any], now_ns: int) -> list[tuple[str, Awaiting, Step]]:
        """Return what is over or has to be sent again; `reported(device, field)` is what a device last said.

        What is confirmed or has failed has to be given up; what is to be sent again `repeated`, `put_off` or given up.
        """
        found: list[tuple[str, Awaiting, Step]] = []
        for command_id, (awaiting, due_ns) in list(self._awaited.items()):
            if awaiting.met_by(reported(awaiting.device, awaiting.field)):
                found.append((command_id, awaiting, Step.CONFIRMED))
            elif now_ns >= due_ns and awaiting.left:
                found.append((command_id, awaiting, Step.AGAIN))
            elif now_ns >= due_ns:
                found.append((command_id, awaiting, Step.FAILED))
        return found

    def repeated(self, command_id: str, now_ns: int) -> None:
        """Take note that a command was sent again."""
        before, _ = self._awaited[command_id]
        awaiting = msgspec.structs.replace(before, left=before.left - 1, sent=before.sent + 1)
        self._await(command_id, awaiting, now_ns)
        self._save(command_id, msgspec.to_builtins(awaiting))

    def put_off(self, command_id: str, now_ns: int) -> None:
        """Give a command its time once more: its device could not be told."""
        self._await(command_id, self._awaited[command_id][0], now_ns)

    def give_up(self, command_id: str) -> None:
        """Stop awaiting a command, behind the event that says how it ended."""
        if self._awaited.pop(command_id, None) is not None:
            self._save(command_id, None)

    def _await(self, command_id: str, awaiting: Awaiting, now_ns: int) -> None:
        self._awaited[command_id] = awaiting, now_ns + round(awaiting.confirm_s * NS_PER_S)


class Expected(msgspec.Struct, frozen=True):
    """What a device reports when it has done what a command says, as its profile tells."""

    field: str
    value: Any
    near: float = NEAR
    within_s: float = 0.0  # how long it takes; 0: the profile does not say


HOLD_RETRIES = 2  # how often a device that did not take what is claimed is told again
HOLD_CONFIRM_S = 30.0  # where its profile does not say how long it takes


def awaiting_of(event: Event, expected: Expected | None, reported: Any, until: str) -> Awaiting | None:
    """Return what to await of a command, None when nothing is; it is not sent again after `until`.

    What its author wants confirmed is; so is what follows from a claim, where the device ever said how it is.
    """
    data = event.data
    confirm_s, retries = data.get("confirm_s"), int(data.get("retries", HOLD_RETRIES))
    if expected is None:
        return None
    if confirm_s is None:
        if "field" not in data or (reported is None and not expected.within_s):
            return None
        confirm_s = expected.within_s or HOLD_CONFIRM_S
    return Awaiting(
        device=event.subject,
        command=data.get("command", ""),
        value=data.get("value"),
        by=event.actor,
        field=expected.field,
        wanted=expected.value,
        near=expected.near,
        confirm_s=float(confirm_s),
        until=until,
        sequence=int(event.sequence or 0),
        left=0 if data.get("once") else retries,
    )
