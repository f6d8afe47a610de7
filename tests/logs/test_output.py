"""Lines reach journald by its own socket, or standard error; the level can change while it runs."""

from __future__ import annotations

import io
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.codes.targets import ROUTE_DOWN
from gateway.errors import GatewayError
from gateway.logs import output
from gateway.logs.about import about
from gateway.logs.line import human
from gateway.logs.options import LogOptions
from gateway.logs.repeats import LINES_MAX


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    """Give journald's end of its socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.settimeout(30)
        yield listening


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """Give a logger that speaks to nobody else."""
    made = logging.getLogger("gateway.test.output")
    made.propagate, made.level = False, logging.DEBUG
    yield made
    for each in made.handlers:
        if isinstance(each, output.Lines) and isinstance(each.output, output.Journald):
            each.output.close()
    made.handlers.clear()
    made.propagate = True


def test_a_line_is_one_datagram(journal: socket.socket, logger: logging.Logger) -> None:
    """What is logged arrives at journald with its fields."""
    logger.addHandler(output.Lines(output.Journald(Path(journal.getsockname()))))
    logger.warning("route %s is away", "cloud", extra=about(ROUTE_DOWN, route="cloud"))
    got = journal.recv(65536).split(b"\n")
    assert b"MESSAGE=route cloud is away [EG-201]" in got
    assert f"MESSAGE_ID={ROUTE_DOWN.message_id}".encode() in got
    assert b"GATEWAY_ROUTE=cloud" in got
    assert f"CODE_FILE={__file__}".encode() in got


def test_journald_is_never_waited_for(journal: socket.socket, logger: logging.Logger) -> None:
    """With its queue full lines are lost and counted, and the next one that is taken says how many."""
    out = output.Journald(Path(journal.getsockname()))
    logger.addHandler(output.Lines(out))
    for _ in range(10_000):
        logger.debug("x" * 4000)
        if out.lost:
            break
    assert out.lost
    journal.setblocking(False)
    while out.lost:
        journal.recv(65536)
        logger.debug("room again")
    last = b""
    try:
        while True:
            last = journal.recv(65536)
    except BlockingIOError:
        assert b"GATEWAY_LINES_LOST=" in last


def test_without_a_journal_lines_go_to_standard_error(
    tmp_path: Path, logger: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    """A socket that is not there loses nothing: the line is on standard error, with its priority."""
    logger.addHandler(output.Lines(output.Journald(tmp_path / "gone")))
    logger.error("here I am")
    assert capfd.readouterr().err == "<3>gateway.test.output: here I am\n"


def test_repeats_are_summed_up(logger: logging.Logger) -> None:
    """A line said in a loop is said some times, then counted; who debugs gets every line."""
    now, stream = [0.0], io.StringIO()
    lines = output.Lines(output.Stream(human, stream), lambda: now[0])
    logger.addHandler(lines)
    for level in (logging.WARNING, logging.DEBUG):
        for _ in range(100):
            logger.log(level, "again")
    now[0] = 61.0
    lines.tick()
    said = stream.getvalue().splitlines()
    assert sum("WARNING" in line for line in said) == LINES_MAX + 1
    assert sum("DEBUG" in line for line in said) == 100
    assert said[-1].endswith("again … 90 more in 61 s")


def test_a_line_that_cannot_be_made_stops_nobody(logger: logging.Logger) -> None:
    """A template with too few values costs that line, and what was filled in is not printed past the redaction."""
    stream = io.StringIO()
    lines = output.Lines(output.Stream(human, stream))
    lines.handle(logger.makeRecord("gateway", logging.ERROR, __file__, 1, "%s and %s", ("one",), None))
    lines.handle(logger.makeRecord("gateway", logging.ERROR, __file__, 2, "next", (), None))
    first, second = stream.getvalue().splitlines()
    assert first.endswith("ERROR   gateway: a line of the log could not be made: %s and %s")
    assert second.endswith("ERROR   gateway: next")


def test_standard_error_is_the_journal_when_systemd_says_so() -> None:
    """$JOURNAL_STREAM names the device and inode of the journal's end; anything else is a file or a terminal."""
    found = os.fstat(2)
    assert output.is_the_journal({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
    for other in ("", "1:2", "x:y", f"{found.st_dev}"):
        assert not output.is_the_journal({"JOURNAL_STREAM": other})


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ("", ("info", "auto")),
        ("debug", ("debug", "auto")),
        ("json", ("info", "json")),
        ("DEBUG, json", ("debug", "json")),
    ],
)
def test_the_environment_says_otherwise_than_the_config(words: str, chosen: tuple[str, str]) -> None:
    """EDGE_GATEWAY_LOG, and `--log`, which adds to it, count over the options."""
    assert output.chosen(LogOptions(), {output.VARIABLE: words}) == chosen


def test_a_word_that_is_none_is_said() -> None:
    """A level that does not exist names those that do."""
    with pytest.raises(GatewayError, match="'loud' is neither a level of the log"):
        output.chosen(LogOptions(), {output.VARIABLE: "loud"})


def test_the_level_changes_while_it_runs(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Set up again, as a reload does, the log goes on at the other level, in the other form, with one handler."""
    monkeypatch.delenv(output.VARIABLE, raising=False)
    root, hook = logging.getLogger(), sys.excepthook
    level, before = root.level, list(root.handlers)
    try:
        output.set_up(LogOptions(level="warning", form="text"))
        logging.getLogger("gateway.a").info("unheard")
        output.set_up(LogOptions(level="debug", form="json"))
        logging.getLogger("gateway.a").debug("heard")
        assert sum(isinstance(each, output.Lines) for each in root.handlers) == 1
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        sys.excepthook = hook
    told = capfd.readouterr().err
    assert "unheard" not in told
    assert '"message":"heard"' in told


def test_what_ends_the_program_is_a_line_like_any_other() -> None:
    """An exception that nobody catches is logged with its code and its stack, and without secrets."""
    code = "from gateway.logs.output import set_up; set_up(); raise RuntimeError('no, password=geheim1234')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "CRITICAL gateway: the gateway ends: RuntimeError [EG-701]\n    Traceback" in ended.stderr
    assert "    RuntimeError: no, password=***" in ended.stderr
    assert "geheim" not in ended.stderr
