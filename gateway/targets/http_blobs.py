"""Pictures of events to a web service: each is PUT under its hash before the first event that refers to it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

import msgspec

from gateway.clock import Clock
from gateway.targets.http_answer import outcome_of
from gateway.targets.http_connection import Answer
from gateway.targets.target import DELIVERED, Outcome, Outgoing

SENT_MAX: Final = 10_000  # hashes that are remembered as being there
THERE: Final = frozenset({409, 412})  # it has this one already
_MARK: Final = b'"sha256":"'

ReadBlob = Callable[[str], bytes | None]
"""The bytes of a blob, None when it is not kept (any more). BLOCKING."""


class _Refers(msgspec.Struct, frozen=True):
    sha256: str = ""
    mime: str = "application/octet-stream"


class _Head(msgspec.Struct):
    data: _Refers = _Refers()


_head = msgspec.json.Decoder(_Head).decode


class Uploads:
    """Puts blobs where events can find them. `refused` and `missing` are counted, and keep no event back."""

    def __init__(
        self, template: str, read: ReadBlob, put: Callable[[str, str, bytes], Awaitable[Answer]], clock: Clock
    ) -> None:
        """`template` is a path with {sha256}; `put(path, mime, content)` sends one."""
        self._template, self._read, self._put, self._clock = template, read, put, clock
        self._sent: OrderedDict[str, None] = OrderedDict()
        self.uploaded = self.refused = self.missing = 0

    async def before(self, events: Sequence[Outgoing]) -> Outcome | None:
        """Upload what these events refer to; return why they have to wait, or None. Raises as a request does."""
        for sha256, mime in self._wanted(events):
            content = await asyncio.to_thread(self._read, sha256)
            if content is None:
                self.missing += 1
                continue
            answer = await self._put(self._template.replace("{sha256}", sha256), mime, content)
            outcome = DELIVERED if answer.status in THERE else outcome_of(answer, self._clock.wall_ns())
            if outcome is DELIVERED:
                self.uploaded += 1
            elif outcome is not None:
                return outcome  # not now, or nobody may
            else:
                self.refused += 1  # it is not taken for what it is; its event goes without it
            self._sent[sha256] = None
            while len(self._sent) > SENT_MAX:
                self._sent.popitem(last=False)
        return None

    def counts(self) -> dict[str, object]:
        """Say how many blobs were uploaded, refused by the server, or not kept any more."""
        return {"blobs": self.uploaded, "blobs_refused": self.refused, "blobs_missing": self.missing}

    def _wanted(self, events: Sequence[Outgoing]) -> Iterator[tuple[str, str]]:
        for event in events:
            if _MARK in event.raw:
                try:
                    data = _head(event.raw).data
                except msgspec.DecodeError:
                    continue  # a field of that name, and no blob
                if data.sha256 and data.sha256 not in self._sent:
                    yield data.sha256, data.mime
