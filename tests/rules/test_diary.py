"""What rules said, kept for people, and questions to a worker that may be busy or gone."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.rules.protocol import Answer, Outcome, RuleFault, ToWorker
from gateway.rules.worker import questions
from gateway.rules.worker.blame import Activity
from gateway.rules.worker.diary import BYTES_MAX, LINES_MAX, Diary, Line
from gateway.rules.worker.questions import WAITING_MAX, NoAnswer, Questions
from tests.rules.rig import running

SLOW = """
import time
@rule("door_opened")
def slow(event, ctx):
    time.sleep(event["open"])
"""


def test_the_diary_counts_and_keeps_lines() -> None:
    """Lines of a rule's log and faults with their stacks, by rule; how often and when it ran, and failed."""
    diary = Diary(SystemClock())
    diary.outcome(Outcome(1, logs=[("a", "hello"), ("b", "there")], fired={"a": 2}))
    diary.outcome(Outcome(2, faults=[RuleFault("b", "b.py", 4, "KeyError: 'x'", stack="x\n")], fired={"a": 1}))
    assert [(line.number, line.rule, line.kind) for line in diary.lines()] == [
        (1, "a", "log"), (2, "b", "log"), (3, "b", "fault"),
    ]  # fmt: skip
    assert [(line.text, line.line, line.stack) for line in diary.lines("b")[1:]] == [("KeyError: 'x'", 4, "x\n")]
    assert (diary.fired, diary.faults) == ({"a": 3}, {"b": 1})
    assert diary.fired_ns["a"] > 0
    diary.ended(RuleFault("a", "a.py", 7, "did not return within 1 s", stack="deep\n"))
    assert (diary.lines("a")[-1].stack, diary.faults) == ("deep\n", {"b": 1}), "the next worker counts it"


def test_the_diary_is_bounded() -> None:
    """The oldest lines go when there are too many or they are too large."""
    diary = Diary(SystemClock())
    for number in range(LINES_MAX + 10):
        diary.outcome(Outcome(number, logs=[("a", "x")]))
    assert len(diary.lines()) == LINES_MAX
    for number in range(20):
        diary.outcome(Outcome(number, faults=[RuleFault("a", "a.py", 1, "E", stack="s" * (BYTES_MAX // 10))]))
    assert len(diary.lines()) == 9
    assert diary.lines()[-1].number == LINES_MAX + 30


def test_the_diary_can_be_followed() -> None:
    """Who follows gets the newest lines there are, then each that comes, of one rule if wanted."""

    async def follow() -> list[Line]:
        diary = Diary(SystemClock())
        for text in ("one", "two"):
            diary.outcome(Outcome(1, logs=[("a", text)]))
        lines = diary.follow("a", 1, follow=True)
        found = [await anext(lines)]
        diary.outcome(Outcome(2, logs=[("b", "other"), ("a", "three")]))
        found.append(await anext(lines))
        return found

    assert [line.text for line in asyncio.run(follow())] == ["two", "three"]


def test_a_busy_worker_is_not_waited_for_and_a_dead_one_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question to a worker in a call has no answer in time, and says what it is at; it changes nothing else."""

    async def ask() -> None:
        async with running(tmp_path, {"slow.py": SLOW}, call_s_max=60.0) as rig:
            monkeypatch.setattr(questions, "ANSWER_S_MAX", 60.0)
            assert [rule["name"] for rule in await rig.rules.ask("rules")] == ["slow"]
            with pytest.raises(NoAnswer, match="there is no rule 'slo', did you mean 'slow'"):
                await rig.rules.ask("why", name="slo", now_ns=0)
            process = rig.rules._process
            assert process is not None
            rig.event("door_opened", open=50)
            await rig.until(lambda: process.blame().activity is Activity.CALL)
            monkeypatch.setattr(questions, "ANSWER_S_MAX", 0.05)
            with pytest.raises(NoAnswer, match=r"did not answer within 0.05 s: it is in a call of rule slow"):
                await rig.rules.ask("rules")
            monkeypatch.setattr(questions, "ANSWER_S_MAX", 60.0)
            asked = asyncio.create_task(rig.rules.ask("rules"))
            await asyncio.sleep(0.1)
            os.kill(process.pid, signal.SIGKILL)
            with pytest.raises(NoAnswer, match="ended before it answered"):
                await asked

    asyncio.run(ask())


def test_questions_are_bounded_and_late_answers_are_nobodys() -> None:
    """Only so many wait at a time; an answer that comes when nobody waits any more is dropped."""

    async def ask() -> None:
        sent: list[ToWorker] = []
        asked = Questions(sent.append, lambda: "busy")
        tasks = [asyncio.create_task(asked.ask("rules")) for _ in range(WAITING_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(NoAnswer, match="wait for the rule worker already"):
            await asked.ask("rules")
        asked.answered(Answer(99, 1))
        asked.answered(Answer(1, "one"))
        assert await tasks[0] == "one"
        asked.answered(Answer(2, None, "no such thing"))
        with pytest.raises(NoAnswer, match="no such thing"):
            await tasks[1]
        asked.lost()
        rest = await asyncio.gather(*tasks[2:], return_exceptions=True)
        assert {type(each) for each in rest} == {NoAnswer}
        assert len(sent) == WAITING_MAX

    asyncio.run(ask())
