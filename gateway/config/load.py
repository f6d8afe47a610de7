"""gateway.toml (and gateway.d/*.toml) to frozen options: assembled here, defined where they are used.

::

    sources.house = "mqtt://localhost"          # short for [sources.house] url = "..."; none: the embedded listener
    [targets.cloud]                             # none: events stay in the journal
    type = "mqtt"
    url = "mqtts://broker.example.com"
    [routes.alarms]                             # none and one target: everything goes to it
    to = "cloud"
    lanes = ["alarm"]

Relative paths are relative to the config's folder. Everything wrong is found at once: `load` raises ConfigError
with all faults, each with file, line and, for a word nobody knows, what was probably meant.
"""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from gateway.config.crosscheck import CrossCheck
from gateway.config.options import (
    EMBEDDED,
    KINDS,
    SECTIONS,
    URL_SCHEMES,
    ApiOptions,
    GatewayOptions,
    closed,
    journal_table,
    options_of,
)
from gateway.config.overlay import Overlaid, read_overlaid
from gateway.config.places import Places, places_of
from gateway.config.texts import read_texts
from gateway.document import Place, raise_faults
from gateway.errors import ConfigError, Fault, GatewayError, probably_meant

if TYPE_CHECKING:
    from gateway.blobs.store import BlobOptions
    from gateway.commands.web_services import WebServiceOptions
    from gateway.config.startable import LeftOut
    from gateway.history.keeper import HistoryOptions
    from gateway.journal.options import JournalOptions
    from gateway.logs.options import LogOptions
    from gateway.notify.options import Directory
    from gateway.offers.options import OfferOptions
    from gateway.profiles.devices import Devices
    from gateway.routes import Route
    from gateway.rules.language.inputs import InputOptions
    from gateway.rules.options import RuleOptions

T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything the config says, checked."""

    file: Path
    document: Overlaid  # where each value is from
    gateway: GatewayOptions
    places: Places
    journal: JournalOptions
    history: HistoryOptions
    blobs: BlobOptions
    rules: RuleOptions
    notify: Directory
    sources: Mapping[str, Any]  # options of the kind, by name
    targets: Mapping[str, Any]
    routes: Mapping[str, Route]
    inputs: Mapping[str, InputOptions]
    http: Mapping[str, WebServiceOptions]  # that rules may call
    offers: OfferOptions
    log: LogOptions
    devices: Devices
    profiles: Sequence[Path]  # folders, the shipped one first
    warnings: Sequence[Fault]  # what does not stop the gateway
    left_out: Sequence[LeftOut] = ()  # what a start goes without


def load(file: Path) -> Config:
    """Read a config and everything it names but profiles and rules. Raises ConfigError with every fault found."""
    config, faults = read(file)
    raise_faults(faults)
    assert config is not None
    return config


def read(file: Path, *, site: Path | None = None, bundle: Path | None = None) -> tuple[Config | None, list[Fault]]:
    """Read as far as possible: the config with defaults where a fault is (None: no TOML at all), and the faults.

    site    an overlay more, merged last
    bundle  the folder of a bundle: what is outside of it, and every secret, is on another machine and not judged here
    """
    if not file.exists():
        return None, [
            Fault(file, None, "there is no such file", "name another with --config, or try: edge-gateway demo")
        ]
    try:
        reading = Reading(read_overlaid(file, site), file, bundle)
    except ConfigError as error:
        return None, list(error.faults)
    return reading.config(), list(dict.fromkeys(reading.faults))


class Reading:
    """One reading of a config: the document, and the faults and warnings found so far."""

    def __init__(self, document: Overlaid, file: Path, bundle: Path | None = None) -> None:
        self.document = document
        self._bundle = bundle
        self.faults: list[Fault] = document.substitute()
        self.warnings: list[Fault] = []
        self._file = file
        self._folder = file.absolute().parent

    def config(self) -> Config:
        """Convert every section; what has a fault is at its default, so that the rest is still checked."""
        from gateway.blobs.store import BlobOptions
        from gateway.config.acting import read_inputs, read_services
        from gateway.config.recipients import read_directory
        from gateway.history.keeper import HistoryOptions
        from gateway.logs.options import LogOptions
        from gateway.offers.options import OfferOptions
        from gateway.profiles.catalogue import BUILTIN
        from gateway.rules.options import RuleOptions

        self._sections()
        options = self._gateway(self.table(GatewayOptions, ("gateway",)))
        journal: Any = self.table(journal_table(), ("journal",))
        rules: Any = self.table(closed(RuleOptions), ("rules",))
        api = self.table(ApiOptions, ("api",))
        config = Config(
            file=self._file,
            document=self.document,
            gateway=options,
            places=places_of(options.state, journal.folder, api.socket),
            journal=journal,
            history=self.table(HistoryOptions, ("history",)),
            blobs=self.table(BlobOptions, ("blobs",)),
            rules=self._rules(rules, options),
            notify=read_directory(self, self._names("notify")),
            sources=self._sources(),
            targets=self._targets(),
            routes=self._routes(),
            inputs=read_inputs(self, self._names("inputs")),
            http=read_services(self, self._names("http")),
            offers=self.table(OfferOptions, ("offers",)),
            log=self.table(LogOptions, ("log",)),
            devices=self._devices(options.devices),
            profiles=[BUILTIN, *options.profiles],
            warnings=self.warnings,
        )
        found = CrossCheck(config, away=self._bundle is not None)
        self.faults += found.faults()
        self.warnings += found.warnings()
        return dataclasses.replace(config, routes=found.routes())

    def _sections(self) -> None:
        for name in self.document.data:
            if name not in SECTIONS:
                self._fault((name,), f"unknown section {name!r}", probably_meant(name, SECTIONS))

    def table(self, kind: type[T], at: Place) -> T:
        """Convert the table at a place; without it, or with a fault in it, return the defaults."""
        found = self.convert(kind, at)
        return kind() if found is None else found

    def convert(self, kind: type[T], at: Place) -> T | None:
        """Convert the table at a place, leaving out what has a fault; None when nothing is there or not enough."""
        value: Any = self.document.data
        for key in at:
            if key not in value:
                return None
            value = value[key]
        if not isinstance(value, dict):
            self._fault(at, f"{'.'.join(map(str, at))} must be a table, not {_what(value)}")
            return None
        faults = list(read_texts(self.document, kind, at, self._folder))
        try:
            return self.document.convert(kind, at)
        except ConfigError as error:
            said = {fault.line for fault in faults}
            faults += [fault for fault in error.faults if fault.line not in said]
        except GatewayError as error:  # an options type that checks itself
            faults.append(self.document.fault(at, str(error)))
        finally:
            self.faults += faults
        return _salvaged(kind, value)

    def _gateway(self, options: GatewayOptions) -> GatewayOptions:
        """Fill in what depends on the machine or the config's folder."""
        if not re.fullmatch(r"[A-Za-z0-9._-]*", options.name):
            self._fault(("gateway", "name"), f"{options.name!r} is no name: use letters, digits, '.', '_' and '-'")
        timezone = options.timezone or machine_timezone()
        self._timezone(("gateway", "timezone"), timezone)
        for index, folder in enumerate(options.profiles):
            if not folder.is_dir() and (self._bundle is None or folder.is_relative_to(self._bundle)):
                self._fault(("gateway", "profiles", index), f"there is no folder {folder}", _near(folder))
        name = options.name or re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())
        devices = self._folder / options.devices
        return msgspec.structs.replace(options, name=name, devices=devices, timezone=timezone)

    def _timezone(self, at: Place, name: str) -> None:
        if name == "UTC":
            return  # known without a database of timezones
        try:
            zoneinfo.ZoneInfo(name)
        except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
            hint = probably_meant(name, zoneinfo.available_timezones())
            self._fault(at, f"unknown timezone {name!r}", hint)

    def _devices(self, file: Path) -> Devices:
        from gateway.profiles.devices import Devices

        if "devices" in self.document.section("gateway") and not file.exists():
            self._fault(("gateway", "devices"), f"there is no file {file}", _near(file))
        try:
            return Devices.load(file)
        except ConfigError as error:
            self.faults += error.faults
            return Devices()

    def _rules(self, options: RuleOptions, gateway: GatewayOptions) -> RuleOptions:
        """Fill in the folder's place and, where [rules] does not say otherwise, the house's timezone and location."""
        said = self.document.section("rules")
        folder = self._folder / options.folder
        if "folder" in said and not folder.is_dir():
            self._fault(("rules", "folder"), f"there is no folder {folder}", _near(folder))
        if "timezone" in said:
            self._timezone(("rules", "timezone"), options.timezone)
        else:
            options = msgspec.structs.replace(options, timezone=gateway.timezone)
        if options.location is None:
            options = msgspec.structs.replace(options, location=gateway.location)
        return msgspec.structs.replace(options, folder=folder)

    def _sources(self) -> dict[str, Any]:
        """Convert [sources]; without it devices talk to the gateway's own listener."""
        if "sources" not in self.document.data:
            return {EMBEDDED: options_of("sources", "listener")()}
        found: dict[str, Any] = {}
        for name, value in self._names("sources"):
            at = ("sources", name)
            kind = self._source_kind(at, value)
            if kind is not None:
                options = self.convert(closed(options_of("sources", kind)), at)
                if options is not None:
                    found[name] = options
        return found

    def _source_kind(self, at: Place, value: Any) -> str | None:
        """Tell the kind of a source by its keys, and make a table of a text."""
        section: Any = self.document.data["sources"]
        if isinstance(value, str):
            value = section[at[-1]] = {"url": value}
        if not isinstance(value, dict):
            self._fault(at, f"a source is a text or a table, not {_what(value)}", 'write "mqtt://localhost"')
            return None
        if "listen" in value:
            return self._listener(at, value, "listen", 'write "127.0.0.1:1883", or "0.0.0.0:1883" and users')
        if "http" in value:
            self._listener(at, value, "http", 'write "127.0.0.1:8480", or "0.0.0.0:8480" and token or users')
            return "http"
        if "serial" in value:
            return "bus" if "unit" in value else "serial"
        if "url" not in value:
            self._fault(at, f"source {at[-1]!r} has no url, listen, http or serial", 'write url = "mqtt://localhost"')
            return None
        scheme = str(value["url"]).partition("://")[0]
        if scheme not in URL_SCHEMES:
            hint = probably_meant(scheme, URL_SCHEMES) or 'write "mqtt://localhost"'
            shown = re.sub("//[^/]*@", "//…@", str(value["url"]))  # a password may stand there
            self._fault((*at, "url"), f"{shown!r} is not the address of a broker", hint)
            return None
        return "mqtt"

    def _listener(self, at: Place, table: dict[str, Any], key: str, hint: str) -> str | None:
        """Take ``listen = "host:port"`` apart into the options that the listener has."""
        text = str(table.pop(key))
        host, colon, port = text.rpartition(":")
        if not port.isdecimal() or (host.startswith("[") != host.endswith("]")):
            what = f"{text!r} is not an address to listen on"
            self._fault((*at, key), what, hint)
            return None
        for name, value in (("host", host.strip("[]") or "127.0.0.1"), ("port", int(port))):
            if name in table:
                self._fault((*at, name), f"{name} is in {key}, too: write one")
            elif colon or name == "port":
                table[name] = value
                self.document.renamed((*at, name), (*at, key))
        return "listener"

    def _targets(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in self._names("targets"):
            at = ("targets", name)
            if not isinstance(value, dict):
                self._fault(at, f"a target is a table, not {_what(value)}", f'write [targets.{name}] and type = "mqtt"')
                continue
            kind = value.pop("type", None)
            if not isinstance(kind, str) or kind not in KINDS["targets"]:
                known = ", ".join(map(repr, KINDS["targets"]))
                what = f"unknown target type {kind!r}" if kind is not None else "missing key 'type'"
                hint = probably_meant(str(kind), KINDS["targets"]) or f"there are {known}"
                self._fault((*at, "type") if kind is not None else at, what, hint)
                continue
            options = self.convert(closed(options_of("targets", kind)), at)
            if options is not None:
                found[name] = options
        return found

    def _names(self, section: str) -> Iterator[tuple[str, Any]]:
        """Yield the entries of a section whose names may be used in ids, topics and cursors."""
        table = self.document.data.get(section, {})
        if not isinstance(table, dict):
            self._fault((section,), f"{section} must be a table, not {_what(table)}")
            return
        for name, value in list(table.items()):
            if _NAME.fullmatch(name):
                yield name, value
            else:
                self._fault((section, name), f"{name!r} is no name: use letters, digits, '_' and '-', at most 40")

    def _routes(self) -> dict[str, Route]:
        from gateway.routes import Route

        found: dict[str, Route] = {}
        for name, _ in self._names("routes"):
            route = self.convert(Route, ("routes", name))
            if route is not None:
                found[name] = route
        return found

    def _fault(self, at: Place, what: str, hint: str | None = None) -> None:
        self.faults.append(self.document.fault(at, what, hint))


def machine_timezone() -> str:
    """Return the IANA name of the machine's timezone, as $TZ or /etc/localtime says; UTC when they do not."""
    named = os.environ.get("TZ", "").lstrip(":") or os.path.realpath("/etc/localtime").partition("zoneinfo/")[2]
    try:
        return zoneinfo.ZoneInfo(named).key if named else "UTC"
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return "UTC"


def _salvaged(kind: type[T], table: Mapping[str, Any]) -> T | None:
    """Convert the keys of a table that are right by themselves, so that what they name is checked, too."""
    right: dict[str, Any] = {}
    for field in msgspec.structs.fields(cast("type[msgspec.Struct]", kind)):
        with suppress(msgspec.ValidationError, GatewayError, KeyError):
            right[field.encode_name] = msgspec.convert(table[field.encode_name], field.type)
    try:
        return msgspec.convert(right, kind)
    except (msgspec.ValidationError, GatewayError):
        return None


def _what(value: object) -> str:
    """Name the type of a TOML value."""
    words = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "a table"}
    return words.get(type(value), "a date or time")


def _near(path: Path) -> str | None:
    """Say which name beside a missing file was probably meant."""
    try:
        return probably_meant(path.name, [found.name for found in path.parent.iterdir()])
    except OSError:
        return None
