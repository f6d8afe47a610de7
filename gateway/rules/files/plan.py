"""Which version of each rule file to run: what lies on the disk, but for files that failed, which keep their last good.

Pure. A plan begins as the snapshot of the disk.  Each round of trials names faults; `refuse` puts the files they are
due to back to what runs, or leaves out a file that never ran.  As every round refuses at least one changed file, and
the files that run are known to work together, it comes to an end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gateway.errors import Fault
from gateway.rules.files.snapshot import LIB, LOCK, digest, is_rule_file
from gateway.rules.protocol import DOUBLE, NOT_PYTHON, RuleFault

Uses = Mapping[str, Collection[str]]
"""What of lib a file depends on, whether it is there or not; names below the folder."""


class Refusal(NamedTuple):
    """Why a version of a file does not run, and what it was tried with."""

    context: str  # hash of the file and of what it imports
    faults: Sequence[RuleFault]
    again: bool = False  # the fault depends on other files, too: try it with every edit
    alone: bool = False  # it is no Python, whatever it imports


class Plan:
    """What is to be tried. `files` is the next thing to try; `refused` says what of the disk is not in it."""

    def __init__(
        self,
        folder: Path,
        wanted: Mapping[str, bytes],
        running: Mapping[str, bytes],
        *,
        unreadable: Mapping[str, Fault] | None = None,
        known: Mapping[str, Refusal] | None = None,
        uses: Uses | None = None,
    ) -> None:
        """Plan for what lies on the disk.

        wanted      the files on the disk
        running     the files that run
        unreadable  files on the disk that could not be read
        known       what was refused before: not tried again while it is the same
        uses        what files depend on, as far as known from earlier
        """
        self._folder = folder
        self._wanted = dict(wanted)
        self._running = running
        self.uses: dict[str, Collection[str]] = dict(uses or {})
        self.files = dict(wanted)
        self.refused: dict[str, Refusal] = {}
        for name, fault in (unreadable or {}).items():
            self._refuse(name, [RuleFault("", str(fault.file), fault.line or 0, fault.what)])
        for name, refusal in (known or {}).items():
            same = name in wanted and self._context(name, alone=refusal.alone) == refusal.context
            if same and not refusal.again:
                self._put_back(name)
                self.refused[name] = refusal

    @property
    def changed(self) -> list[str]:
        """The files that differ from what runs: new, edited or removed."""
        names = sorted({*self.files, *self._running})
        return [name for name in names if self.files.get(name) != self._running.get(name)]

    def to_test(self) -> list[str]:
        """Return the rule files whose tests have to pass: changed ones, and those that import something changed."""
        changed = set(self.changed)
        return [
            name
            for name in sorted(self.files)
            if is_rule_file(name) and ({name, LOCK} & changed or not changed.isdisjoint(self.uses.get(name, ())))
        ]

    def refuse(self, faults: Iterable[RuleFault]) -> None:
        """Put back the files that faults are due to."""
        by_file: dict[str, list[RuleFault]] = {}
        for fault in faults:
            for name in self._culprits(fault):
                by_file.setdefault(name, []).append(fault)
        for name, found in by_file.items():
            self._refuse(name, found)

    def refuse_all(self, why: str) -> None:
        """Put back everything that changed, for a reason that may be gone the next time."""
        for name in self.changed:
            self.wait(name, why)

    def wait(self, name: str, why: str) -> None:
        """Let a file keep what runs for now, for a reason that may be gone the next time."""
        self._refuse(name, [RuleFault("", str(self._folder / name), 0, why)])
        self.refused[name] = self.refused[name]._replace(again=True)

    def _culprits(self, fault: RuleFault) -> list[str]:
        """Return the changed files a fault is due to; if none is, the file itself."""
        name = self._name(fault.file)
        changed = set(self.changed)
        if name in changed:
            return [name]
        imported = changed.intersection(self.uses.get(name, ()))
        if name.startswith(f"{LIB}/"):
            imported |= {each for each in changed if name in self.uses.get(each, ())}
        return sorted(imported or changed) or [name]

    def _name(self, path: str) -> str:
        file = Path(path)
        return file.relative_to(self._folder).as_posix() if file.is_relative_to(self._folder) else path

    def _refuse(self, name: str, faults: Sequence[RuleFault]) -> None:
        again = any(self._name(fault.file) != name or fault.what.startswith(DOUBLE) for fault in faults)
        alone = all(fault.what.startswith(NOT_PYTHON) for fault in faults)
        context = self._context(name, alone=alone)
        self._put_back(name)
        self.refused[name] = Refusal(context, faults, again, alone)

    def _put_back(self, name: str) -> None:
        if name in self._running and self.files.get(name) != self._running[name]:
            self.files[name] = self._running[name]
        else:
            self.files.pop(name, None)

    def _context(self, name: str, *, alone: bool) -> str:
        names = [name] if alone else [name, LOCK, *self.uses.get(name, ())]
        return digest({each: self._wanted[each] for each in names if each in self._wanted})
