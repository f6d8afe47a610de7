"""Buses as sources, on pseudo terminals with simulated units: asking, writing, refusing, and cables that are pulled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.polling.plan import Poll, Step, Unit, Write, encoded
from gateway.polling.request import Request
from gateway.polling.rtu import Rtu
from gateway.sources import bus as bus_source
from gateway.sources.bus import BusOptions, BusSource, UnitOptions
from gateway.sources.source import Refusal
from simulators.modbus import PtyBus, SimulatedBus, SimulatedUnit
from tests.sources.plugs import Inbox, until

LATER = [b"offline", b"online", b"offline", b"online"]


def plugged(path: Path, *units: SimulatedUnit) -> PtyBus:
    """Plug a bus in under a name."""
    bus = PtyBus(SimulatedBus(list(units)))
    path.unlink(missing_ok=True)
    path.symlink_to(bus.path)
    return bus


def unplug(path: Path, bus: PtyBus) -> None:
    """Pull it out."""
    path.unlink()
    bus.close()


def source(path: Path, *addresses: int, period_s: float = 0.2, patient: bool = True) -> BusSource:
    """Return a source that polls registers 2 to 4 of each address; patient: no unit is taken for dead soon."""
    times = {"after_failures": 100, "timeout_s": 30.0} if patient else {"after_failures": 2, "timeout_s": 0.3}
    polls = {n: (Poll("state", period_s, Request(n, 3, 2, 3)),) for n in addresses}
    units = [Unit(n, polls[n], retries=0, **times) for n in addresses]  # type: ignore[arg-type]
    said = [UnitOptions(address=n, profile="any") for n in addresses]
    return BusSource("bus", BusOptions(serial=str(path), baud=115_200, unit=said), Rtu(), units, SystemClock())


def unit(address: int, **more: Any) -> SimulatedUnit:
    """Return a unit with registers 0 to 9."""
    return SimulatedUnit(address, {n: address * 10 + n for n in range(10)}, **more)


@contextlib.asynccontextmanager
async def running(one: BusSource, inbox: Inbox) -> AsyncIterator[None]:
    """Run a source for the length of a block."""
    task = asyncio.create_task(one.run(inbox))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def topics(inbox: Inbox, topic: str) -> list[bytes]:
    """Return what came on a topic."""
    return [delivery.payload for delivery in inbox.deliveries if delivery.topic == topic]


def write(value: int, **more: Any) -> bytes:
    """Return a write of register 4 for unit 3's device."""
    step = Step(6, 4, 1, value.to_bytes(2, "big"))
    return encoded(Write((step,), ("state",), device="bus/modbus:3", command="set", value=value, **more))


def test_what_units_say_is_delivered(tmp_path: Path) -> None:
    """Each answer is a delivery named by what was asked; presence is one, too, and a first one is marked as such."""

    async def run() -> None:
        inbox, bus = Inbox(), plugged(tmp_path / "tty", unit(3), unit(4, fault="dead"))
        async with running(source(tmp_path / "tty", 3, 4, patient=False), inbox):
            await until(lambda: topics(inbox, "bus/4/presence") and len(topics(inbox, "bus/3/state")) >= 3)
        bus.close()
        assert set(topics(inbox, "bus/3/state")) == {bytes.fromhex("0020 0021 0022")}
        said = [(d.topic, d.payload, d.retained) for d in inbox.deliveries if d.topic.endswith("presence")]
        assert ("bus/3/presence", b"online", True) in said or said[0][1] == b"offline"
        assert ("bus/4/presence", b"offline", False) in said

    asyncio.run(run())


def test_commands_reach_units_that_were_heard(tmp_path: Path) -> None:
    """A write is taken once its unit was heard, done and read back; not without a port, and not for strangers."""

    async def run() -> None:
        inbox, one, path = Inbox(), source(tmp_path / "tty", 3), tmp_path / "tty"
        refused: list[Refusal] = []
        one.refuse = refused.append
        async with running(one, inbox):
            assert not one.send("bus/3/write", write(7))  # no port
            device = unit(3, allowed={4: range(100)})
            bus = plugged(path, device)
            with bus.lock:  # it cannot answer
                await until(lambda: one.status()["connected"])
                assert not one.send("bus/3/write", write(7))  # not heard yet
            await until(lambda: topics(inbox, "bus/3/state"))
            assert not one.send("bus/9/write", write(7))
            assert not one.send("bus/x/write", write(7))
            assert not one.send("bus/3/write", b"no write")
            assert one.send("bus/3/write", write(7))
            assert one.send("bus/3/write", write(500))
            await until(lambda: refused)
            assert device.written == [(4, 7)]
            assert topics(inbox, "bus/3/state")[-1] == bytes.fromhex("0020 0021 0007")
            assert refused == [Refusal("bus/modbus:3", "set", 500, "write: exception 3 (illegal data value)", True)]
            assert one.status()["refused_commands"] == 2
            unplug(path, bus)

    asyncio.run(run())


def test_what_a_profile_asks_in_vain_is_in_the_status(tmp_path: Path) -> None:
    """A unit that refuses a poll is online, and the status says which poll, and why."""

    async def run() -> None:
        inbox, one = Inbox(), source(tmp_path / "tty", 3, 4)
        small = SimulatedUnit(3, {0: 1, 1: 1})
        bus = plugged(tmp_path / "tty", small, unit(4))
        async with running(one, inbox):
            await until(lambda: one.status().get("last_error"))
            assert one.status()["last_error"] == "unit 3, state: exception 2 (illegal data address)"
            with bus.lock:
                small.holding.update(dict.fromkeys(range(10), 5))
            await until(lambda: topics(inbox, "bus/3/state"))
            assert "last_error" not in one.status()
        bus.close()

    asyncio.run(run())


def test_a_command_to_all_units(tmp_path: Path) -> None:
    """A write to address 0 is sent at once and reaches every unit; nobody is waited for."""

    async def run() -> None:
        inbox, one = Inbox(), source(tmp_path / "tty", 0, 3, 4)
        devices = [unit(3), unit(4)]
        bus = plugged(tmp_path / "tty", *devices)
        async with running(one, inbox):
            await until(lambda: one.status()["connected"])
            assert one.send("bus/0/write", write(7))
            await until(lambda: all(device.written == [(4, 7)] for device in devices))
        bus.close()

    asyncio.run(run())


def test_pulled_out_and_plugged_in_again(tmp_path: Path) -> None:
    """A cable pulled in the middle of a write refuses it; plugged in again units are polled, and none was blamed."""

    async def run() -> None:
        inbox, one, path = Inbox(), source(tmp_path / "tty", 3), tmp_path / "tty"
        refused: list[str] = []
        one.refuse = lambda refusal: refused.append(refusal.why)
        bus = plugged(path, unit(3))
        async with running(one, inbox):
            await until(lambda: topics(inbox, "bus/3/state"))
            with bus.lock:
                bus.bus.units[3].fault = "dead"
            assert one.send("bus/3/write", write(7))
            await until(lambda: bus.bus.units[3].asked[6])
            unplug(path, bus)
            await until(lambda: refused)
            assert refused == ["the line was lost"]
            count = len(topics(inbox, "bus/3/state"))
            bus = plugged(path, unit(3))
            await until(lambda: len(topics(inbox, "bus/3/state")) > count + 2)
            unplug(path, bus)
        assert b"offline" not in topics(inbox, "bus/3/presence")

    asyncio.run(run())


def test_units_of_a_port_that_stays_away_are_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pulled for longer than a moment, or not there at the start: each unit says so once, and comes back by itself."""
    monkeypatch.setattr(bus_source, "AWAY_S", 0.3)

    async def run() -> None:
        inbox, one, path = Inbox(), source(tmp_path / "tty", 0, 3, 4), tmp_path / "tty"
        async with running(one, inbox):
            await until(lambda: topics(inbox, "bus/4/presence") == [b"offline"])
            bus = plugged(path, unit(3), unit(4))
            await until(lambda: topics(inbox, "bus/4/presence") == topics(inbox, "bus/3/presence") == LATER[:2])
            unplug(path, bus)
            await until(lambda: topics(inbox, "bus/4/presence") == topics(inbox, "bus/3/presence") == LATER[:3])
            said = one.status()["units"]
            assert [said[n]["online"] for n in ("3", "4")] == [False, False]  # type: ignore[index]
            bus = plugged(path, unit(3), unit(4))
            await until(lambda: topics(inbox, "bus/4/presence") == topics(inbox, "bus/3/presence") == LATER)
            assert topics(inbox, "bus/0/presence") == [], "all at once is nobody"
            unplug(path, bus)

    asyncio.run(run())


def test_nothing_is_asked_while_the_disk_is_behind(tmp_path: Path) -> None:
    """Paused, the master asks nothing more; resumed, it goes on."""

    async def run() -> None:
        inbox, one, bus = Inbox(), source(tmp_path / "tty", 3, period_s=0.05), plugged(tmp_path / "tty", unit(3))
        async with running(one, inbox):
            await until(lambda: topics(inbox, "bus/3/state"))
            with bus.lock:
                one.pause()
                count = bus.bus.units[3].asked[3]
            await asyncio.sleep(0.5)
            assert bus.bus.units[3].asked[3] <= count + 1  # one may have been under way
            one.resume()
            await until(lambda: bus.bus.units[3].asked[3] > count + 2)
        bus.close()

    asyncio.run(run())


def test_an_inbox_that_raises_ends_the_source(tmp_path: Path) -> None:
    """What the pipeline raises is not lost in a timer: the source ends with it."""

    async def run() -> None:
        def broken(_deliveries: object) -> None:
            raise RuntimeError("full")

        bus = plugged(tmp_path / "tty", unit(3, fault="dead"))  # presence comes by a timer
        with pytest.raises(RuntimeError, match="full"):
            async with asyncio.timeout(60):
                await source(tmp_path / "tty", 3, patient=False).run(broken)
        bus.close()

    asyncio.run(run())


def test_options_name_each_address_once() -> None:
    """Two units with one address are a fault."""
    twice = [UnitOptions(address=3, profile="a"), UnitOptions(address=3, profile="b")]
    with pytest.raises(ValueError, match="two units have the address 3"):
        BusOptions(serial="usb:0403:6001", unit=twice)
