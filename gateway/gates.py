"""Events that wait for a gate: held when they are appended, let go or dropped by what rules say, or when time is over.

A held event is a record like any other, on the disk and acknowledged, but for its mark `held`: rules see it at once,
routes pass it over.  What leaves is a copy behind it, with an id derived from its own (the same after a crash), its
`cause`, and `gate`: the gates that changed it, "open" when they let it go as it is, "late" when they did not decide in
time.  What is dropped is counted by gate.  The copy and the cursor of the rules are in one batch of the journal, so
nothing leaves twice or is forgotten over a kill; what nobody has decided then is decided after the next start.

Rows of the table "gates":

    declared    the gates of the rules that ran last: events are held from the start on
    after       sequence up to which all that was held is decided
    count:NAME  {held, dropped, changed, late} of a gate: what is decided, so that a kill counts nothing twice or never

A gate whose file is left out (it does not load, and no good version of it runs) decides nothing: what waited for it
goes.  But one with ``fail="closed"`` stays declared, over restarts, too, and what it is about is dropped and counted,
until its file loads or is removed.

Bounds: `HELD_MAX` events wait; beyond that, and after [rules] gate_s, they go as they are, or are dropped when one of
their gates says ``fail="closed"``.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from gateway.clock import NS_PER_S, Clock
from gateway.event import Event, decode, decode_head, derived_id, hold
from gateway.rules.language.definition import Selector
from gateway.rules.language.house import kind_of
from gateway.rules.protocol import DeviceEntry, GateInfo, Verdict

HELD_MAX: Final = 10_000  # events; beyond it the oldest are decided as if their time were over
MATCHES_MAX: Final = 20_000  # pairs of a type and a device whose gates are remembered
AFTER_STEP: Final = 5_000  # records: how far the row `after` may lag while nothing is held
READ_RECORDS: Final = 1_000  # at a time, at the start
NEVER: Final = -1  # the row `after` where no gate was ever declared
OPEN, LATE = "open", "late"  # what let a copy go, where no gate changed it
TABLE = "gates"

Read = Callable[[int, int], tuple[Sequence[tuple[int, bytes]], int]]
"""`read(after, limit)`: durable records behind a sequence, and up to where there are no others."""


class Installed(Protocol):
    """What the installation says of a device."""

    @property
    def name(self) -> str:
        """What people call it; may be empty."""
        ...

    @property
    def room(self) -> str:
        """Where it is; may be empty."""
        ...

    @property
    def kind(self) -> str | None:
        """What it is on or in; None: what is usual for its class."""
        ...

    @property
    def labels(self) -> Sequence[str]:
        """Its labels."""
        ...


class _Waiting(NamedTuple):
    sequence: int
    raw: bytes
    due_ns: int  # by the boot clock
    gates: tuple[GateInfo, ...]


class Gates:
    """Which events are held, and what becomes of them. Belongs to the loop's thread; does no I/O."""

    def __init__(
        self,
        log_id: str,
        clock: Clock,
        limit_s: float,
        rows: Mapping[str, Any],
        *,
        keep: Callable[[str, str, Any], None],
        last_sequence: Callable[[], int],
        installed: Callable[[str], Installed | None],
        values: Mapping[str, Mapping[str, Any]],
        disabled: Callable[[], Collection[str]] = frozenset,
        copies_bytes_max: int = 1 << 30,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """Go on as the rows say.

        rows       the table "gates"
        keep       `keep(table, key, row)` puts a row into the open batch
        last_sequence  of the journal
        installed  what devices.toml says of a device
        values     the last values of devices
        disabled   the gates that a person has disabled
        copies_bytes_max  how many leave at once: they share a batch with the rows that say so
        wake       commits the open batch now
        """
        self._log_id, self._clock, self._limit_ns = log_id, clock, round(limit_s * NS_PER_S)
        self._keep, self._last_sequence = keep, last_sequence
        self._installed, self._values, self._disabled = installed, values, disabled
        self._bytes_max, self._wake = copies_bytes_max, wake
        self.more = False  # some are left of what was to leave: ask again when this is noted
        self._waiting: deque[_Waiting] = deque()
        self._matches: dict[tuple[str, str], tuple[GateInfo, ...]] = {}
        self._kept_after = int(rows.get("after", NEVER))
        self._after = max(self._kept_after, 0)
        self._counts = {key.partition(":")[2]: Counter(row) for key, row in rows.items() if key.startswith("count:")}
        self._counted: set[str] = set()  # since the rows were written
        self._selectors: dict[GateInfo, Selector] = {}
        self._declare(msgspec.convert(rows.get("declared", []), list[GateInfo]))

    # ---- which --------------------------------------------------------------------------------------

    def declare(self, gates: Sequence[GateInfo], left_out: Collection[str] = ()) -> None:
        """Hold events for these gates from now on, and for closed ones of before whose files are `left_out`."""
        wanted = [*gates, *self._lost(gates, left_out)]
        if wanted != self._gates:
            if not self._gates and not self._waiting:
                self._put_after(self._last_sequence())
            self._declare(wanted)
            self._keep(TABLE, "declared", msgspec.to_builtins(self._gates) or None)
            self._wake()  # killed before it is on the disk, the next start would hold nothing until rules are loaded

    def _lost(self, gates: Sequence[GateInfo], left_out: Collection[str]) -> list[GateInfo]:
        """Return the closed gates that nobody runs any more, though nobody removed them."""
        there = {gate.name for gate in gates}.union(self._disabled())
        return [
            msgspec.structs.replace(gate, lost=True)
            for gate in self._gates
            if gate.closed and gate.file in left_out and gate.name not in there
        ]

    @property
    def lost(self) -> list[GateInfo]:
        """The closed gates whose files do not load: what they are about stays here."""
        return [gate for gate in self._gates if gate.lost]

    def _declare(self, gates: Sequence[GateInfo]) -> None:
        self._gates = list(gates)
        self._selectors = {gate: Selector(gate.device, gate.room, gate.kind, gate.label) for gate in gates}
        self.types = frozenset(name for gate in gates for name in gate.types)
        self._matches.clear()

    def limit(self, limit_s: float) -> None:
        """Hold what comes from now on for so long."""
        self._limit_ns = round(limit_s * NS_PER_S)

    def forget(self) -> None:
        """Look again who is meant: the installation has changed."""
        self._matches.clear()

    def hold(self, events: Sequence[Event]) -> None:
        """Mark events that are to wait, before they are appended."""
        for event in events:
            if event.type in self.types and self._of(event.type, event.subject):
                hold(event)

    def took(self, events: Sequence[Event], raws: Sequence[bytes]) -> None:
        """Let held events wait, that were appended."""
        due_ns = self._clock.boot_ns() + self._limit_ns
        for event, raw in zip(events, raws, strict=True):
            if event.held:
                gates = self._of(event.type, event.subject)
                self._waiting.append(_Waiting(int(event.sequence), raw, due_ns, gates))

    def _of(self, event_type: str, subject: str) -> tuple[GateInfo, ...]:
        """Return the gates that decide about events of a type about a device."""
        found = self._matches.get((event_type, subject))
        if found is None:
            if len(self._matches) >= MATCHES_MAX:
                self._matches.clear()
            device = self._installed(subject)
            name, room, kind = (device.name, device.room, device.kind) if device else ("", "", "")
            labels = frozenset(device.labels if device else ())
            kind = kind_of(DeviceEntry(subject, kind=kind or ""), dict(self._values.get(subject, {})))
            found = self._matches[event_type, subject] = tuple(
                gate
                for gate, selector in self._selectors.items()
                if event_type in gate.types and selector.fits(subject, name or subject, room, kind, labels)
            )
        return found

    # ---- what becomes of them -----------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many events wait."""
        return len(self._waiting)

    def judge(self, upto: int, verdicts: Sequence[Verdict]) -> list[Event]:
        """Return the copies that leave, now that rules have looked at everything up to a sequence.

        What no gate said anything of goes: it was removed or disabled meanwhile.  What a closed gate is about whose
        file is left out does not.
        """
        said = {sequence: (verdict, by) for sequence, verdict, by in verdicts}
        lost = {gate.name for gate in self.lost}
        released: list[Event] = []
        left = self._bytes_max
        while self._waiting and self._waiting[0].sequence <= upto and left > 0:
            held = self._waiting.popleft()
            left -= len(held.raw)
            verdict, by = said.get(held.sequence, (True, ""))
            if verdict is not False:
                unasked = held.sequence not in said
                for gate in held.gates:
                    if gate.name in lost or (gate.lost and unasked):
                        verdict, by = False, gate.name
            released += self._decide(held, verdict, by)
        self.more = left <= 0
        return released

    def overdue(self) -> list[Event]:
        """Return the copies that leave because nobody has decided in time, or too many wait."""
        now_ns = self._clock.boot_ns()
        released: list[Event] = []
        left = self._bytes_max
        while left > 0 and self._waiting and (self._waiting[0].due_ns <= now_ns or len(self._waiting) > HELD_MAX):
            held = self._waiting.popleft()
            left -= len(held.raw)
            closed = next((gate.name for gate in held.gates if gate.closed), None)
            for gate in held.gates:
                if not gate.lost:
                    self._count(gate.name, "late")
            released += self._decide(held, closed is None, LATE if closed is None else closed)
        self.more = left <= 0
        return released

    def _decide(self, held: _Waiting, verdict: bool | dict[str, Any], by: str) -> list[Event]:
        self._after = held.sequence
        for gate in held.gates:
            self._count(gate.name, "held")
        if verdict is False:
            self._count(by, "dropped")
            return []
        event = decode(held.raw)
        data = event.data
        if isinstance(verdict, dict):
            data = verdict
            for name in by.split(", "):
                self._count(name, "changed")
        copy = derived_id(self._log_id, "gate", event.id, 0)
        return [
            msgspec.structs.replace(event, id=copy, sequence="", held=False, cause=event.id, gate=by or OPEN, data=data)
        ]

    def _count(self, gate: str, what: str) -> None:
        self._counts.setdefault(gate, Counter())[what] += 1
        self._counted.add(gate)

    def note(self) -> None:
        """Put the rows that changed into the open batch, behind the copies."""
        after = self._after if self._waiting else self._last_sequence()
        if self._counted or (self._gates and after - self._kept_after > AFTER_STEP):
            self._put_after(after)
        for gate in self._counted:
            self._keep(TABLE, f"count:{gate}", dict(self._counts[gate]))
        self._counted.clear()

    def _put_after(self, sequence: int) -> None:
        self._keep(TABLE, "after", sequence)
        self._after = self._kept_after = sequence

    # ---- the start, and the questions of people -----------------------------------------------------

    def restore(self, read: Read, through: int) -> None:
        """Find what was held and not decided when the gateway ended. BLOCKING, some thousand records at most."""
        after, due_ns = self._after, self._clock.boot_ns() + self._limit_ns
        while self._kept_after != NEVER and after < through:
            records, reached = read(after, READ_RECORDS)
            for sequence, raw in records:
                head = decode_head(raw)
                if head.held:
                    self._waiting.append(_Waiting(sequence, raw, due_ns, self._of(head.type, head.subject)))
            if reached <= after:
                break
            after = reached

    def report(self) -> dict[str, dict[str, int]]:
        """Say of each gate how many events were held, dropped, changed, or decided by time."""
        counts = {gate.name: Counter[str]() for gate in self._gates}
        for name, kept in self._counts.items():
            counts[name] = Counter(kept)
        for held in self._waiting:
            for gate in held.gates:
                counts.setdefault(gate.name, Counter())["held"] += 1
        return {name: dict(counts[name]) for name in sorted(counts)}
