"""What a rule's function gets: the event, and a context to act with.

Everything here is as of the record that is being looked at, and everything done is done when the function has
returned without raising: events, alerts, commands, state and timers of a call happen together or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from gateway.clock import NS_PER_S
from gateway.rules.engine import actions, alerts, claims, notices
from gateway.rules.engine.call import TIMER_ARGUMENTS_BYTES_MAX, Call, plain
from gateway.rules.engine.memory import State
from gateway.rules.engine.overrides import ANSWERS
from gateway.rules.engine.seen import Seen, field_of, time_ns
from gateway.rules.engine.tables import MODE_KEY, MODES
from gateway.rules.language.definition import duration_ns, is_type
from gateway.rules.language.house import Device, Room, field_name
from gateway.rules.language.inputs import CHANGED, Inputs
from gateway.rules.language.over import WINDOW_CLOSED, Window
from gateway.rules.language.recipients import EVERYONE
from gateway.rules.protocol import DeviceEntry
from gateway.rules.records import HTTP_ANSWERED, HTTP_REQUESTED

RESERVED_TYPES = frozenset(
    {"timer_fired", "rules_loaded", "rule_failed", "command_requested", "mode_changed", CHANGED}
    | {"clock_set", WINDOW_CLOSED}
    | {HTTP_REQUESTED, HTTP_ANSWERED, "device_overridden", *ANSWERS, *alerts.TYPES, *notices.TYPES}
)


class Event:
    """Something that happened, as a rule sees it."""

    __slots__ = ("_call", "_earlier", "_seen", "_window", "data", "device", "late", "type")

    def __init__(
        self,
        seen: Seen,
        device: Device,
        call: Call,
        window: Mapping[str, Any] | None = None,
        earlier: Seen | None = None,
    ) -> None:
        self._seen = seen
        self._call = call
        self._window = window
        self._earlier = earlier
        self.type = seen.type
        self.late = call.late  # more than a minute old: commands are suppressed
        self.device = device
        self.data: Mapping[str, Any] = seen.data

    @property
    def id(self) -> str:
        """Its id, the same everywhere and for ever."""
        return self._seen.id

    @property
    def time(self) -> datetime:
        """When it happened, in the house's time zone."""
        return moment(time_ns(self._seen, self._call.cause.time_ns), self._call)

    @property
    def window(self) -> Window:
        """What came in in the window, for a rule with `over=`: count, min, max, mean, sum, first, last, begin, end."""
        if self._window is None:
            raise AttributeError("event.window is there only in a rule with over=")
        about = {name: value for name, value in self._window.items() if not name.endswith("_ns")}
        begin, end = (moment(self._window[name], self._call) for name in ("begin_ns", "end_ns"))
        return Window(**about, begin=begin, end=end)

    @property
    def earlier(self) -> Event:
        """The event that came before, for a rule with `after=`."""
        if self._earlier is None:
            raise AttributeError("event.earlier is there only in a rule with after=")
        house, subject = self._call.site.house, self._earlier.subject
        return Event(self._earlier, house.devices.get(subject) or Device(DeviceEntry(subject), {}), self._call)

    @property
    def source(self) -> str:
        """Where it came in: ``/<gateway>/<source>``."""
        return self._seen.source

    @property
    def subject(self) -> str:
        """The id of the device it is about, or nothing."""
        return self._seen.subject

    @property
    def lane(self) -> str:
        """How it leaves: "telemetry" or "alarm"."""
        return self._seen.lane

    def __getitem__(self, field: str) -> Any:
        """Return a field of `data`, dots reaching into nested ones; None when it is not there."""
        return field_of(self.data, field)

    def __repr__(self) -> str:
        return f"Event({self.type!r}, {self.device.name!r}, {dict(self.data)!r})"


class Context:
    """What a rule can ask and do. Made anew for each call; useless after it."""

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    # ---- ask ----------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """When the event happened or the timer was due, in the house's time zone: the only clock of a rule."""
        return moment(self._call.cause.time_ns, self._call)

    @property
    def state(self) -> State:
        """The rule's own memory: JSON values by key; `ctx.state[device]` is one for each device."""
        return State(self._call)

    @property
    def late(self) -> bool:
        """Whether this is about the past: commands are suppressed."""
        return self._call.late

    @property
    def mode(self) -> str:
        """The mode of the house: home, away, night, vacation or one of your own."""
        row = self._call.rows.get(MODES, MODE_KEY)
        return str(row["mode"]) if row else self._call.site.modes[0]

    def input(self, name: str) -> Any:
        """Return what people told the house, as [inputs.NAME] declares it. LookupError says which was meant."""
        return actions.inputs(self._call)[name]

    @property
    def inputs(self) -> Inputs:
        """The declared inputs as attributes: `ctx.inputs.guests`."""
        return actions.inputs(self._call)

    def device(self, name: str) -> Device:
        """Find a device by its name or id. LookupError says what was probably meant."""
        return self._device(name)

    def devices(
        self, *, kind: str | None = None, room: str | None = None, label: str | None = None
    ) -> Sequence[Device]:
        """Return the devices that have all that is asked for, in the order of their ids."""
        return self._call.site.house.select(kind=kind, room=room, label=label)

    def room(self, name: str) -> Room:
        """Find a room by its name. LookupError says what was probably meant."""
        return self._call.site.house.room(name)

    # ---- do -----------------------------------------------------------------------------------------

    def emit(
        self,
        event_type: str,
        data: Mapping[str, Any] | None = None,
        *,
        lane: Literal["telemetry", "alarm"] = "telemetry",
        device: Device | str | None = None,
    ) -> None:
        """Put out an event of your own, about the device at hand unless `device` says another."""
        if not is_type(event_type) or event_type in RESERVED_TYPES:
            raise ValueError(f"{event_type!r} can't be emitted: small letters, digits and _, and not a gateway's own")
        if lane not in ("telemetry", "alarm"):
            raise ValueError(f'lane={lane!r}: write "telemetry" or "alarm"')
        subject = None if device is None else self._device(device).id
        self._call.output(event_type, data or {}, lane=lane, subject=subject)

    def alert(
        self,
        text: str,
        *,
        key: str | None = None,
        lane: Literal["telemetry", "alarm"] = "telemetry",
        repeat: str | float | None = None,
        escalate: Sequence[tuple[str | float, str]] = (),
    ) -> None:
        """Raise an alert: in @when it clears itself when the condition is over, elsewhere with `clear`.

        key       what it is known by in the house, for `clear` and `acknowledge`; the rule's name by default
        lane      "alarm": leaves first, is kept longest, and reaches people in their quiet hours
        repeat    say it again and again, such as "1h", until it is cleared or somebody acknowledges it
        escalate  whom to tell how long after, or which device to hold on, until somebody acknowledges it:
                  [("0m", "anna"), ("15m", "everyone"), ("1h", "siren-hall")]
        """
        if lane not in ("telemetry", "alarm"):
            raise ValueError(f'lane={lane!r}: write "telemetry" or "alarm"')
        repeat_ns = 0 if repeat is None else duration_ns(repeat)
        steps = alerts.read_steps(self._call, escalate)
        alerts.raise_alert(self._call, str(text), key or self._call.rule.name, lane, repeat_ns, steps, self._settle)

    def acknowledge(self, key: str | None = None) -> None:
        """Acknowledge the alerts with this key, or this rule's own, as a person does who pressed a button.

        Nobody is told again and nothing is escalated; the alert stays until what it is about is over.
        """
        for at in alerts.named(self._call.rows, key or self._call.rule.name, self._call.scope or None):
            alerts.acknowledge(self._call, at, self._call.rule.actor, self._settle)

    def clear(self, key: str | None = None) -> None:
        """Clear the alerts with this key, or this rule's own; in a @when only those about the device at hand."""
        alerts.clear_alerts(self._call, key, self._call.scope or None, self._settle)

    def notify(
        self,
        text: str,
        *,
        to: str = EVERYONE,
        key: str = "",
        ttl: str | float = "1d",
        title: str = "",
        urgent: bool = False,
    ) -> None:
        """Tell somebody. It waits on the disk until it can be sent; LookupError says who was probably meant.

        to      a recipient or a group of the config's [notify]; "everyone" by default
        key     a newer one with the same key takes the place of one that still waits
        ttl     how long it is worth sending, such as "1h": then it is dropped
        title   the line above the text
        urgent  send it in the recipient's quiet hours, too, and before others
        """
        ttl_ns = duration_ns(ttl)
        notices.notify(self._call, to, str(text), title=str(title), key=str(key), ttl_ns=ttl_ns, urgent=bool(urgent))

    def hold(
        self,
        device: Device | str,
        *,
        lasts: str | float | None = None,
        priority: claims.Priority = "rule",
        manual_hold: str | float | None = None,
        **fields: Any,
    ) -> None:
        """Claim fields of a device, such as ``on=True``: the strongest claim counts.

        The claim ends after `lasts`, with `release`, and in @when when the condition is over; then the next claim
        counts, and after the last one what was before the first.

        lasts        how long, such as "5m"; without it until it is released
        priority     "safety", "person" or "rule"
        manual_hold  how long a change by hand counts against it; the installation's by default, 0 not at all
        fields       what the device shall be: on=True, setpoint_heat=21
        """
        target, wanted = self._device(device), {field_name(name): plain(v, 1000) for name, v in fields.items()}
        if not wanted:
            raise ValueError("ctx.hold needs a field, such as on=True")
        if priority not in claims.PRIORITIES:
            raise ValueError(f'priority={priority!r}: write "safety", "person" or "rule"')
        lasts_ns = 0 if lasts is None else duration_ns(lasts)
        manual_ns = None if manual_hold is None else duration_ns(manual_hold)
        if self._call.late and not self._call.claims_late:
            for name, value in wanted.items():
                actions.suppressed(self._call, target.id, claims.command_for(name), value)
            return
        claims.hold(self._call, target, wanted, lasts_ns, priority, manual_ns)
        self._settle(target.id)

    def release(self, device: Device | str, *fields: str) -> None:
        """End this rule's claims on a device, on all fields or on some."""
        target, rule = self._device(device), self._call.rule.name
        named = {field_name(name) for name in fields}
        if claims.release(self._call, target.id, lambda c: c["by"] == rule and (not named or c["field"] in named)):
            self._settle(target.id)

    def command(
        self,
        device: Device | str,
        command: str,
        value: Any = None,
        *,
        once: bool = False,
        confirm: str | float | None = None,
        within: str | float | None = None,
        retries: int | None = None,
    ) -> None:
        """Send one command, such as ``"set_mode", "heat"``.

        once     it must not be repeated (toggle, ring): after a power cut in the middle of it nobody knows
        confirm  how long the device may take to report what follows, such as "10s": then it is told again, and in
                 the end there is an event `command_confirmed` or `command_failed`
        within   when to give up altogether, such as "1m"
        retries  how often it is told again, 2 by default
        """
        target = self._device(device).id
        actions.command(self._call, target, command, value, once=once, confirm=confirm, within=within, retries=retries)

    def http(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        then: Callable[..., object] | None = None,
        once: bool = False,
        within: str | float = "10m",
        **arguments: Any,
    ) -> None:
        """Have the gateway call a web service that the config allows ([http.NAME]).

        method     "GET", "POST" ...
        url        the service's name, with what comes behind its address: "weather", "weather/today?zone=3"
        json       what to send
        then       a @timer function: it is called with the answer (`status`, `ok`, `json`, `text`, `error`)
        once       never repeat it; else it is tried until there is an answer, under one Idempotency-Key
        within     when to give up
        arguments  JSON, given to `then` beside the answer
        """
        actions.http(self._call, method, url, json, then, once=once, within=within, arguments=arguments)

    def after(self, delay: str | float, function: Callable[..., object], **arguments: Any) -> None:
        """Call a @timer function with these arguments (JSON) after a time, power cut or not."""
        name = self._call.site.timers.get(function)
        if name is None:
            raise ValueError(f"{getattr(function, '__name__', function)!r} is no timer: put @timer above it")
        kept = plain(arguments, TIMER_ARGUMENTS_BYTES_MAX)
        self._call.start_timer("after", duration_ns(delay), {"function": name, "arguments": kept})

    def set_mode(self, mode: str) -> None:
        """Change the mode of the house, for all rules from the next event on."""
        actions.set_mode(self._call, mode)

    def set_input(self, name: str, value: Any) -> None:
        """Change a declared input, as a person does with `edge-gateway input`. ValueError says what it takes."""
        actions.set_input(self._call, name, value)

    def log(self, text: object) -> None:
        """Write a line to the gateway's log, with the rule's name."""
        self._call.log(str(text))

    # ---- how ----------------------------------------------------------------------------------------

    def _device(self, device: Device | str) -> Device:
        if isinstance(device, Device):
            return device
        if isinstance(device, str):
            return self._call.site.house.device(device)
        raise TypeError(f"{device!r} is no device: give one, its name or its id")

    def _settle(self, device: str) -> None:
        if not self._call.late:
            claims.reconcile(self._call, device)


def moment(time_ns: int, call: Call) -> datetime:
    """Return a wall time as a datetime in the house's zone."""
    seconds, rest = divmod(time_ns, NS_PER_S)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000).astimezone(call.site.timezone)
