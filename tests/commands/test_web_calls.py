"""Calls to web services: a real journal, a real server of the standard library, and kills in between."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import NS_PER_S, rfc3339
from gateway.commands import web_calls
from gateway.commands.web_calls import WebCalls
from gateway.commands.web_services import WebServiceOptions
from gateway.event import Event
from gateway.journal.committer import Committer
from gateway.journal.journal import Journal
from gateway.secrets import Secret
from simulators.processes import free_port
from tests.commands.test_commands import SMALL, Jumping

WAIT_S = 60.0
Reply = tuple[int, dict[str, str], bytes]


class Service(ThreadingHTTPServer):
    """A web service that answers as it is told, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Requests)
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.replies: list[Reply] = []  # then 200 with {"ok": true}

    @property
    def url(self) -> str:
        """Return where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}/api"


class Requests(BaseHTTPRequestHandler):
    """Takes requests."""

    protocol_version = "HTTP/1.1"
    server: Service

    def answer(self) -> None:
        """Answer as the service says."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.command, self.path, headers, json.loads(body) if body else None))
        default: Reply = (200, {}, b'{"ok":true}')
        status, more, content = self.server.replies.pop(0) if self.server.replies else default
        if not status:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in {"content-length": str(len(content)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 - names http.server looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(port: int = 0) -> Iterator[Service]:
    """Run a service for the length of a block."""
    service = Service(port)
    thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.shutdown()
        service.server_close()
        thread.join()


class Scene:
    """A journal, its committer and the calls, running."""

    def __init__(self, folder: Path, services: dict[str, WebServiceOptions], **options: Any) -> None:
        self.clock = Jumping()
        self.journal = Journal.open(folder, SMALL, self.clock)
        self.committer = Committer(self.journal, lambda batch: self.calls.wake())
        self.results: list[Event] = []
        self.calls = WebCalls(self.journal, self.committer, services, self.record, self.clock, gateway="gw", **options)

    def record(self, event: Event) -> None:
        """Append what came of a call, as the pipeline does."""
        self.journal.append(event)
        self.results.append(event)
        self.committer.wake()

    def want(self, endpoint: str = "hook", method: str = "POST", target: str = "/api", **data: Any) -> Event:
        """Journal a call."""
        now = self.clock.wall_ns()
        data = {"endpoint": endpoint, "method": method, "target": target, "rule": "asks", **data}
        data.setdefault("expires", rfc3339(now + 600 * NS_PER_S))
        event = Event(
            source="/gw/rules", type="http_requested", time=rfc3339(now), lane="command", actor="rule:asks@1", data=data
        )
        self.journal.append(event)
        self.committer.wake(urgent=True)
        return event

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(WAIT_S):
            while not holds():
                await asyncio.sleep(0.01)


Act = Callable[[Scene], Awaitable[None]]


def play(folder: Path, services: dict[str, WebServiceOptions], act: Act, *, clean: bool = True, **options: Any) -> None:
    """Run a scene; unless it ends `clean`, nothing is committed after `act`, as after a kill."""

    async def run() -> None:
        scene = Scene(folder, services, **options)
        tasks = [asyncio.create_task(scene.committer.run()), asyncio.create_task(scene.calls.run())]
        try:
            await act(scene)
        finally:
            for task in reversed(tasks):
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            if clean:
                await scene.committer.close()
            else:
                scene.journal.close()

    asyncio.run(run())


@pytest.fixture
def service() -> Iterator[Service]:
    """Return a running service."""
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again soon."""
    monkeypatch.setattr(web_calls, "RETRY_FIRST_S", 0.01)
    monkeypatch.setattr(web_calls, "RETRY_MAX_S", 0.05)


def test_a_call_is_made_when_it_is_on_the_disk_and_answered_to_its_rule(tmp_path: Path, service: Service) -> None:
    """Method, path, body and key arrive; what comes back is a record for the rule and its function."""
    options = WebServiceOptions(url=service.url, methods=("POST",), headers={"X-House": "mine"})

    async def act(scene: Scene) -> None:
        call = scene.want(target="/api/a?b=1", json={"open": True}, then="arrived", arguments={"n": 1}, device="d")
        assert service.asked == []
        await scene.until(lambda: bool(scene.results))
        [(method, path, headers, body)] = service.asked
        assert (method, path, body) == ("POST", "/api/a?b=1", {"open": True})
        assert headers["idempotency-key"] == call.id
        assert (headers["content-type"], headers["x-house"]) == ("application/json", "mine")
        [answer] = scene.results
        assert (answer.type, answer.lane, answer.cause) == ("http_answered", "timer", call.id)
        assert answer.data == {
            "request": call.id, "status": 200, "tries": 1, "json": {"ok": True}, "endpoint": "hook", "method": "POST",
            "rule": "asks", "then": "arrived", "arguments": {"n": 1}, "device": "d",
        }  # fmt: skip

    play(tmp_path, {"hook": options}, act)


def test_it_is_tried_until_there_is_an_answer(tmp_path: Path, service: Service) -> None:
    """Errors of the server, a closed connection and a server that is away: tried again under the same key."""
    service.replies = [(503, {"retry-after": "0"}, b""), (0, {}, b""), (500, {}, b"")]

    async def act(scene: Scene) -> None:
        call = scene.want()
        await scene.until(lambda: bool(scene.results))
        assert [headers["idempotency-key"] for _, _, headers, _ in service.asked] == [call.id] * 4
        assert scene.results[0].data["status"] == 200
        assert scene.results[0].data["tries"] >= 3  # one on a connection that was kept is sent again at once

    play(tmp_path, {"hook": WebServiceOptions(url=service.url)}, act)


def test_refusals_and_redirects_are_answers(tmp_path: Path, service: Service) -> None:
    """404 is an answer; so is a redirect: it is not followed."""
    service.replies = [(404, {}, b"no such thing"), (302, {"location": f"{service.url}/elsewhere"}, b"")]

    async def act(scene: Scene) -> None:
        scene.want()
        scene.want()
        await scene.until(lambda: len(scene.results) == 2)
        assert [(each.data["status"], each.data.get("text")) for each in scene.results] == [
            (404, "no such thing"), (302, None),
        ]  # fmt: skip
        assert len(service.asked) == 2

    play(tmp_path, {"hook": WebServiceOptions(url=service.url)}, act)


def test_when_its_time_is_over_the_rule_is_told(tmp_path: Path, service: Service) -> None:
    """A call that is too late is not made; one that was tried in vain says how often, and what it heard last."""
    service.replies = [(503, {}, b"busy")] * 1000

    async def act(scene: Scene) -> None:
        scene.want(expires=rfc3339(scene.clock.wall_ns() - NS_PER_S))
        await scene.until(lambda: bool(scene.results))
        assert service.asked == []
        assert scene.results[0].data["error"] == "too late before it could be sent"
        scene.want()
        await scene.until(lambda: len(service.asked) > 1)
        scene.clock.ahead_ns = 601 * NS_PER_S
        await scene.until(lambda: len(scene.results) == 2)
        data = scene.results[1].data
        assert (data["status"], data["text"]) == (503, "busy")
        assert data["error"] == f"gave up after {data['tries']} tries: status 503"

    play(tmp_path, {"hook": WebServiceOptions(url=service.url)}, act)


def test_secrets_stand_in_no_record(tmp_path: Path, service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """They go to the service, and are cut out of what it sends back."""
    (tmp_path / "token").write_text("s3cret-t0ken\n")
    (tmp_path / "key").write_text("s3cret-key")
    options = WebServiceOptions(
        url=service.url,
        bearer=Secret("file", str(tmp_path / "token")),
        secrets={"X-Key": Secret("file", str(tmp_path / "key"))},
    )
    service.replies = [(200, {}, b'{"you sent": "s3cret-t0ken and s3cret-key"}')]

    async def act(scene: Scene) -> None:
        scene.want()
        await scene.until(lambda: bool(scene.results))
        (_, _, headers, _), *_ = service.asked
        assert (headers["authorization"], headers["x-key"]) == ("Bearer s3cret-t0ken", "s3cret-key")
        assert scene.results[0].data["json"] == {"you sent": "*** and ***"}

    play(tmp_path / "journal", {"hook": options}, act)
    written = b"".join(file.read_bytes() for file in (tmp_path / "journal").rglob("*") if file.is_file())
    assert b"s3cret" not in written
    assert "s3cret" not in caplog.text


def test_a_secret_that_cannot_be_read_is_said(tmp_path: Path, service: Service) -> None:
    """Nothing is sent without it, and the rule is told where it should have been."""
    options = WebServiceOptions(url=service.url, bearer=Secret("file", str(tmp_path / "nowhere")))

    async def act(scene: Scene) -> None:
        scene.want()
        await scene.until(lambda: bool(scene.calls.waiting))
        await asyncio.sleep(0.1)
        scene.clock.ahead_ns = 601 * NS_PER_S
        await scene.until(lambda: bool(scene.results))
        assert "secret" in scene.results[0].data["error"] or "too late" in scene.results[0].data["error"]
        assert service.asked == []

    play(tmp_path / "journal", {"hook": options}, act)


@pytest.mark.parametrize(
    "data",
    [
        {"target": "/other"},
        {"target": "/api/../admin"},
        {"target": "/api/%2e%2e/admin"},
        {"method": "DELETE"},
        {"endpoint": "gone"},
        {"target": "/api/x\r\nHost: evil"},
    ],
)
def test_nothing_else_is_called_whatever_a_record_says(tmp_path: Path, service: Service, data: dict[str, Any]) -> None:
    """The gateway does not trust the worker: paths, methods and services are looked at once more."""

    async def act(scene: Scene) -> None:
        scene.want(**data)
        await scene.until(lambda: bool(scene.results))
        assert scene.results[0].data["error"].startswith(("not allowed", "there is no service"))
        assert service.asked == []

    play(tmp_path, {"hook": WebServiceOptions(url=service.url)}, act)


def test_long_answers_are_cut_off(tmp_path: Path, service: Service) -> None:
    """A rule gets at most so much of a body, and is told that there was more."""
    service.replies = [(200, {}, b"[" + b"1," * 50 + b"1]"), (200, {}, b"\x00\xff" * 40)]

    async def act(scene: Scene) -> None:
        scene.want()
        scene.want()
        await scene.until(lambda: len(scene.results) == 2)
        first, second = (event.data for event in scene.results)
        assert (first["text"], first["cut_off"]) == ("[" + "1," * 39 + "1", True)
        assert second["text"] == "\x00\ufffd" * 40

    play(tmp_path, {"hook": WebServiceOptions(url=service.url, answer_bytes_max=80)}, act)


def test_observed_calls_are_recorded_and_not_made(tmp_path: Path, service: Service) -> None:
    """Where commands are only observed, so are calls: all of them, or those of one rule."""

    async def act(scene: Scene) -> None:
        scene.want(observe=True)
        await scene.until(lambda: bool(scene.results))
        [event] = scene.results
        assert (event.type, event.data["value"]) == ("command_observed", "POST hook")

    play(tmp_path / "a", {"hook": WebServiceOptions(url=service.url)}, act)
    play(tmp_path / "b", {"hook": WebServiceOptions(url=service.url)}, act, observe=True)
    assert service.asked == []


def test_so_many_a_minute(tmp_path: Path, service: Service) -> None:
    """What is beyond the limit of a minute waits."""

    async def act(scene: Scene) -> None:
        for _ in range(5):
            scene.want()
        await scene.until(lambda: len(scene.results) == 3)
        await asyncio.sleep(0.2)
        assert (len(service.asked), scene.calls.waiting) == (3, 2)

    play(tmp_path, {"hook": WebServiceOptions(url=service.url, per_minute_max=3)}, act)


def test_a_kill_repeats_what_may_be_repeated_and_nothing_else(
    tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off after the request: asked again under the same key; with once the rule is told that nobody knows."""
    services = {"hook": WebServiceOptions(url=service.url)}
    calls: list[Event] = []

    async def killed(scene: Scene) -> None:
        answered: list[object] = []
        monkeypatch.setattr(scene.calls, "_over", lambda call, *_, **__: answered.append(call))  # it does not get there
        for number in (1, 2):
            calls.append(scene.want(json=number, once=number == 2))
            await scene.until(lambda: len(answered) == len(calls))

    play(tmp_path, services, killed, clean=False)
    assert [body for _, _, _, body in service.asked] == [1, 2]

    async def after(scene: Scene) -> None:
        await scene.until(lambda: len(scene.results) == 2)
        by_call = {event.data["request"]: event.data for event in scene.results}
        assert by_call[calls[0].id]["status"] == 200
        assert by_call[calls[1].id]["error"] == "cut off while it was sent: nobody knows whether it arrived"
        await scene.committer.flush()
        assert dict(scene.journal.table("http")) == {}

    play(tmp_path, services, after)
    assert [body for _, _, _, body in service.asked] == [1, 2, 1]
    assert service.asked[0][2]["idempotency-key"] == service.asked[2][2]["idempotency-key"]

    async def later(scene: Scene) -> None:
        scene.want(json=3)
        await scene.until(lambda: bool(scene.results))
        await asyncio.sleep(0.05)
        assert len(scene.results) == 1

    play(tmp_path, services, later)
    assert len(service.asked) == 4


def test_once_is_tried_until_it_was_sent(tmp_path: Path) -> None:
    """Without a connection nothing was sent, and what may be sent once waits; then it is sent once, answer or not."""
    port = free_port()
    options = WebServiceOptions(url=f"http://127.0.0.1:{port}/api")

    async def act(scene: Scene) -> None:
        scene.want(once=True)
        await asyncio.sleep(0.2)
        assert scene.results == []
        with serving(port) as service:
            service.replies = [(0, {}, b"")]
            await scene.until(lambda: bool(scene.results))
            assert scene.results[0].data["error"].startswith("sent, but nobody knows")
            assert len(service.asked) == 1

    play(tmp_path, {"hook": options}, act)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"url": "ftp://x"}, "not the address"),
        ({"url": "https://x/?a=1"}, "not the address"),
        ({"url": "https://me:pw@x/"}, "do not belong in the url"),
        ({"url": "https://x", "tls": {"verify": False}}, "always verified"),
        ({"url": "http://x", "tls": {"server_name": "y"}}, "does not use it"),
        ({"url": "https://x", "headers": {"Host": "y"}}, "the gateway's own"),
        ({"url": "https://x", "headers": {"A B": "y"}}, "no header"),
        ({"url": "https://x", "methods": []}, "must not be empty"),
        ({"url": "https://x", "answer_bytes_max": 10**9}, "at most"),
    ],
)
def test_a_service_is_checked(fields: dict[str, Any], words: str) -> None:
    """What a person wrote about a service is looked at when the config is read."""
    import msgspec

    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert(fields, WebServiceOptions)
