"""A bundle applied to a gateway that runs: it counts when the cloud has taken an event by it, else it goes back."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.api.line import ApiError
from gateway.bundles import ledger as ledgers
from gateway.cli.main import main
from simulators.processes import free_port, listening
from simulators.subject import PROFILES
from tests.cli.site import Result
from tests.mqtt.broker import Broker
from tests.system.rig import Cloud, House, broker_target, delivered, device, own_listener, running, until, watching

COUNTING = '''\
"""Counts doors."""

from gateway.rules import rule


@rule("reading_taken")
def counted(event, ctx):
    """Count readings for ever."""
    ctx.state["seen"] = ctx.state.get("seen", 0) + 1
    ctx.emit("counted", {"seen": ctx.state["seen"]%s})
'''


class Rig:
    """A house, its cloud, and bundles for it."""

    def __init__(self, folder: Path, cloud: Broker, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.port, self._source = own_listener()
        self.folder, self.cloud = folder, cloud
        self.house = House(folder / "house", self._source, broker_target(f"mqtt://127.0.0.1:{cloud.port}"))
        (self.house.folder / "rules").mkdir()
        (self.house.folder / "rules" / "counting.py").write_text(COUNTING % "")

    def bundle(self, name: str, port: int, *, rule: str = ', "new": True', more: str = "") -> Path:
        """Write a bundle that sends to a port of this machine."""
        folder = self.folder / name
        (folder / "rules").mkdir(parents=True)
        head = f'[gateway]\nname = "gw"\nprofiles = ["{PROFILES}"]\n[journal]\nbytes_max = "8MB"\n'
        text = f"{head}{self._source}{broker_target(f'mqtt://127.0.0.1:{port}')}{more}"
        (folder / "gateway.toml").write_text(text)
        (folder / "rules" / "counting.py").write_text(COUNTING % rule)
        return folder

    def apply(self, *words: str | Path) -> Result:
        """Type `apply`; it takes the time it takes."""
        self._capsys.readouterr()
        code = main(["apply", *map(str, words), "--config", str(self.house.file)])
        return Result(code, *self._capsys.readouterr())

    def applied(self) -> str | None:
        """Return the hash of the bundle that runs; None while nobody answers."""
        try:
            return str(self.house.status()["applied"]["bundle"])
        except (ApiError, OSError):
            return None

    @property
    def ledger(self) -> ledgers.Ledger:
        """What counts."""
        return ledgers.read(self.house.state)

    def read(self, number: int) -> None:
        """Let a device say something, as soon as somebody listens."""
        until(lambda: listening("127.0.0.1", self.port))
        with device(self.port, f"meter-{number}") as meter:
            meter.tell("load/meter/attic", {"temperature": number})

    def trees(self) -> dict[str, bytes]:
        """Return every file of the config's folder and of what was applied."""
        kept = [self.house.folder / "gateway.toml", self.house.folder / "rules" / "counting.py"]
        kept += [path for path in (self.house.state / "applied").rglob("*") if path.is_file() and path.name != "lock"]
        return {str(path): path.read_bytes() for path in kept}


@pytest.fixture
def rig(tmp_path: Path, mosquitto: Callable[..., Broker], capsys: pytest.CaptureFixture[str]) -> Iterator[Rig]:
    """Have a house and a real broker as its cloud."""
    made = Rig(tmp_path, mosquitto(), capsys)
    yield made
    made.house.end()


def counted(cloud: Cloud) -> list[dict[str, Any]]:
    """Return what the rule put out."""
    return [event["data"] for event in cloud.arrived if event["type"] == "counted"]


def ids(cloud: Cloud) -> set[str]:
    """Return the ids of what arrived."""
    return {event["id"] for event in cloud.arrived}


def cursors(house: House) -> list[str]:
    """Return what events are kept for."""
    return [str(row["cursor"]) for row in house.json("journal", "stat")["cursors"]]


def steps(cloud: Cloud) -> list[tuple[str, str]]:
    """Return the audit records of applied configs, as (step, fault code)."""
    found = [event for event in cloud.arrived if event["type"] == "change_recorded"]
    said = [event["data"] for event in found if "bundle" in event["data"]]
    return list(dict.fromkeys((data["what"], data.get("code", "")) for data in said))


def test_it_counts_when_the_cloud_has_taken_an_event(rig: Rig) -> None:
    """The process stays, rules go on with their state, the cloud hears of it; a person can go back all the same."""
    with running(rig.house) as house, watching(rig.cloud.port, "gw/#") as cloud:
        rig.read(1)
        until(lambda: counted(cloud))
        pid = house.status()["pid"]
        said = rig.apply(rig.bundle("good", rig.cloud.port), "--confirm", "10m", "--json")
        assert (said.code, json.loads(said.out)["outcome"]) == (0, "confirmed"), said
        assert house.status()["pid"] == pid
        rig.read(2)
        until(lambda: {"seen": 2, "new": True} in counted(cloud), lambda: cloud.arrived)
        until(lambda: ("config_confirmed", "") in steps(cloud), lambda: cloud.arrived)
        assert steps(cloud)[0] == ("config_tried", "")
        assert house.status()["applied"]["bundle"] == rig.ledger.current.bundle  # type: ignore[union-attr]
        house.ask("apply_revert")
        until(lambda: rig.applied() == "")
        rig.read(3)
        until(lambda: {"seen": 3} in counted(cloud), lambda: cloud.arrived)


def test_it_goes_back_when_the_cloud_is_not_reached(rig: Rig) -> None:
    """A wrong port costs the site its time to confirm and no event; the cloud is told, with the fault's code."""
    with running(rig.house) as house, watching(rig.cloud.port, "gw/#") as cloud:
        before = rig.trees()
        said = rig.apply(rig.bundle("bad", free_port()), "--confirm", "5s")
        assert said.code == 1, said
        assert "EG-722" in said.err
        assert "target cloud has acknowledged nothing yet" in said.err
        until(lambda: rig.applied() == "")
        until(lambda: ("config_reverted", "EG-722") in steps(cloud), lambda: cloud.arrived)
        rig.read(1)
        until(lambda: counted(cloud) == [{"seen": 1}], lambda: cloud.arrived)
        assert house.status()["applied"]["code"] == "EG-722"
        assert rig.ledger.current is None
        assert before.items() <= rig.trees().items()


def test_what_another_cloud_got_in_a_try_is_sent_to_the_one_before(rig: Rig, mosquitto: Callable[..., Broker]) -> None:
    """A route that led elsewhere for a try sends again from where it was before, each event under its id."""
    other = mosquitto()
    more = f'[targets.never]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1:{free_port()}"\n'
    more += '[routes.cloud]\nto = "cloud"\n[routes.never]\nto = "never"\n'
    elsewhere = rig.bundle("elsewhere", other.port, more=more)
    with running(rig.house) as house, watching(rig.cloud.port, "gw/#") as cloud, watching(other.port, "gw/#") as there:
        rig.read(1)
        until(lambda: counted(cloud))
        delivered(house)
        assert rig.apply(elsewhere, "--confirm", "10m", "--no-wait").code == 0
        until(lambda: rig.ledger.current is not None and rig.applied() == rig.ledger.current.bundle)
        rig.read(2)
        until(lambda: counted(there), lambda: there.arrived)
        until(lambda: not sum(route["backlog"] for route in house.status()["routes"] if route["name"] == "cloud"))
        house.ask("apply_revert")
        until(lambda: rig.applied() == "")
        until(lambda: ids(there) <= ids(cloud), lambda: (there.arrived, cloud.arrived))
        assert len(counted(cloud)) == 2, "and nothing of before the try twice"
        until(lambda: not [key for key in cursors(house) if "@" in key])


def test_a_config_that_cannot_start_goes_back_at_once(rig: Rig) -> None:
    """What was good when it was placed and is damaged at the start is never tried for its whole time."""
    rig.house.state.mkdir()
    assert rig.apply(rig.bundle("good", rig.cloud.port)).code == 0
    folder = rig.house.state / "applied" / "00000001"
    (folder / "gateway.toml").write_text("not toml at all [")
    house = rig.house.begin()
    assert house.status()["applied"]["code"] == "EG-723"
    assert rig.ledger.current is None
    assert "gateway.toml" in rig.ledger.outcome.why  # type: ignore[union-attr]


def test_a_broken_bundle_touches_nothing(rig: Rig) -> None:
    """Faults in config, rules and places are told with the bundle's file and line, and nothing is left behind."""
    rig.house.state.mkdir()
    moved = rig.bundle("moved", rig.cloud.port, more='\n[api]\nsocket = "/run/elsewhere.sock"\n')
    broken = {
        rig.bundle("config", rig.cloud.port, more='\n[routes.all]\nto = "clud"\n'): ("gateway.toml:", "clud"),
        rig.bundle("rule", rig.cloud.port, rule=", oops"): ("rules/counting.py:10: ", "not Python"),
        moved: ("gateway.toml:", "a bundle does not move it"),
    }
    before = rig.trees()
    for folder, (where, what) in broken.items():
        said = rig.apply(folder)
        assert (said.code, "Traceback" in said.err, "EG-721" in said.err) == (78, False, True), said
        assert f"{folder}/{where}" in said.err, said
        assert what in said.err
    assert rig.trees() == before


def test_killed_at_any_step_old_or_new(rig: Rig, tmp_path: Path) -> None:
    """Killed before any step of an apply, what counts is whole: the old config or the new one, and a start works."""
    from gateway.bundles.bundle import opened
    from gateway.bundles.placing import Placing
    from gateway.config.load import load
    from gateway.config.places import places

    rig.house.state.mkdir()
    base, where = rig.house.file, places(rig.house.file)
    bundle = rig.bundle("good", rig.cloud.port)

    def applied(die_at: int) -> int:
        """Apply in a process that dies before its n-th step; return its exit status."""
        child = os.fork()
        if child:
            return os.waitpid(child, 0)[1]
        left = die_at

        def step(_name: str) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        with opened(bundle) as found:
            ledgers.folder_of(where.state).mkdir(exist_ok=True)
            ledger = ledgers.read(where.state)
            folder = Placing(found, found.site(""), base, where, step).place(ledger.count + 1)
            step("ledger")
            version = ledgers.Version(name=folder.name, bundle=found.manifest.hash)
            ledgers.change(where.state, lambda now: ledgers.based(ledgers.begun(now, version, 60), base))
        os._exit(0)

    outcomes = []
    for die_at in range(100):
        status = applied(die_at)
        counts = ledgers.config_of(base)
        config = load(counts)
        rules = (config.rules.folder / "counting.py").read_text()
        assert (counts == base) == (rules == COUNTING % "") == (status != 0)
        outcomes.append(counts == base)
        if status == 0:
            break
    assert outcomes[-1] is False
    assert len(outcomes) > 6
    assert not list((where.state / "applied").glob(".*.partial"))
