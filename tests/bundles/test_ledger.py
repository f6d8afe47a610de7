"""Which configuration counts, over reboots, kills and a clock that knows nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.bundles import ledger as ledgers
from gateway.bundles.ledger import BOOT_COST_S, STARTS_MAX, ApplyError, Ledger, Version
from gateway.bundles.starting import Start
from gateway.clock import NS_PER_S

NEW, NEWER = Version(name="00000001", bundle="a" * 64), Version(name="00000002", bundle="b" * 64)


class Boots:
    """A machine whose power can go."""

    def __init__(self) -> None:
        self._boot, self._ns = 1, 50 * NS_PER_S

    def pass_by(self, seconds: float) -> None:
        """Let time go by."""
        self._ns += int(seconds * NS_PER_S)

    def reboot(self) -> None:
        """Begin again at zero, without knowing when."""
        self._boot, self._ns = self._boot + 1, 0

    def wall_ns(self) -> int:
        """Return some time of 1970: nobody set the clock."""
        return self._ns

    def boot_ns(self) -> int:
        """Return nanoseconds since boot."""
        return self._ns

    def boot_id(self) -> str:
        """Return which boot it is."""
        return f"boot-{self._boot}"

    def synced(self) -> bool:
        """Nobody set the clock."""
        return False


def test_the_time_to_confirm_begins_with_the_first_start() -> None:
    """A try that waits for a gateway to start loses nothing; restarts in one boot do not lengthen it."""
    clock = Boots()
    now = ledgers.begun(Ledger(), NEW, 600)
    clock.pass_by(100_000)
    now = ledgers.started(now, clock)
    assert ledgers.left_s(now, clock) == 600
    clock.pass_by(599)
    again = ledgers.started(now, clock)
    assert (again.current, ledgers.left_s(again, clock)) == (NEW, 1)
    clock.pass_by(2)
    over = ledgers.started(again, clock)
    assert (over.current, over.trial) == (None, None)
    assert over.outcome is not None
    assert (over.outcome.verdict, over.outcome.code) == ("reverted", "EG-722")


def test_a_reboot_goes_on_with_what_was_left() -> None:
    """What was noted counts on after a power cut, less a share for the time nobody knows; it ends however often."""
    clock = Boots()
    now = ledgers.started(ledgers.begun(Ledger(), NEW, 600), clock)
    clock.pass_by(100)
    now = ledgers.passed(now, clock)
    clock.reboot()
    now = ledgers.started(now, clock)
    assert ledgers.left_s(now, clock) == 500 - BOOT_COST_S
    short = ledgers.started(ledgers.begun(Ledger(), NEW, BOOT_COST_S), clock)
    clock.reboot()
    assert ledgers.started(short, clock).current is None


def test_starts_without_success_are_counted() -> None:
    """Whatever ends each start, after a few of them the version before counts again."""
    clock = Boots()
    now = ledgers.begun(ledgers.confirmed(ledgers.begun(Ledger(), NEW, 600), "", clock), NEWER, 600)
    for _ in range(STARTS_MAX):
        now = ledgers.started(now, clock)
        assert now.current == NEWER
    now = ledgers.started(now, clock)
    assert (now.current, now.trial) == (NEW, None)
    assert now.outcome is not None
    assert now.outcome.code == "EG-723"


def test_one_thing_at_a_time() -> None:
    """While one is tried no other begins; without a try there is nothing to confirm, without a version no way back."""
    clock = Boots()
    now = ledgers.begun(Ledger(), NEW, 600)
    with pytest.raises(ApplyError, match="still being tried"):
        ledgers.begun(now, NEWER, 600)
    with pytest.raises(ApplyError, match="nothing is being tried"):
        ledgers.confirmed(Ledger(), "", clock)
    with pytest.raises(ApplyError, match="nothing was applied"):
        ledgers.reverted(Ledger(), "", "", clock)


def test_the_ledger_is_found_by_the_config_it_belongs_to(tmp_path: Path) -> None:
    """Its own config leads to the version; another config that has the same state folder does not."""
    base, other = tmp_path / "gateway.toml", tmp_path / "other.toml"
    for file in (base, other):
        file.write_text(f'[gateway]\nstate = "{tmp_path / "state"}"\n')
    (tmp_path / "state").mkdir()
    assert ledgers.config_of(base) == base
    ledgers.change(tmp_path / "state", lambda now: ledgers.based(ledgers.begun(now, NEW, 60), base))
    assert ledgers.config_of(base) == tmp_path / "state" / "applied" / "00000001" / "gateway.toml"
    assert ledgers.config_of(other) == other


def test_a_ledger_that_cannot_be_read_leads_nowhere(tmp_path: Path) -> None:
    """Damaged, or of a newer version: the config itself counts, nothing is written over it, and a start says so."""
    base, state = tmp_path / "gateway.toml", tmp_path / "state"
    base.write_text(f'[gateway]\nstate = "{state}"\n')
    (state / "applied").mkdir(parents=True)
    newer = msgspec.json.encode(Ledger(format=2, base=str(base), current=NEW))
    for text in (b"{", b"\0" * 400, newer):
        (state / "applied" / "now.json").write_bytes(text)
        assert ledgers.config_of(base) == base
        assert Start(base, Boots()).file == base
        with pytest.raises(ApplyError, match=r"now\.json"):
            ledgers.change(state, lambda now: ledgers.begun(now, NEW, 60))
        assert (state / "applied" / "now.json").read_bytes() == text


def test_a_start_that_fails_goes_back_once(tmp_path: Path) -> None:
    """What cannot run while it is tried is over with the first failure; what counts for good stays, whatever fails."""
    base, state = tmp_path / "gateway.toml", tmp_path / "state"
    base.write_text(f'[gateway]\nstate = "{state}"\n')
    state.mkdir()
    clock = Boots()
    ledgers.change(state, lambda now: ledgers.based(ledgers.begun(now, NEW, 60), base))
    start = Start(base, clock)
    assert start.tried
    assert start.failed(RuntimeError("no such port"))
    found = ledgers.read(state)
    assert (found.current, found.trial) == (None, None)
    assert found.outcome is not None
    assert "no such port" in found.outcome.why
    ledgers.change(state, lambda now: ledgers.confirmed(ledgers.begun(now, NEWER, 60), "", clock))
    assert not Start(base, clock).failed(RuntimeError("the disk is gone"))
    assert ledgers.read(state).current == NEWER
