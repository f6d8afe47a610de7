"""Where lines go: to journald by its own socket, or to standard error. Set up once, changed while it runs.

journald is never waited for: with its socket full a line is lost, counted, and the count is said when it takes lines
again.  Without the socket lines go to standard error with the priority before them, which journald reads, too.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, TextIO, get_args

from gateway.codes.service import GATEWAY_FAULT
from gateway.errors import GatewayError
from gateway.logs.about import ATTRIBUTE, about
from gateway.logs.line import Line, as_json, datagram, fields, human, line_of, prefixed, summed_up
from gateway.logs.options import Form, Level, LogOptions
from gateway.logs.redaction import Redaction
from gateway.logs.repeats import Repeats, Said

log = logging.getLogger("gateway")

JOURNAL = Path("/run/systemd/journal/socket")
VARIABLE = "EDGE_GATEWAY_LOG"
LEVELS: tuple[str, ...] = get_args(Level)
FORMS: tuple[str, ...] = get_args(Form)


class Output(Protocol):
    """Takes lines."""

    def put(self, line: Line) -> None:
        """Write a line; never raises for what is wrong with the place it goes to."""
        ...


class Stream:
    """Standard error, in one form."""

    def __init__(self, form: Callable[[Line], str], stream: TextIO | None = None) -> None:
        self._form = form
        self._stream = stream

    def put(self, line: Line) -> None:
        """Write a line."""
        stream = self._stream or sys.stderr
        try:
            stream.write(self._form(line) + "\n")
            stream.flush()
        except (OSError, ValueError):
            return  # whoever read it is gone: there is nobody left to tell


class Journald:
    """journald's socket."""

    def __init__(self, path: Path = JOURNAL) -> None:
        self.lost = 0  # lines, since the last one that was taken
        self._path = str(path)
        self._otherwise = Stream(prefixed)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def put(self, line: Line) -> None:
        """Send a line; what is full loses it, what is not there at all has it on standard error."""
        pairs: Iterable[tuple[str, str]] = fields(line)
        if self.lost:
            pairs = (*pairs, ("GATEWAY_LINES_LOST", str(self.lost)))
        try:
            self._socket.sendto(datagram(pairs), self._path)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                self.lost += 1
            else:
                self._otherwise.put(line)
            return
        self.lost = 0

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()


class Lines(logging.Handler):
    """What Python's logging hands its records to: redaction, then repeats, then the output."""

    def __init__(self, output: Output, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.output = output
        self.hide = Redaction()
        self._repeats: Repeats[logging.LogRecord] = Repeats()
        self._now_s = now_s

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it. Whoever debugs gets every line."""
        try:
            if record.levelno <= logging.DEBUG:
                self._say([Said(record)])
            else:
                things: Mapping[str, str] = getattr(record, ATTRIBUTE, (None, {}))[1]
                place = (record.pathname, record.lineno, str(record.msg))
                named = tuple(each for each in sorted(things.items()) if each[0] != "event_id")
                self._say(self._repeats.take(place, named, record, self._now_s()))
        except Exception:  # noqa: BLE001 - a line that cannot be formatted must not stop what wanted to say it
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - its name is Python's
        """Say that a line could not be made, by its template alone: Python's own way would print what was filled in."""
        template = logging.LogRecord(
            record.name, logging.ERROR, record.pathname, record.lineno, str(record.msg), (), None
        )
        line = line_of(template, self.hide)
        self.output.put(replace(line, message=f"a line of the log could not be made: {line.message}"))

    def tick(self) -> None:
        """Say what was counted in windows that are over."""
        with self.lock or _nothing:
            self._say(self._repeats.over(self._now_s()))

    def flush(self) -> None:
        """Say everything that was counted; `logging` calls it at the end of the program."""
        with self.lock or _nothing:
            self._say(self._repeats.close(self._now_s()))

    def _say(self, records: Iterable[Said[logging.LogRecord]]) -> None:
        for said in records:
            line = line_of(said.record, self.hide)
            self.output.put(summed_up(line, said.more, said.seconds) if said.more else line)


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


_nothing = _Nothing()


def set_up(options: LogOptions | None = None) -> Lines:
    """Begin to log, or go on in another way: as the environment says, else the options. GatewayError.

    A reload calls it again: what changed counts from the next line on.
    """
    level, form = chosen(options or LogOptions(), os.environ)
    root, output = logging.getLogger(), output_for(form, os.environ)
    lines = next((each for each in root.handlers if isinstance(each, Lines)), None)
    if lines is None:
        lines = Lines(output)
        root.addHandler(lines)
        sys.excepthook = _last_words
    else:
        lines.flush()
        lines.output, output = output, lines.output
        if isinstance(output, Journald):
            output.close()
    root.setLevel(level.upper())
    return lines


def _last_words(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log what ends the program, instead of writing it past the redaction."""
    log.critical("the gateway ends: %s", kind.__name__, exc_info=(kind, error, trace), extra=about(GATEWAY_FAULT))


def chosen(options: LogOptions, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return (level, form) in force. GatewayError when the environment says neither."""
    level, form = str(options.level), str(options.form)
    for word in filter(None, (each.strip().lower() for each in environment.get(VARIABLE, "").split(","))):
        if word in LEVELS:
            level = word
        elif word in FORMS:
            form = word
        else:
            raise GatewayError(
                f"{word!r} is neither a level of the log ({', '.join(LEVELS)}) nor a form ({', '.join(FORMS)})"
            )
    return level, form


def output_for(form: str, environment: Mapping[str, str], journal: Path = JOURNAL) -> Output:
    """Return where lines go."""
    if form == "json":
        return Stream(as_json)
    if form == "auto" and is_the_journal(environment):
        return Journald(journal)
    colour = sys.stderr.isatty() and environment.get("TERM", "dumb") != "dumb" and not environment.get("NO_COLOR")
    return Stream(lambda line: human(line, colour))


def is_the_journal(environment: Mapping[str, str], descriptor: int = 2) -> bool:
    """Return whether standard error is what $JOURNAL_STREAM names: "device:inode" (systemd.exec(5))."""
    try:
        device, inode = map(int, environment.get("JOURNAL_STREAM", "").split(":"))
        found = os.fstat(descriptor)
    except (ValueError, OSError):
        return False
    return (found.st_dev, found.st_ino) == (device, inode)


def tick() -> None:
    """Say what was counted and is over; the daemon calls it once a second."""
    for each in logging.getLogger().handlers:
        if isinstance(each, Lines):
            each.tick()
