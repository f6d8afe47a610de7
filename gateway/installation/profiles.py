"""The profiles of a running gateway: read again when a file changes, live from the next message on.

Files are looked at every `LOOK_S`; two looks that see the same find them quiet. What changed is compiled beside what
runs, and all of it is swapped between two messages or none: a file with a fault, or profiles that a source of the
config cannot do with, keep what runs, and log and status say file and line. Devices keep what is known of them, and
what they said about themselves stays.

What a serial line is opened with (baud, framing, polls) counts from the next reload; it is said when it has changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.actors import by_file
from gateway.clock import rfc3339
from gateway.codes.config import PROFILE_FAULT, PROFILE_WAITS
from gateway.codes.disk import NOT_IN_THE_JOURNAL
from gateway.config.crosscheck import unknown_prefixes, unreadable_sources
from gateway.config.load import Config
from gateway.document import raise_faults
from gateway.errors import ConfigError, DiskRefused, Fault, JournalError
from gateway.event import Event
from gateway.logs.about import about
from gateway.profiles.catalogue import PROFILES_MAX, Catalogue, load_profile
from gateway.profiles.compiled import Compiled
from gateway.profiles.units import OfUnits

if TYPE_CHECKING:
    from gateway.daemon import Daemon

log = logging.getLogger(__name__)

LOOK_S = 0.5
NAMED_MAX = 100  # profiles in an event `profiles_changed`

Signature = tuple[int, int, int]
Seen = dict[str, Signature]  # by path: as text, because it is compared twice a second


class FoundProfiles(NamedTuple):
    """What was read, and from which files."""

    files: Seen
    compiled: dict[str, tuple[Signature, Compiled]]
    catalogue: Catalogue


class ProfileFiles:
    """Watches the folders of profiles. Belongs to the event loop's thread."""

    def __init__(self, daemon: Daemon) -> None:
        """Begin with what the daemon has loaded."""
        self._daemon = daemon
        self.since = ""  # when the profiles took effect that count; empty: at the start
        self.faults: list[str] = []  # why the files on the disk are not what counts
        self.waiting: list[str] = []  # profiles whose line has changed: that counts from the next reload
        self.one = asyncio.Lock()  # who reads them and lets them count has this, between the two
        self._seen = self._judged = self._look_at_files(daemon.config)
        self._compiled: dict[str, tuple[Signature, Compiled]] = {
            compiled.file: (self._seen[compiled.file], compiled)
            for compiled in daemon.catalogue.profiles.values()
            if compiled.file in self._seen
        }
        self._links = {name: (p.source.link, p.source.poll) for name, p in daemon.catalogue.profiles.items()}

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            async with self.one:
                now = self._look_at_files(self._daemon.config)
                quiet, self._seen = now == self._seen, now
                if quiet and now != self._judged:
                    self._judged = now
                    await self._take(now)

    def read(self, config: Config) -> FoundProfiles:
        """Read what a config names; nothing changes. Raises ConfigError with the faults of all files. BLOCKING."""
        return self._compile(self._look_at_files(config))

    def become(self, found: FoundProfiles) -> None:
        """Let these count from now on; sources have been made for their lines."""
        self.faults, self._seen, self._judged = [], found.files, found.files
        self._swap(found)
        self._links = {name: _of(compiled) for name, compiled in found.catalogue.profiles.items()}
        self.waiting = []

    def _look_at_files(self, config: Config) -> Seen:
        found: Seen = {}
        for folder in config.profiles:
            found.update(sorted(_toml_files(folder))[:PROFILES_MAX])
        return found

    async def _take(self, files: Seen) -> None:
        try:
            found = await asyncio.to_thread(self._compile, files)
            raise_faults(self._unfit(found.catalogue))
        except ConfigError as error:
            self.faults = [str(fault) for fault in error.faults]
            for fault in self.faults:
                log.error("%s; the profiles as they were still count", fault, extra=about(PROFILE_FAULT))
            return
        self.faults = []
        self._swap(found)

    def _compile(self, files: Seen) -> FoundProfiles:
        """Compile what changed; the rest is as it was. Raises ConfigError with the faults of all files."""
        compiled: dict[str, tuple[Signature, Compiled]] = {}
        faults: list[Fault] = []
        for file, signature in files.items():
            before = self._compiled.get(file)
            try:
                compiled[file] = before if before and before[0] == signature else (signature, load_profile(Path(file)))
            except ConfigError as error:
                faults += error.faults
        raise_faults(faults)
        return FoundProfiles(files, compiled, Catalogue(profile for _, profile in compiled.values()))

    def _unfit(self, catalogue: Catalogue) -> Iterator[Fault]:
        """Find what the sources of the config cannot do without."""
        config = self._daemon.config
        yield from unknown_prefixes(config, catalogue.prefixes)
        yield from unreadable_sources(config, catalogue)

    def _swap(self, found: FoundProfiles) -> None:
        """Let other profiles count, between two messages."""
        daemon, catalogue, self._compiled = self._daemon, found.catalogue, found.compiled
        before, after = daemon.catalogue.profiles, catalogue.profiles
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) is not after.get(name))
        if not changed:
            return
        daemon.catalogue = catalogue
        for name, decoder in daemon.decoders.items():
            if name not in daemon.config.sources:
                continue  # it has just ended
            units = getattr(daemon.config.sources[name], "units", None)
            decoder.read(catalogue if units is None else OfUnits(catalogue, units))
            daemon.announcements.by_source[name].moved = True  # its filters may be others
        self.waiting = sorted(
            name for name, was in self._links.items() if name in after and _line(*was) != _line(*_of(after[name]))
        )
        daemon.installation.unknown.clear()  # one of them may be read now
        self.since = rfc3339(daemon.clock.wall_ns())
        self._record(changed)
        log.info("profiles took effect: %s", ", ".join(changed[:NAMED_MAX]))
        for name in self.waiting:
            log.warning(
                "profile %s: its serial line or its polls have changed; that counts from the next reload",
                name,
                extra=about(PROFILE_WAITS),
            )

    def _record(self, changed: list[str]) -> None:
        daemon = self._daemon
        known = daemon.catalogue.profiles.get(changed[0])
        data = {"profiles": changed[:NAMED_MAX], "more": max(0, len(changed) - NAMED_MAX)}
        event = Event(
            source=f"/{daemon.name}/installation",
            type="profiles_changed",
            time=rfc3339(daemon.clock.wall_ns()),
            actor=by_file(Path(known.file) if known else daemon.config.profiles[-1]),
            data=data,
        )
        try:
            daemon.pipeline.record_all([event])
        except (JournalError, DiskRefused) as error:
            said = about(NOT_IN_THE_JOURNAL)
            log.error("profiles: what changed is in effect, and not in the journal: %s", error, extra=said)


def _toml_files(folder: Path) -> Iterator[tuple[str, Signature]]:
    """Yield the path of each profile in a folder, and what the file system says of it."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".toml"):
                with contextlib.suppress(OSError):  # removed this moment
                    status = entry.stat()
                    yield entry.path.removeprefix("./"), (status.st_mtime_ns, status.st_size, status.st_ino)


def _of(compiled: Compiled) -> tuple[Any, Any]:
    return compiled.source.link, compiled.source.poll


def _line(link: Any, poll: Any) -> tuple[Any, ...]:
    """Return what is only read when a serial source begins."""
    if link.kind != "serial":
        return ()
    return link.baud, link.mode, link.framing, link.timeout, link.retries, poll
