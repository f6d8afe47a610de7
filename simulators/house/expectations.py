"""What a scenario expects against what was seen: events at the far end, commands at devices, and the books. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from simulators.house.house import Heard
from simulators.house.scenario import Expect, ExpectLedger, Scenario, seconds

RAISED = "alert_raised"


@dataclass(frozen=True, slots=True)
class Seen:
    """An event at the far end: when, in seconds from the start of the house."""

    at_s: float
    id: str
    type: str
    device: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one expectation."""

    name: str
    met: bool
    what: str  # what was seen, for a person
    at_s: float | None = None
    event: str | None = None  # id of the event that decided


def seen(event: Mapping[str, Any], start_s: float) -> Seen:
    """Read a CloudEvent."""
    at_s = datetime.fromisoformat(str(event["time"])).timestamp() - start_s
    data = event.get("data")
    return Seen(
        at_s,
        str(event["id"]),
        str(event["type"]),
        str(event.get("subject", "")),
        data if isinstance(data, dict) else {},
    )


def judged(
    scenario: Scenario,
    events: Sequence[Seen],
    heard: Sequence[Heard],
    ids: Mapping[str, str],
    *,
    verdict: Mapping[str, Any],
    dead_letters: int,
    slack_s: float,
    end_s: float,
) -> Iterator[Result]:
    """Judge every expectation. `ids` are the gateway's ids by device, `slack_s` how late the gateway may be."""
    for expect in scenario.expect:
        yield _expected(scenario, expect, events, heard, ids, slack_s=slack_s, end_s=end_s, wanted=True)
    for expect in scenario.expect_not:
        yield _expected(scenario, expect, events, heard, ids, slack_s=0.0, end_s=end_s, wanted=False)
    for number, ledger in enumerate(scenario.expect_ledger, 1):
        yield _ledger(f"ledger {number}" if number > 1 else "ledger", ledger, verdict, dead_letters)


def name_of(expect: Expect) -> str:
    """Name an expectation as its author did, or by what it says."""
    what = f"alert {expect.alert}" if expect.alert else f"command {expect.command}" if expect.command else expect.event
    parts = [what, f"of {expect.device}" if expect.device else "", f"to {expect.to!r}" if expect.to is not None else ""]
    parts += [
        f"after {expect.after}" if expect.after != "0s" else "",
        f"within {expect.within}" if expect.within else "",
    ]
    return expect.name or " ".join(part for part in parts if part)


def _expected(
    scenario: Scenario,
    expect: Expect,
    events: Sequence[Seen],
    heard: Sequence[Heard],
    ids: Mapping[str, str],
    *,
    slack_s: float,
    end_s: float,
    wanted: bool,
) -> Result:
    name = name_of(expect) if wanted else f"no {name_of(expect)}"
    begin_s = scenario.moment_s(expect.after)
    until_s = begin_s + seconds(expect.within) + slack_s if expect.within else float("inf")
    if begin_s > end_s:
        return Result(name, False, f"the run ended after {_time(end_s)}, before the moment came")
    found: Heard | Seen | None
    if expect.command:
        fits = [each for each in heard if each.device == expect.device and each.field == expect.command]
        right = [each for each in fits if expect.to is None or each.value == expect.to]
        found, near = _first(right, begin_s, until_s), _first(right, 0.0, float("inf"))
    else:
        right_events = [each for each in events if _fits(expect, each, ids)]
        found, near = _first(right_events, begin_s, until_s), _first(right_events, 0.0, float("inf"))
    if found is not None:
        event = found.id if isinstance(found, Seen) else None
        return Result(name, wanted, f"at {_time(found.at_s)}", round(found.at_s, 1), event)
    what = "never" if near is None else f"not in that time, but at {_time(near.at_s)}"
    return Result(name, not wanted, what)


def _first(found: Iterable[Heard | Seen], begin_s: float, until_s: float) -> Heard | Seen | None:
    inside = [each for each in found if begin_s <= each.at_s <= until_s]
    return min(inside, key=lambda each: each.at_s, default=None)


def _fits(expect: Expect, event: Seen, ids: Mapping[str, str]) -> bool:
    if expect.device and event.device != ids[expect.device]:
        return False
    if expect.alert:
        keys = [str(event.data.get(name, "")) for name in ("alert", "rule")]
        return event.type == RAISED and any(key == expect.alert or key.startswith(f"{expect.alert}/") for key in keys)
    if not fnmatch.fnmatchcase(event.type, expect.event):
        return False
    return expect.to is None or expect.to in event.data.values()


def _ledger(name: str, expect: ExpectLedger, verdict: Mapping[str, Any], dead_letters: int) -> Result:
    faults = []
    if expect.balanced and not verdict["balanced"]:
        faults += [
            f"{verdict[word]} {word}" for word in ("lost", "wrong", "out_of_order", "unreadable") if verdict[word]
        ]
    if expect.balanced and verdict["unheard"]:
        faults.append(
            f"{verdict['unheard']} devices were never heard of: {', '.join(verdict['examples']['unheard'][:3])}"
        )
    if expect.duplicates is not None and verdict["duplicates"] > expect.duplicates:
        faults.append(f"{verdict['duplicates']} duplicates")
    if expect.dead_letters is not None and dead_letters > expect.dead_letters:
        faults.append(f"{dead_letters} dead letters")
    good = f"{verdict['values']} changes told, {verdict['duplicates']} duplicates, {dead_letters} dead letters"
    return Result(name, not faults, "; ".join(faults) or good)


def _time(at_s: float) -> str:
    days, rest = divmod(round(at_s), 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, of_minute = divmod(rest, 60)
    return (f"{days}d " if days else "") + f"{hours:02d}:{minutes:02d}:{of_minute:02d}"
