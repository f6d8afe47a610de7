"""What the gateway makes of commands and calls to web services, in the simulated house of a test.

A device takes every command, but for those a test makes deaf: their commands are told again and fail as in the
gateway (gateway/commands).  A web service answers what the test says, when it says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gateway.clock import NS_PER_S
from gateway.event import Event
from gateway.profiles.vocabulary import FIELDS
from gateway.rules.engine.claims import command_for
from gateway.rules.records import HTTP_ANSWERED, HTTP_REQUESTED, WITHDRAWN

RETRIES = 2  # as gateway/commands has it
CONFIRM_S = 30.0  # of what is claimed, where no profile says how long it takes
NEVER_NS = 2**63

Record = Callable[..., None]
"""Lets an event happen: type, subject, data, and attributes by name."""


class Told(NamedTuple):
    """A command that is awaited."""

    command: Event
    field: str
    due_ns: int  # when it has failed
    confirm_s: float
    sent: int


class Carrier:
    """Carries out what rules put out. `settle` after each step, `expire` when time has passed."""

    def __init__(self, record: Record, reported: Callable[[str, str], Any]) -> None:
        self._record = record
        self._reported = reported
        self._new: list[Event] = []
        self._told: list[Told] = []
        self._calls: list[Event] = []
        self.deaf: set[str] = set()

    def take(self, outputs: Sequence[Event]) -> None:
        """Take what rules put out; nothing happens before `settle`."""
        self._new += [event for event in outputs if event.lane == "command"]

    @property
    def due_ns(self) -> int:
        """When the next command has failed."""
        return min((told.due_ns for told in self._told), default=NEVER_NS)

    def settle(self, now_ns: int) -> None:
        """Carry out what is new, and see what devices have done meanwhile."""
        while self._new:
            event = self._new.pop(0)
            if event.type == HTTP_REQUESTED:
                self._calls += [] if event.data.get("observe") else [event]
            elif event.type == "command_requested":
                self._tell(event, now_ns)
            elif event.type == WITHDRAWN:
                self._supersede(event.subject, event.data["field"], "nobody wants it any more")
        for told in [each for each in self._told if self._reported(each.command.subject, each.field) == _value(each)]:
            self._told.remove(told)
            self._end("command_confirmed", told)

    def expire(self, now_ns: int) -> None:
        """Let commands fail whose time is over."""
        for told in [each for each in self._told if each.due_ns <= now_ns]:
            self._told.remove(told)
            times = "" if told.sent == 1 else f", sent {told.sent} times"
            self._end("command_failed", told, f"not confirmed within {told.confirm_s:g} s{times}")

    def answer(self, name: str, **answer: Any) -> None:
        """Answer the oldest call to a service. AssertionError when there is none."""
        call = next((each for each in self._calls if each.data["endpoint"] == name), None)
        assert call is not None, f"no rule has called {name!r}, or it was answered: house.http says what was called"
        self._calls.remove(call)
        kept = ("endpoint", "method", "rule", "then", "arguments", "scope", "device")
        data = {"request": call.id, **{key: call.data[key] for key in kept if key in call.data}, **answer}
        self._record(HTTP_ANSWERED, "", data, lane="timer", actor="gateway")

    def _tell(self, event: Event, now_ns: int) -> None:
        data = event.data
        if data.get("observe"):
            self._end("command_observed", Told(event, data.get("field", ""), 0, 0, 0), "commands are only observed")
            return
        field = data.get("field") or field_of(data["command"])
        self._supersede(event.subject, field, "a newer command took its place")
        confirm_s = data.get("confirm_s") or ("field" in data and CONFIRM_S)
        if not confirm_s or not field:
            return
        sent = 1 if data.get("once") else 1 + int(data.get("retries", RETRIES))
        told = Told(event, field, now_ns + round(confirm_s * sent * NS_PER_S), confirm_s, sent)
        if event.subject in self.deaf:
            self._told.append(told)
        else:
            self._end("command_confirmed", told._replace(sent=1))

    def _supersede(self, device: str, field: str, why: str) -> None:
        for older in [each for each in self._told if (each.command.subject, each.field) == (device, field)]:
            self._told.remove(older)
            self._end("command_superseded", older, why)

    def _end(self, outcome: str, told: Told, reason: str = "") -> None:
        event = told.command
        data: dict[str, Any] = {
            name: event.data[name] for name in ("command", "value", "observe") if name in event.data
        }
        data |= {"field": told.field, "by": event.actor, "sent": told.sent}
        data["reported"] = event.data.get("value") if outcome == "command_confirmed" else None
        if reason:
            data["reason"] = reason
        self._record(outcome, event.subject, data, actor="gateway", cause=event.id)


def field_of(command: str) -> str:
    """Return the field that a command sets by its name: ``setpoint.heat`` for ``set_setpoint``; nothing if none."""
    return next((field for field in FIELDS if command_for(field) == command), "")


def _value(told: Told) -> Any:
    return told.command.data.get("value")
