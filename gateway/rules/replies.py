"""The worker's answers to questions of people, by what is asked: `looks`, `why`, `rules`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.rules.engine import Engine
from gateway.rules.protocol import Answer, Ask


def reply(engine: Engine, ask: Ask) -> Answer:
    """Answer a question. Never raises for a question that makes no sense."""
    function = _REPLIES.get(ask.what)
    if function is None:
        return Answer(ask.number, None, f"the rule worker does not know {ask.what!r}")
    try:
        return Answer(ask.number, function(engine, **ask.arguments))
    except LookupError as error:
        return Answer(ask.number, None, str(error.args[0]))


def rules(engine: Engine) -> list[dict[str, Any]]:
    """Say of each rule what only the worker knows: how long its calls take."""
    found = []
    for rule in engine.definitions:
        times = engine.trace.times_us(rule.index)
        median, longest = times if times is not None else (None, None)
        found.append({"name": rule.name, "call_us_median": median, "call_us_max": longest})
    return found


_REPLIES: Mapping[str, Callable[..., Any]] = {"rules": rules}
