"""The rules of the house, as an ordinary test: which room may know which, how long things may get, what names say.

Limits: a module has at most 400 lines (of tests 700), a function 60 without blanks, comments and docstring. A module
imports only rooms of a row above its own; within the first row and within a room anything that makes no cycle.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests import house

MODULE_LINES_MAX = 400
TESTS_LINES_MAX = 700
FUNCTION_LINES_MAX = 60

LAYERS: list[set[str]] = [
    {
        "errors",
        "event",
        "topic",
        "units",
        "quantity",
        "document",
        "durable",
        "secrets",
        "clock",
        "identity",
        "certificates",
        "backoff",
        "progress",
        "codes",
        "actors",
        "owner",
        "logs",
    },  # vocabulary
    {"mqtt", "framing"},  # sans-io, but for mqtt's asyncio shell
    {"polling"},  # masters of buses, sans-io
    {"profiles", "journal"},
    {"importers"},
    {"sources", "rules", "targets", "history", "blobs"},
    {"routes", "gates", "letters", "last_values"},
    {"forward", "commands", "notify", "offers"},
    {"replay"},
    {"audit"},
    {"pipeline"},  # the one path: sees every stage
    {"config"},  # assembles everybody's options
    {"service", "api", "stages"},
    {"bundles"},  # configurations that travel
    {
        "belonging",
        "clock_watch",
        "bench",
        "installation",
    },
    {"health"},  # how a running gateway is, and who is told
    {"assembly"},  # the parts of a gateway, made from its config
    {"reload"},  # all of it made anew, part by part
    {"answers", "doctor"},
    {"support"},  # what doctor saw and more, for somebody else, without secrets
    {"daemon"},  # builds everything
    {"cli"},
    {"__main__"},
]
STRANGERS = {("journal", "mqtt"), ("sources", "journal"), ("targets", "profiles"), ("profiles", "mqtt")}
PURE = (
    *(
        "event",
        "topic",
        "certificates",
        "units",
        "quantity",
        "document",
        "mqtt",
        "profiles",
        "framing",
        "polling",
        "importers",
    ),
    *("journal.record", "journal.block", "rules.engine"),
)
SHELLS = {
    "mqtt.connection",
    "mqtt.tls",
    "mqtt.link",
    "mqtt.socket_link",
    "mqtt.via_paho",
}  # in a pure room, moving the bytes
OUTSIDE_WORLD = {"asyncio", "socket", "os", "time", "threading", "subprocess"}
BANNED = {"util", "helper", "manager", "common", "misc", "base", "handler", "stuff", "processor"}

ROOT = Path(__file__).parent.parent
# Each with a letter in brackets, so that this file does not mention what it looks for.
REGISTRIES = re.compile(r"py[p]i\.org|python[h]osted|pi[w]heels|npm[j]s|crates[.]io")
PLACES = re.compile(r"(?<![\w.~-])/(?:roo[t]|wor[k]|tmp/pla[n])(?:/|\b)")

GATEWAY = house.read(ROOT, "gateway")
SIMULATORS = house.read(ROOT, "simulators")
TESTS = house.read(ROOT, "tests")
RULES = house.read(ROOT, "rules")
PRODUCT = [*GATEWAY.values(), *SIMULATORS.values()]
PACKAGING = [one for room in ("deb", "lab", "supply") for one in house.read(ROOT, f"packaging/{room}").values()]
MACHINES = house.read(ROOT, "packaging/tests")
EVERYTHING = [*PRODUCT, *RULES.values(), *PACKAGING, *TESTS.values(), *MACHINES.values()]


def nothing(findings: Iterable[str]) -> None:
    """Fail with every finding, one a line."""
    found = list(findings)
    assert not found, "\n" + "\n".join(found)


def test_layers_point_one_way() -> None:
    """A module of the gateway imports only rooms above its own, and every module has a layer."""
    nothing(house.upward(GATEWAY, "gateway", LAYERS, STRANGERS))


def test_no_import_cycles() -> None:
    """No circle of imports, not even inside a room."""
    nothing(house.cycles(GATEWAY, "gateway"))


def test_pure_rooms_touch_nothing() -> None:
    """What only decides imports no loop, socket, clock, thread or process."""
    nothing(house.impure(GATEWAY, PURE, SHELLS, OUTSIDE_WORLD))


def test_product_knows_no_tests() -> None:
    """Tests import the product and its simulators, never the reverse; only the cli starts simulators."""
    for module in PRODUCT:
        for line, target in house.imports(module):
            top = target.split(".")[0]
            assert top != "tests", f"{module.path}:{line}: imports a test"
            at_home = module.path.startswith("simulators/") or module.room == "cli"
            assert top != "simulators" or at_home, f"{module.path}:{line}: only cli/ may start simulators"


def test_sizes() -> None:
    """Modules and functions stay short enough to be read at once."""
    nothing(house.too_long([*PRODUCT, *PACKAGING, *RULES.values()], MODULE_LINES_MAX, FUNCTION_LINES_MAX))
    nothing(house.too_long([*TESTS.values(), *MACHINES.values()], TESTS_LINES_MAX, FUNCTION_LINES_MAX))


def test_names_say_something() -> None:
    """No module, class or function is named by a word that fits anything."""
    nothing(house.empty_names([*PRODUCT, *PACKAGING], BANNED))


def test_modules_have_docstrings() -> None:
    """Every module with code in it says what it is for."""
    nothing(house.silent_modules(EVERYTHING))


def test_one_acknowledgement() -> None:
    """A delivery is acknowledged in one place of the gateway, the pipeline, after the commit."""
    found = list(house.acknowledgements(GATEWAY.values()))
    assert len(found) == 1, "\n".join(["exactly one place may call Delivery.ack:", *found])
    assert found[0].startswith("gateway/pipeline.py:"), f"{found[0]}: only the pipeline may acknowledge"


def test_tests_state_their_claim() -> None:
    """Every test says in one sentence what it claims."""
    nothing(house.wordless_tests([*TESTS.values(), *MACHINES.values()]))


def test_nothing_left_for_later() -> None:
    """No unfinished code and no test that may be left out."""
    nothing(house.unfinished(EVERYTHING))


def test_no_registry_is_named() -> None:
    """Where packages come from is the machine's business: no tracked file names a registry's host."""
    nothing(house.mentions(ROOT, REGISTRIES, "leave it to the machine's own settings"))


def test_no_place_of_one_machine() -> None:
    """No tracked file names a folder that only its author has."""
    nothing(house.mentions(ROOT, PLACES, "only its author has this folder"))


BROKEN = {
    "upward": ("event.py", '"""E."""\nfrom gateway.daemon import run\n', "event.py:2: event imports daemon"),
    "homeless": ("attic.py", '"""A."""\n', "attic.py:1: 'attic' has no layer"),
    "sideways": ("sources/a.py", '"""A."""\nimport gateway.targets.b\n', "sources/a.py:2: sources imports targets"),
    "stranger": ("sources/a.py", '"""A."""\nimport gateway.journal.j\n', "sources must not know journal"),
    "cycle": ("journal/j.py", '"""J."""\nimport gateway.journal.k\n', "import cycle"),
    "impure": ("topic.py", '"""T."""\nimport os.path\n', "topic.py:2: a pure module imports os.path"),
    "long module": ("topic.py", '"""T."""\n' + "A = 1\n" * 400, "topic.py:1: 401 lines"),
    "long function": ("topic.py", '"""T."""\ndef f():\n' + "    a = 1\n\n" * 60, "f has 61 net lines"),
    "empty name": ("topic.py", '"""T."""\nclass TopicHelpers:\n    pass\n', "topic.py:2: TopicHelpers: 'helper'"),
    "silent": ("topic.py", "A = 1\n", "topic.py:1: no docstring"),
    "ack": ("sources/a.py", '"""A."""\nlater = delivery.ack\n', "sources/a.py:2: .ack"),
    "wordless": (
        "journal/test_a.py",
        '"""A."""\ndef test_a():\n    """No sentence"""\n',
        "journal/test_a.py:2: test_a: say its claim",
    ),
    "later": ("topic.py", '"""T."""\nA = NotImplementedError\n', "topic.py:2: NotImplementedError"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_each_rule_can_fail(fault: str, tmp_path: Path) -> None:
    """A house with one fault in it is found out, at the file and line of the fault."""
    name, text, finding = BROKEN[fault]
    sound = {
        "daemon.py": '"""D."""\n',
        "targets/b.py": '"""B."""\n',
        "journal/j.py": '"""J."""\n',
        "journal/k.py": '"""K."""\nimport gateway.journal.j\n',
    }
    for path, content in {**sound, name: text}.items():
        (tmp_path / "gateway" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "gateway" / path).write_text(content)
    modules = house.read(tmp_path, "gateway")
    found = [
        *house.upward(modules, "gateway", LAYERS, STRANGERS),
        *house.cycles(modules, "gateway"),
        *house.impure(modules, PURE, SHELLS, OUTSIDE_WORLD),
        *house.too_long(modules.values(), MODULE_LINES_MAX, FUNCTION_LINES_MAX),
        *house.empty_names(modules.values(), BANNED),
        *house.silent_modules(modules.values()),
        *house.acknowledgements(modules.values()),
        *house.wordless_tests(modules.values()),
        *house.unfinished(modules.values()),
    ]
    assert len(found) == 1
    assert finding in found[0]


def test_the_gateway_loads_no_engine() -> None:
    """What runs rules is loaded in their own process: the gateway starts sooner, and nothing of a rule reaches it."""
    code = "import sys; import gateway.daemon; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    of_rules = {name for name in loaded if name.startswith("gateway.rules.")}
    allowed = {f"gateway.rules.engine.{name}" for name in ("tables", "notices")}
    assert {name for name in of_rules if name.startswith(("gateway.rules.engine.", "gateway.rules.desk"))} <= allowed
    assert not of_rules & {"gateway.rules.testing", "gateway.rules.files.loader", "gateway.rules.language.api"}
