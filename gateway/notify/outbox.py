"""The outbox: notifications on their way to people, on the disk before they leave. Decides, sends nothing.

A rule's wish is the record `notification_requested`; its rows here, one for each recipient, are put in the same batch.
A row goes with the batch that says what became of it.  Rows of the table "outbox" are `Notice`s by
``<recipient>|<key, or id of the request>``: a newer one with the same key takes the older one's place.  Rows of the
table "notified" (by recipient) are ``{sent: [[wall_ns, rule, urgent]], dropped}``: what went out within the hour. In
memory those times are of the boot clock: setting the wall clock neither gives anybody more nor keeps it back.

Quiet hours need the wall clock. One that nobody disciplines is gone by, and the reason says so; one that is behind what
is known to be over is not: then nothing is held back.

Bounds: `WAITING_MAX` wait in all, `WAITING_PER_RECIPIENT_MAX` for one recipient, `WAITING_PER_RULE_MAX` of one rule
for one recipient; beyond, the oldest of that rule gives way.  In an hour a recipient gets `per_hour_max`, of one rule
at most half of them, and of what is urgent once more as many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from gateway.clock import NS_PER_S, Clock, rfc3339, state_of, wall_ns_of
from gateway.event import Event
from gateway.notify.options import Directory, RecipientOptions
from gateway.rules.engine.notices import KEY_CHARS_MAX, TEXT_CHARS_MAX, TITLE_CHARS_MAX, TTL_S_MAX
from gateway.rules.language.calendar import Place
from gateway.rules.worker.schedule import Schedule

OUTBOX, NOTIFIED = "outbox", "notified"  # tables
WAITING_MAX = 500
WAITING_PER_RECIPIENT_MAX = 50
WAITING_PER_RULE_MAX = 20
CUTS_MAX = 2  # times that a message is sent whose sending was cut off: it may have arrived
EXPIRED_PER_TURN_MAX = 100
HOUR_NS = 3600 * NS_PER_S
TTL_S = 86_400.0

Put = Callable[[str, str, Any], None]
"""Puts a row of a durable table into the open batch."""


class Notice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message to one recipient."""

    id: str  # of the request and the recipient: what a webhook's idempotency key is
    request: str  # id of the event that asked for it
    to: str
    text: str
    title: str = ""
    key: str = ""
    rule: str = ""  # whose; nothing for a person's
    subject: str = ""  # the device it is about
    alert: str = ""  # id of the alert it is about
    urgent: bool = False
    hops: int = 0  # rules between this and what it began with
    order: int = 0
    asked: int = 0  # when it was asked for, wall clock, ns
    cuts: int = 0  # times that its sending began and nobody knows how it ended
    attempts: int = 0  # that failed
    replaced: int = 0  # older ones that it took the place of
    error: str = ""  # of the last attempt
    due: int = 0  # when it is not worth sending any more; this and the next three are `Schedule`'s
    after: int = 0
    boot: str = ""
    boot_due: int = 0
    synced: bool = True

    @property
    def at(self) -> str:
        """Where its row is."""
        return f"{self.to}|{self.key or self.request}"


class Wait(msgspec.Struct, frozen=True):
    """Why a notice is not sent now."""

    ns: int = 0  # 0: it is
    why: str = ""
    limited: bool = False  # by what was sent within the hour


class Turn(msgspec.Struct, frozen=True):
    """What a recipient's turn is: a notice to send now, or how long to wait for one."""

    notice: Notice | None = None
    wait_s: float | None = None  # None: until something changes


class Outbox:
    """What waits for whom. Belongs to the event loop's thread; every change goes into the open batch."""

    def __init__(
        self,
        directory: Directory,
        table: Callable[[str], Mapping[str, Any]],
        put: Put,
        clock: Clock,
        place: Place,
    ) -> None:
        self._directory = directory
        self._put = put
        self._clock = clock
        self._place = place
        self._hours = {name: options.hours for name, options in directory.recipients.items()}
        self._schedule = Schedule(clock)
        self._waiting: dict[str, dict[str, Notice]] = {}
        self.sending: dict[str, Notice] = {}  # under way now, by recipient
        self._order = 0
        for at, row in table(OUTBOX).items():
            notice = msgspec.convert(row, Notice)
            self._waiting.setdefault(notice.to, {})[at] = notice
            self._schedule.add(at, row)
            self._order = max(self._order, notice.order)
        self._sent: dict[str, list[tuple[int, str, bool]]] = {}
        self.dropped: dict[str, int] = {}  # by recipient, since ever
        behind = clock.wall_ns() - clock.boot_ns()
        for name, row in table(NOTIFIED).items():  # what is from the future was not: the clock is wrong now, or was
            self._sent[name] = [(min(at - behind, clock.boot_ns()), rule, urgent) for at, rule, urgent in row["sent"]]
            self.dropped[name] = row["dropped"]

    # ---- in -----------------------------------------------------------------------------------------

    def notices_of(self, request: Event) -> list[Notice] | None:
        """Return what a request means, one for each recipient; None when nobody has that name."""
        data = request.data
        members = self._directory.members(str(data.get("to", "")))
        if members is None:
            return None
        ttl_s = data.get("ttl_s")
        ttl_s = float(ttl_s) if isinstance(ttl_s, (int, float)) and 0 < ttl_s <= TTL_S_MAX else TTL_S
        try:
            asked = wall_ns_of(request.time)
        except ValueError:
            asked = self._clock.wall_ns()
        rule = request.actor.partition("@")[0].removeprefix("rule:") if request.actor.startswith("rule:") else ""
        return [
            Notice(
                id=f"{request.id}/{name}",
                request=request.id,
                to=name,
                text=str(data.get("text", ""))[:TEXT_CHARS_MAX],
                title=str(data.get("title", ""))[:TITLE_CHARS_MAX],
                key=str(data.get("key", ""))[:KEY_CHARS_MAX],
                rule=rule,
                subject=request.subject,
                alert=str(data.get("alert", "")),
                urgent=data.get("urgent") is True,
                hops=request.hops,
                asked=asked,
                after=round(ttl_s * NS_PER_S),
            )
            for name in members
        ]

    def add(self, notice: Notice) -> list[Notice]:
        """Keep a notice until it is sent. Returns those that had to give way, none of them the newest."""
        self._order += 1
        now = self._clock.wall_ns()
        mine = self._waiting.setdefault(notice.to, {})
        older = mine.get(notice.at)
        replaced = older.replaced + 1 if older is not None else 0
        anchored = self._schedule.anchored({"due": now + notice.after})
        notice = msgspec.structs.replace(notice, order=self._order, replaced=replaced, **anchored)
        self._keep(notice)
        gone = list(self._surplus(notice))
        for each in gone:
            self.remove(each)
            self.dropped[each.to] = self.dropped.get(each.to, 0) + 1
            self._put_sent(each.to)
        return gone

    def _surplus(self, notice: Notice) -> Iterator[Notice]:
        """Yield what is too much, the oldest of the rule, of the recipient or of all; what is urgent goes last.

        What is under way (or was, when the gateway was cut off) stays: it may have arrived.
        """
        here = [each for rows in self._waiting.values() for each in rows.values()]
        stay = {notice.order, *(each.order for each in self.sending.values())}
        everybody = [each for each in here if each.order not in stay and not each.cuts]
        mine = [each for each in everybody if each.to == notice.to]
        ours = [each for each in mine if each.rule == notice.rule]
        for crowd, limit in (
            (ours, WAITING_PER_RULE_MAX),
            (mine, WAITING_PER_RECIPIENT_MAX),
            (everybody, WAITING_MAX),
        ):
            if len(crowd) >= limit:
                yield min(crowd, key=lambda each: (each.urgent, each.order))
                return

    # ---- out ----------------------------------------------------------------------------------------

    def turn(self, name: str) -> Turn:
        """Return what to do for a recipient now."""
        rows = self._waiting.get(name)
        if not rows:
            return Turn()
        options, now = self._directory.recipients[name], self._clock.wall_ns()
        self._forget_sent(name, self._clock.boot_ns())
        waits: list[int] = []
        for notice in sorted(rows.values(), key=lambda each: (not each.urgent, each.order)):
            wait = self._wait(notice, options, now)
            if not wait.ns:
                return Turn(notice)
            waits.append(wait.ns)
        return Turn(None, min(waits) / NS_PER_S)

    def wait(self, notice: Notice) -> Wait:
        """Say why a notice waits, as far as time is the reason."""
        options = self._directory.recipients.get(notice.to)
        return Wait() if options is None else self._wait(notice, options, self._clock.wall_ns())

    def _wait(self, notice: Notice, options: RecipientOptions, now: int) -> Wait:
        hours, state = self._hours[notice.to], state_of(self._clock)
        if hours is not None and not notice.urgent and state != "behind":
            stretch = hours.at(now, self._place)
            if stretch.open:
                doubt = "" if state == "synced" else ", by a clock that nobody has set"
                why = f"quiet hours until {self._place.local(stretch.until):%H:%M}{doubt}"
                return Wait(max(1, stretch.until - now), why)
        now = self._clock.boot_ns()
        crowd, limit = self._sent.get(notice.to, []), options.per_hour_max
        if notice.urgent:
            limit *= 2
        else:
            crowd = [each for each in crowd if not each[2]]
        if len(crowd) >= limit:
            wait_ns = crowd[-limit][0] + HOUR_NS - now
            return Wait(max(1, wait_ns), f"{notice.to} has had {limit} within the hour", limited=True)
        share = -(-limit // 2)
        ours = [each for each in crowd if each[1] == notice.rule] if notice.rule else []
        if len(ours) >= share:
            wait_ns = ours[-share][0] + HOUR_NS - now
            return Wait(max(1, wait_ns), f"{notice.to} has had {share} of rule {notice.rule} within the hour", True)
        return Wait()

    def begin(self, notice: Notice) -> None:
        """Take note that it is leaving: who finds this after a kill knows that it may have arrived."""
        if self.current(notice):
            self._keep(msgspec.structs.replace(notice, cuts=notice.cuts + 1))

    def put_back(self, notice: Notice) -> None:
        """Take note that it has not left after all."""
        if self.current(notice):
            self._keep(notice)

    def failed(self, notice: Notice, error: str) -> None:
        """Take note that it was not sent and is to be tried again."""
        if self.current(notice):
            tried = {"cuts": 0, "attempts": notice.attempts + 1, "error": error}
            self._keep(msgspec.structs.replace(notice, **tried))

    def done(self, notice: Notice) -> None:
        """Take note that it was sent, or refused for good: both count within the hour."""
        self._sent.setdefault(notice.to, []).append((self._clock.boot_ns(), notice.rule, notice.urgent))
        self._put_sent(notice.to)
        self.remove(notice)

    def remove(self, notice: Notice) -> None:
        """Forget a notice, unless a newer one has its place."""
        if self.current(notice):
            del self._waiting[notice.to][notice.at]
            self._schedule.remove(notice.at)
            self._put(OUTBOX, notice.at, None)

    def current(self, notice: Notice) -> bool:
        """Return whether a notice still waits, and no newer one in its place."""
        found = self._waiting.get(notice.to, {}).get(notice.at)
        return found is not None and found.order == notice.order

    def expired(self) -> list[Notice]:
        """Return what is not worth sending any more; each once."""
        rows = {at: notice for waiting in self._waiting.values() for at, notice in waiting.items()}
        return [rows[due.key] for due in self._schedule.due(EXPIRED_PER_TURN_MAX) if due.key in rows]

    def next_expiry_s(self) -> float:
        """Return seconds until something expires; infinity when nothing waits."""
        return self._schedule.wait_s()

    # ---- what there is ------------------------------------------------------------------------------

    @property
    def waiting(self) -> Sequence[Notice]:
        """Everything that waits, in the order it was asked for."""
        rows = [notice for waiting in self._waiting.values() for notice in waiting.values()]
        return sorted(rows, key=lambda notice: notice.order)

    def for_nobody(self) -> list[Notice]:
        """Return what waits for recipients that the config does not have any more."""
        return [notice for notice in self.waiting if notice.to not in self._directory.recipients]

    def _keep(self, notice: Notice) -> None:
        row = msgspec.to_builtins(notice)
        self._waiting[notice.to][notice.at] = notice
        self._schedule.add(notice.at, row)
        self._put(OUTBOX, notice.at, row)

    def _forget_sent(self, name: str, now: int) -> None:
        """Forget what is older than an hour."""
        sent = self._sent.get(name)
        if sent:
            self._sent[name] = [each for each in sent if now - HOUR_NS < each[0]]

    def _put_sent(self, name: str) -> None:
        ahead = self._clock.wall_ns() - self._clock.boot_ns()
        sent = [[at + ahead, rule, urgent] for at, rule, urgent in self._sent.get(name, ())]
        row = {"sent": sent, "dropped": self.dropped.get(name, 0)}
        self._put(NOTIFIED, name, row)


def written(notice: Notice) -> dict[str, Any]:
    """Return a notice as people see it."""
    names = ("id", "to", "text", "title", "key", "rule", "urgent", "attempts", "replaced", "error")
    shown = {name: getattr(notice, name) for name in names}
    return {**shown, "asked": rfc3339(notice.asked), "expires": rfc3339(notice.due)}
