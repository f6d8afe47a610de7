"""Collects what a gateway says of itself (api/vitals.py), for `status` and the heartbeat alike."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.api.vitals import CertificateDays, Vitals
from gateway.belonging import Belonging
from gateway.certificates import FILE_BYTES_MAX, certificates_in, first_to_end
from gateway.clock import NS_PER_S, Clock, ClockState, wall_ns_of
from gateway.config.load import Config
from gateway.identity import of_card

DIGITS: Final = 16  # of a hash
DAY_S: Final = 86_400
RATE_S_MIN: Final = 600.0  # before a rate of writing means anything
PROFILES_MAX: Final = 2000  # files that are hashed
CHAIN_MAX: Final = 8  # certificates in a file that is ours; more are a system's bundle, where roots end as they do


class VitalSigns:
    """Asked on the event loop's thread (`now`); files are read on another one (`Asked.collect`)."""

    def __init__(
        self,
        clock: Clock,
        state: Callable[[], ClockState],
        belonging: Belonging,
        *,
        config: Callable[[], Config],
        rules: Callable[[], Mapping[str, str]],
        profiles: Callable[[], object],
        written: Callable[[], int],
    ) -> None:
        """Take where everything is asked for.

        rules     running rule files and their versions
        profiles  the catalogue; another object when others run
        written   bytes that the journal has written since the start
        """
        self.more: dict[str, Callable[[], str]] = {}  # hashes of other rooms, by name; empty ones are left out
        self._clock = clock
        self._state = state
        self._belonging = belonging
        self._config = config
        self._rules = rules
        self._profiles = profiles
        self._written = written
        self._began_ns = clock.boot_ns()
        self._known: dict[str, tuple[object, str]] = {}

    @property
    def uptime_s(self) -> float:
        """Return how long the gateway has run, whatever its wall clock did."""
        return (self._clock.boot_ns() - self._began_ns) / NS_PER_S

    def now(self) -> Callable[[], Vitals]:
        """Return what collects the rest; it reads files and may be called on another thread."""
        config, said, state = self._config(), self._belonging.said(), self._state()
        rules, profiles = dict(self._rules()), self._profiles()
        uptime_s, written = self.uptime_s, self._written()
        more = {name: found for name, ask in self.more.items() if (found := ask())}
        now_s = max(self._clock.wall_ns(), wall_ns_of(state.not_before) if state.not_before else 0) / NS_PER_S

        def collect() -> Vitals:
            hashes = {
                "config": self._once(
                    "config", config, lambda: _of(config.document.data, config.file.absolute().parent)
                ),
                "rules": _of(rules),
                "profiles": self._once("profiles", profiles, lambda: _of_files(config.profiles)),
                **more,
            }
            return Vitals(
                clock=state,
                identity=str(said["id"]),
                identity_state=str(said["state"]),
                identity_since=str(said["since"]) if said["since"] else None,
                hashes=hashes,
                memory_bytes=_resident(),
                written_per_day_bytes=round(written / uptime_s * DAY_S) if uptime_s >= RATE_S_MIN else None,
                card_life_used_percent=_life_used(config.places.state),
                certificates=list(_certificates(config, now_s)),
            )

        return collect

    def _once(self, name: str, what: object, hashed: Callable[[], str]) -> str:
        """Hash a thing again only when it is another one."""
        known = self._known.get(name)
        if known is None or known[0] is not what:
            known = self._known[name] = (what, hashed())
        return known[1]


def _of(data: Any, folder: Path | None = None) -> str:
    """Hash what can be written as JSON; a folder's own name does not count, so that sites are the same anywhere."""
    text = msgspec.json.encode(data, order="deterministic", enc_hook=str)
    return hashlib.sha256(text.replace(str(folder).encode(), b".") if folder else text).hexdigest()[:DIGITS]


def _of_files(folders: Any) -> str:
    found = hashlib.sha256()
    for folder in folders:
        for file in sorted(folder.glob("*.toml"))[:PROFILES_MAX]:
            with suppress(OSError):
                found.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()[:DIGITS]


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _life_used(state: Path) -> int | None:
    """Return how much of an eMMC's life is used, as it estimates itself (JEDEC 84-B51, 7.4.44): the worse type."""
    worst = max((int(word, 16) for word in of_card(state, "life_time").split() if word.startswith("0x")), default=0)
    return min(100, worst * 10) or None


def _certificates(config: Config, now_s: float) -> Iterator[CertificateDays]:
    """Yield the certificate files that sources and targets name, each with what ends first in it."""
    for name, options in (*config.sources.items(), *config.targets.items()):
        tls = getattr(options, "tls", None)
        files = {
            getattr(holder, each, None) for holder in (tls, options) for each in ("certificate", "ca", "client_ca")
        }
        for file in sorted(file for file in files if isinstance(file, Path)):
            with suppress(OSError, ValueError), file.open("rb") as opened:
                found = certificates_in(opened.read(FILE_BYTES_MAX))
                if 0 < len(found) <= CHAIN_MAX:
                    first = first_to_end(found)
                    days = round(first.days_left(now_s), 1)
                    yield CertificateDays(of=name, file=str(file), name=first.name, days_left=days)
