"""The decorators of a rule file: they take note of a function and its arguments, and check what can be checked.

A wrong argument is a fault with the line of its decorator, not an exception: one bad rule does not hide the
faults of the next.  Names that depend on the installation (devices, rooms, modes) are checked by `loader.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, overload

from gateway.profiles.vocabulary import FIELDS
from gateway.rules.language.cron import Cron, Times
from gateway.rules.language.declaring import Collector, about, checking, line_of_decorator
from gateway.rules.language.definition import (
    EVERY_S_MIN,
    NS_PER_S,
    At,
    Commands,
    Condition,
    EventRule,
    Every,
    FieldTest,
    Happened,
    Late,
    Missed,
    Per,
    Selector,
    Test,
    Threshold,
    Timer,
    Unknown,
    Unsynced,
    duration_ns,
    is_type,
    names,
)
from gateway.rules.language.hours import Hours
from gateway.rules.language.house import field_name
from gateway.rules.language.over import Over, tumbling

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., object])
Value = str | float | bool | None
Names = str | Sequence[str] | None
Duration = str | float
"""Seconds, or a text with its unit: "30s", "5m", "1h"."""

_SELECTORS = ("device", "room", "kind", "label", "per", "lasts", "unknown", "between", "days", "unsynced", "commands")
NEAR = 0.75  # likeness of a field to an argument's name from which on it is taken for a slip


def rule(
    *types: str,
    device: Names = None,
    room: Names = None,
    kind: Names = None,
    label: Names = None,
    where: Mapping[str, Value | Sequence[Value] | Threshold] | None = None,
    mode: Names = None,
    between: Names = None,
    days: Names = None,
    cooldown: Duration = 0,
    debounce: Duration = 0,
    over: str | Over | None = None,
    after: str | Sequence[str] | Happened | None = None,
    unless: str | Sequence[str] | Happened | None = None,
    within: Duration | None = None,
    same: Per | None = None,
    late: Late = "update",
    unsynced: Unsynced = "skip",
    commands: Commands = "run",
) -> Callable[[F], F]:
    """Run a function ``(event, ctx)`` when something happened.

    types     event types, such as "door_opened"
    device    only events of this device (id or name), or of these
    room      only events of devices in this room
    kind      only events of devices of this kind, such as "window"
    label     only events of devices with this label
    where     tests of the event's fields: a value, several values, a comparison such as ">=0.7", above(x), below(x);
              of its device's last values, and of inputs of the house: {"inputs.guests": False}
    mode      only while the house is in this mode, such as "night"
    between   only events of these hours: "22:00-06:00", "sunset-15m..sunrise", or several of these
    days      only on these days: "mon-fri", ("sat", "sun"); hours past midnight belong to the day they begin on
    cooldown  after a run, not again for the same device within this time
    debounce  run when no further such event of the device has come for this long, with the last one
    over      run for a window in time: sliding("5m", count=3), tumbling("15m", field="power"), session("10m"); a text
              such as "15m" is tumbling. `event.window` has count, min, max, mean, sum, first, last, begin, end
    after     run only if this came before, `within` that time: an event type, several, or happened(...); each such
              event counts once and is `event.earlier`
    unless    run when this has not come `within` that time after the event
    within    the time for after= and unless=
    same      where the other one has to be, for after= and unless=: "device", "room" or anywhere in the "house"
    late      for events older than a minute: "update" keeps state and emits but switches nothing, "run" does all
    unsynced  while nobody knows the time, between= and days= let nothing pass but the alarm lane; "run" goes by the
              clock as it is
    commands  "observe": what it would switch is recorded as `command_observed`, nothing is switched
    """
    line = line_of_decorator()

    def declare(function: F) -> F:
        with checking(function, line, 2) as collector:
            some_types(types, '@rule needs an event type, such as @rule("door_opened")')
            if late not in ("update", "run"):
                raise ValueError(f'late={late!r}: write "update" or "run"')
            collector.declared.append(
                EventRule(
                    **about(function, collector, line, commands),
                    types=types,
                    selector=selector(device, room, kind, label),
                    where=tests(where),
                    modes=names(mode),
                    cooldown_ns=duration_ns(cooldown),
                    late=late,
                    hours=Hours.read(between, days),
                    unsynced=_unsynced(unsynced),
                    **_pattern(debounce, over, after, unless, within, same),
                )
            )
        return function

    return declare


class When(Generic[P, R]):
    """A function declared with @when; `end` declares what runs when the condition is over."""

    def __init__(self, function: Callable[P, R]) -> None:
        self._function = function
        self._declared: tuple[Collector, int] | None = None  # where the condition is, to add its end to
        self.__name__ = getattr(function, "__name__", "rule")
        self.__doc__ = function.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself, as a test may."""
        return self._function(*args, **kwargs)

    def end(self, function: F) -> F:
        """Run a function ``(device, ctx)`` when the condition, once begun, is over."""
        if self._declared is not None:
            collector, at = self._declared
            condition = collector.declared[at]
            assert isinstance(condition, Condition)
            with checking(function, function.__code__.co_firstlineno, 2):
                collector.declared[at] = _with_end(condition, function)
        return function


def when(
    *,
    device: Names = None,
    room: Names = None,
    kind: Names = None,
    label: Names = None,
    per: Per = "device",
    lasts: Duration = 0,
    unknown: str = "keep",
    between: Names = None,
    days: Names = None,
    unsynced: Unsynced = "skip",
    commands: Commands = "run",
    **fields: Value | Sequence[Value] | Threshold,
) -> Callable[[Callable[P, R]], When[P, R]]:
    """Run a function ``(device, ctx)`` when fields of a device are so, once until they are not.

    fields    what must be so: open=True, temperature=above(-12, clear=-15), mode=("heat", "auto")
    device, room, kind, label   of which devices
    per       "device": each for itself; "room" or "house": true while it is true of any, the function gets the room
    lasts     it must have been so for this long
    unknown   while a field is not known: "keep" what was, "true", "false", or such as "true after 2h"
    between   only in these hours: "22:00-06:00", "sunset..sunrise"; it begins and ends with them
    days      only on these days: "mon-fri", ("sat", "sun"); hours past midnight belong to the day they begin on
    unsynced  while nobody knows the time, the hours stay what they were; "run" goes by the clock as it is
    commands  "observe": what it would switch is recorded as `command_observed`, nothing is switched

    Alerts raised by the function clear themselves when the condition is over, and what it holds is released.
    """
    line = line_of_decorator()

    def declare(function: Callable[P, R]) -> When[P, R]:
        declared = When(function)
        with checking(function, line, 2) as collector:
            if not fields:
                raise ValueError("@when needs a field, such as @when(kind='door', open=True)")
            for name in fields:
                near = difflib.get_close_matches(name, _SELECTORS, n=1, cutoff=NEAR)
                if near and field_name(name) not in FIELDS:
                    collector.fault(line, f"{name!r} is no argument of @when", f"did you mean {near[0]!r}?")
            if per not in ("device", "room", "house"):
                raise ValueError(f'per={per!r}: write "device", "room" or "house"')
            collector.declared.append(
                Condition(
                    **about(function, collector, line, commands),
                    fields=tuple((field_name(name), _test(name, wanted)) for name, wanted in fields.items()),
                    selector=selector(device, room, kind, label),
                    per=per,
                    lasts_ns=duration_ns(lasts),
                    unknown=Unknown.read(unknown),
                    hours=Hours.read(between, days),
                    unsynced=_unsynced(unsynced),
                )
            )
            declared._declared = (collector, len(collector.declared) - 1)
        return declared

    return declare


def every(interval: Duration, *, commands: Commands = "run") -> Callable[[F], F]:
    """Run a function ``(ctx)`` again and again; ticks missed while the power was off are not made up for.

    interval  the time between two runs, such as "1h"
    commands  "observe": what it would switch is recorded as `command_observed`, nothing is switched
    """
    line = line_of_decorator()

    def declare(function: F) -> F:
        with checking(function, line, 1) as collector:
            interval_ns = duration_ns(interval)
            if interval_ns < EVERY_S_MIN * NS_PER_S:
                raise ValueError(f"@every({interval!r}): at least {EVERY_S_MIN:g} s")
            collector.declared.append(Every(**about(function, collector, line, commands), interval_ns=interval_ns))
        return function

    return declare


def at(
    *times: str,
    cron: str | None = None,
    days: Names = None,
    missed: str = "within 1h",
    unsynced: Unsynced = "skip",
    commands: Commands = "run",
) -> Callable[[F], F]:
    """Run a function ``(ctx)`` at times of day of the house's timezone.

    times     "07:30", "sunset+10m"; what summer time skips runs at the jump, what it doubles runs once
    cron      instead: minute hour day month weekday, such as "*/5 7-9 * * mon-fri"
    days      of `times` only these: "mon-fri", ("sat", "sun")
    missed    what was due while nothing ran: "run" late, "skip", or "within 10m"; of several only the last
    unsynced  while nobody knows the time: "skip" (said in the log), or "run" by the clock as it is
    commands  "observe": what it would switch is recorded as `command_observed`, nothing is switched
    """
    line = line_of_decorator()

    def declare(function: F) -> F:
        with checking(function, line, 1) as collector:
            if cron is not None and (times or days is not None):
                raise ValueError("@at: either times of day and days= or cron=")
            plan = Times.read(times, days) if cron is None else Cron.read(cron)
            collector.declared.append(
                At(
                    **about(function, collector, line, commands),
                    plan=plan,
                    missed=Missed.read(missed),
                    unsynced=_unsynced(unsynced),
                    late="run",
                )
            )
        return function

    return declare


@overload
def timer(function: F) -> F: ...
@overload
def timer(*, missed: str | None = None) -> Callable[[F], F]: ...
def timer(function: F | None = None, *, missed: str | None = None) -> F | Callable[[F], F]:
    """Make a function ``(ctx, **arguments)`` one that ``ctx.after`` can start, power cut or not.

    missed    what was due while nothing ran: "run" late, "skip", or "within 10m"; without it, it runs as a late event
              does: it keeps state and emits, but switches nothing
    """

    def declare(function: F) -> F:
        line = function.__code__.co_firstlineno
        with checking(function, line, None) as collector:
            read = None if missed is None else Missed.read(missed)
            collector.declared.append(Timer(**about(function, collector, line), missed=read))
        return function

    return declare if function is None else declare(function)


def above(limit: float, *, clear: float | None = None) -> Threshold:
    """Be true above `limit`, until the value is at `clear` or below it."""
    return Threshold("above", limit, clear)


def below(limit: float, *, clear: float | None = None) -> Threshold:
    """Be true below `limit`, until the value is at `clear` or above it."""
    return Threshold("below", limit, clear)


def happened(
    *types: str,
    device: Names = None,
    room: Names = None,
    kind: Names = None,
    label: Names = None,
    where: Mapping[str, Value | Sequence[Value] | Threshold] | None = None,
) -> Happened:
    """Describe the other event of `after=` or `unless=`; the arguments are those of @rule."""
    some_types(types, 'happened() needs an event type, such as happened("door_opened")')
    return Happened(types, selector(device, room, kind, label), tests(where))


def _pattern(
    debounce: Duration,
    over: str | Over | None,
    after: str | Sequence[str] | Happened | None,
    unless: str | Sequence[str] | Happened | None,
    within: Duration | None,
    same: Per | None,
) -> dict[str, Any]:
    """Read the arguments about more than one event."""
    said = [
        name for name, value in (("debounce", debounce), ("over", over), ("after", after), ("unless", unless)) if value
    ]
    if len(said) > 1:
        raise ValueError(f"{said[0]}= and {said[1]}= in one rule: let one rule emit an event and another take it")
    if bool(after or unless) != (within is not None):
        raise ValueError('after= and unless= need within=, such as within="30s", and within= needs one of them')
    if bool(after or unless) != (same is not None) or same not in (None, "device", "room", "house"):
        raise ValueError(
            f'same={same!r}: after= and unless= need "device", "room" or "house", where the other one has to be'
        )
    if over is not None and not isinstance(over, (str, Over)):
        raise ValueError(f'over={over!r}: write "15m", tumbling("15m"), sliding("5m", count=3) or session("10m")')
    return {
        "debounce_ns": duration_ns(debounce),
        "over": tumbling(over) if isinstance(over, str) else over,
        "after": _happened(after),
        "unless": _happened(unless),
        "within_ns": 0 if within is None else duration_ns(within),
        "same": same or "house",
    }


def _happened(wanted: str | Sequence[str] | Happened | None) -> Happened | None:
    if wanted is None or isinstance(wanted, Happened):
        return wanted
    return happened(*names(wanted))


def _unsynced(text: Unsynced) -> Unsynced:
    if text not in ("skip", "run"):
        raise ValueError(f'unsynced={text!r}: write "skip" or "run"')
    return text


def _with_end(condition: Condition, function: Callable[..., object]) -> Condition:
    if condition.end is not None:
        raise ValueError(f"{condition.name} has two ends")
    return Condition(**{**vars(condition), "end": function})


def some_types(types: Sequence[str], none: str) -> None:
    """Check event types. ValueError for one that can be none, or with the text `none` when there are none."""
    if not types:
        raise ValueError(none)
    for name in types:
        if not is_type(name):
            raise ValueError(f"{name!r} is no event type: small letters, digits and _, such as door_opened")


def tests(where: Mapping[str, Value | Sequence[Value] | Threshold] | None) -> tuple[tuple[str, FieldTest], ...]:
    """Read `where`. ValueError for a test that can be none."""
    return tuple((field_name(name), _test(name, wanted)) for name, wanted in (where or {}).items())


def selector(device: Names, room: Names, kind: Names, label: Names) -> Selector:
    """Read which devices are meant. ValueError for what is no name."""
    return Selector(names(device), names(room), names(kind), names(label))


def _test(name: str, wanted: Any) -> FieldTest:
    try:
        return wanted if isinstance(wanted, Threshold) else Test(wanted)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
