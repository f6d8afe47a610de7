"""The local API's client for the command line: blocking, no event loop, quick to import."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import msgspec

from gateway.api.line import ApiError, NotRunning, Reply, Request

MAY_NOT = "you may not ask this gateway"
ANSWER_S_MAX = 30.0  # a flush or a command waits for the disk or the device


class ApiClient:
    """One connection to a running gateway. A context manager."""

    def __init__(self, path: Path) -> None:
        """Connect. Raises NotRunning, or ApiError when the socket may not be opened."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_S_MAX)
        try:
            self._socket.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            self._socket.close()
            raise NotRunning(f"no gateway answers at {path}: is it running? Type: edge-gateway status") from None
        except PermissionError:
            self._socket.close()
            raise ApiError(f"{path}: {MAY_NOT}{_who_may(path)}") from None
        except OSError as error:
            self._socket.close()
            raise ApiError(f"{path}: {error.strerror or error}") from None
        self._file = self._socket.makefile("rb")
        self._decode = msgspec.json.Decoder(Reply).decode

    def ask(self, what: str, **arguments: Any) -> Any:
        """Ask and return the answer. Raises ApiError with the gateway's words."""
        self._send(what, arguments)
        reply = self._reply()
        if reply.answer is msgspec.UNSET:
            raise ApiError(reply.error or "the gateway answered with a stream")
        return reply.answer

    def stream(self, what: str, **arguments: Any) -> Iterator[Any]:
        """Ask and yield items until the stream ends. Raises ApiError when it is cut off."""
        self._send(what, arguments)
        self._socket.settimeout(None)  # following may be quiet for days
        while True:
            reply = self._reply()
            if reply.item is not msgspec.UNSET:
                yield reply.item
            elif reply.error is not None or reply.cut is not None:
                raise ApiError(reply.error or f"the gateway ended the stream after {reply.items} items: {reply.cut}")
            else:
                return

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, what: str, arguments: dict[str, Any]) -> None:
        request = msgspec.json.encode(Request(ask=what, with_=arguments)) + b"\n"
        with suppress(BrokenPipeError, ConnectionResetError):  # refused: its reason is there to be read
            self._socket.sendall(request)

    def _reply(self) -> Reply:
        try:
            line = self._file.readline()
        except TimeoutError:
            raise ApiError(f"no answer within {ANSWER_S_MAX:g} s") from None
        except OSError as error:
            raise ApiError(f"the gateway hung up: {error.strerror or error}") from None
        if not line.endswith(b"\n"):
            raise ApiError("the gateway hung up")
        try:
            return self._decode(line)
        except msgspec.DecodeError as error:
            raise ApiError(f"not an answer: {error}") from None


def _who_may(path: Path) -> str:
    """Say whose socket it is, as far as that can be seen, and what to type."""
    try:
        group = path.parent.group()
    except (OSError, KeyError):
        return ""
    return f": root may, and the group {group}. Type: sudo usermod -aG {group} $USER, and log in again"
