"""Fault codes: a name for ever for each thing that goes wrong, the same in the log, `status`, alerts, events and docs.

A code is never given to anything else and never taken back: other people's alarms and notes hang on it.  A fault that
cannot happen any more keeps its line, with `gone` saying since which version.  The hundreds say where to look, and
each is a module here::

    1xx config.py   2xx targets.py   3xx sources.py   4xx disk.py   5xx rules.py   6xx clock.py (and identity)
    7xx service.py (reload and apply, too)

A new one is a constant there with the next free number.  docs/reference/faults.md and the journal's catalog are made
of them by ``python -m gateway.cli.reference docs/reference``; `edge-gateway explain EG-204` prints one.  It goes along
with a line of the log (``extra=about(ROUTE_DOWN, route=name)``, see `gateway.logs.about`), with a finding of `status`,
and as ``code`` in the data of an event (``str(ROUTE_DOWN)``).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

PREFIX = "EG-"
_NAMESPACE = uuid.UUID("6f3d0c1e-8a54-5b7c-9e2f-4d1b7a60c938")  # of message ids; never another one


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of fault. `str()` of it is what people see: EG-204."""

    number: int
    title: str  # what is wrong, as a heading
    means: str  # what it means for events, and what the gateway does about it by itself
    type: str  # the command that shows more, or mends it
    do: str = ""  # what to do, where the command alone does not say it
    gone: str = ""  # the version since which it cannot happen any more

    def __str__(self) -> str:
        return f"{PREFIX}{self.number}"

    @property
    def message_id(self) -> str:
        """Return journald's MESSAGE_ID of this kind, 32 hex digits: the same in every version (sd-id128(3))."""
        return uuid.uuid5(_NAMESPACE, str(self)).hex
