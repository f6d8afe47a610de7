"""@gate: the decorator of a function that decides whether an event leaves.

It belongs to `api.py`, whose decorators react; this one is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from gateway.rules.language.api import Names, Value, selector, some_types, tests
from gateway.rules.language.declaring import about, checking, line_of_decorator
from gateway.rules.language.definition import Commands, Fail, Gate, Threshold, names

Answer = bool | Mapping[str, Any]
F = TypeVar("F", bound=Callable[..., Answer])


def gate(
    *types: str,
    device: Names = None,
    room: Names = None,
    kind: Names = None,
    label: Names = None,
    where: Mapping[str, Value | Sequence[Value] | Threshold] | None = None,
    mode: Names = None,
    fail: Fail = "open",
    commands: Commands = "run",
) -> Callable[[F], F]:
    """Ask a function ``(event, ctx)`` whether events of devices leave: True, False, or the data to leave with (a dict).

    Rules see the event as it came, at once; routes see it when the gates have let it go.

    types     event types, such as "motion_detected"
    device    only events of this device (id or name), or of these
    room      only events of devices in this room
    kind      only events of devices of this kind, such as "camera"
    label     only events of devices with this label
    where     tests of the event's fields, as of @rule; what does not pass goes
    mode      only while the house is in this mode, such as "home"
    fail      when the function raises, or does not answer in time ([rules] gate_s): "open" lets the event go as it is,
              "closed" drops it
    commands  "observe": what it would drop or change goes as it is; `rules why` says what it would have done
    """
    line = line_of_decorator()

    def declare(function: F) -> F:
        with checking(function, line, 2) as collector:
            some_types(types, '@gate needs an event type, such as @gate("motion_detected")')
            if fail not in ("open", "closed"):
                raise ValueError(f'fail={fail!r}: write "open" or "closed"')
            collector.declared.append(
                Gate(
                    **about(function, collector, line, commands),
                    types=types,
                    selector=selector(device, room, kind, label),
                    where=tests(where),
                    modes=names(mode),
                    fail=fail,
                    late="run",
                )
            )
        return function

    return declare
