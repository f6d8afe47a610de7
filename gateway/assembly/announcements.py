"""Importers at work: their rows kept, what they ask for sent, and what their devices publish subscribed to.

What importers decide is in `gateway/importers`, how it changes decoding in `profiles/announced.py`; here is what
touches the journal and the sources. Once a second is enough: rows go into the next block whatever it holds, and an
announcement that a kill has swallowed is retained by the broker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.importers.imports import Imports, names
from gateway.profiles.decode import Decoder
from gateway.sources.source import Source


class Announcements:
    """The importers of all sources."""

    def __init__(
        self,
        options: Mapping[str, Any],
        rows: Callable[[str], Mapping[str, Any]],
        keep: Callable[[str, str, Any], None],
    ) -> None:
        """Make them as the sources' options say; `rows` returns a durable table, `keep` puts a row of one."""
        self.by_source = {name: imports_of(each, rows(_table(name))) for name, each in options.items()}
        self._keep = keep
        self._filters: dict[str, list[str]] = {}

    def listen(self, source: str, options: Any, rows: Callable[[str], Mapping[str, Any]]) -> None:
        """Make the importers of a source that is new, or is read otherwise from now on."""
        if source in self.by_source:
            self._put(source)
        self.by_source[source] = imports_of(options, rows(_table(source)))

    def before_commit(self) -> None:
        """Put what importers remember into the block that is about to be written."""
        for source in self.by_source:
            self._put(source)

    def _put(self, source: str) -> None:
        for key, row in self.by_source[source].changes():
            self._keep(_table(source), key, row)

    def status(self, source: str) -> dict[str, object]:
        """Say how many devices described themselves to a source, and what of it is not read; nothing when none did."""
        imports = self.by_source[source]
        said = imports.status()
        refused = {"last_refusal": imports.last_refusal} if imports.last_refusal else {}
        return {"described": said, **refused} if said else {}

    def left_out(self, device: str, decoders: Mapping[str, Decoder]) -> list[str]:
        """Return what a device says of itself and is not read, with the reasons."""
        source = device.partition("/")[0]
        imports, decoder = self.by_source.get(source), decoders.get(source)
        if imports is None or decoder is None:
            return []
        stable = decoder.devices.stable
        for _, each in imports.descriptions():
            if device in (stable(f"{source}/{each.device}"), *map(stable, (f"{source}/{a}" for a in each.aliases))):
                return list(each.left_out)
        return []

    def tick(
        self, decoders: Mapping[str, Decoder], sources: Mapping[str, Source], wake: Callable[[], None], *, observe: bool
    ) -> None:
        """Send what waits, unless nothing may be sent; subscribe to what is read since; have rows written."""
        for name, imports in self.by_source.items():
            if observe:
                imports.sends.clear()
            while imports.sends and sources[name].send(*imports.sends[0]):
                imports.sends.popleft()
            if any(importer.rows.dirty for importer in imports.importers):
                wake()
            follow = getattr(sources[name], "follow", None)
            if follow is not None and imports.moved:
                imports.moved = False
                follow(decoders[name].filters)


def imports_of(options: Any, kept: Mapping[str, Any]) -> Imports:
    """Make the importers of one source; a kind of source that has none has no such option."""
    wanted = getattr(options, "importers", ())
    return Imports(names(wanted), getattr(options, "prefixes", {}), kept)


def _table(source: str) -> str:
    return f"imported:{source}"
