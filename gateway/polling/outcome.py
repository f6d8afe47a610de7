"""What a master tells its source: answers, who is there, what became of writes."""

from __future__ import annotations

from typing import NamedTuple

from gateway.polling.plan import Write


class Polled(NamedTuple):
    """The values of one poll, as they came."""

    address: int
    poll: str
    data: bytes


class Presence(NamedTuple):
    """A unit answers, or has not for too long. `first`: the first word of it since the start."""

    address: int
    online: bool
    first: bool


class Written(NamedTuple):
    """A write is over: `refused` is empty, or why it was not done."""

    address: int
    write: Write
    refused: str
    final: bool = False  # it will be refused again


Outcome = Polled | Presence | Written
