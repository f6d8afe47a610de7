"""Payloads: bytes to the document that pointers read, by a message's `format`.

JSON is strict (orjson): no NaN or Infinity, valid UTF-8, no lone surrogates, nesting of at most 1024, integers
beyond 64 bits become floats. Of duplicate keys the last wins, as in the makers' own parsers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from gateway.errors import DecodeError
from gateway.profiles.formats.formats import Tabled, key_of, parser_of
from gateway.profiles.formats.table import Parse

PAYLOAD_BYTES_MAX = 1_000_000  # of a message that is decoded; blobs have their own limit in the profile

ParseOrError = Callable[[bytes], Any]
"""Returns the document, or the DecodeError that says why there is none: it may be another message's."""


def compile_payload(form: str | Tabled, *, empty: bool) -> tuple[str, ParseOrError]:
    """Return a format's key (messages with one key share the document) and its parser. ValueError: bad options.

    `empty`: text without a character is text, too.
    """
    if not isinstance(form, str):
        return key_of(form), _guarded(parser_of(form))
    if form in ("text", "auto") and empty:
        form = f"{form} or nothing"
    return form, _PLAIN[form]


def _guarded(parse: Parse) -> ParseOrError:
    def guarded(payload: bytes) -> Any:
        if len(payload) > PAYLOAD_BYTES_MAX:
            return _too_long(payload)
        try:
            return parse(payload)
        except DecodeError as error:
            return error

    return guarded


def _too_long(payload: bytes) -> DecodeError:
    return DecodeError(f"a payload of {len(payload)} bytes, the limit is {PAYLOAD_BYTES_MAX}")


def _json(payload: bytes) -> Any:
    if len(payload) > PAYLOAD_BYTES_MAX:
        return _too_long(payload)
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        return DecodeError(f"not JSON: {error}" if payload else "an empty payload")


def _text_or_nothing(payload: bytes) -> Any:
    if len(payload) > PAYLOAD_BYTES_MAX:
        return _too_long(payload)
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        return DecodeError(f"not UTF-8: byte 0x{payload[error.start]:02x} at {error.start}")
    if "\0" in text:
        return DecodeError("a NUL character in text")
    return text.strip()


def _text(payload: bytes) -> Any:
    text = _text_or_nothing(payload)
    return DecodeError("an empty payload") if text == "" else text


def _auto(payload: bytes) -> Any:
    return _json(payload) if payload[:1] in (b"{", b"[") else _text(payload)


def _auto_or_nothing(payload: bytes) -> Any:
    return _json(payload) if payload[:1] in (b"{", b"[") else _text_or_nothing(payload)


def _blob(payload: bytes) -> Any:
    return payload


_PLAIN: dict[str, ParseOrError] = {
    "json": _json,
    "text": _text,
    "text or nothing": _text_or_nothing,
    "auto": _auto,
    "auto or nothing": _auto_or_nothing,
    "blob": _blob,
}
