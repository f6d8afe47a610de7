"""When a repeated message is surely in the journal, and when it must be kept; also over kills."""

from __future__ import annotations

import random
from collections import deque

import pytest

from gateway.sources.seen import CHUNK_ENTRIES_MAX, SETTLED_S, Seen


class Time:
    """A clock the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def made(window: int = 10) -> tuple[Seen, Time]:
    """Make a memory in its first connection."""
    time = Time()
    seen = Seen(window, time)
    seen.connected(session_present=False)
    return seen, time


def committed(seen: Seen, rows: dict[str, bytes]) -> None:
    """Do what a commit does."""
    for key, value in seen.changes():
        if value is None:
            rows.pop(key, None)
        else:
            rows[key] = value


def reconnect(seen: Seen, *, present: bool = True) -> None:
    """Lose the connection and get the next."""
    seen.disconnected()
    seen.connected(session_present=present)


def test_a_repeat_of_a_living_session_is_known() -> None:
    """The same identifier, topic and payload with DUP, after a reconnect: known."""
    seen, _ = made()
    assert not seen.known(1, False, "t", b"on")
    reconnect(seen)
    assert seen.known(1, True, "t", b"on")
    assert seen.dropped == 1


@pytest.mark.parametrize(
    ("packet_id", "dup", "topic", "payload"),
    [(1, False, "t", b"on"), (2, True, "t", b"on"), (1, True, "u", b"on"), (1, True, "t", b"off")],
)
def test_in_doubt_a_message_is_kept(packet_id: int, dup: bool, topic: str, payload: bytes) -> None:
    """Without DUP, with another identifier, topic or payload it is another message."""
    seen, _ = made()
    seen.known(1, False, "t", b"on")
    reconnect(seen)
    assert not seen.known(packet_id, dup, topic, payload)


def test_a_clean_session_forgets() -> None:
    """Without session present nothing is a repeat, in memory and on the disk."""
    seen, _ = made()
    rows: dict[str, bytes] = {}
    seen.known(1, False, "t", b"on")
    seen.known_exactly(2, "t", b"on")
    committed(seen, rows)
    assert len(rows) == 2
    reconnect(seen, present=False)
    assert not seen.known(1, True, "t", b"on")
    assert not seen.known_exactly(2, "t", b"on")
    seen, _ = made()
    seen.load(rows)
    seen.connected(session_present=False)
    committed(seen, rows)
    assert rows == {}


def test_a_new_message_takes_over_its_identifier() -> None:
    """After a PUBLISH of the identifier without DUP the old entry is gone."""
    seen, _ = made()
    seen.known(1, False, "t", b"on")
    seen.known(1, False, "t", b"off")
    reconnect(seen)
    assert not seen.known(1, True, "t", b"on")


def test_an_entry_dies_after_a_window_of_new_messages() -> None:
    """More new messages than the receive maximum since its PUBACK: the broker has had it."""
    for later, alive in ((10, True), (11, False)):
        seen, _ = made(window=10)
        seen.known(1, False, "t", b"on")
        seen.changes()
        seen.acknowledge()
        seen.changes()
        for n in range(later):
            seen.known(100 + n, False, "t", b"x")
        seen.changes()
        reconnect(seen)
        assert seen.known(1, True, "t", b"on") == alive


def test_an_entry_dies_some_time_after_its_puback() -> None:
    """Ten seconds after PUBACK on a living connection the broker has had it; a lost connection stops that."""
    for lost, alive in ((False, False), (True, True)):
        seen, time = made()
        rows: dict[str, bytes] = {}
        seen.known(1, False, "t", b"on")
        committed(seen, rows)
        seen.acknowledge()
        committed(seen, rows)
        if lost:
            reconnect(seen)
        time.now += SETTLED_S
        committed(seen, rows)
        assert bool(rows) == alive
        assert seen.known(1, True, "t", b"on") == alive


def test_rare_messages_die_in_time_as_well() -> None:
    """The ten seconds count from PUBACK, not from the next commit, which may be an hour later or never come."""
    for early in (True, False):
        seen, time = made()
        seen.known(1, False, "t", b"on")
        if early:  # the commit comes before PUBACK: the usual case
            seen.changes()
        seen.acknowledge()
        time.now += SETTLED_S
        reconnect(seen)
        assert not seen.known(1, True, "t", b"on")


def test_an_entry_does_not_die_before_its_puback() -> None:
    """Unacknowledged messages are kept in mind however many come after them and however long it takes."""
    seen, time = made(window=10)
    for n in range(200):
        seen.known(n, False, "t", b"%d" % n)
        time.now += 1
        seen.changes()
    reconnect(seen)
    assert all(seen.known(n, True, "t", b"%d" % n) for n in range(200))


def test_known_again_after_a_kill() -> None:
    """What was committed is known to the next process; what was not, is new to it."""
    seen, _ = made()
    rows: dict[str, bytes] = {}
    seen.known(1, False, "t", b"a")
    seen.known(2, False, "t", b"b")
    committed(seen, rows)
    seen.known(3, False, "t", b"c")
    again = Seen(10, Time())
    again.load(rows)
    again.connected(session_present=True)
    assert [again.known(n, True, "t", p) for n, p in ((1, b"a"), (2, b"b"), (3, b"c"))] == [True, True, False]
    committed(again, rows)
    assert len(rows) == 1  # the repeats replaced the old chunk


def test_a_repeat_stays_known_until_it_is_answered() -> None:
    """A repeat that was dropped and cut off again is dropped the second time, too."""
    seen, _ = made()
    seen.known(1, False, "t", b"on")
    seen.changes()
    for _ in range(5):
        reconnect(seen)
        assert seen.known(1, True, "t", b"on")
        seen.changes()


def test_a_row_a_commit_ten_bytes_a_message() -> None:
    """A commit writes one row of ten bytes a message, and dead rows are deleted: the table stays small."""
    seen, time = made(window=1000)
    rows: dict[str, bytes] = {}
    for n in range(500):
        for i in range(20):
            seen.known(1 + (n * 20 + i) % 65_535, False, "t", b"%d" % n)
        changes = seen.changes()
        assert [len(value) for _, value in changes if value is not None] == [200]
        for key, value in changes:
            if value is None:
                del rows[key]
            else:
                rows[key] = value
        for _ in range(20):
            seen.acknowledge()
        time.now += 0.01
        assert sum(map(len, rows.values())) <= 10 * (1000 + 3 * 20)
    time.now += SETTLED_S
    seen.changes()
    assert len(seen._where) == 0


def test_chunks_are_bounded() -> None:
    """Without commits the memory still goes by chunks of limited size."""
    seen, _ = made()
    for n in range(3 * CHUNK_ENTRIES_MAX):
        seen.known(n % 65_536, False, "t", b"")
    assert max(len(value or b"") for _, value in seen.changes()) == 10 * CHUNK_ENTRIES_MAX


def test_qos2_lives_until_release() -> None:
    """A QoS 2 identifier is known until PUBREL, over kills, and new after it."""
    seen, _ = made()
    rows: dict[str, bytes] = {}
    assert not seen.known_exactly(5, "t", b"x")
    committed(seen, rows)
    again = Seen(10, Time())
    again.load(rows)
    again.connected(session_present=True)
    assert again.known_exactly(5, "t", b"x")
    again.released(5)
    committed(again, rows)
    assert rows == {}
    assert not again.known_exactly(5, "t", b"x")


def test_qos2_in_doubt_is_kept_and_counted() -> None:
    """Another message under an identifier that was not released is kept, and somebody is told."""
    seen, _ = made()
    seen.known_exactly(5, "t", b"x")
    assert not seen.known_exactly(5, "t", b"y")
    assert seen.doubts == 1


class Sender:
    """A broker's half of a QoS 1 session: identifiers, a window, repeats with DUP after a reconnect."""

    def __init__(self, window: int, chance: random.Random, *, lowest_id: bool) -> None:
        self.window, self.chance, self.lowest_id = window, chance, lowest_id
        self.flight: dict[int, tuple[int, bool]] = {}  # id -> (message, it was sent before)
        self.next_message, self.last_id = 0, 0
        self.wire: deque[tuple[int, bool, int]] = deque()  # (id, dup, message) on the way to us
        self.acks: deque[int] = deque()  # ids on the way back

    def send(self) -> None:
        """Send one more message if the window allows."""
        if len(self.flight) < self.window:
            packet_id = (
                next(n for n in range(1, 99_999) if n not in self.flight) if self.lowest_id else self.last_id + 1
            )
            self.last_id = packet_id % 65_535
            self.flight[packet_id] = (self.next_message, False)
            self.wire.append((packet_id, False, self.next_message))
            self.next_message += 1

    def hear(self) -> None:
        """Take an acknowledgement that arrived."""
        if self.acks:
            self.flight.pop(self.acks.popleft(), None)

    def cut(self) -> None:
        """Lose what is on the wire, both ways; then repeat what is unanswered."""
        self.wire.clear()
        for _ in range(self.chance.randrange(len(self.acks) + 1)):  # some made it
            self.hear()
        self.acks.clear()
        self.wire.extend((packet_id, True, message) for packet_id, (message, _) in self.flight.items())


@pytest.mark.parametrize("lowest_id", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_model_of_cuts_and_kills(seed: int, lowest_id: bool) -> None:
    """Against a broker that cuts anywhere, with kills of ours: every message is journalled exactly once."""
    chance = random.Random(seed)
    window = chance.choice([1, 5, 20])
    sender = Sender(window, chance, lowest_id=lowest_id)
    seen, time = made(window)
    rows: dict[str, bytes] = {}
    disk: list[int] = []  # messages journalled and durable
    batch: list[int] = []  # journalled, not durable
    unacknowledged: deque[int] = deque()  # ids of deliveries that wait for the commit
    for _ in range(3000):
        time.now += 0.001
        if not sender.acks and not unacknowledged and chance.random() < 0.01:
            time.now += SETTLED_S  # a quiet while, with every answer delivered
        action = chance.random()
        if action < 0.4:
            sender.send()
        elif action < 0.7 and sender.wire:
            packet_id, dup, message = sender.wire.popleft()
            if not seen.known(packet_id, dup, "t", b"message %d" % message):
                batch.append(message)
            unacknowledged.append(packet_id)
        elif action < 0.85:
            committed(seen, rows)
            disk += batch
            batch.clear()
            while unacknowledged:
                sender.acks.append(unacknowledged.popleft())
                seen.acknowledge()
        elif action < 0.97:
            sender.hear()
        elif action < 0.985:
            unacknowledged.clear()
            sender.cut()
            reconnect(seen)
        else:
            unacknowledged.clear()
            batch.clear()
            sender.cut()
            seen = Seen(window, time)
            seen.load(rows)
            seen.connected(session_present=True)
    disk += batch
    flying = {message for message, _ in sender.flight.values()}
    assert set(range(sender.next_message)) - set(disk) <= flying
    assert len(disk) == len(set(disk))


def test_what_is_arriving_is_not_journalled_before_its_events() -> None:
    """A batch closed while messages arrive takes what came before them; a kill then makes none of them known."""
    seen, _ = made()
    rows: dict[str, bytes] = {}
    seen.known(1, False, "t", b"before")
    seen.arriving()
    seen.known(2, False, "t", b"arriving")
    committed(seen, rows)  # the journal needed room: the event of 2 goes into the next batch
    killed = Seen(10, Time())
    killed.load(rows)
    assert killed.known(1, True, "t", b"before")
    assert not killed.known(2, True, "t", b"arriving")
    seen.arrived()
    committed(seen, rows)
    killed = Seen(10, Time())
    killed.load(rows)
    assert killed.known(1, True, "t", b"before")
    assert killed.known(2, True, "t", b"arriving")


def test_many_that_arrive_together_wait_together() -> None:
    """More than a chunk of messages in one piece: nothing of it is given out before it has arrived, all behind."""
    seen, _ = made()
    rows: dict[str, bytes] = {}
    seen.known(1, False, "t", b"before")
    seen.arriving()
    count = 2 * CHUNK_ENTRIES_MAX + 100
    for n in range(count):
        seen.known(2 + n, False, "t", b"arriving")
    committed(seen, rows)
    assert sum(map(len, rows.values())) == 10
    seen.arrived()
    committed(seen, rows)
    assert sum(map(len, rows.values())) == 10 * (1 + count)
    killed = Seen(10, Time())
    killed.load(rows)
    assert all(killed.known(2 + n, True, "t", b"arriving") for n in range(count))


def test_an_identifier_twice_in_a_batch_is_of_the_later() -> None:
    """An identifier that arrives again before its first entry is on the disk is not journalled too early either."""
    seen, _ = made()
    rows: dict[str, bytes] = {}
    seen.known(1, False, "t", b"first")
    seen.known(2, False, "t", b"other")
    seen.arriving()
    seen.known(1, False, "t", b"second")
    committed(seen, rows)
    killed = Seen(10, Time())
    killed.load(rows)
    assert killed.known(2, True, "t", b"other")
    assert not killed.known(1, True, "t", b"second")


def test_qos2_that_is_arriving_waits_as_well() -> None:
    """A QoS 2 identifier is durable with its event, not before it; released in the same piece it leaves no row."""
    seen, _ = made()
    rows: dict[str, bytes] = {}
    seen.arriving()
    seen.known_exactly(5, "t", b"x")
    committed(seen, rows)
    assert not rows
    seen.released(5)
    seen.arrived()
    committed(seen, rows)
    assert not rows


def test_repeats_replace_what_they_repeat() -> None:
    """However often an unanswered backlog comes again, there is one entry for each identifier, on the disk too."""
    rows: dict[str, bytes] = {}
    for _ in range(20):  # kills
        seen = Seen(10, Time())
        seen.load(rows)
        seen.connected(session_present=True)
        for n in range(3 * CHUNK_ENTRIES_MAX):
            seen.known(n, True, "t", b"%d" % n)
        committed(seen, rows)
    assert sum(map(len, rows.values())) == 10 * 3 * CHUNK_ENTRIES_MAX
    assert seen.dropped == 3 * CHUNK_ENTRIES_MAX


@pytest.mark.parametrize("before", [0, 5, CHUNK_ENTRIES_MAX])
def test_what_is_appended_later_is_not_on_the_disk_before(before: int) -> None:
    """A message whose events wait for a picture is known here at once, and over a kill when they are appended."""
    seen, _ = made(window=10_000)
    rows: dict[str, bytes] = {}
    seen.arriving()
    for packet_id in range(100, 100 + before):
        seen.known(packet_id, False, "t", b"on")
    seen.known(1, False, "camera", b"picture")
    seen.known_exactly(2, "camera", b"picture")
    appended = [seen.postpone(1, exactly=False), seen.postpone(2, exactly=True)]
    seen.arrived()
    for known in (False, True):
        committed(seen, rows)
        again, _ = made(window=10_000)
        again.load(rows)
        again.connected(session_present=True)
        assert again.known(1, True, "camera", b"picture") is known
        assert again.known_exactly(2, "camera", b"picture") is known
        assert all(again.known(packet_id, True, "t", b"on") for packet_id in range(100, 100 + before))
        reconnect(seen)
        assert seen.known(1, True, "camera", b"picture")
        assert seen.known_exactly(2, "camera", b"picture")
        while appended:
            appended.pop()()


def test_what_is_appended_later_may_be_given_up_meanwhile() -> None:
    """Another message took its identifier, or the session is another one: then nothing is put of it."""
    for give_up in (lambda seen: seen.known(1, False, "t", b"new"), lambda seen: reconnect(seen, present=False)):
        seen, _ = made()
        rows: dict[str, bytes] = {}
        seen.arriving()
        seen.known(1, False, "camera", b"picture")
        appended = seen.postpone(1, exactly=False)
        seen.arrived()
        give_up(seen)
        appended()
        committed(seen, rows)
        again, _ = made()
        again.load(rows)
        again.connected(session_present=True)
        assert not again.known(1, True, "camera", b"picture")
