"""The rules of the house as functions over a folder, so that a test can show each of them failing.

Every finding is one line, ``file:line: what is wrong; what to do``. Standard library only.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One Python file: its path in the checkout, its dotted name inside its top folder, text and tree."""

    path: str
    name: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The folder below the top folder, or the module's own name when it stands alone."""
        return self.name.split(".")[0]


def read(root: Path, top: str) -> dict[str, Module]:
    """Read every Python file below `root`/`top`, by its dotted name there ("" is the package itself)."""
    modules = {}
    for path in sorted((root / top).rglob("*.py")):
        parts = path.relative_to(root / top).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        text = path.read_text(encoding="utf-8")
        name = ".".join(parts)
        modules[name] = Module(str(path.relative_to(root)), name, text, ast.parse(text, str(path)))
    return modules


def _only_for_types(tree: ast.Module) -> set[int]:
    blocks = (n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test))
    return {id(child) for block in blocks for statement in block.body for child in ast.walk(statement)}


def imports(module: Module) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of everything a module imports at run time."""
    skipped = _only_for_types(module.tree)
    for node in ast.walk(module.tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            stem = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{stem}.{alias.name}") for alias in node.names)


def edges(modules: dict[str, Module], top: str) -> Iterator[tuple[Module, int, Module]]:
    """Yield (importer, line, imported) for imports inside `top`; the package's own file is left out."""
    for module in modules.values():
        for line, target in imports(module):
            first, *rest = target.split(".")
            while rest and ".".join(rest) not in modules:
                rest.pop()
            if first == top and rest and ".".join(rest) != module.name:
                yield module, line, modules[".".join(rest)]


def upward(
    modules: dict[str, Module], top: str, rows: list[set[str]], strangers: set[tuple[str, str]]
) -> Iterator[str]:
    """Find imports that do not point to a row further up, and modules without a row."""
    row_of = {room: i for i, row in enumerate(rows) for room in row}
    for module in modules.values():
        if module.name and module.room not in row_of:
            yield f"{module.path}:1: {module.room!r} has no layer; give it one in LAYERS (tests/test_house.py)"
        for line, target in imports(module):
            if target.startswith("."):
                yield f"{module.path}:{line}: relative import; write the whole name"
    for importer, line, imported in edges(modules, top):
        here, there = importer.room, imported.room
        if here == there or here not in row_of or there not in row_of:
            continue
        if (here, there) in strangers:
            yield f"{importer.path}:{line}: {here} must not know {there}; let pipeline.py or daemon.py join them"
        elif row_of[there] > row_of[here] or (row_of[there] == row_of[here] > 0):
            yield f"{importer.path}:{line}: {here} imports {there}, which is not above it; pass it in from above"


def cycles(modules: dict[str, Module], top: str) -> Iterator[str]:
    """Find circles of imports (depth first; the last import of the circle is named)."""
    graph: dict[str, list[tuple[int, str]]] = {name: [] for name in modules}
    for importer, line, imported in edges(modules, top):
        graph[importer.name].append((line, imported.name))
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> Iterator[str]:
        for line, target in graph[name]:
            if target in path:
                circle = " -> ".join([*path[path.index(target) :], target])
                yield f"{modules[name].path}:{line}: import cycle {circle}; move what both need to a module above"
            elif target not in done:
                yield from visit(target, [*path, target])
        done.add(name)

    for name in graph:
        if name not in done:
            yield from visit(name, [name])


def impure(modules: dict[str, Module], pure: Iterable[str], shells: set[str], forbidden: set[str]) -> Iterator[str]:
    """Find imports of the outside world in rooms that only decide."""
    pure = tuple(pure)
    for module in modules.values():
        if module.name in shells or not any(module.name == p or module.name.startswith(f"{p}.") for p in pure):
            continue
        for line, target in imports(module):
            if target.split(".")[0] in forbidden:
                yield f"{module.path}:{line}: a pure module imports {target}; pass the value or a port in instead"


def net_lines(function: Function, lines: list[str]) -> int:
    """Count a function's lines without blanks, comments and its docstring."""
    body = (line.strip() for line in lines[function.lineno - 1 : function.end_lineno])
    return sum(1 for line in body if line and not line.startswith("#")) - _docstring_lines(function)


def _docstring_lines(function: Function) -> int:
    first = function.body[0]
    if ast.get_docstring(function) is None:
        return 0
    return (first.end_lineno or first.lineno) - first.lineno + 1


def functions(module: Module) -> Iterator[Function]:
    """Yield every function and method of a module, nested ones too."""
    return (node for node in ast.walk(module.tree) if isinstance(node, Function))


def too_long(modules: Iterable[Module], module_lines_max: int, function_lines_max: int) -> Iterator[str]:
    """Find modules and functions over their limit."""
    for module in modules:
        lines = module.text.splitlines()
        if len(lines) > module_lines_max:
            yield f"{module.path}:1: {len(lines)} lines, at most {module_lines_max}; split it by what changes together"
        for function in functions(module):
            net = net_lines(function, lines)
            if net > function_lines_max:
                where = f"{module.path}:{function.lineno}"
                yield f"{where}: {function.name} has {net} net lines, at most {function_lines_max}; split it"


def words(name: str) -> set[str]:
    """Split a snake_case or CamelCase name into lower-case words, plural s removed."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)
    return {part.lower() for part in parts} | {part.lower().removesuffix("s") for part in parts}


def empty_names(modules: Iterable[Module], banned: set[str]) -> Iterator[str]:
    """Find modules, classes and functions whose name says nothing."""
    for module in modules:
        found = [(1, module.name.split(".")[-1])]
        found += [(n.lineno, n.name) for n in ast.walk(module.tree) if isinstance(n, ast.ClassDef | Function)]
        for line, name in found:
            for word in words(name) & banned:
                yield f"{module.path}:{line}: {name}: {word!r} says nothing; name what it is or does (docs/glossary)"


def silent_modules(modules: Iterable[Module]) -> Iterator[str]:
    """Find modules that have code and no docstring."""
    for module in modules:
        if module.tree.body and ast.get_docstring(module.tree) is None:
            yield f"{module.path}:1: no docstring; say in one sentence what the module is for"


def acknowledgements(modules: Iterable[Module]) -> Iterator[str]:
    """Find every ``x.ack()``, and every ``x.ack`` kept for later; with arguments it is somebody else's function."""
    for module in modules:
        nodes = list(ast.walk(module.tree))
        others = {id(node.func) for node in nodes if isinstance(node, ast.Call) and (node.args or node.keywords)}
        for node in nodes:
            read = isinstance(node, ast.Attribute) and node.attr == "ack" and isinstance(node.ctx, ast.Load)
            if read and id(node) not in others:
                yield f"{module.path}:{node.lineno}: .ack"


def wordless_tests(modules: Iterable[Module]) -> Iterator[str]:
    """Find tests whose docstring is not one sentence."""
    for module in modules:
        for function in functions(module):
            claim = ast.get_docstring(function) or ""
            if function.name.startswith("test_") and (not claim.endswith((".", "?", "!")) or "\n\n" in claim):
                yield f"{module.path}:{function.lineno}: {function.name}: say its claim in one sentence (docstring)"


def unfinished(modules: Iterable[Module]) -> Iterator[str]:
    """Find what was left for later: marks in comments, NotImplementedError, tests that do not run."""
    for module in modules:
        for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
            if token.type == tokenize.COMMENT and (mark := re.search(r"\b(TODO|FIXME|XXX)\b", token.string)):
                yield f"{module.path}:{token.start[0]}: {mark[0]}; do it now or write an issue"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Name) and node.id == "NotImplementedError":
                yield f"{module.path}:{node.lineno}: NotImplementedError; leave the thing out until it works"
            left_out = isinstance(node, ast.Attribute) and node.attr in {"skip", "skipif", "xfail", "importorskip"}
            if left_out and ast.unparse(node).startswith("pytest."):
                yield f"{module.path}:{node.lineno}: a test that may not run proves nothing; make what it needs"


def tracked(root: Path) -> list[Path]:
    """Return the files that git tracks, or every file outside hidden folders where there is no git."""
    git = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=False)
    if git.returncode == 0:
        return [path for name in git.stdout.decode().split("\0") if name and (path := root / name).is_file()]
    inside = (path for path in root.rglob("*") if path.is_file())
    return [path for path in inside if not any(p.startswith(".") for p in path.relative_to(root).parts[:-1])]


def mentions(root: Path, pattern: re.Pattern[str], why: str) -> Iterator[str]:
    """Find lines of tracked text files that match `pattern`."""
    for path in tracked(root):
        raw = path.read_bytes()
        if b"\0" in raw:
            continue
        for number, line in enumerate(raw.decode("utf-8", "replace").splitlines(), 1):
            if found := pattern.search(line):
                yield f"{path.relative_to(root)}:{number}: {found[0]!r}; {why}"
