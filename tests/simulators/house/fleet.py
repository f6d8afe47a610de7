"""Houses in which much happens: one of every dialect and model, one of a single dialect."""

from __future__ import annotations

from collections.abc import Sequence

from simulators.house.dialects import DIALECTS, dialect_class
from simulators.house.rig import fleet
from simulators.house.scenario import DeviceTable, FaultTable, Person, RoomTable, Scenario, Step

ROOMS = ("hall", "bath")


def everything() -> Scenario:
    """Return every model of every dialect, with people and faults, for two hours."""
    return fleet(sum(len(dialect_class(name).models) for name in DIALECTS), 120, 1)


def busy(dialect: str, *, each: int = 1, faults: Sequence[FaultTable] = ()) -> Scenario:
    """Return some devices of every model of a dialect, and somebody who opens, presses and switches all of them."""
    kind = dialect_class(dialect)
    tables = [
        DeviceTable(name=f"{model}{number}", dialect=dialect, model=model, room=ROOMS[0], battery=80.0)  # type: ignore[arg-type]
        for model in sorted(kind.models)
        for number in range(1 if kind.single else each)
    ]
    day = [Step(at="09:00", leave=True), Step(at="09:40", come=True)]
    for hour in range(6, 10):
        day += [Step(at=f"{hour:02d}:{minute:02d}", go=ROOMS[minute % 2]) for minute in (4, 35)]
        for table in tables:
            if table.model == "contact":
                day.append(Step(at=f"{hour:02d}:15", open=table.name, lasts="7m"))
            elif table.model == "button":
                day.append(Step(at=f"{hour:02d}:20", press=table.name))
            elif table.model in ("plug", "light"):
                day.append(Step(at=f"{hour:02d}:25", switch=table.name, lasts="9m"))
    return Scenario(
        schema=1, lasts="4h", room=[RoomTable(name=name, holds=3) for name in ROOMS], device=tables,
        person=[Person(name="Ada", room="hall", day=day)], fault=list(faults),
    )  # fmt: skip
