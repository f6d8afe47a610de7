"""Runs the tests a rule file carries: functions ``test_...(house)``, each with a house of its own.

Needs no test runner; a failed assert is explained by the values on both sides of its comparison.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from types import FunctionType, TracebackType
from typing import Any

import msgspec

from gateway.errors import Fault
from gateway.rules.desk.coverage import Coverage
from gateway.rules.files.loader import LOAD_S_MAX, Loaded, load, tests_in, time_limit
from gateway.rules.language.acting import Acting
from gateway.rules.language.faults import USER_ERRORS, WHAT_CHARS_MAX, line_of, what
from gateway.rules.protocol import DeviceEntry, RuleFault
from gateway.rules.testing import MODES_OF_TESTS, RuleFailed, SimulatedHouse

VALUE_CHARS_MAX = 300
TEST_S_MAX = 20.0  # for a person waits


class Trial(msgspec.Struct, frozen=True):
    """How one test went."""

    file: str
    name: str
    line: int  # of the test, or where it failed
    ok: bool
    seconds: float
    message: str = ""  # why not: several lines

    @property
    def fault(self) -> RuleFault:
        """The failed test as a fault, in one line."""
        said = "; ".join(line.strip() for line in self.message.removeprefix(f"{self.file}:{self.line}: ").splitlines())
        return RuleFault("", self.file, self.line, f"{self.name} fails: {said}"[:WHAT_CHARS_MAX], stack=self.message)


class Suite:
    """A rule file and its tests. `faults` are those of the file itself; with any, there is nothing to run."""

    def __init__(
        self,
        file: Path,
        devices: Sequence[DeviceEntry] = (),
        modes: Sequence[str] = (),
        loaded: Loaded | None = None,
        acting: Acting | None = None,
    ) -> None:
        """Load the file by itself, or take it from what was `loaded` with others and is without fault."""
        self.file = file
        self._devices = devices
        self._modes = modes
        if loaded is None:
            self.loaded: Loaded = load(file.parent, files=[file], modes=modes, acting=acting, limit_s=LOAD_S_MAX)
        else:
            own = [definition for definition in loaded.definitions if definition.file == str(file)]
            own = [replace(definition, index=place) for place, definition in enumerate(own)]
            self.loaded = replace(loaded, definitions=own)
        self.faults: Sequence[Fault] = self.loaded.faults
        module = self.loaded.modules.get(str(file))
        self.tests: dict[str, FunctionType] = {} if module is None else tests_in(module)
        self.coverage = Coverage(self.loaded.definitions)

    def house(self) -> SimulatedHouse:
        """Return a new house with the file's rules."""
        if self.faults:
            raise RuleFailed("\n".join(map(str, self.faults)))
        return SimulatedHouse(self.loaded, self._devices, self._modes or MODES_OF_TESTS, trace=self.coverage.trace())

    def call(self, name: str) -> None:
        """Run one test; raises what it raises."""
        function = self.tests[name]
        wanted = inspect.signature(function).parameters
        unknown = [parameter for parameter in wanted if parameter != "house"]
        if unknown:
            raise TypeError(f"{name} wants {unknown[0]!r}: a rule's test gets `house` and nothing else")
        with time_limit(TEST_S_MAX), self._fresh_houses(function):
            function(**({"house": self.house()} if wanted else {}))

    @contextmanager
    def _fresh_houses(self, function: FunctionType) -> Iterator[None]:
        """Give each example of a property test (hypothesis) a house of its own."""
        handle = getattr(function, "hypothesis", None)
        inner = getattr(handle, "inner_test", None)
        if handle is None or inner is None or "house" not in inspect.signature(inner).parameters:
            yield
            return

        @wraps(inner)
        def fresh(*given: object, **named: object) -> object:
            return inner(*given, **{**named, "house": self.house()})

        handle.inner_test = fresh
        try:
            yield
        finally:
            handle.inner_test = inner

    def line(self, name: str) -> int:
        """Return the line a test begins at."""
        function: Any = self.tests[name]
        inner = getattr(getattr(function, "hypothesis", None), "inner_test", function)
        return int(inspect.unwrap(inner).__code__.co_firstlineno)

    def run(self) -> Iterator[Trial]:
        """Run all tests, one after the other."""
        yield from map(self.trial, self.tests)

    def trial(self, name: str) -> Trial:
        """Run one test and say how it went."""
        started, message, line = time.perf_counter(), "", self.line(name)
        try:
            self.call(name)
        except USER_ERRORS as error:
            message = explain(error, str(self.file))
            line = line_of(error, str(self.file)) or line
        return Trial(str(self.file), name, line, not message, time.perf_counter() - started, message)


def explain(error: BaseException, file: str) -> str:
    """Say why a test failed: the line, and for a comparison what was on its left and right side."""
    if isinstance(error, BaseExceptionGroup) and error.exceptions:  # a property test that fails in several ways
        error = error.exceptions[0]
    line = line_of(error, file)
    source = linecache.getline(file, line or 0).strip()
    first = f"{file}:{line}: {source}" if source else file
    if isinstance(error, RuleFailed):
        return "\n".join([first, str(error), *getattr(error, "__notes__", [])])
    if not isinstance(error, AssertionError):
        return f"{first}\n{what(error)}\n" + "".join(traceback.format_tb(error.__traceback__)[-1:])
    notes = getattr(error, "__notes__", [])  # a property test says for which example
    return "\n".join([first, *([str(error)] if str(error) else []), *_sides(error, file), *notes])


def _sides(error: BaseException, file: str) -> list[str]:
    """Evaluate both sides of the comparison of a failed assert once more, where it failed."""
    trace, found = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            found = trace
        trace = trace.tb_next
    if found is None:
        return []
    return [f"  {label}: {text}" for label, text in _values(found, file)]


def _values(trace: TracebackType, file: str) -> Iterator[tuple[str, str]]:
    try:
        tree = ast.parse("".join(linecache.getlines(file)))  # the text that was run, whatever the file is by now
    except (SyntaxError, ValueError):
        return
    asserts = [n for n in ast.walk(tree) if isinstance(n, ast.Assert) and n.lineno <= trace.tb_lineno]
    node = max((n for n in asserts if (n.end_lineno or 0) >= trace.tb_lineno), key=lambda n: n.lineno, default=None)
    if node is None or not isinstance(node.test, ast.Compare):
        return
    frame = trace.tb_frame
    for side in (node.test.left, *node.test.comparators):
        if isinstance(side, ast.Constant):
            continue
        try:
            value = eval(compile(ast.Expression(side), file, "eval"), frame.f_globals, frame.f_locals)  # noqa: S307
        except USER_ERRORS:
            continue
        if ast.unparse(side) != repr(value):
            yield ast.unparse(side), repr(value)[:VALUE_CHARS_MAX]
