"""The HTTP source on real sockets: 200 when it is on the disk and not before, who may post, and every limit."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.secrets import Secret
from gateway.sources import http_client
from gateway.sources.http import HttpSource, HttpSourceOptions
from gateway.sources.source import Delivery

WITHIN_S = 60.0
FILTERS = ("door/+", "cam/#")


class Rig:
    """A source in a thread of its own; `hold` keeps acknowledgements back until `acknowledge`."""

    def __init__(self, hold: bool = False, **options: Any) -> None:
        self.source = HttpSource(
            "web", HttpSourceOptions(port=0, **{"answer_s": WITHIN_S, **options}), lambda: FILTERS, SystemClock()
        )
        self.deliveries: list[Delivery] = []
        self.hold = hold
        self._began = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self.source.run(self._inbox))
        await self.source.ready.wait()
        self._began.set()
        await asyncio.gather(self._task, return_exceptions=True)

    def _inbox(self, deliveries: Sequence[Delivery]) -> None:
        self.deliveries += deliveries
        if not self.hold:
            for delivery in deliveries:
                delivery.ack()

    def call(self, function: Callable[[], Any]) -> None:
        """Do something on the loop's thread."""
        self.loop.call_soon_threadsafe(function)

    def acknowledge(self) -> None:
        """Acknowledge everything so far."""
        self.call(lambda: [delivery.ack() for delivery in self.deliveries])

    def __enter__(self) -> Rig:
        self._thread.start()
        assert self._began.wait(WITHIN_S)
        return self

    def __exit__(self, *error: object) -> None:
        self.call(self._task.cancel)
        self._thread.join(WITHIN_S)
        assert not self._thread.is_alive()

    def client(self) -> http.client.HTTPConnection:
        """Connect."""
        return http.client.HTTPConnection("127.0.0.1", self.source.port, timeout=WITHIN_S)

    def post(self, path: str = "/door/front", body: bytes = b"{}", **headers: str) -> tuple[int, dict[str, Any]]:
        """Post on a connection of its own; return status and answer."""
        client = self.client()
        client.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = client.getresponse()
        said = json.loads(answer.read() or b"{}")
        client.close()
        return answer.status, said


def test_200_waits_for_the_disk() -> None:
    """Nothing is answered while the message may still be lost; then the same connection takes the next one."""
    with Rig(hold=True) as rig:
        client = rig.client()
        client.request("POST", "/door/front", b'{"open": true}')
        assert client.sock is not None
        client.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)
        client.sock.settimeout(WITHIN_S)
        rig.acknowledge()
        answer = client.getresponse()
        assert (answer.status, json.loads(answer.read())) == (200, {"accepted": True})
        rig.hold = False
        client.request("GET", "/door/back?open=1")
        answer = client.getresponse()
        answer.read()
        assert answer.status == 200
        client.close()
    assert [(each.topic, each.payload, each.qos) for each in rig.deliveries] == [
        ("door/front", b'{"open": true}', 1),
        ("door/back", b'{"open":"1"}', 1),
    ]


def test_a_repeat_makes_no_second_event() -> None:
    """While the first waits it is answered with it, later at once."""
    with Rig(hold=True) as rig:
        answers: list[int] = []
        threads = [threading.Thread(target=lambda: answers.append(rig.post(Idempotency_Key="a")[0])) for _ in range(2)]
        for thread in threads:
            thread.start()
        while rig.source.status()["repeated"] == 0:
            threading.Event().wait(0.01)
        rig.acknowledge()
        for thread in threads:
            thread.join(WITHIN_S)
        assert answers == [200, 200]
        assert rig.post(Idempotency_Key="a")[0] == 200
        assert len(rig.deliveries) == 1


def test_what_nobody_reads_and_what_is_too_large_is_refused() -> None:
    """404 names the topic, 413 comes before the body is read, 405 for what is no message."""
    with Rig(body_bytes_max=1000) as rig:
        assert rig.post("/window/left") == (404, {"error": "no profile reads window/left"})
        assert rig.post(body=b"x" * 1001)[0] == 413
        client = rig.client()
        client.request("DELETE", "/door/front")
        assert client.getresponse().status == 405
        client.close()
        assert rig.post(body=b"x" * 1000)[0] == 200
        assert len(rig.deliveries) == 1


def test_who_sends_on_behind_a_refusal_hears_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends all of a large picture before it looks finds the answer there, and no reset."""
    monkeypatch.setattr(http_client, "LINGER_S", WITHIN_S)
    with Rig(body_bytes_max=1000) as rig:
        assert rig.post(body=b"x" * 5_000_000) == (413, {"error": "at most 1000 bytes"})
        rig.call(rig.source.pause)
        assert rig.post(body=b"x" * 1000)[0] == 503
        rig.call(rig.source.resume)
        assert rig.post()[0] == 200


def test_a_body_of_unknown_length_is_bounded_too() -> None:
    """Chunks that do not end."""
    with Rig(body_bytes_max=1000) as rig, socket.create_connection(("127.0.0.1", rig.source.port), WITHIN_S) as raw:
        raw.sendall(b"POST /door/front HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        raw.sendall((b"1f4\r\n" + b"x" * 500 + b"\r\n") * 3)
        assert b" 413 " in raw.recv(4096)
    assert rig.deliveries == []


def test_two_requests_sent_at_once_are_answered_in_order() -> None:
    """Pipelining: the second is read when the first has its answer."""
    with Rig() as rig, socket.create_connection(("127.0.0.1", rig.source.port), WITHIN_S) as raw:
        one = b"POST /door/%d HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n7"
        raw.sendall(one % 1 + one % 2 + (one % 3)[:20])
        got = b""
        while got.count(b"200 ") < 2:
            got += raw.recv(4096)
        raw.sendall((one % 3)[20:])
        while got.count(b"200 ") < 3:
            got += raw.recv(4096)
    assert [each.topic for each in rig.deliveries] == ["door/1", "door/2", "door/3"]


def test_backpressure_is_503() -> None:
    """Paused by the pipeline, or more waiting than allowed: come again; nothing is taken."""
    with Rig(hold=True, waiting_max=1, answer_s=0.1) as rig:
        rig.call(rig.source.pause)
        assert rig.post()[0] == 503
        rig.call(rig.source.resume)
        assert rig.post() == (503, {"error": "not on the disk yet"})
        assert len(rig.deliveries) == 1
        status, said = rig.post()
        assert (status, len(rig.deliveries)) == (503, 1), said
        rig.acknowledge()
        rig.hold = False
        while rig.source.status()["unacknowledged"]:
            threading.Event().wait(0.01)
        assert rig.post()[0] == 200


def test_who_may_post(tmp_path: Path) -> None:
    """The token, or a user; nobody else, and a wrong one never sees the inbox; no secret is in what it says."""
    (tmp_path / "token").write_text("s3cret-token\n")
    (tmp_path / "cam").write_text("pw\n")
    options = {
        "token": Secret("file", str(tmp_path / "token")),
        "users": {"cam": Secret("file", str(tmp_path / "cam"))},
    }
    with Rig(**options) as rig:
        wrong = ("", "Bearer wrong", "Basic Y2FtOndyb25n", "Basic ???", "Digest x")
        with ThreadPoolExecutor(len(wrong)) as posting:  # each has to wait for its answer
            answers = posting.map(lambda said: rig.post(**({"Authorization": said} if said else {})), wrong)
        assert set(map(str, answers)) == {str((401, {"error": "who are you?"}))}
        assert rig.deliveries == []
        assert rig.post(Authorization="Bearer s3cret-token")[0] == 200
        assert rig.post(Authorization="Basic Y2FtOnB3")[0] == 200
        assert rig.source.status()["unauthorized"] == 5
        assert "s3cret" not in str(rig.source.status())


def test_an_open_port_needs_somebody_to_ask() -> None:
    """Beyond this machine only with token, users or certificates."""
    with pytest.raises(ValueError, match="anybody may post"):
        HttpSourceOptions(host="0.0.0.0")
    with pytest.raises(ValueError, match="belong together"):
        HttpSourceOptions(certificate=Path("a.pem"))
    assert HttpSourceOptions(host="::1").port == 8480


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"POST /a HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 5000]
)
def test_garbage_costs_its_connection_only(garbage: bytes) -> None:
    """TLS on the wrong port, no HTTP, a head without end: closed, and others go on."""
    with Rig() as rig:
        with socket.create_connection(("127.0.0.1", rig.source.port), WITHIN_S) as raw:
            raw.sendall(garbage)
            with suppress(ConnectionError):  # closed with some of it unread
                while raw.recv(4096):
                    pass
        assert rig.post()[0] == 200


def test_a_client_that_goes_away_loses_nothing() -> None:
    """What it had posted is handed on, and its answer is nobody's."""
    with Rig(hold=True) as rig:
        client = rig.client()
        client.request("POST", "/door/front", b"{}")
        while not rig.deliveries:
            threading.Event().wait(0.01)
        client.close()
        rig.acknowledge()
        while rig.source.status()["unacknowledged"]:
            threading.Event().wait(0.01)
        rig.hold = False
        assert rig.post()[0] == 200
