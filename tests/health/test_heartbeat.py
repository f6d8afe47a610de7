"""The heartbeat: what `status` says, in one small event; and the facts that both are made of."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from gateway.api.status import AlertStatus, DiskStatus, LaneStatus, Quarantined, RouteStatus, RuleStatus, Status
from gateway.api.vitals import CertificateDays, Vitals
from gateway.clock import ClockState, SystemClock
from gateway.config.load import load
from gateway.daemon import Daemon
from gateway.event import Event
from gateway.health import heartbeat
from gateway.health.heartbeat import Heartbeat, heartbeat_of
from tests.mqtt.authority import Authority

BYTES_MAX = 4096  # of a heartbeat


def a_status() -> Status:
    """Return a status with something to say."""
    clock = ClockState(
        state="behind", synced=False, since="", boot_id="b", boot_s=12.3, not_before="2026-11-23T00:00:00Z"
    )
    days = [
        CertificateDays(of="cloud", file="a.pem", name="us", days_left=80.0),
        CertificateDays(of="cloud", file="ca.pem", name="ca", days_left=12.5),
    ]
    return Status(
        gateway="gw", version="1.2.3", pid=1, started="", uptime_s=90.4, clock_synced=False, dead_letters=2,
        lanes=[LaneStatus(name="alarm", queued=1), LaneStatus(name="telemetry", queued=7, hours_left=41.26, dropped=3)],
        routes=[RouteStatus(name="cloud", target="cloud", kind="mqtt", state="down", backlog=8)],
        rules=RuleStatus(state="running", quarantined=[Quarantined(name="greedy", reason="too slow")]),
        alerts=AlertStatus(2, 1), disk=DiskStatus(folder="/j", used_bytes=10, budget_bytes=100, free_bytes=1000),
        vitals=Vitals(clock=clock, identity="abc", hashes={"config": "c0ffee"}, memory_bytes=5, certificates=days),
    )  # fmt: skip


def test_it_says_in_short_what_status_says() -> None:
    """States, counts, hours, days, hashes and fault codes are those of the status; what is unknown is left out."""
    said = heartbeat_of(a_status(), "regular")
    assert (said["version"], said["level"], said["clock"], said["identity"]) == ("1.2.3", "bad", "behind", "abc")
    assert said["queued"] == {"alarm": 1, "telemetry": 7}
    assert (said["dropped"], said["hours_left"], said["dead_letters"]) == ({"telemetry": 3}, 41.3, 2)
    assert (said["routes"], said["quarantined"], said["alerts"]) == ({"cloud": "down"}, ["greedy"], 2)
    assert (said["certificate_days"], said["config"]) == ({"cloud": 12.5}, "c0ffee")
    assert {"EG-201", "EG-602"} <= set(said["codes"])
    assert "card_life_used_percent" not in said
    assert len(msgspec.json.encode(said)) < BYTES_MAX


def test_one_at_start_then_regularly_and_none_when_switched_off() -> None:
    """The first says that it is the start; with a pause of 0 there is none."""
    taken: list[Event] = []

    async def status() -> Status:
        return a_status()

    async def run(every_s: float) -> None:
        beating = Heartbeat(status, taken.append, SystemClock(), gateway="gw", every_s=lambda: every_s)
        task = asyncio.create_task(beating.run())
        if every_s:
            async with asyncio.timeout(60):
                while len(taken) < 3:
                    await asyncio.sleep(0.01)
        else:
            await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    first_s, heartbeat.FIRST_S = heartbeat.FIRST_S, 0.0  # type: ignore[misc]
    try:
        asyncio.run(run(0.01))
        assert [event.data["reason"] for event in taken[:3]] == ["start", "regular", "regular"]
        assert {(event.type, event.lane, event.actor) for event in taken} == {
            ("gateway_heartbeat", "telemetry", "gateway")
        }
        taken.clear()
        asyncio.run(run(0.0))
        assert taken == []
    finally:
        heartbeat.FIRST_S = first_s  # type: ignore[misc]


def test_one_that_cannot_be_made_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A status that cannot be had costs its heartbeat, not the gateway; the next one that can is the first."""
    taken: list[Event] = []
    asked = 0

    async def status() -> Status:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise OSError("the disk is gone")
        return a_status()

    async def run() -> None:
        beating = asyncio.create_task(
            Heartbeat(status, taken.append, SystemClock(), gateway="gw", every_s=lambda: 0.01).run()
        )
        async with asyncio.timeout(60):
            while not taken and not beating.done():
                await asyncio.sleep(0.01)
        assert not beating.done()
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)

    monkeypatch.setattr(heartbeat, "FIRST_S", 0.0)
    asyncio.run(run())
    assert taken[0].data["reason"] == "start"


def test_the_facts_of_a_gateway(tmp_path: Path) -> None:
    """Hashes change with what runs and are the same at every site; certificates, memory and identity are there."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("us")

    def vitals(name: str, more: str = "") -> Vitals:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "gateway.toml").write_text(
            f'[gateway]\nname = "gw"\nstate = "state"\n[sources.house]\nlisten = "127.0.0.1:0"\n{more}[targets.cloud]\n'
            f'type = "http"\nurl = "https://127.0.0.1:1/"\ntls.certificate = "{certificate}"\ntls.key = "{key}"\n'
        )
        daemon = Daemon(load(folder / "gateway.toml"))
        found = daemon.vitals.now()()
        daemon.journal.close()
        return found

    one, other, changed = vitals("one"), vitals("other"), vitals("changed", "[history]\nbytes_max = 1048576\n")
    assert one.hashes == other.hashes
    assert set(one.hashes) >= {"config", "rules", "profiles"}
    assert one.hashes["config"] != changed.hashes["config"]
    assert one.hashes["profiles"] == changed.hashes["profiles"]
    assert one.identity != other.identity
    assert one.memory_bytes > 1_000_000
    (days,) = one.certificates
    assert (days.of, days.name) == ("cloud", "us")
    assert 1 < days.days_left <= 2
