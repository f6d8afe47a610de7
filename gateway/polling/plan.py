"""What a master shall do: units with their polls, and writes with what confirms them. Data only."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from gateway.polling.request import Request

WRITES_MAX = 64  # writes that wait for one bus
STEPS_MAX = 16  # requests of one write


class Poll(NamedTuple):
    """One request that is repeated."""

    name: str
    period_s: float
    request: Request


class Unit(NamedTuple):
    """One address on the bus."""

    address: int
    polls: tuple[Poll, ...]
    after_failures: int = 3  # polls in a row without a valid answer, then it is offline
    timeout_s: float = 0.5
    retries: int = 2
    pause_s: float = 0.0  # wanted between its requests


class Choice(msgspec.Struct, frozen=True):
    """Data that depends on a register, read just before: `data` by the register's value in text."""

    poll: str
    at: int  # byte in that poll's answer
    data: dict[str, bytes]  # text of the 16-bit value -> what is written


class Step(msgspec.Struct, frozen=True):
    """One request of a write."""

    function: int
    start: int
    count: int = 1
    data: bytes = b""
    choice: Choice | None = None


class Write(msgspec.Struct, frozen=True):
    """A command to one unit: its requests in order, and the polls that are read again behind them."""

    steps: tuple[Step, ...]
    confirm: tuple[str, ...] = ()
    within_s: float = 0.0  # the polls are read once more at half of it, for units that take their time
    once: bool = False  # no second try: doing it twice is something else (a pulse)
    device: str = ""  # whose command it is, which, and with what: for what is said of it afterwards
    command: str = ""
    value: Any = None


def encoded(write: Write) -> bytes:
    """Return a write as bytes, for the way from a profile to its source."""
    return msgspec.json.encode(write)


def decoded(payload: bytes) -> Write:
    """Read `encoded` back. msgspec.DecodeError when it is none."""
    return msgspec.json.decode(payload, type=Write)
