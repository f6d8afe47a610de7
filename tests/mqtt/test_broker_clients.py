"""What clients of one listener get of each other: subscriptions, retained messages, wills, sessions, restarts."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.mqtt import packet as p
from gateway.mqtt.outbound import OutboundLimits
from gateway.mqtt.packet import V5, V311, Properties, Publish, Reason, Subscription, Will
from gateway.mqtt.server import Limits
from tests.mqtt.served import VERSIONS, Client, Served

LASTING = Properties(session_expiry_interval=3600)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1])
def test_subscriber_sees_what_is_safe(version: int, qos: int) -> None:
    """A subscriber is given a message when it has been acknowledged, not before, at the lesser QoS of the two."""
    served = Served()
    watcher = served.watch("house/#", qos=qos, version=version)
    device = served.connect("device")
    device.publish("house/door", b"open", 1)
    assert watcher.messages() == []
    served.acknowledge()
    assert watcher.messages() == [("house/door", b"open", qos)]


def test_subscriptions_are_granted_and_taken_back() -> None:
    """SUBACK grants QoS 1 at most, refuses shared subscriptions; after UNSUBSCRIBE nothing comes."""
    served = Served()
    watcher = served.connect("watcher")
    codes = watcher.subscribe(Subscription("a", 2), Subscription("b", 0), Subscription("$share/g/c", 1))
    assert codes == (1, 0, Reason.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED)
    assert watcher.connack.properties.shared_subscription_available == 0
    watcher.send(p.Unsubscribe(3, ("a", "never")))
    assert watcher.packets() == [p.Unsuback(3, (0, Reason.NO_SUBSCRIPTION_EXISTED))]
    served.broker.publish(Publish("a", b"1", 1))
    served.broker.publish(Publish("b", b"2", 1))
    assert watcher.messages() == [("b", b"2", 0)]


def test_subscriptions_are_bounded() -> None:
    """A client has so many subscriptions and no more; the same filter again is no further one."""
    served = Served(Limits(subscriptions_max=2))
    watcher = served.connect()
    codes = watcher.subscribe(*(Subscription(topic_filter, 0) for topic_filter in ("a", "b", "a", "c")))
    assert codes == (0, 0, 0, Reason.QUOTA_EXCEEDED)


def test_overlapping_subscriptions_bring_one_copy() -> None:
    """Filters that overlap bring one copy, at the greatest QoS, with every identifier."""
    served = Served()
    watcher = served.connect("watcher")
    watcher.subscribe(Subscription("house/#", 0), identifier=3)
    watcher.subscribe(Subscription("house/+/open", 1), identifier=4)
    served.broker.publish(Publish("house/door/open", b"1", 2))
    (publish,) = [packet for packet in watcher.packets() if isinstance(packet, Publish)]
    assert publish.qos == 1
    assert sorted(publish.properties.subscription_identifier) == [3, 4]


def test_no_local() -> None:
    """No Local keeps a client's own messages from it, and others' not."""
    served = Served()
    client = served.connect("a")
    client.subscribe(Subscription("#", 0, no_local=True))
    client.publish("x", b"mine")
    served.connect("b").publish("x", b"theirs")
    served.acknowledge()
    assert [payload for _, payload, _ in client.messages()] == [b"theirs"]


def test_retain_flag() -> None:
    """A live message has no RETAIN flag, unless Retain As Published asks for it; a retained one has it."""
    served = Served()
    plain, as_published = served.watch("x", client_id="plain"), served.connect("as")
    as_published.subscribe(Subscription("x", 0, retain_as_published=True))
    served.connect("device").publish("x", b"1", retain=True)
    served.acknowledge()
    for client, flag in ((plain, False), (as_published, True), (served.connect("late"), True)):
        if client.connection.session and not client.connection.session.wishes:
            client.send(p.Subscribe(1, (Subscription("x", 0),)))
        flags = [packet.retain for packet in client.packets() if isinstance(packet, Publish)]
        assert flags == [flag]


@pytest.mark.parametrize(("handling", "first", "again"), [(0, 1, 1), (1, 1, 0), (2, 0, 0)])
def test_retain_handling(handling: int, first: int, again: int) -> None:
    """Retain Handling says whether a subscription brings retained messages: always, when new, never."""
    served = Served()
    served.broker.publish(Publish("x", b"1", retain=True))
    client = served.connect()
    for expected in (first, again):
        client.subscribe(Subscription("x", 0, retain_handling=handling))
        assert len(client.later) == expected


def test_retained_waits_for_acknowledgement() -> None:
    """A message is retained when it is safe, replaced by the next, deleted by an empty one."""
    served = Served()
    device = served.connect("device")
    expected: list[Any] = []
    for step, payload in enumerate((b"1", b"2", b"")):
        device.publish("x", payload, step + 1, retain=True)
        assert served.watch("+", client_id=f"early{step}").later == expected
        served.acknowledge()
        late = served.watch("x", client_id=f"late{step}")
        expected = [Publish("x", payload, 1, True, packet_id=1)] if payload else []
        assert late.later == expected


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("end", ["cut", "silence", "fault", "takeover"])
def test_will(version: int, end: str) -> None:
    """A client that ends without DISCONNECT leaves its will: to the inbox first, to subscribers when it is safe."""
    served = Served()
    watcher = served.watch("status")
    will = Will("status", b"offline", 1, retain=True)
    client = served.connect("device", version, will=will, keep_alive=10)
    match end:
        case "cut":
            client.cut()
        case "silence":
            served.pass_time(16)
        case "fault":
            client.send_bytes(b"\x00\x00")
        case "takeover":
            served.connect("device", version)
    assert served.payloads() == [b"offline"]
    assert watcher.messages() == []
    served.acknowledge()
    assert watcher.messages() == [("status", b"offline", 1)]
    assert [
        publish.payload for publish in served.watch("status", client_id="late").later if isinstance(publish, Publish)
    ]
    served.pass_time(100)
    assert served.payloads() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_will_is_taken_back(version: int) -> None:
    """DISCONNECT takes the will back; MQTT 5 can ask for it all the same."""
    served = Served()
    will = Will("status", b"offline")
    client = served.connect("device", version, will=will)
    client.send(p.Disconnect())
    client.cut()
    assert served.payloads() == []
    client = served.connect("device", V5, will=will)
    client.send(p.Disconnect(Reason.DISCONNECT_WITH_WILL_MESSAGE))
    assert served.payloads() == [b"offline"]


def test_will_delay() -> None:
    """A will with a delay waits, is forgotten when the client comes back in time, and is due when the session ends."""
    served = Served()
    will = Will("status", b"offline", properties=Properties(will_delay_interval=30, content_type="text"))
    fields: dict[str, Any] = {"will": will, "properties": LASTING, "clean_start": False}
    served.connect("device", **fields).cut()
    served.pass_time(29)
    client = served.connect("device", **fields)
    served.pass_time(60)
    assert served.payloads() == []
    client.cut()
    served.pass_time(30)
    assert [publish.properties for _, publish in served.inbox] == [Properties(content_type="text")]
    served.connect("device", **fields).cut()
    served.connect("device", clean_start=True)
    assert served.payloads() == [b"offline"] * 2


@pytest.mark.parametrize("version", VERSIONS)
def test_takeover(version: int) -> None:
    """The same client identifier again: the older connection is closed and told, the session goes over."""
    served = Served()
    lasting = LASTING if version == V5 else p.NO_PROPERTIES
    first = served.connect("a", version, clean_start=False, properties=lasting)
    first.subscribe(Subscription("x", 1))
    second = served.connect("a", version, clean_start=False, properties=lasting)
    assert second.connack.session_present
    assert first.closed
    codes = [packet.reason_code for packet in first.packets() if isinstance(packet, p.Disconnect)]
    assert codes == ([Reason.SESSION_TAKEN_OVER] if version == V5 else [])
    first.cut()  # the socket closes later; nobody's session is harmed
    served.broker.publish(Publish("x", b"1", 1))
    assert second.messages() == [("x", b"1", 1)]


@pytest.mark.parametrize("version", VERSIONS)
def test_lasting_session(version: int) -> None:
    """A lasting session keeps subscriptions and QoS 1 messages for its client, in order, and sends DUP what it saw."""
    served = Served(Limits(outbound=OutboundLimits(window_messages_max=2)))
    lasting = LASTING if version == V5 else p.NO_PROPERTIES
    client = served.connect("a", version, clean_start=False, properties=lasting)
    client.subscribe(Subscription("x", 1))
    for payload in (b"1", b"2", b"3"):
        served.broker.publish(Publish("x", payload, 1))
    assert [(m.payload, m.dup) for m in client.packets() if isinstance(m, Publish)] == [(b"1", False), (b"2", False)]
    client.cut()
    other = served.connect("b", version)
    other.publish("x", b"4", 1)
    other.publish("x", b"lost")
    served.acknowledge()
    client = served.connect("a", version, clean_start=False, properties=lasting)
    assert client.connack.session_present
    assert [(m.payload, m.dup) for m in client.later if isinstance(m, Publish)] == [(b"1", True), (b"2", True)]
    for publish in client.later:
        assert isinstance(publish, Publish)
        client.send(p.Puback(publish.packet_id))
    assert [payload for _, payload, _ in client.messages()] == [b"3", b"4"]


def test_session_expires() -> None:
    """A session ends with its connection, after its interval, or at the interval DISCONNECT names, capped by ours."""
    served = Served(Limits(expiry_s_max=100))
    for properties, kept_s in ((p.NO_PROPERTIES, 0), (Properties(session_expiry_interval=50), 50), (LASTING, 100)):
        client = served.connect("a", properties=properties)
        granted = client.connack.properties.session_expiry_interval
        assert granted == (100 if properties is LASTING else None)
        client.cut()
        if kept_s:
            served.pass_time(kept_s - 1)
            assert "a" in served.broker.sessions
            served.pass_time(1)
        assert "a" not in served.broker.sessions
    client = served.connect("a", properties=LASTING)
    client.send(p.Disconnect(properties=Properties(session_expiry_interval=5)))
    served.pass_time(5)
    assert "a" not in served.broker.sessions


def test_disconnect_cannot_make_a_session_last() -> None:
    """An expiry interval in DISCONNECT for a session that had none breaks the protocol."""
    served = Served()
    client = served.connect("a")
    client.send(p.Disconnect(properties=Properties(session_expiry_interval=5)))
    assert [m.reason_code for m in client.packets() if isinstance(m, p.Disconnect)] == [Reason.PROTOCOL_ERROR]


def test_commands_reach_devices() -> None:
    """The gateway's own message says whether a connected client was given it."""
    served = Served()
    assert not served.broker.publish(Publish("a/set", b"21", 1))
    device = served.watch("a/set", client_id="device")
    assert served.broker.publish(Publish("a/set", b"21", 1))
    assert device.messages() == [("a/set", b"21", 1)]
    device.cut()
    assert not served.broker.publish(Publish("a/set", b"21", 1))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_command_to_a_device_that_is_away_is_not_kept(version: int) -> None:
    """It was not given to it, so it is tried again: kept as well, the device would do it as often as it was tried."""
    served = Served()
    lasting = LASTING if version == V5 else p.NO_PROPERTIES
    device = served.connect("a", version, clean_start=False, properties=lasting)
    device.subscribe(Subscription("a/set", 1))
    device.cut()
    assert not any(served.broker.publish(Publish("a/set", b"toggle", 1)) for _ in range(3))
    device = served.connect("a", version, clean_start=False, properties=lasting)
    assert device.connack.session_present
    assert device.later == []
    assert served.broker.publish(Publish("a/set", b"toggle", 1))
    assert device.messages() == [("a/set", b"toggle", 1)]


def _restarted_watcher(served: Served) -> Client:
    served.restart()
    return served.connect("watcher", V311, clean_start=False)


def test_restart_keeps_sessions_and_retained() -> None:
    """Subscriptions of lasting sessions and retained messages outlive the process; clean sessions leave no row."""
    served = Served()
    watcher = served.connect("watcher", V311, clean_start=False)
    watcher.subscribe(Subscription("x/#", 1), Subscription("y", 0))
    watcher.send(p.Unsubscribe(4, ("y",)))
    served.watch("#", client_id="clean").cut()
    kept = Properties(content_type="text", user_property=(("a", "b"),))
    served.broker.publish(Publish("x/1", b"1", 1, retain=True, properties=kept))
    served.broker.publish(Publish("x/2", b"2", retain=True))
    served.broker.publish(Publish("x/2", b"", retain=True))
    assert [key for key, row in served.rows.items() if row is not None] == [
        ("sessions", "watcher"),
        ("retained", "x/1"),
    ]
    watcher = _restarted_watcher(served)
    assert watcher.connack.session_present
    served.broker.publish(Publish("y", b"no"))
    served.broker.publish(Publish("x/3", b"3", 1))
    assert watcher.messages() == [("x/3", b"3", 1)]
    late = served.watch("x/+", client_id="late")
    assert [(m.payload, m.properties) for m in late.later if isinstance(m, Publish)] == [(b"1", kept)]
    served.connect("watcher", V311).send(p.Disconnect())
    assert served.rows["sessions", "watcher"] is None
    assert not _restarted_watcher(served).connack.session_present


def test_rows_are_put_when_they_change() -> None:
    """Connecting again to an unchanged session writes nothing."""
    served = Served()
    served.connect("a", V311, clean_start=False).cut()
    assert list(served.rows) == [("sessions", "a")]
    served.rows.clear()
    served.connect("a", V311, clean_start=False).cut()
    served.restart()
    assert not served.rows


def test_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit of sessions a new client is told to come later, a known one is let in."""
    monkeypatch.setattr("gateway.mqtt.broker.SESSIONS_MAX", 2)
    served = Served()
    for client_id, code in (("a", 0), ("b", 0), ("c", Reason.SERVER_BUSY), ("a", 0)):
        assert served.connect(client_id).connack.reason_code == code
    assert served.connect("c", V311).connack.reason_code == 3
