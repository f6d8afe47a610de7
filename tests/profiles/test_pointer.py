"""JSON pointers."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.profiles.pointer import ABSENT, compile_pointer, first_of, key_among, segments_of, visit

MESSAGE: dict[str, Any] = {
    "a": {"b": [10, {"c": "deep"}], "x/y": 1, "m~n": 2, "0": "key zero"},
    "n": None,
    "BME280": {"Temperature": 21},
    "DS18B20-1": {"Temperature": 3},
}


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("", MESSAGE), ("/n", None), ("/zz", ABSENT), ("/a/b/0", 10), ("/a/b/1/c", "deep"), ("/a/b/2", ABSENT),
        ("/a/b/-1", ABSENT), ("/a/x~1y", 1), ("/a/m~0n", 2), ("/a/0", "key zero"), ("/n/x", ABSENT),
        ("/{chip:!*-*|a|n}/Temperature", 21), ("/{chip:*-*}/Temperature", 3), ("/*/Nothing", ABSENT),
    ],
)  # fmt: skip
def test_pointers_read(pointer: str, expected: Any) -> None:
    """Keys, indices, escapes and captures lead where RFC 6901 and the language say, or nowhere."""
    assert compile_pointer(pointer)(MESSAGE) == expected or compile_pointer(pointer)(MESSAGE) is expected


@pytest.mark.parametrize("document", [None, 5, "text", [], [[]], {}, True])
def test_any_document_is_survived(document: Any) -> None:
    """A pointer into something else than an object is absent, not an error."""
    assert all(compile_pointer(p)(document) is ABSENT for p in ("/a", "/a/b/c", "/9", "/*/a", "/{x}/0/y"))


def test_first_present_wins_and_null_is_present() -> None:
    """Alternatives are tried in order; a null does not fall through to the next."""
    assert first_of(["/zz", "/n", "/a"])(MESSAGE) is None
    assert [first_of(["/v", ""])(said) for said in ({"v": 1}, 2, {"time": 3})] == [1, 2, ABSENT]


def test_visit_yields_captures() -> None:
    """Iterating members says which one each is; objects and arrays alike."""
    assert list(visit(segments_of("/{chip:*-*}"), MESSAGE)) == [({"chip": "DS18B20-1"}, {"Temperature": 3})]
    assert [found["i"] for found, _ in visit(segments_of("/a/b/{i}"), MESSAGE)] == ["0", "1"]


def test_members_visited_are_limited() -> None:
    """An object of a hundred thousand members costs a bounded number of visits."""
    assert len(list(visit(segments_of("/{x}"), dict.fromkeys(map(str, range(100_000)), 1)))) == 256


def test_key_among_agrees_with_reading() -> None:
    """Deciding by keys alone finds the same key that reading would."""
    alternatives = ["/zz", "/{chip:*-*}", "/a"]
    key = key_among([segments_of(p)[0] for p in alternatives], tuple(MESSAGE))
    assert MESSAGE[str(key)] == first_of(alternatives)(MESSAGE)


@pytest.mark.parametrize("pointer", ["a", "a/b", "/{", "/{x:}"])
def test_bad_pointers_are_refused(pointer: str) -> None:
    """A pointer that is none is an error when the profile is loaded."""
    with pytest.raises(ValueError, match=r"pointer|capture"):
        compile_pointer(pointer)
