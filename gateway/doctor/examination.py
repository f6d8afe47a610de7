"""Runs checks at the same time, none longer than LOOK_S_MAX, and gathers what they say.

A look that hangs (a dead network file system, a name server that says nothing) is left to its thread, which ends with
the program: nothing waits for it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from gateway.doctor.check import Check, Subject
from gateway.doctor.finding import Finding, bad, note
from gateway.doctor.scene import LOOK_S_MAX, SERVICE, Scene

LOOKS_MAX = 500  # of one examination
GRACE_S = 0.5  # for a look that was in time to hand over what it found


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A finding and where it is from."""

    area: str
    check: str
    subject: str
    finding: Finding
    seconds: float = 0.0  # the look took


def examine(scene: Scene, checks: Mapping[str, Check], areas: Collection[str] = ()) -> Iterator[list[Line]]:
    """Yield what each look found, in the order of the checks, as soon as it and those before it are there."""
    looks = list(_looks(scene, checks, areas))[:LOOKS_MAX]
    answers: list[queue.SimpleQueue[tuple[Any, float]]] = []
    for _name, check, subject in looks:
        answer: queue.SimpleQueue[tuple[Any, float]] = queue.SimpleQueue()
        answers.append(answer)
        thread = threading.Thread(target=_look, args=(scene, check, subject, answer), daemon=True)
        thread.start()
    end = time.monotonic() + LOOK_S_MAX + GRACE_S
    for (name, check, subject), answer in zip(looks, answers, strict=True):
        try:
            facts, seconds = answer.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            facts, seconds = TimeoutError(f"no answer within {LOOK_S_MAX:g} s"), LOOK_S_MAX
        findings = _judged(check, facts)
        yield [
            Line(area=check.AREA, check=name, subject=subject.name, finding=each, seconds=round(seconds, 3))
            for each in findings
        ]


def _looks(scene: Scene, checks: Mapping[str, Check], areas: Collection[str]) -> Iterator[tuple[str, Check, Subject]]:
    for name, check in checks.items():
        if not areas or check.AREA in areas:
            for subject in check.subjects(scene):
                yield name, check, subject


def _look(scene: Scene, check: Check, subject: Subject, answer: queue.SimpleQueue[tuple[Any, float]]) -> None:
    began = time.monotonic()
    try:
        facts = check.look(scene, subject)
    except Exception as error:  # noqa: BLE001 - one check that fails must not silence the others; it is reported
        facts = error
    answer.put((facts, time.monotonic() - began))


def _judged(check: Check, facts: Any) -> list[Finding]:
    if isinstance(facts, TimeoutError):
        return [note(f"could not be found out: {facts}")]
    if isinstance(facts, PermissionError):
        return [note(f"{facts.filename}: you may not look at it", f"sudo {SERVICE} doctor {check.AREA}")]
    if isinstance(facts, BaseException):
        return [bad(f"the check itself failed: {type(facts).__name__}: {facts}", "edge-gateway support")]
    return list(check.judge(facts))
