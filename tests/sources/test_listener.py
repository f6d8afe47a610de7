"""The listener on real sockets: backpressure, keep-alive, wills, hostile and slow clients, its own life."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.mqtt import packet as p
from gateway.mqtt.packet import V5, V311, Properties, Puback, Publish, Reason, Subscription, Will
from gateway.sources import exposure
from gateway.sources.client_socket import READ_BYTES, WRITE_BYTES_MAX
from gateway.sources.listener import Listener, ListenerOptions
from gateway.sources.source import Delivery
from tests.sources.rig import WITHIN_S, Rig, Wire, until


@pytest.mark.parametrize("version", [V311, V5])
def test_puback_is_withheld_until_ack(version: int) -> None:
    """On the wire: no PUBACK while the delivery waits, PUBACK in order of arrival when it is acknowledged."""
    with Rig(hold=True) as rig, Wire(rig.port, version) as device:
        device.connect("device")
        for packet_id in (1, 2, 3):
            device.publish("a/b", b"%d" % packet_id, packet_id)
        rig.expect(3)
        assert device.silent()
        rig.acknowledge(2, 1)
        assert device.silent()
        rig.acknowledge(0)
        assert [device.packet() for _ in range(3)] == [Puback(1), Puback(2), Puback(3)]


def test_delivery_says_what_it_is() -> None:
    """A delivery carries source, topic, payload, QoS, DUP and packet identifier; a device's RETAIN is no old copy."""
    with Rig() as rig, Wire(rig.port) as device:
        device.connect("device")
        device.publish("a/b", b"\x00\xff", 77, retain=True, dup=True)
        rig.expect(1)
        got = rig.deliveries[0]
        assert (got.source, got.topic, got.payload, got.qos, got.token) == ("house", "a/b", b"\x00\xff", 1, 77)
        assert got.duplicate
        assert not got.retained


def test_redelivery_after_a_cut() -> None:
    """A message whose PUBACK never left is sent again over a new connection: one delivery, one PUBACK, there."""
    lasting: dict[str, Any] = {"clean_start": False, "properties": Properties(session_expiry_interval=60)}
    with Rig(hold=True) as rig:
        with Wire(rig.port) as device:
            device.connect("device", **lasting)
            device.publish("a", b"21", 1)
            rig.expect(1)
        with Wire(rig.port) as device:
            assert device.connect("device", **lasting).session_present
            device.publish("a", b"21", 1, dup=True)
            device.publish("a", b"22", 2)
            rig.expect(2)
            assert rig.payloads() == [b"21", b"22"]
            rig.acknowledge()
            assert [device.packet(), device.packet()] == [Puback(1), Puback(2)]


def test_flood_is_held_back() -> None:
    """A client that does not wait for PUBACK is not read beyond its limit, and loses nothing when reading goes on."""
    count = 20_000
    with Rig(ListenerOptions(port=0, receive_max=100), hold=True) as rig, Wire(rig.port, V311) as device:
        device.connect("device")
        messages = [Publish("a", b"%d" % i, 1, packet_id=i % 60_000 + 1) for i in range(count)]
        sender = threading.Thread(target=device.send, args=messages)
        sender.start()
        rig.expect(100)
        until(lambda: next(iter(rig.listener.hall.sockets)).connection.unread)
        assert len(rig.deliveries) <= 100 + READ_BYTES // 8
        got: list[bytes] = []
        while len(got) < count:
            rig.expect(1)
            got += rig.acknowledge()
        sender.join(WITHIN_S)
        assert got == [message.payload for message in messages]
        assert [device.packet() for _ in range(count)] == [Puback(message.packet_id) for message in messages]


def test_pause_holds_back_who_has_messages_waiting() -> None:
    """While paused a client with messages waiting is not read, others are; pings are answered; nothing is lost."""
    with Rig(hold=True) as rig, Wire(rig.port) as busy, Wire(rig.port) as quiet:
        busy.connect("busy")
        quiet.connect("quiet")
        busy.publish("a", b"1", 1)
        rig.expect(1)
        rig.call(rig.listener.pause)
        busy.publish("a", b"2", 2)
        quiet.send(p.Pingreq())
        assert quiet.packet() == p.Pingresp()
        assert busy.silent()
        assert rig.payloads() == [b"1"]
        rig.acknowledge()
        assert busy.packet() == Puback(1)
        rig.expect(1)
        rig.call(rig.listener.resume)
        rig.acknowledge()
        assert busy.packet() == Puback(2)


def test_keep_alive_ends_a_silent_client() -> None:
    """A client that is silent for one and a half of its keep-alive is closed, its will delivered."""
    with Rig() as rig, Wire(rig.port) as device:
        device.connect("device", keep_alive=1, will=Will("status", b"offline"))
        assert device.ended()
        rig.expect(1)
        assert rig.payloads() == [b"offline"]


def test_will_on_a_cut_socket() -> None:
    """A device whose socket is cut leaves its will, to the inbox and to those who watch; one that says goodbye none."""
    will = Will("status", b"offline", 1)
    with Rig() as rig, Wire(rig.port) as watcher:
        watcher.connect("watcher")
        watcher.send(p.Subscribe(1, (Subscription("status", 0),)))
        watcher.packet()
        with Wire(rig.port) as polite:
            polite.connect("polite", will=will)
            polite.send(p.Disconnect())
            assert polite.ended()
        with Wire(rig.port) as device:
            device.connect("device", will=will)
            device.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # RST, as a dead link
        got = watcher.packet()
        assert isinstance(got, Publish)
        assert (got.topic, got.payload) == ("status", b"offline")
        assert rig.payloads() == [b"offline"]


def test_takeover_closes_the_older_socket() -> None:
    """A second connection with the same client identifier ends the first and goes on with the session."""
    lasting: dict[str, Any] = {"clean_start": False, "properties": Properties(session_expiry_interval=60)}
    with Rig() as rig, Wire(rig.port) as first, Wire(rig.port) as second:
        first.connect("device", **lasting)
        assert second.connect("device", **lasting).session_present
        assert first.packet().reason_code == Reason.SESSION_TAKEN_OVER  # type: ignore[union-attr]
        assert first.ended()
        second.publish("a", b"1", 1)
        assert second.packet() == Puback(1)


def test_garbage_and_oversized_harm_nobody() -> None:
    """Clients that send garbage, half packets and too much are closed; one beside them is served all the time."""
    random_ = random.Random(11)
    options = ListenerOptions(port=0, packet_bytes_max=10_000)
    with Rig(options) as rig, Wire(rig.port) as good:
        good.connect("good")
        for round_ in range(60):
            with Wire(rig.port) as bad:
                if round_ % 3:
                    bad.connect(f"bad{round_ % 7}")
                match round_ % 4:
                    case 0:
                        bad.socket.sendall(random_.randbytes(random_.randint(1, 5000)))
                    case 1:
                        bad.socket.sendall(b"\x30\xff\xff\xff\x7f" + random_.randbytes(50))
                    case 2:
                        bad.socket.sendall(b"\x32\x20\x00")
                    case _:
                        bad.socket.sendall(b"\x10\x00" * 20)
            good.publish("a", b"%d" % round_, round_ + 1)
            assert good.packet() == Puback(round_ + 1)
        with Wire(rig.port) as large:
            large.connect("large")
            large.socket.sendall(b"\x30\xff\xff\x03")
            assert isinstance(large.packet(), p.Disconnect)
            assert large.ended()
        until(lambda: len(rig.listener.hall.sockets) == 1)


def test_slow_subscriber_is_bounded() -> None:
    """A subscriber that does not read costs a bounded buffer and queue; what it misses is counted, others go on."""
    with Rig() as rig, Wire(rig.port) as slow, Wire(rig.port) as device:
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect("slow")
        slow.send(p.Subscribe(1, (Subscription("#", 1),)))
        slow.packet()
        device.connect("device")
        count, payload = 20_000, bytes(2000)
        for i in range(count):
            device.publish("a", payload, i % 60_000 + 1 if i % 2 else 0)
        for _ in range(count // 2):
            assert isinstance(device.packet(), Puback)
        session = rig.listener.broker.sessions["slow"]
        assert session.outbound.dropped > count // 2
        assert session.outbound.queued <= 1100
        until(lambda: rig.listener.status()["dropped"] == session.outbound.dropped)
        assert session.connection is not None
        unsent = session.connection.peer._transport.get_write_buffer_size()
        assert unsent <= WRITE_BYTES_MAX + READ_BYTES + 100 * len(payload)  # a turn of the loop, a window


def test_two_hundred_clients() -> None:
    """Two hundred clients at once are served, each in its own order; one beyond the limit is turned away."""
    with Rig(ListenerOptions(port=0, connections_max=200)) as rig:
        wires: list[Wire] = []
        for number in range(200):  # one by one: a client has some seconds for its CONNECT
            wires.append(Wire(rig.port))
            wires[-1].connect(f"device{number}")
        with Wire(rig.port) as late:
            assert late.ended()
        assert rig.listener.status()["turned_away"] == 1
        for counter in range(1, 6):
            for number, wire in enumerate(wires):
                wire.publish(f"house/{number}", b"%d" % counter, counter)
        for wire in wires:
            assert [wire.packet() for _ in range(5)] == [Puback(counter) for counter in range(1, 6)]
            wire.socket.close()
        for number in range(200):
            counters = [d.payload for d in rig.deliveries if d.topic == f"house/{number}"]
            assert counters == [b"1", b"2", b"3", b"4", b"5"]
        until(lambda: not rig.listener.hall.sockets)


def test_commands_leave_by_send() -> None:
    """`send` reaches a device that subscribed and says so, and says when there is none."""
    with Rig() as rig, Wire(rig.port) as device:
        assert not rig.call(rig.listener.send, "a/set", b"21")
        device.connect("device")
        device.send(p.Subscribe(1, (Subscription("a/set", 1),)))
        device.packet()
        assert rig.call(rig.listener.send, "a/set", b"21")
        assert device.packet() == Publish("a/set", b"21", 1, packet_id=1)


def test_stop_says_goodbye() -> None:
    """A listener that stops tells MQTT 5 clients why and leaves no wills."""
    with Rig() as rig, Wire(rig.port) as device:
        device.connect("device", will=Will("status", b"offline"))
        rig.stop()
        assert device.packet().reason_code == Reason.SERVER_SHUTTING_DOWN  # type: ignore[union-attr]
        assert device.ended()
        assert rig.payloads() == []


def test_inbox_that_raises_ends_the_source() -> None:
    """An inbox that raises ends `run` with that exception: a bug must not leave devices waiting for ever."""

    class Broken(Rig):
        def inbox(self, deliveries: Sequence[Delivery]) -> None:
            raise RuntimeError(f"no room for {len(deliveries)}")

    with Broken() as rig, Wire(rig.port) as device:
        device.connect("device")
        device.publish("a", b"1", 1)
        rig.join()
        assert str(rig.error) == "no room for 1"


def test_port_in_use_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is taken is named in the status and bound when it is free."""
    monkeypatch.setattr(exposure, "BIND_AGAIN_S", 0.05)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        rig = Rig(ListenerOptions(port=taken.getsockname()[1]))
        starting = threading.Thread(target=rig.__enter__)
        starting.start()
        until(lambda: "in use" in str(rig.listener.status()["last_error"]))
        assert rig.listener.status()["listening"] is False
    starting.join(WITHIN_S)
    with Wire(rig.port) as device:
        assert device.connect("device").reason_code == 0
    assert rig.listener.status()["last_error"] == ""
    rig.stop()


def test_a_packet_that_is_too_large_says_what_lets_it_in() -> None:
    """A bridge whose list of devices is over the limit is named in the status, with the line to write."""
    rig = Rig(ListenerOptions(port=0, packet_bytes_max=200_000))
    with rig, Wire(rig.port) as bridge, Wire(rig.port) as stranger:
        stranger.socket.sendall(b"\x10\xff\xff\x0a")  # CONNECT of 180 kB: more than it may have before anybody knows it
        assert stranger.ended()
        assert rig.listener.status()["last_error"] == ""
        bridge.connect("zigbee2mqtt")
        bridge.socket.sendall(b"\x32\xff\xff\x0f")
        assert bridge.ended()
        until(lambda: rig.listener.status()["last_error"])
        assert rig.listener.status()["last_error"] == (
            "zigbee2mqtt was cut off: PUBLISH: 262147 bytes, allowed are 200000; if that is right, write"
            " packet_bytes_max = 400000 under [sources.house]"
        )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "gateway.lan"])
def test_open_listener_needs_users(host: str) -> None:
    """A listener that the network can reach is refused unless it asks for a password or a certificate."""
    with pytest.raises(ValueError, match="nobody is asked for a password"):
        ListenerOptions(host=host)
    ListenerOptions(host=host, users_file=__file__)  # type: ignore[arg-type]
    for own in ("127.0.0.1", "::1", "localhost"):
        ListenerOptions(host=own)


@pytest.mark.parametrize("fields", [{"certificate": "a"}, {"client_ca": "a"}, {"port": 70_000}, {"receive_max": 0}])
def test_options_that_make_no_sense(fields: dict[str, Any]) -> None:
    """Half of a certificate, an impossible port or window are refused."""
    with pytest.raises(ValueError, match=r"certificate|port"):
        ListenerOptions(**fields)


def test_unusable_certificate_is_a_fault_of_the_config(tmp_path: Any) -> None:
    """A certificate that cannot be read ends `run` with a ConfigError that names the file."""
    path = tmp_path / "server.pem"
    path.write_text("no certificate")
    with Rig(ListenerOptions(port=0, certificate=path, key=path)) as rig:
        rig.join()
        assert isinstance(rig.error, ConfigError)
        assert str(path) in str(rig.error)


def test_status_of_a_listener_that_never_ran() -> None:
    """Status can be asked before the first run."""
    status = Listener("house", ListenerOptions()).status()
    assert status["listening"] is False
    assert status["connected"] == 0
