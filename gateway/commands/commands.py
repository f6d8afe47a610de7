"""Commands on their way to devices: read from the journal when durable, encoded by the profile, sent.

A command is a record of the lane COMMAND: ``command_requested`` about a device, with ``command``,
``value`` and, when it must not be late, ``expires`` (RFC 3339).  Nothing is sent before the record is
on the disk.  What can be repeated (set to a value) is sent at least once: the cursor moves after the
send, so a kill may send it twice.  What can't (``once``: toggle, step, ring) is marked in the table
"sending" before it leaves, as `SENT` behind it, and the mark goes with the cursor that has passed it.  A mark
found at start that is not `SENT` means nobody knows: `command_uncertain` says so; neither is sent again.

Some are awaited behind that (confirmations.py): until the device says that it is so (`command_confirmed`) they are
sent again, as often as they may be, and then have failed.  What only shall be observed (all commands, those of a
device, those of a rule) is recorded as `command_observed` and not sent.

A profile may say how often a device takes a command (`rate`): what comes earlier waits, and of several the newest goes;
how long one waits for a device that sleeps (`expires`); and that it is never to be repeated (`once`).

Bounds: at most `WAITING_MAX` commands wait for a source to come back, each no longer than its
``expires``, its profile's, or `LIFETIME_S`; later ones are read from the journal when there is room.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from typing import Any, Protocol

from gateway.clock import NS_PER_S, Clock, rfc3339, wall_ns_of
from gateway.codes.service import GATEWAY_FAULT
from gateway.codes.sources import COMMAND_FAILED
from gateway.commands.confirmations import Awaiting, Confirmations, Expected, Step, awaiting_of
from gateway.commands.pace import Pace
from gateway.commands.position import Position
from gateway.errors import DiskRefused, GatewayError, JournalError
from gateway.event import Event, Lane, decode
from gateway.journal.committer import Committer
from gateway.journal.journal import Journal
from gateway.logs.about import about
from gateway.rules.records import WITHDRAWN
from gateway.sources.source import Refusal

log = logging.getLogger(__name__)

WAITING_MAX = 1000  # commands
LIFETIME_S = 60.0  # a command without `expires` is not sent later than this after it was wanted
SENT = ""  # the mark of what was sent and whose cursor is not on the disk yet; before that it is the device
LOOK_S = 0.2  # how often it is looked at what awaited devices say
OBSERVED_KEPT_MAX = 5  # last observed commands of a device, for `devices show`
REQUESTED = "command_requested"
RETRY_S = 0.5  # how often a waiting command looks whether its source is back
READ_MAX = 100  # records a read
READ_BYTES_MAX = 256 * 1024


class Outlet(Protocol):
    """What the commands need of the rest: encoding by profile and a source to send with."""

    def encode(self, device: str, command: str, value: Any) -> tuple[str, bytes]:
        """Return topic and payload; DecodeError says why the device can't do that."""
        ...

    def terms(self, device: str, command: str) -> tuple[float, float, bool]:
        """Return at least how many seconds apart, how many it may wait (0: nothing said), and whether never again."""
        ...

    def send(self, device: str, topic: str, payload: bytes) -> bool:
        """Send through the device's source; False when it is not connected."""
        ...

    def expected(self, device: str, command: str, value: Any) -> Expected | None:
        """Return what the device says when it has done that; None when its profile does not tell."""
        ...

    def reported(self, device: str, field: str) -> Any:
        """Return what a device last said of a field; None when it did not."""
        ...


class Commands:
    """Carries commands from the journal to the devices, in order per device."""

    def __init__(
        self,
        journal: Journal,
        committer: Committer,
        outlet: Outlet,
        record: Callable[[Event], None],
        clock: Clock,
        *,
        gateway: str,
        observe: bool = False,
        observed: Collection[str] = (),
    ) -> None:
        """Wire it up. `observe`: nothing is sent, commands are recorded; `observed`: nothing to these devices."""
        self._journal = journal
        self._committer = committer
        self._outlet = outlet
        self._record = record
        self._clock = clock
        self._gateway = gateway
        self.observe = observe
        self._observed = frozenset(observed)
        self._reader = journal.reader(Lane.COMMAND, given_up=True)  # as stored
        self._position = Position(journal, "commands")
        self._waiting: dict[int, Event] = {}
        self._found: dict[str, str] = dict(journal.table("sending"))  # marks of an earlier life, by id
        self._marked: dict[int, str] = {}  # sequence -> id of what bears a mark and is over
        self._retry_at = 0.0  # loop time before which waiting commands are left alone
        self._look_at = 0.0  # the same for what is awaited
        self._more = asyncio.Event()
        self._pace = Pace()
        self.awaited = Confirmations(
            journal.table("confirming"), lambda key, row: journal.put("confirming", key, row), clock.boot_ns()
        )
        self.sent = 0
        self.failed = 0
        self.confirmed = 0
        self.observed = 0
        committer.before_seal.append(self._put_cursor)

    def wake(self) -> None:
        """Say that something became durable."""
        self._more.set()

    async def run(self) -> None:
        """Send what is wanted, until cancelled."""
        self._more.set()
        while True:
            timeout = LOOK_S if self.awaited else RETRY_S if self._waiting else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):  # not wait_for: before 3.12 it may swallow a cancellation
                    await self._more.wait()
            self._more.clear()
            before = self._position.after, self.sent
            await self._step()
            if self.awaited and asyncio.get_running_loop().time() >= self._look_at:
                self._look_at = asyncio.get_running_loop().time() + LOOK_S
                self._look()
            if (self._position.after, self.sent) != before:
                self._committer.wake()  # for the cursor: after a kill it would be sent again, or said to be too late

    def observe_devices(self, observed: Collection[str]) -> None:
        """Send nothing to these devices from now on, and to all others again."""
        self._observed = frozenset(observed)

    @property
    def waiting(self) -> int:
        """Return how many commands wait for their source."""
        return len(self._waiting)

    async def _step(self) -> None:
        blocked = {event.subject for event in self._waiting.values()}
        now = asyncio.get_running_loop().time()
        if now >= self._retry_at:
            self._retry_at = now + RETRY_S
            blocked.clear()
            for sequence, event in list(self._waiting.items()):
                await self._offer(sequence, event, blocked)
        while len(self._waiting) < WAITING_MAX:
            try:
                stored = self._reader.read(self._position.after, READ_MAX, READ_BYTES_MAX)
            except DiskRefused:  # they are there when the disk is; its first commit wakes us
                break
            for record in stored:
                event = decode(record.raw)
                if self._position.was_over(record.sequence):
                    if event.id in self._found:
                        self._marked[record.sequence] = event.id
                        del self._found[event.id]
                elif event.type == REQUESTED:
                    if event.subject in blocked:
                        self._overtake(event)
                    await self._offer(record.sequence, event, blocked)
                elif event.type == WITHDRAWN:
                    self._supersede(event.subject, str(event.data.get("field")), "nobody wants it any more")
                self._position.after = record.sequence
            if len(stored) < READ_MAX:
                self._report_rest()
                break

    async def _offer(self, sequence: int, event: Event, blocked: set[str]) -> None:
        """Send one command, or keep it waiting behind others of its device."""
        device, done = event.subject, False
        if device not in blocked:
            try:
                done = await self._try(sequence, event)
            except GatewayError as error:
                done = self._over(event, "command_failed", str(error))
            except Exception as error:  # a bug, or a profile that brings one out, costs one command, not all for ever
                said = about(GATEWAY_FAULT, device=device, event_id=event.id)
                log.exception("command %s to %r: a fault of the gateway", event.id, device, extra=said)
                done = self._over(event, "command_failed", f"a fault of the gateway: {type(error).__name__}: {error}")
        if done:
            self._waiting.pop(sequence, None)
        else:
            blocked.add(device)
            self._waiting[sequence] = event

    async def _try(self, sequence: int, event: Event) -> bool:
        """Return whether the command is over: sent, failed, uncertain or only observed."""
        mark = self._found.pop(event.id, None)
        if mark is not None:
            self._marked[sequence] = event.id
            return mark == SENT or self._over(event, "command_uncertain", "cut off while it was sent")
        command, value, now_ns = event.data.get("command", ""), event.data.get("value"), self._clock.boot_ns()
        rate_s, expires_s, never_again = self._outlet.terms(event.subject, command)
        until = _until(event, expires_s or LIFETIME_S)
        if self._is_past(sequence, until):
            return self._over(event, "command_failed", "expired before it could be sent")
        why = self._only_observed(event)
        if why:
            return self._over(event, "command_observed", why)
        if self._pace.too_soon(event.subject, command, rate_s, now_ns):
            return False
        topic, payload = self._outlet.encode(event.subject, command, value)
        once = bool(event.data.get("once")) or never_again
        if once:
            self._journal.put("sending", event.id, event.subject)
            await self._committer.flush()
        sent = self._outlet.send(event.subject, topic, payload)
        if once:
            self._journal.put("sending", event.id, SENT if sent else None)
        if once and sent:
            self._marked[sequence] = event.id
        self.sent += sent
        if sent:
            self._pace.sent(event.subject, command, now_ns)
            self._await(event, until)
        return sent

    def _overtake(self, event: Event) -> None:
        """Let a command that waits for its turn go for a newer one of its device."""
        command = event.data.get("command")
        for sequence, older in list(self._waiting.items()):
            if (older.subject, older.data.get("command")) == (event.subject, command) and self._is_paced(older):
                self._over(older, "command_superseded", "a newer command took its place")
                del self._waiting[sequence]

    def _is_paced(self, event: Event) -> bool:
        try:
            rate_s, _, never_again = self._outlet.terms(event.subject, event.data.get("command", ""))
        except GatewayError:
            return False
        return rate_s > 0 and not never_again and not event.data.get("once")

    def _only_observed(self, event: Event) -> str:
        """Return why a command is only recorded; nothing when it is to be sent."""
        if self.observe:
            return "commands are only observed"
        if event.subject in self._observed:
            return "commands to this device are only observed"
        return f"commands of {event.actor.partition('@')[0]} are only observed" if event.data.get("observe") else ""

    # ---- what becomes of them ------------------------------------------------------------------------

    def _await(self, event: Event, until: str) -> None:
        """Wait for the device to say that it is so, where that is wanted and can be known."""
        command, value, now_ns = event.data.get("command", ""), event.data.get("value"), self._clock.boot_ns()
        expected = self._outlet.expected(event.subject, command, value)
        field = event.data.get("field", command) if expected is None else expected.field
        self._supersede(event.subject, field, "a newer command took its place")
        reported = None if expected is None else self._outlet.reported(event.subject, expected.field)
        awaiting = awaiting_of(event, expected, reported, until)
        if awaiting is not None and not self.awaited.begin(event.id, awaiting, now_ns):
            said = about(COMMAND_FAILED, device=event.subject, event_id=event.id)
            log.warning("command %s to %r is not awaited: too many are", event.id, event.subject, extra=said)
        if expected is None and event.data.get("confirm_s"):
            self._over(event, "command_failed", f"not confirmed: its profile does not say what follows from {command}")

    def _supersede(self, device: str, field: str, why: str) -> None:
        for command_id, older in self.awaited.overtaken(device, field):
            self._ended(command_id, older, "command_superseded", why)

    def refused(self, refusal: Refusal) -> None:
        """Take note that a device would not do what it was sent: its source knows more than that nothing came of it.

        What may be sent again is, unless that is final; else it has failed now. What nobody awaits has failed, too.
        """
        awaited = self.awaited.of(refusal.device, refusal.command)
        mine = [(key, each) for key, each in awaited if refusal.value in (each.value, each.wanted)]
        for command_id, awaiting in mine:
            if refusal.final or not awaiting.left:
                self.failed += 1
                self._ended(command_id, awaiting, "command_failed", refusal.why)
        if not awaited:
            self.failed += 1
            data = {"command": refusal.command, "value": refusal.value}
            self._record(self._about(refusal.device, "", "command_failed", refusal.why, data))

    def _look(self) -> None:
        """See what devices say that are awaited, and tell those again that did not do it."""
        now_ns = self._clock.boot_ns()
        for command_id, awaiting, step in self.awaited.look(self._outlet.reported, now_ns):
            if step is Step.CONFIRMED:
                self.confirmed += 1
                self._ended(command_id, awaiting, "command_confirmed", "")
            elif step is Step.FAILED or self._is_past(awaiting.sequence, awaiting.until):
                self.failed += 1
                self._ended(command_id, awaiting, "command_failed", _unconfirmed(awaiting))
            elif self._again(awaiting):
                self.sent += 1
                self.awaited.repeated(command_id, now_ns)
            else:
                self.awaited.put_off(command_id, now_ns)

    def _again(self, awaiting: Awaiting) -> bool:
        """Send a command once more; False when its device can't be told now."""
        device, command, now_ns = awaiting.device, awaiting.command, self._clock.boot_ns()
        try:
            if self._pace.too_soon(device, command, self._outlet.terms(device, command)[0], now_ns):
                return False
            sent = self._outlet.send(device, *self._outlet.encode(device, command, awaiting.value))
        except GatewayError:
            return False
        if sent:
            self._pace.sent(device, command, now_ns)
        return sent

    def _ended(self, command_id: str, awaiting: Awaiting, outcome: str, reason: str) -> None:
        """Record how an awaited command ended, and behind it, in the same block, that it is awaited no more."""
        data = {"command": awaiting.command, "value": awaiting.value, "field": awaiting.field, "by": awaiting.by}
        event = self._about(awaiting.device, command_id, outcome, reason, data)
        event.data.update(sent=awaiting.sent, reported=self._outlet.reported(awaiting.device, awaiting.field))
        self._record(event)
        self.awaited.give_up(command_id)

    def _is_past(self, sequence: int, until: str) -> bool:
        """Return whether a time is over that a command names: by the boot clock, as long as the machine runs."""
        try:
            return self._journal.timeline.left_ns(sequence, wall_ns_of(until), self._clock) < 0
        except (ValueError, TypeError):
            return False  # a time nobody can read does not stop a command

    def _over(self, event: Event, outcome: str, reason: str) -> bool:
        self.failed += outcome == "command_failed"
        about = self._about(event.subject, event.id, outcome, reason, {**event.data, "by": event.actor})
        self._record(about)
        if outcome == "command_observed":
            self._note_observed(event, about)
        return True

    def _note_observed(self, event: Event, about: Event) -> None:
        """Keep the last commands that a device was not sent."""
        self.observed += 1
        row = self._journal.get("observed", event.subject) or {"count": 0, "last": []}
        last = [*row["last"], {"time": about.time, **about.data}][-OBSERVED_KEPT_MAX:]
        with contextlib.suppress(JournalError):  # its tables are full: the event says it, too
            self._journal.put("observed", event.subject, {"count": row["count"] + 1, "last": last})

    def _report_rest(self) -> None:
        """Report marks whose commands are not in the journal any more: it was damaged."""
        for command_id, device in self._found.items():
            if device != SENT:
                self._record(self._about(device, command_id, "command_uncertain", "cut off while it was sent", {}))
            self._journal.put("sending", command_id, None)
        self._found.clear()

    def _about(self, device: str, cause: str, outcome: str, reason: str, data: dict[str, Any]) -> Event:
        if outcome in ("command_failed", "command_uncertain"):
            said = about(COMMAND_FAILED, device=device, event_id=cause)
            log.warning("%s %s of %s: %s", outcome, data.get("command", cause), device, reason, extra=said)
        return Event(
            source=f"/{self._gateway}/commands",
            type=outcome,
            subject=device,
            time=rfc3339(self._clock.wall_ns()),
            actor="gateway",
            cause=cause or None,
            data={
                **({"reason": reason} if reason else {}),
                **{key: data[key] for key in ("command", "value", "field", "by", "observe") if key in data},
            },
        )

    def _put_cursor(self) -> None:
        """Ride on the next block: everything is over before the oldest waiting command, and between waiting ones."""
        after = self._position.put(self._waiting)
        if after is not None:
            for sequence in [each for each in self._marked if each <= after]:
                self._journal.put("sending", self._marked.pop(sequence), None)


def _until(event: Event, lifetime_s: float) -> str:
    """Return when a command is too late."""
    expires = event.data.get("expires")
    if expires:
        return str(expires)
    try:
        return rfc3339(wall_ns_of(event.time) + int(lifetime_s * NS_PER_S))
    except ValueError:
        return ""


def _unconfirmed(awaiting: Awaiting) -> str:
    times = "" if awaiting.sent == 1 else f", sent {awaiting.sent} times"
    return f"not confirmed within {awaiting.confirm_s:g} s{times}"
