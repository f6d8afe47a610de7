"""The same again and again is counted, within bounds, and nothing else is."""

from __future__ import annotations

from gateway.logs.repeats import KEYS_MAX, LINES_MAX, PLACE_LINES_MAX, WINDOW_S, Repeats, Said


def test_the_first_ones_pass_and_the_rest_is_counted() -> None:
    """Of 51 equal lines ten are said at once, and 41 in one line when the minute is over."""
    repeats = Repeats[str]()
    passed = [said for i in range(51) for said in repeats.take("here", "cloud", f"try {i}", i / 10)]
    assert passed == [Said(f"try {i}") for i in range(LINES_MAX)]
    assert list(repeats.over(WINDOW_S)) == [Said("try 50", 41, 60)]
    assert list(repeats.take("here", "cloud", "new", WINDOW_S + 1)) == [Said("new")]


def test_another_route_or_place_is_another_line() -> None:
    """What says the same of something else, or comes from elsewhere, is not held back."""
    repeats = Repeats[str]()
    for _ in range(50):
        list(repeats.take("here", "cloud", "x", 0.0))
    assert list(repeats.take("here", "archive", "x", 0.0))
    assert list(repeats.take("there", "cloud", "x", 0.0))


def test_a_place_has_a_limit_whatever_it_is_about() -> None:
    """Made-up names cannot fill the log: a place says so many lines a minute, and counts the rest."""
    repeats = Repeats[str]()
    passed = [said for i in range(1000) for said in repeats.take("here", f"device {i}", "x", 0.0)]
    assert passed == [Said("x")] * PLACE_LINES_MAX
    assert list(repeats.over(WINDOW_S)) == [Said("x", 900, 60)]


def test_memory_is_bounded() -> None:
    """However many places speak about however many things, so many windows are open."""
    repeats = Repeats[str]()
    for i in range(10_000):
        list(repeats.take(i, f"device {i}", "x", 0.0))
    assert len(repeats) <= 2 * KEYS_MAX


def test_the_end_says_what_was_counted() -> None:
    """Nothing that was counted is swallowed when the log ends."""
    repeats = Repeats[str]()
    for _ in range(LINES_MAX + 5):
        list(repeats.take("here", "cloud", "x", 0.0))
    assert list(repeats.close(3.0)) == [Said("x", 5, 3)]
    assert not list(repeats.close(4.0))
