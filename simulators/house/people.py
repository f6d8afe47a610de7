"""People: their days as a timeline of moments, drawn once from the seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from simulators.house.scenario import Person, Step, seconds, time_of_day_s, weekdays

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A step of somebody's day, when it is done: seconds from the start."""

    at_s: float
    person: Person
    step: Step


def timeline(people: Sequence[Person], start_s: float, lasts_s: float, seed: int) -> list[Moment]:
    """Return all that people do, in order."""
    moments = [moment for person in people for moment in _days(person, start_s, lasts_s, seed)]
    return sorted(moments, key=lambda moment: (moment.at_s, moment.person.name))


def _days(person: Person, start_s: float, lasts_s: float, seed: int) -> Iterator[Moment]:
    midnight_s = start_s - start_s % DAY_S
    day = 0
    while midnight_s + day * DAY_S < start_s + lasts_s:
        weekday = datetime.fromtimestamp(midnight_s + day * DAY_S, UTC).weekday()
        for number, step in enumerate(person.day):
            rng = random.Random(f"{seed}/{person.name}/{day}/{number}")
            late_s = rng.uniform(0, seconds(step.jitter) if step.jitter else 0.0)
            if rng.random() >= step.chance or weekday not in weekdays(step.days):
                continue
            at_s = midnight_s + day * DAY_S + time_of_day_s(step.at) + late_s - start_s
            if 0 <= at_s < lasts_s:
                yield Moment(at_s, person, step)
        day += 1
