"""Every way this program fails on purpose.

::

    GatewayError
    ├── ConfigError      refuse to start (or keep the last good set): faults with file and line
    ├── DecodeError      dead-letter one message: the payload is not what its profile says
    ├── JournalError     the journal cannot do what was asked (say what is on the disk)
    │   ├── DiskRefused  the file system refuses writes: acknowledgement is withheld, retried
    │   └── NewerFormat  a newer version wrote it: refuse to start, touch nothing
    ├── ProtocolError    the peer broke its protocol: close that connection, keep the rest
    └── TargetDown       the cloud is away: wait, keep everything

Anything else that escapes is a bug: the process ends and systemd starts it again.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


class GatewayError(Exception):
    """The root; catch it only where a person is told."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a file a person wrote: where, what, and what was probably meant."""

    file: Path | str
    line: int | None
    what: str
    hint: str | None = None
    at: tuple[str | int, ...] = field(default=(), compare=False, repr=False)  # the keys that lead there

    def __str__(self) -> str:
        """Render as ``file:line: what (hint)``, the form editors can jump to."""
        where = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{where}: {self.what}" + (f" ({self.hint})" if self.hint else "")


class ConfigError(GatewayError):
    """A config, profile or rule file has faults; `faults` holds every one found, not the first."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(dict.fromkeys(faults))  # two that say the same are one to a person
        super().__init__("\n".join(map(str, self.faults)))


class DecodeError(GatewayError):
    """A message cannot be decoded; the reason ends up in its dead letter."""


class JournalError(GatewayError):
    """The journal cannot be opened or read as asked."""


class DiskRefused(JournalError):
    """A write or fdatasync failed; nothing in the batch is durable, nothing was acknowledged."""


class NewerFormat(JournalError):
    """A newer version of this program wrote the journal; this one must not go on with it."""


class ProtocolError(GatewayError):
    """A peer sent bytes its protocol forbids; `reason_code` is MQTT 5's word for it (section 2.4)."""

    def __init__(self, what: str, reason_code: int = 0x82) -> None:
        self.reason_code = reason_code
        super().__init__(what)


class TargetDown(GatewayError):
    """A target cannot be reached at all; no event was judged."""


def probably_meant(word: str, known: Iterable[str]) -> str | None:
    """Return a did-you-mean hint for `word`, or None when nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else None
