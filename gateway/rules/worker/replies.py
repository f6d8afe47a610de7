"""The worker's answers to questions of people, by what is asked: `rules`, `looks`, `device`, `why`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from gateway.rules.desk.looks import looking_at, told_of
from gateway.rules.desk.why import why
from gateway.rules.engine.engine import Engine
from gateway.rules.protocol import Answer, Ask


def reply(engine: Engine, ask: Ask) -> Answer:
    """Answer a question. Raises nothing: a person who asks must not end the worker, whatever there is to tell."""
    function = _REPLIES.get(ask.what)
    if function is None:
        return Answer(ask.number, None, f"the rule worker does not know {ask.what!r}")
    try:
        return Answer(ask.number, function(engine, **ask.arguments))
    except LookupError as error:
        return Answer(ask.number, None, str(error.args[0] if error.args else error))
    except Exception as error:  # noqa: BLE001 - a bug of ours, or what a rule did to what all share: an answer, too
        return Answer(ask.number, None, f"a fault of the gateway: {type(error).__name__}: {error}")


def rules(engine: Engine) -> list[dict[str, Any]]:
    """Say of each rule what only the worker knows: how long its calls take."""
    found = []
    for rule in engine.definitions:
        times = engine.trace.times_us(rule.index)
        median, longest = times if times is not None else (None, None)
        found.append({"name": rule.name, "call_us_median": median, "call_us_max": longest, "actor": rule.actor})
    return found


def looks(engine: Engine, sequence: str, id: str, type: str, subject: str, fields: Sequence[str]) -> Any:  # noqa: A002 - an event's attributes
    """Say what each rule made of an event."""
    return msgspec.to_builtins(told_of(engine, sequence, id, type, subject, fields))


def device(engine: Engine, device: str) -> list[str]:
    """Name the rules that look at a device."""
    return [rule.name for rule in looking_at(engine.definitions, engine.site.house.device(device))]


_REPLIES: Mapping[str, Callable[..., Any]] = {"rules": rules, "looks": looks, "device": device, "why": why}
