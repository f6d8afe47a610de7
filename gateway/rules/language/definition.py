"""What a rule file declares, as data: the four sorts of rules and the tests in their arguments.

Built by the decorators of `api.py`, checked by `loader.py`, run by `engine.py`.  Nothing here looks at a house.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from gateway.quantity import duration, duration_s
from gateway.rules.language.cron import Plan
from gateway.rules.language.hours import Hours

if TYPE_CHECKING:
    from gateway.rules.language.over import Over

NS_PER_S = 1_000_000_000
Late = Literal["update", "run"]
Per = Literal["device", "room", "house"]
Role = Literal["itself", "before", "against"]
Commands = Literal["run", "observe"]
Unsynced = Literal["skip", "run"]
Fail = Literal["open", "closed"]
DURATION_S_MAX = 10 * 366 * 86_400.0
DURATION_NS_MAX = round(DURATION_S_MAX) * NS_PER_S
EVERY_S_MIN = 1.0

_TYPE = re.compile(r"[a-z][a-z0-9_]{0,99}")
_COMPARISON = re.compile(r"\s*(>=|<=|!=|==|>|<)\s*(.+?)\s*")
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge, "<=": operator.le, "!=": operator.ne, "==": operator.eq, ">": operator.gt, "<": operator.lt,
}  # fmt: skip


def is_type(name: object) -> bool:
    """Return whether a text may be an event type."""
    return isinstance(name, str) and _TYPE.fullmatch(name) is not None


def duration_ns(value: str | float) -> int:
    """Read ``"30s"``, ``"5m"``, ``"1h"`` or seconds. ValueError says what to write."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f'{value!r} is not a duration: write "30s", "5m" or "1h"')
    seconds = duration_s(value) if isinstance(value, str) else float(value)
    if not 0 <= seconds <= DURATION_S_MAX:
        raise ValueError(f"{value!r} is not a duration between 0 and ten years")
    return round(seconds * NS_PER_S)


class Test:
    """A test of one value: equal to a value or to any of several, or a comparison written ``">=0.7"``."""

    __slots__ = ("_operator", "_values", "text")

    def __init__(self, wanted: Any) -> None:
        """Read what the author wrote. ValueError if it can be no test."""
        self.text = wanted.strip() if isinstance(wanted, str) and _COMPARISON.fullmatch(wanted) else f"={wanted}"
        self._operator: Callable[[Any, Any], bool] = operator.eq
        self._values: tuple[Any, ...] = (
            tuple(wanted) if isinstance(wanted, (list, tuple, set, frozenset)) else (wanted,)
        )
        if isinstance(wanted, str) and (found := _COMPARISON.fullmatch(wanted)):
            self._operator = _OPERATORS[found[1]]
            self._values = (_number_or_text(found[2]),)
            if found[1] not in ("==", "!=") and isinstance(self._values[0], str):
                raise ValueError(f"{wanted!r} compares with {found[2]!r}, which is no number")
        for value in self._values:
            if not (value is None or isinstance(value, (str, int, float))):
                raise ValueError(f"{value!r} can't be compared with a field: use a text, a number, True or False")

    def holds(self, value: Any, was: bool = False) -> bool:  # noqa: ARG002 - thresholds need it
        """Return whether `value` passes; a text is never greater or smaller than a number."""
        for wanted in self._values:
            try:
                if self._operator(value, wanted) and isinstance(value, bool) == isinstance(wanted, bool):
                    return True
            except TypeError:
                continue
        return False


class Threshold:
    """`above(x, clear=y)` and `below(x, clear=y)`: true beyond x, until the value is back at y."""

    __slots__ = ("_clear", "_limit", "_sign", "text")

    def __init__(self, name: str, limit: float, clear: float | None) -> None:
        """Make it. ValueError if the numbers make no sense."""
        for number in (limit, clear):
            if number is not None and (isinstance(number, bool) or not isinstance(number, (int, float))):
                raise ValueError(f"{name}({number!r}): a number is wanted")
        self._sign = 1.0 if name == "above" else -1.0
        if clear is not None and (limit - clear) * self._sign < 0:
            raise ValueError(f"{name}({limit:g}, clear={clear:g}) never clears: `clear` belongs on the other side")
        self._limit = limit * self._sign
        self._clear = self._limit if clear is None else clear * self._sign
        self.text = f" {name}({limit:g}" + (")" if clear is None else f", clear={clear:g})")

    def holds(self, value: Any, was: bool = False) -> bool:
        """Return whether `value` is beyond the limit, or not back yet if it was."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return value * self._sign > (self._clear if was else self._limit)

    def __repr__(self) -> str:
        return self.text.strip()


FieldTest = Test | Threshold


def _number_or_text(text: str) -> Any:
    words = {"true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return float(text)
    except ValueError:
        return text


@dataclass(frozen=True, slots=True)
class Selector:
    """Which devices: each entry empty (any) or the names of which one must fit."""

    device: tuple[str, ...] = ()
    room: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    label: tuple[str, ...] = ()

    def fits(self, device_id: str, name: str, room: str, kind: str, labels: frozenset[str]) -> bool:
        """Return whether a device is meant."""
        return (
            (not self.device or device_id in self.device or name in self.device)
            and (not self.room or room in self.room)
            and (not self.kind or kind in self.kind)
            and (not self.label or any(label in labels for label in self.label))
        )

    @property
    def anything(self) -> bool:
        """Whether it leaves nothing out."""
        return not (self.device or self.room or self.kind or self.label)

    def __str__(self) -> str:
        parts = ((name, getattr(self, name)) for name in ("device", "room", "kind", "label"))
        return ", ".join(f"{name}={'|'.join(values)}" for name, values in parts if values)


@dataclass(frozen=True, slots=True)
class Unknown:
    """What a condition is while a field it needs is not known."""

    then: Literal["keep", "true", "false"] = "keep"
    after_ns: int = 0  # first keep for this long

    @classmethod
    def read(cls, text: str) -> Unknown:
        """Read ``"keep"``, ``"true"``, ``"false"``, ``"true after 2h"``. ValueError says what to write."""
        word, _, rest = text.partition(" after ")
        if word not in ("keep", "true", "false") or (word == "keep" and rest):
            raise ValueError(f'unknown={text!r}: write "keep", "true", "false" or such as "true after 2h"')
        return cls(word, duration_ns(rest) if rest else 0)  # type: ignore[arg-type] # narrowed by the test above


@dataclass(frozen=True, slots=True)
class Missed:
    """What becomes of a time that nobody was there for: it fires late if it is at most `within_ns` ago."""

    within_ns: int = DURATION_NS_MAX
    text: str = ""

    @classmethod
    def read(cls, text: str) -> Missed:
        """Read ``"run"``, ``"skip"``, ``"within 10m"``. ValueError says what to write."""
        word, _, rest = str(text).partition(" ")
        if word not in ("run", "skip", "within") or bool(rest) != (word == "within"):
            raise ValueError(f'missed={text!r}: write "run", "skip" or such as "within 10m"')
        return cls(duration_ns(rest) if rest else DURATION_NS_MAX if word == "run" else 0, text)


@dataclass(frozen=True, kw_only=True)
class Definition:
    """What all sorts of rules have."""

    name: str
    title: str
    run: Callable[..., object]
    file: str
    line: int
    late: Late = "update"
    commands: Commands = "run"
    index: int = field(default=-1, compare=False)  # its place in Ready.rules
    actor: str = ""  # rule:<name>@<hash of the file>


@dataclass(frozen=True, slots=True)
class Happened:
    """Another event a rule is about: what comes before, or must not come."""

    types: tuple[str, ...]
    selector: Selector = Selector()
    where: tuple[tuple[str, FieldTest], ...] = ()

    def __str__(self) -> str:
        tests = [f"{name}{test.text}" for name, test in self.where]
        about = [str(self.selector), *tests] if not self.selector.anything else tests
        return " | ".join(self.types) + (f" ({', '.join(about)})" if about else "")


@dataclass(frozen=True, kw_only=True)
class EventRule(Definition):
    """@rule: something happened."""

    types: tuple[str, ...]
    selector: Selector = Selector()
    where: tuple[tuple[str, FieldTest], ...] = ()
    modes: tuple[str, ...] = ()
    cooldown_ns: int = 0
    hours: Hours | None = None
    debounce_ns: int = 0
    over: Over | None = None
    after: Happened | None = None
    unless: Happened | None = None
    within_ns: int = 0
    same: Per = "house"
    role: Role = "itself"  # or how it looks at the events of `after` and `unless`
    unsynced: Unsynced = "skip"

    @property
    def waits(self) -> bool:
        """Whether it looks at more than one event before it runs."""
        return bool(self.debounce_ns or self.over or self.after or self.unless)

    @property
    def views(self) -> tuple[EventRule, ...]:
        """The rule as it looks at each sort of event: its own, and those that come before or must not come."""
        against, before = self._view("against", self.unless), self._view("before", self.after)
        return (*against, self, *before)  # an event may be more than one of these: in this order

    def _view(self, role: Role, other: Happened | None) -> tuple[EventRule, ...]:
        if other is None:
            return ()
        about: Any = {"types": other.types, "selector": other.selector, "where": other.where, "role": role}
        return (replace(self, **about, modes=(), hours=None),)

    @property
    def trigger(self) -> str:
        """What starts it, for a person."""
        parts = [str(self.selector)] if not self.selector.anything else []
        parts += [f"{name}{test.text}" for name, test in self.where]
        parts += [f"mode={'|'.join(self.modes)}"] if self.modes else []
        parts += [self.hours.text] if self.hours else []
        parts += [f"debounce {duration(self.debounce_ns / NS_PER_S)}"] if self.debounce_ns else []
        parts += [self.over.text] if self.over else []
        for word, other in (("after", self.after), ("unless", self.unless)):
            within = f" within {duration(self.within_ns / NS_PER_S)}, same {self.same}"
            parts += [f"{word} {other}{within}"] if other else []
        return " | ".join(self.types) + (f" ({', '.join(parts)})" if parts else "")


@dataclass(frozen=True, kw_only=True)
class Gate(EventRule):
    """@gate: whether an event of a device leaves, and with what data."""

    fail: Fail = "open"

    @property
    def trigger(self) -> str:
        """What it decides about, for a person."""
        return f"gate: {super().trigger}" + (", fail closed" if self.fail == "closed" else "")


@dataclass(frozen=True, kw_only=True)
class Condition(Definition):
    """@when: something is so."""

    fields: tuple[tuple[str, FieldTest], ...]
    selector: Selector = Selector()
    per: Per = "device"
    lasts_ns: int = 0
    unknown: Unknown = Unknown()
    end: Callable[..., object] | None = None
    hours: Hours | None = None
    unsynced: Unsynced = "skip"

    @property
    def trigger(self) -> str:
        """What starts it, for a person."""
        tests = ", ".join(f"{name}{test.text}" for name, test in self.fields)
        lasts = f" for {duration(self.lasts_ns / NS_PER_S)}" if self.lasts_ns else ""
        about = [str(self.selector)] if not self.selector.anything else []
        about += [self.hours.text] if self.hours else []
        return f"while {tests}{lasts}" + (f" ({', '.join(about)})" if about else "")


@dataclass(frozen=True, kw_only=True)
class Every(Definition):
    """@every: again and again."""

    interval_ns: int

    @property
    def trigger(self) -> str:
        """What starts it, for a person."""
        return f"every {duration(self.interval_ns / NS_PER_S)}"


@dataclass(frozen=True, kw_only=True)
class At(Definition):
    """@at: at a time of day, or by a cron line."""

    plan: Plan
    missed: Missed
    unsynced: Unsynced = "skip"

    @property
    def trigger(self) -> str:
        """What starts it, for a person."""
        return self.plan.text


@dataclass(frozen=True, kw_only=True)
class Timer(Definition):
    """@timer: started by ctx.after; acts in the name of the rule that started it."""

    missed: Missed | None = None  # None: it runs, and switches nothing

    @property
    def trigger(self) -> str:
        """What starts it, for a person."""
        return "ctx.after"


Declared = EventRule | Condition | Every | At | Timer


def needs_sun(definition: Declared) -> bool:
    """Return whether it has to be known where the house is."""
    if isinstance(definition, At):
        return definition.plan.needs_sun
    hours = definition.hours if isinstance(definition, (EventRule, Condition)) else None
    return hours is not None and hours.needs_sun


def names(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """Read one name or several. ValueError if it is something else."""
    if value is None:
        return ()
    found: tuple[object, ...] = (value,) if isinstance(value, str) else tuple(value)
    if not found or not all(isinstance(name, str) and name for name in found):
        raise ValueError(f"{value!r}: a name or several names are wanted")
    return tuple(map(str, found))
