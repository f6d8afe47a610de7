"""What a check is, and where they are: one file in gateway/doctor/checks/ each.

A check looks, and judges what it saw; the two are apart, so that the judgement can be shown any facts::

    AREA = "disk"                                # what `doctor AREA` chooses; several checks may share one
    def subjects(scene) -> Iterable[Subject]     # one line or more for each; none: the check does not apply
    def look(scene, subject) -> Facts            # changes nothing, prints nothing, at most LOOK_S_MAX
    def judge(facts) -> Iterator[Finding]        # pure

Looks run at the same time, each in a thread of its own.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, Protocol, cast

from gateway.doctor import checks
from gateway.doctor.finding import Finding
from gateway.doctor.scene import Scene

AREAS: Final = ("config", "service", "clock", "credentials", "disk", "serial", "broker", "cloud", "devices", "system")


class Subject(NamedTuple):
    """What one look is about."""

    name: str  # as a person knows it: "clock", "target cloud"
    about: Any = None  # what `look` needs to know of it


class Check(Protocol):
    """A module in gateway/doctor/checks/."""

    AREA: str

    def subjects(self, scene: Scene) -> Iterable[Subject]:
        """Return what to look at."""
        ...

    def look(self, scene: Scene, subject: Subject) -> Any:
        """Return facts. What it raises is a fault of the check, and said so."""
        ...

    def judge(self, facts: Any) -> Iterator[Finding]:
        """Say what the facts mean, at least one line."""
        ...


def every() -> dict[str, Check]:
    """Return the checks by name, in the order of AREAS."""
    names = [each.name for each in pkgutil.iter_modules(checks.__path__)]
    found = {name: cast("Check", importlib.import_module(f"{checks.__name__}.{name}")) for name in names}
    return dict(sorted(found.items(), key=lambda item: (AREAS.index(item[1].AREA), item[0])))
