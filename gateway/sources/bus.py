"""A bus of polled units on a serial port: the gateway asks, the units answer.

::

    [sources.heating]
    serial = "usb:0403:6001"                 # as for any serial source
    [[sources.heating.unit]]
    address = 5
    profile = "modbus-kaysun-kc-fcd2"        # says what is asked, how often, and what the answer means

A poll's answer is a delivery of the topic ``<source>/<address>/<poll>`` with the values' bytes as they came; whether
a unit answers at all is one of ``<source>/<address>/presence``.  Commands come as ``<source>/<address>/write`` with a
`Write`; one is taken when the unit was heard since the start, so that nothing is written to a stranger.

Units of a port that is away for `AWAY_S` cannot be reached, and are said to be offline; each is online again with its
first answer.

Whose turn it is decides `gateway.polling.master`; here are the port and the clock. There is nothing to acknowledge:
what was asked and not kept is asked again.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec

from gateway.clock import Clock
from gateway.polling.master import Line, Master
from gateway.polling.outcome import Outcome, Polled, Presence, Written
from gateway.polling.plan import Unit, decoded
from gateway.polling.request import BROADCAST, Wire
from gateway.sources.port import BAUD, LineSettings, Port
from gateway.sources.ports import Ports
from gateway.sources.source import Delivery, Inbox, Refusal

log = logging.getLogger(__name__)

PRESENCE = "presence"
AWAY_S = 10.0  # a cable that was pulled may be back; then its units are offline
UNITS_MAX = 247  # of one bus
STATUS_DECIMALS = 3


class UnitOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[sources.<name>.unit]]: one unit on the bus."""

    address: Annotated[int, msgspec.Meta(ge=0, le=255)]  # 0: all at once; commands only
    profile: str


class BusOptions(LineSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[sources.<name>] with units: a serial line whose units are asked."""

    unit: Annotated[list[UnitOptions], msgspec.Meta(min_length=1, max_length=UNITS_MAX)]
    gap_ms: Annotated[float, msgspec.Meta(ge=0, le=1000)] = (
        0.0  # silence before a request, where 3.5 characters are few
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        addresses = [unit.address for unit in self.unit]
        for address in addresses:
            if addresses.count(address) > 1:
                raise ValueError(f"two units have the address {address}")

    @property
    def units(self) -> dict[int, str]:
        """Return the profile of each address."""
        return {unit.address: unit.profile for unit in self.unit}

    @property
    def profile(self) -> tuple[str, ...]:
        """Return all profiles."""
        return tuple(dict.fromkeys(unit.profile for unit in self.unit))


Refuse = Callable[[Refusal], None]


class BusSource:
    """One bus."""

    def __init__(
        self,
        name: str,
        options: BusOptions,
        wire: Wire,
        units: Sequence[Unit],
        clock: Clock,
        *,
        ports: Ports | None = None,
    ) -> None:
        """Prepare; the profiles' word on baud and mode is in `options` already."""
        self.name = name
        self.options = options
        self.refuse: Refuse = _ignore
        self._clock = clock
        self._port = Port(f"source {name}", options, self, clock=clock, ports=ports)
        self._line = Line(options.baud or BAUD, options.gap_ms / 1000)
        self._wire, self._units = wire, units
        self._master: Master | None = None  # from the first opening on
        self._inbox: Inbox | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._absence: asyncio.TimerHandle | None = None  # while the port is away, and units are not offline yet
        self._paused = False
        self._written = 0
        self._refused = 0
        self._last_refusal = ""

    async def run(self, inbox: Inbox) -> None:
        """Keep the port open and the bus going, until cancelled."""
        self._inbox = inbox
        self._miss()
        try:
            await self._port.run()
        finally:
            self._stop_timer()
            self._stop_missing()

    def pause(self) -> None:
        """Ask no more (backpressure)."""
        self._paused = True

    def resume(self) -> None:
        """Go on asking."""
        self._paused = False
        self._turn()

    def send(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> bool:  # noqa: ARG002 - no broker here
        """Queue a write; False while the port is away or the unit was not heard yet, or does not answer."""
        address, master = _address(topic), self._master
        if master is None or not self._port.open or address not in master.units:
            return False
        if address != BROADCAST and not master.units[address].heard:
            return False
        try:
            write = decoded(payload)
        except msgspec.DecodeError as error:
            self._note(f"{topic}: {error}")
            return False
        refused = master.write(address, write)
        if refused:
            self._note(refused)
            return False
        asyncio.get_running_loop().call_soon(
            self._timed_turn
        )  # later: what is refused at once is told after this returns
        return True

    def status(self) -> dict[str, object]:
        """Say what `edge-gateway status` shows."""
        said = self._port.status()
        if self._refused:
            said["refused_commands"] = self._refused
            said.setdefault("last_error", self._last_refusal)
        master = self._master
        if master is None:
            return said
        in_use, lost = master.shares(self._now_s())
        said["received"] = sum(due.answers for unit in master.units.values() for due in unit.polls.values())
        said["requests"] = master.requests
        said["in_use"] = round(in_use, STATUS_DECIMALS)
        said["lost"] = round(lost, STATUS_DECIMALS)
        if master.strays:
            said["strays"] = dict(master.strays)
        said["units"] = {str(address): self._unit_status(address) for address in master.units}
        wrong = _wrong(master)
        if wrong:
            said.setdefault("last_error", wrong)
        return said

    def lost_s(self, address: int) -> float:
        """Return how many seconds of the bus a unit took without an answer."""
        return self._master.units[address].lost_s if self._master is not None else 0.0

    def _unit_status(self, address: int) -> dict[str, object]:
        assert self._master is not None
        state = self._master.units[address]
        said: dict[str, object] = {
            "online": state.online,
            "polls": sum(due.answers for due in state.polls.values()),
            "failures": state.failures,
        }
        if state.exceptions:
            said["exceptions"] = state.exceptions
        if state.last_error:
            said["last_error"] = state.last_error
        said["every_s"] = {
            name: [due.poll.period_s, round(due.every_s, STATUS_DECIMALS)] for name, due in state.polls.items()
        }
        missed = sum(due.missed for due in state.polls.values())
        if missed:
            said["missed"] = missed
        return said

    # -- the port's owner ----------------------------------------------------------------------------------

    def back(self) -> None:
        """Begin, or go on, with the line that is open now."""
        self._stop_missing()
        self._begin()
        self._turn()

    def _begin(self) -> Master:
        if self._master is None:
            self._master = Master(self._wire, self._units, self._line, self._now_s())
        return self._master

    def received(self, data: bytes) -> None:
        """Take bytes as they were read."""
        assert self._master is not None
        self._master.feed(data, self._now_s())
        self._turn()

    def lost(self, why: str) -> None:
        """Take note that the line is gone: what was under way is refused."""
        log.debug("source %s: %s", self.name, why)
        self._stop_timer()
        if self._master is not None:
            self._master.lost(self._now_s())
            self._deliver()
        self._miss()

    def _miss(self) -> None:
        self._stop_missing()
        self._absence = asyncio.get_running_loop().call_later(AWAY_S, self._away)

    def _stop_missing(self) -> None:
        if self._absence is not None:
            self._absence.cancel()
            self._absence = None

    def _away(self) -> None:
        """Say that nobody can be reached."""
        self._absence = None
        self._begin().away()
        self._deliver()

    # -- turns ---------------------------------------------------------------------------------------------

    def _timed_turn(self) -> None:
        try:
            self._turn()
        except Exception as error:  # noqa: BLE001 - a bug: a timer's would be logged only; it must end `run`
            self._port.fail(error)

    def _turn(self) -> None:
        """Send what is to be sent now, hand on what came, and look again when it is time."""
        master = self._master
        if master is None or not self._port.open:
            return
        now_s = self._now_s()
        if not self._paused:
            frame = master.step(now_s)
            if frame is not None:
                self._port.write(frame)
        self._deliver()
        self._stop_timer()
        wake_s = master.wake_s(now_s)
        if wake_s < math.inf and not self._paused:
            self._timer = asyncio.get_running_loop().call_at(wake_s, self._timed_turn)

    def _deliver(self) -> None:
        assert self._master is not None
        outcomes = self._master.outcomes
        deliveries = []
        now_ns = self._clock.wall_ns()
        while outcomes:
            delivery = self._delivery(outcomes.popleft(), now_ns)
            if delivery is not None:
                deliveries.append(delivery)
        if deliveries and self._inbox is not None:
            self._inbox(deliveries)

    def _delivery(self, outcome: Outcome, now_ns: int) -> Delivery | None:
        if isinstance(outcome, Written):
            if outcome.refused:
                self._note(outcome.refused)
                write = outcome.write
                self.refuse(Refusal(write.device, write.command, write.value, outcome.refused, outcome.final))
            return None
        if isinstance(outcome, Presence):
            payload = b"online" if outcome.online else b"offline"
            topic = f"{self.name}/{outcome.address}/{PRESENCE}"
            return Delivery(self.name, topic, payload, now_ns, self, retained=outcome.first and outcome.online)
        assert isinstance(outcome, Polled)
        return Delivery(self.name, f"{self.name}/{outcome.address}/{outcome.poll}", outcome.data, now_ns, self)

    def acknowledge(self, delivery: Delivery) -> None:
        """Do nothing: nobody on the bus waits for it."""

    def _note(self, refused: str) -> None:
        self._refused += 1
        self._last_refusal = f"command: {refused}"

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()


def _wrong(master: Master) -> str:
    """Say which units do not answer, and the first that refuses what its profile asks."""
    silent = [str(address) for address, unit in master.units.items() if unit.offline]
    refused = [
        f"unit {address}, {due.poll.name}: {due.refused}"
        for address, unit in master.units.items()
        for due in unit.polls.values()
        if due.refused
    ]
    more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
    return "; ".join(
        [*([f"no answer from {', '.join(silent)}"] if silent else []), *([refused[0] + more] if refused else [])]
    )


def _address(topic: str) -> int:
    """Return the address in ``<source>/<address>/...``; -1 when there is none."""
    levels = topic.split("/")
    return int(levels[1]) if len(levels) > 2 and levels[1].isdecimal() else -1


def _ignore(_refusal: Refusal) -> None:
    """Do nothing: nobody to tell yet."""
