"""What became of a sending: counts, dead letters, retries, parking, trouble. Decides on outcomes; sends nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from gateway.backoff import Backoff
from gateway.clock import Clock
from gateway.codes.targets import EVENT_REFUSED, ROUTE_DOWN, ROUTE_REFUSED
from gateway.errors import JournalError
from gateway.forward.circuit import AFTER_S_MAX, Circuit
from gateway.forward.dead_letter import Refusal, letter_of
from gateway.forward.lane import RouteLane
from gateway.forward.log import Log
from gateway.forward.progress import Progress
from gateway.forward.sending import Parked, Sending
from gateway.logs.about import about
from gateway.routes import Route
from gateway.targets.target import DELIVERED, Outcome, Verdict

log = logging.getLogger(__name__)

LETTERS_SAID_MAX = 10  # of one answer that the log names
PARKED_LONGEST_S = 300.0  # between two attempts of a parked event

_WEIGHT = {Verdict.RETRY: 0, Verdict.STOP: 1, Verdict.DOWN: 2}


class Judgement:
    """Settles sendings of one route. Times are the loop's, in seconds."""

    def __init__(
        self, name: str, route: Route, progress: Sequence[Progress], circuit: Circuit, journal: Log, clock: Clock
    ) -> None:
        self._name = name
        self._route = route
        self._progress = progress
        self._lanes = [lane for each in progress for lane in each.lanes]
        self._circuit = circuit
        self._log = journal
        self._clock = clock
        self._backoff = Backoff(route.retry_first_s, max(route.retry_longest_s, PARKED_LONGEST_S))
        self._state = "starting"  # of the route, as it was said last
        self.delivered = 0
        self.rejected = 0  # dead letters
        self.last_error: tuple[str, int] | None = None  # (what, wall clock in ns)

    def settle(self, sending: Sending, outcomes: Sequence[Outcome], now: float) -> None:
        """Take the outcomes of a sending, one for each event."""
        if outcomes.count(DELIVERED) == len(outcomes):
            self.delivered += len(outcomes)
            sending.lane.over(sending)
            self._passed(sending, now)
            return
        unresolved = self._resolve(sending, outcomes)
        if not unresolved:
            sending.lane.over(sending)
            self._passed(sending, now)
            return
        sending.lane.back(sending, unresolved)
        judged = len(unresolved) < len(outcomes)
        if judged:
            self._passed(sending, now)
        worst = max(unresolved.values(), key=_weight)
        self._note(worst.reason)
        if sending.origin == "parked":
            self._parked_failed(sending, worst, now)
            return
        others_pass = judged or self._circuit.passes > sending.passes
        sending.lane.failed_at = self._circuit.passes
        if self._circuit.trial or worst.verdict is not Verdict.RETRY or not others_pass:
            if self._circuit.failed(sending, worst, now):
                self._blame(sending, worst, now)
        elif judged or len(sending.events) == 1:
            self._wait_apart(sending, unresolved, now)
        else:  # some of them are to blame: one by one from here on
            sending.lane.retry_max = 1
            sending.lane.retry_at = now + self._backoff.after_s(1)

    def entered(self, state: str) -> None:
        """Say in the log when the route stops for want of its target, and when it goes on."""
        name, target, why = self._name, self._route.to, self.last_error[0] if self.last_error else "no answer yet"
        if state == "refused":
            said = about(ROUTE_REFUSED, route=name, target=target)
            log.error("route %s: %s refuses: %s; its events wait on the disk", name, target, why, extra=said)
        elif state == "waiting" and self._state != "starting":
            said = about(ROUTE_DOWN, route=name, target=target)
            log.warning("route %s: %s is away: %s; its events wait on the disk", name, target, why, extra=said)
        elif state in ("sending", "idle") and self._state in ("refused", "waiting") and self.last_error:
            log.info("route %s: %s takes events again", name, target, extra=about(route=name, target=target))
        self._state = state

    def dead_letters(self, refusals: Sequence[Refusal]) -> None:
        """Append the dead letters of refused events, in one batch; the caller puts the cursor right behind."""
        if not refusals:
            return
        self.rejected += len(refusals)
        self._note(refusals[-1].reason)
        of_route = (self._name, self._route.to, self._log.log_id, self._clock)
        letters = [letter_of(refusal, *of_route) for refusal in refusals]
        try:
            self._log.append_all(letters)
        except JournalError:  # more than a batch, or a record, holds
            letters = [letter_of(refusal, *of_route, whole_bytes_max=0) for refusal in refusals]
            for letter in letters:
                self._log.append(letter)
        for letter in letters[:LETTERS_SAID_MAX]:
            device, event_id = letter.subject, letter.cause or ""
            said = about(EVENT_REFUSED, device=device, event_id=event_id, route=self._name, target=self._route.to)
            log.warning("event %s is a dead letter: %s", event_id, letter.data["reason"], extra=said)
        if (more := len(letters) - LETTERS_SAID_MAX) > 0:
            log.warning("%d more events are dead letters", more, extra=about(EVENT_REFUSED, route=self._name))

    def _resolve(self, sending: Sending, outcomes: Sequence[Outcome]) -> dict[int, Outcome]:
        """Count what is delivered, dead-letter what is rejected; return the rest by its place."""
        unresolved: dict[int, Outcome] = {}
        refusals: list[Refusal] = []
        for i, outcome in enumerate(outcomes):
            if outcome.verdict is Verdict.DELIVERED:
                self.delivered += 1
            elif outcome.verdict is Verdict.REJECTED:
                event = sending.events[i]
                attempts = sending.lane.attempts_of(event.sequence) + 1
                refusals.append(Refusal(event.raw, event.sequence, outcome.reason, attempts))
            else:
                unresolved[i] = outcome
        self.dead_letters(refusals)
        return unresolved

    def _passed(self, sending: Sending, now: float) -> None:
        on_trial = self._circuit.trial
        self._circuit.passed(sending)
        if on_trial and not self._circuit.trial:
            self.back_again(now)
            self._circuit.away_since = None
            for lane in self._lanes:
                lane.retry_at = 0.0

    def back_again(self, now: float) -> None:
        """Say that what waited through a long outage is a backlog: the target is there."""
        since = self._circuit.away_since
        if since is not None and now - since >= self._route.replayed_after_s:
            for progress in self._progress:
                progress.outage_over(self._log.durable_sequence)

    def _wait_apart(self, sending: Sending, unresolved: Mapping[int, Outcome], now: float) -> None:
        """Others passed: these wait, with what is newer of their devices; who fails too often is parked."""
        lane, wait, failures, devices = sending.lane, 0.0, 1, set[str]()
        for i, outcome in unresolved.items():
            event = sending.events[i]
            wait = max(wait, min(outcome.after or 0.0, AFTER_S_MAX))
            if outcome.throttled or event.subject in devices:
                continue  # not its fault, or it waits behind the one before
            devices.add(event.subject)
            attempts = lane.attempts[event.sequence] = lane.attempts.get(event.sequence, 0) + 1
            failures = max(failures, attempts)
            if attempts > self._route.retries_max:
                self._park(lane, event.sequence, attempts, now)
        lane.retry_at = max(lane.retry_at, now + (wait or self._backoff.after_s(failures)))

    def _blame(self, sending: Sending, outcome: Outcome, now: float) -> None:
        """Let others pass: it was shown that they do, and this one does not."""
        if outcome.throttled:  # too much of its device, which is no fault of the event
            sending.lane.retry_at = now + (min(outcome.after or 0.0, AFTER_S_MAX) or self._backoff.after_s(1))
        else:
            self._park(sending.lane, sending.events[0].sequence, self._route.retries_max + 1, now)

    def _park(self, lane: RouteLane, sequence: int, attempts: int, now: float) -> None:
        """Set an event aside; with the list full it and its device wait in place."""
        due = now + self._backoff.after_s(attempts)
        if sum(len(each.parked) for each in self._lanes) < self._route.parked_max:
            lane.park(sequence, Parked(0, attempts, due, self._circuit.passes))
        else:
            lane.retry_at = due

    def _parked_failed(self, sending: Sending, outcome: Outcome, now: float) -> None:
        """Count an attempt if others have passed since the last one: else the fault may be the target's."""
        event, lane = sending.events[0], sending.lane
        parked = lane.parked[event.sequence]
        own = outcome.verdict is not Verdict.STOP and not outcome.throttled and self._circuit.passes > parked.passes
        parked.attempts += own
        parked.passes = self._circuit.passes
        if parked.attempts >= self._route.attempts_max:
            reason = f"given up after {parked.attempts} attempts while others passed: {outcome.reason}"
            self.dead_letters([Refusal(event.raw, event.sequence, reason, parked.attempts)])
            del lane.parked[event.sequence]
        else:
            wait = min(outcome.after or 0.0, AFTER_S_MAX)
            parked.due = now + (wait or self._backoff.after_s(parked.attempts))
        if outcome.verdict is Verdict.DOWN:
            self._circuit.failed(sending, outcome, now)

    def _note(self, error: str) -> None:
        self.last_error = (error, self._clock.wall_ns())


def _weight(outcome: Outcome) -> tuple[int, bool, float]:
    """Order outcomes by which speaks for the whole sending."""
    return _WEIGHT[outcome.verdict], not outcome.throttled, outcome.after or 0.0
