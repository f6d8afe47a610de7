"""Loads a folder of rule files: what they declare, every fault with file:line, and which events they want to see.

Each ``rules/*.py`` is read, compiled and run by itself; helper modules lie in ``rules/lib`` (``from lib import sun``).
A file with a fault is left out as a whole and never stops the others.  Names starting with ``_`` are skipped.
"""

from __future__ import annotations

import ast
import hashlib
import re
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType, ModuleType
from typing import Protocol

from gateway.errors import Fault, probably_meant
from gateway.profiles.vocabulary import CONTACT_KINDS, KIND_OF_CLASS, event_types
from gateway.rules import api
from gateway.rules.checks import check_names, check_tree
from gateway.rules.definition import Declared, EventRule
from gateway.rules.faults import USER_ERRORS, line_of, what
from gateway.rules.house import OFFLINE, ONLINE, House, field_name
from gateway.rules.protocol import DeviceEntry, RuleInfo

FILES_MAX = 500
FILE_BYTES_MAX = 256 * 1024
LOAD_S_MAX = 5.0  # for a file's top level, when a person waits for it
MODULES = "edge_gateway_rules"  # the package rule files are modules of
ALWAYS_WANTED = ("timer_fired", "rules_loaded", "mode_changed", OFFLINE, ONLINE)

_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")
_DYNAMIC = frozenset({"getattr", "vars", "fields", "__dict__", "__getattribute__"})
_UNEXPECTED = re.compile(r"(\w+)\(\) got an unexpected keyword argument '(\w+)'")
_LATER = frozenset({"between", "days", "debounce", "over", "after", "within", "escalate"})


@dataclass
class Loaded:
    """What a folder of rules holds."""

    definitions: list[Declared] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)  # each leaves a file out
    hints: list[Fault] = field(default_factory=list)  # worth a look
    modules: dict[str, ModuleType] = field(default_factory=dict)  # by file, also of files with faults in arguments
    fields: frozenset[str] | None = frozenset()  # names of fields rules may read; None: any
    hash: str = ""

    @property
    def rules(self) -> list[RuleInfo]:
        """The rules in the order of their index."""
        return [RuleInfo(d.name, d.title, d.trigger, d.file, d.line) for d in self.definitions]

    @property
    def types(self) -> frozenset[str]:
        """The event types rules react to."""
        wanted = {name for d in self.definitions if isinstance(d, EventRule) for name in d.types}
        return frozenset(wanted).union(ALWAYS_WANTED)


def rule_files(folder: Path) -> list[Path]:
    """Return the rule files of a folder, sorted."""
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith(("_", ".")))


def load(
    folder: Path,
    *,
    house: House | None = None,
    modes: Sequence[str] = (),
    types: Collection[str] = (),
    excluded: Mapping[str, tuple[int, str]] | None = None,
    before: Callable[[str], None] = lambda _: None,
    files: Sequence[Path] | None = None,
    limit_s: float = 0,
) -> Loaded:
    """Load all files of a folder (or some).

    house     devices and rooms to check names against, unless it knows none
    modes     the modes there are, unless empty
    types     event types that are known; others get a hint
    excluded  files not to run: line, and why
    before    is called with each file that is about to be run
    limit_s   for the top level of a file, where nobody else watches; 0 is none
    """
    loaded = Loaded()
    paths = rule_files(folder) if files is None else list(files)
    if len(paths) > FILES_MAX:
        loaded.faults.append(Fault(folder, None, f"more than {FILES_MAX} rule files"))
        paths = paths[:FILES_MAX]
    _forget_modules(folder)
    digest = hashlib.blake2b(digest_size=8)
    read: set[str] | None = set()
    taken: dict[str, Declared] = {}
    for path in [*sorted((folder / "lib").rglob("*.py")), *paths]:
        source = _read(path, loaded)
        if source is None:
            continue
        digest.update(path.name.encode() + b"\0" + source + b"\0")
        tree = _parse(path, source, loaded)
        if tree is None:
            continue
        names = _names_read(tree)
        read = None if names is None or read is None else read | names
        if path not in paths:
            continue
        if excluded and str(path) in excluded:
            loaded.faults.append(Fault(str(path), *excluded[str(path)], "edit the file to have it tried again"))
            continue
        before(str(path))
        with time_limit(limit_s):
            collector, module = _run(path, tree)
        if module is not None:
            loaded.modules[str(path)] = module
        faults = collector.faults + _doubles(collector.declared, taken)
        if module is not None:
            names_faults, hints = check_names(collector.declared, house, modes, types)
            faults += names_faults + check_tree(tree, str(path), house, modes)
            loaded.hints += hints
        loaded.faults += sorted(faults, key=lambda fault: fault.line or 0)
        if not faults:
            mark = hashlib.blake2b(source, digest_size=4).hexdigest()
            for declared in collector.declared:
                taken[declared.name] = replace(declared, actor=f"rule:{declared.name}@{mark}")
    loaded.definitions = [replace(declared, index=place) for place, declared in enumerate(taken.values())]
    loaded.fields = None if read is None else frozenset(read | {field_name(name) for name in read})
    loaded.hash = digest.hexdigest()
    return loaded


def _read(path: Path, loaded: Loaded) -> bytes | None:
    try:
        source = path.read_bytes()
    except OSError as error:
        loaded.faults.append(Fault(str(path), None, f"can't be read: {error.strerror}"))
        return None
    if len(source) > FILE_BYTES_MAX:
        loaded.faults.append(Fault(str(path), None, f"larger than {FILE_BYTES_MAX} bytes"))
        return None
    return source


def _parse(path: Path, source: bytes, loaded: Loaded) -> ast.Module | None:
    try:
        return ast.parse(source, str(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        text = error.msg if isinstance(error, SyntaxError) else what(error)
        loaded.faults.append(Fault(str(path), getattr(error, "lineno", None), f"not Python: {text}"))
        return None


def _run(path: Path, tree: ast.Module) -> tuple[api.Collector, ModuleType | None]:
    """Run a file's top level; without a module if that raised."""
    collector = api.Collector(str(path))
    module = ModuleType(f"{MODULES}.{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        with api.collecting(collector):
            exec(compile(tree, str(path), "exec", dont_inherit=True), vars(module))  # noqa: S102 - that is what a rule file is
    except USER_ERRORS as error:
        collector.fault(line_of(error, str(path)) or 1, *_explained(error))
        return collector, None
    return collector, module


def _explained(error: BaseException) -> tuple[str, str | None]:
    """Say what an error at a file's top level means."""
    found = _UNEXPECTED.match(str(error)) if isinstance(error, TypeError) else None
    decorator = getattr(api, found[1], None) if found else None
    if found is None or decorator is None:
        return what(error), None
    if found[2] in _LATER:
        return f"@{found[1]} has no argument {found[2]!r} in this version", None
    arguments = list(api.rule.__kwdefaults__ or ()) if found[1] == "rule" else ["clear"]
    return f"@{found[1]} has no argument {found[2]!r}", probably_meant(found[2], arguments)


def _doubles(declared: Sequence[Declared], taken: Mapping[str, Declared]) -> list[Fault]:
    """Return faults for names that exist already: state and timers are kept by name."""
    faults: list[Fault] = []
    here: dict[str, Declared] = {}
    for definition in declared:
        other = taken.get(definition.name) or here.get(definition.name)
        if other is not None:
            text = f"there is a rule {definition.name!r} already, at {other.file}:{other.line}"
            faults.append(
                Fault(definition.file, definition.line, text, "rules are known by their names: choose another")
            )
        here[definition.name] = definition
    return faults


def _names_read(tree: ast.Module) -> set[str] | None:
    """Return every name that may be a field the code reads: attributes, texts, keywords; None if it may be any."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.keyword) and node.arg:
            names.add(node.arg)
        elif isinstance(node, ast.Name) and node.id in _DYNAMIC:
            return None
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _FIELD.fullmatch(node.value):
            names.add(node.value)
    return None if names & _DYNAMIC else names


def _forget_modules(folder: Path) -> None:
    """Make `lib` the one of this folder, read anew."""
    for name in [name for name in sys.modules if name == "lib" or name.startswith(("lib.", f"{MODULES}."))]:
        del sys.modules[name]
    sys.modules[MODULES] = ModuleType(MODULES)
    others = [path for path in sys.path if path not in _added]
    sys.path[:] = [*others, str(folder)]
    _added.add(str(folder))


_added: set[str] = set()


class _Installed(Protocol):
    """What `inspect` reads of a device of devices.toml."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def room(self) -> str: ...
    @property
    def kind(self) -> str | None: ...
    @property
    def labels(self) -> Sequence[str]: ...


def entries(devices: Iterable[_Installed]) -> list[DeviceEntry]:
    """Return the devices of devices.toml as rules get them."""
    return [DeviceEntry(d.id, d.name, d.room, d.kind or "", tuple(d.labels)) for d in devices]


def inspect(folder: Path, devices: Iterable[_Installed] = (), modes: Sequence[str] = ()) -> Loaded:
    """Load a folder to see what is wrong with it: `check`, `rules list`. Runs the files' top level in this process."""
    house = House(entries(devices), {})
    return load(folder, house=house, modes=modes, types=known_types(), limit_s=LOAD_S_MAX)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in what runs longer: on the main thread of a Unix, and as far as it lets itself be stopped."""
    if not seconds or not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal's signature
        raise TimeoutError(f"did not end within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    others = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *others)


def known_types() -> frozenset[str]:
    """Return the event types profiles raise, for every kind a device may have."""
    kinds = CONTACT_KINDS | set(KIND_OF_CLASS.values())
    return frozenset(name.format(kind=kind) for name in event_types() for kind in (kinds if "{" in name else ("",)))
