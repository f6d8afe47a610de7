"""The decorators of a rule file: they take note of a function and its arguments, and check what can be checked.

A wrong argument is a fault with the line of its decorator, not an exception: one bad rule does not hide the
faults of the next.  Names that depend on the installation (devices, rooms, modes) are checked by `loader.py`.
"""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, ParamSpec, TypeVar

from gateway.errors import Fault
from gateway.profiles.vocabulary import FIELDS
from gateway.rules.definition import (
    EVERY_S_MIN,
    NS_PER_S,
    Condition,
    Declared,
    EventRule,
    Every,
    FieldTest,
    Late,
    Per,
    Selector,
    Test,
    Threshold,
    Timer,
    Unknown,
    duration_ns,
    is_type,
    names,
)
from gateway.rules.house import field_name

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., object])
Value = str | float | bool | None
Names = str | Sequence[str] | None
Duration = str | float
"""Seconds, or a text with its unit: "30s", "5m", "1h"."""

_SELECTORS = ("device", "room", "kind", "label", "per", "lasts", "unknown")
NEAR = 0.75  # likeness of a field to an argument's name from which on it is taken for a slip


class Collector:
    """What one file declares."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.declared: list[Declared] = []
        self.faults: list[Fault] = []

    def fault(self, line: int, what: str, hint: str | None = None) -> None:
        """Take note of a fault."""
        self.faults.append(Fault(self.file, line, what, hint))


_collector: Collector | None = None  # of the file being loaded; None when a file is imported by itself


@contextmanager
def collecting(collector: Collector) -> Iterator[None]:
    """Let the decorators that run inside report to `collector`."""
    global _collector  # noqa: PLW0603 - decorators have no other way to their file
    before, _collector = _collector, collector
    try:
        yield
    finally:
        _collector = before


def rule(
    *types: str,
    device: Names = None,
    room: Names = None,
    kind: Names = None,
    label: Names = None,
    where: Mapping[str, Value | Sequence[Value] | Threshold] | None = None,
    mode: Names = None,
    cooldown: Duration = 0,
    late: Late = "update",
) -> Callable[[F], F]:
    """Run a function ``(event, ctx)`` when something happened.

    types     event types, such as "door_opened"
    device    only events of this device (id or name), or of these
    room      only events of devices in this room
    kind      only events of devices of this kind, such as "window"
    label     only events of devices with this label
    where     tests of the event's fields: a value, several values, a comparison such as ">=0.7", above(x), below(x)
    mode      only while the house is in this mode, such as "night"
    cooldown  after a run, not again for the same device within this time
    late      for events older than a minute: "update" keeps state and emits but switches nothing, "run" does all
    """
    line = _line()

    def declare(function: F) -> F:
        with _checking(function, line, 2) as collector:
            if not types:
                raise ValueError('@rule needs an event type, such as @rule("door_opened")')
            for name in types:
                if not is_type(name):
                    raise ValueError(f"{name!r} is no event type: small letters, digits and _, such as door_opened")
            if late not in ("update", "run"):
                raise ValueError(f'late={late!r}: write "update" or "run"')
            collector.declared.append(
                EventRule(
                    **_about(function, collector, line),
                    types=types,
                    selector=_selector(device, room, kind, label),
                    where=tuple((field_name(name), _test(name, wanted)) for name, wanted in (where or {}).items()),
                    modes=names(mode),
                    cooldown_ns=duration_ns(cooldown),
                    late=late,
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
            with _checking(function, function.__code__.co_firstlineno, 2):
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
    **fields: Value | Sequence[Value] | Threshold,
) -> Callable[[Callable[P, R]], When[P, R]]:
    """Run a function ``(device, ctx)`` when fields of a device are so, once until they are not.

    fields    what must be so: open=True, temperature=above(-12, clear=-15), mode=("heat", "auto")
    device, room, kind, label   of which devices
    per       "device": each for itself; "room" or "house": true while it is true of any, the function gets the room
    lasts     it must have been so for this long
    unknown   while a field is not known: "keep" what was, "true", "false", or such as "true after 2h"

    Alerts raised by the function clear themselves when the condition is over, and what it holds is released.
    """
    line = _line()

    def declare(function: Callable[P, R]) -> When[P, R]:
        declared = When(function)
        with _checking(function, line, 2) as collector:
            if not fields:
                raise ValueError("@when needs a field, such as @when(kind='door', open=True)")
            for name in fields:
                near = difflib.get_close_matches(name, _SELECTORS, n=1, cutoff=NEAR)
                if near and field_name(name) not in FIELDS:
                    collector.fault(line, f"{name!r} is no argument of @when", f"did you mean {near[0]!r}?")
            if per not in ("device", "room", "house"):
                raise ValueError(f'per={per!r}: write "device", "room" or "house"')
            declared._declared = (collector, len(collector.declared))
            collector.declared.append(
                Condition(
                    **_about(function, collector, line),
                    fields=tuple((field_name(name), _test(name, wanted)) for name, wanted in fields.items()),
                    selector=_selector(device, room, kind, label),
                    per=per,
                    lasts_ns=duration_ns(lasts),
                    unknown=Unknown.read(unknown),
                )
            )
        return declared

    return declare


def every(interval: Duration) -> Callable[[F], F]:
    """Run a function ``(ctx)`` again and again; ticks missed while the power was off are not made up for."""
    line = _line()

    def declare(function: F) -> F:
        with _checking(function, line, 1) as collector:
            interval_ns = duration_ns(interval)
            if interval_ns < EVERY_S_MIN * NS_PER_S:
                raise ValueError(f"@every({interval!r}): at least {EVERY_S_MIN:g} s")
            collector.declared.append(Every(**_about(function, collector, line), interval_ns=interval_ns))
        return function

    return declare


def timer(function: F) -> F:
    """Make a function ``(ctx, **arguments)`` one that ``ctx.after`` can start, power cut or not."""
    with _checking(function, function.__code__.co_firstlineno, None) as collector:
        about = _about(function, collector, function.__code__.co_firstlineno)
        collector.declared.append(Timer(**about))
    return function


def above(limit: float, *, clear: float | None = None) -> Threshold:
    """Be true above `limit`, until the value is at `clear` or below it."""
    return Threshold("above", limit, clear)


def below(limit: float, *, clear: float | None = None) -> Threshold:
    """Be true below `limit`, until the value is at `clear` or above it."""
    return Threshold("below", limit, clear)


def _line() -> int:
    return sys._getframe(2).f_lineno  # the decorator's line, where the author looks


@contextmanager
def _checking(function: Callable[..., object], line: int, positional: int | None) -> Iterator[Collector]:
    """Turn what is wrong with a declaration into a fault at its line."""
    collector = _collector or Collector("")
    try:
        yield collector
    except (ValueError, TypeError) as error:
        collector.fault(line, str(error))
    try:
        _check_function(function, positional)
    except ValueError as error:
        collector.fault(line, str(error))


def _check_function(function: Callable[..., object], positional: int | None) -> None:
    name = getattr(function, "__name__", "?")
    if inspect.iscoroutinefunction(function):
        raise ValueError(f"{name} is async: a rule is a plain function, and ctx.after waits")
    parameters = inspect.signature(function)
    try:
        parameters.bind(*[None] * positional) if positional is not None else parameters.bind_partial(None)
    except TypeError as error:
        wanted = {1: "(ctx)", 2: "(event, ctx) or (device, ctx)", None: "(ctx, ...)"}[positional]
        raise ValueError(f"{name}{parameters} can't be called with {wanted}: {error}") from None


def _about(function: Callable[..., object], collector: Collector, line: int) -> dict[str, Any]:
    name = getattr(function, "__name__", "rule")
    title = (function.__doc__ or "").strip().partition("\n")[0].partition(". ")[0] or name.replace("_", " ")
    return {"name": name, "title": title, "run": function, "file": collector.file, "line": line}


def _with_end(condition: Condition, function: Callable[..., object]) -> Condition:
    if condition.end is not None:
        raise ValueError(f"{condition.name} has two ends")
    return Condition(**{**vars(condition), "end": function})


def _selector(device: Names, room: Names, kind: Names, label: Names) -> Selector:
    return Selector(names(device), names(room), names(kind), names(label))


def _test(name: str, wanted: Any) -> FieldTest:
    try:
        return wanted if isinstance(wanted, Threshold) else Test(wanted)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
