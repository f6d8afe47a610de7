"""What a rule raised, said the way its author needs it: the line of the rule file, and a short stack."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType

from gateway.rules.language.definition import Definition
from gateway.rules.protocol import RuleFault

USER_ERRORS = (Exception, SystemExit, GeneratorExit)
"""What a rule's function may raise without ending the worker."""
STACK_LINES_MAX = 20
WHAT_CHARS_MAX = 500
_OURS = str(Path(__file__).parents[1])


def describe(error: BaseException, rule: Definition) -> RuleFault:
    """Say where in the rule's files an error was raised, or passed on to us."""
    line, file = rule.line, rule.file
    folder = Path(rule.file).parent
    for at in traceback.extract_tb(error.__traceback__):
        if folder in Path(at.filename).parents and not at.filename.startswith(_OURS):
            line, file = at.lineno or line, at.filename
    return RuleFault(rule.name, file, line, what(error), stack=stack(error))


def what(error: BaseException) -> str:
    """Name an error on one line."""
    if isinstance(error, SystemExit):
        return f"called exit({'' if error.code is None else ascii(error.code)[:WHAT_CHARS_MAX]}): a rule just returns"
    text = sendable(str(error).partition("\n")[0][:WHAT_CHARS_MAX])
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def sendable(text: str) -> str:
    """Return a text that can be sent and written: lone surrogates, which UTF-8 does not have, become ``?``."""
    return text.encode(errors="replace").decode()


def stack(error: BaseException) -> str:
    """Return the part of the traceback that is the author's, shortened."""
    entries = [at for at in traceback.extract_tb(error.__traceback__) if not at.filename.startswith(_OURS)]
    return sendable("".join(traceback.format_list(entries[-STACK_LINES_MAX:])))


def line_of(error: BaseException, file: str) -> int | None:
    """Return the innermost line of a file in a traceback; of a SyntaxError the line it is about."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return error.lineno
    found: int | None = None
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


def line_within(error: BaseException, folder: str) -> tuple[str, int] | None:
    """Return the innermost file and line of a traceback that is below a folder."""
    found: tuple[str, int] | None = None
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith(f"{folder}/"):
            found = (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    return found
