"""What a line of the log looks like in each of its forms, whatever was said."""

from __future__ import annotations

import json
import logging
import struct
import sys
from typing import Any

import pytest

from gateway.codes.targets import ROUTE_DOWN
from gateway.logs import line as lines
from gateway.logs.about import about


def record(template: str, *args: Any, level: int = logging.WARNING, **extra: Any) -> logging.LogRecord:
    """Make a record as a logger does."""
    made = logging.getLogger("gateway.test").makeRecord(
        "gateway.test", level, __file__, 42, template, args, extra.pop("exc_info", None), "here", extra or None
    )
    made.created = 1_700_000_000.25
    return made


def made(template: str, *args: Any, **more: Any) -> lines.Line:
    """Make a line of which nothing is hidden."""
    return lines.line_of(record(template, *args, **more), str)


def test_fields_of_the_journal() -> None:
    """The journal gets what it is about as fields of their own, the code, its message id, and where it was said."""
    line = made("route %s: %s", "cloud", "away", **about(ROUTE_DOWN, route="cloud", event_id="a-1"))
    assert dict(lines.fields(line)) == {
        "MESSAGE": "route cloud: away [EG-201]",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "edge-gateway",
        "LOGGER": "gateway.test",
        "CODE_FILE": __file__,
        "CODE_LINE": "42",
        "CODE_FUNC": "here",
        "MESSAGE_ID": ROUTE_DOWN.message_id,
        "GATEWAY_CODE": "EG-201",
        "GATEWAY_ROUTE": "cloud",
        "GATEWAY_EVENT_ID": "a-1",
    }


def test_the_datagram() -> None:
    """A value with line breaks goes by its length, so nothing in it can be another field."""
    told = lines.datagram([("PRIORITY", "6"), ("MESSAGE", "one\nMESSAGE_ID=two")])
    assert told == b"PRIORITY=6\nMESSAGE\n" + struct.pack("<Q", 18) + b"one\nMESSAGE_ID=two\n"


def test_nothing_said_looks_like_two_lines() -> None:
    """What came from outside has no line breaks and no terminal codes left; a stack of our own has."""
    line = made("topic %s", "a\n2026-01-01 00:00:00,000 ERROR gateway: all is lost\x1b[2J")
    assert "\x1b" not in line.message
    assert lines.human(line).count("\n") == 0
    assert made("rule %s\n%s", "r", "line 1\nline 2\n").message == "rule r\nline 1\nline 2"


@pytest.mark.parametrize("form", [lines.human, lines.prefixed])
def test_text_has_an_exception_set_in(form: Any) -> None:
    """Every line behind the first one is set in, so a reader sees where the next begins."""
    try:
        raise ValueError("no")
    except ValueError:
        line = made("it broke", exc_info=sys.exc_info())
    first, *rest = form(line).split("\n")
    assert first.endswith("gateway.test: it broke")
    assert rest[-1] == "    ValueError: no"
    assert all(each.startswith("    ") for each in rest)


def test_colour_is_for_terminals() -> None:
    """A warning is yellow when colour is wanted, and plain otherwise."""
    line = made("careful")
    assert lines.human(line, colour=True).startswith("\x1b[33m")
    assert "\x1b" not in lines.human(line)


def test_json_is_one_object_a_line() -> None:
    """A program gets every field by its name, and the exception as one text."""
    said = json.loads(lines.as_json(made("route %s", "cloud", **about(ROUTE_DOWN, route="cloud"))))
    assert said.pop("at").endswith("test_line.py:42")
    assert said == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "logger": "gateway.test",
        "message": "route cloud",
        "code": "EG-201",
        "message_id": ROUTE_DOWN.message_id,
        "route": "cloud",
    }


def test_a_line_is_bounded() -> None:
    """However much was said, a line fits into a datagram."""
    line = made("%s", "x" * 1_000_000, **about(device="d" * 1_000_000))
    assert len(lines.datagram(lines.fields(line))) < 48 * 1024


def test_what_cannot_be_encoded_is_no_reason_to_lose_a_line() -> None:
    """A lone surrogate in a topic is written as a question mark."""
    assert b"topic ?" in lines.datagram(lines.fields(made("topic %s", "\ud800")))
