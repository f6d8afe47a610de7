"""Messages as they come, for whoever looks: topic, payload, which profile read them or why none, the events made.

Nobody looks: nothing of this is in the path of a message. Somebody looks: every decoder's `decode` is wrapped, and what
passes the follower's filters goes into a ring of `RING_MAX` messages; what a follower misses is counted and said.
Followers read the ring at their own pace; the last one to leave takes the wrapping off.

Secrets are not shown: what a config names as one, members of JSON and ``name=value`` pairs whose name says that they
are one. What is no text is shown as hexadecimal, the first `HEX_BYTES` of it, with its length.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import orjson

from gateway.api.line import ApiError
from gateway.clock import rfc3339
from gateway.errors import ConfigError
from gateway.event import Event
from gateway.profiles.context import Decoded
from gateway.profiles.decode import Decoder
from gateway.profiles.report import NOTES
from gateway.secrets import Secret, named_in
from gateway.sources.source import Delivery, Source
from gateway.topic import is_filter, matches

RING_MAX: Final = 500  # messages that wait for one follower
FOLLOWERS_MAX: Final = 4
PAYLOAD_BYTES_MAX: Final = 4096  # of a payload that is shown
HEX_BYTES: Final = 64
TICK_S: Final = 0.1
SECRET_CHARS_MIN: Final = 6  # a shorter one is found in anything
HIDDEN: Final = "***"

_SECRET: Final = re.compile(
    r"pass(word|wd|phrase)?|pwd|psk|secret|token|credentials?|auth|api_?key|(network|private|shared|encryption)_?key|key"
    r"|pin(_?code)?|user_?code",
    re.IGNORECASE,
)
_PAIR: Final = re.compile(
    r"(?i)\b(pass(?:word|wd|phrase)?|pwd|psk|secret|token|api_?key|pin)(\s*[=:]\s*)(\"[^\"]*\"|[^\s,;&}]+)"
)

Waiting = tuple[Delivery, Decoded] | tuple[str, bytes, dict[str, int], int]


class _Follower:
    """One person who looks."""

    def __init__(self, topic: str, source: str) -> None:
        self.topic, self.source = topic, source
        self.ring: deque[Waiting] = deque()
        self.missed = 0

    def offer(self, source: str, topic: str, waiting: Waiting) -> None:
        if self.source in ("", source) and (not self.topic or matches(self.topic, topic)):
            if len(self.ring) >= RING_MAX:
                self.ring.popleft()
                self.missed += 1
            self.ring.append(waiting)


class Raw:
    """Shows raw messages. Belongs to the event loop's thread."""

    def __init__(
        self,
        decoders: Mapping[str, Decoder],
        sources: Mapping[str, Source],
        values: Mapping[str, Mapping[str, Any]],
        secrets: Callable[[], Iterable[str]],
    ) -> None:
        """Take what is wrapped while somebody looks; `secrets` returns the texts that are never shown."""
        self._decoders, self._sources, self._values, self._secrets = decoders, sources, values, secrets
        self._followers: list[_Follower] = []

    @property
    def followed(self) -> bool:
        """Whether anybody looks."""
        return bool(self._followers)

    def follow(self, topic: str = "", source: str = "", seconds: float = 0.0) -> AsyncIterator[dict[str, Any]]:
        """Yield what comes from now on, or for some seconds; ``{"missed": n}`` for what there was no room for."""
        if topic and not is_filter(topic):
            raise ApiError(f"{topic!r} is not a topic filter")
        if source and source not in self._decoders:
            raise ApiError(f"there is no source {source!r}: there are {', '.join(sorted(self._decoders))}")
        if len(self._followers) >= FOLLOWERS_MAX:
            raise ApiError(f"{FOLLOWERS_MAX} people look already, which is the limit")
        return self._shown(_Follower(topic, source), seconds)

    async def _shown(self, follower: _Follower, seconds: float) -> AsyncIterator[dict[str, Any]]:
        hidden = tuple(text for text in self._secrets() if len(text) >= SECRET_CHARS_MIN)
        self._followers.append(follower)
        if len(self._followers) == 1:
            self._wrap()
        now = asyncio.get_running_loop().time
        end = now() + seconds
        try:
            while True:
                last = bool(seconds) and now() >= end
                while follower.ring:
                    yield self._item(follower.ring.popleft(), hidden)
                if follower.missed:
                    missed, follower.missed = follower.missed, 0
                    yield {"missed": missed}
                if last:
                    return
                await asyncio.sleep(TICK_S)
        finally:
            self._followers.remove(follower)
            if not self._followers:
                self._unwrap()

    # ---- the wrapping --------------------------------------------------------------------------------

    def _wrap(self) -> None:
        for name, decoder in self._decoders.items():
            decoder.__dict__["decode"] = self._decoding(name, decoder.decode)
        serial: Mapping[str, Any] = {name: each for name, each in self._sources.items() if hasattr(each, "framer")}
        for name, source in serial.items():
            source.__dict__["received"] = self._receiving(name, source, source.received)

    def _unwrap(self) -> None:
        for decoder in self._decoders.values():
            decoder.__dict__.pop("decode", None)
        for source in self._sources.values():
            source.__dict__.pop("received", None)

    def _decoding(self, name: str, decode: Callable[[Any], Decoded]) -> Callable[[Any], Decoded]:
        def decoding(delivery: Any) -> Decoded:
            decoded = decode(delivery)
            for follower in self._followers:
                follower.offer(name, delivery.topic, (delivery, decoded))
            return decoded

        return decoding

    def _receiving(self, name: str, source: Any, receive: Callable[[bytes], None]) -> Callable[[bytes], None]:
        """Show the bytes of a serial line in which the framing refuses something; frames are shown as messages."""

        def receiving(data: bytes) -> None:
            before = Counter(source.framer.rejected)
            receive(data)
            refused = Counter(source.framer.rejected) - before
            if refused:
                for follower in self._followers:
                    follower.offer(name, name, (name, data[:PAYLOAD_BYTES_MAX], dict(refused), len(data)))

        return receiving

    # ---- what a person gets --------------------------------------------------------------------------

    def _item(self, waiting: Waiting, hidden: Sequence[str]) -> dict[str, Any]:
        if len(waiting) == 4:
            name, data, refused, size = waiting
            return {"source": name, "topic": name, "bytes": size, "payload": shown(data, hidden), "refused": refused}
        delivery, decoded = waiting
        return {
            "time": rfc3339(delivery.received_ns),
            "source": delivery.source,
            "topic": delivery.topic,
            "qos": delivery.qos,
            "retained": delivery.retained,
            "bytes": len(delivery.payload),
            "payload": shown(delivery.payload, hidden),
            "profile": self._claimed_by(decoded),
            "why_not": decoded.rejected or decoded.ignored or "",
            "faults": list(decoded.faults),
            "devices": list(dict.fromkeys(reading.subject for reading in decoded.readings)),
            "fields": _fields(decoded),
            "events": [_brief(event) for event in decoded.events],
        }

    def _claimed_by(self, decoded: Decoded) -> str:
        profiles = dict.fromkeys(reading.profile for reading in decoded.readings)
        for event in decoded.events:
            profile = self._values.get(event.subject, {}).get(NOTES, {}).get("profile")
            if profile and not profiles:
                profiles[profile] = None
        if not profiles and decoded.ignored:
            return decoded.ignored.partition(":")[0]
        return ", ".join(profiles)


def secrets_in(options: Any) -> Iterator[str]:
    """Yield every secret that options name and that can be read now."""
    for named in named_in(options):
        if isinstance(named, Secret):
            with suppress(ConfigError):
                yield named()


def _fields(decoded: Decoded) -> dict[str, Any]:
    """Return what was read, but what a name says is a secret."""
    fields = {name: value for reading in decoded.readings for name, value in reading.fields.items()}
    return {name: HIDDEN if _is_secret(name, value) else _masked(value) for name, value in fields.items()}


def _brief(event: Event) -> dict[str, Any]:
    return {"id": event.id, "type": event.type, "subject": event.subject, "data": _masked(dict(event.data))}


def shown(payload: bytes, hidden: Sequence[str] = ()) -> str:
    """Return a payload for a person's eyes."""
    for text in hidden:
        payload = payload.replace(text.encode(), HIDDEN.encode())
    if payload[:1] in (b"{", b"["):
        try:
            text = orjson.dumps(_masked(orjson.loads(payload)), default=str).decode()
            return text if len(text) <= PAYLOAD_BYTES_MAX else f"{text[:PAYLOAD_BYTES_MAX]}…"
        except (orjson.JSONDecodeError, TypeError, RecursionError):
            pass
    head = payload[:PAYLOAD_BYTES_MAX]
    try:
        text = head.decode()
    except UnicodeDecodeError as error:  # a letter that was cut in two is no binary
        cut = len(payload) > len(head) and error.start > len(head) - 4
        text = head[: error.start].decode() if cut else ""
    if head and all(char.isprintable() or char in "\t\r\n" for char in text) and text:
        more = f"… ({len(payload)} bytes)" if len(payload) > len(head) else ""
        return _PAIR.sub(rf"\1\2{HIDDEN}", text) + more
    if not head:
        return ""
    more = f"… ({len(payload)} bytes)" if len(payload) > HEX_BYTES else ""
    return f"hex {head[:HEX_BYTES].hex(' ')}{more}"


def _masked(value: Any) -> Any:
    """Return JSON without the values whose names say that they are secret."""
    if isinstance(value, dict):
        return {key: HIDDEN if _is_secret(key, inner) else _masked(inner) for key, inner in value.items()}
    return [_masked(inner) for inner in value] if isinstance(value, list) else value


def _is_secret(key: str, value: Any) -> bool:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key)
    said = _SECRET.fullmatch(words) or any(_SECRET.fullmatch(word) for word in re.split(r"[_.\-\s]", words) if word)
    return bool(said) and value is not None and not isinstance(value, bool)
