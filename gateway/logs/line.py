"""One line of the log, and the forms it leaves in: text, text for systemd, JSON, journald's own datagram.

A line comes from a `logging.LogRecord`; every text in it has passed the redaction before it becomes a `Line`.  What a
device or a cloud said can stand in it, so control characters are replaced: no line can look like two, or move a
terminal's cursor.

Source of the datagram: "Native Journal Protocol" of systemd.io: ``NAME=value`` lines, and where a value has line breaks
``NAME``, its length as 64 bit little endian, the value.
"""

from __future__ import annotations

import logging
import struct
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import msgspec

from gateway.clock import NS_PER_S, rfc3339
from gateway.codes.code import Code
from gateway.logs.about import ATTRIBUTE

PROGRAM = "edge-gateway"
MESSAGE_CHARS_MAX = 8 * 1024
STACK_CHARS_MAX = 24 * 1024  # the end of it: what raised stands there
FIELD_CHARS_MAX = 1024
_COLOURS = {logging.WARNING: 33, logging.ERROR: 31, logging.CRITICAL: 31, logging.DEBUG: 2}
_CONTROL = dict.fromkeys((*range(32), *range(127, 160), 0x2028, 0x2029), "\N{REPLACEMENT CHARACTER}") | {9: " "}

Hide = Callable[[str], str]
"""Takes secrets out of a text."""


@dataclass(frozen=True, slots=True)
class Line:
    """What is said, about what, and where in the program."""

    level: int
    logger: str
    message: str  # may have several lines, of which those behind the first are the gateway's own (a stack of a rule)
    time_ns: int
    code: Code | None
    about: Mapping[str, str]
    stack: str  # of an exception; "" without one
    place: tuple[str, int, str]  # file, line, function

    @property
    def priority(self) -> int:
        """Return the level as syslog(3) counts it."""
        return {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6}.get(self.level, 7)

    @property
    def said(self) -> str:
        """Return the message with its code in brackets behind the first line."""
        if self.code is None:
            return self.message
        first, newline, rest = self.message.partition("\n")
        return f"{first} [{self.code}]{newline}{rest}"


def line_of(record: logging.LogRecord, hide: Hide) -> Line:
    """Make a line of a record."""
    code, about = getattr(record, ATTRIBUTE, (None, {}))
    stack = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
    return Line(
        level=record.levelno,
        logger=record.name,
        message=_clean(hide(_text(record))).rstrip()[:MESSAGE_CHARS_MAX],
        time_ns=round(record.created * 1e6) * 1000,  # what a float still tells apart
        code=code,
        about={name: _clean(hide(text)).replace("\n", " ")[:FIELD_CHARS_MAX] for name, text in about.items()},
        stack=_clean(hide(stack)).rstrip()[-STACK_CHARS_MAX:],
        place=(record.pathname, record.lineno, record.funcName or ""),
    )


def summed_up(line: Line, more: int, seconds: int) -> Line:
    """Return the line that stands for several that were not said."""
    first = line.message.partition("\n")[0]
    return replace(line, message=f"{first} … {more:,} more in {seconds} s", stack="")


def _text(record: logging.LogRecord) -> str:
    """Return the message; line breaks stand where the template has them, not in what was filled in."""
    args = record.args
    if isinstance(args, tuple) and "\n" not in str(record.msg):
        args = tuple(_one_line(each) if isinstance(each, str | Exception) else each for each in args)
    return str(record.msg) % args if args else str(record.msg)


def _one_line(said: str | Exception) -> str | Exception:
    return str(said).strip().replace("\r\n", "\n").replace("\n", " | ") if "\n" in str(said) else said


def _clean(text: str) -> str:
    return "\n".join(each.translate(_CONTROL) for each in text.split("\n"))


# ---- the forms -----------------------------------------------------------------------------------------------------


def human(line: Line, colour: bool = False) -> str:
    """Write it for a person: time, level, who, what; lines that follow are set in."""
    when = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(line.time_ns // NS_PER_S))}"
    head = f"{when},{line.time_ns // 1_000_000 % 1000:03d} {logging.getLevelName(line.level):<7} {line.logger}: "
    text = head + _set_in(line)
    painted = _COLOURS.get(line.level) if colour else None
    return text if painted is None else f"\x1b[{painted}m{text}\x1b[0m"


def prefixed(line: Line) -> str:
    """Write it with the priority of sd-daemon(3) before it, for a journal that is only reached by standard error."""
    return f"<{line.priority}>{line.logger}: {_set_in(line)}"


def _set_in(line: Line) -> str:
    return (line.said + (f"\n{line.stack}" if line.stack else "")).replace("\n", "\n    ")


def as_json(line: Line) -> str:
    """Write it as one JSON object."""
    file, number, _ = line.place
    said: dict[str, object] = {
        "time": rfc3339(line.time_ns),
        "level": logging.getLevelName(line.level).lower(),
        "logger": line.logger,
        "message": line.message,
    }
    said |= {"code": str(line.code), "message_id": line.code.message_id} if line.code else {}
    said |= line.about
    said |= {"exception": line.stack} if line.stack else {}
    return msgspec.json.encode({**said, "at": f"{file}:{number}"}).decode()


def fields(line: Line) -> Iterable[tuple[str, str]]:
    """Return the fields that journald keeps; `journalctl -o verbose` shows them."""
    file, number, function = line.place
    yield "MESSAGE", f"{line.said}\n{line.stack}" if line.stack else line.said
    yield "PRIORITY", str(line.priority)
    yield "SYSLOG_IDENTIFIER", PROGRAM
    yield "LOGGER", line.logger
    yield "CODE_FILE", file
    yield "CODE_LINE", str(number)
    yield "CODE_FUNC", function
    if line.code is not None:
        yield "MESSAGE_ID", line.code.message_id
        yield "GATEWAY_CODE", str(line.code)
    for name, text in line.about.items():
        yield f"GATEWAY_{name.upper()}", text


def datagram(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Encode fields as journald reads them from its socket."""
    parts: list[bytes] = []
    for name, text in pairs:
        value = text.encode("utf-8", "replace")
        if b"\n" in value:
            parts += [name.encode(), b"\n", struct.pack("<Q", len(value)), value, b"\n"]
        else:
            parts += [name.encode(), b"=", value, b"\n"]
    return b"".join(parts)
