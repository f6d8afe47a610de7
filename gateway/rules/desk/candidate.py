"""Rules on the desk of whoever types a command: a candidate on a virtual clock, nothing of it executed.

Backtest, shadow and debug use it.  The candidate gets the installation's devices and, when they are known, the tables
of a gateway, as far as they are of its own rules; what other rules put out is among the records it is given.
"""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC
from types import FrameType
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

import msgspec

from gateway.rules.desk.virtual import Record, TimedTables, Unwatched, VirtualTime
from gateway.rules.engine.call import Site
from gateway.rules.engine.claims import is_persons
from gateway.rules.engine.engine import Engine
from gateway.rules.engine.tables import ALERTS, HOLDS, INPUTS, MODES, RULE_STATE, TIMERS
from gateway.rules.engine.trace import Trace
from gateway.rules.files.loader import Loaded
from gateway.rules.language.acting import AS_USUAL
from gateway.rules.language.definition import Timer
from gateway.rules.language.house import House
from gateway.rules.options import Location
from gateway.rules.protocol import DeviceEntry, Outcome

Table = Mapping[str, Any]
TICK_S: Final = 0.1  # how often a running call is looked at
_OF_THE_LIVE_ONE = frozenset(("trouble", "parked", "disabled", "gone", "waiting"))
RULE = "rule:"  # what the actor of a rule's output begins with


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """What the installation says that rules can notice."""

    gateway: str = "gateway"
    log_id: str = "000000000000"
    devices: Sequence[DeviceEntry] = ()
    modes: tuple[str, ...] = ("home", "away", "night", "vacation")
    timezone: str = "UTC"
    location: Location | None = None
    late_s: float = 60.0


class Watching(Protocol):
    """What looks after calls: the limit, or nobody."""

    def call(self, rule: int, sequence: int, ordinal: int) -> None:
        """Take note that a function of a rule is about to be called."""
        ...

    def done(self) -> None:
        """Take note that it returned or raised."""
        ...


class CallLimit:
    """Interrupts a call that takes too long with a TimeoutError at its line: on the main thread of a Unix."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._calls = 0
        self._running = False
        self._seen = -1  # the call at the last tick
        self._ticks = 0  # that it was running at

    def call(self, rule: int, sequence: int, ordinal: int) -> None:  # noqa: ARG002 - one Watch for all
        """Take note that a function of a rule is about to be called."""
        self._calls += 1
        self._running = True

    def done(self) -> None:
        """Take note that it returned or raised."""
        self._running = False

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Watch calls that are made inside, as far as this system can."""
        main = threading.current_thread() is threading.main_thread()
        if self.limit_s <= 0 or not main or not hasattr(signal, "setitimer"):
            yield
            return
        before = signal.signal(signal.SIGALRM, self._tick)
        others = signal.setitimer(signal.ITIMER_REAL, TICK_S, TICK_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            signal.setitimer(signal.ITIMER_REAL, *others)

    def _tick(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal's signature
        if not self._running or self._calls != self._seen:
            self._seen, self._ticks = self._calls, 0
            return
        self._ticks += 1
        if self._ticks * TICK_S >= self.limit_s:
            self._ticks = 0
            raise TimeoutError(f"did not return within {self.limit_s:g} s")


class Untraced(Trace):
    """Keeps no looks: of a million events nobody asks about one."""

    def __init__(self, rules: int) -> None:
        super().__init__(rules)
        self.looks = [deque(maxlen=0) for _ in range(rules)]


class Candidate:
    """A candidate's rules, and the virtual time they live in."""

    def __init__(
        self,
        loaded: Loaded,
        installation: Installation,
        take: Callable[[Outcome], None],
        *,
        now_ns: int,
        tables: Mapping[str, Table] | None = None,
        watch: Watching | None = None,
        trace: Trace | None = None,
    ) -> None:
        """Set up; nothing has run yet.

        * `take(outcome)` is given what the rules did, step by step.
        * `tables` are those of a gateway, "values" among them; None is a house that nobody has heard of yet.
        * `watch` looks after calls, `trace` takes what rules made of records; None for nobody.
        """
        self.installation = installation
        self.names = frozenset(definition.name for definition in loaded.definitions)
        self.time = VirtualTime(now_ns, take, source=f"/{installation.gateway}/rules", log_id=installation.log_id)
        timed = TimedTables(_of_rules(tables or {}, self.names))
        house = House(installation.devices, (tables or {}).get("values", {}))
        zone = UTC if installation.timezone == "UTC" else ZoneInfo(installation.timezone)
        timers = {each.run: each.name for each in loaded.definitions if isinstance(each, Timer)}
        site = Site(
            house, timed, installation.log_id, installation.gateway, installation.modes, zone, timers,
            installation.location, recipients=loaded.recipients, acting=loaded.acting or AS_USUAL,
        )  # fmt: skip
        self.engine = Engine(
            loaded.definitions, site, watch or Unwatched(), late_s=installation.late_s,
            trace=trace or Untraced(len(loaded.definitions)),
        )  # fmt: skip
        self.time.use(self.engine, timed)

    def ours(self, actor: str) -> bool:
        """Return whether a record was put out by a rule that the candidate has, in the version of then."""
        return actor.startswith(RULE) and rule_of(actor) in self.names

    def load(self) -> None:
        """Let the rules see how things are, as after a save."""
        self.time.loaded()

    def play(self, records: Iterable[Record], now_ns: int, live_after: int = 0) -> None:
        """Let records happen at a time; timers that are due before it fire first."""
        self.time.advance(now_ns)
        self.time.play(records, live_after)


def rule_of(actor: str) -> str:
    """Return the name of the rule that is an output's actor: ``rule:<name>@<hash of the file>``; else who it is."""
    return actor.removeprefix(RULE).partition("@")[0]


def _goes_on(key: str, names: frozenset[str]) -> bool:
    """Return whether a row of "rule_state" is for the candidate: it is neither disabled nor in trouble."""
    rule, _, rest = key.partition("|")
    return rule in names and rest.partition("|")[0] not in _OF_THE_LIVE_ONE


def _of_rules(tables: Mapping[str, Table], names: frozenset[str]) -> dict[str, dict[str, Any]]:
    """Return the rows that belong to these rules; those of others would be nobody's here."""
    holds = {
        device: {**row, "claims": claims}
        for device, row in tables.get(HOLDS, {}).items()
        if (claims := [claim for claim in row["claims"] if claim["by"] in names or is_persons(claim)])
    }
    return {
        RULE_STATE: {key: row for key, row in tables.get(RULE_STATE, {}).items() if _goes_on(key, names)},
        TIMERS: {
            key: row
            for key, row in tables.get(TIMERS, {}).items()
            if row.get("rule") in names or str(row.get("rule")).startswith("person:")
        },
        HOLDS: holds,
        ALERTS: {key: row for key, row in tables.get(ALERTS, {}).items() if row["rule"] in names},
        MODES: dict(tables.get(MODES, {})),
        INPUTS: dict(tables.get(INPUTS, {})),
    }
