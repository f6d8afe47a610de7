"""Good versions of rule files, kept in the state folder: the last ten of each, and which of them runs.

A version is a text whose file was loaded and tested without fault.  Texts lie in files named by their hash, written
once; ``index.json`` says which version was good when, and which runs (`current`).  Both are written beside, synced and
renamed, the texts first, so that a power cut leaves the index before or after, and never one without its texts.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from gateway import durable
from gateway.codes.rules import RULE_STORE_FAULT
from gateway.logs.about import about
from gateway.rules.files.snapshot import content, read_file

log = logging.getLogger(__name__)

VERSIONS_MAX = 10  # of a file
FILES_MAX = 1000  # with a history, files that are gone counted in
INDEX = "index.json"
INDEX_BYTES_MAX = 4 * 1024 * 1024


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One good version of a file."""

    hash: str
    time: str  # when it went live, RFC 3339
    actor: str = ""  # who brought it: person:<name> for a rollback, "file" for an edit
    bytes: int = 0


class Index(msgspec.Struct, kw_only=True):
    """What is in index.json."""

    current: dict[str, str] = {}  # file -> hash of the version that runs
    history: dict[str, list[Version]] = {}  # file -> its versions, newest first


class Versions:
    """The store. Every method may block on the disk; one thread at a time."""

    def __init__(self, folder: Path) -> None:
        """Open it; nothing is written before the first version."""
        self._folder = folder
        self.index = self._load()

    def _load(self) -> Index:
        path = self._folder / INDEX
        try:
            with path.open("rb") as file:
                return msgspec.json.decode(file.read(INDEX_BYTES_MAX), type=Index)
        except FileNotFoundError:
            return Index()
        except (OSError, msgspec.DecodeError) as error:
            said = about(RULE_STORE_FAULT)
            log.error("%s: can't be read, earlier versions of rules are not known: %s", path, error, extra=said)
            with contextlib.suppress(OSError):
                path.rename(path.with_suffix(".damaged"))
            return Index()

    def current(self) -> dict[str, bytes]:
        """Return the texts that ran last; one that is damaged is left out."""
        found: dict[str, bytes] = {}
        for name, mark in self.index.current.items():
            text = self.text(mark)
            if text is not None:
                found[name] = text
        return found

    def text(self, mark: str) -> bytes | None:
        """Return a version's text by its hash; None when it is not there or damaged."""
        try:
            source = read_file(self._folder / mark)
        except (OSError, ValueError):
            return None
        return source if content(source) == mark else None

    def record(self, files: Mapping[str, bytes], time: str, actors: Mapping[str, str]) -> None:
        """Keep what runs now. OSError when the disk refuses.

        files   every file that runs
        time    since when
        actors  who brought which file; "file" for the others
        """
        old, current = self.index, {name: content(source) for name, source in files.items()}
        history = {name: list(versions) for name, versions in old.history.items()}
        for name, mark in current.items():
            if old.current.get(name) != mark or name not in history:
                version = Version(hash=mark, time=time, actor=actors.get(name, "file"), bytes=len(files[name]))
                history[name] = [version, *history.get(name, [])][:VERSIONS_MAX]
        for name in sorted(history, key=lambda name: (name in current, history[name][0].time))[: -FILES_MAX or None]:
            del history[name]
        index = Index(current=current, history=history)
        self._folder.mkdir(parents=True, exist_ok=True)
        for name, mark in current.items():
            if old.current.get(name) != mark or not (self._folder / mark).exists():
                durable.replace(self._folder / mark, files[name])
        durable.replace(self._folder / INDEX, msgspec.json.format(msgspec.json.encode(index), indent=1))
        self.index = index
        self._sweep({version.hash for versions in history.values() for version in versions})

    def _sweep(self, wanted: Collection[str]) -> None:
        """Remove texts of versions that are too old."""
        for path in self._folder.iterdir():
            if path.suffix not in (".json", ".damaged") and path.name not in wanted:
                with contextlib.suppress(OSError):
                    path.unlink()
