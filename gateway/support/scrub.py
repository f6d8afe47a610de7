"""Takes everything secret out of texts that leave the house: what is known to be one, and what looks like one.

Stricter than the log's own redaction (gateway/logs/redaction.py), because what is sent to somebody else is read by
strangers: here a value is hidden when its name, its place or its shape says that it could be a secret. A bundle that
hides too much is asked for again; one that hides too little cannot be taken back. Pure.

1 what was read as a secret, in every form it is written in
2 PEM blocks, but for certificates
3 in addresses: user and password, every value of the query, parts of the path that look made by chance
4 values of names that say it, of headers, of messages that the gateway sends about itself; comments that speak of it
5 shapes: tokens of known services, long runs made by chance
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final
from urllib.parse import quote, quote_plus

HIDDEN: Final = "***"
KNOWN_CHARS_MIN: Final = 3  # a shorter text is in everything
NAME_CHARS_MIN: Final = 3  # of what is made anonymous
PART_CHARS_MIN: Final = 11  # without a sign in between, of what is thought to be made by chance

_WORDS = (
    r"pass(?:word|wd|phrase|code)?|pwd|psk|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|account[_-]?key|auth"
    r"|authorization|bearer|cookie|credentials?|signature|sig|webhook|pin|otp|nonce|salt|session[_-]?id|conn(?:ection)?"
    r"[_-]?str(?:ing)?|license|network[_-]?key|install[_-]?code|alarm[_-]?code|user[_-]?code|keys?"
)
_NAME = rf"(?<![\w])[\"']?(?:[\w.-]{{0,64}}[_.-])?(?:{_WORDS})(?:[_.-]?[\w-]{{0,64}})?[\"']?"
_VALUE = (
    r"\"\"\".*?\"\"\"|'''.*?'''|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'"
    r"|(?!\{|\[|true\b|false\b|null\b|None\b|\*\*\*)[^\s,;&}\])]+"
)
_PAIR = re.compile(rf"(?is)({_NAME})(\s*(?:=>|:=|==|=|:)\s*)((?:(?:bearer|basic|digest|negotiate)\s+)?(?:{_VALUE}))")
_CAMEL = re.compile(
    r"([\"']?\b[a-z][A-Za-z0-9]{0,64}(?:Password|Passwd|Secret|Token|ApiKey|AccessKey|PrivateKey|Signature|Pin|Code)[\"']?)"
    rf"(\s*[=:]\s*)({_VALUE})",
    re.DOTALL,
)
_COMMENT = re.compile(rf"(?im)(^[^\S\n]*#)(?=[^\n]*\b(?:{_WORDS}))[^\n]*|([^\S\n]#)(?=[^\n\"']*\b(?:{_WORDS}))[^\n]*")
_LETTER = re.compile(r"(dead letter[^\n\"]*:)([^\n]*)")  # of the log: what it quotes is a payload's
_SCHEME = re.compile(r"(?i)\b(bearer|basic|digest|negotiate|aws4-hmac-sha256)\s+[\w.~+/=,: -]{6,}")
_PEM = re.compile(r"-----BEGIN (?!CERTIFICATE-----)([A-Z0-9 ]+)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,20}://)([^\s\"'<>`|\\]+)")
_HEADERS_INLINE = re.compile(r"(?im)^([^\S\n]*(?:[\w.\"-]+\.)?headers[^\S\n]*=[^\S\n]*)(\{.*)$")
_HEADERS_TABLE = re.compile(r"(?ms)^(\s*\[[^\]\n]*headers\]\s*?\n)(.*?)(?=^\s*\[|\Z)")
_SENT = re.compile(r"(?i)\b(payload(?:_b64|_head_b64)?[\"']?\s*[=:]\s*)(\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[^\s,}]+)")
_QUOTED = re.compile(r"([=:]\s*)(\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*')")
_QUOTES = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"")
_SHAPES = re.compile(
    r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?"  # JSON web tokens
    r"|\b(?:AKIA|ASIA|AGPA|AIDA)[A-Z0-9]{12,}"
    r"|\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk[-_](?:live|test|ant|proj)?[-_]?|[pr]k_live_"
    r"|whsec_|hf_|SG\.|npm_|dop_v1_|AIza)[\w.-]{10,}"
    r"|\b\d{7,12}:[\w-]{30,}"  # Telegram's
    r"|\$(?:2[aby]|5|6|7|argon2\w*|y)\$[^\s\"']{8,}"  # hashes of passwords
    r"|\b[\w]+:\$\d\$[^\s\"']+"
)
_PLACE = re.compile(r"(?i)(\b(?:lat|lon|lng|latitude|longitude)[\"']?\s*[=:]\s*)-?\d+\.\d+")  # where the house is
_RUN = re.compile(r"(?<![\w/.+=-])[A-Za-z0-9+/_-]{20,}={0,2}(?![\w])")
_HEX = re.compile(r"\b[0-9a-fA-F]{32,}\b")


class Scrub:
    """Takes secrets out of texts; with `people` also what says whose house it is. Call it."""

    def __init__(
        self, known: Iterable[str] = (), names: Iterable[str] = (), people: Iterable[str] = (), key: bytes = b""
    ) -> None:
        """Take secrets that are `known`, `names` of variables that hold some, `people` that get an alias by `key`."""
        forms = {form for text in known for form in _forms(text) if len(form) >= KNOWN_CHARS_MIN}
        self._known = _any_of(forms)
        said = sorted({re.escape(name) for name in names if name}, key=len, reverse=True)
        self._names = re.compile(rf"(?s)(\b(?:{'|'.join(said)})\b[\"']?\s*[=:]\s*)({_VALUE})") if said else None
        self._key = key
        whole = {each for each in people if len(each) >= NAME_CHARS_MIN}
        self._people = re.compile(rf"(?<!\w)(?:{_any_of(whole).pattern})(?!\w)") if whole else None  # type: ignore[union-attr]

    def __call__(self, text: str, *, ours: bool = False) -> str:
        """Return a text without secrets; `ours`: it was made by this program, and long hexadecimal numbers are ids."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        text = _PEM.sub(lambda found: f"-----BEGIN {found[1]}----- {HIDDEN}", text)
        text = _COMMENT.sub(lambda found: f"{found[1] or found[2]} {HIDDEN}", text)
        text = _LETTER.sub(lambda found: found[1] + _QUOTES.sub(f'"{HIDDEN}"', found[2]), text)
        text = _HEADERS_INLINE.sub(lambda found: found[1] + _QUOTED.sub(rf'\1"{HIDDEN}"', found[2]), text)
        text = _HEADERS_TABLE.sub(lambda found: found[1] + _QUOTED.sub(rf'\1"{HIDDEN}"', found[2]), text)
        text = _SENT.sub(rf'\1"{HIDDEN}"', text)
        text = _URL.sub(_address, text)
        if self._names is not None:
            text = self._names.sub(_hidden_value, text)
        text = _PAIR.sub(_hidden_pair, text)
        text = _CAMEL.sub(_hidden_value, text)
        text = _SCHEME.sub(lambda found: f"{found[1]} {HIDDEN}", text)
        text = _SHAPES.sub(HIDDEN, text)
        if not ours:
            text = _HEX.sub(HIDDEN, text)
        text = _RUN.sub(lambda found: HIDDEN if by_chance(found[0], ours=ours) else found[0], text)
        if self._people is None:
            return text
        return _PLACE.sub(rf"\1{HIDDEN}", self._people.sub(lambda found: self.alias(found[0]), text))

    def alias(self, name: str) -> str:
        """Return what stands for a name: the same within one bundle, and nothing else."""
        return "anon-" + hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()[:8]


def by_chance(run: str, *, ours: bool = False) -> bool:
    """Return whether a run of characters looks made by chance: many kinds, changing often, no words."""
    if max(map(len, re.split("[/_-]", run))) < PART_CHARS_MIN:
        return False  # words: a path, a topic, what a maker calls an adapter
    kinds = [bool(re.search(kind, run)) for kind in (r"[a-z]", r"[A-Z]", r"\d")]
    if sum(kinds) < 3:
        return not ours and kinds[2] and sum(kinds) == 2 and len(run) >= 24 and _changes(run) > 0.3
    return _changes(run) > 0.25


def _changes(run: str) -> float:
    """Return how often the kind of character changes, of all places where it could."""
    kind = ["a" if each.islower() else "A" if each.isupper() else "0" if each.isdigit() else "-" for each in run]
    return sum(one != two for one, two in pairwise(kind)) / max(1, len(run) - 1)


def _hidden_pair(found: re.Match[str]) -> str:
    """Hide a value; where a secret is said to be (file, credential, env) is none, and is not matched."""
    name = found[1].strip("\"'").lower()
    if name == "credential":  # its name, as systemd knows it
        return found[0]
    if found[2].strip() == ":" and found[3].isidentifier() and found[3] in ("str", "bytes", "int", "bool", "float"):
        return found[0]  # an annotation
    if name.endswith(("_s", "_max", "_min", "_ms")) or (
        re.fullmatch(r"[\"']?(?:keys?|auth|pin|conn\w*)[\"']?", name) and _plain(found[3])
    ):
        return found[0]
    return _hidden_value(found)


def _plain(value: str) -> bool:
    """Return whether a value of a doubtful name (`key = "door"`) is a word or a file."""
    bare = value.strip("\"'")
    return bool(re.fullmatch(r"[a-z][a-z _-]{0,30}|[\w./~-]*/[\w./-]+\.\w{1,5}", bare))


def _hidden_value(found: re.Match[str]) -> str:
    quote_ = found[3 if found.re.groups >= 3 else 2][:1]
    mark = quote_ if quote_ in "\"'" else ""
    head = found[1] + (found[2] if found.re.groups >= 3 else "")
    return f"{head}{mark}{HIDDEN}{mark}"


def _address(found: re.Match[str]) -> str:
    """Keep scheme, host and port of an address, words of its path, names in its query."""
    rest = found[2]
    tail = ""
    while rest and rest[-1] in ".,;:)]}":
        rest, tail = rest[:-1], rest[-1] + tail
    before, _, fragment = rest.partition("#")
    where, asked, query = before.partition("?")
    authority, slash, path = where.partition("/")
    authority = f"{HIDDEN}@{authority.rpartition('@')[2]}" if "@" in authority else authority
    parts = [HIDDEN if _random_part(part) else part for part in path.split("/")]
    words = [f"{pair.partition('=')[0]}={HIDDEN}" if "=" in pair else HIDDEN for pair in re.split("[&;]", query)]
    said = authority + slash + "/".join(parts) + asked + ("&".join(words) if query else "")
    return found[1] + said + (f"#{HIDDEN}" if fragment else "") + tail


def _random_part(part: str) -> bool:
    if part.startswith("{"):  # a template's
        return False
    return len(part) >= 8 and any(each.isdigit() for each in part) and any(each.isalpha() for each in part)


def _forms(text: str) -> Iterator[str]:
    """Yield a secret in every way it is written."""
    raw = text.encode("utf-8", "surrogateescape")
    yield text
    yield text.strip()
    yield repr(text)[1:-1]
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield quote(text, safe="")
    yield quote_plus(text)
    yield raw.hex()
    yield base64.b64encode(raw).decode().rstrip("=")
    yield base64.urlsafe_b64encode(raw).decode().rstrip("=")
    if "\n" in text:
        yield from (line for line in text.split("\n") if not line.startswith("-----") and len(line) >= 8)


def _any_of(texts: Iterable[str]) -> re.Pattern[str] | None:
    found = sorted(set(texts), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, found))) if found else None
