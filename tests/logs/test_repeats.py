"""The same again and again is counted, within bounds, and nothing else is."""

from __future__ import annotations

from gateway.logs.line import Line
from gateway.logs.repeats import KEYS_MAX, LINES_MAX, PLACE_LINES_MAX, WINDOW_S, Repeats


def said(text: str = "again", route: str = "cloud", at: int = 1) -> Line:
    """Make a line."""
    return Line(30, "gateway.test", text, 0, None, {"route": route} if route else {}, "", ("a.py", at, "f"))


def test_the_first_ones_pass_and_the_rest_is_counted() -> None:
    """Of 51 equal lines ten are said at once, and 41 in one line when the minute is over."""
    repeats = Repeats()
    passed = [line for i in range(51) for line in repeats.take("t", said(f"try {i}"), i / 10)]
    assert [line.message for line in passed] == [f"try {i}" for i in range(LINES_MAX)]
    assert [line.message for line in repeats.over(WINDOW_S)] == ["try 50 … 41 more in 60 s"]
    assert [line.message for line in repeats.take("t", said("new"), WINDOW_S + 1)] == ["new"]


def test_another_route_or_place_is_another_line() -> None:
    """What says the same of something else, or comes from elsewhere, is not held back."""
    repeats = Repeats()
    for _ in range(50):
        list(repeats.take("t", said(), 0.0))
    assert list(repeats.take("t", said(route="archive"), 0.0))
    assert list(repeats.take("t", said(at=2), 0.0))


def test_a_place_has_a_limit_whatever_it_is_about() -> None:
    """Made-up names cannot fill the log: a place says so many lines a minute, and counts the rest."""
    repeats = Repeats()
    passed = [line for i in range(1000) for line in repeats.take("t", said(route=f"r{i}"), 0.0)]
    summed_up = [line.message for line in [*passed, *repeats.over(WINDOW_S)] if "more in" in line.message]
    assert sum("more in" not in line.message for line in passed) == PLACE_LINES_MAX
    assert sum(int(text.partition("… ")[2].split()[0].replace(",", "")) for text in summed_up) == 900


def test_memory_is_bounded() -> None:
    """However many places speak, so many windows are open."""
    repeats = Repeats()
    for i in range(10_000):
        list(repeats.take("t", said(at=i), 0.0))
    assert len(repeats) <= 2 * KEYS_MAX


def test_the_end_says_what_was_counted() -> None:
    """Nothing that was counted is swallowed when the log ends."""
    repeats = Repeats()
    for _ in range(LINES_MAX + 5):
        list(repeats.take("t", said(), 0.0))
    assert [line.message for line in repeats.close(3.0)] == ["again … 5 more in 3 s"]
    assert not list(repeats.close(4.0))
