"""One call of a rule's function: what it changes and puts out, all of it or nothing.

A call works on an overlay of the tables and collects its outputs.  When the function returns, the engine takes
both; when it raises, both are forgotten.  Outputs have ids derived from the rule, the cause and their number, so
that the same call for the same cause, after a crash or as a retry, names them the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Literal

import msgspec

from gateway.clock import rfc3339
from gateway.event import Event, LaneName, derived_id
from gateway.rules.engine.tables import RULE_STATE, TIMERS, Overlay, Tables
from gateway.rules.language.acting import AS_USUAL, Acting
from gateway.rules.language.definition import Definition
from gateway.rules.language.house import House
from gateway.rules.language.recipients import Recipients
from gateway.rules.options import Location

OUTPUTS_PER_CALL_MAX = 200
DATA_BYTES_MAX = 64 * 1024  # of one output
ENVELOPE_BYTES = 300  # of an output, about: ids, names and time around its data
OUTPUT_BYTES_MAX = 256 * 1024  # of all outputs for one record
TIMERS_PER_RULE_MAX = 200
TIMERS_MAX = 2000  # of all rules
TIMER_ARGUMENTS_BYTES_MAX = 1024
STATE_BYTES_MAX = 64 * 1024  # of all keys and values of a rule
STATES_BYTES_MAX = 512 * 1024  # of all rules
STATE_KEY_CHARS_MAX = 200
LOG_LINES_PER_CALL_MAX = 20
LOG_CHARS_MAX = 1000
HOPS_MAX = 8  # rules in a row that react to each other's events, or to timers of less than
HOPS_WITHIN_NS = 1_000_000_000

Part = Literal["event", "begin", "end", "timer", "every", "at", "answer", "gate", "engine"]


class LimitReached(RuntimeError):
    """A rule put out, kept or asked for more than it may; the message names the limit."""


@dataclass(slots=True)
class Site:
    """What all calls share."""

    house: House
    tables: Tables
    log_id: str
    gateway: str
    modes: tuple[str, ...]
    timezone: tzinfo
    timers: Mapping[Callable[..., object], str]  # functions declared with @timer
    location: Location | None = None
    state_bytes: dict[str, int] = field(default_factory=dict)  # rule -> size of its state
    recipients: Recipients = field(default_factory=Recipients)  # who can be told
    acting: Acting = AS_USUAL

    def __post_init__(self) -> None:
        """Measure the state there is."""
        for key in self.tables.keys(RULE_STATE):
            rule, _, rest = key.partition("|")
            if rest.startswith("state|"):
                self.state_bytes[rule] = self.state_bytes.get(rule, 0) + _size(key, self.tables.get(RULE_STATE, key))


class Cause(msgspec.Struct, frozen=True, gc=False):
    """The record a call follows from."""

    id: str
    sequence: int
    time_ns: int  # what the clock of rules shows: when it happened, at most the gateway's present
    hops: int = 0
    time: str = ""  # the same as `time_ns`, where it is at hand
    clock: Literal["unsynced"] | None = None  # whether that can be believed


class Call:
    """A running call. `rule` owns what is done; `scope` is the device or room a condition is about."""

    __slots__ = (
        "bytes", "cause", "claims_late", "device", "late", "limited", "logs", "name", "outputs", "rows", "rule",
        "scope", "site", "states", "timers",
    )  # fmt: skip

    def __init__(
        self, site: Site, rule: Definition, cause: Cause, *, scope: str = "", device: str = "", name: str = ""
    ) -> None:
        self.site = site
        self.rule = rule
        self.cause = cause
        self.scope = scope
        self.device = device  # id of the device outputs are about, unless they say another
        self.name = name or rule.name  # what ids are derived from; differs between calls of one rule for one cause
        self.late = False  # nothing is switched now for what happened then
        self.claims_late = False  # but what is held while something is so, is (when the engine is up to date)
        self.limited = False  # whether an author's function runs; what the engine does is bounded by what they did
        self.rows = Overlay(site.tables)
        self.outputs: list[Event] = []
        self.logs: list[tuple[str, str]] = []
        self.timers = 0  # set so far
        self.bytes = 0  # of outputs, about
        self.states: dict[str, Any] = {}  # state rows read or set by the function, as it has them

    def output(
        self, event_type: str, data: Mapping[str, Any], *, lane: LaneName = "telemetry", subject: str | None = None
    ) -> Event:
        """Add an event. LimitReached when there are too many or it is too large, TypeError if `data` is no JSON."""
        if self.limited and len(self.outputs) >= OUTPUTS_PER_CALL_MAX:
            raise LimitReached(f"more than {OUTPUTS_PER_CALL_MAX} outputs in one call")
        if self.limited and self.cause.hops >= HOPS_MAX:
            raise LimitReached(f"{HOPS_MAX} rules in a row reacted to each other: probably in a circle")
        kept, size = sized(dict(data), DATA_BYTES_MAX)
        self.bytes += size + ENVELOPE_BYTES
        event = Event(
            id=derived_id(self.site.log_id, self.name, self.cause.id, len(self.outputs)),
            source=f"/{self.site.gateway}/rules",
            type=event_type,
            subject=self.device if subject is None else subject,
            time=self.cause.time or rfc3339(self.cause.time_ns),
            lane=lane,
            actor=self.rule.actor,
            cause=self.cause.id,
            clock=self.cause.clock,
            hops=self.cause.hops + 1,
            data=kept,
        )
        self.outputs.append(event)
        return event

    @property
    def observed(self) -> bool:
        """Whether what the rule commands is only recorded."""
        return self.rule.commands == "observe" or self.rule.name in self.site.acting.observed

    def log(self, text: str) -> None:
        """Keep a line for the log; further ones of the call are dropped."""
        if len(self.logs) < LOG_LINES_PER_CALL_MAX:
            self.logs.append((self.rule.name, text[:LOG_CHARS_MAX].encode(errors="replace").decode()))

    def start_timer(self, kind: str, after_ns: int, row: Mapping[str, Any]) -> str:
        """Set a timer and return its key. LimitReached when the rule has too many."""
        prefix = f"{self.rule.name}|"
        if self.limited:
            waiting = list(self.rows.keys(TIMERS))
            if sum(key.startswith(prefix) for key in waiting) >= TIMERS_PER_RULE_MAX or len(waiting) >= TIMERS_MAX:
                raise LimitReached(f"more than {TIMERS_PER_RULE_MAX} timers of one rule, or {TIMERS_MAX} of all")
        key = f"{prefix}{kind}|{self.name}|{self.scope}|{self.cause.sequence}|{self.timers}"
        self.timers += 1
        due_ns = self.cause.time_ns + after_ns
        hops = self.cause.hops + 1 if after_ns < HOPS_WITHIN_NS else 0
        about = {"rule": self.rule.name, "kind": kind, "due": due_ns, "after": after_ns, "hops": hops}
        self.rows.put(TIMERS, key, {**about, "scope": self.scope, "device": self.device, **row})
        return key

    def commit(self) -> None:
        """Make the changes of tables. LimitReached when the rule's state became too large; nothing is changed then."""
        sizes, rule = self.site.state_bytes, self.rule.name
        grown = 0
        for key, value in self.states.items():
            row = None if value is GONE else plain(value, STATE_BYTES_MAX)
            before = self.rows.get(RULE_STATE, key)
            if packed(row) != packed(before):
                grown += _size(key, row) - _size(key, before)
                self.rows.put(RULE_STATE, key, row)
        if grown > 0 and sizes.get(rule, 0) + grown > STATE_BYTES_MAX:
            raise LimitReached(f"ctx.state of {rule} holds more than {STATE_BYTES_MAX} bytes")
        if grown > 0 and sum(sizes.values()) + grown > STATES_BYTES_MAX:
            raise LimitReached(f"the states of all rules together hold more than {STATES_BYTES_MAX} bytes")
        if self.limited and self.rows.count:
            packed(self.rows.changes)  # what can't be sent to the gateway fails here, as the call's own fault
        self.rows.apply()
        if grown:
            sizes[rule] = sizes.get(rule, 0) + grown


GONE = object()
"""Stands for a state key that the function deleted."""

packed = msgspec.msgpack.Encoder().encode
_to_json = msgspec.json.Encoder().encode


def state_prefix(rule: str) -> str:
    """Return what the keys of a rule's own state begin with."""
    return f"{rule}|state|"


def plain(value: Any, bytes_max: int) -> Any:
    """Copy a value through JSON. TypeError when it is no JSON, LimitReached when it is too large."""
    return sized(value, bytes_max)[0]


def sized(value: Any, bytes_max: int) -> tuple[Any, int]:
    """Copy a value as `plain` does, and say how many bytes of JSON it is."""
    text = _to_json(value)
    if len(text) > bytes_max:
        raise LimitReached(f"{len(text)} bytes where at most {bytes_max} are allowed")
    return msgspec.json.decode(text), len(text)


def _size(key: str, row: Any) -> int:
    return 0 if row is None else len(key) + len(packed(row))
