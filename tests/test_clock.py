"""The machine's clock: when it is believed."""

from __future__ import annotations

import pytest

from gateway import clock


def test_a_clock_that_was_right_stays_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that loses its network knows the time as before: what was synchronised once is, until it restarts."""
    answers = iter([False, True])
    monkeypatch.setattr(clock, "_SYNCHRONIZED", clock.Path("nowhere"))
    monkeypatch.setattr(clock, "_kernel_synced", lambda: next(answers, False))
    monkeypatch.setattr(clock, "_ASK_EVERY_NS", 0)
    system = clock.SystemClock()
    assert [system.synced() for _ in range(4)] == [False, True, True, True]


def test_a_clock_that_is_trusted_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a clock chip and no network knows the time, when its config says so."""
    monkeypatch.setattr(clock, "_SYNCHRONIZED", clock.Path("nowhere"))
    monkeypatch.setattr(clock, "_kernel_synced", lambda: False)
    assert (clock.SystemClock().synced(), clock.SystemClock(trusted=True).synced()) == (False, True)
