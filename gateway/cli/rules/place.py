"""Where the rules are, and what the installation says: for every verb that reads or runs rule files itself.

Running them is their top level in this process, on the desk of whoever types; only the gateway runs rules in a process
of their own.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.rules.loading import before_running
from gateway.cli.terminal.printing import complain

if TYPE_CHECKING:
    from gateway.config.load import Config
    from gateway.rules.desk.candidate import Installation
    from gateway.rules.files.loader import Loaded
    from gateway.rules.language.acting import Acting
    from gateway.rules.language.recipients import Recipients
    from gateway.rules.protocol import DeviceEntry

FOLDER: Final = Path("rules")  # where there is neither --rules nor a config


class Place:
    """The folder of rules, and the config as far as it can be read (None: there is none)."""

    def __init__(self, words: argparse.Namespace) -> None:
        from gateway.config.load import read

        self.config: Config | None = read(words.config)[0] if words.config.exists() else None
        given: Path | None = getattr(words, "rules", None)
        self.folder: Path = given or (self.config.rules.folder if self.config is not None else FOLDER)

    @cached_property
    def entries(self) -> list[DeviceEntry]:
        """The devices of devices.toml as rules get them."""
        from gateway.rules.files.loader import entries

        return entries(self.config.devices) if self.config is not None else []

    @property
    def modes(self) -> Sequence[str]:
        """What the mode of the house may be."""
        return self.config.rules.modes if self.config is not None else ()

    @property
    def acting(self) -> Acting | None:
        """Who may act on what; None where nobody says."""
        from gateway.config.acting import acting

        return acting(self.config) if self.config is not None else None

    def installation(self, log_id: str) -> Installation:
        """Return what rules can notice of the installation."""
        from gateway.rules.desk.candidate import Installation

        if self.config is None:
            return Installation(log_id=log_id)
        rules = self.config.rules
        return Installation(
            gateway=self.config.gateway.name,
            log_id=log_id,
            devices=self.entries,
            modes=rules.modes,
            timezone=rules.timezone,
            location=rules.location,
            late_s=rules.late_s,
        )

    def inspect(self) -> Loaded:
        """Load the folder to see what is declared, and what is wrong with it."""
        from gateway.rules.files.loader import known_types

        return self._load(self.folder, types=known_types())

    def load(self, files: Sequence[Path]) -> Loaded | None:
        """Load rule files of one folder, or all of the rules folder; None when it was said what is wrong."""
        missing = [file for file in files if not file.is_file()]
        folders = {file.parent for file in files} or {self.folder}
        if missing or len(folders) > 1 or not (folder := folders.pop()).is_dir():
            complain(f"there is no file {missing[0]}" if missing else "one folder with rules is wanted")
            return None
        loaded = self._load(folder, files=list(files) or None)
        for fault in loaded.faults:
            complain(str(fault))
        if not loaded.definitions and not loaded.faults:
            complain(f"there are no rules in {folder}")
        wrong = bool(loaded.faults) if files else False  # of a folder the rest is run, as in the gateway
        return None if wrong or not loaded.definitions else loaded

    def _load(self, folder: Path, **more: Any) -> Loaded:
        from gateway.rules.files.loader import LOAD_S_MAX, load
        from gateway.rules.language.house import House

        self.prepare(folder)
        return load(
            folder,
            house=House(self.entries, {}),
            modes=self.modes,
            recipients=self._recipients,
            acting=self.acting,
            located=self.config is None or self.config.rules.location is not None,
            limit_s=LOAD_S_MAX,
            **more,
        )

    def prepare(self, folder: Path) -> None:
        """Do what has to be done before anything in a folder runs in this process."""
        if self.config is not None:
            before_running(self.config, folder)

    @property
    def _recipients(self) -> Recipients | None:
        from gateway.rules.language.recipients import Recipients

        return Recipients(self.config.notify.names) if self.config is not None else None
