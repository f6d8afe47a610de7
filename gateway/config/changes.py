"""Which files of an installation are others than when the gateway read them: a reload reads them.

Rule files, device profiles and devices.toml are not among them: those go live by themselves.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from gateway.config.installation import parts
from gateway.config.load import Config
from gateway.errors import GatewayError

Signature = dict[Path, tuple[int, int]]
"""By file: time of its last change in nanoseconds, and its length in bytes."""


class Changes:
    """Made when they were read, asked later."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._when_read = _signature(config)

    def since_read(self) -> list[str]:
        """Return the files that were changed, added or removed since; beside the config by their names. BLOCKING."""
        now, folder = _signature(self._config), self._config.file.absolute().parent
        changed = {path for path in self._when_read.keys() | now.keys() if self._when_read.get(path) != now.get(path)}
        return sorted(str(path.relative_to(folder) if path.is_relative_to(folder) else path) for path in changed)


def _signature(config: Config) -> Signature:
    found: Signature = {}
    rules, devices = config.rules.folder, config.gateway.devices
    with suppress(GatewayError):  # more files than can be looked at: said by those who have to read them
        for part in parts(config):
            live = part.path == devices or part.path.is_relative_to(rules) or part.path.parent in config.profiles
            if not (part.secret or live):  # secrets are read when they are needed
                with suppress(OSError):
                    status = part.path.stat()
                    found[part.path] = (status.st_mtime_ns, status.st_size)
    return found
