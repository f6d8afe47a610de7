"""What README and docs/ say can be typed, opened and loaded as it is written."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.main import parser
from gateway.config.load import load
from gateway.config.overlay import read_overlaid

ROOT = Path(__file__).parents[1]
README_LINES_MAX = 100
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
GUIDES = [name for name in TEXTS if name.startswith("docs/guides/") or name == "README.md"]
PLACEHOLDERS = re.compile(r"^[A-Z_]{2,}$")  # EVENT_ID, DIR: something of the reader's
VERB = re.compile(r"[a-z][a-z-]*")


def commands(text: str, program: str) -> Iterator[list[str]]:
    """Yield the words behind each mention of a program: in code blocks and in `code`."""
    blocks = re.findall(r"```(?:sh)?\n(.*?)```", text, re.DOTALL) + re.findall(r"(?m)^    (\S.*)$", text)
    lines = [line for block in blocks for line in block.splitlines()]
    for line in [*lines, *re.findall(r"`([^`\n]+)`", text)]:
        for found in re.finditer(rf"(?:^|[\s|'\"/]){re.escape(program)}\s+([^|&>`#;)]*)", line):
            words = found[1]
            try:
                yield shlex.split(words)
            except ValueError:  # cut off within a quotation
                yield words.split()


def accepted(words: list[str]) -> str | None:
    """Return what the command line has against these words; values and placeholders of the reader's are not judged."""
    at = parser()
    while words and (verbs := _verbs(at)) is not None:
        if not VERB.fullmatch(words[0]):
            return None  # `edge-gateway VERB --help`
        for verb in words[0].split("|"):
            if verb not in verbs:
                return f"no verb {verb!r}"
        at, words = verbs[words[0].split("|")[0]], words[1:]
    known = set(at._option_string_actions)
    unknown = [word for word in words if word.startswith("-") and word.partition("=")[0] not in known]
    return f"no option {unknown[0]!r}" if unknown else None


def _verbs(at: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser] | None:
    found = [action for action in at._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else None


def test_the_readme_is_short() -> None:
    """At most a hundred lines: whoever reads it decides in a minute."""
    assert len(TEXTS["README.md"].splitlines()) <= README_LINES_MAX


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link names a file that is in the repository."""
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", TEXTS[page])
    relative = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in relative if not ((ROOT / page).parent / link).exists()] == []


@pytest.mark.parametrize("page", TEXTS)
def test_files_that_are_named_exist(page: str) -> None:
    """A path of this repository in `code` is there; a pattern matches something."""
    tops = ("gateway", "device_profiles", "rules", "simulators", "docs", "tests", "packaging")
    named = re.findall(rf"`((?:{'|'.join(tops)})/[\w./*-]*)`", TEXTS[page])
    mine = {"rules/doorbell.py", "rules/lib/", "rules/requirements.lock"}  # the reader's own
    assert [name for name in named if name not in mine and not any(ROOT.glob(name.rstrip("/")))] == []


@pytest.mark.parametrize("page", TEXTS)
def test_verbs_and_options_exist(page: str) -> None:
    """Every `edge-gateway ...` that is shown is understood: verb, second word, options."""
    said = [(words, accepted(words)) for words in commands(TEXTS[page], "edge-gateway")]
    assert [(" ".join(words), why) for words, why in said if why] == []


def test_the_guides_show_commands() -> None:
    """The search above finds what it judges: most verbs are shown somewhere."""
    shown = {words[0] for page in GUIDES for words in commands(TEXTS[page], "edge-gateway") if words}
    assert {"run", "check", "status", "events", "profiles", "rules", "demo", "dead-letters", "journal"} <= shown
    assert accepted(["frobnicate"]) == "no verb 'frobnicate'"
    assert accepted(["profiles", "replay"]) == "no verb 'replay'"
    assert accepted(["run", "--confg", "x"]) == "no option '--confg'"


@pytest.mark.parametrize("page", TEXTS)
def test_developers_verbs_exist(page: str) -> None:
    """Every `./dev ...` that is shown is a verb of ./dev."""
    listed = subprocess.run([ROOT / "dev", "help"], capture_output=True, text=True, check=True).stdout
    known = {"help", *re.findall(r"(?m)^\./dev (\S+)", listed)}
    assert {words[0] for words in commands(TEXTS[page], "./dev") if words} <= known


@pytest.mark.parametrize("page", TEXTS)
def test_modules_that_are_run_exist(page: str) -> None:
    """Every `python -m simulators...` that is shown is a module, and knows the options shown."""
    for words in commands(TEXTS[page], "python -m"):
        path = ROOT / words[0].replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), words[0]


def whole_configs() -> list[tuple[str, str]]:
    """Return (page, text) of the blocks that are a gateway.toml: they begin with a source or the gateway itself."""
    blocks = [(page, block) for page in GUIDES for block in re.findall(r"```toml\n(.*?)```", TEXTS[page], re.DOTALL)]
    ours = re.compile(r"^\s*(\[(gateway|sources|targets|routes|journal|rules|api)\b|(gateway|sources)\.)", re.MULTILINE)
    return [(page, block) for page, block in blocks if ours.search(block)]


@pytest.mark.parametrize(("page", "block"), whole_configs())
def test_configs_load(tmp_path: Path, page: str, block: str) -> None:
    """A config that a guide shows is loaded without a fault; a piece of one, with what it refers to beside it."""
    file = tmp_path / "gateway.toml"
    file.write_text(block, encoding="utf-8")
    data = read_overlaid(file).data
    routes = list(data.get("routes", {}).values())
    wanted = {route["to"] for route in routes} - data.get("targets", {}).keys()
    more = "".join(f'\n[targets.{name}]\ntype = "mqtt"\nurl = "mqtt://localhost"\n' for name in sorted(wanted))
    file.write_text(block + more, encoding="utf-8")
    rooms = [room for route in routes for room in route.get("rooms", ())]
    devices = [f'[[device]]\nid = "house/x:{n}"\nroom = "{room}"\n' for n, room in enumerate(rooms)]
    (tmp_path / "devices.toml").write_text("".join(devices), encoding="utf-8")
    (tmp_path / "my-profiles").mkdir()
    assert load(file).sources, page


def test_configs_are_found() -> None:
    """The README's five lines are among what is loaded."""
    assert "README.md" in {page for page, _ in whole_configs()}
    assert len(whole_configs()) >= 4
