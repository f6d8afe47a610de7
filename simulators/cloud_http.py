"""A cloud that takes events over HTTP and answers as a script says.

    python -m simulators.cloud_http --port 8080 --answer 429:2 --answer 500 --answer reset --ledger got.ndjson

Takes CloudEvents structured, batched and binary-free; keeps what it accepted, and can write it to a ledger (one event
a line) before it answers.  Without a script it answers 200.  An answer is one of

    200 ... 599[:SECONDS]   that status; with SECONDS a Retry-After
    date:SECONDS            429 with Retry-After as an HTTP date
    reset                   the connection is reset before an answer
    close                   closed before an answer
    silent                  no answer at all, the connection stays open
    slow:SECONDS            200, so much later
    partial                 200 accepted, but the answer is cut off in the middle
    garbage                 bytes that are no HTTP
    results                 200 with a result for each event; poison events are named in it

``--poison PATTERN=ANSWER`` answers so whenever the request holds an event whose id, subject or n (`data.n`) fits;
``--limit BYTES`` answers 413 to larger bodies; ``--token`` and ``--secret`` ask for a bearer token and a signature.
Written on http.server, which shares nothing with the gateway's client.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import fnmatch
import gzip
import hmac
import json
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SILENT_MAX_S = 120.0
JSON = "application/cloudevents+json"
JSON_BATCH = "application/cloudevents-batch+json"


@dataclass(frozen=True, slots=True)
class Answer:
    """One scripted answer."""

    kind: str  # "status" or one of the words above
    status: int = 200
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str) -> Answer:
        """Read one; ValueError if it is none."""
        word, _, seconds = text.partition(":")
        after = float(seconds) if seconds else None
        if word.isdecimal() and 200 <= int(word) <= 599:
            return cls("status", int(word), after)
        if word in ("reset", "close", "silent", "slow", "partial", "garbage", "results", "date"):
            return cls(word, 429 if word == "date" else 200, after)
        raise ValueError(f"not an answer: {text!r}")


OK = Answer("status")


@dataclass(frozen=True, slots=True)
class Taken:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes  # as it travelled
    events: list[dict[str, Any]]


class CloudHttp:
    """The server; `answers` are used up one a request, then `usual`."""

    def __init__(
        self,
        port: int = 0,
        *,
        answers: Sequence[str | Answer] = (),
        poison: dict[str, str] | None = None,
        limit_bytes: int | None = None,
        token: str | None = None,
        secret: bytes | None = None,
        ledger: Path | None = None,
        context: ssl.SSLContext | None = None,
        plain: bool = False,
    ) -> None:
        """Prepare; nothing listens before `start`."""
        self.answers: deque[Answer] = deque(a if isinstance(a, Answer) else Answer.parse(a) for a in answers)
        self.poison = {pattern: Answer.parse(answer) for pattern, answer in (poison or {}).items()}
        self.usual = OK
        self.limit_bytes = limit_bytes
        self.token = token
        self.secret = secret
        self.accepted: list[dict[str, Any]] = []  # in order, repeats included
        self.requests: list[Taken] = []
        self.put: dict[str, bytes] = {}  # by path
        self.put_status = 201
        self.connections = 0
        self.port = port
        self.plain = plain  # takes any object in JSON, such as a notification
        self._ledger = ledger.open("ab") if ledger else None
        self._context = context
        self._lock = threading.Lock()
        self._living: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    @property
    def url(self) -> str:
        """Return where events go."""
        return f"http{'s' if self._context else ''}://127.0.0.1:{self.port}/events"

    def start(self) -> CloudHttp:
        """Listen on loopback, on the same port as before if there was one."""
        self._stopped.clear()
        self._server = _Server(self, self.port)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="cloud-http", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        if self._ledger:
            self._ledger.close()

    def stop(self) -> None:
        """Stop as a killed process does: every connection is reset."""
        self._stopped.set()
        if self._server and self._thread:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        with self._lock:
            living = list(self._living)
        for connection in living:
            _reset(connection)

    def __enter__(self) -> CloudHttp:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def script(self, *answers: str) -> None:
        """Add answers to the script."""
        self.answers.extend(map(Answer.parse, answers))

    def arrived(self) -> list[str]:
        """Return the ids of accepted events, in order, repeats included."""
        with self._lock:
            return [event["id"] for event in self.accepted]

    # -- what the request handler asks ---------------------------------------------------------

    def take(self, taken: Taken) -> tuple[Answer, bytes]:
        """Decide on a request; what it accepts is kept before the answer leaves."""
        with self._lock:
            self.requests.append(taken)
            answer = self.answers.popleft() if self.answers else self._judge(taken)
            if answer.kind == "results":
                return answer, self._results(taken)
            if answer.status < 300 and answer.kind in ("status", "slow", "partial"):
                self._accept(taken.events)
            return answer, b"{}" if answer.status < 300 else json.dumps({"error": f"scripted {answer.status}"}).encode()

    def _judge(self, taken: Taken) -> Answer:
        if self.token is not None and taken.headers.get("authorization") != f"Bearer {self.token}":
            return Answer("status", 401)
        if self.secret is not None and not self._signed(taken):
            return Answer("status", 401)
        if self.limit_bytes is not None and len(taken.body) > self.limit_bytes:
            return Answer("status", 413)
        for pattern, answer in tuple(self.poison.items()):  # a test takes some away meanwhile
            if self.usual.kind != "results" and any(_fits(pattern, event) for event in taken.events):
                return answer
        return self.usual

    def _results(self, taken: Taken) -> bytes:
        results, poison = [], tuple(self.poison.items())
        for event in taken.events:
            answer = next((answer for pattern, answer in poison if _fits(pattern, event)), OK)
            if answer.status < 300:
                self._accept([event])
            results.append({"id": event["id"], "status": answer.status, "after": answer.seconds})
        return json.dumps({"results": results}).encode()

    def _accept(self, events: list[dict[str, Any]]) -> None:
        self.accepted += events
        if self._ledger and not self._ledger.closed:
            self._ledger.write(b"".join(json.dumps(event).encode() + b"\n" for event in events))
            self._ledger.flush()

    def _signed(self, taken: Taken) -> bool:
        head = f"{taken.headers.get('webhook-id')}.{taken.headers.get('webhook-timestamp')}.".encode()
        mac = hmac.new(self.secret or b"", head + taken.body, "sha256").digest()
        return hmac.compare_digest(taken.headers.get("webhook-signature", ""), f"v1,{base64.b64encode(mac).decode()}")


def _fits(pattern: str, event: dict[str, Any]) -> bool:
    data = event.get("data")
    number = str(data.get("n", "")) if isinstance(data, dict) else ""
    return any(fnmatch.fnmatchcase(word, pattern) for word in (event.get("id", ""), event.get("subject", ""), number))


def _reset(connection: socket.socket) -> None:
    """Close with RST instead of FIN."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, cloud: CloudHttp, port: int) -> None:
        self.cloud = cloud
        super().__init__(("127.0.0.1", port), _Requests)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.cloud._context:
            connection = self.cloud._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self.cloud.connections += 1
        self.cloud._living.add(connection)  # here, not in its own thread: `stop` shall miss none
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away is what tests are about."""


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def finish(self) -> None:
        self.server.cloud._living.discard(self.request)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing."""

    def do_PUT(self) -> None:
        """Keep what is put, under its path; or refuse it."""
        cloud = self.server.cloud
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        if cloud.put_status < 300:
            cloud.put[self.path] = body
        self._say(cloud.put_status, b"{}")

    def do_POST(self) -> None:
        """Take events."""
        cloud = self.server.cloud
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        try:
            events = self._events(headers.get("content-type", ""), plain)
        except ValueError as error:
            self._say(400, str(error).encode())
            return
        answer, said = cloud.take(Taken(self.path, headers, body, events))
        acts: dict[str, Callable[[], None]] = {"reset": self._cut, "close": self._close, "garbage": self._garbage}
        if answer.kind in acts:
            acts[answer.kind]()
        elif answer.kind == "silent":
            cloud._stopped.wait(answer.seconds or SILENT_MAX_S)
            self._cut()
        elif answer.kind == "partial":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{")
            self._close()
        else:
            if answer.kind == "slow":
                cloud._stopped.wait(answer.seconds or 1.0)
            self._say(answer.status, said, answer)

    def _events(self, content_type: str, body: bytes) -> list[dict[str, Any]]:
        kind = content_type.partition(";")[0].strip()
        found = json.loads(body)
        if self.server.cloud.plain and isinstance(found, dict):
            return [found]
        if kind == JSON and isinstance(found, dict):
            found = [found]
        elif kind != JSON_BATCH or not isinstance(found, list):
            raise ValueError(f"no CloudEvents: {content_type}")
        for event in found:
            if event.get("specversion") != "1.0" or not all(event.get(name) for name in ("id", "source", "type")):
                raise ValueError("no CloudEvent")
        return list(found)

    def _say(self, status: int, body: bytes, answer: Answer = OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if answer.seconds is not None and answer.kind == "status":
            self.send_header("Retry-After", f"{answer.seconds:g}")
        elif answer.seconds is not None and answer.kind == "date":
            self.send_header("Retry-After", formatdate(time.time() + answer.seconds, usegmt=True))
        self.end_headers()
        self.wfile.write(body)

    def _cut(self) -> None:
        self.close_connection = True
        _reset(self.request)

    def _close(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        with contextlib.suppress(OSError):
            self.request.shutdown(socket.SHUT_RDWR)

    def _garbage(self) -> None:
        self.wfile.write(b"\x16\x03\x01 this is no answer\r\n\r\n")
        self._close()


def main() -> None:
    """Serve until interrupted."""
    options = argparse.ArgumentParser(prog="python -m simulators.cloud_http", description=main.__doc__)
    options.add_argument("--port", type=int, default=8080)
    options.add_argument("--answer", action="append", default=[], help="one scripted answer; may be repeated")
    options.add_argument("--usual", default="200", help="the answer when the script is used up")
    options.add_argument("--poison", action="append", default=[], metavar="PATTERN=ANSWER")
    options.add_argument("--limit", type=int, help="bytes of a body; 413 beyond")
    options.add_argument("--token", help="bearer token to ask for")
    options.add_argument("--secret", help="signature secret to ask for")
    options.add_argument("--ledger", type=Path, help="file that gets each accepted event, one a line")
    given = options.parse_args()
    cloud = CloudHttp(
        given.port,
        answers=given.answer,
        poison=dict(each.rsplit("=", 1) for each in given.poison),
        limit_bytes=given.limit,
        token=given.token,
        secret=given.secret.encode() if given.secret else None,
        ledger=given.ledger,
    )
    cloud.usual = Answer.parse(given.usual)
    cloud.start()
    print(json.dumps({"listening": cloud.port, "url": cloud.url}), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    cloud.stop()


if __name__ == "__main__":
    main()
