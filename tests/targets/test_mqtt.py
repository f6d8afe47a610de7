"""A broker as a target, against a real Mosquitto and a played one: each event is judged by its answer."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
import pytest

from gateway.event import Event, Lane, encode, stamp
from gateway.mqtt import codec
from gateway.mqtt import packet as p
from gateway.targets.mqtt import MqttTarget, MqttTargetOptions, binary_mode
from gateway.targets.target import DELIVERED, Outcome, Outgoing, Verdict
from tests.mqtt.broker import Broker
from tests.mqtt.owner import Recorder, play, running, until


def outgoing(number: int, type_: str = "temperature_changed", device: str = "house/z2m:hall", **data: Any) -> Outgoing:
    """Make an event as the forwarder gives it."""
    event = Event(source="/gw/house", type=type_, subject=device, time="2026-11-23T06:02:42.123Z", data=data)
    stamp(event, f"0123456789ab-1-{number:x}", number)
    return Outgoing(number, Lane.TELEMETRY, event.id, event.type, event.subject, "", encode(event))


@contextlib.asynccontextmanager
async def sending(url: str, *, wait: bool = True, **options: Any) -> AsyncIterator[MqttTarget]:
    """Run a target until the end of the block."""
    known = MqttTargetOptions(url=url, **{"reconnect_first_s": 0.05, "reconnect_max_s": 0.2, **options})
    target = MqttTarget("cloud", known, "gw")
    task = asyncio.create_task(target.run())
    try:
        if wait:
            await asyncio.wait_for(target.ready(), 30)
        yield target
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def played(
    answer: Callable[[p.Publish], p.Packet | None], **limits: Any
) -> AsyncIterator[tuple[str, list[p.Publish]]]:
    """Play a broker that answers each PUBLISH as told; yields its url and what it was sent."""
    published: list[p.Publish] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = codec.Decoder()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                for packet in decoder.feed(data):
                    if isinstance(packet, p.Connect):
                        writer.write(codec.encode(p.Connack(False, 0, p.Properties(**limits)), 5))
                    if isinstance(packet, p.Publish):
                        published.append(packet)
                        said = answer(packet)
                        if said is not None:
                            writer.write(codec.encode(said, 5))
                    if isinstance(packet, p.Disconnect):
                        writer.close()
        writer.close()

    async with asyncio.TaskGroup() as serving:
        server = await asyncio.start_server(
            lambda reader, writer: (serving.create_task(serve(reader, writer)), None)[1], "127.0.0.1", 0
        )
        async with server:
            yield f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}", published
            server.close()


def verdicts(outcomes: Sequence[Outcome]) -> list[Verdict]:
    """Return the verdicts alone."""
    return [outcome.verdict for outcome in outcomes]


@pytest.mark.parametrize(("version", "qos"), [("5", 1), ("5", 0), ("3.1.1", 1), ("3.1.1", 0)])
def test_structured(broker: Broker, version: str, qos: int) -> None:
    """The stored bytes arrive as they are, under the topic of the template, with their content type in MQTT 5."""

    async def scene() -> None:
        cloud = Recorder(("#", 1))
        async with running(cloud, broker.url, client_id="far"), sending(broker.url, version=version, qos=qos) as target:
            batch = [outgoing(n, temperature=n) for n in range(500)]
            assert await target.send(batch) == [DELIVERED] * 500
            await until(lambda: len(cloud.messages) == 500)
        assert [message.payload for message in cloud.messages] == [event.raw for event in batch]
        assert {message.topic for message in cloud.messages} == {"gw/house/z2m:hall/temperature_changed"}
        assert {message.qos for message in cloud.messages} == {qos}
        content = {message.properties.content_type for message in cloud.messages}
        assert content == {"application/cloudevents+json; charset=utf-8" if version == "5" else None}

    play(scene())


def test_a_route_names_its_own_topic(broker: Broker) -> None:
    """Events of a route with a topic template go there, the others where the target says."""

    async def scene() -> None:
        cloud = Recorder(("#", 1))
        async with running(cloud, broker.url, client_id="far"), sending(broker.url) as target:
            ours = msgspec.structs.replace(outgoing(1), topic="alarms/{device}")
            assert await target.send([ours, outgoing(2)]) == [DELIVERED] * 2
            await until(lambda: len(cloud.messages) == 2)
        assert [m.topic for m in cloud.messages] == ["alarms/z2m:hall", "gw/house/z2m:hall/temperature_changed"]

    play(scene())


def test_binary(broker: Broker) -> None:
    """In binary mode the attributes are user properties, the data is the payload, and the id is the same."""

    async def scene() -> None:
        cloud = Recorder(("#", 1))
        async with running(cloud, broker.url, client_id="far"), sending(broker.url, mode="binary") as target:
            await target.send([outgoing(7, temperature=21.5, unit="Cel"), outgoing(8)])
            await until(lambda: len(cloud.messages) == 2)
        first, second = cloud.messages
        assert msgspec.json.decode(first.payload) == {"temperature": 21.5, "unit": "Cel"}
        assert first.properties.content_type == "application/json"
        assert dict(first.properties.user_property) == {
            "specversion": "1.0",
            "id": "0123456789ab-1-7",
            "source": "/gw/house",
            "type": "temperature_changed",
            "subject": "house/z2m:hall",
            "time": "2026-11-23T06:02:42.123Z",
            "sequence": "0000000000000007",
        }
        assert (second.payload, second.properties.content_type) == (b"", None)

    play(scene())


def test_binary_mode_of_every_kind_of_value() -> None:
    """Texts with escapes, booleans and added attributes become plain text values; the data's bytes are untouched."""
    raw = b'{"specversion":"1.0","id":"a\\"\\u00e4","replayed":true,"data":{"b": [1, 2]},"n":5}'
    payload, properties = binary_mode(raw)
    assert payload == b'{"b": [1, 2]}'
    read = codec.Decoder(5).feed(codec.publish(b"t", payload, 0, 0, properties))[0]
    assert isinstance(read, p.Publish)
    assert read.properties.user_property == (("specversion", "1.0"), ("id", 'a"ä'), ("replayed", "true"), ("n", "5"))


def test_acl_refuses_one_topic(mosquitto: Callable[..., Broker]) -> None:
    """Events whose topic the ACL denies are rejected as not authorised; the others all arrive, in order."""
    broker = mosquitto(acl="topic read #\ntopic write gw/house/z2m:hall/temperature_changed\n")

    async def scene() -> None:
        cloud = Recorder(("#", 1))
        async with running(cloud, broker.url, client_id="far"), sending(broker.url, reconnect_first_s=5) as target:
            waiting = [outgoing(n, "door_opened" if n % 10 == 3 else "temperature_changed") for n in range(60)]
            rejected, delivered = [], []
            while waiting:
                await asyncio.wait_for(target.ready(), 30)
                outcomes = await target.send(waiting)
                rejected += [
                    e.sequence for e, o in zip(waiting, outcomes, strict=True) if o.verdict is Verdict.REJECTED
                ]
                delivered += [e.sequence for e, o in zip(waiting, outcomes, strict=True) if o == DELIVERED]
                assert {o.reason for o in outcomes if o.verdict is Verdict.REJECTED} <= {"Not authorized"}
                waiting = [e for e, o in zip(waiting, outcomes, strict=True) if o.verdict is Verdict.DOWN]
            assert rejected == [3, 13, 23, 33, 43, 53]
            assert delivered == [n for n in range(60) if n % 10 != 3]
            await until(lambda: len(set(_sequences(cloud))) == 54)
            assert list(dict.fromkeys(_sequences(cloud))) == delivered  # repeats do not change the order

    play(scene())


def _sequences(cloud: Recorder) -> list[int]:
    return [int(msgspec.json.decode(message.payload)["sequence"]) for message in cloud.messages]


def test_too_large_is_rejected_here(mosquitto: Callable[..., Broker]) -> None:
    """An event over the broker's packet limit is rejected without costing the connection or its neighbours."""
    broker = mosquitto(options={"max_packet_size": 2000})

    async def scene() -> None:
        async with sending(broker.url) as target:
            batch = [outgoing(1), outgoing(2, text="x" * 2000), outgoing(3)]
            outcomes = await target.send(batch)
            assert outcomes == [DELIVERED, Outcome(Verdict.REJECTED, "Packet too large"), DELIVERED]
            assert target.status()["connects"] == 1

    play(scene())


def test_without_a_connection() -> None:
    """Without a connection every event is told so at once."""

    async def scene() -> None:
        async with sending("mqtt://127.0.0.1:1", wait=False) as target:
            assert verdicts(await target.send([outgoing(1), outgoing(2)])) == [Verdict.DOWN] * 2

    play(scene())


def test_broker_killed_with_events_in_flight(mosquitto: Callable[..., Broker]) -> None:
    """Events without an answer when the connection ends are told so; after the restart they pass."""
    broker = mosquitto()

    async def scene() -> None:
        async with sending(broker.url) as target:
            batches = [[outgoing(n * 1000 + i) for i in range(1000)] for n in range(3)]
            assert broker.process is not None
            broker.process.send_signal(signal.SIGSTOP)  # it answers nothing any more
            sends = [asyncio.create_task(target.send(batch)) for batch in batches]
            await asyncio.sleep(0)
            broker.kill()
            outcomes = [outcome for send in sends for outcome in await asyncio.wait_for(send, 30)]
            assert set(verdicts(outcomes)) <= {Verdict.DOWN, Verdict.DELIVERED}
            assert Verdict.DOWN in verdicts(outcomes)
            broker.start()
            await asyncio.wait_for(target.ready(), 30)
            assert await target.send(batches[0]) == [DELIVERED] * 1000

    play(scene())


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (0x00, DELIVERED),
        (0x10, DELIVERED),
        (0x87, Outcome(Verdict.REJECTED, "Not authorized")),
        (0x90, Outcome(Verdict.REJECTED, "Topic name invalid")),
        (0x95, Outcome(Verdict.REJECTED, "Packet too large")),
        (0x99, Outcome(Verdict.REJECTED, "Payload format invalid")),
        (0x96, Outcome(Verdict.RETRY, "Message rate too high", throttled=True)),
        (0x97, Outcome(Verdict.RETRY, "Quota exceeded", throttled=True)),
        (0x80, Outcome(Verdict.RETRY, "Unspecified error")),
        (0x83, Outcome(Verdict.RETRY, "Implementation specific error")),
        (0xC7, Outcome(Verdict.RETRY, "0xC7")),
    ],
)
def test_what_each_puback_means(code: int, outcome: Outcome) -> None:
    """A PUBACK's reason code is the verdict on its event, in the broker's words."""

    async def scene() -> None:
        async with played(lambda publish: p.Puback(publish.packet_id, code)) as (url, _), sending(url) as target:
            assert await target.send([outgoing(1)]) == [outcome]

    play(scene())


def test_nothing_of_a_device_passes_what_waits() -> None:
    """Behind an event that has to wait, what has not left of its device waits as well; other devices pass."""

    def answer(publish: p.Publish) -> p.Packet:
        return p.Puback(publish.packet_id, 0x97 if b'"slow"' in publish.payload else 0)

    async def scene() -> None:
        async with played(answer, receive_maximum=1) as (url, published), sending(url) as target:
            names = ["slow", "fast", "slow", "fast", "slow"]
            outcomes = await target.send(
                [outgoing(n, device=f"house/{name}", name=name) for n, name in enumerate(names)]
            )
            assert verdicts(outcomes) == [
                Verdict.RETRY,
                Verdict.DELIVERED,
                Verdict.RETRY,
                Verdict.DELIVERED,
                Verdict.RETRY,
            ]
            assert all(outcome.throttled for outcome in outcomes if outcome.verdict is Verdict.RETRY)
            assert len(published) == 3

    play(scene())


def test_broker_that_stops_answering() -> None:
    """A broker that takes events and answers none is given up: the events are not left hanging."""

    async def scene() -> None:
        async with played(lambda _publish: None) as (url, _), sending(url, answer_timeout_s=0.2) as target:
            outcomes = await asyncio.wait_for(target.send([outgoing(1), outgoing(2)]), 30)
            assert verdicts(outcomes) == [Verdict.DOWN] * 2

    play(scene())


def test_goes_by_what_the_broker_takes() -> None:
    """Where the broker has no QoS 1 and no retained messages, events leave with QoS 0 and not retained."""

    async def scene() -> None:
        limited = played(lambda _publish: None, maximum_qos=0, retain_available=0)
        async with limited as (url, published), sending(url, retain=True) as target:
            assert await target.send([outgoing(1)]) == [DELIVERED]
            await until(lambda: published)
            assert (published[0].qos, published[0].retain) == (0, False)

    play(scene())


def test_sends_under_way_together_keep_their_order(broker: Broker) -> None:
    """Several sends at once leave one behind the other; each is answered with its own outcomes."""

    async def scene() -> None:
        cloud = Recorder(("#", 1))
        async with running(cloud, broker.url, client_id="far"), sending(broker.url) as target:
            batches = [[outgoing(n * 100 + i, n=n * 100 + i) for i in range(100)] for n in range(10)]
            results = await asyncio.gather(*(target.send(batch) for batch in batches))
            assert results == [[DELIVERED] * 100] * 10
            await until(lambda: len(cloud.messages) == 1000)
            arrived = [msgspec.json.decode(message.payload)["data"].get("n") for message in cloud.messages]
            assert arrived == list(range(1000))

    play(scene())


@pytest.mark.parametrize(
    ("template", "device", "topic"),
    [
        (
            "{gateway}/{source}/{device}/{type}",
            "house/z2m:bedroom/radiator",
            "gw/house/z2m:bedroom/radiator/door_opened",
        ),
        ("up/{lane}/{device}", "house/a+b#c\x00d", "up/telemetry/a_b_c_d"),
        ("up/{source}/{device}", "", "up/gateway/gateway"),
        ("fixed", "house/x", "fixed"),
    ],
)
def test_topics(template: str, device: str, topic: str) -> None:
    """The template is filled with what belongs to the event, and the result is always a valid topic."""

    async def scene() -> None:
        async with (
            played(lambda publish: p.Puback(publish.packet_id)) as (url, published),
            sending(url, topic=template) as target,
        ):
            assert await target.send([outgoing(1, "door_opened", device)]) == [DELIVERED]
            assert published[0].topic == topic

    play(scene())


def test_by_websockets(mosquitto: Callable[..., Broker]) -> None:
    """A target over WebSockets delivers and is refused in the same words."""
    broker = mosquitto(websockets=True, acl="topic read #\ntopic write gw/house/z2m:hall/temperature_changed\n")

    async def scene() -> None:
        cloud = Recorder(("#", 1))
        async with running(cloud, broker.url, client_id="far"), sending(broker.url) as target:
            batch = [outgoing(n) for n in range(200)]
            assert await target.send(batch) == [DELIVERED] * 200
            await until(lambda: len(cloud.messages) == 200)
            assert [message.payload for message in cloud.messages] == [event.raw for event in batch]
            (outcome,) = await target.send([outgoing(9, "door_opened")])
            assert outcome == Outcome(Verdict.REJECTED, "Not authorized")

    play(scene())


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"topic": "a/{room}"}, r"\{room\} in topic: use \{gateway\}"),
        ({"topic": "a/#"}, "does not make a topic"),
        ({"topic": ""}, "does not make a topic"),
        ({"mode": "binary", "version": "3.1.1"}, "needs MQTT 5"),
        ({"answer_timeout_s": 0}, "over 0"),
    ],
)
def test_options_say_what_is_wrong(options: dict[str, Any], what: str) -> None:
    """Options that cannot work are refused with words."""
    with pytest.raises(ValueError, match=what):
        MqttTargetOptions(url="mqtt://broker", **options)
