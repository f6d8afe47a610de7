"""A journal's folder, looked at as the config says: its alignment, its keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.journal.inspection import Inspection


def inspected(config: Path, folder: Path | None = None) -> Inspection:
    """Open the journal of a config, or another folder, read-only; a config that is broken or not there has defaults.

    Raises JournalError when there is no journal, ConfigError when it is encrypted and the key is not there.
    """
    from gateway.config.load import read
    from gateway.config.places import places
    from gateway.journal.cipher import keys_of
    from gateway.journal.inspection import Inspection
    from gateway.journal.options import JournalOptions

    found, _ = read(config)
    options = found.journal if found is not None else JournalOptions()
    folder = folder or (found.places if found is not None else places(config)).journal
    return Inspection(folder, align=options.align, keys=keys_of(options))
