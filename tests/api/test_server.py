"""The local API over a real unix socket: what is asked, what comes back, and every limit."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from gateway.api import server as server_module
from gateway.api.client import ApiClient
from gateway.api.line import REQUEST_BYTES_MAX, SOCKET_PATH_BYTES_MAX, ApiError, NotRunning
from gateway.api.server import CLIENTS_MAX, Answer, ApiServer, listen
from gateway.errors import DecodeError

T = TypeVar("T")
PATIENCE_S = 60.0


def served(path: Path, answers: dict[str, Answer], use: Callable[[ApiServer], T]) -> T:
    """Serve on an event loop while `use` runs in a thread of its own."""

    async def run() -> T:
        server, ready = ApiServer(path, answers), asyncio.Event()
        serving = asyncio.create_task(server.run(ready.set))
        try:
            await asyncio.wait_for(ready.wait(), PATIENCE_S)
            return await asyncio.to_thread(use, server)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    return asyncio.run(run())


def until(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


async def numbers(count: int) -> AsyncIterator[int]:
    """Stream numbers."""
    for number in range(count):
        yield number


async def endless(text: str = "x") -> AsyncIterator[str]:
    """Stream for ever."""
    while True:
        yield text
        await asyncio.sleep(0)


def test_a_connection_asks_again_and_again(tmp_path: Path) -> None:
    """Plain, awaited and failing answers come back on one connection, one after the other."""

    async def double(number: int) -> int:
        return number * 2

    def fail() -> None:
        raise DecodeError("the device cannot do that")

    def use(_: ApiServer) -> None:
        with ApiClient(tmp_path / "s") as client:
            assert client.ask("status") == {"ok": True}
            assert client.ask("double", number=21) == 42
            with pytest.raises(ApiError, match="the device cannot do that"):
                client.ask("fail")
            assert client.ask("nothing") is None

    answers: dict[str, Answer] = {
        "status": lambda: {"ok": True},
        "double": double,
        "fail": fail,
        "nothing": lambda: None,
    }
    served(tmp_path / "s", answers, use)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"not json\n", "not a request"),
        (b'{"with": {}}\n', "not a request"),
        (b'{"ask": "status", "and": 1}\n', "not a request"),
        (b'{"ask": "nonsense"}\n', "unknown request 'nonsense'"),
        (b'{"ask": "status", "with": {"surprise": 1}}\n', "surprise"),
        (b'"' + b"x" * REQUEST_BYTES_MAX + b'"\n', "at most"),
    ],
)
def test_a_bad_request_is_answered_with_what_is_wrong(line: bytes, says: str, tmp_path: Path) -> None:
    """Whatever a client sends, it gets an error line and the next client is served."""

    def use(_: ApiServer) -> str:
        with socket.socket(socket.AF_UNIX) as raw, raw.makefile("rb") as file:
            raw.connect(str(tmp_path / "s"))
            raw.settimeout(PATIENCE_S)
            raw.sendall(line)
            reply = json.loads(file.readline())
        with ApiClient(tmp_path / "s") as client:
            assert client.ask("status") == 1
        return str(reply["error"])

    assert says in served(tmp_path / "s", {"status": lambda: 1}, use)


def test_a_stream_ends_and_the_connection_goes_on(tmp_path: Path) -> None:
    """Items come in order, the end is told, and the same client can ask again."""

    def use(_: ApiServer) -> None:
        with ApiClient(tmp_path / "s") as client:
            assert list(client.stream("numbers", count=1000)) == list(range(1000))
            assert list(client.stream("numbers", count=0)) == []

    served(tmp_path / "s", {"numbers": numbers}, use)


def test_raw_items_are_not_encoded_again(tmp_path: Path) -> None:
    """An event's stored bytes are an item as they are."""

    async def events() -> AsyncIterator[msgspec.Raw]:
        yield msgspec.Raw(b'{"id":"a"}')

    def use(_: ApiServer) -> None:
        with ApiClient(tmp_path / "s") as client:
            assert list(client.stream("events")) == [{"id": "a"}]

    served(tmp_path / "s", {"events": events}, use)


def test_a_stream_that_is_cut_says_why(tmp_path: Path) -> None:
    """A follower that cannot be served any more is told, with the number of items it got."""

    async def lagging() -> AsyncIterator[int]:
        yield 1
        yield 2
        raise ApiError("100001 records behind")

    def use(_: ApiServer) -> None:
        with ApiClient(tmp_path / "s") as client:
            items = client.stream("lagging")
            assert [next(items), next(items)] == [1, 2]
            with pytest.raises(ApiError, match="after 2 items: 100001 records behind"):
                next(items)

    served(tmp_path / "s", {"lagging": lagging}, use)


def test_a_client_that_leaves_a_stream_ends_it(tmp_path: Path) -> None:
    """When a follower closes, its iterator is closed too."""
    closed: list[bool] = []

    async def quiet() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(3600)
        finally:
            closed.append(True)

    def use(server: ApiServer) -> None:
        with ApiClient(tmp_path / "s") as client:
            assert next(client.stream("quiet")) == 1
        until(lambda: server.clients == 0)

    served(tmp_path / "s", {"quiet": quiet}, use)
    assert closed == [True]


def test_a_client_that_takes_nothing_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stalled follower costs a bounded buffer and is cut off and counted; the others are served."""
    monkeypatch.setattr(server_module, "WRITE_S_MAX", 0.2)

    def use(server: ApiServer) -> None:
        with socket.socket(socket.AF_UNIX) as stalled:
            stalled.connect(str(tmp_path / "s"))
            stalled.sendall(b'{"ask": "endless", "with": {"text": "' + b"x" * 10_000 + b'"}}\n')
            until(lambda: server.cut_off == 1 and server.clients == 0)
        with ApiClient(tmp_path / "s") as client:
            assert client.ask("status") == 1

    served(tmp_path / "s", {"endless": endless, "status": lambda: 1}, use)


def test_clients_are_limited(tmp_path: Path) -> None:
    """One client over the limit is told so; when one leaves there is room again."""

    def use(server: ApiServer) -> None:
        clients = [ApiClient(tmp_path / "s") for _ in range(CLIENTS_MAX)]
        assert [client.ask("status") for client in clients] == [1] * CLIENTS_MAX
        with ApiClient(tmp_path / "s") as late, pytest.raises(ApiError, match="which is the limit"):
            late.ask("status")
        until(lambda: server.refused == 1)
        clients.pop().close()
        until(lambda: server.clients < CLIENTS_MAX)
        with ApiClient(tmp_path / "s") as client:
            assert client.ask("status") == 1
        for client in clients:
            client.close()

    served(tmp_path / "s", {"status": lambda: 1}, use)


def test_the_actor_is_who_the_kernel_says(tmp_path: Path) -> None:
    """An answer that records who asked gets the peer's user; a client cannot claim another."""

    def command(device: str, actor: str) -> dict[str, Any]:
        return {"device": device, "actor": actor}

    def use(_: ApiServer) -> Any:
        with ApiClient(tmp_path / "s") as client:
            return client.ask("command", device="siren", actor="person:somebody")

    assert served(tmp_path / "s", {"command": command}, use) == {
        "device": "siren",
        "actor": f"person:{pwd.getpwuid(os.geteuid()).pw_name}",
    }


def test_only_owner_and_group_may_open_the_socket(tmp_path: Path) -> None:
    """The socket has mode 0660, and is gone when the server is."""

    def use(_: ApiServer) -> int:
        return stat.S_IMODE((tmp_path / "s").stat().st_mode)

    assert served(tmp_path / "s", {}, use) == 0o660
    assert not (tmp_path / "s").exists()


def test_a_dead_gateways_socket_is_replaced(tmp_path: Path) -> None:
    """A socket left behind by kill -9 does not stop the next start."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    with pytest.raises(NotRunning):
        ApiClient(tmp_path / "s")

    def use(_: ApiServer) -> Any:
        with ApiClient(tmp_path / "s") as client:
            return client.ask("status")

    assert served(tmp_path / "s", {"status": lambda: 1}, use) == 1


def test_a_living_gateways_socket_is_not(tmp_path: Path) -> None:
    """A second gateway on the same socket is refused."""

    def use(_: ApiServer) -> None:
        with pytest.raises(ApiError, match="another gateway"):
            listen(tmp_path / "s", 0o660)

    served(tmp_path / "s", {}, use)


def test_a_file_in_the_way_is_kept(tmp_path: Path) -> None:
    """Something else than a socket at the path is never deleted."""
    (tmp_path / "s").write_text("precious")
    with pytest.raises(ApiError, match="no socket"):
        listen(tmp_path / "s", 0o660)
    assert (tmp_path / "s").read_text() == "precious"


def test_a_path_too_long_for_a_socket_says_what_to_set(tmp_path: Path) -> None:
    """The kernel's limit on a socket's path is named, with the option that changes it."""
    with pytest.raises(ApiError, match=r"at most 107 bytes: set api\.socket"):
        listen(tmp_path / ("x" * SOCKET_PATH_BYTES_MAX), 0o660)


def test_nobody_there(tmp_path: Path) -> None:
    """Without a gateway the client says where it looked."""
    with pytest.raises(NotRunning, match="no gateway answers at"):
        ApiClient(tmp_path / "s")
