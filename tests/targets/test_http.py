"""The HTTP target against a real HTTP server that shares no code with it."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from gateway.clock import SystemClock
from gateway.mqtt.options import TlsOptions
from gateway.targets.http import HttpTarget, HttpTargetOptions
from gateway.targets.http_answer import retry_after_s
from gateway.targets.target import Outcome, Outgoing, Verdict
from simulators.cloud_http import CloudHttp
from tests.targets.outgoing import outgoing

WAIT_S = 60.0
QUICK = {"reconnect_first_s": 0.01, "reconnect_max_s": 0.05, "answer_timeout_s": WAIT_S}


@asynccontextmanager
async def target_of(cloud: CloudHttp, **options: object) -> AsyncIterator[HttpTarget]:
    """Run a target towards a server."""
    target = HttpTarget("cloud", HttpTargetOptions(**{"url": cloud.url, **QUICK, **options}), SystemClock())
    task = asyncio.create_task(target.run())
    await asyncio.sleep(0)
    try:
        yield target
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0)


def send(cloud: CloudHttp, batch: Sequence[Outgoing], *, first: str | None = "200", **options: object) -> list[Outcome]:
    """Send one batch; `first` is an answer to a batch before it, so that the server is no stranger."""

    async def main() -> list[Outcome]:
        async with target_of(cloud, **options) as target:
            if first:
                cloud.answers.appendleft(type(cloud.usual).parse(first))
                await target.send(outgoing(1, start=9_000_000))
                cloud.accepted.clear()
                cloud.requests.clear()
            return list(await target.send(batch))

    return asyncio.run(main())


def verdicts(outcomes: Sequence[Outcome]) -> list[Verdict]:
    """Return the verdicts only."""
    return [outcome.verdict for outcome in outcomes]


BOTH = pytest.mark.parametrize("mode", ["structured", "batched"])


@BOTH
def test_events_arrive_as_stored_and_in_order(mode: str) -> None:
    """What was stored is what arrives: same ids, same attributes, each device in order."""
    batch = outgoing(100)
    with CloudHttp() as cloud:
        assert verdicts(send(cloud, batch, mode=mode)) == [Verdict.DELIVERED] * 100
        assert sorted(cloud.arrived()) == sorted(event.id for event in batch)
        for device in {event.subject for event in batch}:
            numbers = [event["data"]["n"] for event in cloud.accepted if event["subject"] == device]
            assert numbers == sorted(numbers)
        stored = {event.id: json.loads(event.raw) for event in batch}
        assert all(event == stored[event["id"]] for event in cloud.accepted)


def test_structured_is_one_event_a_request_with_its_id_as_key() -> None:
    """A structured request has the CloudEvents media type and the event's id as its idempotency key."""
    with CloudHttp() as cloud:
        send(cloud, outgoing(5), mode="structured")
        for taken in cloud.requests:
            assert taken.headers["content-type"].startswith("application/cloudevents+json")
            assert taken.headers["idempotency-key"] == taken.events[0]["id"]
            assert len(taken.events) == 1


def test_a_batch_has_the_same_key_when_it_is_sent_again() -> None:
    """The same events make the same idempotency key, other events another one."""
    with CloudHttp() as cloud:

        async def main() -> None:
            async with target_of(cloud, mode="batched") as target:
                for batch in (outgoing(50), outgoing(50), outgoing(50, start=50)):
                    await target.send(batch)

        asyncio.run(main())
        first, again, other = (taken.headers["idempotency-key"] for taken in cloud.requests)
        assert first == again != other
        assert cloud.requests[0].headers["content-type"].startswith("application/cloudevents-batch+json")


def test_a_batch_keeps_its_byte_limit_and_its_order() -> None:
    """A batch larger than `body_bytes_max` leaves as several requests, each within it, in order."""
    with CloudHttp() as cloud:
        send(cloud, outgoing(100), mode="batched", body_bytes_max=2000)
        assert len(cloud.requests) > 5
        assert max(len(taken.body) for taken in cloud.requests) <= 2000
        assert [event["data"]["n"] for event in cloud.accepted] == list(range(100))


@BOTH
def test_gzip(mode: str) -> None:
    """Compressed bodies are declared and hold the same events."""
    with CloudHttp() as cloud:
        send(cloud, outgoing(100), mode=mode, gzip=True)
        assert len(cloud.accepted) == 100
        assert all(taken.headers["content-encoding"] == "gzip" for taken in cloud.requests)
        assert gzip.decompress(cloud.requests[0].body)[:1] in b"[{"


def test_connections_are_kept() -> None:
    """Requests share connections: no more than `connections` are opened for hundreds of requests."""
    with CloudHttp() as cloud:
        send(cloud, outgoing(300), mode="structured", connections=3)
        assert len(cloud.requests) == 300
        assert cloud.connections <= 3


@BOTH
@pytest.mark.parametrize(
    ("answer", "verdict", "throttled"),
    [
        ("429:7", Verdict.RETRY, True),
        ("503:7", Verdict.RETRY, True),
        ("500", Verdict.RETRY, False),
        ("502", Verdict.RETRY, False),
        ("408", Verdict.RETRY, False),
        ("425", Verdict.RETRY, False),
        ("400", Verdict.REJECTED, False),
        ("413", Verdict.REJECTED, False),
        ("422", Verdict.REJECTED, False),
        ("401", Verdict.STOP, False),
        ("403", Verdict.STOP, False),
        ("404", Verdict.STOP, False),
        ("410", Verdict.STOP, False),
        ("405", Verdict.STOP, False),
        ("301", Verdict.STOP, False),
        ("reset", Verdict.DOWN, False),
        ("close", Verdict.DOWN, False),
        ("silent", Verdict.DOWN, False),
        ("partial", Verdict.RETRY, False),
        ("garbage", Verdict.RETRY, False),
    ],
)
def test_what_an_answer_means_for_one_event(mode: str, answer: str, verdict: Verdict, throttled: bool) -> None:
    """Every kind of answer gets the verdict it deserves."""
    patience = {"answer_timeout_s": 0.5} if answer == "silent" else {}
    with CloudHttp(answers=[answer, answer]) as cloud:
        (outcome,) = send(cloud, outgoing(1), mode=mode, **patience)
        assert outcome.verdict is verdict
        assert outcome.throttled is throttled
        assert outcome.after == (7.0 if throttled else None)
        assert outcome.reason


def test_a_slow_answer_is_waited_for() -> None:
    """An answer that comes before the timeout counts."""
    with CloudHttp(answers=["slow:0.2"]) as cloud:
        assert verdicts(send(cloud, outgoing(1))) == [Verdict.DELIVERED]


def test_retry_after_as_a_date() -> None:
    """Retry-After is read as seconds and as an HTTP date; nonsense is no time."""
    with CloudHttp(answers=["date:100"]) as cloud:
        (outcome,) = send(cloud, outgoing(1))
        assert outcome.after is not None
        assert 99 <= outcome.after <= 100 + WAIT_S  # the server looks at its clock twice
    assert retry_after_s({"retry-after": "3"}, 0) == 3.0
    assert retry_after_s({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, 0) == 60.0
    assert retry_after_s({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, 10**12) == 0.0
    theirs = {"retry-after": "Mon, 23 Nov 2026 08:00:30 GMT", "date": "Mon, 23 Nov 2026 08:00:00 GMT"}
    assert retry_after_s(theirs, 0) == 30.0, "by the server's clock: ours may say 1970"
    assert retry_after_s({"retry-after": "soon"}, 0) is None
    assert retry_after_s({}, 0) is None


@pytest.mark.parametrize("status", ["400", "413", "422"])
@pytest.mark.parametrize("at", [0, 37, 99])
def test_a_batch_is_halved_down_to_the_event_to_blame(status: str, at: int) -> None:
    """A batch refused for one event is halved until that event stands alone; the others are delivered in order."""
    with CloudHttp(poison={str(at): status}) as cloud:
        outcomes = send(cloud, outgoing(100), mode="batched")
        assert [i for i, outcome in enumerate(outcomes) if outcome.verdict is not Verdict.DELIVERED] == [at]
        assert outcomes[at].verdict is Verdict.REJECTED
        assert outcomes[at].reason.startswith(status)
        assert [event["data"]["n"] for event in cloud.accepted] == [n for n in range(100) if n != at]
        assert len(cloud.requests) <= 2 * 7 + 1


def test_a_body_that_is_too_large_is_halved_to_what_fits() -> None:
    """413 for the size of the batch halves it; nothing is rejected when the events themselves fit."""
    with CloudHttp(limit_bytes=3000) as cloud:
        outcomes = send(cloud, outgoing(100), mode="batched")
        assert verdicts(outcomes) == [Verdict.DELIVERED] * 100
        assert [event["data"]["n"] for event in cloud.accepted] == list(range(100))


@BOTH
def test_nothing_of_a_device_passes_its_event_that_failed(mode: str) -> None:
    """Behind an event that has to be retried nothing newer of its device is sent in the same send."""
    with CloudHttp(poison={"13": "500"}) as cloud:
        outcomes = send(cloud, outgoing(100), mode=mode)
        assert outcomes[13].verdict is Verdict.RETRY
        assert not [event for event in cloud.accepted if event["subject"] == "house/test:3" and event["data"]["n"] > 3]
        if mode == "structured":
            assert sum(outcome.verdict is Verdict.DELIVERED for outcome in outcomes) == 91
            assert all(outcome.throttled for outcome in outcomes[23::10])


@BOTH
def test_results_judge_events_one_by_one(mode: str) -> None:
    """A 2xx body with results is honoured: refused, throttled and failed events are told apart, the rest delivered."""
    with CloudHttp(poison={"2": "422", "3": "429:5", "4": "500"}) as cloud:
        cloud.usual = type(cloud.usual).parse("results")
        outcomes = send(cloud, outgoing(10), mode=mode, first="200")
        wanted = [Verdict.DELIVERED] * 10
        wanted[2:5] = [Verdict.REJECTED, Verdict.RETRY, Verdict.RETRY]
        if mode == "batched":
            assert verdicts(outcomes) == wanted
            assert (outcomes[3].after, outcomes[3].throttled) == (5.0, True)
            assert not outcomes[4].throttled
        else:
            assert outcomes[2].verdict is Verdict.REJECTED
            assert outcomes[4].verdict is Verdict.RETRY


def test_a_server_that_never_took_anything_rejects_nothing() -> None:
    """400 to everything from a server that has not taken one event is a stop, after a few tries, not dead letters."""
    with CloudHttp() as cloud:
        cloud.usual = type(cloud.usual).parse("400")
        outcomes = send(cloud, outgoing(200), mode="batched", first=None)
        assert Verdict.STOP in verdicts(outcomes)
        assert Verdict.REJECTED not in verdicts(outcomes)
        assert len(cloud.requests) < 40


def test_a_stranger_that_takes_others_may_reject() -> None:
    """A refused event among accepted ones is rejected, also by a server that is new to us."""
    with CloudHttp(poison={"0": "422"}) as cloud:
        outcomes = send(cloud, outgoing(10), mode="batched", first=None)
        assert verdicts(outcomes) == [Verdict.REJECTED] + [Verdict.DELIVERED] * 9


def test_ready_waits_for_a_server_that_is_away(tmp_path: Path) -> None:
    """With nobody listening sends are DOWN; `ready` returns when the server is back on its port."""

    async def main() -> None:
        cloud = CloudHttp().start()
        async with target_of(cloud) as target:
            assert verdicts(await target.send(outgoing(3))) == [Verdict.DELIVERED] * 3
            await asyncio.to_thread(cloud.stop)
            assert Verdict.DOWN in verdicts(await target.send(outgoing(3)))
            assert not target.status()["connected"]
            waiting = asyncio.create_task(target.ready())
            await asyncio.sleep(0.1)
            assert not waiting.done()
            cloud.start()
            async with asyncio.timeout(WAIT_S):
                await waiting
            assert verdicts(await target.send(outgoing(3, start=3))) == [Verdict.DELIVERED] * 3
        await asyncio.to_thread(cloud.stop)

    asyncio.run(main())


def test_a_connection_closed_while_idle_is_no_failure() -> None:
    """A server that has closed a kept connection in the meantime gets the request on a new one."""

    async def main() -> None:
        cloud = CloudHttp().start()
        async with target_of(cloud) as target:
            assert verdicts(await target.send(outgoing(1))) == [Verdict.DELIVERED]
            await asyncio.to_thread(cloud.stop)
            cloud.start()
            assert verdicts(await target.send(outgoing(1, start=1))) == [Verdict.DELIVERED]
        await asyncio.to_thread(cloud.stop)

    asyncio.run(main())


def test_a_kept_connection_that_closes_on_our_request_is_no_failure() -> None:
    """A server that closes a kept connection just as we write gets the request once more, on a new one."""
    with CloudHttp(answers=["close"]) as cloud:
        assert verdicts(send(cloud, outgoing(1))) == [Verdict.DELIVERED]
        assert cloud.connections == 2


def test_a_batch_behind_one_that_failed_is_not_sent() -> None:
    """When a send takes several requests, nothing is sent behind one that has to be repeated."""
    with CloudHttp(poison={"13": "500"}) as cloud:
        outcomes = send(cloud, outgoing(100), mode="batched", body_bytes_max=2000)
        assert max(event["data"]["n"] for event in cloud.accepted) < 13
        assert outcomes[13].reason.startswith("500")
        assert all(outcome.throttled for outcome in outcomes[50:])


def test_a_name_that_does_not_resolve_is_down() -> None:
    """A host nobody knows is a target that is down, with the reason in status."""

    async def main() -> None:
        options = HttpTargetOptions(url="http://nobody.invalid/", connect_timeout_s=5)
        target = HttpTarget("cloud", options, SystemClock())
        (outcome,) = await target.send(outgoing(1))
        assert outcome.verdict is Verdict.DOWN
        assert "cannot connect" in str(target.status()["last_error"])

    asyncio.run(main())


class Changing:
    """A secret in a file that somebody replaces."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.reads = 0

    def __call__(self) -> str:
        """Read it."""
        self.reads += 1
        return self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]


@BOTH
def test_bearer_token(mode: str) -> None:
    """The token is sent; a wrong one stops the route and rejects nothing."""
    with CloudHttp(token="right") as cloud:
        assert set(verdicts(send(cloud, outgoing(10), mode=mode, bearer=Changing("right")))) == {Verdict.DELIVERED}
    with CloudHttp(token="right") as cloud:
        outcomes = send(cloud, outgoing(10), mode=mode, bearer=Changing("wrong"), first=None)
        assert Verdict.STOP in verdicts(outcomes)
        assert not {Verdict.REJECTED, Verdict.DELIVERED} & set(verdicts(outcomes))
        assert "wrong" not in str(outcomes)


def test_a_rotated_token_is_read_again_at_once() -> None:
    """After a 401 the secret is read once more; if it has changed the request is repeated with it."""
    token = Changing("old", "new")
    with CloudHttp(token="new") as cloud:
        assert verdicts(send(cloud, outgoing(3), bearer=token, first=None)) == [Verdict.DELIVERED] * 3
    assert token.reads == 2


@BOTH
@pytest.mark.parametrize("compressed", [False, True])
def test_signature(mode: str, compressed: bool) -> None:
    """The receiver can verify the signature over the body as it travelled."""
    secret = b"0123456789abcdef"
    written = "whsec_" + base64.b64encode(secret).decode()
    with CloudHttp(secret=secret) as cloud:
        outcomes = send(cloud, outgoing(10), mode=mode, signature=Changing(written), gzip=compressed)
        assert verdicts(outcomes) == [Verdict.DELIVERED] * 10
        taken = cloud.requests[0]
        assert taken.headers["webhook-id"] == taken.headers["idempotency-key"]
    with CloudHttp(secret=b"another") as cloud:
        assert Verdict.DELIVERED not in verdicts(send(cloud, outgoing(1), signature=Changing(written), first=None))


def test_tls_with_client_certificate(tmp_path: Path) -> None:
    """Over TLS the server is verified against the CA given and sees our certificate; an unknown CA is down."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    context.load_verify_locations(tmp_path / "cert.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    ours = TlsOptions(ca=tmp_path / "cert.pem", certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem")
    with CloudHttp(context=context) as cloud:
        assert verdicts(send(cloud, outgoing(20), tls=ours, first=None)) == [Verdict.DELIVERED] * 20
        (outcome,) = send(cloud, outgoing(1), first=None)
        assert outcome.verdict is Verdict.DOWN
        assert "not trusted" in outcome.reason


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"url": "ftp://x"}, "address of a web service"),
        ({"url": "https://user:secret@x/"}, "do not belong in the url"),
        ({"url": "http://x", "tls": {"verify": False}}, "write https"),
        ({"url": "http://x", "batch_max": 0}, "over 0"),
        ({"url": "http://x", "headers": {"bad header": "x"}}, "is no header"),
        ({"url": "http://x", "mode": "binary"}, "Invalid enum value"),
    ],
)
def test_options_that_cannot_work_are_refused(wrong: dict[str, object], words: str) -> None:
    """A wrong option is refused with words that say what to write."""
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert(wrong, HttpTargetOptions)
