"""The wall clock is set while rules wait: by years forward (1970, then the truth) and minutes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from gateway.clock import SystemClock
from gateway.rules.engine import jumps
from gateway.rules.engine.rates import OUTPUTS_PER_MINUTE_MAX, Bucket
from gateway.rules.engine.seen import Seen
from gateway.rules.engine.tables import Tables
from gateway.rules.protocol import Batch
from gateway.rules.testing import SimulatedHouse
from gateway.rules.worker.backlog import Backlog
from gateway.rules.worker.feed import Feed
from tests.rules.scene import house

JUMPS = [("3600d", False), ("10m", True)]
MINUTE_NS = 60_000_000_000


def opened(folder: Path, arguments: str) -> SimulatedHouse:
    """Return a house with a door and a rule about its opening."""
    text = f'@rule("door_opened", {arguments})\ndef note(event, ctx): ctx.emit("noted")\n'
    here = house(folder, text)
    here.device("door-front", kind="door")
    here.device("door-back", kind="door")
    return here


@pytest.mark.parametrize(("jump", "back"), JUMPS)
def test_a_sliding_window_goes_on(tmp_path: Path, jump: str, back: bool) -> None:
    """Three within five minutes are three within five minutes, though the clock was set between them."""
    here = opened(tmp_path, 'over=sliding("5m", count=3)')
    for _ in range(2):
        here.event("door_opened", "door-front")
        here.advance("1m")
    here.set_clock(jump, back=back)
    assert here.emitted == []
    here.event("door_opened", "door-front")
    assert len(here.emitted) == 1
    here.advance("6m")
    here.event("door_opened", "door-front")
    assert len(here.emitted) == 1, "a window of five minutes is over after six"


@pytest.mark.parametrize(("jump", "back"), JUMPS)
def test_a_pause_lasts_as_long_as_it_lasts(tmp_path: Path, jump: str, back: bool) -> None:
    """A cooldown of ten minutes ends after ten minutes, not when the clock is set."""
    here = opened(tmp_path, 'cooldown="10m"')
    here.event("door_opened", "door-front")
    here.advance("2m")
    here.set_clock(jump, back=back)
    here.event("door_opened", "door-front")
    assert len(here.emitted) == 1
    here.advance("9m")
    here.event("door_opened", "door-front")
    assert len(here.emitted) == 2


@pytest.mark.parametrize(("jump", "back"), JUMPS)
def test_one_after_the_other(tmp_path: Path, jump: str, back: bool) -> None:
    """What follows within its time does so whatever the clock did in between, and later it does not."""
    here = opened(tmp_path, 'after="motion_detected", within="1m", same="house"')
    here.event("motion_detected", "door-back")
    here.advance("20s")
    here.set_clock(jump, back=back)
    here.event("door_opened", "door-front")
    assert len(here.emitted) == 1
    here.event("motion_detected", "door-back")
    here.set_clock(jump, back=back)
    here.advance("2m")
    here.event("door_opened", "door-front")
    assert len(here.emitted) == 1


@pytest.mark.parametrize(("jump", "back"), JUMPS)
def test_one_without_the_other(tmp_path: Path, jump: str, back: bool) -> None:
    """Who speaks against it in time is heard, though the clock was set while it waited; without it the rule runs."""
    here = opened(tmp_path, 'unless="motion_detected", within="1m", same="house"')
    here.event("door_opened", "door-front")
    here.advance("20s")
    here.set_clock(jump, back=back)
    here.advance("10s")
    here.event("motion_detected", "door-back")
    here.advance("10m")
    assert here.emitted == []
    here.event("door_opened", "door-front")
    here.set_clock(jump, back=back)
    here.advance("2m")
    assert len(here.emitted) == 1


@pytest.mark.parametrize(("jump", "back"), JUMPS)
def test_silence_is_silence(tmp_path: Path, jump: str, back: bool) -> None:
    """A debounce runs once, when its device was silent for long enough by a clock that never steps."""
    here = opened(tmp_path, 'debounce="10s"')
    here.event("door_opened", "door-front")
    here.advance("8s")
    here.event("door_opened", "door-front")
    here.set_clock(jump, back=back)
    here.advance("8s")
    assert here.emitted == []
    here.advance("3s")
    assert len(here.emitted) == 1


def test_what_is_of_another_clock_stays() -> None:
    """A pause that began before a boot at 1970 is not moved into the next century when the clock is set."""
    now, years = 1_800_000_000_000_000_000, 1_700_000_000_000_000_000
    tables = Tables({"rule_state": {"a|cooldown|door": now - years - MINUTE_NS, "b|cooldown|door": now - MINUTE_NS}})
    jumps.clock_set(tables, Seen("id", "clock_set", sequence="7", data={"jumped_s": years / 1e9}), now)
    assert tables.get("rule_state", "a|cooldown|door") == now - MINUTE_NS
    assert tables.get("rule_state", "b|cooldown|door") == now - MINUTE_NS


def test_a_limit_by_the_minute_outlives_a_clock_that_was_ahead() -> None:
    """A rule that used up its minute in 2099 gets another one when the clock is right again."""
    ahead, now = 4_000_000_000_000_000_000, 1_800_000_000_000_000_000
    bucket = Bucket(OUTPUTS_PER_MINUTE_MAX, ahead)
    assert bucket.take(OUTPUTS_PER_MINUTE_MAX, ahead)
    assert not bucket.take(1, ahead)
    assert not bucket.take(1, now)
    assert bucket.take(OUTPUTS_PER_MINUTE_MAX, now + MINUTE_NS)


class Told:
    """A worker that keeps what it is sent."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def send(self, message: Any) -> None:
        """Keep a batch."""
        self.batches.append(message)


def test_records_are_told_with_the_time_of_their_own_clock() -> None:
    """What was stamped before the clock was set is judged by that clock: no timer is over at once, or too late."""
    clock, worker = SystemClock(), Told()
    feed = Feed(Backlog(0, 0, 100, 1 << 20), clock, 0, lambda after, limit: ((), after), dict, lambda: None)
    feed._process = cast("Any", worker)
    feed.backlog.add([(1, b"{}"), (2, b"{}")])
    feed.clock_set(2, -clock.boot_ns())  # until then it was 1970
    feed.backlog.add([(3, b"{}")])
    feed.flush()
    (before, behind) = worker.batches
    assert (before.upto, behind.upto) == (2, 3)
    assert before.now_ns < MINUTE_NS
    assert behind.now_ns > 1_600_000_000 * 1_000_000_000
