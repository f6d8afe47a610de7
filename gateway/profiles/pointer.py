"""JSON pointers, compiled once to small functions.

``/a/b/0`` is RFC 6901: keys and array indices, ``~1`` for a slash and ``~0`` for a tilde; the empty pointer is
the whole message. A segment may also be a capture as in `template.py`: ``/*/Temperature`` finds the first
member that has one, ``/thermostats/{index}`` is for `each`, which visits them all.
What is not there is `ABSENT`, which is not the same as null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from gateway.profiles.template import Captures, Segment, parse_segment

ABSENT: Final[Any] = type("Absent", (), {"__repr__": lambda _: "ABSENT", "__bool__": lambda _: False})()
POINTERS_MAX = 4_096  # that are remembered, compiled: profiles repeat them
MEMBERS_MAX = 256  # members of one object or array that a capture looks at

Read = Callable[[Any], Any]


@lru_cache(POINTERS_MAX)
def segments_of(pointer: str) -> tuple[Segment, ...]:
    """Split a pointer into segments. Raises ValueError unless it is empty or begins with a slash."""
    if pointer == "":
        return ()
    if not pointer.startswith("/"):
        raise ValueError(f"{pointer!r} is no JSON pointer: it begins with / (or is empty: the whole message)")
    return tuple(_unescaped(parse_segment(part)) for part in pointer[1:].split("/"))


def _unescaped(segment: Segment) -> Segment:
    if segment.literal is None:
        return segment
    return Segment(segment.literal.replace("~1", "/").replace("~0", "~"))


def top_segment(pointer: str) -> Segment | None:
    """Return the segment when a pointer names one key of the top object: decided by the keys alone."""
    segments = segments_of(pointer)
    if len(segments) != 1 or (segments[0].literal or "").isdigit():
        return None
    return segments[0]


def key_among(alternatives: Sequence[Segment], keys: Sequence[str]) -> str | None:
    """Return the key that the first fitting alternative names, as `first_of` would find it."""
    for segment in alternatives:
        for key in (segment.literal,) if segment.literal is not None else keys:
            if key in keys and segment.match(key) is not None:
                return key
    return None


@lru_cache(POINTERS_MAX)
def compile_pointer(pointer: str) -> Read:
    """Return a function message -> value or ABSENT. Raises ValueError for a bad pointer."""
    segments = segments_of(pointer)
    if any(segment.literal is None for segment in segments):
        return lambda document: next((value for _, value in visit(segments, document)), ABSENT)
    keys = [str(segment.literal) for segment in segments]
    if len(keys) == 1:
        return _one(keys[0])

    def read(document: Any) -> Any:
        for key in keys:
            document = _member(document, key)
            if document is ABSENT:
                return ABSENT
        return document

    return read


def first_of(pointers: Sequence[str]) -> Read:
    """Return a function that reads the first pointer present (null counts as present).

    Beside others the empty pointer is the bare value of dialects that have both forms: an object is none.
    """
    reads = [compile_pointer(pointer) for pointer in pointers]
    if len(reads) == 1:
        return reads[0]
    reads = [read if pointer else _bare for pointer, read in zip(pointers, reads, strict=True)]

    def read(document: Any) -> Any:
        for one in reads:
            value = one(document)
            if value is not ABSENT:
                return value
        return ABSENT

    return read


def visit(segments: Sequence[Segment], document: Any) -> Iterator[tuple[Captures, Any]]:
    """Yield every value a pointer with captures leads to, with what was captured on the way."""
    if not segments:
        yield {}, document
        return
    segment, rest = segments[0], segments[1:]
    if segment.literal is not None:
        member = _member(document, segment.literal)
        if member is not ABSENT:
            yield from visit(rest, member)
        return
    for key, member in _members(document):
        captured = segment.match(key)
        if captured is not None:
            for more, value in visit(rest, member):
                yield ({segment.name: captured, **more} if segment.name else more), value


def _bare(document: Any) -> Any:
    return ABSENT if document.__class__ is dict else document


def _one(key: str) -> Read:
    if key.isdigit():
        return lambda document: _member(document, key)

    def read(document: Any) -> Any:
        return document.get(key, ABSENT) if document.__class__ is dict else ABSENT

    return read


def _member(document: Any, key: str) -> Any:
    if document.__class__ is dict:
        return document.get(key, ABSENT)
    if document.__class__ is list and key.isdigit() and len(key) < 6 and int(key) < len(document):
        return document[int(key)]
    return ABSENT


def _members(document: Any) -> Iterator[tuple[str, Any]]:
    if document.__class__ is dict:
        pairs: Any = document.items()
    elif document.__class__ is list:
        pairs = ((str(i), value) for i, value in enumerate(document))
    else:
        return
    for count, pair in enumerate(pairs):
        if count >= MEMBERS_MAX:
            return
        yield pair
