"""Which profile fits a device that none reads: tried on its last messages, with other prefixes and without conditions.

A fit is one of

* *prefix*: everything is right but the first words of the topics; said in ``[sources.NAME.prefixes]``,
* *adopt*: messages cannot say which profile reads the device; devices.toml can,
* *like*: a profile reads some of the values, but its topics or conditions are others: a start for one of one's own.

Values that many profiles read (battery, link quality) say little about which one it is: a field weighs the less, the
more profiles have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from gateway.errors import DecodeError
from gateway.installation.unknown import Stranger, Topic
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.compiled import Compiled, CompiledMessage
from gateway.profiles.decode import Decoder
from gateway.profiles.devices import Devices
from gateway.profiles.pointer import ABSENT

PREFIX_LEVELS_MAX = 3
LOOK = "edge-gateway events --raw --follow --topic"
WEIGHT_MIN = 0.25  # of what a profile must be able to read before it is mentioned


class Sample(NamedTuple):
    """A message as decoding reads it."""

    topic: str
    payload: bytes
    received_ns: int
    retained: bool = False


class Fit(NamedTuple):
    """A profile that may fit a device."""

    how: Literal["prefix", "adopt", "like"]
    profile: str
    file: str
    why: str
    fields: tuple[str, ...]  # that it reads, or would
    prefix: tuple[str, str] = ("", "")  # the usual one, and the one here


def fit_of(stranger: Stranger, catalogue: Catalogue) -> Fit | None:
    """Return the profile that fits a device best; None when none reads anything of it."""
    samples = [Sample(topic.topic, topic.payload, topic.last_ns) for topic in _whole(stranger.topics)]
    found = _by_prefix(stranger.source, samples, catalogue) or _by_values(samples, catalogue)
    if found is None:
        return None
    compiled, profile = catalogue.profiles[found.profile], found
    if any(message.installed for message in compiled.messages) and found.how == "like":
        profile = found._replace(how="adopt", why="its messages cannot say which profile reads it")
    return profile


def _whole(topics: Sequence[Topic]) -> Iterator[Topic]:
    """Yield the topics whose last message was kept whole."""
    return (topic for topic in topics if len(topic.payload) == topic.bytes)


# ---- other first words of topics -----------------------------------------------------------------------------------


def _by_prefix(source: str, samples: Sequence[Sample], catalogue: Catalogue) -> Fit | None:
    best: Fit | None = None
    for compiled in catalogue.profiles.values():
        alone = Catalogue([compiled])
        for usual in sorted(alone.prefixes):
            for prefix in _prefixes(samples, usual):
                fields = _read(Decoder(alone, "", source, Devices(), {}, {usual: prefix}), samples)
                if fields and (best is None or len(fields) >= len(best.fields)):  # of several the longest
                    why = f"its topics begin with {prefix!r} here, not with {usual!r}"
                    best = Fit("prefix", compiled.source.id, compiled.file, why, fields, (usual, prefix))
    return best


def _prefixes(samples: Sequence[Sample], usual: str) -> Iterator[str]:
    """Yield what may stand at the beginning of all these topics in place of the usual word."""
    levels = [sample.topic.split("/") for sample in samples]
    for length in range(1, PREFIX_LEVELS_MAX + 1):
        words = {"/".join(each[:length]) for each in levels if len(each) > length}
        if len(words) == 1 and words != {usual}:
            yield words.pop()


def _read(decoder: Decoder, samples: Sequence[Sample]) -> tuple[str, ...]:
    """Return the fields a decoder reads in messages."""
    fields: dict[str, None] = {}
    for sample in samples:
        decoded = decoder.decode(sample)
        for reading in decoded.readings:
            fields.update(dict.fromkeys(reading.fields))
    return tuple(fields)


# ---- values that it could read -------------------------------------------------------------------------------------


def _by_values(samples: Sequence[Sample], catalogue: Catalogue) -> Fit | None:
    could: dict[str, dict[str, CompiledMessage]] = {}
    for compiled in catalogue.profiles.values():
        for sample in samples:
            for message in compiled.messages:
                for name in _could_read(message, sample):
                    could.setdefault(compiled.source.id, {}).setdefault(name, message)
    spread = Counter(name for fields in could.values() for name in fields)
    weights = {profile: sum(1 / spread[name] for name in fields) for profile, fields in could.items()}
    if not weights:
        return None
    best = max(weights, key=lambda profile: (weights[profile], profile))
    if weights[best] < WEIGHT_MIN:
        return None
    compiled, fields = catalogue.profiles[best], could[best]
    return Fit("like", best, compiled.file, _hindrance(compiled, next(iter(fields.values())), samples), tuple(fields))


def _could_read(message: CompiledMessage, sample: Sample) -> Iterator[str]:
    """Yield the fields that a message of a profile would read, were it asked."""
    if message.format not in ("json", "auto") or message.each is not None or message.per is not None:
        return
    document = message.parse(sample.payload)
    if isinstance(document, DecodeError):
        return
    member = message.root(document) if message.root else document
    if not isinstance(member, dict):
        return  # a bare number or word fits any field
    for field in message.fields:
        if field.captured:
            continue
        try:
            if field.read({}) is not ABSENT:
                continue  # a value that is the same in any message
            raw = field.read(member)
            if raw is not ABSENT and field.convert(raw, document) is not None:
                yield field.name.text
        except DecodeError:
            continue


def _hindrance(compiled: Compiled, message: CompiledMessage, samples: Sequence[Sample]) -> str:
    """Say why a profile that could read values does not."""
    levels = [sample.topic.split("/") for sample in samples]
    if not any(topic.match(each) is not None for topic in message.topics for each in levels):
        topics = ", ".join(topic.text for topic in message.topics[:2])
        return f"its topics are others ({topics})" if topics else "it reads frames of a serial line"
    asked = [condition.path for condition in _conditions(compiled, message)]
    return f"it asks for {', '.join(asked)}" if asked else "its topics or conditions are others"


def _conditions(compiled: Compiled, message: CompiledMessage) -> Sequence[Any]:
    source = compiled.source
    if not source.message:
        return source.decode.when
    return source.message[message.order].when if message.order < len(source.message) else ()


# ---- for a person --------------------------------------------------------------------------------------------------


def advice(stranger: Stranger, fit: Fit | None, look: str = LOOK) -> Mapping[str, Any]:
    """Return what `devices list --unknown` says of a device: what came, what may fit, and what to type.

    `look` shows messages of the topic that is put behind it.
    """
    return {
        "source": stranger.source,
        "device": stranger.device,
        "messages": stranger.messages,
        "topics": [{"topic": each.topic, "messages": each.messages, "reason": each.reason} for each in stranger.topics],
        "more_topics": stranger.more,
        "fit": None if fit is None else {"how": fit.how, "profile": fit.profile, "file": fit.file, "why": fit.why,
                                         "fields": list(fit.fields)},
        "do": _to_do(stranger, fit, look),
    }  # fmt: skip


def _to_do(stranger: Stranger, fit: Fit | None, look: str) -> str:
    if fit is None:
        topic = stranger.topics[0].topic if stranger.topics else stranger.device
        return f"{look} '{topic}', then a profile: docs/guides/add-a-device.md"
    if fit.how == "prefix":
        usual, here = fit.prefix
        return f'in gateway.toml: [sources.{stranger.source}.prefixes] with {usual} = "{here}"'
    if fit.how == "adopt":
        return f"edge-gateway devices adopt ID --profile {fit.profile}"
    return f"a profile of your own, beginning with a copy of {fit.file}: docs/guides/add-a-device.md"
