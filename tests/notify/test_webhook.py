"""What a web hook's server says is shown without what is secret in its address."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from gateway.notify.webhook import without_secrets
from tests.notify.scene import Scene, play, reached_at


class Parrot(BaseHTTPRequestHandler):
    """Answers with what it was asked, in body and Location."""

    status = 500

    def do_POST(self) -> None:
        """Say it back."""
        said = f"no such hook: {self.path} {self.headers['authorization'] or ''}".encode()
        self.send_response(self.status)
        self.send_header("Location", f"https://elsewhere.example{self.path}&new=T0PSECRET9")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def parrot(status: int) -> Iterator[int]:
    """Run one; yields its port."""
    server = HTTPServer(("127.0.0.1", 0), type("Parrot", (Parrot,), {"status": status}))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("status", "outcome"), [(302, "tried again"), (404, "tried again"), (500, "tried again"), (400, "failed")]
)
def test_a_server_that_repeats_its_address(tmp_path: Path, status: int, outcome: str) -> None:
    """Redirects, refusals and failures are told with their number, and nothing of the address in them."""

    async def act(scene: Scene) -> None:
        scene.want("anna", "hello")
        await scene.until(lambda: scene.notifier.errors or scene.outcomes())
        assert bool(scene.outcomes()) == (outcome == "failed")
        said = repr([scene.told, scene.notifier.errors, scene.journal.table("outbox")])
        assert str(status) in said
        assert "T0PSECRET" not in said

    with parrot(status) as port:
        url = f"http://127.0.0.1:{port}/hook/T0PSECRET1?key=T0PSECRET2%2F3"
        play(tmp_path, {"anna": reached_at(tmp_path, url)}, act)


def test_parts_that_say_nothing_stay() -> None:
    """Only what is long enough to be a secret is hidden, as it stands and decoded; the host is no secret."""
    url = "https://user:passw0rd@example.com/v1/send/abc%20defg?t=0123456789"
    text = "example.com v1 send passw0rd abc%20defg abc defg 0123456789"
    assert without_secrets(text, url) == "example.com v1 send … … … …"
