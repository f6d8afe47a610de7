"""`from lib import sun`: modules of rules/lib, imported from the bytes that were read, and who imports which.

A finder serves ``lib`` and what is below it from memory, so that a file that is saved while rules are loaded is not
half of one version and half of the next, and a worker without a file system can import it.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from gateway.rules.files.snapshot import LIB

_UNKNOWN = frozenset({"importlib", "__import__", "import_module"})  # whoever names these may import anything


class Library(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and runs the modules of `lib`. One at a time is in use: `put_in_place` replaces the one before."""

    def __init__(self, folder: Path, files: Mapping[str, bytes]) -> None:
        self._folder = folder
        self._files = {name: source for name, source in files.items() if name.startswith(f"{LIB}/")}

    def put_in_place(self) -> None:
        """Make `lib` this one; modules of another are forgotten."""
        for name in [name for name in sys.modules if name == LIB or name.startswith(f"{LIB}.")]:
            del sys.modules[name]
        sys.meta_path[:] = [self, *(finder for finder in sys.meta_path if not isinstance(finder, Library))]

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the finder's protocol
        target: ModuleType | None = None,  # noqa: ARG002 - the finder's protocol
    ) -> importlib.machinery.ModuleSpec | None:
        """Find a module of `lib`; anything else is somebody else's."""
        if fullname != LIB and not fullname.startswith(f"{LIB}."):
            return None
        base = fullname.replace(".", "/")
        package = f"{base}/__init__.py"
        name = package if package in self._files else f"{base}.py"
        is_package = name == package or any(each.startswith(f"{base}/") for each in self._files)
        if name not in self._files and not is_package:
            return None
        origin = str(self._folder / name)
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=origin, is_package=is_package)
        spec.loader_state = name
        spec.has_location = name in self._files
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:  # noqa: ARG002 - the protocol
        """Let the interpreter make the module."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run a module's code; a folder without ``__init__.py`` has none."""
        spec = module.__spec__
        assert spec is not None
        source = self._files.get(str(spec.loader_state))
        if source is not None:
            exec(compile(source, spec.origin or "", "exec", dont_inherit=True), vars(module))  # noqa: S102 - an import


def imported(name: str, tree: ast.Module) -> set[str] | None:
    """Return the files of `lib` that a file may import itself, whether they are there or not; None: any of them."""
    package = name.split("/")[:-1]
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package[: len(package) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            modules.add(base)
            modules.update(f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Name) and node.id in _UNKNOWN:
            return None
    if modules & _UNKNOWN:
        return None
    return {file for module in modules for file in _files_of(module)}


def _files_of(module: str) -> Iterator[str]:
    """Yield the files a dotted name may be in: its own and those of the packages around it."""
    parts = module.split(".")
    if parts[0] != LIB:
        return
    for end in range(1, len(parts) + 1):
        base = "/".join(parts[:end])
        yield f"{base}/__init__.py"
        if end > 1:
            yield f"{base}.py"


def closure(names: Iterable[str], direct: Mapping[str, set[str] | None]) -> dict[str, set[str]]:
    """Return for each file everything of `lib` it depends on, over any number of steps.

    direct   what each file imports itself; None for any
    """
    library = {name for name in direct if name.startswith(f"{LIB}/")}
    found: dict[str, set[str]] = {}
    for name in names:
        reached: set[str] = set()
        todo = [name]
        while todo:
            imports = direct.get(todo.pop(), set())
            new = (library if imports is None else imports) - reached
            reached |= new
            todo += new & library
        found[name] = reached
    return found
