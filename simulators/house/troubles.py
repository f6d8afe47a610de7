"""What is wrong, when and with whom: the faults of a scenario, asked by the house at each step. Pure.

Sensor faults change what a device reports of the truth, actuator faults what it does with a command, transport
faults what becomes of a message.  Faults of lines (unplug, half-open, broker, disk, cloud) are the driver's: `lines`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from simulators.house.gadget import Gadget, Said, Value
from simulators.house.scenario import FaultTable, chosen, seconds

SENSOR = frozenset({"stuck", "drift", "spike", "flapping", "dead_battery", "silent", "wrong_polarity"})
ACTUATOR = frozenset({"ignores", "acts_late", "reverts"})
TRANSPORT = frozenset({"garbled", "bad_checksum", "duplicate", "late", "clock_skew", "flood"})
FOREVER_S = 1e12
LATE_S = 5.0
ACT_LATE_S = 60.0
REVERT_S = 60.0
FLAP_S = 5.0
FLOOD_PER_S = 10.0
SPIKE_CEL = 40.0
DRIFT_CEL_PER_H = 1.0
SKEW_S = 3600.0
DYING_S = 60.0  # from the last word about the battery to silence
DEAD_PERCENT = 2.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault with its times."""

    table: FaultTable
    start_s: float
    end_s: float

    @property
    def kind(self) -> str:
        """Return which fault it is."""
        return self.table.kind

    def by(self, usual: float) -> float:
        """Return how much, or what is usual."""
        return self.table.by or usual


class Troubles:
    """All of them, indexed by device."""

    def __init__(self, tables: Sequence[FaultTable], gadgets: Sequence[Gadget]) -> None:
        """Find out whom each means."""
        self.all = [_timed(table) for table in tables]
        self._of: dict[str, list[Trouble]] = {}
        for trouble in self.all:
            for gadget in gadgets:
                if chosen(trouble.table.device, gadget.name, gadget.dialect, gadget.room):
                    self._of.setdefault(gadget.name, []).append(trouble)
        self._frozen: dict[tuple[int, str], Value] = {}

    def of(self, gadget: Gadget, now_s: float, *kinds: str) -> Trouble | None:
        """Return the first fault of these kinds that a device has now."""
        for trouble in self._of.get(gadget.name, ()):
            if trouble.kind in kinds and trouble.start_s <= now_s < trouble.end_s:
                return trouble
        return None

    def lines(self, kinds: Sequence[str]) -> list[Trouble]:
        """Return the faults of lines of these kinds."""
        return [trouble for trouble in self.all if trouble.kind in kinds]

    def moments(self, gadget: Gadget) -> Iterator[float]:
        """Yield when a device has to be looked at again because of a fault."""
        for trouble in self._of.get(gadget.name, ()):
            yield trouble.start_s
            if trouble.kind == "dead_battery":
                yield trouble.start_s + DYING_S
            if trouble.end_s < FOREVER_S:
                yield trouble.end_s

    # ---- sensors -------------------------------------------------------------------------------------

    def mute(self, gadget: Gadget, now_s: float) -> bool:
        """Return whether a device says nothing at all."""
        if self.of(gadget, now_s, "silent", "unplug"):
            return True
        dying = self.of(gadget, now_s, "dead_battery")
        return dying is not None and now_s >= dying.start_s + DYING_S

    def seen(self, gadget: Gadget, truth: Mapping[str, Value], now_s: float, rng: random.Random) -> dict[str, Value]:
        """Return what a device makes of the truth."""
        seen = dict(truth)
        for trouble in self._of.get(gadget.name, ()):
            if not trouble.start_s <= now_s < trouble.end_s:
                continue
            for field, value in seen.items():
                seen[field] = self._bent(trouble, gadget, field, value, now_s, rng)
        return seen

    def _bent(
        self, trouble: Trouble, gadget: Gadget, field: str, value: Value, now_s: float, rng: random.Random
    ) -> Value:
        if trouble.kind == "stuck" and field not in ("setpoint.heat", "mode"):
            return self._frozen.setdefault((id(trouble), f"{gadget.name}/{field}"), gadget.state.get(field, value))
        if isinstance(value, bool) and field in ("open", "motion", "leak", "smoke"):
            if trouble.kind == "wrong_polarity":
                return not value
            if trouble.kind == "flapping":
                return bool(int((now_s - trouble.start_s) / trouble.by(FLAP_S)) % 2) != value
        elif field == "temperature" and isinstance(value, float):
            if trouble.kind == "drift":
                return round(value + trouble.by(DRIFT_CEL_PER_H) * (now_s - trouble.start_s) / 3600, 1)
            if trouble.kind == "spike" and rng.random() < trouble.table.share:
                return round(value + trouble.by(SPIKE_CEL), 1)
        return value

    def battery(self, gadget: Gadget, now_s: float) -> float | None:
        """Return what a device says of its battery."""
        return DEAD_PERCENT if self.of(gadget, now_s, "dead_battery") else gadget.battery

    # ---- transport -----------------------------------------------------------------------------------

    def carried(self, said: Said, gadget: Gadget, now_s: float, rng: random.Random) -> Iterator[tuple[float, Said]]:
        """Yield (seconds later, message) of all that becomes of a message."""
        hurt = self.of(gadget, now_s, "garbled", "bad_checksum")
        if hurt is not None and rng.random() < hurt.table.share:
            said = broken_checksum(said) if hurt.kind == "bad_checksum" and said.check else garbled(said, rng)
        late = self.of(gadget, now_s, "late")
        later_s = 0.0
        if late is not None and rng.random() < late.table.share:
            later_s = rng.uniform(0.1, 1.0) * late.by(LATE_S)
        yield later_s, said
        double = self.of(gadget, now_s, "duplicate")
        if double is not None and rng.random() < double.table.share:
            yield later_s + 0.05, said


def garbled(said: Said, rng: random.Random) -> Said:
    """Hurt a message so that nobody can take it for another: bytes that are no text, or an end too early.

    On a line one byte is hurt, and never the end, which would hurt the next message as well.  Bytes that are no text
    are hurt at their beginning, where every format has its mark.  Only JSON is cut: a bare number would still be one.
    """
    payload = bytearray(said.payload)
    if not said.topic:
        at = rng.randrange(max(1, len(payload) - 2))
        payload[at] = 0xFF if payload[at] != 0xFF else 0x00
    elif said.payload.startswith(b"{") and rng.random() < 0.4:
        del payload[rng.randrange(1, len(payload) - 1) :]
    else:
        at = rng.randrange(len(payload) + 1) if _is_text(said.payload) else 0
        payload[at : at + 1] = b"\xff\xfe"
    return replace(said, payload=bytes(payload), clean=False)


def _is_text(payload: bytes) -> bool:
    return all(byte in b"\t\r\n" or byte >= 0x20 for byte in payload)


def broken_checksum(said: Said) -> Said:
    """Change one checksum byte."""
    payload = bytearray(said.payload)
    for at in said.check:
        payload[at] ^= 0x01
    return replace(said, payload=bytes(payload), clean=False)


def _timed(table: FaultTable) -> Trouble:
    start_s = seconds(table.at)
    return Trouble(table, start_s, start_s + seconds(table.lasts) if table.lasts else FOREVER_S)
