"""What `ctx.command`, `ctx.http`, `ctx.set_mode` and `ctx.set_input` do: checked here, carried out by the gateway.

A command or a call to a web service is a record of the lane "command", made with the outcome of the rule's call.  The
gateway carries it out when it is on the disk (gateway/commands).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.clock import NS_PER_S, rfc3339
from gateway.errors import probably_meant
from gateway.rules.engine.call import TIMER_ARGUMENTS_BYTES_MAX, Call, plain, sized
from gateway.rules.engine.tables import INPUTS, MODE_KEY, MODES
from gateway.rules.language import endpoints
from gateway.rules.language.definition import duration_ns, is_type
from gateway.rules.language.endpoints import Endpoint
from gateway.rules.language.inputs import CHANGED, Inputs, unknown
from gateway.rules.records import HTTP_REQUESTED

RETRIES_MAX = 20
CONFIRM_S_MIN = 1.0
HTTP_BODY_BYTES_MAX = 16 * 1024  # of JSON
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")

Duration = str | float


def command(
    call: Call,
    device: str,
    name: str,
    value: Any,
    *,
    once: bool,
    confirm: Duration | None,
    within: Duration | None,
    retries: int | None,
) -> None:
    """Ask for a command; see `Context.command`."""
    if not is_type(name):
        raise ValueError(f"{name!r} is no command: small letters, digits and _, such as set_mode")
    data: dict[str, Any] = {"command": name, "value": value}
    if once:
        data["once"] = True
    if within is not None:
        data["expires"] = rfc3339(call.cause.time_ns + duration_ns(within))
    if confirm is not None:
        data["confirm_s"] = duration_ns(confirm) / NS_PER_S
        if data["confirm_s"] < CONFIRM_S_MIN:
            raise ValueError(f"confirm={confirm!r}: give the device at least {CONFIRM_S_MIN:g} s")
    if retries is not None:
        if confirm is None or isinstance(retries, bool) or not 0 <= retries <= RETRIES_MAX:
            raise ValueError(f'retries={retries!r}: 0 to {RETRIES_MAX}, and only with confirm="10s"')
        if once and retries:
            raise ValueError("once=True is never repeated: leave retries out")
        data["retries"] = retries
    if call.late:
        suppressed(call, device, name, value)
        return
    if call.observed:
        data["observe"] = True
    call.output("command_requested", data, lane="command", subject=device)


def suppressed(call: Call, device: str, name: str, value: Any) -> None:
    """Record what is not commanded, because it is too late for it."""
    data = {"command": name, "value": value, "reason": "late"}
    call.output("command_suppressed", data, subject=device)


def http(
    call: Call,
    method: str,
    wanted: str,
    json: Any,
    then: Callable[..., object] | None,
    *,
    once: bool,
    within: Duration,
    arguments: Mapping[str, Any],
) -> None:
    """Ask for a call to a web service; see `Context.http`."""
    if method not in METHODS:
        hint = probably_meant(str(method), METHODS) or f"there are {', '.join(METHODS)}"
        raise ValueError(f"{method!r} is no method, {hint}")
    known, acting = call.site.acting.endpoints, call.site.acting
    if acting.anything and not known and "://" not in wanted:
        known = {wanted.partition("/")[0].partition("?")[0]: Endpoint("https://example.test", METHODS)}
    elif acting.anything and not known:
        known = {"any": Endpoint("/".join(wanted.split("/", 3)[:3]), METHODS)}
    name, target = endpoints.resolve(known, wanted, method)
    if (json is not None and method in ("GET", "HEAD")) or (arguments and then is None):
        raise ValueError("json= goes with POST, PUT, PATCH and DELETE; further arguments go to then=")
    data: dict[str, Any] = {"endpoint": name, "method": method, "target": target}
    if json is not None:
        data["json"] = sized(json, HTTP_BODY_BYTES_MAX)[0]
    if then is not None:
        function = call.site.timers.get(then)
        if function is None:
            raise ValueError(f"then={getattr(then, '__name__', then)!r} is no timer: put @timer above it")
        kept = plain(arguments, TIMER_ARGUMENTS_BYTES_MAX)
        data |= {"then": function, "arguments": kept, "scope": call.scope, "device": call.device}
    if once:
        data["once"] = True
    if call.late:
        suppressed(call, call.device, "http", f"{method} {name}")
        return
    data |= {"rule": call.rule.name, "expires": rfc3339(call.cause.time_ns + duration_ns(within))}
    if call.observed:
        data["observe"] = True
    call.output(HTTP_REQUESTED, data, lane="command")


def set_mode(call: Call, mode: str) -> None:
    """Change the mode of the house."""
    modes = call.site.modes
    if mode not in modes:
        hint = probably_meant(mode, modes) or f"there are {', '.join(modes)}"
        raise ValueError(f"there is no mode {mode!r}, {hint}")
    row = call.rows.get(MODES, MODE_KEY)
    was = str(row["mode"]) if row else modes[0]
    if mode != was:
        call.rows.put(MODES, MODE_KEY, {"mode": mode, "since": call.cause.time_ns})
        call.output("mode_changed", {"mode": mode, "was": was}, subject="")


def inputs(call: Call) -> Inputs:
    """Return the inputs as they are for a call."""
    return Inputs(call.site.acting.inputs, call.rows, anything=call.site.acting.anything)


def set_input(call: Call, name: str, value: Any) -> None:
    """Change a declared input."""
    acting, row = call.site.acting, call.rows.get(INPUTS, name)
    if name in acting.inputs:
        value = acting.inputs[name].checked(value)
        was: Any = inputs(call)[name]
    elif acting.anything:
        was = row and row["value"]
    else:
        raise LookupError(unknown(acting.inputs, name))
    if value != was or row is None:
        since = call.cause.time_ns
        call.rows.put(INPUTS, name, {"value": value, "since": since, "actor": call.rule.actor})
        call.output(CHANGED, {"input": name, "value": value, "was": was}, subject="")


class Answer:
    """What a web service answered, for the function that `then=` names."""

    __slots__ = ("error", "json", "status", "text")

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.status: int = data.get("status", 0)  # of HTTP; 0 when there was no answer
        self.json: Any = data.get("json")  # the body, if it is JSON
        self.text: str = data.get("text", "")  # the body, if it is not
        self.error: str = data.get("error", "")  # why there is no answer

    @property
    def ok(self) -> bool:
        """Whether the service did what it was asked (2xx)."""
        return 200 <= self.status < 300

    def __repr__(self) -> str:
        return f"Answer({self.status}, {self.error or self.json or self.text!r})"
