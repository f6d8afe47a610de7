"""The contract of a format: a table of options, compiled once to a function ``bytes -> document``.

``format = { type = "split", sep = ";", names = [...] }`` in a profile is a `Table`; its `parser` is made when the
profile is loaded and turns one frame or payload into what JSON could have said: objects, arrays, texts, numbers, bytes
as lower-case hexadecimal text. Everything after that (pointers, `when`, fields, maps, `each`) is the language as it is.

A parser is pure, takes time linear in its input, and raises DecodeError with a reason and nothing else. A new format
is one new file with one Struct in it, and one line in `formats.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.errors import DecodeError
from gateway.profiles.formats.bits import Bits, Every, bits_reader, every_reader

Parse = Callable[[bytes], Any]

LINE_BYTES_MAX = 4096  # of a text frame; longer is no line of a device but noise without line ends


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """What every format may say beside its own options: members read from bytes that it found."""

    bits: list[Bits] = []  # members at a byte or bit of a hexadecimal member
    every: Every | None = None  # a hexadecimal member that holds an array of records

    def parser(self) -> Parse:
        """Return the function ``bytes -> document``. Raises ValueError for options that make no sense."""
        parse = self.reader()
        readers = [bits_reader(self.bits)] if self.bits else []
        if self.every:
            readers.append(every_reader(self.every))
        if not readers:
            return parse

        def with_bits(payload: bytes) -> Any:
            document = parse(payload)
            for read in readers:
                read(document)
            return document

        return with_bits

    def reader(self) -> Parse:
        """Return the function without `bits`; each format has its own."""
        raise ValueError(f"{type(self).__name__} reads nothing")


def line_of(payload: bytes) -> str:
    """Return a text frame without its end. DecodeError for what is no line of text."""
    if len(payload) > LINE_BYTES_MAX:
        raise DecodeError(f"a line of {len(payload)} bytes, the limit is {LINE_BYTES_MAX}")
    try:
        text = payload.decode("utf-8").rstrip("\r\n\0 \t").lstrip("\r\n\0")
    except UnicodeDecodeError as error:
        raise DecodeError(f"byte 0x{payload[error.start]:02x} is not text") from None
    if not text.strip():
        raise DecodeError("an empty line")
    if not text.isprintable() and not text.replace("\t", " ").isprintable():
        raise DecodeError("control characters in a line of text")
    return text
