"""What is known of messages after a restart: enough against a second event, never enough to swallow a real one."""

from __future__ import annotations

import random

import pytest

from gateway.mqtt import packet as p
from gateway.mqtt.packet import V5, V311, Properties, Puback, Pubcomp, Publish, Pubrec
from gateway.mqtt.traces import PAGE, Traces
from tests.mqtt.served import VERSIONS, Client, Served


def lasting(served: Served, version: int = V311) -> Client:
    """Connect to a session that outlives its connection, and the process."""
    properties = Properties(session_expiry_interval=3600) if version == V5 else p.NO_PROPERTIES
    return served.connect("device", version, clean_start=False, properties=properties)


@pytest.mark.parametrize("version", VERSIONS)
def test_repetition_after_a_restart(version: int) -> None:
    """What was in the last commit, and whose PUBACK may not have left, is answered again and not delivered again."""
    served = Served()
    client = lasting(served, version)
    for packet_id in range(1, 41):
        client.publish("a", b"%d" % packet_id, packet_id)
    served.hand_over()
    served.commit()
    served.restart()
    client = lasting(served, version)
    assert client.connack.session_present
    for packet_id in range(1, 41):
        client.publish("a", b"%d" % packet_id, packet_id, dup=True)
    assert served.payloads() == []
    assert client.packets() == [Puback(packet_id) for packet_id in range(1, 41)]
    client.publish("a", b"1", 1)
    assert served.payloads() == [b"1"]


@pytest.mark.parametrize("version", VERSIONS)
def test_repetition_of_qos_2_after_a_restart(version: int) -> None:
    """What was in the last commit and not released is answered again and is no second message; then it is released."""
    served = Served()
    client = lasting(served, version)
    for packet_id in (1, 2):
        client.publish("a", b"%d" % packet_id, packet_id, 2)
        served.hand_over()
        if packet_id == 1:
            served.commit()
    served.restart()
    client = lasting(served, version)
    for packet_id in (1, 2):
        client.publish("a", b"%d" % packet_id, packet_id, 2, dup=True)
    assert served.payloads() == [b"2"]
    assert client.packets() == [Pubrec(1)]
    client.send(p.Pubrel(1))
    assert client.packets() == [Pubcomp(1)]


def test_message_that_missed_the_commit_is_new() -> None:
    """A message that the inbox did not have at the commit is in no row: sent again, it is delivered."""
    served = Served()
    client = lasting(served)
    client.publish("a", b"1", 1)
    served.hand_over()
    client.publish("a", b"2", 2)
    served.commit()
    client.publish("a", b"3", 3)
    served.hand_over()
    served.restart()
    client = lasting(served)
    for packet_id in (1, 2, 3):
        client.publish("a", b"%d" % packet_id, packet_id, dup=True)
    assert served.payloads() == [b"2", b"3"]


@pytest.mark.parametrize("before", [1, PAGE - 1, 3 * PAGE])
def test_message_that_is_appended_later_is_new_until_then(before: int) -> None:
    """While the inbox has a message and not its events it is in no row; what came before and behind it is."""
    served = Served()
    client = lasting(served)
    late, last = before + 1, before + PAGE
    for packet_id in range(1, last + 1):
        client.publish("a", b"%d" % packet_id, packet_id)
        if packet_id == late:
            appended = served.broker.postpone(*served.inbox[-1])
        if packet_id == before:
            served.hand_over()
            served.commit()
    served.hand_over()
    for lost in ([b"%d" % late], []):
        served.commit()
        again = Served()
        again.now, again.rows = served.now, dict(served.rows)
        again.restart()
        client = lasting(again)
        for packet_id in range(1, last + 1):
            client.publish("a", b"%d" % packet_id, packet_id, dup=True)
        assert again.payloads() == lost
        appended()


def test_commit_after_a_quiet_message_ends_its_trace() -> None:
    """A message older than the last commit by some seconds was answered: the next equal one is a new message."""
    served = Served()
    client = lasting(served)
    client.publish("button", b"pressed", 1)
    served.hand_over()
    served.commit()
    served.acknowledge()
    served.now += 5
    served.commit()
    served.restart()
    client = lasting(served)
    client.publish("button", b"pressed", 1, dup=True)  # pressed again while nobody listened
    assert served.payloads() == [b"pressed"]


def test_traces_outlive_two_restarts() -> None:
    """A second restart before the client came back changes nothing."""
    served = Served()
    client = lasting(served)
    client.publish("a", b"1", 1)
    served.hand_over()
    served.commit()
    for _ in range(3):
        served.restart()
        served.now += 0.5
        served.commit()
    client = lasting(served)
    client.publish("a", b"1", 1, dup=True)
    assert served.payloads() == []


def test_clean_sessions_leave_no_rows() -> None:
    """A client without a lasting session costs no row, and the end of a lasting one deletes its rows."""
    served = Served()
    served.connect("clean", V311).publish("a", b"1", 1)
    served.hand_over()
    served.commit()
    assert not served.rows
    client = lasting(served)
    client.publish("a", b"1", 1)
    served.hand_over()
    served.commit()
    assert ("traces", "0/device") in served.rows
    served.connect("device", V311)
    assert [key for key, row in served.rows.items() if row is not None and key[1] != "@"] == []


def test_rows_change_by_the_page() -> None:
    """A message changes one row, rows stay as many as the traces need, and old ones are deleted."""
    traces = Traces(64)
    rows: dict[int, bytes] = {}
    for number in range(1, 1001):
        traces.recent.append((number, number, number * 7, 0.0))
        changed = list(traces.rows(number))
        assert len([page for page, row in changed if row is not None]) == 1
        for page, row in changed:
            if row is None:
                del rows[page]
            else:
                rows[page] = row
        assert len(rows) <= 64 // PAGE + 1
    again = Traces(64)
    assert again.restore(rows, 1.0, 100.0) == 1000
    assert [trace[:3] for trace in again.recent] == [trace[:3] for trace in traces.recent]


@pytest.mark.parametrize("seed", range(40))
def test_crashes_at_any_moment(seed: int) -> None:
    """Over random messages, commits, reconnects and crashes every answered message is in the journal, exactly once."""
    random_ = random.Random(seed)
    served = Served()
    journal: list[bytes] = []  # what is durable
    handed: list[tuple[object, Publish]] = []  # in the inbox, not committed
    client = lasting(served)
    waiting: dict[int, bytes] = {}  # the device's own: sent, no PUBACK seen
    answered: list[bytes] = []
    counter = 0

    def read_answers() -> None:
        for packet in client.packets():
            assert isinstance(packet, Puback)
            if packet.packet_id in waiting:
                answered.append(waiting.pop(packet.packet_id))

    def commit() -> None:
        served.commit()
        journal.extend(publish.payload for _, publish in handed)
        for session, publish in handed:
            session.acknowledge(publish)  # type: ignore[attr-defined]
        handed.clear()

    def come_back() -> None:
        nonlocal client
        client = lasting(served)
        for packet_id, payload in waiting.items():
            client.publish("a", payload, packet_id, dup=True)

    for _ in range(300):
        served.now += random_.random() * 0.1
        match random_.choice(["send", "send", "send", "hand", "hand", "commit", "read", "cut", "crash"]):
            case "send" if len(waiting) < 8:
                counter += 1
                packet_id = next(n for n in range(1, 10) if n not in waiting)  # reused as soon as it is free
                waiting[packet_id] = b"%d" % counter
                client.publish("a", waiting[packet_id], packet_id)
            case "hand":
                served.hand_over()
                handed += served.inbox
                served.inbox.clear()
            case "commit":
                commit()
            case "read":
                read_answers()
            case "cut":
                if random_.random() < 0.5:
                    read_answers()
                client.cut()
                come_back()
            case "crash" if random_.random() < 0.3:
                handed.clear()
                served.restart()
                come_back()
    for _ in range(3):
        served.hand_over()
        handed += served.inbox
        served.inbox.clear()
        commit()
        read_answers()
    assert not waiting
    assert sorted(journal) == sorted(answered)


def test_quiet_commits_write_nothing() -> None:
    """Commits without messages put the time once, when it ends the life of the last traces, and then nothing."""
    served = Served()
    client = lasting(served)
    client.publish("a", b"1", 1)
    served.hand_over()
    served.commit()
    times = []
    for _ in range(20):
        served.now += 1
        served.rows.clear()
        served.commit()
        times.append(bool(served.rows))
    assert times == [False] * 3 + [True] + [False] * 16
