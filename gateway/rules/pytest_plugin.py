"""A pytest plugin: `pytest rules/` runs what `edge-gateway rules test` runs, with the same words about what failed.

* Rule files below a folder `rules` (also when pytest is pointed at one): each ``test_...(house)`` in them is a test.
* ``rules_modes`` in pytest's configuration names the modes of the house, where they are not the usual ones.
* Tests in files of their own get `house`, with all rules of the nearest folder `rules` (or only some, with
  ``@pytest.mark.rules("left_open.py")``), and `houses`: a function that makes houses, for property tests.

The one module of the gateway that imports pytest; loaded by its entry point ``pytest11``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.rules.desk.trials import Suite, explain
from gateway.rules.files.loader import LOAD_S_MAX, load
from gateway.rules.testing import MODES_OF_TESTS, RuleFailed, SimulatedHouse

FOLDER = "rules"
MODES = "rules_modes"
HEAD_BYTES = 64 * 1024  # of a file, in which it imports what makes it one of rules
_IMPORTS = re.compile(rb"^\s*(?:from|import)\s+gateway\.rules\b", re.MULTILINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the option of pytest's own configuration file."""
    parser.addini(MODES, "the modes of the house in rule tests, as in [rules] of gateway.toml", "args", [])


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers", "rules(*files): the rule files of the `house` fixture; default: all of the folder"
    )


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Generator[None, Any, Any]:
    """Collect a rule file as one, in the place of whoever else would."""
    found: Any = yield
    return [RuleFile.from_parent(parent, path=file_path)] if is_rule_file(file_path) else found


def is_rule_file(path: Path) -> bool:
    """Return whether a file is one of rules: in a folder `rules` that is no package, and it imports gateway.rules."""
    if path.suffix != ".py" or path.name.startswith(("_", ".", "test_")) or path.name == "conftest.py":
        return False
    below = [each for each in path.parents if each.name == FOLDER]
    if not below or (path.parent / "__init__.py").exists() or "lib" in path.relative_to(below[0]).parts[:-1]:
        return False
    try:
        with path.open("rb") as file:
            return _IMPORTS.search(file.read(HEAD_BYTES)) is not None
    except OSError:
        return False


class RuleFile(pytest.File):
    """A rule file and the tests it carries."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield its tests; a fault is an error of collection, with file:line and what was probably meant."""
        suite = Suite(self.path, modes=_modes(self.config))
        if suite.faults:
            raise self.CollectError("\n".join(map(str, suite.faults)))
        for name in suite.tests:
            yield RuleTest.from_parent(self, name=name, suite=suite)


class RuleTest(pytest.Item):
    """One test of a rule file."""

    def __init__(self, *, suite: Suite, **about: Any) -> None:
        super().__init__(**about)
        self._suite = suite

    def runtest(self) -> None:
        """Run it in a house of its own."""
        self._suite.call(self.name)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:  # noqa: ARG002
        """Say why it failed, as `rules test` does."""
        return explain(excinfo.value, str(self.path))

    def reportinfo(self) -> tuple[Path, int, str]:
        """Say where it is."""
        return self.path, self._suite.line(self.name) - 1, self.name


@pytest.fixture
def house(request: pytest.FixtureRequest) -> SimulatedHouse:
    """Return a house with the rules of the nearest folder `rules`, on a clock of its own."""
    marker = request.node.get_closest_marker("rules")
    return _house(_folder(request), marker.args if marker is not None else (), _modes(request.config))


@pytest.fixture(scope="session")
def houses(request: pytest.FixtureRequest) -> Callable[..., SimulatedHouse]:
    """Return a function that makes a house with the rules of some files, or of all: one for each example."""
    folder, modes = _folder(request), _modes(request.config)

    def make(*files: str) -> SimulatedHouse:
        return _house(folder, files, modes)

    return make


def _folder(request: pytest.FixtureRequest) -> Path:
    """Find the rules: around the test, beside it, or in the root."""
    start = getattr(request, "path", None) if request.scope == "function" else None
    start = start or request.config.rootpath
    around = [start, *Path(start).parents]
    found = [each for each in around if each.name == FOLDER and each.is_dir()]
    beside = [each / FOLDER for each in around if (each / FOLDER).is_dir()]
    for folder in (*found, *beside):
        return folder
    raise RuleFailed(f"there is no folder {FOLDER!r} around {start}")


def _modes(config: pytest.Config) -> tuple[str, ...]:
    return tuple(config.getini(MODES))


def _house(folder: Path, files: tuple[str, ...], modes: tuple[str, ...]) -> SimulatedHouse:
    paths = [folder / name for name in files]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise RuleFailed(f"there is no file {missing[0]}")
    loaded = load(folder, files=paths or None, modes=modes, limit_s=LOAD_S_MAX)
    if loaded.faults:
        raise RuleFailed("\n".join(map(str, loaded.faults)))
    return SimulatedHouse(loaded, modes=modes or MODES_OF_TESTS)
