"""Which messages of QoS 1 and 2 are surely in the journal, should the broker deliver them again (pure).

A broker repeats what it got no answer for, with DUP and the old packet identifier, when a session goes on after
a lost connection or a kill. Identifiers are small and used again, so being sure takes more than the identifier:
an entry is (identifier -> 64 bits of topic and payload) and is dropped only for a message with DUP=1, a living
entry and equal bits. In doubt the message is kept: twice is better than never.

An entry of QoS 1 dies
* with its session (CONNACK without session present),
* with a PUBLISH of its identifier with DUP=0: another message,
* after more than `window` (the receive maximum) new messages since its PUBACK, or since that connection's end,
* `SETTLED_S` after its PUBACK on a living connection: the broker has had the answer.
An identifier of QoS 2 lives from PUBLISH to PUBREL, as section 4.3.3 of MQTT 5 asks; a message with a living
identifier and other bits is a peer that lost count: kept, and counted in `doubts`.

Entries live in chunks, one a commit of the journal: `changes` closes the open chunk, so that it goes into the
block of its messages' events, as one value of 10 bytes a message; a chunk whose entries are all dead is deleted,
or all replaced by later ones. Within a chunk all messages get their PUBACK together, so chunks are what dies.

**No entry is durable before its events**, or a kill between the two would lose them: between `arriving` and `arrived`,
when messages are known here and not yet in the journal, `changes` gives out what came before them only.  What has
arrived and is appended later is `postponed`.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

SETTLED_S: Final = 10.0
CHUNK_ENTRIES_MAX: Final = 4096  # a chunk closes itself here, should nobody ask for changes
ENTRY_BYTES: Final = 10
TOPICS_MAX: Final = 4096  # whose checksum is remembered

_EXACTLY: Final = "2:"  # key prefix of QoS 2 identifiers


class _Chunk:
    """Entries of one commit."""

    __slots__ = ("bits", "last", "living", "name", "since", "since_s")

    def __init__(self, name: str) -> None:
        self.name = name
        self.bits: dict[int, int] = {}  # packet id -> 64 bits
        self.living = 0  # of a closed chunk: entries that no later one has replaced
        self.last = 0  # how many acknowledgements there will have been when this chunk's are all out
        self.since: int | None = None  # count of new messages when it was acknowledged, or lost its connection
        self.since_s: float | None = None  # when it was acknowledged, if its connection lives


class Seen:
    """The memory of one source's session."""

    def __init__(self, window: int, monotonic: Callable[[], float]) -> None:
        self.window = window
        self.doubts = 0
        self.dropped = 0
        self._monotonic = monotonic
        self._received = 0  # messages and releases of this connection
        self._acknowledged = 0  # those of them that were answered
        self._next = 0  # how many there will be when the oldest unanswered chunk has all its own
        self._idle_at = 0.0  # when everything received had been answered the last time
        self._new = 0  # QoS 1 messages that were no repeats
        self._number = 0  # of the next chunk
        self._open = _Chunk("")
        self._chunks: deque[_Chunk] = deque()  # closed, oldest first
        self._unanswered: deque[_Chunk] = deque()  # those of them that wait for their acknowledgements
        self._where: dict[int, _Chunk] = {}  # packet id -> chunk of its living entry
        self._exactly: dict[int, int] = {}  # QoS 2: packet id -> 64 bits
        self._topics: dict[str, int] = {}
        self._changes: dict[str, bytes | None] = {}
        self._arriving: tuple[int, int] | None = None  # before what is arriving: entries in `_open`, messages in all
        self._held: dict[str, bytes | None] = {}  # changes with entries of what is arriving
        self._late: dict[int, tuple[int, int]] = {}  # QoS 1: packet id -> bits, and which message: postponed

    # -- the session ---------------------------------------------------------------------------

    def connected(self, *, session_present: bool) -> None:
        """Begin a connection; without its old session nothing can come again."""
        self._received = self._acknowledged = self._next = 0
        if not session_present:
            self._forget()

    def disconnected(self) -> None:
        """End a connection: what it had in flight comes again, answered or not."""
        self._close()
        self._bury()
        for chunk in self._chunks:
            chunk.since_s = None
        for chunk in self._unanswered:
            chunk.since = self._new
        self._unanswered.clear()

    def _forget(self) -> None:
        for chunk in self._chunks:
            self._changes[chunk.name] = None
        for packet_id in self._exactly:
            self._changes[f"{_EXACTLY}{packet_id}"] = None
        self._chunks.clear()
        self._unanswered.clear()
        self._open = _Chunk("")
        self._where.clear()
        self._exactly.clear()
        self._late.clear()

    # -- messages ------------------------------------------------------------------------------

    def arriving(self) -> None:
        """Begin with messages that are not in the journal yet."""
        self._arriving = len(self._open.bits), self._received

    def arrived(self) -> None:
        """Say that they are, with the events that belong to them."""
        self._arriving = None
        if self._held:
            self._changes.update(self._held)
            self._held.clear()

    def postpone(self, packet_id: int, *, exactly: bool) -> Callable[[], None]:
        """Keep what is known of a message that is arriving off the disk until what is returned is called.

        It is to be called right behind the append of the message's events.
        """
        if exactly:
            key, bits = f"{_EXACTLY}{packet_id}", self._exactly.get(packet_id)
            row = self._held.pop(key, None)

            def put() -> None:
                if row is not None and self._exactly.get(packet_id) == bits:
                    self._exact_changes()[key] = row

            return put
        chunk = self._where.pop(packet_id)
        self._late[packet_id] = late = chunk.bits.pop(packet_id), self._received
        if chunk is not self._open:  # so many arrived that it is closed
            chunk.living -= 1
            self._held[chunk.name] = _pack(chunk.bits)

        def remember() -> None:
            if self._late.get(packet_id) is late:
                del self._late[packet_id]
                self._open.bits[packet_id] = late[0]
                self._where[packet_id] = self._open

        return remember

    def known(self, packet_id: int, dup: bool, topic: str, payload: bytes) -> bool:
        """Remember a QoS 1 message; return whether it is surely in the journal already."""
        bits = self._bits(topic, payload)
        known = False
        if self._late and (late := self._late.get(packet_id)) is not None:
            if dup and late[0] == bits:
                self._received += 1
                self.dropped += 1
                return True
            del self._late[packet_id]
        chunk = self._where.get(packet_id)
        if dup:
            known = chunk is not None and chunk.bits.get(packet_id) == bits
            self.dropped += known
        else:
            self._new += 1
        self._received += 1
        opened = self._open
        if chunk is not None:
            if chunk is opened:
                self._again(packet_id)
            else:
                chunk.living -= 1
        opened.bits[packet_id] = bits
        self._where[packet_id] = opened
        if len(opened.bits) >= CHUNK_ENTRIES_MAX:
            self._close()
            if self._arriving is not None and len(self._open.bits) >= CHUNK_ENTRIES_MAX:
                self._close_at(self._received, self._held)
        return known

    def _again(self, packet_id: int) -> None:
        """Make room for an identifier that the open chunk has, at its end: what is arriving stays together."""
        del self._open.bits[packet_id]
        if self._arriving is not None:
            before, received = self._arriving
            self._arriving = max(0, before - 1), received

    def acknowledge(self, count: int = 1) -> None:
        """Note that the answers to the next `count` messages of this connection left; they leave in order."""
        self._acknowledged += count
        if self._acknowledged >= self._next or self._acknowledged >= self._received:
            self._answered()

    def _answered(self) -> None:
        now, unanswered = self._monotonic(), self._unanswered
        while unanswered and unanswered[0].last <= self._acknowledged:
            chunk = unanswered.popleft()
            chunk.since, chunk.since_s = self._new, now
        self._next = unanswered[0].last if unanswered else 0
        if self._acknowledged == self._received:
            self._idle_at = now

    def known_exactly(self, packet_id: int, topic: str, payload: bytes) -> bool:
        """Remember a QoS 2 message; return whether it is in the journal already."""
        self._received += 1
        bits = self._bits(topic, payload)
        before = self._exactly.get(packet_id)
        if before == bits:
            self.dropped += 1
            return True
        self.doubts += before is not None
        self._exactly[packet_id] = bits
        self._exact_changes()[f"{_EXACTLY}{packet_id}"] = bits.to_bytes(8, "big")
        return False

    def released(self, packet_id: int) -> None:
        """Forget a QoS 2 identifier: PUBREL came. PUBCOMP may leave when `changes` is durable."""
        self._received += 1
        if self._exactly.pop(packet_id, None) is not None:
            self._exact_changes()[f"{_EXACTLY}{packet_id}"] = None

    def _exact_changes(self) -> dict[str, bytes | None]:
        return self._changes if self._arriving is None else self._held

    def _bits(self, topic: str, payload: bytes) -> int:
        """Return 64 bits that are the same in every process: two checksums, 0.3 us for 250 bytes."""
        start = self._topics.get(topic)
        if start is None:
            if len(self._topics) >= TOPICS_MAX:
                self._topics.clear()
            start = self._topics[topic] = zlib.crc32(topic.encode())
        return zlib.crc32(payload, start) << 32 | zlib.adler32(payload)

    # -- on the disk ---------------------------------------------------------------------------

    def changes(self) -> list[tuple[str, bytes | None]]:
        """Return what must be in the journal's open batch: (key, value), None deletes the key."""
        self._close()
        self._bury()
        if not self._changes:
            return []
        changes = list(self._changes.items())
        self._changes.clear()
        return changes

    def load(self, rows: Mapping[str, bytes]) -> None:
        """Take back what an earlier process left, before the first connection."""
        for key in sorted(rows, key=_age):
            value = rows[key]
            if key.startswith(_EXACTLY):
                self._exactly[int(key[len(_EXACTLY) :])] = int.from_bytes(value, "big")
                continue
            chunk = _Chunk(key)
            chunk.bits = _unpack(value)
            chunk.since = 0
            chunk.living = len(chunk.bits)
            for packet_id in chunk.bits:
                before = self._where.get(packet_id)
                if before is not None:
                    before.living -= 1
                self._where[packet_id] = chunk
            self._chunks.append(chunk)
            self._number = int(key, 16) + 1

    def _close(self) -> None:
        """Close the open chunk; what is arriving goes on in a new one."""
        if self._arriving is None:
            self._close_at(self._received, self._changes)
            return
        before, received = self._arriving
        entries = list(self._open.bits.items())
        self._open.bits = dict(entries[:before])
        self._close_at(received, self._changes)
        self._open.bits = dict(entries[before:])
        for packet_id in self._open.bits:
            self._where[packet_id] = self._open
        self._arriving = 0, received

    def _close_at(self, received: int, changes: dict[str, bytes | None]) -> None:
        """Close the open chunk, all of which came with the first `received` messages of this connection."""
        chunk = self._open
        if not chunk.bits:
            return
        chunk.name = f"{self._number:x}"
        chunk.last = received
        chunk.living = len(chunk.bits)
        self._number += 1
        self._chunks.append(chunk)
        if self._acknowledged >= received:
            chunk.since, chunk.since_s = self._new, self._idle_at
        else:
            self._unanswered.append(chunk)
            self._next = self._unanswered[0].last
        changes[chunk.name] = _pack(chunk.bits)
        self._open = _Chunk("")

    def _bury(self) -> None:
        """Drop the chunks that are dead, oldest first."""
        now, chunks = self._monotonic(), self._chunks
        while chunks and self._is_dead(chunks[0], now):
            chunk = chunks.popleft()
            for packet_id in chunk.bits:
                if self._where.get(packet_id) is chunk:
                    del self._where[packet_id]
            self._changes[chunk.name] = None

    def _is_dead(self, chunk: _Chunk, now: float) -> bool:
        if not chunk.living:
            return self._arriving is None  # what replaced it is in the journal, or goes there with this
        if chunk.since is None:
            return False
        settled = chunk.since_s is not None and now - chunk.since_s >= SETTLED_S
        return settled or self._new - chunk.since > self.window


def _pack(bits: Mapping[int, int]) -> bytes:
    """Write a chunk: all identifiers (16 bits, little-endian), then their bits (64) in the same order."""
    packet_ids, values = array("H", bits.keys()), array("Q", bits.values())
    if sys.byteorder == "big":
        packet_ids.byteswap()
        values.byteswap()
    return packet_ids.tobytes() + values.tobytes()


def _unpack(row: bytes) -> dict[int, int]:
    count = len(row) // ENTRY_BYTES
    packet_ids, values = array("H", row[: 2 * count]), array("Q", row[2 * count : ENTRY_BYTES * count])
    if sys.byteorder == "big":
        packet_ids.byteswap()
        values.byteswap()
    return dict(zip(packet_ids, values, strict=True))


def _age(key: str) -> int:
    return -1 if key.startswith(_EXACTLY) else int(key, 16)
