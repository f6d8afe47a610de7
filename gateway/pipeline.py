r"""The one path of an event, top to bottom.

::

    deliveries --decode--> events --journal.append--> open batch --commit (fdatasync)--> durable
        ^                                    \--feed--> rules --outcome--> append, same log     |
        +------------------------ delivery.ack() <---------------------------------------------+

Where is a QoS 1 message acknowledged, and what is on the disk then?  In `Pipeline.durable`, the only
call of `Delivery.ack` in the program: every record appended before or with that message has been
written and fdatasync has returned.  A message that yields no event waits in the same queue for what
came before it, because an equal value may hide an earlier message that is not on the disk yet.

Nothing waits behind a message that can't be taken: whatever decoding or appending raises, it becomes a dead
letter (its traceback goes to the log when it is a bug of ours) and the next message has its turn.

A message with a picture is appended when the picture is on the disk, beside the journal; what comes behind it is
appended meanwhile, and acknowledged in order.

Bounds: at most `UNACKNOWLEDGED_BYTES_MAX` of payload wait for a commit; above it the sources pause
(pings are still answered), below half of it they go on.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import partial
from typing import Any, Protocol

from gateway.clock import Clock, rfc3339
from gateway.codes.disk import NOT_IN_THE_JOURNAL
from gateway.codes.rules import OUTPUTS_LOST
from gateway.codes.service import GATEWAY_FAULT
from gateway.codes.sources import MESSAGE_REJECTED
from gateway.errors import JournalError
from gateway.event import Event
from gateway.gates import Gates
from gateway.journal.committer import Committer
from gateway.journal.journal import Journal
from gateway.last_values import LastValues
from gateway.letters import not_kept, rejected, too_large
from gateway.logs.about import about
from gateway.logs.chain import Chain, followed
from gateway.profiles.context import Decoded
from gateway.profiles.decode import Decoder
from gateway.progress import Mark
from gateway.rules.worker.supervisor import RuleOutcome
from gateway.sources.source import Delivery

log = logging.getLogger(__name__)

UNACKNOWLEDGED_BYTES_MAX = 8 * 1024 * 1024
GROWTH, EVENT_BYTES = 2, 400  # a chunk's events are thought to take payload * GROWTH + messages * EVENT_BYTES
LETTERS_SAID_MAX = 10  # dead letters that the log names between two calls of `release`, a second
RULES_CHARS_MAX = 200  # names of rules in a dead letter


class RuleFeed(Protocol):
    """The rule worker as the path sees it."""

    def feed(self, events: Sequence[Event], raws: Sequence[bytes]) -> None:
        """Take events at append, before they are durable; what rules make of them comes back later."""
        ...


class Blobs(Protocol):
    """What keeps pictures and the like."""

    def keep(self, sha256: str, content: bytes, then: Callable[[bool], None]) -> None:
        """Write a blob beside the event loop; `then(kept)` follows on the loop when it is on the disk, or won't be."""
        ...


class _Unacknowledged:
    """Deliveries that wait for what is on the disk up to a sequence, and for blobs."""

    __slots__ = ("blobs", "deliveries", "sequence", "size")

    def __init__(self, sequence: int, deliveries: Sequence[Delivery], size: int, blobs: int) -> None:
        self.sequence, self.deliveries, self.size, self.blobs = sequence, deliveries, size, blobs


class Pipeline:
    """Decode, append, acknowledge; and append what rules made of it. Lives on the event loop's thread."""

    def __init__(
        self,
        *,
        gateway: str,
        journal: Journal,
        committer: Committer,
        decoders: Mapping[str, Decoder],
        values: MutableMapping[str, dict[str, Any]],
        clock: Clock,
    ) -> None:
        self._gateway = gateway
        self._journal = journal
        self._committer = committer
        self._decoders = decoders
        self._clock = clock
        self.values = LastValues(values, self.keep)
        self._waiting: deque[_Unacknowledged] = deque()
        self._waiting_bytes = 0
        self._appended = 0  # sequence of the last record appended here: what an acknowledgement has to wait for
        self._said: set[str] = set()  # what the log has had: tables that are full, sources with a fault
        self._letters = 0
        self.chain = Chain()
        self.paused = False
        self.rules: RuleFeed | None = None
        self.gates: Gates | None = None
        self.blobs: Blobs | None = None  # None: pictures are only described
        self.on_pressure: Callable[[bool], None] = _ignore
        self.on_unclaimed: Callable[[Delivery, Decoded], None] | None = None  # is told what no profile reads
        self.on_outputs: Callable[[Sequence[Event]], None] = _ignore  # is told what rules put out, in the same batch
        self.received = 0
        self.qos: dict[str, list[int]] = {source: [0, 0, 0] for source in decoders}  # messages by QoS, by source
        self.rejected: Counter[str] = Counter()  # dead-lettered, by source
        self.unclaimed: Counter[str] = Counter()  # no profile reads them, by source
        committer.before_seal.append(self.values.put)

    def inbox(self, deliveries: Sequence[Delivery]) -> None:
        """Take deliveries of one source, in order: decode, append, queue their acknowledgement."""
        decode = self._decoders[deliveries[0].source].decode
        events: list[Event] = []
        raws: list[bytes] = []
        with_blobs: list[tuple[Delivery, Decoded]] = []
        urgent, changed, gates = False, False, self.gates
        append, values = self._append_and_tell if followed() else self._append_message, self.values
        size = sum([len(delivery.payload) for delivery in deliveries])
        self._journal.make_room(size * GROWTH + len(deliveries) * EVENT_BYTES)
        for delivery in deliveries:
            if delivery.known:
                continue  # journalled before; only its acknowledgement was lost
            try:
                decoded = decode(delivery)
            except Exception as error:  # a bug in decoding, or a profile that brings one out: it costs one message
                log.exception("message on %r: a fault of the gateway", delivery.topic, extra=_fault_at(delivery))
                decoded = Decoded(rejected=f"a fault of the gateway: {type(error).__name__}: {error}")
            values.ahead = decoded.changed
            if decoded.blobs and self.blobs is not None:
                with_blobs.append((delivery, decoded))
                values.wait(decoded.changed)
            elif decoded.events:
                if gates is not None and gates.types:
                    gates.hold(decoded.events)
                raws += append(delivery, decoded.events, events)
                for event in decoded.events:
                    if event.lane == "alarm":
                        urgent = True
            elif decoded.rejected is not None:
                self._reject(delivery, decoded)
            if decoded.changed:
                values.ahead = ()
                for device in decoded.changed:
                    values.changed[device] = delivery
                changed = True
        self._count(deliveries)
        unacknowledged = self._acknowledge_when_durable(deliveries, size, len(with_blobs))
        if events or changed:
            self._committer.wake(urgent)
        if events and gates is not None and gates.types:
            gates.took(events, raws)
        if events and self.rules is not None:
            self.rules.feed(events, raws)
        for delivery, decoded in with_blobs:
            self._keep_blobs(unacknowledged, delivery, decoded)

    def _keep_blobs(self, unacknowledged: _Unacknowledged, delivery: Delivery, decoded: Decoded) -> None:
        """Append the events of a message when what they refer to is on the disk; or say in them that it is not."""
        assert self.blobs is not None
        left, delivery.late = len(decoded.blobs), True
        lost: list[str] = []

        def then(sha256: str, kept: bool) -> None:
            nonlocal left
            left -= 1
            lost.extend([] if kept else [sha256])
            if left == 0:
                unacknowledged.blobs -= 1
                self._append_late(delivery, [not_kept(event, lost) for event in decoded.events])
                self.values.appended(decoded.changed)
                delivery.late = False
                if delivery.appended is not None:
                    delivery.appended()
                unacknowledged.sequence = self._appended
                self.durable()

        for sha256, content in decoded.blobs:
            self.blobs.keep(sha256, content, partial(then, sha256))

    def _append_late(self, delivery: Delivery, new: list[Event]) -> None:
        """Append the events of a message whose blobs were waited for."""
        events: list[Event] = []
        if self.gates is not None:
            self.gates.hold(new)
        raws = self._append_message(delivery, new, events)
        if self.gates is not None:
            self.gates.took(events, raws)
        if events and self.rules is not None:
            self.rules.feed(events, raws)
        self._committer.wake(any(event.lane == "alarm" for event in events))

    def _count(self, deliveries: Sequence[Delivery]) -> None:
        """Count messages by QoS; what only releases an identifier of QoS 2 is none and has no topic."""
        self.received += len(deliveries)
        counted, levels = self.qos[deliveries[0].source], [delivery.qos for delivery in deliveries]
        counted[0] += levels.count(0)
        counted[1] += levels.count(1)
        if 2 in levels:
            counted[2] += sum([delivery.qos == 2 and delivery.topic != "" for delivery in deliveries])

    def durable(self, _batch: int = 0) -> None:
        """Acknowledge, in order of receipt, all deliveries that wait for nothing but what is on the disk."""
        waiting, durable = self._waiting, self._journal.durable_sequence
        if self.chain.waiting:
            self.chain.durable(durable)
        while waiting and waiting[0].sequence <= durable and not waiting[0].blobs:
            over = waiting.popleft()
            self._waiting_bytes -= over.size
            for delivery in over.deliveries:
                delivery.ack()
        if self.paused and self._waiting_bytes < UNACKNOWLEDGED_BYTES_MAX // 2:
            self.paused = False
            self.on_pressure(False)

    def marks(self) -> dict[str, Mark]:
        """Return whether what is on the disk is acknowledged, and whether sources that may go on were told so."""
        head, freed = next(iter(self._waiting), None), self._waiting_bytes < UNACKNOWLEDGED_BYTES_MAX // 2
        due = head is not None and not head.blobs and head.sequence <= self._journal.durable_sequence
        acknowledge = Mark(due, head.sequence if head else 0, "messages are on the disk and not acknowledged")
        return {"inbox": Mark(self.paused and freed, self.received, "sources pause"), "acknowledge": acknowledge}

    def _acknowledge_when_durable(self, deliveries: Sequence[Delivery], size: int, blobs: int) -> _Unacknowledged:
        unacknowledged = _Unacknowledged(self._appended, deliveries, size, blobs)
        self._waiting.append(unacknowledged)
        self._waiting_bytes += size
        if not blobs and self._appended <= self._journal.durable_sequence:
            self.durable()  # nothing new in it, and what came before is safe
        elif not self.paused and self._waiting_bytes > UNACKNOWLEDGED_BYTES_MAX:
            self.paused = True
            self.on_pressure(True)
        return unacknowledged

    def _append_message(self, delivery: Delivery, new: list[Event], events: list[Event]) -> list[bytes]:
        """Append the events of one message to one batch: after a crash there are all of them or none."""
        try:
            raws = self._journal.append_all(new)
        except JournalError as error:  # too large for a record: nothing may wait behind it
            self.dead_letter(delivery, str(error))
            return []
        except Exception as error:  # an event nobody can encode is a bug, too, and costs one message, too
            log.exception("events of %r: a fault of the gateway", delivery.topic, extra=_fault_at(delivery))
            self.dead_letter(delivery, f"a fault of the gateway: {type(error).__name__}: {error}")
            return []
        self._appended = self._journal.last_sequence
        events += new
        return raws

    def _append_and_tell(self, delivery: Delivery, new: list[Event], events: list[Event]) -> list[bytes]:
        """Append the events of a message, and say in the log what became of it."""
        raws = self._append_message(delivery, new, events)
        self.chain.received(delivery.source, delivery.topic, new if raws else ())
        return raws

    def _reject(self, delivery: Delivery, decoded: Decoded) -> None:
        """Dead-letter what can't be decoded; what no profile reads is counted, not kept."""
        if decoded.unclaimed:
            self.unclaimed[delivery.source] += 1
            if self.on_unclaimed is not None:
                self.on_unclaimed(delivery, decoded)
        else:
            self.dead_letter(delivery, decoded.rejected or "")

    def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """Keep a message that can't be decoded, with its bytes and the reason."""
        self.rejected[delivery.source] += 1
        letter = rejected(self._gateway, delivery, reason)
        self._journal.append(letter)
        self._letters += 1
        if self._letters <= LETTERS_SAID_MAX:
            said = about(MESSAGE_REJECTED, source=delivery.source, event_id=letter.id)
            log.warning("message on %r is a dead letter: %s", delivery.topic, reason, extra=said)
        self._appended = self._journal.last_sequence
        self._committer.wake()

    def release(self) -> None:
        """Report values that a minimum interval held back and whose time has come; so events that a gate holds."""
        if (more := self._letters - LETTERS_SAID_MAX) > 0:
            log.warning("%d more messages are dead letters", more, extra=about(MESSAGE_REJECTED))
        self._letters = 0
        if self.gates is not None:
            self._let_go(self.gates, self.gates.overdue)
        self._journal.make_room(0)
        for source, decoder in self._decoders.items():
            try:
                decoded = decoder.release(self._clock.wall_ns(), self._clock.boot_ns())
                self.values.ahead = decoded.changed
                for event in decoded.events:
                    self.record(event)
            except Exception:  # as in `inbox`: a bug costs these values, and is said once, not every second
                if source not in self._said:
                    log.exception("values held back: a fault of the gateway", extra=about(GATEWAY_FAULT, source=source))
                self._said.add(source)
                continue
            finally:
                self.values.ahead = ()
            if decoded.changed:
                for device in decoded.changed:
                    self.values.changed.setdefault(device)
                self._committer.wake()

    def on_rule_outcome(self, outcome: RuleOutcome) -> None:
        """Append a rule batch: outputs, state and cursor become durable together or not at all."""
        journal, outputs = self._journal, outcome.outputs
        if self.gates is not None:
            self._let_go(self.gates, partial(self.gates.judge, outcome.upto, outcome.gated))
        try:
            raws = journal.append_all(outputs) if outputs else []
        except JournalError as error:  # no batch holds them: the next worker would make them again, for ever
            outputs = [self._outputs_lost(outcome, str(error))]
            raws = journal.append_all(outputs)
        for table, key, value in outcome.puts:
            self.keep(table, key, value)
        self._committer.wake(any(event.lane in ("alarm", "command") for event in outputs))
        if outputs and followed():
            self.chain.made(outputs)
        if outputs and self.rules is not None:
            self.rules.feed(outputs, raws)
        self.on_outputs(outputs)

    def _let_go(self, gates: Gates, decide: Callable[[], Sequence[Event]]) -> None:
        """Append copies of held events that leave, in one batch with how far they are; rules have seen them."""
        gates.more = True
        while gates.more:
            released = decide()
            try:
                if released:
                    self._journal.append_all(released)
            except JournalError:  # a copy is larger than its event, by an id and a name
                for event in released:
                    try:
                        self._journal.append(event)
                    except JournalError as error:
                        self._journal.append(too_large(event, str(error)))
            gates.note()
            if released:
                self._committer.wake(any(event.lane == "alarm" for event in released))

    def record(self, event: Event) -> None:
        """Append an event of the gateway's own making (timers, command results, what a person did)."""
        raw = self._journal.append(event)
        self._committer.wake(urgent=event.lane in ("alarm", "command"))
        if self.rules is not None:
            self.rules.feed([event], [raw])

    def record_all(self, events: Sequence[Event]) -> None:
        """Append events that belong together, with what is put right behind them. JournalError: none is kept."""
        raws = self._journal.append_all(events)
        self._committer.wake(any(event.lane in ("alarm", "command") for event in events))
        if self.rules is not None:
            self.rules.feed(events, raws)

    def keep(self, table: str, key: str, value: Any) -> None:
        """Put a row; where the tables are full (made-up devices?) it stays in memory only, and events go on."""
        try:
            self._journal.put(table, key, value)
        except JournalError as error:
            if table not in self._said:
                self._said.add(table)
                log.error(
                    "%s: new rows are forgotten at the next start, as %r", error, key, extra=about(NOT_IN_THE_JOURNAL)
                )

    def _outputs_lost(self, outcome: RuleOutcome, reason: str) -> Event:
        rules = sorted({event.actor.removeprefix("rule:") for event in outcome.outputs})
        said = about(OUTPUTS_LOST, rule=rules[0] if len(rules) == 1 else "")
        log.error("%d outputs of rules %s are lost: %s", len(outcome.outputs), ", ".join(rules), reason, extra=said)
        return Event(
            source=f"/{self._gateway}/rules",
            type="rule_failed",
            time=rfc3339(self._clock.wall_ns()),
            lane="dead_letter",
            actor="gateway",
            data={"reason": reason, "rule": ", ".join(rules)[:RULES_CHARS_MAX]},
        )


def _fault_at(delivery: Delivery) -> Mapping[str, Any]:
    """Say in the log that a message brought a fault of the gateway out."""
    return about(GATEWAY_FAULT, source=delivery.source)


def _ignore(_news: object) -> None:
    """Do nothing: nobody to tell yet."""
