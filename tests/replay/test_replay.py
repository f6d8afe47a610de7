"""Replays, on a real journal with a scripted far end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.errors import GatewayError
from gateway.event import Event, Lane
from gateway.replay.replay import RUNNING_MAX, TABLE, Found, Replays
from gateway.targets.target import DELIVERED
from tests.forward.scripted import DOWN, REJECTED, RETRY, STOP, each
from tests.replay.desk import Desk, until

ME = "person:me"
FAST: dict[str, Any] = {"per_s": 1e6}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Open a journal with an hour of readings and three alarms in it."""
    made = Desk(tmp_path)
    made.put(range(1000))
    made.put(range(1000, 1003), "alarm", type="alert_raised")
    made.put(range(1003, 1500))
    yield made
    made.journal.close()


@asynccontextmanager
async def running(desk: Desk) -> AsyncIterator[Replays]:
    """Run the replays of a gateway."""
    replays = Replays(desk.journal, desk.past, desk.ways, desk.clock, wake=lambda: None, flush=desk.flush)
    task = asyncio.create_task(replays.run())
    await asyncio.sleep(0)
    try:
        yield replays
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ended(replays: Replays, number: int = 1) -> dict[str, Any]:
    """Wait for a replay's end and return its row."""
    await until(lambda: row_of(replays, number)["state"] not in ("counting", "sending"))
    return row_of(replays, number)


def row_of(replays: Replays, number: int) -> dict[str, Any]:
    """Return a replay's row."""
    return next(row for row in replays.listed() if row["number"] == number)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({"since": "2026-11-23T00:16:38.000Z", "until": "2026-11-23T00:16:44.000Z"}, range(998, 1004)),
        ({"devices": ["d1"], "until": "2026-11-23T00:00:10.000Z"}, range(1, 10, 3)),
        ({"types": ["alert_*"]}, range(1000, 1003)),
        ({"lanes": ["alarm"]}, range(1000, 1003)),
        ({}, range(1500)),
        ({"devices": ["nobody"]}, range(0)),
    ],
)
def test_a_query_goes_out_again(wanted: dict[str, Any], numbers: range, desk: Desk) -> None:
    """Just what was asked for goes out, in order, with the ids it had, marked as replayed; no cursor moves."""

    async def run() -> None:
        cursors = dict(desk.journal.table("cursors"))
        async with running(desk) as replays:
            started = await replays.start(ME, "all", **FAST, **wanted)
            row = await ended(replays, started["number"])
        assert (row["state"], row["sent"], row["total"], row["gone"], row["actor"]) == (
            "done",
            len(numbers),
            len(numbers),
            0,
            ME,
        )
        assert desk.journal.table("cursors") == cursors

    asyncio.run(run())
    assert desk.target.numbers() == list(numbers)
    stored = {msgspec.json.decode(raw)["id"] for _, raw in desk.past.between(0, 10_000, tuple(Lane))}
    arrived = [msgspec.json.decode(raw) for raw in desk.target.arrived]
    assert all(event["replayed"] is True and event["id"] in stored for event in arrived)


def test_a_dry_run_sends_nothing_and_says_what_it_would(desk: Desk) -> None:
    """Number, bytes and times of what fits, and how much of it the route does not carry."""

    async def run(route: str, **wanted: Any) -> Found:
        async with running(desk) as replays:
            found = [each async for each in replays.found(route, **wanted)]
        assert replays.listed() == []
        assert found[-1].over
        return found[-1]

    whole = asyncio.run(run("all", since="2026-11-23T00:16:00.000Z"))
    assert (whole.events, whole.first, whole.last) == (540, "2026-11-23T00:16:00.000Z", "2026-11-23T00:24:59.000Z")
    assert whole.bytes > 540 * 100
    desk.live.selection._types._excluded = ("alert_*",)
    desk.live.selection.takes_all = False
    assert asyncio.run(run("all")).passed_over == 3
    assert asyncio.run(run("all", unselected=True)).events == 1500
    assert asyncio.run(run("alarms")).events == 3
    assert desk.target.arrived == []


@pytest.mark.parametrize(
    ("route", "wanted", "says"),
    [
        ("alls", {}, "there is no route 'alls'.*all"),
        ("all", {"surprise": 1}, "surprise"),
        ("all", {"lanes": ["command"]}, "lanes"),
        ("alarms", {"lanes": ["telemetry"]}, "carries no telemetry lane; with --unselected"),
        ("all", {"per_s": 0}, "more than 0"),
    ],
)
def test_what_cannot_be_says_why(route: str, wanted: dict[str, Any], says: str, desk: Desk) -> None:
    """A replay that makes no sense is refused with the reason, and leaves no row."""

    async def run() -> None:
        async with running(desk) as replays:
            with pytest.raises(GatewayError, match=says):
                await replays.start(ME, route, **wanted)
        assert desk.journal.table(TABLE) == {}

    asyncio.run(run())


def test_live_events_go_first(desk: Desk) -> None:
    """While the route has anything of its own to send, a replay waits, and says so."""

    async def run() -> None:
        desk.live.caught_up = False
        async with running(desk) as replays:
            await replays.start(ME, "all", until="2026-11-23T00:01:00.000Z", **FAST)
            await until(lambda: row_of(replays, 1)["waits"])
            assert desk.target.batches == []
            desk.live.caught_up = True
            assert (await ended(replays))["sent"] == 60
        assert desk.target.most_at_once == 1
        assert max(map(len, desk.target.batches)) <= 50

    asyncio.run(run())


def test_outcomes_are_taken_as_they_come(desk: Desk) -> None:
    """What is refused becomes a dead letter, what fails is tried again, what never passes given up; all counted."""
    tries: dict[int, int] = {}
    chance = random.Random(5)

    def answer(number: int) -> Any:
        tries[number] = tries.get(number, 0) + 1
        if number == 13:
            return REJECTED
        if number == 20:
            return RETRY  # for ever
        return chance.choice([DELIVERED, DELIVERED, RETRY, DOWN, STOP]) if tries[number] < 3 else DELIVERED

    desk.target.judge = each(answer)

    async def run() -> dict[str, Any]:
        desk.target._cut = False
        async with running(desk) as replays:
            await replays.start(ME, "all", until="2026-11-23T00:01:00.000Z", **FAST)
            reconnecting = asyncio.create_task(reconnect())
            row = await ended(replays)
            reconnecting.cancel()
            return row

    async def reconnect() -> None:
        while True:
            await desk.target.ready()
            await asyncio.sleep(0.002)

    row = asyncio.run(run())
    assert (row["sent"], row["refused"], row["gone"]) == (58, 2, 0)
    assert sorted(set(desk.target.numbers())) == [n for n in range(60) if n not in (13, 20)]
    desk.journal.commit()
    letters = [msgspec.json.decode(raw) for _, raw in desk.past.between(0, 10_000, (Lane.DEAD_LETTER,))]
    assert [(letter["data"]["event"]["data"]["n"], letter["data"]["route"]) for letter in letters] == [
        (13, "all"),
        (20, "all"),
    ]
    assert "given up after 10 attempts" in letters[1]["data"]["reason"]


def test_a_kill_repeats_a_little_and_loses_nothing(desk: Desk) -> None:
    """After a kill a replay goes on behind its own durable cursor: all arrives, repeats have the same id."""

    async def begin() -> None:
        async with running(desk) as replays:
            await replays.start(ME, "all", **FAST)
            await until(lambda: len(desk.target.arrived) >= 700)

    async def go_on() -> dict[str, Any]:
        async with running(desk) as replays:
            return await ended(replays)

    asyncio.run(begin())
    desk.kill()
    row = asyncio.run(go_on())
    numbers = desk.target.numbers()
    assert (row["state"], row["total"], row["sent"], row["gone"]) == ("done", 1500, 1500, 0)
    assert sorted(set(numbers)) == list(range(1500))
    assert len(numbers) - 1500 <= 600


def test_a_replay_is_stopped_and_stays_so(desk: Desk) -> None:
    """A stopped replay sends nothing more, now or after a start; one that waits for its route is stopped at once."""

    async def run() -> None:
        desk.live.caught_up = False
        async with running(desk) as replays:
            await replays.start(ME, "all")
            await until(lambda: row_of(replays, 1)["waits"])
            assert (await replays.stop(1))["state"] == "stopped"
            with pytest.raises(GatewayError, match="stopped already"):
                await replays.stop(1)
            with pytest.raises(GatewayError, match="no replay 2"):
                await replays.stop(2)
        desk.kill()
        desk.live.caught_up = True
        async with running(desk) as replays:
            assert [row["state"] for row in replays.listed()] == ["stopped"]
            await replays.start(ME, "all", until="2026-11-23T00:00:05.000Z")
            assert (await ended(replays, 2))["sent"] == 5
        assert desk.target.numbers() == [0, 1, 2, 3, 4]

    asyncio.run(run())


def test_their_number_is_limited(desk: Desk) -> None:
    """A few at a time, and of those that are over only the last are remembered."""

    async def run() -> None:
        desk.live.caught_up = False
        async with running(desk) as replays:
            for _ in range(RUNNING_MAX):
                await replays.start(ME, "all")
            with pytest.raises(GatewayError, match="which is the limit"):
                await replays.start(ME, "all")
            for number in range(1, RUNNING_MAX + 1):
                await replays.stop(number)
            for number in range(RUNNING_MAX + 1, 45):
                await replays.start(ME, "all")
                await replays.stop(number)
            assert [row["number"] for row in replays.listed()] == list(range(13, 45))

    asyncio.run(run())


def test_what_made_room_is_said(tmp_path: Path) -> None:
    """A replay pins nothing: what is gone before it starts is said by its time, what goes meanwhile is counted."""
    desk = Desk(tmp_path)
    chance = random.Random(1)

    def more(count: int) -> None:
        for _ in range(count):
            data = {"n": 0, "x": chance.randbytes(20_000).hex()}
            desk.journal.append(Event(source="/pi/house", type="t", time="2026-11-23T00:00:00.000Z", data=data))
            desk.journal.commit()

    more(300)

    async def run() -> dict[str, Any]:
        async with running(desk) as replays:
            desk.live.caught_up = False
            await replays.start(ME, "all", since="2020-01-01T00:00:00.000Z", **FAST)
            await until(lambda: row_of(replays, 1)["waits"])
            more(150)
            desk.live.caught_up = True
            return await ended(replays)

    row = asyncio.run(run())
    assert row["kept_since"] > "2026"
    assert row["state"] == "done"
    assert row["gone"] > 10
    assert row["sent"] + row["gone"] == row["total"]
    desk.journal.close()
