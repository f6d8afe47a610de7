"""Commands on their way to devices: read from the journal when durable, encoded by the profile, sent.

A command is a record of the lane COMMAND: ``command_requested`` about a device, with ``command``,
``value`` and, when it must not be late, ``expires`` (RFC 3339).  Nothing is sent before the record is
on the disk.  What can be repeated (set to a value) is sent at least once: the cursor moves after the
send, so a kill may send it twice.  What can't (``once``: toggle, step, ring) is marked in the table
"sending" before it leaves, as `SENT` behind it, and the mark goes with the cursor that has passed it.  A mark
found at start that is not `SENT` means nobody knows: `command_uncertain` says so; neither is sent again.

Bounds: at most `WAITING_MAX` commands wait for a source to come back, each no longer than its
``expires`` or `LIFETIME_S`; later ones are read from the journal when there is room.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Protocol

from gateway.clock import NS_PER_S, Clock, rfc3339, wall_ns_of
from gateway.errors import DiskRefused, GatewayError
from gateway.event import Event, Lane, decode
from gateway.journal.committer import Committer
from gateway.journal.journal import Journal

log = logging.getLogger(__name__)

WAITING_MAX = 1000  # commands
LIFETIME_S = 60.0  # a command without `expires` is not sent later than this after it was wanted
SENT = ""  # the mark of what was sent and whose cursor is not on the disk yet; before that it is the device
RETRY_S = 0.5  # how often a waiting command looks whether its source is back
READ_MAX = 100  # records a read
READ_BYTES_MAX = 256 * 1024


class Outlet(Protocol):
    """What the commands need of the rest: encoding by profile and a source to send with."""

    def encode(self, device: str, command: str, value: Any) -> tuple[str, bytes]:
        """Return topic and payload; DecodeError says why the device can't do that."""
        ...

    def send(self, device: str, topic: str, payload: bytes) -> bool:
        """Send through the device's source; False when it is not connected."""
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
    ) -> None:
        self._journal = journal
        self._committer = committer
        self._outlet = outlet
        self._record = record
        self._clock = clock
        self._gateway = gateway
        self._observe = observe
        self._reader = journal.reader(Lane.COMMAND)
        saved = journal.get("cursors", "commands")
        self._after: int = saved["after"] if saved else 0
        self._saved = self._after
        self._waiting: dict[int, Event] = {}
        self._found: dict[str, str] = dict(journal.table("sending"))  # marks of an earlier life, by id
        self._marked: dict[int, str] = {}  # sequence -> id of what bears a mark and is over
        self._retry_at = 0.0  # loop time before which waiting commands are left alone
        self._more = asyncio.Event()
        self.sent = 0
        self.failed = 0
        committer.before_seal.append(self._put_cursor)

    def wake(self) -> None:
        """Say that something became durable."""
        self._more.set()

    async def run(self) -> None:
        """Send what is wanted, until cancelled."""
        self._more.set()
        while True:
            timeout = RETRY_S if self._waiting else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):  # not wait_for: before 3.12 it may swallow a cancellation
                    await self._more.wait()
            self._more.clear()
            await self._step()

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
                stored = self._reader.read(self._after, READ_MAX, READ_BYTES_MAX)
            except DiskRefused:  # they are there when the disk is; its first commit wakes us
                break
            for record in stored:
                await self._offer(record.sequence, decode(record.raw), blocked)
                self._after = record.sequence
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
            except (
                Exception
            ) as error:  # a bug, or a profile that brings one out: it costs one command, not all for ever
                log.exception("command %s to %r: a fault of the gateway", event.id, device)
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
        if self._expired(event):
            return self._over(event, "command_failed", "expired before it could be sent")
        if self._observe:
            return self._over(event, "command_observed", "commands are only observed")
        command, value = event.data.get("command", ""), event.data.get("value")
        topic, payload = self._outlet.encode(event.subject, command, value)
        once = bool(event.data.get("once"))
        if once:
            self._journal.put("sending", event.id, event.subject)
            await self._committer.flush()
        sent = self._outlet.send(event.subject, topic, payload)
        if once:
            self._journal.put("sending", event.id, SENT if sent else None)
        if once and sent:
            self._marked[sequence] = event.id
        self.sent += sent
        return sent

    def _expired(self, event: Event) -> bool:
        expires = event.data.get("expires")
        try:
            limit = wall_ns_of(expires) if expires else wall_ns_of(event.time) + int(LIFETIME_S * NS_PER_S)
        except (ValueError, TypeError):
            return False  # a time nobody can read does not stop a command
        return self._clock.wall_ns() > limit

    def _over(self, event: Event, outcome: str, reason: str) -> bool:
        self.failed += outcome == "command_failed"
        self._record(self._about(event.subject, event.id, outcome, reason, event.data))
        return True

    def _report_rest(self) -> None:
        """Report marks whose commands are not in the journal any more: it was damaged."""
        for command_id, device in self._found.items():
            if device != SENT:
                self._record(self._about(device, command_id, "command_uncertain", "cut off while it was sent", {}))
            self._journal.put("sending", command_id, None)
        self._found.clear()

    def _about(self, device: str, cause: str, outcome: str, reason: str, data: dict[str, Any]) -> Event:
        return Event(
            source=f"/{self._gateway}/commands",
            type=outcome,
            subject=device,
            time=rfc3339(self._clock.wall_ns()),
            actor="gateway",
            cause=cause,
            data={"reason": reason, **{key: data[key] for key in ("command", "value") if key in data}},
        )

    def _put_cursor(self) -> None:
        """Ride on the next block: everything before the oldest waiting command is over."""
        after = min(self._waiting, default=self._after + 1) - 1
        if after != self._saved:
            self._saved = after
            self._journal.put("cursors", "commands", {"after": after, "done": []})
            for sequence in [each for each in self._marked if each <= after]:
                self._journal.put("sending", self._marked.pop(sequence), None)
