"""Stages: added, replaced and ended one by one, and none may end by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.stages import Stages

WAIT_S = 30.0


def play(scene: Callable[[Stages, asyncio.Event], Awaitable[None]]) -> None:
    """Run a scene with stages, and end what it left."""

    async def whole() -> None:
        stages, stop = Stages(), asyncio.Event()
        try:
            async with asyncio.timeout(WAIT_S):
                await scene(stages, stop)
        finally:
            await stages.end(*stages)

    asyncio.run(whole())


async def for_ever(said: list[str], name: str) -> None:
    """Run until cancelled, and say so."""
    said.append(f"{name} runs")
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        said.append(f"{name} ended")


def test_one_is_replaced_while_others_run() -> None:
    """A stage is replaced by another under its name, when it has ended, and the others notice nothing."""
    said: list[str] = []

    async def scene(stages: Stages, stop: asyncio.Event) -> None:
        stages.add("a", for_ever(said, "a"), outer=True)
        stages.add("b", for_ever(said, "b"))
        await asyncio.sleep(0)
        await stages.replace("a", for_ever(said, "a2"))
        await asyncio.sleep(0)
        assert said == ["a runs", "b runs", "a ended", "a2 runs"]
        assert (stages.names(outer=True), stages.names(outer=False)) == (["a"], ["b"])
        stop.set()
        await stages.watch(stop)

    play(scene)


def test_what_was_ended_is_no_fault() -> None:
    """A stage that was told to end does not end the program, and what it raises in ending is only logged."""

    async def bad_loser() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            raise OSError("port is gone")

    async def scene(stages: Stages, stop: asyncio.Event) -> None:
        stages.add("a", bad_loser())
        await asyncio.sleep(0)
        await stages.end("a", "never there")
        assert "a" not in stages
        stop.set()
        await stages.watch(stop)

    play(scene)


def test_a_stage_that_ends_by_itself_is_a_bug() -> None:
    """One that returns ends the program, one that raises does so with its error, also when it replaced another."""

    async def raising() -> None:
        raise KeyError("lost")

    async def returning() -> None:
        return

    async def scene(stages: Stages, stop: asyncio.Event) -> None:
        stages.add("a", returning())
        with pytest.raises(RuntimeError, match=r"gateway\.a ended by itself"):
            await stages.watch(stop)

    async def scene2(stages: Stages, stop: asyncio.Event) -> None:
        stages.add("a", for_ever([], "a"))
        await stages.replace("a", raising())
        with pytest.raises(KeyError, match="lost"):
            await stages.watch(stop)

    play(scene)
    play(scene2)


def test_a_name_is_taken_once() -> None:
    """Two stages of one name are refused: one of them could never be ended."""

    async def scene(stages: Stages, stop: asyncio.Event) -> None:
        stages.add("a", for_ever([], "a"))
        with pytest.raises(ValueError, match="'a'"):
            stages.add("a", for_ever([], "a"))

    play(scene)


def test_who_is_interrupted_in_ending_a_stage_has_ended_it() -> None:
    """Cancelled while it waits for what comes first, the end of a stage is none the less its end."""
    said: list[str] = []

    async def scene(stages: Stages, _stop: asyncio.Event) -> None:
        stages.add("a", for_ever(said, "a"), outer=True)
        ending = asyncio.create_task(stages.end("a", first=asyncio.Event().wait()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ending.cancel()
        await asyncio.wait({ending})
        assert ending.cancelled()
        assert said == ["a runs", "a ended"]

    play(scene)
