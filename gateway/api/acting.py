"""What people do beside the rules: send a command, let a claim go, set the mode or an input of the house.

Each is an event with who did it; the rule worker takes it over in the order of the journal.  Where no worker runs, the
row is put at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.api.line import ApiError
from gateway.api.status import CommandStatus
from gateway.clock import rfc3339
from gateway.config.acting import acting
from gateway.errors import DecodeError, probably_meant
from gateway.event import Event
from gateway.rules.engine.tables import HOLDS, INPUTS, MODE_KEY, MODES
from gateway.rules.language.inputs import CHANGED, InputOptions, unknown, value_of
from gateway.rules.records import GIVEN, LET_GO
from gateway.rules.worker.supervisor import State

if TYPE_CHECKING:
    from gateway.daemon import Daemon

ANSWER_S = 5.0  # how long the rule worker is waited for
POLL_S = 0.02


class HouseMode(msgspec.Struct, frozen=True):
    """The mode of the house."""

    mode: str
    modes: Sequence[str]
    since: str | None = None
    was: str | None = None
    taken_over: bool = True  # by the rule worker


class Input(msgspec.Struct, frozen=True):
    """A declared input, and what it is."""

    name: str
    type: str
    value: Any
    takes: str
    unit: str = ""
    title: str = ""
    since: str | None = None  # None: nobody said, it is the default
    actor: str | None = None
    taken_over: bool = True


class People:
    """The answers. Belongs to the event loop's thread."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._modes = daemon.config.rules.modes
        self._inputs: Mapping[str, InputOptions] = daemon.config.inputs

    def all(self) -> dict[str, Callable[..., Any]]:
        """Return the answers by what is asked."""
        return {
            "command": self.command,
            "claims_release": self.release,
            "mode": self.mode,
            "mode_set": self.mode_set,
            "inputs": self.inputs,
            "input_set": self.input_set,
        }

    # ---- devices -------------------------------------------------------------------------------------

    def command(self, device: str, command: str, value: Any = None, actor: str = "person") -> dict[str, Any]:
        """Journal a command to a device; it is sent when it is on the disk. Refused when it can't be encoded.

        Where the profile names the field it sets, it is a claim of the person as well.
        """
        device = self._device(device)
        try:
            self._daemon.outlet.encode(device, command, value)
            expected = self._daemon.outlet.expected(device, command, value)
        except DecodeError as error:
            raise ApiError(str(error)) from None
        field = expected.field if expected else None
        data = {"command": command, "value": value} | ({"field": field} if field else {})
        event = self._event("command_requested", actor, data, subject=device, lane="command")
        given = [self._event(GIVEN, actor, data, subject=device)] if field and self._working else []
        self._record(event, *given)
        return {"id": event.id, "device": device, "field": field, "claimed": bool(given)}

    def release(self, device: str, field: str | None = None, actor: str = "person") -> dict[str, Any]:
        """Let go what persons claim of a device."""
        device = self._device(device)
        row = self._table(HOLDS).get(device) or {"claims": ()}
        claims = [claim for claim in row["claims"] if str(claim["by"]).startswith("person:")]
        fields = sorted({claim["field"] for claim in claims if field in (None, claim["field"])})
        if not fields:
            raise ApiError(
                f"no person holds {field or 'anything'} of {device}; see: edge-gateway devices show {device}"
            )
        self._record(self._event(LET_GO, actor, {"field": field} if field else {}, subject=device))
        return {"device": device, "fields": fields}

    def commands(self) -> CommandStatus:
        """Say what became of commands and calls since the start."""
        daemon, config = self._daemon, self._daemon.config
        commands, calls = daemon.commands, daemon.web_calls
        said = acting(config)
        return CommandStatus(
            sent=commands.sent,
            confirmed=commands.confirmed,
            failed=commands.failed,
            waiting=commands.waiting,
            awaited=len(commands.awaited),
            observed=commands.observed + calls.observed,
            observing=["everything"] if said.everything_observed else [*said.observed_devices, *said.observed],
            calls_answered=calls.answered,
            calls_failed=calls.failed,
            calls_waiting=calls.waiting,
        )

    # ---- the house -----------------------------------------------------------------------------------

    def mode(self) -> HouseMode:
        """Return the mode of the house."""
        row, modes = self._table(MODES).get(MODE_KEY), self._modes
        return HouseMode(row["mode"] if row else modes[0], modes, rfc3339(row["since"]) if row else None)

    async def mode_set(self, mode: str, actor: str = "person") -> HouseMode:
        """Change the mode of the house."""
        was, now_ns = self.mode().mode, self._daemon.clock.wall_ns()
        if mode not in self._modes:
            hint = probably_meant(mode, self._modes) or f"there are {', '.join(self._modes)}"
            raise ApiError(f"there is no mode {mode!r}, {hint}")
        self._record(self._event("mode_changed", actor, {"mode": mode, "was": was}))
        if not self._working:
            self._daemon.pipeline.keep(MODES, MODE_KEY, {"mode": mode, "since": now_ns})
        taken_over = await _until(lambda: self.mode().mode == mode)
        return HouseMode(mode, self._modes, rfc3339(now_ns), was, taken_over)

    def inputs(self) -> list[Input]:
        """Return the declared inputs."""
        return [self._input(name) for name in sorted(self._inputs)]

    async def input_set(self, name: str, text: str, actor: str = "person") -> Input:
        """Say what an input is, as a person typed it."""
        options = self._inputs.get(name)
        if options is None:
            raise ApiError(unknown(self._inputs, name))
        try:
            value = options.read(text)
        except ValueError as error:
            raise ApiError(f"{name}: {error}; it takes {options.takes}") from None
        was, now_ns = self._input(name).value, self._daemon.clock.wall_ns()
        self._record(self._event(CHANGED, actor, {"input": name, "value": value, "was": was}))
        if not self._working:
            self._daemon.pipeline.keep(INPUTS, name, {"value": value, "since": now_ns, "actor": actor})
        taken_over = await _until(lambda: (self._table(INPUTS).get(name) or {}).get("value") == value)
        found = self._input(name)
        return found if taken_over else msgspec.structs.replace(found, value=value, actor=actor, taken_over=False)

    def _input(self, name: str) -> Input:
        options, row = self._inputs[name], self._table(INPUTS).get(name)
        value = value_of(self._inputs, name, row)
        since = rfc3339(row["since"]) if row else None
        about = (options.takes, options.unit, options.title)
        return Input(name, options.type, value, *about, since, row["actor"] if row else None)

    # ---- how -----------------------------------------------------------------------------------------

    @property
    def _working(self) -> bool:
        """Whether there is a rule worker that takes events over, now or when it has started."""
        return self._daemon.rules.state not in (State.NONE, State.STOPPED)

    def _device(self, name: str) -> str:
        found = self._daemon.config.devices.find(name)
        return found.id if found else name

    def _table(self, name: str) -> Mapping[str, Any]:
        return self._daemon.journal.table(name)

    def _record(self, *events: Event) -> None:
        self._daemon.pipeline.record_all(events)

    def _event(
        self, kind: str, actor: str, data: dict[str, Any], *, subject: str = "", lane: Any = "telemetry"
    ) -> Event:
        return Event(
            source=f"/{self._daemon.name}/api",
            type=kind,
            subject=subject,
            time=rfc3339(self._daemon.clock.wall_ns()),
            lane=lane,
            actor=actor,
            data=data,
        )


async def _until(holds: Callable[[], bool]) -> bool:
    """Wait for the rule worker; returns whether it was in time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + ANSWER_S
    while not holds() and loop.time() < end:  # noqa: ASYNC110 - the tables have no event to wait for
        await asyncio.sleep(POLL_S)
    return holds()
