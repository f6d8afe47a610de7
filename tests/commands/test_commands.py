"""Commands on their way to devices: a real journal, and a house that is there or not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import NS_PER_S, SystemClock, rfc3339
from gateway.commands.commands import Commands
from gateway.commands.confirmations import Expected
from gateway.errors import DecodeError
from gateway.event import Event
from gateway.journal.committer import Committer
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions

SMALL = JournalOptions(bytes_max=1024 * 1024, segment_bytes=128 * 1024, preallocate=False, max_delay_ms=1)
WAIT_S = 60.0


class House:
    """Devices that can be away; notes what reached them."""

    def __init__(self) -> None:
        self.there = True
        self.away: set[str] = set()
        self.got: list[tuple[str, str, bytes]] = []
        self.values: dict[tuple[str, str], Any] = {}
        self.said: dict[str, tuple[float, float, bool]] = {}  # rate, expires, once of commands

    def encode(self, device: str, command: str, value: Any) -> tuple[str, bytes]:
        """Encode, but for a command nobody knows."""
        if command == "fly":
            raise DecodeError(f"{device} has no command 'fly'")
        if command == "bug":
            raise ZeroDivisionError("a profile's bug")
        return f"{device}/{command}", str(value).encode()

    def terms(self, device: str, command: str) -> tuple[float, float, bool]:
        """Say what a profile would."""
        return self.said.get(command, (0.0, 0.0, False))

    def send(self, device: str, topic: str, payload: bytes) -> bool:
        """Take it, when there."""
        there = self.there and device not in self.away
        if there:
            self.got.append((device, topic, payload))
        return there

    def expected(self, device: str, command: str, value: Any) -> Expected | None:
        """Expect the field that a command names; heating is set in steps of half a degree."""
        if not command.startswith("set_"):
            return None
        if command == "set_setpoint":
            return Expected("setpoint", round(value * 2) / 2, 0.25)
        return Expected(command.removeprefix("set_"), value)

    def reported(self, device: str, field: str) -> Any:
        """Return what a device says."""
        return self.values.get((device, field))


class Jumping(SystemClock):
    """The machine's clock, later, and with a wall that can be set."""

    ahead_ns = 0
    wall_ahead_ns = 0

    def wall_ns(self) -> int:
        """Return the wall's time."""
        return super().wall_ns() + self.ahead_ns + self.wall_ahead_ns

    def boot_ns(self) -> int:
        """Return the time since boot."""
        return super().boot_ns() + self.ahead_ns


class Scene:
    """A journal, its committer and the commands, running."""

    def __init__(self, folder: Path, house: House, **options: Any) -> None:
        self.journal = Journal.open(folder, SMALL, SystemClock())
        self.committer = Committer(self.journal, lambda batch: self.commands.wake())
        self.results: list[Event] = []
        self.house = house
        self.clock = Jumping()
        self.commands = Commands(
            self.journal, self.committer, house, self.results.append, self.clock, gateway="gw", **options
        )

    def want(self, device: str, command: str, value: Any = None, **data: Any) -> None:
        """Journal a command."""
        when = rfc3339(SystemClock().wall_ns() - int(data.pop("age_s", 0) * NS_PER_S))
        actor = data.pop("actor", "rule:test")
        data = {"command": command, "value": value, **data}
        about = {"source": "/gw/test", "type": "command_requested", "subject": device, "actor": actor}
        self.journal.append(Event(time=when, lane="command", data=data, **about))
        self.committer.wake(urgent=True)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(WAIT_S):
            while not holds():
                await asyncio.sleep(0.01)


def play(folder: Path, house: House, act: Callable[[Scene], Awaitable[None]], **options: Any) -> None:
    """Run a scene from opening the journal to closing it."""

    async def run() -> None:
        scene = Scene(folder, house, **options)
        tasks = [asyncio.create_task(scene.committer.run()), asyncio.create_task(scene.commands.run())]
        await act(scene)
        for task in reversed(tasks):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await scene.committer.close()

    asyncio.run(run())


def test_a_command_reaches_its_device_once_durable(tmp_path: Path) -> None:
    """What was wanted is on the disk when it is sent, and not sent again after a clean restart."""
    house = House()

    async def act(scene: Scene) -> None:
        scene.want("house/z2m:trv", "set_setpoint", 21)
        assert house.got == []
        await scene.until(lambda: bool(house.got))
        assert scene.journal.durable_sequence == 1

    play(tmp_path, house, act)
    assert house.got == [("house/z2m:trv", "house/z2m:trv/set_setpoint", b"21")]

    async def later(scene: Scene) -> None:
        scene.want("house/z2m:trv", "set_setpoint", 22)
        await scene.until(lambda: len(house.got) > 1)

    play(tmp_path, house, later)
    assert [payload for _, _, payload in house.got] == [b"21", b"22"]


def test_commands_wait_for_an_absent_source_in_order(tmp_path: Path) -> None:
    """While the source is away commands of a device wait in order; they survive a restart; others pass."""
    house = House()
    house.there = False

    async def act(scene: Scene) -> None:
        scene.want("house/z2m:trv", "set_setpoint", 1)
        scene.want("house/z2m:trv", "set_setpoint", 2)
        await scene.until(lambda: scene.journal.durable_sequence == 2)
        await asyncio.sleep(0.1)

    play(tmp_path, house, act)
    assert house.got == []
    house.there = True

    async def back(scene: Scene) -> None:
        await scene.until(lambda: len(house.got) == 2)

    play(tmp_path, house, back)
    assert [payload for _, _, payload in house.got] == [b"1", b"2"]


def test_a_late_command_is_not_sent(tmp_path: Path) -> None:
    """A command older than its time limit becomes `command_failed`, and nothing is switched."""
    house = House()

    async def act(scene: Scene) -> None:
        scene.want("house/z2m:trv", "set_setpoint", 1, age_s=61)
        scene.want("house/z2m:siren", "set_on", True, expires=rfc3339(SystemClock().wall_ns() - NS_PER_S))
        await scene.until(lambda: len(scene.results) == 2)
        assert [event.type for event in scene.results] == ["command_failed", "command_failed"]
        assert "expired" in scene.results[0].data["reason"]

    play(tmp_path, house, act)
    assert house.got == []


def test_a_command_nobody_knows_fails_with_the_reason(tmp_path: Path) -> None:
    """What the profile can't encode is reported with its cause, and the next one goes on."""
    house = House()

    async def act(scene: Scene) -> None:
        scene.want("house/z2m:trv", "fly")
        scene.want("house/z2m:trv", "set_mode", "off")
        await scene.until(lambda: bool(house.got and scene.results))
        [failed] = scene.results
        assert (failed.type, failed.subject) == ("command_failed", "house/z2m:trv")
        assert failed.data["reason"] == "house/z2m:trv has no command 'fly'"
        assert failed.cause

    play(tmp_path, house, act)


def test_observe_records_and_switches_nothing(tmp_path: Path) -> None:
    """With commands = "observe" a command is recorded as observed and never sent."""
    house = House()

    async def act(scene: Scene) -> None:
        scene.want("house/z2m:siren", "set_on", True)
        await scene.until(lambda: bool(scene.results))
        assert scene.results[0].type == "command_observed"

    play(tmp_path, house, act, observe=True)
    assert house.got == []


def test_what_cannot_be_repeated_is_uncertain_after_a_cut(tmp_path: Path) -> None:
    """A toggle that was cut off while it was sent is reported uncertain at the next start, and not sent again."""
    house = House()

    async def cut(scene: Scene) -> None:
        await scene.committer.flush()  # by now the start has looked for cut-off commands, and found none
        scene.journal.put("sending", "x-1-1", "house/z2m:bell")
        await scene.committer.flush()

    play(tmp_path, house, cut)

    async def after(scene: Scene) -> None:
        await scene.until(lambda: bool(scene.results))
        [event] = scene.results
        assert (event.type, event.subject, event.cause) == ("command_uncertain", "house/z2m:bell", "x-1-1")

    play(tmp_path, house, after)
    assert house.got == []


def test_what_was_cut_off_is_not_sent_although_it_is_read_again(tmp_path: Path) -> None:
    """A kill between the sending of a toggle and its cursor: uncertain, once, and the bell does not ring twice."""
    house = House()
    journal = Journal.open(tmp_path, SMALL, SystemClock())
    ring = Event(
        source="/gw/test",
        type="command_requested",
        subject="house/z2m:bell",
        time=rfc3339(SystemClock().wall_ns()),
        lane="command",
        data={"command": "ring", "value": True, "once": True},
    )
    journal.append(ring)
    journal.put("sending", ring.id, ring.subject)
    journal.commit()
    journal.close()

    async def after(scene: Scene) -> None:
        scene.want("house/z2m:bell", "set_volume", 3)
        await scene.until(lambda: bool(house.got))
        assert [(event.type, event.cause) for event in scene.results] == [("command_uncertain", ring.id)]

    play(tmp_path, house, after)
    assert house.got == [("house/z2m:bell", "house/z2m:bell/set_volume", b"3")]

    async def later(scene: Scene) -> None:
        scene.want("house/z2m:bell", "set_volume", 4)
        await scene.until(lambda: len(house.got) > 1)
        assert scene.results == []

    play(tmp_path, house, later)


def test_what_was_sent_behind_a_waiting_command_is_not_sent_again(tmp_path: Path) -> None:
    """While a command waits for its source the cursor stays; a ring sent behind it does not ring again at a restart."""
    house = House()
    house.away = {"attic/x:trv"}

    async def act(scene: Scene) -> None:
        scene.want("attic/x:trv", "set_setpoint", 1)
        scene.want("house/z2m:bell", "ring", True, once=True)
        await scene.until(lambda: len(house.got) == 1)
        await scene.committer.flush()

    play(tmp_path, house, act)
    assert house.got == [("house/z2m:bell", "house/z2m:bell/ring", b"True")]
    house.away = set()

    async def back(scene: Scene) -> None:
        await scene.until(lambda: len(house.got) == 2)
        await scene.committer.flush()
        assert dict(scene.journal.table("sending")) == {}
        assert scene.results == []

    play(tmp_path, house, back)
    assert house.got[1:] == [("attic/x:trv", "attic/x:trv/set_setpoint", b"1")]


def test_a_bug_costs_one_command(tmp_path: Path) -> None:
    """A command that makes encoding raise what nobody expects has failed, with the reason; the next one goes on."""
    house = House()

    async def act(scene: Scene) -> None:
        scene.want("house/z2m:trv", "bug")
        scene.want("house/z2m:trv", "set_mode", "off")
        await scene.until(lambda: bool(house.got and scene.results))
        [failed] = scene.results
        assert failed.type == "command_failed"
        assert failed.data["reason"] == "a fault of the gateway: ZeroDivisionError: a profile's bug"

    play(tmp_path, house, act)


def test_a_device_is_told_no_more_often_than_its_profile_says(tmp_path: Path) -> None:
    """The first goes at once, the newest when the time is over; what lies between is superseded, and that is said."""
    house = House()
    house.said["turn"] = (30.0, 0.0, False)

    async def act(scene: Scene) -> None:
        for value in (1, 2, 3):
            scene.want("house/z2m:cover", "turn", value)
        scene.want("house/z2m:lamp", "turn", 4)
        await scene.until(lambda: len(house.got) == 2)
        scene.clock.ahead_ns = 30 * NS_PER_S
        await scene.until(lambda: len(house.got) == 3)
        assert [(event.type, event.data["value"]) for event in scene.results] == [("command_superseded", 2)]

    play(tmp_path, house, act)
    assert [payload for _, _, payload in house.got] == [b"1", b"4", b"3"]


def test_a_device_that_sleeps_may_be_waited_for(tmp_path: Path) -> None:
    """A profile's `expires` counts where the command says nothing: longer than usual, or shorter."""
    house = House()
    house.said |= {"wake": (0.0, 3600.0, False), "now": (0.0, 10.0, False)}

    async def act(scene: Scene) -> None:
        scene.want("house/z2m:trv", "wake", 1, age_s=300)
        scene.want("house/z2m:trv", "now", 2, age_s=20)
        await scene.until(lambda: bool(scene.results))
        assert [(event.type, event.data["command"]) for event in scene.results] == [("command_failed", "now")]

    play(tmp_path, house, act)
    assert [payload for _, _, payload in house.got] == [b"1"]


def test_what_a_profile_says_is_never_repeated(tmp_path: Path) -> None:
    """`once` of a profile is as good as one of the rule: it is marked before it leaves."""
    house = House()
    house.said["ring"] = (0.0, 0.0, True)

    async def act(scene: Scene) -> None:
        scene.want("house/z2m:bell", "ring", 1)
        await scene.until(lambda: bool(house.got))
        assert list(scene.journal.table("sending").values()) == [""]

    play(tmp_path, house, act)


@pytest.mark.parametrize("wall_ahead_s", [56 * 365 * 86_400, -600])
def test_setting_the_clock_makes_no_command_late(tmp_path: Path, wall_ahead_s: int) -> None:
    """A command that waits for its device is as old as it is by the boot clock, whatever the wall clock says now."""
    house = House()
    house.there = False

    async def act(scene: Scene) -> None:
        scene.want("house/z2m:trv", "set_setpoint", 1)
        await scene.until(lambda: scene.commands.waiting == 1)
        scene.clock.wall_ahead_ns = wall_ahead_s * NS_PER_S
        house.there = True
        await scene.until(lambda: bool(house.got) or bool(scene.results))
        assert [payload for _, _, payload in house.got] == [b"1"]
        house.there = False
        scene.want("house/z2m:trv", "set_setpoint", 2)
        await scene.until(lambda: scene.commands.waiting == 1)
        scene.clock.ahead_ns = 61 * NS_PER_S
        await scene.until(lambda: bool(scene.results))
        assert scene.results[0].data["reason"] == "expired before it could be sent"

    play(tmp_path, house, act)
