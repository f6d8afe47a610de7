"""The command as people type it: usage, exit codes, interrupts, pipes, colour, help."""

from __future__ import annotations

import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import gateway
from gateway.cli.main import GROUPS, parser
from gateway.cli.reference import verbs
from gateway.cli.verb import Parser
from tests.cli.site import Site, command


def test_version() -> None:
    """The version is one line."""
    assert command("--version") == (0, f"edge-gateway {gateway.__version__}\n", "")


@pytest.mark.parametrize(
    "words", [[], ["chek"], ["check", "--surprise"], ["journal"], ["send"], ["events", "--limit", "x"]]
)
def test_usage_is_2(words: list[str]) -> None:
    """What cannot be understood ends with 2 and says how it goes."""
    result = command(*words)
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("usage: edge-gateway")


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["chek"], "'check'"), (["rules", "lst"], "'list'"), (["alerts"], "list, ack"), (["alerts", "x"], "list, ack")],
)
def test_a_wrong_verb_is_answered_with_the_right_ones(words: list[str], meant: str) -> None:
    """A misspelt or missing verb is answered with what was probably meant, or with what there is."""
    assert meant in command(*words).err


def test_a_config_in_the_working_directory_is_pointed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a config where one is looked for, verbs that find no gateway name the gateway.toml that lies here."""
    monkeypatch.setenv("EDGE_GATEWAY_CONFIG", str(tmp_path / "none" / "gateway.toml"))
    monkeypatch.chdir(tmp_path)
    assert "export" not in command("alerts", "list").err
    (tmp_path / "gateway.toml").write_text("")
    assert f"Type: export EDGE_GATEWAY_CONFIG={tmp_path}/gateway.toml" in command("alerts", "list").err


def test_every_verb_has_help_with_examples() -> None:
    """The help of every verb shows at least one line to type, and each of them can be parsed."""
    found = dict(verbs(parser()))
    assert {"edge-gateway run", "edge-gateway check", "edge-gateway dead-letters retry"} <= set(found)
    for name, words in found.items():
        lines = [line.strip() for line in (words.epilog or "").splitlines() if name in line]
        assert lines, name
        for line in lines:
            typed = re.split("[|<>]", line[line.index("edge-gateway") :])[0]
            parser().parse_args(shlex.split(typed)[1:])


def test_words_need_no_rooms() -> None:
    """Building the command line imports no room, no loop and no TOML reader: help and version are quick."""
    code = "import sys; from gateway.cli.main import parser; parser(); print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    rooms = {name.split(".")[1] for name in loaded if name.startswith("gateway.")}
    assert rooms == {"cli", "clock", "errors", "quantity"}
    assert not {"asyncio", "tomllib", "paho", "zstandard"} & set(loaded)


@pytest.mark.parametrize("name", GROUPS)
def test_a_verb_is_found_where_it_is_declared(name: str) -> None:
    """The words by which a module of verbs is found are those that it declares."""
    found = Parser()
    declared = found.add_subparsers()
    import_module(f"gateway.cli.{name}").add_verbs(declared)
    assert tuple(declared.choices) == GROUPS[name]


@pytest.mark.parametrize(("word", "declared"), [("--version", set()), ("reload", {"reload", "config"})])
def test_nobody_waits_for_another_verb(word: str, declared: set[str]) -> None:
    """Of the command line only what the first word needs is made."""
    assert {path.split()[1] for path, _ in verbs(parser(word))} == declared


def test_a_config_with_faults_is_78(site: Site) -> None:
    """A verb that needs the config prints its faults on standard error and ends with 78."""
    site.write({"gateway.toml": "[gateway]\nnmae = 1\nsate = 2\n"})
    result = site.run("run")
    assert result.code == 78
    assert [site.relative(line)[:15] for line in result.err.splitlines()] == ["gateway.toml:2:", "gateway.toml:3:"]


def test_nothing_runs_is_1(site: Site) -> None:
    """What needs a running gateway says where it looked."""
    for words in (["send", "x", "y"], ["events", "--follow"], ["dead-letters", "drop", "x"]):
        result = site.run(*words)
        assert result.code == 1
        assert f"no gateway answers at {site.folder}/state/api.sock" in result.err


def test_interrupt_is_130_without_a_traceback(tmp_path: Path) -> None:
    """Ctrl-C ends a waiting command quietly."""
    command_line = [sys.executable, "-m", "gateway", "profiles", "decode"]
    running = subprocess.Popen(command_line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdin is not None
    assert running.stdout is not None
    running.stdin.write(b'{"topic": "a", "payload": "b"}\n')
    running.stdin.flush()
    assert running.stdout.readline()  # it is past its start, and waits for more
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out, err) == (130, b"", b"")


def test_a_closed_pipe_is_quiet() -> None:
    """A reader that has seen enough is no error worth a traceback."""
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m gateway completion bash | head -c 1; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    assert done.stderr == ""


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Make a pseudo-terminal."""
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(
    ("environment", "colour"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals(
    environment: dict[str, str], colour: bool, terminal: tuple[int, int], site: Site
) -> None:
    """Colour is used on a terminal, unless NO_COLOR or TERM say otherwise."""
    ours, theirs = terminal
    given = {**os.environ, "TERM": "xterm", **environment}
    words = [sys.executable, "-m", "gateway", "status", "--config", str(site.config)]
    subprocess.run(words, stdout=theirs, env=given, timeout=240, check=False)
    said = os.read(ours, 10_000)
    while b"not running" not in said:  # the kernel hands it over in pieces
        said += os.read(ours, 10_000)
    assert (b"\x1b[" in said) is colour
