"""Questions of people to the worker: asked in a frame, answered between two batches, never waited for for long.

A worker that is busy with a rule's call answers when that is over; the person is told what it is at instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gateway.errors import GatewayError
from gateway.rules.protocol import Answer, Ask, ToWorker

ANSWER_S_MAX = 10.0  # a person waits; a call has half a second, so this is for a machine with much to do
WAITING_MAX = 16  # questions at the same time


class NoAnswer(GatewayError):
    """The worker did not answer; the message says why."""


class Questions:
    """Those of one worker. Belongs to the event loop's thread."""

    def __init__(self, send: Callable[[ToWorker], None], busy_with: Callable[[], str]) -> None:
        """`busy_with` says, for a person, what the worker is at."""
        self._send = send
        self._busy_with = busy_with
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._asked = 0

    async def ask(self, what: str, **arguments: Any) -> Any:
        """Ask and return the answer. Raises NoAnswer: busy, gone, or what was asked about is not there."""
        if len(self._waiting) >= WAITING_MAX:
            raise NoAnswer(f"{WAITING_MAX} questions wait for the rule worker already")
        self._asked += 1
        number, future = self._asked, asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._send(Ask(number, what, arguments))
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                answer: Answer = await future
        except TimeoutError:
            text = f"the rule worker did not answer within {ANSWER_S_MAX:g} s: it is {self._busy_with()}"
            raise NoAnswer(text) from None
        finally:
            self._waiting.pop(number, None)
        if answer.error:
            raise NoAnswer(answer.error)
        return answer.value

    def answered(self, answer: Answer) -> None:
        """Take an answer; nobody may be waiting for it any more."""
        future = self._waiting.get(answer.number)
        if future is not None and not future.done():
            future.set_result(answer)

    def lost(self) -> None:
        """Tell everybody who waits that the worker is gone."""
        for number, future in self._waiting.items():
            if not future.done():
                future.set_result(Answer(number, None, "the rule worker ended before it answered; ask again"))
