"""A broker as a source, against a real Mosquitto: nothing answered early, nothing twice, nothing lost by a kill."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.mqtt import packet as p
from gateway.mqtt.codec import Decoder, encode
from gateway.sources.mqtt import MqttSource, MqttSourceOptions
from gateway.sources.source import Delivery
from tests.mqtt.broker import Broker
from tests.mqtt.owner import Recorder, play, running, until
from tests.mqtt.test_connection import send

Kept = tuple[Callable[[str, bool | None], None], Mapping[str, bool]]


class Inbox:
    """Takes deliveries; acknowledges and keeps dedup rows when told, as the pipeline does after a commit."""

    def __init__(self, rows: dict[str, bytes] | None = None) -> None:
        self.calls: list[list[Delivery]] = []
        self.rows = rows if rows is not None else {}

    def __call__(self, deliveries: Sequence[Delivery]) -> None:
        """Take them."""
        self.calls.append(list(deliveries))

    @property
    def deliveries(self) -> list[Delivery]:
        """Return all, in order."""
        return [delivery for call in self.calls for delivery in call]

    @property
    def new(self) -> list[str]:
        """Return the payloads of what was not known."""
        return [delivery.payload.decode() for delivery in self.deliveries if not delivery.known]

    def commit(self, source: MqttSource, *, acknowledge: bool = True) -> None:
        """Keep the rows, then acknowledge everything so far."""
        for key, value in source.seen.changes():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        if acknowledge:
            for delivery in self.deliveries:
                delivery.ack()
            self.calls.clear()


@contextlib.asynccontextmanager
async def reading(
    url: str,
    inbox: Callable[[Sequence[Delivery]], None],
    filters: Sequence[str] = ("t/#",),
    flush: Callable[[], Awaitable[None]] | None = None,
    kept: Kept | None = None,
    **options: Any,
) -> AsyncIterator[MqttSource]:
    """Run a source until the end of the block."""
    known = MqttSourceOptions(url=url, **{"reconnect_first_s": 0.05, "reconnect_max_s": 0.2, **options})
    source = MqttSource("house", known, filters, SystemClock(), "gw")
    source.flush = flush
    if kept is not None:
        source.keep_filters(*kept)
    if isinstance(inbox, Inbox):
        source.seen.load(inbox.rows)
    task = asyncio.create_task(source.run(inbox))
    try:
        await asyncio.wait_for(source.ready(), 30)
        await until(lambda: not source._asked)
        yield source
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_deliveries(broker: Broker, qos: int) -> None:
    """A delivery says what came: topic, payload, QoS, retained; a retained one at subscribing, a live one later."""

    async def scene() -> None:
        async with running(Recorder(), broker.url, client_id="device") as device:
            assert device.link is not None
            device.link.publish(b"t/kept", b"k", 1, b"\0", None, retain=True)
            inbox = Inbox()
            async with reading(broker.url, inbox, qos=qos) as source:
                await until(lambda: inbox.deliveries)
                send(device, "t/1", "a", qos=qos)
                send(device, "other", "b", qos=qos)
                send(device, "t/2", "c", qos=qos)
                await until(lambda: len(inbox.deliveries) == 3)
                found = [(d.topic, d.payload, d.qos, d.retained, d.known, d.source) for d in inbox.deliveries]
                assert found == [
                    ("t/kept", b"k", min(qos, 1), True, False, "house"),
                    ("t/1", b"a", qos, False, False, "house"),
                    ("t/2", b"c", qos, False, False, "house"),
                ]
                said = source.status()
                assert (said["connected"], said["received"], said["duplicates"]) == (True, 3, 0)

    play(scene())


def test_a_piece_is_one_call(broker: Broker) -> None:
    """Messages that arrive together are handed over together, in order."""

    async def scene() -> None:
        answered = Recorder()
        async with running(answered, broker.url, client_id="device") as device:
            inbox = Inbox()
            async with reading(broker.url, inbox) as source:
                source.pause()  # until all are there
                send(device, "t/1", *range(500))
                await until(lambda: len(answered.answers) == 500)
                source.resume()
                await until(lambda: len(inbox.deliveries) == 500)
            assert inbox.new == [str(n) for n in range(500)]
            assert len(inbox.calls) < 250

    play(scene())


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_killed_before_puback(broker: Broker, version: str) -> None:
    """What was committed and not acknowledged comes again as known, is answered, and never comes a third time."""

    async def scene() -> None:
        inbox = Inbox()
        async with running(Recorder(), broker.url, client_id="device") as device:
            async with reading(broker.url, inbox, version=version) as source:
                send(device, "t/1", *range(100))
                await until(lambda: len(inbox.deliveries) == 100)
                inbox.commit(source, acknowledge=False)
                send(device, "t/1", *range(100, 110))
                await until(lambda: len(inbox.deliveries) == 110)
            again = Inbox(inbox.rows)
            async with reading(broker.url, again, version=version) as source:
                await until(lambda: len(again.deliveries) == 110)
                assert [delivery.known for delivery in again.deliveries] == [True] * 100 + [False] * 10
                assert all(delivery.duplicate for delivery in again.deliveries)
                assert again.new == [str(n) for n in range(100, 110)]
                assert source.status()["duplicates"] == 100
                again.commit(source)
            last = Inbox(again.rows)
            async with reading(broker.url, last, version=version):
                send(device, "t/1", "new")
                await until(lambda: last.deliveries)
                assert last.new == ["new"]

    play(scene())


def test_forgotten_session_makes_nothing_known(mosquitto: Callable[..., Broker]) -> None:
    """A broker that lost the session starts anew: the same words under the same identifier are a new message."""
    broker = mosquitto()

    async def scene() -> None:
        inbox = Inbox()
        async with reading(broker.url, inbox) as source:
            for _ in range(2):
                async with running(Recorder(), broker.url, client_id="device") as device:
                    send(device, "t/1", "on")
                    await until(lambda: inbox.deliveries)
                    assert inbox.new == ["on"]
                    inbox.commit(source)
                await asyncio.to_thread(broker.kill)
                await until(lambda: source._connection.link is None)
                await asyncio.to_thread(broker.start)
                await asyncio.wait_for(source.ready(), 30)
                await until(lambda: not source._asked)

    play(scene())


def test_qos2_killed_at_each_step(broker: Broker) -> None:
    """Cut off before PUBREC or before PUBCOMP, a QoS 2 message is new exactly once, and its identifier is let go."""

    async def scene() -> None:
        inbox = Inbox()
        async with running(Recorder(), broker.url, client_id="device") as device:
            async with reading(broker.url, inbox, qos=2) as source:
                send(device, "t/1", "a", qos=2)
                await until(lambda: inbox.deliveries)
                inbox.commit(source, acknowledge=False)
            second = Inbox(inbox.rows)
            async with reading(broker.url, second, qos=2) as source:
                await until(lambda: second.deliveries)
                assert second.new == []
                second.commit(source)
                await until(lambda: second.deliveries)  # PUBREL
            third = Inbox(second.rows)
            assert len(third.rows) == 1
            async with reading(broker.url, third, qos=2) as source:
                await until(lambda: third.deliveries)  # PUBREL again
                assert third.new == []
                third.commit(source)
                assert third.rows == {}
                send(device, "t/1", "b", qos=2)
                await until(lambda: third.new == ["b"])

    play(scene())


def test_pubcomp_waits_for_the_flush(broker: Broker) -> None:
    """PUBCOMP leaves only when the journal says that the identifier's removal is on the disk."""

    async def scene() -> None:
        inbox = Inbox()
        flushed = asyncio.Event()

        async def flush() -> None:
            await flushed.wait()

        async with (
            running(Recorder(), broker.url, client_id="device") as device,
            reading(broker.url, inbox, qos=2, flush=flush) as source,
        ):
            send(device, "t/1", "a", qos=2)
            await until(lambda: inbox.deliveries)
            inbox.commit(source)
            await until(lambda: inbox.deliveries)
            (release,) = inbox.deliveries
            inbox.commit(source)
            await asyncio.sleep(0.1)
            session = source._connection._session
            assert list(session._unacknowledged) == [release.token]
            flushed.set()
            await until(lambda: not session._unacknowledged)

    play(scene())


def test_acknowledging_late_is_harmless(broker: Broker) -> None:
    """Deliveries of a lost connection can be acknowledged at any time later, to no effect."""

    async def scene() -> None:
        inbox = Inbox()
        async with running(Recorder(), broker.url, client_id="device") as device:
            async with reading(broker.url, inbox) as source:
                send(device, "t/1", "a")
                await until(lambda: inbox.deliveries)
                assert source._connection.link is not None
                source._connection.link.abort()
                await until(lambda: len(inbox.deliveries) == 2)
                inbox.deliveries[0].ack()
                assert list(source._connection._session._unacknowledged) == [inbox.deliveries[1].token]
            for delivery in inbox.deliveries:
                delivery.ack()

    play(scene())


def test_shared_subscription(broker: Broker) -> None:
    """Two gateways of one share group get each message once between them."""

    async def scene() -> None:
        one, two = Inbox(), Inbox()
        async with (
            running(Recorder(), broker.url, client_id="device") as device,
            reading(broker.url, one, share="gateways", client_id="one") as first,
            reading(broker.url, two, share="gateways", client_id="two") as second,
        ):
            send(device, "t/1", *range(100))
            await until(lambda: len(one.deliveries) + len(two.deliveries) == 100)
            assert one.deliveries
            assert two.deliveries
            assert sorted(map(int, one.new + two.new)) == list(range(100))
            one.commit(first)
            two.commit(second)

    play(scene())


def test_send_commands(broker: Broker) -> None:
    """A command arrives at the device and does not come back to us; without a connection the answer is no."""

    async def scene() -> None:
        inbox, device = Inbox(), Recorder(("t/+/set", 1))
        async with running(device, broker.url, client_id="device"):
            async with reading(broker.url, inbox) as source:
                assert source.send("t/lamp/set", b"on")
                await until(lambda: device.payloads == ["on"])
                await until(lambda: not source._connection._session.window.unanswered)
            assert not source.send("t/lamp/set", b"off")
            assert inbox.deliveries == []

    play(scene())


def test_refused_commands_are_said(mosquitto: Callable[..., Broker]) -> None:
    """A command that the broker's ACL refuses is counted and named in the status."""
    broker = mosquitto(acl="topic read #\n")

    async def scene() -> None:
        async with reading(broker.url, Inbox()) as source:
            assert source.send("t/lamp/set", b"on")
            await until(lambda: source.status().get("refused_commands") == 1)
            await asyncio.wait_for(source.ready(), 30)
            assert source.status()["last_error"] == "command to 't/lamp/set': Not authorized"

    play(scene())


def test_refused_filters_are_said() -> None:
    """Filters that the broker refuses are named in the status, the others work."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = Decoder()
        with contextlib.suppress(asyncio.IncompleteReadError):
            while data := await reader.read(65_536):
                for packet in decoder.feed(data):
                    if isinstance(packet, p.Connect):
                        writer.write(encode(p.Connack(), 5))
                    if isinstance(packet, p.Subscribe):
                        codes = tuple(0x87 if s.topic_filter == "t/7" else 1 for s in packet.subscriptions)
                        writer.write(encode(p.Suback(packet.packet_id, codes), 5))
                    if isinstance(packet, p.Disconnect):
                        writer.close()
        writer.close()

    async def scene() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with reading(url, Inbox(), [f"t/{n}" for n in range(250)]) as source:
                said = source.status()
                assert said["refused_filters"] == {"t/7": "Not authorized"}
                assert said["last_error"] == "subscription refused: t/7"
                assert said["filters"] == 250

    play(scene())


def test_paused(broker: Broker) -> None:
    """While paused nothing is delivered, even on a new connection; afterwards everything."""

    async def scene() -> None:
        inbox = Inbox()
        async with (
            running(Recorder(), broker.url, client_id="device") as device,
            reading(broker.url, inbox) as source,
        ):
            source.pause()
            send(device, "t/1", *range(50))
            await asyncio.sleep(0.2)
            assert inbox.deliveries == []
            source.resume()
            await until(lambda: len(inbox.deliveries) == 50)

    play(scene())


def test_an_inbox_that_raises_ends_the_source(broker: Broker) -> None:
    """A bug behind the inbox is not swallowed by the connection: the source ends with it."""

    async def scene() -> None:
        def inbox(_deliveries: Sequence[Delivery]) -> None:
            raise ZeroDivisionError

        source = MqttSource("house", MqttSourceOptions(url=broker.url), ["t/#"], SystemClock(), "gw")
        task = asyncio.create_task(source.run(inbox))
        async with running(Recorder(), broker.url, client_id="device") as device:
            await asyncio.wait_for(source.ready(), 30)
            await until(lambda: not source._asked)
            send(device, "t/1", "a")
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(task, 30)

    play(scene())


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"url": "http://broker"}, "is not an address of a broker"),
        ({"url": "broker"}, "is not an address of a broker"),
        ({"url": "mqtt://anna:secret@broker"}, "do not belong in the url"),
        ({"url": "mqtt://broker/path"}, "more than host and port"),
        ({"url": "mqtt://b", "proxy": "ftp://x"}, "is not a proxy"),
        ({"url": "mqtt://b", "keep_alive_s": 70_000}, "keep_alive_s"),
        ({"url": "mqtt://b", "filters": ("a#",)}, "is not a topic filter"),
        ({"url": "mqtt://b", "share": "a/b"}, "share group"),
        ({"url": "mqtt://b", "inflight_max": 0}, "inflight_max"),
        ({"url": "mqtt://b", "reconnect_max_s": 0}, "must be over 0"),
    ],
)
def test_options_say_what_is_wrong(options: dict[str, Any], what: str) -> None:
    """Options that cannot work are refused with words."""
    with pytest.raises(ValueError, match=what):
        MqttSourceOptions(**options)


def test_what_is_not_wanted_any_more_is_taken_out_of_the_session(broker: Broker) -> None:
    """Other filters, at run time or behind a restart, bring each message once: the session has the old ones no more."""
    held: dict[str, bool] = {}

    def keep(topic_filter: str, row: bool | None) -> None:
        if row is None:
            del held[topic_filter]
        else:
            held[topic_filter] = row

    async def came(source: MqttSource, inbox: Inbox, *topics: str) -> list[str]:
        """Publish on topics; return on which something came, up to a last one."""
        async with running(Recorder(), broker.url, client_id="device") as device:
            assert device.link is not None
            for topic in (*topics, "t/end"):
                device.link.publish(topic.encode(), b"1", 1, b"\0", None)
            await until(lambda: any(delivery.topic == "t/end" for delivery in inbox.deliveries))
        found = [delivery.topic for delivery in inbox.deliveries if delivery.topic != "t/end"]
        inbox.commit(source)
        return found

    async def scene() -> None:
        inbox = Inbox()
        async with reading(broker.url, inbox, ("t/+/a", "t/end"), kept=(keep, held)) as source:
            assert await came(source, inbox, "t/x/a", "t/x/b") == ["t/x/a"]
            source.follow(("t/+/a", "t/x/#", "t/end"))
            source.follow(("t/#",))
            await until(lambda: held.keys() == {"t/#"})
            assert await came(source, inbox, "t/x/a", "t/y") == ["t/x/a", "t/y"]
        async with reading(broker.url, inbox, ("t/x/#", "t/end"), kept=(keep, held)) as source:
            await until(lambda: held.keys() == {"t/x/#", "t/end"})
            assert await came(source, inbox, "t/x/a", "t/y") == ["t/x/a"]
        async with reading(broker.url, Inbox(), ("t/x/#",), kept=(keep, held), clean_start=True):
            assert held.keys() == {"t/x/#"}, "a new session has nothing of before"

    play(scene())
