"""Two thousand power cuts and what the simulator would say of broken code. Budget: 60 s."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import msgspec
import pytest

from gateway.journal import segment
from gateway.journal.segment import Walk
from gateway.journal.writer import Writer
from simulators import cuts, damage
from simulators.disk import SimDisk
from simulators.journal import Run


def test_2000_power_cuts_lose_nothing_acknowledged() -> None:
    """No acknowledged event lost, no ghost, no id changed, no start refused, every eviction counted: 100 runs of 20."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as both:  # the machines it runs on have two cores
        halves = list(both.map(partial(cuts.cut, 1000), (1, 51)))
    assert [half["cuts"] for half in halves] == [1000, 1000]
    assert sum(int(str(half["acknowledged"])) for half in halves) > 50_000
    assert sum(int(str(half["evicted_counted"])) for half in halves) > 10_000
    names = ("lost", "ghosts", "changed_ids", "refused_starts", "broken", "failed_seeds")
    wrong = [{name: half[name] for name in names} for half in halves]
    assert not any(any(half.values()) for half in wrong), wrong


def test_the_same_seed_is_the_same_history() -> None:
    """A failing seed can be run again: counts of two runs are equal."""
    assert Run(77).run(10) == Run(77).run(10)


def test_the_verb_ends_with_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m simulators.cuts --json` prints one JSON object with the agreed keys and exits 0."""
    assert cuts.main(["--count", "40", "--seed", "5", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {"cuts", "acknowledged", "lost", "changed_ids", "refused_starts", "ghosts", "seed"} <= result.keys()
    assert result["cuts"] == 40


def test_250_hurt_journals_start_and_lose_only_what_was_hurt() -> None:
    """Flipped, zeroed, truncated, deleted, swapped, copied: the start goes on and counts exactly what is gone."""
    result = damage.damage(250, seed=1)
    assert int(str(result["lost_to_damage"])) > 500
    assert result["wrong"] == []


# -- what the simulator says of broken code: each of these would pass if it could not see the fault ------------------


def findings(seeds: Iterable[int], disk: type[SimDisk] = SimDisk) -> int:
    """Return how many of these runs are not sound."""
    return sum(not Run(seed, disk(seed)).run(20).sound for seed in seeds)


@pytest.mark.parametrize("way", ["cut_short", "whole"])
def test_what_a_start_finds_without_the_newest_checkpoint_is_counted_and_stays(way: str) -> None:
    """A file that ends where a block ends lacks what came behind; without any block it makes nothing old."""
    cases = [damage.Case(seed, (way, "newest_checkpoint")) for seed in range(60)]
    assert [fault for case in cases for fault in case.run()] == []


@pytest.mark.parametrize("seed", [7100424, 7100558])
def test_a_ring_that_faults_have_filled_with_short_segments_gets_room_again(seed: int) -> None:
    """When faults have used up the reserve, making room goes beyond the budget for a moment, and is never stuck."""
    assert cuts.cut(20, seed)["broken"] == []


def test_it_catches_a_missing_fdatasync() -> None:
    """A disk whose fdatasync does nothing is what leaving the call out would be: nearly every run loses something."""

    class Lazy(SimDisk):
        def fdatasync(self, handle: int) -> None:
            self._step("fdatasync")

        def refresh(self, handle: int) -> None:
            self._step("refresh")

    assert findings(range(20), Lazy) >= 10


def test_it_catches_an_unsynced_folder() -> None:
    """Without the sync of the folder new segments vanish with a power cut."""

    class Nameless(SimDisk):
        def sync_folder(self, folder: object) -> None:
            self._step("sync_folder")

    assert findings(range(20), Nameless) >= 3


def test_it_catches_a_failed_fdatasync_that_is_just_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second fdatasync returns success and has written nothing: that is found out."""

    def insistent(self: Writer, handle: int, data: bytes, offset: int) -> None:
        self.disk.pwrite(handle, data, offset)
        try:
            self.disk.fdatasync(handle)
        except OSError:
            self.disk.fdatasync(handle)

    monkeypatch.setattr(Writer, "_put", insistent)
    assert findings(range(30)) >= 3


def test_it_catches_readers_that_ignore_the_life_of_a_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the life in the check, earlier lives of recycled segments come back."""

    def lifeless(self: Walk, offset: int) -> object:
        header = segment.blocks.decode_header(self._window.get(segment.HEADER_BYTES, offset))
        if header is None or header.log_id != self._log_id:
            return None
        return msgspec.structs.replace(header, life=self._life)

    def gullible(self: Walk, header: object) -> bool:
        return True

    monkeypatch.setattr(Walk, "_header", lifeless)
    monkeypatch.setattr(Walk, "_follows", gullible)
    assert findings(range(20)) >= 3


def test_it_catches_a_start_that_trusts_the_cache() -> None:
    """Taking what a killed process left in the cache for durable is found out."""

    class Trusting(SimDisk):
        def refresh(self, handle: int) -> None:
            self._step("refresh")

    assert findings((4, 21, 38), Trusting) >= 1
