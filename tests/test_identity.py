"""Who a gateway is: on its own machine, with a part exchanged, on another one, decided by a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway import identity
from gateway.belonging import Belonging
from gateway.clock import SystemClock
from gateway.errors import GatewayError
from gateway.event import Event
from gateway.identity import Facts, judge
from gateway.journal.journal import Journal
from gateway.journal.leap import LEAP_MIN
from gateway.journal.options import JournalOptions

OPTIONS = JournalOptions(bytes_max=16 * 1024 * 1024, segment_bytes=256 * 1024, preallocate=False)
PI = Facts(board="board", mac=("lan", "wlan"), card="card", machine="m")


def machine(folder: Path, serial: str, mac: str) -> Path:
    """Make what a board says of itself; empty: it says nothing."""
    adapter = folder / "sys/class/net/eth0"
    (adapter / "device").mkdir(parents=True)
    (adapter / "address").write_text(f"{mac}\n")
    (adapter / "addr_assign_type").write_text("0\n")
    virtual = folder / "sys/class/net/docker0"
    virtual.mkdir()
    (virtual / "address").write_text("02:42:00:00:00:01\n")
    tree = folder / "proc/device-tree"
    tree.mkdir(parents=True)
    (tree / "serial-number").write_text(f"{serial}\0")
    return folder


class Site:
    """A state folder that is started on machines."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.events: list[Event] = []

    def start(self, root: Path, *, killed: bool = False) -> tuple[Belonging, int, str]:
        """Start and stop, or be killed before the first commit; returns what was found, the epoch and the log id."""
        self.events = []
        belonging = Belonging(self.state, self.state / "journal", SystemClock(), root)
        journal = Journal.open(self.state / "journal", OPTIONS, SystemClock())
        belonging.joined(journal)
        belonging.say(self.events.append, "gw")
        if killed:
            journal._lock.release()
        else:
            journal.close()
        return belonging, journal.epoch, journal.log_id

    @property
    def types(self) -> list[str]:
        """Return what was said."""
        return [event.type for event in self.events]


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (PI, "same"),
        (Facts(board="board", mac=("new",), card="card", machine="m"), "same"),
        (Facts(board="board", mac=("lan",), card="new", machine="m"), "same"),
        (Facts(board="new", mac=("wlan",), card="new", machine="m"), "same"),
        (Facts(board="new", mac=("new",), card="card", machine="m"), "moved"),
        (Facts(board="new", mac=("new",), card="new", machine="m"), "other"),
        (Facts(mac=("new",), machine="m"), "other"),
        (Facts(machine="m"), "unbound"),
        (Facts(machine="new"), "unbound"),
    ],
)
def test_one_part_is_no_other_machine(now: Facts, verdict: str) -> None:
    """A new adapter, card or board beside known parts is the same machine; machine-id travels with a card."""
    assert judge(PI, now) == verdict


def test_what_a_machine_says_is_hashed(tmp_path: Path) -> None:
    """Facts name neither serial number nor address, and are others with another salt; virtual adapters do not count."""
    root = machine(tmp_path / "a", "10000000deadbeef", "b8:27:eb:00:00:01")
    found = identity.read_facts(tmp_path, "salt", root)
    assert found.board
    assert len(found.mac) == 1
    assert "deadbeef" not in str(found)
    assert found != identity.read_facts(tmp_path, "other", root)
    nothing = machine(tmp_path / "b", "0000000000000000", "00:00:00:00:00:00")
    assert identity.read_facts(tmp_path, "salt", nothing) == Facts()
    assert identity.read_facts(tmp_path, "salt", tmp_path / "container") == Facts()


def test_at_home_nothing_is_asked(tmp_path: Path) -> None:
    """The identity is made once; starts and a new network adapter change nothing, and the epoch counts by one."""
    site, home = Site(tmp_path / "state"), machine(tmp_path / "a", "1000", "b8:27:eb:00:00:01")
    first, epoch, log_id = site.start(home)
    assert first.identity is not None
    assert identity.load(site.state) == first.identity
    changed = machine(tmp_path / "b", "1000", "b8:27:eb:00:00:99")
    again, following, _ = site.start(changed)
    assert again.identity is not None
    assert (again.identity.id, again.identity.log_id, following) == (first.identity.id, log_id, epoch + 1)
    assert site.types == []
    assert again.undecided is None


def test_a_copied_card_never_gives_out_an_id_twice(tmp_path: Path) -> None:
    """On another machine it is said once, and the epoch leaps so far that the original never comes there."""
    site = Site(tmp_path / "state")
    _, epoch, log_id = site.start(machine(tmp_path / "a", "1000", "b8:27:eb:00:00:01"))
    elsewhere = machine(tmp_path / "b", "2000", "b8:27:eb:00:00:02")
    found, leapt, same_log = site.start(elsewhere)
    assert found.undecided is not None
    assert found.undecided.verdict == "other"
    assert same_log == log_id
    assert leapt > epoch + LEAP_MIN
    assert site.types == ["identity_doubted"]
    assert site.events[0].data["code"] == "EG-610"
    still, following, _ = site.start(elsewhere)
    assert still.undecided is not None
    assert following == leapt + 1
    assert site.types == [], "once"
    back, _, _ = site.start(tmp_path / "a")
    assert back.undecided is None, "the card is where it belongs again"


def test_what_a_killed_start_said_is_said_again(tmp_path: Path) -> None:
    """The file knows the machine before the journal has the event: the next start looks whether it has."""
    site, elsewhere = Site(tmp_path / "state"), machine(tmp_path / "b", "2000", "b8:27:eb:00:00:02")
    site.start(machine(tmp_path / "a", "1000", "b8:27:eb:00:00:01"))
    for killed in (True, False):
        site.start(elsewhere, killed=killed)
        assert site.types == ["identity_doubted"]
    site.start(elsewhere)
    assert site.types == []


def test_a_person_says_that_it_replaces(tmp_path: Path) -> None:
    """The same id and journal go on, bound to the new machine."""
    site, new = Site(tmp_path / "state"), machine(tmp_path / "b", "2000", "b8:27:eb:00:00:02")
    before, _, log_id = site.start(machine(tmp_path / "a", "1000", "b8:27:eb:00:00:01"))
    site.start(new)
    decided = identity.adopt(site.state, "replace", "2026-11-23T20:00:00.000Z", new)
    after, _, same_log = site.start(new)
    assert before.identity is not None
    assert after.identity is not None
    assert decided.id == before.identity.id == after.identity.id
    assert (after.undecided, same_log) == (None, log_id)


def test_a_person_says_that_it_is_a_copy(tmp_path: Path) -> None:
    """It gets an id and a journal of its own at the next start; the one it came with is kept beside."""
    site, new = Site(tmp_path / "state"), machine(tmp_path / "b", "2000", "b8:27:eb:00:00:02")
    before, _, log_id = site.start(machine(tmp_path / "a", "1000", "b8:27:eb:00:00:01"))
    found, _, _ = site.start(new)
    journal = Journal.open(site.state / "journal", OPTIONS, SystemClock())
    site.events = []
    found.adopt("copy", "person:anna", journal, site.events.append, "gw")
    journal.close()
    assert [(event.type, event.actor) for event in site.events] == [("identity_adopted", "person:anna")]
    assert found.said()["restart"]
    copy, epoch, new_log = site.start(new)
    assert before.identity is not None
    assert copy.identity is not None
    assert copy.identity.id != before.identity.id
    assert copy.identity.copied_from == before.identity.id
    assert (new_log != log_id, epoch, copy.undecided) == (True, 1, None)
    assert (site.state / f"journal-{log_id}").is_dir()
    assert site.types == ["identity_made"]


def test_a_lost_or_broken_file_is_found_in_the_journal(tmp_path: Path) -> None:
    """Who it is stands in the journal, too; a broken file keeps nothing from running."""
    site, home = Site(tmp_path / "state"), machine(tmp_path / "a", "1000", "b8:27:eb:00:00:01")
    first, _, _ = site.start(home)
    for damage in ("", "{"):
        (site.state / identity.NAME).write_text(damage)
        found, _, _ = site.start(home)
        assert found.identity == first.identity
        assert identity.load(site.state) == first.identity
    (site.state / identity.NAME).unlink()
    assert site.start(home)[0].identity == first.identity


def test_nothing_to_decide_yet(tmp_path: Path) -> None:
    """Before the first start there is nobody to adopt, and it says so."""
    with pytest.raises(GatewayError, match="made at the first start"):
        identity.adopt(tmp_path, "replace", "2026-11-23T20:00:00.000Z", tmp_path)


def test_said_is_what_people_need(tmp_path: Path) -> None:
    """What is shown has the state, what binds it, and no hash."""
    site, home = Site(tmp_path / "state"), machine(tmp_path / "a", "1000", "b8:27:eb:00:00:01")
    said: Any = site.start(home)[0].said()
    assert (said["state"], said["bound_by"], said["restart"]) == ("bound", ["board", "mac"], False)
    container: Any = Site(tmp_path / "other").start(tmp_path / "nothing")[0].said()
    assert container["state"] == "unbound"
