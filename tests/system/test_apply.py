"""A bundle applied to a gateway that runs: it counts when the cloud has taken an event by it, else it goes back."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.bundles import ledger as ledgers
from simulators.processes import free_port
from simulators.subject import PROFILES
from tests.cli.site import Result
from tests.mqtt.broker import Broker
from tests.system.rig import Cloud, House, broker_target, device, own_listener, running, until, watching

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

    def __init__(self, folder: Path, cloud: Broker) -> None:
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
        """Type `apply`."""
        return self.house("apply", *map(str, words))

    @property
    def ledger(self) -> ledgers.Ledger:
        """What counts."""
        return ledgers.read(self.house.state)

    def read(self, number: int) -> None:
        """Let a device say something."""
        with device(self.port, f"meter-{number}") as meter:
            meter.tell("load/meter/attic", {"temperature": number})

    def trees(self) -> dict[str, bytes]:
        """Return every file of the config's folder and of what was applied."""
        kept = [self.house.folder / "gateway.toml", self.house.folder / "rules" / "counting.py"]
        kept += [path for path in (self.house.state / "applied").rglob("*") if path.is_file() and path.name != "lock"]
        return {str(path): path.read_bytes() for path in kept}


@pytest.fixture
def rig(tmp_path: Path, mosquitto: Callable[..., Broker]) -> Iterator[Rig]:
    """Have a house and a real broker as its cloud."""
    made = Rig(tmp_path, mosquitto())
    yield made
    made.house.end()


def counted(cloud: Cloud) -> list[dict[str, Any]]:
    """Return what the rule put out."""
    return [event["data"] for event in cloud.arrived if event["type"] == "counted"]


def steps(cloud: Cloud) -> list[tuple[str, str]]:
    """Return the audit records of applied configs, as (step, fault code)."""
    found = [event for event in cloud.arrived if event["type"] == "change_recorded"]
    said = [event["data"] for event in found if "bundle" in event["data"]]
    return list(dict.fromkeys((data["what"], data.get("code", "")) for data in said))


def test_it_counts_when_the_cloud_has_taken_an_event(rig: Rig) -> None:
    """The process stays, rules go on with their state, the cloud hears of it, and the next start is with it, too."""
    with running(rig.house) as house, watching(rig.cloud.port, "gw/#") as cloud:
        rig.read(1)
        until(lambda: counted(cloud))
        pid = house.status()["pid"]
        said = rig.apply(rig.bundle("good", rig.cloud.port), "--confirm", "60s", "--json")
        assert (said.code, json.loads(said.out)["outcome"]) == (0, "confirmed"), said
        assert house.status()["pid"] == pid
        rig.read(2)
        until(lambda: {"seen": 2, "new": True} in counted(cloud), lambda: cloud.arrived)
        until(lambda: ("config_confirmed", "") in steps(cloud), lambda: cloud.arrived)
        assert steps(cloud)[0] == ("config_tried", "")
        house.end()
        house.begin()
        assert house.status()["applied"]["bundle"] == rig.ledger.current.bundle  # type: ignore[union-attr]
        rig.read(3)
        until(lambda: {"seen": 3, "new": True} in counted(cloud), lambda: cloud.arrived)
        assert "went back" not in house("status").out
        assert rig.apply("--revert").code == 0
        until(lambda: house._answers() and not house.status()["applied"]["bundle"])
        rig.read(4)
        until(lambda: {"seen": 4} in counted(cloud), lambda: cloud.arrived)


def test_it_goes_back_when_the_cloud_is_not_reached(rig: Rig) -> None:
    """A wrong port costs the site its time to confirm and no event; the cloud is told, with the fault's code."""
    with running(rig.house) as house, watching(rig.cloud.port, "gw/#") as cloud:
        before = rig.trees()
        said = rig.apply(rig.bundle("bad", free_port()), "--confirm", "5s")
        assert said.code == 1, said
        assert "EG-722" in said.err
        assert "target cloud has acknowledged nothing yet" in said.err
        until(house._answers)
        until(lambda: ("config_reverted", "EG-722") in steps(cloud), lambda: cloud.arrived)
        rig.read(1)
        until(lambda: counted(cloud) == [{"seen": 1}], lambda: cloud.arrived)
        assert "went back" in house("status").out
        assert rig.ledger.current is None
        assert before.items() <= rig.trees().items()


def test_starts_that_come_to_nothing_are_counted(rig: Rig) -> None:
    """A gateway that is killed again and again while it tries a config is back with the old one after three starts."""
    house = rig.house.begin()
    assert rig.apply(rig.bundle("bad", free_port()), "--confirm", "1h", "--no-wait").code == 0
    for start in range(1, ledgers.STARTS_MAX + 1):
        until(lambda start=start: (rig.ledger.trial or ledgers.Trial(confirm_s=0, left_s=0)).starts == start)
        until(house._answers)
        house.kill()
        house.end()
        house.start()
    until(lambda: rig.ledger.current is None)
    until(house._answers)
    assert rig.ledger.outcome is not None
    assert rig.ledger.outcome.code == "EG-723"


def test_a_config_that_cannot_start_goes_back_at_once(rig: Rig) -> None:
    """What was good when it was placed and is damaged at the start is never tried for its whole time."""
    rig.house.begin()
    rig.house.stop()
    assert rig.apply(rig.bundle("good", rig.cloud.port)).code == 0
    folder = rig.house.state / "applied" / "00000001"
    (folder / "gateway.toml").write_text("not toml at all [")
    house = rig.house.begin()
    assert house.status()["applied"]["code"] == "EG-723"
    assert rig.ledger.current is None
    assert "gateway.toml" in rig.ledger.outcome.why  # type: ignore[union-attr]


def test_a_broken_bundle_touches_nothing(rig: Rig) -> None:
    """Faults in config, rules and places are told with the bundle's file and line, and nothing is left behind."""
    with running(rig.house) as house:
        pid, before = house.status()["pid"], rig.trees()
        moved = rig.bundle("moved", rig.cloud.port, more='\n[api]\nsocket = "/run/elsewhere.sock"\n')
        broken = {
            rig.bundle("config", rig.cloud.port, more='\n[routes.all]\nto = "clud"\n'): ("gateway.toml:", "clud"),
            rig.bundle("rule", rig.cloud.port, rule=", oops"): ("rules/counting.py:10: ", "not Python"),
            moved: ("gateway.toml:", "a bundle does not move it"),
        }
        for folder, (where, what) in broken.items():
            said = rig.apply(folder)
            assert (said.code, "Traceback" in said.err) == (78, False), said
            assert f"{folder}/{where}" in said.err, said
            assert what in said.err
        assert rig.trees() == before
        assert house.status()["pid"] == pid


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
