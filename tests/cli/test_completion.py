"""Completion scripts are made from the parser and work in the real shells."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from gateway.cli.completion import bash, commands, fish, zsh
from gateway.cli.main import parser


def completed(line: str, before: str = "") -> set[str]:
    """Return what bash offers after a line (the last word is being typed); `before` is run first."""
    words = line.split(" ")
    script = f"""{before}
{bash(parser())}
COMP_WORDS=({" ".join(repr(word) for word in words)})
COMP_CWORD={len(words) - 1}
_edge_gateway
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=240, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("edge-gateway ", {"run", "check", "dead-letters", "--version"}),
        ("edge-gateway ch", {"check"}),
        ("edge-gateway journal ", {"stat", "verify"}),
        ("edge-gateway check --", {"--config", "--json", "--effective", "--help"}),
        ("edge-gateway --version dead-letters re", {"retry"}),
        ("edge-gateway events --lane ", {"alarm", "telemetry", "command"}),
    ],
)
def test_bash(line: str, offered: set[str]) -> None:
    """Verbs, options and choices are offered where they fit."""
    assert offered <= completed(line)


def test_names_of_rules_are_asked_for() -> None:
    """Where a rule's name belongs its names are asked of the command itself, when somebody presses Tab."""
    asked = 'edge-gateway() { [ "$*" = "rules list --names" ] && echo left_open night_watch; }'
    assert completed("edge-gateway rules why le", asked) == {"left_open"}
    assert {"left_open", "night_watch", "--follow"} <= completed("edge-gateway rules logs ", asked)


def test_every_verb_is_there() -> None:
    """Each verb of the parser has its case in every script."""
    paths = [path for path, _, _ in commands(parser())]
    assert "dead-letters retry" in paths
    for script in (bash(parser()), zsh(parser())):
        for path in paths:
            assert f'"{path}")' in script
    for path in paths:
        assert f"case '{path}'\n" in fish(parser())
    assert "(edge-gateway rules list --names 2>/dev/null)" in fish(parser()), "fish has no $ before it"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_shell_accepts_the_script(shell: str) -> None:
    """The script is valid for its shell, where that shell is installed (bash always is)."""
    script = {"bash": bash, "zsh": zsh}[shell](parser())
    assert script.count("{") == script.count("}")
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, timeout=240, check=True)
