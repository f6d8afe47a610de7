"""docs/reference/rules.md: the catalogue of rules, made from their docstrings, decorators and tests."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from gateway.cli.rules.catalogue import FOLDER, Shipped, shipped
from gateway.rules.files.loader import Loaded, load, tests_in
from gateway.rules.language.definition import Declared, Timer

HEAD = """# Rules to choose from

Made from the files in `rules/catalogue/` by `python -m gateway.cli.reference docs/reference`; a test fails when it is
stale. None of them runs until you take it: `edge-gateway rules new NAME` puts a copy into your rules, with its tests.
Then it is yours: what is likely to be changed stands at its top. A second one, under a name of your own:
`edge-gateway rules new MY_NAME --template NAME`. How rules are written: [write a rule](../guides/write-a-rule.md).

"""


def rules_page() -> str:
    """Write docs/reference/rules.md."""
    loaded = load(FOLDER)
    found = shipped()
    contents = [f"* [{each.name}](#{each.name}): {each.title}" for each in found.values()]
    parts = [HEAD, "\n".join(contents), "\n\n", *(_section(each, loaded) for each in found.values())]
    return "".join(parts).rstrip() + "\n"


def _section(each: Shipped, loaded: Loaded) -> str:
    file = str(each.file)
    rules = [rule for rule in loaded.definitions if rule.file == file]
    module = loaded.modules[file]
    numbers = list(_numbers(each))
    lines = [
        f"## {each.name}", "", each.title, "",
        f"* **Needs** {each.needs}", f"* **Change** {each.change}", "",
        *(["At its top:", "", "```python", *numbers, "```", ""] if numbers else []),
        "| rule | runs | what it does |", "|---|---|---|", *(_row(rule) for rule in rules), "",
        "Its tests:", "", *(f"* {_first(test)}" for test in tests_in(module).values()), "",
        f"Take it: `edge-gateway rules new {each.name}` ([source](../../rules/catalogue/{each.name}.py))", "", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _numbers(each: Shipped) -> Iterator[str]:
    """Yield the lines at a file's top that name its numbers and names."""
    for line in each.file.read_text(encoding="utf-8").splitlines():
        name, equals, _ = line.partition(" = ")
        if equals and name.replace(", ", "").replace("_", "").isupper():
            yield line


def _row(rule: Declared) -> str:
    runs = (
        "when another one starts it"
        if isinstance(rule, Timer)
        else rule.trigger.replace(" | ", "|").replace("|", " or ")
    )
    return f"| `{rule.name}` | {runs} | {_first(rule.run)} |"


def _first(function: object) -> str:
    """Return the first paragraph of a docstring in one line."""
    return (inspect.getdoc(function) or "").partition("\n\n")[0].replace("\n", " ")
