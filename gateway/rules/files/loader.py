"""Loads a folder of rule files: what they declare, every fault with file:line, and which events they want to see.

Each ``rules/*.py`` is compiled and run by itself; helper modules lie in ``rules/lib`` (``from lib import sun``).
A file with a fault is left out as a whole and never stops the others.  Names starting with ``_`` are skipped.
All bytes come from a snapshot, so what a worker loads, tests and shows in a stack is one version of each file.
"""

from __future__ import annotations

import ast
import linecache
import re
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType, FunctionType, ModuleType
from typing import Protocol

from gateway.errors import Fault, probably_meant
from gateway.profiles.vocabulary import CONTACT_KINDS, KIND_OF_CLASS, event_types
from gateway.rules.engine.overrides import ANSWERS
from gateway.rules.files import library, snapshot
from gateway.rules.files.checks import check_names, check_tree
from gateway.rules.language import api, declaring, gates
from gateway.rules.language.acting import Acting
from gateway.rules.language.definition import Declared, EventRule, Gate
from gateway.rules.language.faults import USER_ERRORS, line_of, line_within, what
from gateway.rules.language.house import OFFLINE, ONLINE, House, field_name
from gateway.rules.language.inputs import CHANGED as INPUT_CHANGED
from gateway.rules.language.recipients import Recipients
from gateway.rules.protocol import DOUBLE, NOT_PYTHON, DeviceEntry, GateInfo, RuleInfo
from gateway.rules.records import HTTP_ANSWERED
from gateway.rules.walls.fence import fenced

TEST_PREFIX = "test_"
LOAD_S_MAX = 5.0  # for a file's top level, when a person waits for it
MODULES = "edge_gateway_rules"  # the package rule files are modules of
ALWAYS_WANTED = (
    *("timer_fired", "rules_loaded", "clock_set", "acknowledge_requested", "mode_changed", OFFLINE, ONLINE),
    *("rule_disabled", "rule_enabled"),
    *(INPUT_CHANGED, HTTP_ANSWERED, *sorted(ANSWERS)),
)

_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")
_DYNAMIC = frozenset({"getattr", "vars", "fields", "__dict__", "__getattribute__"})
_UNEXPECTED = re.compile(r"(\w+)\(\) got an unexpected keyword argument '(\w+)'")


@dataclass
class Loaded:
    """What a folder of rules holds."""

    definitions: list[Declared] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)  # each leaves a file out
    hints: list[Fault] = field(default_factory=list)  # worth a look
    modules: dict[str, ModuleType] = field(default_factory=dict)  # by file, also of files with faults in arguments
    fields: frozenset[str] | None = frozenset()  # names of fields rules may read; None: any
    uses: dict[str, set[str]] = field(default_factory=dict)  # by file: what of lib it depends on; names in the folder
    hash: str = ""
    recipients: Recipients = field(default_factory=Recipients)
    acting: Acting | None = None

    @property
    def rules(self) -> list[RuleInfo]:
        """The rules in the order of their index."""
        return [RuleInfo(d.name, d.title, d.trigger, d.file, d.line, d.actor) for d in self.definitions]

    @property
    def gates(self) -> list[GateInfo]:
        """The gates: which events are to be held for them."""
        gates = (definition for definition in self.definitions if isinstance(definition, Gate))
        return [
            GateInfo(g.name, g.types, s.device, s.room, s.kind, s.label, g.fail == "closed", Path(g.file).name)
            for g in gates
            for s in (g.selector,)
        ]

    @property
    def types(self) -> frozenset[str]:
        """The event types rules react to."""
        rules = (definition for definition in self.definitions if isinstance(definition, EventRule))
        wanted = {name for rule in rules for view in rule.views for name in view.types}
        return frozenset(wanted).union(ALWAYS_WANTED)


def rule_files(folder: Path) -> list[Path]:
    """Return the rule files of a folder, sorted."""
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith(("_", ".")))


def load(
    folder: Path,
    *,
    source: Mapping[str, bytes] | None = None,
    house: House | None = None,
    modes: Sequence[str] = (),
    types: Collection[str] = (),
    recipients: Recipients | None = None,
    acting: Acting | None = None,
    excluded: Mapping[str, tuple[int, str]] | None = None,
    before: Callable[[str], None] = lambda _: None,
    files: Sequence[Path] | None = None,
    last: Collection[str] = (),
    limit_s: float = 0,
    located: bool = True,
) -> Loaded:
    """Load all files of a folder (or some).

    source    the files' bytes by their names below the folder; None reads them
    house     devices and rooms to check names against, unless it knows none
    modes     the modes there are, unless empty
    types     event types that are known; others get a hint
    recipients  who can be told; None: nobody knows
    acting    which inputs and web services there are; None: nobody knows
    excluded  files not to run: line, and why
    before    is called with each file that is about to be run
    files     only these rule files
    last      names of files to be run after the others: when two rules have one name, theirs is the fault
    limit_s   for the top level of a file, where nobody else watches; 0 is none
    located   whether it is known where the house is, which the sun needs
    """
    loaded = Loaded(recipients=recipients or Recipients(), acting=acting)
    if source is None:
        found = snapshot.read(folder)
        chosen = None if files is None else {path.name for path in files}
        source = {name: each for name, each in found.files.items() if chosen is None or "/" in name or name in chosen}
        loaded.faults += [fault for name, fault in found.faults.items() if chosen is None or name in chosen]
        if chosen is not None:  # a draft or a file of any name, when it is asked for
            source |= _read_others(folder, chosen - set(source) - set(found.faults), loaded)
    trees = {name: _parse(str(folder / name), source[name], loaded) for name in sorted(source) if name != snapshot.LOCK}
    direct = {name: set[str]() if tree is None else library.imported(name, tree) for name, tree in trees.items()}
    loaded.uses = library.closure(trees, direct)
    _make_way(folder, source)
    rules = sorted((name for name in trees if snapshot.is_rule_file(name)), key=lambda name: (name in last, name))
    by_file: dict[str, list[Declared]] = {}
    taken: dict[str, Declared] = {}
    for name in rules:
        path, tree = str(folder / name), trees[name]
        if tree is None:
            continue
        if excluded and path in excluded:
            loaded.faults.append(Fault(path, *excluded[path], "edit the file to have it tried again"))
            continue
        before(path)
        with time_limit(limit_s), fenced(folder) if limit_s else nullcontext():  # nobody else fences them in
            collector, module = _run(path, tree, folder)
        if module is not None:
            loaded.modules[path] = module
        faults = collector.faults + _doubles(collector.declared, taken)
        if module is not None:
            names_faults, hints = check_names(collector.declared, house, modes, types, located=located, acting=acting)
            faults += names_faults + check_tree(tree, path, house, modes, recipients, acting)
            loaded.hints += hints
        loaded.faults += sorted(faults, key=lambda fault: fault.line or 0)
        if not faults:
            mark = _mark(source, name, loaded.uses[name])
            by_file[name] = [replace(declared, actor=f"rule:{declared.name}@{mark}") for declared in collector.declared]
            taken |= {declared.name: declared for declared in by_file[name]}
    definitions = [declared for name in sorted(by_file) for declared in by_file[name]]
    loaded.definitions = [replace(declared, index=place) for place, declared in enumerate(definitions)]
    loaded.fields = _fields(trees.values())
    loaded.hash = snapshot.digest(source)
    return loaded


def _read_others(folder: Path, names: Collection[str], loaded: Loaded) -> dict[str, bytes]:
    """Read files that are asked for by name."""
    found: dict[str, bytes] = {}
    for name in sorted(names):
        try:
            found[name] = snapshot.read_file(folder / name)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            loaded.faults.append(Fault(str(folder / name), None, f"can't be read: {reason}"))
    return found


def _mark(source: Mapping[str, bytes], name: str, uses: Collection[str]) -> str:
    """Return what tells this version of a file from others: its text, and the texts of what it imports."""
    return snapshot.digest({each: source[each] for each in (name, *uses) if each in source})[:8]


def _fields(trees: Iterable[ast.Module | None]) -> frozenset[str] | None:
    """Return the names of fields that files may read, or None for any."""
    read: set[str] = set()
    for tree in trees:
        names = set[str]() if tree is None else _names_read(tree)
        if names is None:
            return None
        read |= names
    return frozenset(read | {field_name(name) for name in read})


def _parse(path: str, source: bytes, loaded: Loaded) -> ast.Module | None:
    try:
        return ast.parse(source, path)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        text = error.msg if isinstance(error, SyntaxError) else what(error)
        loaded.faults.append(Fault(path, getattr(error, "lineno", None), f"{NOT_PYTHON}{text}"))
        return None


def _run(path: str, tree: ast.Module, folder: Path) -> tuple[declaring.Collector, ModuleType | None]:
    """Run a file's top level; without a module if that raised."""
    collector = declaring.Collector(path)
    module = ModuleType(f"{MODULES}.{Path(path).stem}")
    module.__file__ = path
    sys.modules[module.__name__] = module
    try:
        with declaring.collecting(collector):
            exec(compile(tree, path, "exec", dont_inherit=True), vars(module))  # noqa: S102 - that is what a rule file is
    except USER_ERRORS as error:
        within = line_within(error, str(folder / snapshot.LIB))
        said, hint = _explained(error)
        if within is not None:
            said += f" (at {within[0]}:{within[1]})"
        collector.fault(line_of(error, path) or 1, said, hint)
        return collector, None
    return collector, module


def _explained(error: BaseException) -> tuple[str, str | None]:
    """Say what an error at a file's top level means."""
    found = _UNEXPECTED.match(str(error)) if isinstance(error, TypeError) else None
    decorator = getattr(gates if found[1] == "gate" else api, found[1], None) if found else None
    if found is None or decorator is None:
        return what(error), None
    arguments = list(decorator.__kwdefaults__ or ())
    return f"@{found[1]} has no argument {found[2]!r}", probably_meant(found[2], arguments)


def tests_in(module: ModuleType) -> dict[str, FunctionType]:
    """Return the tests a rule file carries, by name."""
    return {
        name: function
        for name, function in vars(module).items()
        if name.startswith(TEST_PREFIX) and isinstance(function, FunctionType)
    }


def _doubles(declared: Sequence[Declared], taken: Mapping[str, Declared]) -> list[Fault]:
    """Return faults for names that exist already: state and timers are kept by name."""
    faults: list[Fault] = []
    here: dict[str, Declared] = {}
    for definition in declared:
        other = taken.get(definition.name) or here.get(definition.name)
        if other is not None:
            text = f"{DOUBLE}{definition.name!r} already, at {other.file}:{other.line}"
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


def _make_way(folder: Path, source: Mapping[str, bytes]) -> None:
    """Make `lib` the one of these files, and stacks show their lines."""
    for name in [name for name in sys.modules if name.startswith(f"{MODULES}.")]:
        del sys.modules[name]
    sys.modules[MODULES] = ModuleType(MODULES)
    library.Library(folder, source).put_in_place()
    for name, each in source.items():
        lines = each.decode(errors="replace").splitlines(keepends=True)
        linecache.cache[str(folder / name)] = (len(each), None, lines, str(folder / name))


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
