"""What leaves next on a route: alarms first, per device in order, within the window, suspects in turn."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import DiskRefused
from gateway.event import Lane
from gateway.forward.circuit import Circuit, Suspect
from gateway.forward.lane import RouteLane
from gateway.forward.log import UNREADABLE_S
from gateway.forward.progress import Progress
from gateway.forward.sending import Sending
from gateway.routes import Route

SHARE = 10  # one in so many places of the window is for alarms only, one for what is live before a fresh-first backlog
DESPERATE_FAULTS = 30  # half an hour of them alone: then a later event of the same device is tried, out of order
DRAIN_SLICE_S = 0.25  # a limited backlog leaves in portions of so long


class Order:
    """Chooses from the lanes of one route. Times are the loop's, in seconds."""

    def __init__(self, route: Route, progress: Sequence[Progress], circuit: Circuit, windows: int) -> None:
        self._route = route
        self._progress = progress
        self._lanes = [lane for each in progress for lane in each.lanes]
        self._circuit = circuit
        self._windows = windows  # sends of a lane in flight
        self._drain_at = 0.0  # before it a limited backlog waits

    def next(self, now: float) -> Sending | None:
        """Choose what leaves next; None while nothing may."""
        if self._circuit.trial:
            return None if now < self._circuit.due or self.in_flight() else self._trial() or self._parked(now)
        if self._parked_due(now):
            return None if self.in_flight() else self._parked(now)  # alone, so that its failure is its own
        for lane in self._lanes:
            if len(lane.in_flight) < self._windows:
                sending = lane.retry(self._circuit.limit) if now >= lane.retry_at else None
                sending = sending or self._fresh(lane, now)
                if sending:
                    return sending
        return None

    def due(self, now: float) -> float | None:
        """Return when to look again, if time alone brings something."""
        dues = [self._drain_at, self._circuit.due]
        dues += [lane.retry_at for lane in self._lanes if lane.waiting]
        dues += [parked.due for lane in self._lanes for parked in lane.parked.values()]
        return min((due for due in dues if due > now), default=None)

    def in_flight(self) -> bool:
        """Return whether anything is on its way."""
        return any(lane.in_flight for lane in self._lanes)

    def room(self, lane: RouteLane) -> int:
        """Return how many more events of this lane may be exposed."""
        window = self._route.window_max
        shares = (lane.lane is not Lane.ALARM) + (lane.until is not None)
        return max(0, window - window // SHARE * shares - sum(each.exposed for each in self._progress))

    def _fresh(self, lane: RouteLane, now: float) -> Sending | None:
        limit = min(self._circuit.limit, self.room(lane))
        rate = self._route.drain_per_s
        if rate and limit and lane.lane is not Lane.ALARM and lane.next_is_backlog:
            if now < self._drain_at:
                return None
            limit = min(limit, max(1, int(rate * DRAIN_SLICE_S)))
            self._drain_at = now + limit / rate
        return lane.fresh(limit) if limit else None

    def _trial(self) -> Sending | None:
        """Choose one sending that shows whether the target takes anything: the suspect's turn, or another's."""
        suspect, probe = self._circuit.turn()
        sending = None
        if suspect and probe:
            sending = self._other(suspect)
        elif suspect:
            sending = suspect.lane.take(suspect.event.sequence)
        if sending:
            return sending
        for lane in self._lanes:
            sending = lane.retry(self._circuit.limit) or lane.fresh(min(self._circuit.limit, self.room(lane)))
            if sending:
                return sending
        return None

    def _other(self, suspect: Suspect) -> Sending | None:
        """Choose an event of another device; when the suspect has failed very often, of any."""
        also_same = suspect.faults >= DESPERATE_FAULTS
        for lane in self._lanes:
            sending = lane.other(suspect.event, also_same_device=also_same)
            if sending:
                sending.probe = True
                return sending
        return None

    def _parked(self, now: float) -> Sending | None:
        """Take a parked event that is due; those that are in the journal no more are forgotten."""
        while parked := self._parked_due(now):
            try:
                sending = parked[0].from_parked(parked[1])
            except DiskRefused:  # it is there when the disk is
                parked[0].parked[parked[1]].due = now + UNREADABLE_S
                continue
            if sending:
                return sending
        return None

    def _parked_due(self, now: float) -> tuple[RouteLane, int] | None:
        for lane in self._lanes:
            for sequence, parked in lane.parked.items():
                if parked.due <= now:
                    return lane, sequence
        return None
