"""What a decorator does with a function: it takes note of it for its file, and says what is wrong at its line."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gateway.errors import Fault
from gateway.rules.language.definition import Commands, Declared


class Collector:
    """What one file declares."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.declared: list[Declared] = []
        self.faults: list[Fault] = []

    def fault(self, line: int, what: str, hint: str | None = None) -> None:
        """Take note of a fault."""
        self.faults.append(Fault(self.file, line, what, hint))


_collector: Collector | None = None  # of the file being loaded; None when a file is imported by itself


@contextmanager
def collecting(collector: Collector) -> Iterator[None]:
    """Let the decorators that run inside report to `collector`."""
    global _collector  # noqa: PLW0603 - decorators have no other way to their file
    before, _collector = _collector, collector
    try:
        yield
    finally:
        _collector = before


def line_of_decorator() -> int:
    """Return the line of the decorator that calls this."""
    return sys._getframe(2).f_lineno  # the decorator's line, where the author looks


@contextmanager
def checking(function: Callable[..., object], line: int, positional: int | None) -> Iterator[Collector]:
    """Turn what is wrong with a declaration into a fault at its line."""
    collector = _collector or Collector("")
    try:
        yield collector
    except (ValueError, TypeError) as error:
        collector.fault(line, str(error))
    try:
        _check_function(function, positional)
    except ValueError as error:
        collector.fault(line, str(error))


def _check_function(function: Callable[..., object], positional: int | None) -> None:
    name = getattr(function, "__name__", "?")
    if inspect.iscoroutinefunction(function):
        raise ValueError(f"{name} is async: a rule is a plain function, and ctx.after waits")
    parameters = inspect.signature(function)
    try:
        parameters.bind(*[None] * positional) if positional is not None else parameters.bind_partial(None)
    except TypeError as error:
        wanted = {1: "(ctx)", 2: "(event, ctx) or (device, ctx)", None: "(ctx, ...)"}[positional]
        raise ValueError(f"{name}{parameters} can't be called with {wanted}: {error}") from None


def about(
    function: Callable[..., object], collector: Collector, line: int, commands: Commands = "run"
) -> dict[str, Any]:
    """Return what every sort of rule has: name, title, function, file and line, whether it is only observed."""
    if commands not in ("run", "observe"):
        raise ValueError(f'commands={commands!r}: write "run" or "observe"')
    name = getattr(function, "__name__", "rule")
    title = (function.__doc__ or "").strip().partition("\n")[0].partition(". ")[0] or name.replace("_", " ")
    return {"name": name, "title": title, "run": function, "file": collector.file, "line": line, "commands": commands}
