"""The config a start goes by: one part with a fault is left out, loudly, and the rest runs.

`check` and a reload refuse a config with any fault; a start after a power cut has nobody to refuse it to. What is left
out is one source, target, route, recipient, input or web service, or a section that has defaults, or a folder or file
that is named. A route to a target that is left out is, too; its events are kept (`forward.forwarder.hold_cursors`).

Not left out is what says which gateway this is and where its journal lies ([gateway], [journal], [api]): with a fault
there, or in TOML itself, a start goes by the config that was good last (last_good.py), or does not start at all.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.config import last_good
from gateway.config.crosscheck import unknown_prefixes, unreadable_sources
from gateway.config.load import Config, read
from gateway.config.options import SECTIONS
from gateway.config.places import places
from gateway.errors import ConfigError, Fault, probably_meant
from gateway.notify.options import Directory
from gateway.profiles.catalogue import Catalogue
from gateway.rules.language.recipients import EVERYONE

PARTS: Final = ("sources", "targets", "routes", "notify", "inputs", "http")  # by name
WHOLE: Final = frozenset({"gateway", "journal", "api", "variables"})  # nothing is guessed here
NAMED: Final = frozenset({"profiles", "devices"})  # but for what [gateway] only names: folders, a file


class LeftOut(NamedTuple):
    """A part of the config that does not run, and why."""

    section: str
    name: str  # "": the whole section, with its defaults in its place
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        """Say what and why, on one line: ``source attic: gateway.toml:12: ...``."""
        what = f"{self.section.removesuffix('s')} {self.name}" if self.name else f"[{self.section}]"
        more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
        return f"{what}: {self.faults[0]}{more}"


def startable(file: Path) -> Config:
    """Read the config to start with. Raises ConfigError when it can't be used, and none that was good is kept."""
    config, found_faults = read(file)
    faults = sorted(found_faults, key=lambda fault: (str(fault.file), fault.line or 0))
    fatal = [fault for fault in faults if place_of(config, fault) is None]
    if config is not None and not fatal:
        return without(config, faults)
    state = _state(file, config)
    kept = last_good.read(state, last_good.name_of(state, file))
    if kept is None or kept.file != str(file.absolute()):
        raise ConfigError(faults)
    try:
        found = kept.config()
    except ConfigError:  # what it names is gone, too: what is wrong with the one that was meant says more
        raise ConfigError(faults) from None
    why = LeftOut("config", f"as it is now (going by the one of {kept.time})", tuple(fatal or faults))
    return dataclasses.replace(found, left_out=[why])


def _state(file: Path, config: Config | None) -> Path:
    """Return the state folder; systemd knows it when the config cannot be read (StateDirectory=)."""
    if config is not None:
        return config.places.state
    return Path(os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or places(file).state)


def place_of(config: Config | None, fault: Fault) -> tuple[str, str] | None:
    """Return the part that a fault is about, section and name; None: the whole config."""
    if config is None:
        return None
    if fault.file == config.gateway.devices and fault.at[:1] != ("gateway",):
        return "devices", ""
    section, name = (*map(str, fault.at[:2]), "", "")[:2]
    meant = section in WHOLE or (section not in SECTIONS and probably_meant(section, WHOLE) is not None)
    if not section or (meant and name not in NAMED):
        return None
    if section == "gateway":
        return name, ""
    return (section, name) if section in PARTS and name else (section, "")


def without(config: Config, faults: Iterable[Fault]) -> Config:
    """Return a config without the parts that faults are about, and without the routes that lead nowhere then."""
    about: dict[tuple[str, str], list[Fault]] = {}
    for fault in faults:
        place = place_of(config, fault)
        assert place is not None
        about.setdefault(place, []).append(fault)
    if not about:
        return config
    for name, to, fault in _nowhere(config, {name for section, name in about if section == "targets"}):
        if to and ("routes", name) not in about:
            about["routes", name] = [fault]
    parts: dict[str, Any] = {}
    for section in ("sources", "targets", "routes", "inputs", "http"):
        gone = {name for where, name in about if where == section}
        parts[section] = _less(getattr(config, section), gone)
    gone = {name for where, name in about if where == "notify"}
    if gone:
        groups = {
            name: [each for each in members if each not in gone] for name, members in config.notify.groups.items()
        }
        wanted = {name: tuple(members) for name, members in groups.items() if name not in (EVERYONE, *gone)}
        parts["notify"] = Directory(_less(config.notify.recipients, gone), wanted)
    misspelt = any(section not in SECTIONS and probably_meant(section, ["routes"]) for section, _ in about)
    if misspelt or ("routes", "") in about:
        parts["routes"] = {}  # to send everything anywhere is not what was meant
    elif not config.document.section("routes") and len(config.document.section("targets")) > 1:
        parts["routes"] = {}  # nobody said which events go where
    left_out = [*config.left_out, *(LeftOut(*place, tuple(why)) for place, why in about.items())]
    return dataclasses.replace(config, **parts, left_out=left_out)


def _nowhere(config: Config, gone: set[str]) -> Iterable[tuple[str, str, Fault]]:
    """Yield the routes whose target is left out: name, target, and the fault; the one that nobody wrote, too."""
    named = config.document.section("routes") or {name: {"to": name} for name in gone}
    for name, table in named.items():
        to = str(table.get("to", "")) if isinstance(table, dict) else ""
        if to in gone:
            at = ("routes", name, "to") if config.document.section("routes") else ("targets", to)
            yield name, to, config.document.fault(at, f"its target {to!r} is left out")


def _less(parts: Mapping[str, Any], gone: set[str]) -> dict[str, Any]:
    return {name: part for name, part in parts.items() if name not in gone}


def with_profiles(config: Config) -> tuple[Config, Catalogue]:
    """Load the profiles; files with a fault are left out, and so are sources that nothing can read then."""
    catalogue, broken = Catalogue.salvaged(config.profiles)
    about: dict[str, list[Fault]] = {}
    for fault in broken:
        about.setdefault(Path(fault.file).stem, []).append(fault)
    left_out = [LeftOut("profiles", name, tuple(why)) for name, why in about.items()]
    left_out += [LeftOut("prefixes", "", (fault,)) for fault in unknown_prefixes(config, catalogue.prefixes)]
    config = dataclasses.replace(config, left_out=[*config.left_out, *left_out])
    return without(config, unreadable_sources(config, catalogue)), catalogue


def routes_left_out(config: Config) -> Sequence[str]:
    """Return the routes that do not run and whose events are kept."""
    return [part.name for part in config.left_out if part.section == "routes" and part.name]
