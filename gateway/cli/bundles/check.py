"""`check --bundle`: a whole installation, of one site or of many, on a machine that is none of them.

Nothing of this machine is looked at: no port, broker or cloud, no secret, no journal. What the bundle wants of its
machine (secrets, keys, certificates) is listed. What is the same for several sites is looked at, and said, once.
Rule files are run as `check` runs them: a bundle is the work of somebody who may change the rules.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.bundles.bundle import Bundle, Site, opened
from gateway.cli.rules.loading import never_observed, rules_with
from gateway.cli.terminal.printing import complain, fault_json, say, say_json
from gateway.cli.verb import CONFIG_FAULT, OK
from gateway.config.acting import acting
from gateway.config.crosscheck import unknown_prefixes, unknown_profiles
from gateway.config.installation import named
from gateway.config.named import secrets
from gateway.config.recipients import missing_extra
from gateway.errors import ConfigError, Fault, GatewayError
from gateway.profiles.catalogue import Catalogue

if TYPE_CHECKING:
    from gateway.config.load import Config
    from gateway.rules.files.loader import Loaded

SITES_SHOWN_MAX = 5


class Need(msgspec.Struct, frozen=True, order=True):
    """What a machine has to have beside the bundle."""

    what: str  # secret or file
    where: str  # "credential cloud", "file kitchen.password": relative names lie in the config's own folder
    named_at: str  # file:line


class Report(msgspec.Struct, frozen=True):
    """How one site is."""

    site: str
    ok: bool
    counts: dict[str, int]
    faults: list[Fault]
    warnings: list[Fault]
    needs: list[Need]


def check_bundle(words: argparse.Namespace) -> int:
    """Check every site, or those that are named; 78 when one has a fault."""
    try:
        with opened(words.bundle, words.site) as bundle:
            looking = Looking(bundle)
            reports = [looking.report(site) for site in bundle.sites]
    except ConfigError as error:
        if words.json:
            faults = [{**fault_json(fault), "sites": []} for fault in error.faults]
            say_json({"ok": False, "bundle": str(words.bundle), "faults": faults, "warnings": [], "sites": []})
            return CONFIG_FAULT
        raise
    except OSError as error:
        raise GatewayError(f"{words.bundle}: {error.strerror or error}") from None
    if words.json:
        say_json(summary(bundle, reports))
    else:
        _print(bundle, reports)
    return OK if all(report.ok for report in reports) else CONFIG_FAULT


class Looking:
    """Checks sites one after the other and remembers what the next one shares."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._catalogues: dict[tuple[Path, ...], Catalogue | ConfigError] = {}
        self._rules: list[tuple[Any, Loaded]] = []

    def report(self, site: Site) -> Report:
        """Check one site."""
        config, faults = site.config, list(site.faults)
        warnings: list[Fault] = []
        counts: dict[str, int] = {}
        needs: list[Need] = []
        if config is not None:
            warnings += [*config.warnings, *missing_extra(config)]
            counts = {"sources": len(config.sources), "targets": len(config.targets), "routes": len(config.routes)}
            counts |= {"devices": len(config.devices), **self._profiles(config, faults)}
            loaded = self._loaded(config)
            faults += [*loaded.faults, *never_observed(config, loaded)]
            warnings += loaded.hints
            counts["rules"] = len(loaded.definitions)
            needs = sorted(set(self._needs(config)))
        placed = self._bundle.placed
        found = sorted({placed(fault) for fault in faults}, key=lambda fault: (str(fault.file), fault.line or 0))
        return Report(site.name, not found, counts, found, list(map(placed, warnings)), needs)

    def _profiles(self, config: Config, faults: list[Fault]) -> dict[str, int]:
        folders = tuple(folder for folder in config.profiles if folder.is_dir())
        if folders not in self._catalogues:
            try:
                self._catalogues[folders] = Catalogue.load(folders)
            except ConfigError as error:
                self._catalogues[folders] = error
        catalogue = self._catalogues[folders]
        if isinstance(catalogue, ConfigError):
            faults += catalogue.faults
            return {}
        faults += [*unknown_prefixes(config, catalogue.prefixes), *unknown_profiles(config, catalogue)]
        return {"profiles": len(catalogue.profiles)}

    def _loaded(self, config: Config) -> Loaded:
        """Load the rules; again only for a site that gives them something else to look at."""
        rules = msgspec.structs.replace(config.rules, timezone="", location=None, observe=())
        located = config.rules.location is not None
        key = (rules, located, config.gateway.devices, tuple(sorted(config.notify.names)), acting(config))
        for known, loaded in self._rules:
            if known == key:
                return loaded
        loaded = rules_with(config, config.devices, {})
        self._rules.append((key, loaded))
        return loaded

    def _needs(self, config: Config) -> Iterator[Need]:
        for _, secret in secrets(config):
            at = self._bundle.placed(secret.fault(""))
            yield Need("secret", self._short(secret.where), f"{at.file}:{at.line}" if at.line else str(at.file))
        there = {self._bundle.folder / name for name in self._bundle.manifest.files}
        of_secrets = {secret.name for _, secret in secrets(config)}
        for part in named(config):
            if part.path not in there and str(part.path) not in of_secrets:
                yield Need("file", self._short(str(part.path)), str(self._bundle.origin / "gateway.toml"))

    def _short(self, text: str) -> str:
        return text.replace(f"{self._bundle.folder}/", "")


def summary(bundle: Bundle, reports: list[Report]) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "ok": all(report.ok for report in reports),
        "bundle": str(bundle.origin),
        "hash": bundle.manifest.hash,
        "files": len(bundle.manifest.files),
        "program": bundle.manifest.program,
        "faults": [{**fault_json(fault), "sites": sites} for fault, sites in _shared(reports, "faults")],
        "warnings": [{**fault_json(fault), "sites": sites} for fault, sites in _shared(reports, "warnings")],
        "sites": [
            {"site": r.site, "ok": r.ok, "faults": len(r.faults), "counts": r.counts, "needs": r.needs} for r in reports
        ],
    }


def _shared(reports: list[Report], field: str) -> list[tuple[Fault, list[str]]]:
    """Return each finding once, with the sites that have it."""
    found: dict[Fault, list[str]] = {}
    for report in reports:
        for fault in dict.fromkeys(getattr(report, field)):
            found.setdefault(fault, []).append(report.site)
    return list(found.items())


def _print(bundle: Bundle, reports: list[Report]) -> None:
    say(f"{bundle.origin}: bundle {bundle.manifest.hash[:12]}, {len(bundle.manifest.files)} files", "bold")
    many = len(reports) > 1
    for fault, sites in _shared(reports, "faults"):
        say(f"{fault}{_of(sites, reports) if many else ''}", "red")
    for fault, sites in _shared(reports, "warnings"):
        say(f"warning: {fault}{_of(sites, reports) if many else ''}", "yellow")
    needs = sorted({need for report in reports for need in report.needs})
    for need in needs:
        say(f"the machine has to have: {need.where} ({need.what}, {need.named_at})", "dim")
    bad = [report.site for report in reports if not report.ok]
    counts = ", ".join(f"{number} {name}" for name, number in reports[0].counts.items()) if reports else ""
    if not many:
        site = f" site {reports[0].site}:" if reports[0].site else ""
        say(f"{bundle.origin}{site} {'has faults' if bad else f'is good: {counts}'}", "bold" if bad else "green")
    elif bad:
        complain(f"{len(bad)} of {len(reports)} sites have faults: {_few(bad)}")
    else:
        say(f"all {len(reports)} sites are good", "green")


def _of(sites: list[str], reports: list[Report]) -> str:
    return "" if len(sites) == len(reports) else f" [{_few(sites)}]"


def _few(sites: list[str]) -> str:
    more = len(sites) - SITES_SHOWN_MAX
    return ", ".join(sites[:SITES_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")
