"""[rules] in gateway.toml: where the rule files are, and what a rule may take."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gateway.rules.walls import grants


class Location(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the house stands, for sunrise and sunset."""

    latitude: float  # degrees, north is positive
    longitude: float  # degrees, east is positive

    def __post_init__(self) -> None:
        if not (-90 <= self.latitude <= 90 and -180 <= self.longitude <= 180):
            raise ValueError("latitude is -90 to 90, longitude is -180 to 180")


class RuleOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the rule worker."""

    folder: Path = Path("rules")
    modes: tuple[str, ...] = ("home", "away", "night", "vacation")  # of the house; the first is the one at first
    timezone: str = "UTC"  # IANA name: what ctx.now and event.time are in; default: [gateway] timezone
    location: Location | None = None  # for sunrise and sunset; default: [gateway.location]
    grant: tuple[str, ...] = ()  # opened for all rules: network, subprocess, threads, ctypes, read:/path, write:/path
    grant_to: dict[str, tuple[str, ...]] = {}  # the same for single files: "presence.py" = ["network"]
    spare: bool = True  # keep a worker ready, 14 MB: others wait less when a rule was stopped, edits are live sooner
    call_s_max: float = 0.5  # a rule's call that takes longer is ended, and the rule quarantined
    load_s_max: float = 5.0  # running a file's top level
    memory_bytes_max: int = 256 * 1024 * 1024  # data of the worker process
    late_s: float = 60.0  # older events switch nothing
    gate_s: float = 2.0  # an event that a gate has not decided about by then goes as it is, or is dropped (@gate fail)
    manual_hold_s: float = 3600.0  # how long a change by hand wins over rules; devices.toml may say otherwise
    echo_s: float = 10.0  # for so long after a command, what a device says may be about the time before
    observe: tuple[str, ...] = ()  # rules whose commands are recorded, not sent
    wheels: tuple[Path, ...] = ()  # folders with the wheels of rules/requirements.lock; none: as pip is set up here
    removed_kept_days: float = 7.0  # state and timers of a removed rule, for its name to come back
    records_max: int = 10_000  # waiting for the worker in memory; older ones are read back from the journal
    bytes_max: int = 8 * 1024 * 1024

    def __post_init__(self) -> None:
        if min(self.manual_hold_s, self.echo_s, self.gate_s) < 0:
            raise ValueError("manual_hold_s, echo_s and gate_s are times")
        grants.check((*self.grant, *(word for words in self.grant_to.values() for word in words)))

    @property
    def grants(self) -> dict[str, tuple[str, ...]]:
        """What is granted, by file name; "" is everybody's."""
        return {name: words for name, words in {"": self.grant, **self.grant_to}.items() if words}
