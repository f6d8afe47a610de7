"""What a rule file imports: ``from gateway.rules import rule, when, Context, Event``.

docs/guides/write-a-rule.md shows how. Nothing else of the gateway is meant for rules.
"""

from gateway.rules.engine.context import Context, Event
from gateway.rules.engine.memory import State
from gateway.rules.language.api import above, at, below, every, happened, rule, timer, when
from gateway.rules.language.house import Device, Room
from gateway.rules.language.over import Window, session, sliding, tumbling

__all__ = [
    "Context", "Device", "Event", "Room", "State", "Window",
    "above", "at", "below", "every", "happened", "rule", "session", "sliding", "timer", "tumbling", "when",
]  # fmt: skip
