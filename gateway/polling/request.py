"""What a master asks on a bus and what it gets: the same words for every polled protocol. Pure."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec

BROADCAST = 0  # an address that everybody obeys and nobody answers


class Request(msgspec.Struct, frozen=True):
    """One request to one unit. `start` counts from 0, as on the wire; `data` is what a write carries."""

    address: int
    function: int
    start: int
    count: int = 1  # registers or bits
    data: bytes = b""


class Answer(NamedTuple):
    """What a unit answered: the values' bytes as they came (b"" to a write), or why it refused."""

    data: bytes
    refused: str = ""  # the exception in words
    absent: bool = False  # somebody else answered that the unit does not
    final: bool = False  # the same request will be refused again


class Wire(Protocol):
    """A protocol on the line, without its times: frames out, answers found in what came."""

    reply_bytes_max: int

    def frame(self, request: Request) -> bytes:
        """Return the bytes that ask."""
        ...

    def reply_bytes(self, request: Request) -> int:
        """Return how long a good answer is."""
        ...

    def find(self, received: bytes, request: Request) -> Answer | None:
        """Find the answer to a request anywhere in what came since it was sent; None: it is not (yet) there."""
        ...

    def why(self, received: bytes, request: Request) -> str:
        """Say what came instead of an answer."""
        ...
