"""Commands that are awaited: a real journal, and a house that does what it is told, or not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from gateway.clock import NS_PER_S, SystemClock, rfc3339
from gateway.commands.confirmations import Awaiting, Confirmations, Step
from gateway.event import Event
from gateway.sources.source import Refusal
from tests.commands.test_commands import House, Scene, play

TRV = "house/z2m:trv"


def named(scene: Scene, outcome: str) -> list[Event]:
    """Return the results of one type."""
    return [event for event in scene.results if event.type == outcome]


def test_a_command_is_confirmed_when_the_device_says_so(tmp_path: Path) -> None:
    """command_confirmed carries the command, its field, what the device says (rounded) and who wanted it."""
    house = House()

    async def act(scene: Scene) -> None:
        scene.want(TRV, "set_setpoint", 21.3, confirm_s=30, actor="rule:warm@1")
        await scene.until(lambda: bool(house.got))
        assert scene.results == []
        house.values[TRV, "setpoint"] = 21.5
        await scene.until(lambda: bool(scene.results))
        [event] = scene.results
        assert (event.type, event.subject, event.actor) == ("command_confirmed", TRV, "gateway")
        assert event.cause
        assert event.data == {
            "command": "set_setpoint", "value": 21.3, "field": "setpoint", "by": "rule:warm@1", "sent": 1,
            "reported": 21.5,
        }  # fmt: skip

    play(tmp_path, house, act)
    assert len(house.got) == 1


def test_what_is_not_confirmed_is_told_again_and_then_has_failed(tmp_path: Path) -> None:
    """A device that does not do it is told as often as was wanted, then command_failed says so, once."""
    house = House()
    house.values[TRV, "mode"] = "off"

    async def act(scene: Scene) -> None:
        scene.want(TRV, "set_mode", "heat", confirm_s=0.05, retries=2)
        await scene.until(lambda: bool(scene.results))
        [event] = scene.results
        assert event.type == "command_failed"
        assert event.data["reason"] == "not confirmed within 0.05 s, sent 3 times"
        assert (event.data["sent"], event.data["reported"]) == (3, "off")
        await scene.committer.flush()
        assert dict(scene.journal.table("confirming")) == {}

    play(tmp_path, house, act)
    assert [payload for _, _, payload in house.got] == [b"heat"] * 3


def test_what_cannot_be_repeated_is_not(tmp_path: Path) -> None:
    """A command that is sent once is awaited and fails without having been sent again."""
    house = House()

    async def act(scene: Scene) -> None:
        scene.want(TRV, "set_mode", "heat", confirm_s=0.05, retries=5, once=True)
        await scene.until(lambda: bool(scene.results))
        assert scene.results[0].data["reason"] == "not confirmed within 0.05 s"

    play(tmp_path, house, act)
    assert len(house.got) == 1


def test_what_a_claim_wants_is_awaited_by_itself(tmp_path: Path) -> None:
    """A command of a claim is awaited where the device ever said how it is; a silent siren's is not."""
    house = House()
    house.values[TRV, "mode"] = "off"

    async def act(scene: Scene) -> None:
        scene.want("house/z2m:siren", "set_on", True, field="on")
        scene.want(TRV, "set_mode", "heat", field="mode")
        await scene.until(lambda: len(house.got) == 2)
        assert [each.device for each in scene.commands.awaited] == [TRV]
        house.values[TRV, "mode"] = "heat"
        await scene.until(lambda: bool(scene.results))
        assert scene.results[0].type == "command_confirmed"

    play(tmp_path, house, act)


def test_a_newer_command_takes_over(tmp_path: Path) -> None:
    """What is awaited for a field ends with the next command for it; the old value is never sent again."""
    house = House()
    house.values[TRV, "mode"] = "auto"

    async def act(scene: Scene) -> None:
        scene.want(TRV, "set_mode", "off", confirm_s=30, retries=5)
        await scene.until(lambda: len(house.got) == 1)
        scene.want(TRV, "set_mode", "heat", confirm_s=0.05, retries=5)
        await scene.until(lambda: bool(named(scene, "command_failed")))
        [superseded] = named(scene, "command_superseded")
        assert superseded.data["value"] == "off"

    play(tmp_path, house, act)
    sent = [payload for _, _, payload in house.got]
    assert sent[sent.index(b"heat") :] == [b"heat"] * 6


def test_what_nobody_wants_any_more_is_not_told_again(tmp_path: Path) -> None:
    """When a person changed the field by hand the rules withdraw the command: it ends, and is not sent again."""
    house = House()
    house.values[TRV, "mode"] = "off"

    async def act(scene: Scene) -> None:
        scene.want(TRV, "set_mode", "heat", confirm_s=30, retries=5)
        await scene.until(lambda: len(scene.commands.awaited) == 1)
        now = rfc3339(SystemClock().wall_ns())
        scene.journal.append(
            Event(
                source="/gw/rules", type="command_withdrawn", subject=TRV, time=now, lane="command",
                data={"field": "mode"},
            )
        )  # fmt: skip
        scene.committer.wake(urgent=True)
        await scene.until(lambda: bool(scene.results))
        assert [(event.type, event.data["value"]) for event in scene.results] == [("command_superseded", "heat")]
        assert len(scene.commands.awaited) == 0

    play(tmp_path, house, act)
    assert len(house.got) == 1


def test_awaiting_survives_a_restart(tmp_path: Path) -> None:
    """After a restart it goes on being awaited, with the tries that were left, and ends once."""
    house = House()
    house.values[TRV, "mode"] = "off"

    async def act(scene: Scene) -> None:
        scene.want(TRV, "set_mode", "heat", confirm_s=30, retries=1)
        await scene.until(lambda: len(house.got) == 1)
        await scene.committer.flush()

    play(tmp_path, house, act)

    async def later(scene: Scene) -> None:
        assert len(scene.commands.awaited) == 1
        house.values[TRV, "mode"] = "heat"
        await scene.until(lambda: bool(scene.results))
        assert [event.type for event in scene.results] == ["command_confirmed"]

    play(tmp_path, house, later)
    assert len(house.got) == 1


def test_nothing_is_told_again_when_it_is_too_late(tmp_path: Path) -> None:
    """Once a command's time limit has passed it is not sent again but has failed, whatever tries were left."""
    house = House()
    house.values[TRV, "mode"] = "off"

    async def act(scene: Scene) -> None:
        expires = rfc3339(SystemClock().wall_ns() + 3600 * NS_PER_S)
        scene.want(TRV, "set_mode", "heat", confirm_s=1, retries=50, expires=expires)
        await scene.until(lambda: bool(house.got))
        scene.clock.ahead_ns = 3601 * NS_PER_S
        await scene.until(lambda: bool(scene.results))
        assert scene.results[0].type == "command_failed"
        assert scene.results[0].data["sent"] == len(house.got) < 50

    play(tmp_path, house, act)


def test_who_cannot_be_known_to_have_done_it_is_said_at_once(tmp_path: Path) -> None:
    """A command whose profile names no field is sent, and command_failed says why it can't be confirmed."""
    house = House()

    async def act(scene: Scene) -> None:
        scene.want(TRV, "ring", confirm_s=30)
        await scene.until(lambda: bool(scene.results))
        wanted = "not confirmed: its profile does not say what follows from ring"
        assert scene.results[0].data["reason"] == wanted

    play(tmp_path, house, act)
    assert len(house.got) == 1


def test_some_are_only_observed(tmp_path: Path) -> None:
    """Commands to an observed device, and those of an observed rule, are recorded with the reason and not sent."""
    house = House()

    async def act(scene: Scene) -> None:
        scene.want("house/z2m:siren", "set_on", True)
        scene.want(TRV, "set_mode", "heat", observe=True, actor="rule:tried@12")
        scene.want(TRV, "set_mode", "off")
        await scene.until(lambda: bool(house.got))
        reasons = [(event.type, event.subject, event.data["reason"]) for event in scene.results]
        assert reasons == [
            ("command_observed", "house/z2m:siren", "commands to this device are only observed"),
            ("command_observed", TRV, "commands of rule:tried are only observed"),
        ]
        row = scene.journal.get("observed", TRV)
        assert row is not None
        assert (row["count"], row["last"][0]["value"]) == (1, "heat")

    play(tmp_path, house, act, observed=["house/z2m:siren"])
    assert [(device, payload) for device, _, payload in house.got] == [(TRV, b"off")]


def test_what_is_over_behind_a_waiting_command_stays_over(tmp_path: Path) -> None:
    """While one command waits for its source, others behind it are neither sent nor judged again at a restart."""
    house = House()
    house.away = {"attic/x:trv"}

    async def act(scene: Scene) -> None:
        scene.want("attic/x:trv", "set_mode", "heat", expires=rfc3339(SystemClock().wall_ns() + 600 * NS_PER_S))
        scene.want(TRV, "set_mode", "off")
        scene.want(TRV, "fly")
        await scene.until(lambda: bool(scene.results))
        await scene.committer.flush()

    play(tmp_path, house, act)

    async def later(scene: Scene) -> None:
        scene.want(TRV, "set_mode", "auto")
        await scene.until(lambda: len(house.got) == 2)
        assert scene.results == []

    play(tmp_path, house, later)
    assert [payload for _, _, payload in house.got] == [b"off", b"auto"]


def test_a_device_that_cannot_be_told_keeps_its_tries() -> None:
    """When its source is away a try is put off, not used up."""
    rows: dict[str, Any] = {}
    awaited = Confirmations({}, rows.__setitem__, 0)
    wanted = Awaiting(device="d", command="set_on", value=True, by="", field="on", wanted=True, confirm_s=1, left=1)
    assert awaited.begin("a", wanted, 0)
    for second in (1, 2, 3):
        assert awaited.look(lambda *_: False, second * NS_PER_S) == [("a", wanted, Step.AGAIN)]
        awaited.put_off("a", second * NS_PER_S)
    awaited.repeated("a", 4 * NS_PER_S)
    [(_, tried, step)] = awaited.look(lambda *_: False, 5 * NS_PER_S)
    assert (tried.sent, step, rows["a"]["sent"]) == (2, Step.FAILED, 2)
    awaited.give_up("a")
    assert rows == {"a": None}


def test_events_of_other_kinds_pass(tmp_path: Path) -> None:
    """The lane carries calls to web services, too: they are none of the devices' business."""
    house = House()

    async def act(scene: Scene) -> None:
        data = {"method": "GET", "url": "http://x"}
        now = rfc3339(SystemClock().wall_ns())
        scene.journal.append(Event(source="/gw/rules", type="http_requested", time=now, lane="command", data=data))
        scene.want(TRV, "set_mode", "off")
        await scene.until(lambda: bool(house.got))
        await asyncio.sleep(0)
        assert scene.results == []

    play(tmp_path, house, act)


def test_what_a_source_refused_has_failed_with_its_reason(tmp_path: Path) -> None:
    """A refusal that is final ends a command at once; another one leaves it what tries it has; and each is said."""
    house = House()
    house.values[TRV, "mode"] = "off"

    async def act(scene: Scene) -> None:
        scene.want(TRV, "set_mode", "heat", confirm_s=600, retries=5)
        await scene.until(lambda: len(house.got) == 1 and len(scene.commands.awaited) == 1)
        scene.commands.refused(Refusal(TRV, "set_mode", "heat", "no answer", final=False))
        scene.commands.refused(
            Refusal(TRV, "set_mode", "cool", "an older one, which nobody awaits any more", final=True)
        )
        scene.commands.refused(Refusal(TRV, "set_setpoint", 21, "another command", final=True))
        assert len(scene.commands.awaited) == 1
        scene.commands.refused(Refusal(TRV, "set_mode", "heat", "illegal data value", final=True))
        assert len(scene.commands.awaited) == 0
        other, event = named(scene, "command_failed")
        assert (event.data["reason"], event.data["value"], event.cause is not None) == (
            "illegal data value",
            "heat",
            True,
        )
        assert (other.data["reason"], other.data["command"], other.cause) == ("another command", "set_setpoint", None)

    play(tmp_path, house, act)
