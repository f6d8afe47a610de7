"""Crashes in a row are waited for longer and longer, and forgotten in time."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.health.restarts import DELAY_S_MAX, LATELY_S, NAME, Restarts, delay_s


def test_the_first_crashes_do_not_wait_and_no_wait_is_long() -> None:
    """Three starts are at once, then the wait doubles up to its limit."""
    waits = [delay_s([float(age) for age in range(1, crashes + 1)]) for crashes in range(9)]
    assert waits == [0, 0, 0, 1, 2, 4, 8, DELAY_S_MAX, DELAY_S_MAX]


def test_a_crash_long_ago_does_not_count() -> None:
    """After good running the next crash is as the first one."""
    assert delay_s([LATELY_S + 1] * 20) == 0


def test_it_is_remembered_until_an_orderly_end(tmp_path: Path) -> None:
    """Starts are counted over processes in the runtime folder; an orderly end forgets them."""
    environ = {"RUNTIME_DIRECTORY": f"{tmp_path}:/run/other"}
    assert [Restarts(environ).begin(float(now)) for now in range(6)] == [0, 0, 0, 1, 2, 4]
    Restarts(environ).over()
    assert Restarts(environ).begin(7.0) == 0


@pytest.mark.parametrize("text", ["", "{}", "[1, null]", "[[1]]", "\0"])
def test_a_damaged_file_is_no_reason_not_to_start(tmp_path: Path, text: str) -> None:
    """What cannot be read is nothing, and the next start is noted."""
    (tmp_path / NAME).write_text(text)
    assert Restarts({"RUNTIME_DIRECTORY": str(tmp_path)}).begin(5.0) == 0
    assert (tmp_path / NAME).read_text() == "[5.0]"


def test_outside_of_systemd_nothing_waits() -> None:
    """Without a runtime folder nothing is remembered."""
    assert [Restarts({}).begin(float(now)) for now in range(9)] == [0.0] * 9
    Restarts({}).over()
