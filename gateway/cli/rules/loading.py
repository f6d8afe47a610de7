"""Rules of a config, loaded in this process against devices and what was heard of them; what has to be so before."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.errors import Fault, probably_meant

if TYPE_CHECKING:
    from gateway.cli.asking.heard import Values
    from gateway.config.load import Config
    from gateway.profiles.devices import Devices
    from gateway.rules.files.loader import Loaded


def never_observed(config: Config, loaded: Loaded) -> Iterator[Fault]:
    """Find words of [rules] observe that are no rules."""
    names = [definition.name for definition in loaded.definitions]
    for place, name in enumerate(config.rules.observe if not loaded.faults else ()):
        if name not in names:
            at = ("rules", "observe", place)
            yield config.document.fault(at, f"there is no rule {name!r}", probably_meant(name, names))


def rules_with(config: Config, devices: Devices, values: Values) -> Loaded:
    """Load the rules against devices that are installed, and those that were heard, with their last values."""
    from gateway.config.acting import acting
    from gateway.rules.files.loader import entries, known_types, load
    from gateway.rules.language.house import House
    from gateway.rules.language.recipients import Recipients

    before_running(config, config.rules.folder)
    house = House(entries(devices), values)
    house.installed = house.installed or bool(values)  # what is in it can be misspelt
    with _alarm(config.rules.load_s_max) as rearm:
        return load(
            config.rules.folder, house=house, modes=config.rules.modes, types=known_types(),
            recipients=Recipients(config.notify.names), acting=acting(config), before=rearm,
            located=config.rules.location is not None,
        )  # fmt: skip


def before_running(config: Config, folder: Path) -> None:
    """Let rules open what the installation grants, and let go of root for good before applied ones run.

    Those lie where the gateway's user may write.
    """
    from gateway.owner import become_owner
    from gateway.rules.walls.fence import grant

    grant(config.rules.grants)
    if folder.is_relative_to(config.places.state):
        become_owner(config.places.state)


@contextmanager
def _alarm(seconds: float) -> Iterator[Callable[[str], None]]:
    """Raise TimeoutError wherever the code is, `seconds` after the yielded function was last called."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"did not end within {seconds:g} s")

    def rearm(_: str) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)

    before = signal.signal(signal.SIGALRM, ring)
    try:
        yield rearm
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
