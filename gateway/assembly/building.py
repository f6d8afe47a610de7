"""Makes sources and targets from their options. A kind's module is imported when there is one of it, not before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from gateway.clock import Clock
from gateway.journal.committer import Committer
from gateway.journal.journal import Journal
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.lines import line_of
from gateway.profiles.units import units_of, wire_of
from gateway.sources.source import Source
from gateway.targets.target import Target


class Building:
    """What sources and targets are made with."""

    def __init__(
        self,
        gateway: str,
        journal: Journal,
        committer: Committer,
        clock: Clock,
        catalogue: Catalogue,
        keep: Callable[[str, str, Any], None],
        filters: Callable[[str], Sequence[str]],
        read_blob: Callable[[str], bytes | None],
    ) -> None:
        """Take what they need: `keep` puts a row of a durable table, `filters` are topics that a source shall bring."""
        self._gateway, self._journal, self._committer, self._clock = gateway, journal, committer, clock
        self.catalogue = catalogue
        self._keep, self._filters, self._read_blob = keep, filters, read_blob
        self._before_commit: dict[str, Callable[[], None]] = {}  # by source

    def source(self, name: str, options: Any) -> Source:
        """Build a source by the type of its options."""
        if type(options).__name__.startswith("Listener"):
            return self._listener(name, options)
        if type(options).__name__.startswith("SerialSource"):
            return self._serial(name, options)
        if type(options).__name__.startswith("HttpSource"):
            return self._http(name, options)
        if type(options).__name__.startswith("Bus"):
            return self._bus(name, options)
        return self._mqtt(name, options)

    def forget(self, name: str) -> None:
        """Put what a source that has ended remembers into the open batch, and ask it no more."""
        hook = self._before_commit.pop(name, None)
        if hook is not None:
            hook()
            self._committer.before_seal.remove(hook)

    def _ask_before_commit(self, name: str, hook: Callable[[], None]) -> None:
        self._before_commit[name] = hook
        self._committer.before_seal.append(hook)

    def _listener(self, name: str, options: Any) -> Source:
        from gateway.sources.listener import Listener

        listener, journal = Listener(name, options, self._clock), self._journal

        def keep(table: str, key: str, row: Any) -> None:
            """Put a row; traces ride on a commit, the others need one."""
            self._keep(f"{table}:{name}", key, row)
            if table != "traces":
                self._committer.wake()

        listener.keep_rows(
            keep,
            dict(journal.table(f"sessions:{name}")),
            dict(journal.table(f"retained:{name}")),
            dict(journal.table(f"traces:{name}")),
        )
        self._ask_before_commit(name, listener.before_commit)
        return listener

    def _serial(self, name: str, options: Any) -> Source:
        from gateway.sources.serial import SerialSource

        line = line_of(self.catalogue, options.profiles, options.baud, options.mode)
        settings = msgspec.structs.replace(options, baud=line.baud, mode=line.mode)
        return SerialSource(name, settings, line.framing, self._clock)

    def _bus(self, name: str, options: Any) -> Source:
        from gateway.sources.bus import BusSource

        line = line_of(self.catalogue, options.profile, options.baud, options.mode)
        settings = msgspec.structs.replace(options, baud=line.baud, mode=line.mode)
        wire = wire_of(self.catalogue, options.profile[0])
        return BusSource(name, settings, wire, units_of(self.catalogue, options.units), self._clock)

    def _mqtt(self, name: str, options: Any) -> Source:
        from gateway.sources.mqtt import MqttSource

        source = MqttSource(name, options, self._filters(name), self._clock, self._gateway)
        table = f"seen:{name}"
        source.seen.load(self._journal.table(table))
        source.flush = self._committer.flush
        held = f"subscribed:{name}"
        source.keep_filters(partial(self._keep, held), self._journal.table(held))

        def remember() -> None:
            """Put what the source remembers of messages into the block of their events, never into one before."""
            for key, value in source.seen.changes():
                self._keep(table, key, value)

        self._ask_before_commit(name, remember)
        return source

    def _http(self, name: str, options: Any) -> Source:
        from gateway.sources.http import HttpSource

        source, table = HttpSource(name, options, lambda: self._filters(name), self._clock), f"posted:{name}"
        source.keep_keys(lambda key, row: self._keep(table, key, row), dict(self._journal.table(table)))
        return source

    def target(self, name: str, options: Any) -> Target:
        """Build a target by the type of its options."""
        if type(options).__name__.startswith("Http"):
            from gateway.targets.http import HttpTarget

            return HttpTarget(name, options, self._clock, self._read_blob)
        from gateway.targets.mqtt import MqttTarget

        return MqttTarget(name, options, self._gateway, self._clock)
