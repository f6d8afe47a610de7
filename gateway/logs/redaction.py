"""No secret in a log: what was read as one, passwords in URLs, tokens in headers, and pairs whose name says it.

A `Secret` of the config that is read (gateway/secrets.py) is known from then on, also when it was rotated.  A text that
is looked for in every line must not be found in anything: one below `SECRET_CHARS_MIN` is not looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

from gateway import secrets

SECRET_CHARS_MIN = 4
HIDDEN = "***"

PAIR = re.compile(
    r"(?i)(?<![\w./-])(pass(?:word|wd|phrase)?|pwd|psk|secret|(?:access_|refresh_|id_)?token|api_?key|client_?secret|pin)"
    r"([\"']?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|(?!\*\*\*)[^\s,;&}\"']+)"
)
"""``password=…``, ``"token": "…"``: name, sign, value."""
_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/:@]*):[^\s/@]+@")
_BEARER = re.compile(r"(?i)\b(bearer|basic|digest)\s+[A-Za-z0-9._~+/=-]{8,}")
_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


class Redaction:
    """Takes secrets out of texts. Call it."""

    def __init__(self) -> None:
        self._known: tuple[str, ...] = ()
        self._pattern: re.Pattern[str] | None = None

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        known = secrets.known()
        if known != self._known:
            self._known = known
            self._pattern = _pattern(known)
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        if "://" in text:
            text = _USERINFO.sub(rf"\1:{HIDDEN}@", text)
        if "-----BEGIN" in text:
            text = _KEY.sub(HIDDEN, text)
        text = _BEARER.sub(rf"\1 {HIDDEN}", text)
        return PAIR.sub(rf"\1\2{HIDDEN}", text)


def _pattern(known: tuple[str, ...]) -> re.Pattern[str] | None:
    """Make one pattern of all secrets in all the ways they are written, the longest first."""
    written = {form for text in known for form in _forms(text) if len(form) >= SECRET_CHARS_MIN}
    return re.compile("|".join(re.escape(form) for form in sorted(written, key=len, reverse=True))) if written else None


def _forms(text: str) -> Iterator[str]:
    yield text
    yield repr(text)[1:-1]
    yield quote(text, safe="")
    if "\n" in text:  # a key: its lines one by one, too
        yield from (line for line in text.split("\n") if not line.startswith("-----"))
