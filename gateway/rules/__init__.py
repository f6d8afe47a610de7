"""What a rule file imports: ``from gateway.rules import rule, when, Context, Event``.

docs/guides/write-a-rule.md shows how. Nothing else of the gateway is meant for rules. Each name is imported when it
is asked for: the gateway itself, which runs rules in another process, needs none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.rules.engine.context import Context, Event
    from gateway.rules.engine.memory import State
    from gateway.rules.language.api import above, at, below, every, happened, rule, timer, when
    from gateway.rules.language.gates import gate
    from gateway.rules.language.house import Device, Room
    from gateway.rules.language.over import Window, session, sliding, tumbling

__all__ = [
    "Context", "Device", "Event", "Room", "State", "Window",
    "above", "at", "below", "every", "gate", "happened", "rule", "session", "sliding", "timer", "tumbling", "when",
]  # fmt: skip

_PLACES = {
    "language.api": ("above", "at", "below", "every", "happened", "rule", "timer", "when"),
    "engine.context": ("Context", "Event"),
    "language.gates": ("gate",),
    "language.house": ("Device", "Room"),
    "engine.memory": ("State",),
    "language.over": ("Window", "session", "sliding", "tumbling"),
}
_PLACE = {name: place for place, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562)."""
    if name not in _PLACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACE[name]}"), name)
