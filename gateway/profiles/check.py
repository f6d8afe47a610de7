"""Checking a profile's text: the document, the faults found so far, and how its small parts are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gateway.document import Document, Place
from gateway.errors import Fault, probably_meant
from gateway.profiles import language as lang
from gateway.profiles.pointer import segments_of
from gateway.profiles.template import NameTemplate, TopicTemplate
from gateway.profiles.values import Misfit, Test, condition
from gateway.profiles.vocabulary import KIND_OF_CLASS, event_types


def pointers_of(source: lang.Pointers) -> list[str]:
    """Return the alternatives of a `from`."""
    return [source] if isinstance(source, str) else source


class Check:
    """Collects faults on the way, so that all of them are reported; what has a fault is None from then on."""

    def __init__(self, document: Document) -> None:
        """Begin without a fault."""
        self.document = document
        self.faults: list[Fault] = []
        self.learned: set[str] = set()  # words that the profile's [[learn]] tables remember

    def fault(self, at: Place, what: str, hint: str | None = None) -> None:
        """Note what is wrong at a place, and what was probably meant."""
        self.faults.append(self.document.fault(at, what, hint))

    def attempt(self, at: Place, make: Callable[..., Any], *arguments: Any) -> Any:
        """Make a part; a ValueError is a fault at its place, and then there is None."""
        try:
            return make(*arguments)
        except Misfit as error:
            self.fault((*at, error.key), str(error))
        except ValueError as error:
            self.fault(at, str(error))
        return None

    def device_class(self, name: str, at: Place) -> None:
        """Check the name of a device class."""
        if name not in KIND_OF_CLASS:
            self.fault(at, f"unknown device_class {name!r}", probably_meant(name, KIND_OF_CLASS))

    def topics(self, topics: Sequence[str], at: Place) -> list[TopicTemplate]:
        """Read topic templates."""
        found = [self.attempt((*at, i), TopicTemplate, text) for i, text in enumerate(topics)]
        for i, template in enumerate(found):
            if template and template.bound({}).filter() == "#":
                self.fault((*at, i), f"{template.text!r} would subscribe to everything: begin with a literal level")
        return [template for template in found if template]

    def conditions(self, conditions: Sequence[lang.Condition], at: Place) -> tuple[Test, ...]:
        """Read conditions."""
        for i, wanted in enumerate(conditions):
            if wanted.learned is not None and wanted.learned not in self.learned:
                hint = probably_meant(wanted.learned, self.learned)
                self.fault((*at, i, "learned"), f"nothing learns {wanted.learned!r}", hint or "write a [[learn]]")
        return tuple(self.attempt((*at, i), condition, wanted) for i, wanted in enumerate(conditions))

    def name(self, text: str | None, at: Place, captures: frozenset[str]) -> NameTemplate | None:
        """Read a template of a name and check that its captures are there."""
        template: NameTemplate | None = self.attempt(at, NameTemplate, text) if text else None
        for name in template.captures - captures if template else ():
            self.fault(at, f"nothing captures {{{name}}}", probably_meant(name, captures))
        for path in template.paths if template else ():
            self.attempt(at, segments_of, path)
        return template

    def event(self, name: str | None, at: Place) -> None:
        """Check an event type."""
        if name and name not in event_types():
            self.fault(at, f"unknown event type {name!r}", probably_meant(name, event_types()))
