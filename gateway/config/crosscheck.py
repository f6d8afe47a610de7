"""What only shows when the parts of a config are seen together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.config.options import EMBEDDED
from gateway.config.texts import UNREADABLE
from gateway.document import Document, Place
from gateway.errors import ConfigError, Fault, probably_meant
from gateway.secrets import Secret

if TYPE_CHECKING:
    from gateway.config.load import Config
    from gateway.profiles.catalogue import Catalogue
    from gateway.profiles.devices import Devices
    from gateway.routes import Route

TARGET_FILE = Path("gateway.d", "20-cloud.toml")
TARGET = "[targets.NAME] with type and url"
EVERYWHERE = {"0.0.0.0", "::", ""}  # noqa: S104  looked for, not bound


class CrossCheck:
    """Looks over a whole config."""

    def __init__(self, config: Config, *, away: bool = False) -> None:
        """`away`: it is meant for another machine, which has the secrets, keys and certificates."""
        self._config = config
        self._away = away
        self._document = config.document

    def faults(self) -> Iterator[Fault]:
        """Yield what must not be."""
        yield from self._targets_of_routes()
        yield from self.words_of_routes()
        yield from self._ports()
        yield from self._recipients()
        yield from self._offers()
        if self._away:
            return
        yield from self._missing_files()
        if not self._credential():
            yield from self._keys()

    def warnings(self) -> Iterator[Fault]:
        """Yield what works, but probably was not meant."""
        config = self._config
        if not config.targets:
            file = config.file.parent / TARGET_FILE
            yield Fault(config.file, None, "no target: events stay in the journal", f"add a {TARGET}, say in {file}")
        if config.gateway.faults:
            stages = ", ".join(config.gateway.faults)
            what = f"{stages}: hangs on purpose {config.gateway.faults_after_s:g} s after a start"
            yield self._fault(("gateway", "faults"), what, "for a bench: not where anybody relies on this gateway")
        used = {route.to for route in self.routes().values()}
        for name in config.targets:
            if name not in used:
                yield self._fault(("targets", name), f"no route leads to target {name!r}")
        if self._away:
            return
        for at, secret in _find(config, Secret):
            if secret is UNREADABLE:  # its fault is said already
                continue
            try:
                secret()
            except ConfigError as error:
                yield self._fault(at, error.faults[0].what, error.faults[0].hint)
        if self._credential():
            yield from self._keys()

    def routes(self) -> Mapping[str, Route]:
        """Return the routes as they work: the one that no routes mean, and ids for the names of devices."""
        from gateway.routes import only_target

        config = self._config
        if not config.document.section("routes"):
            return only_target(config.targets)
        return {
            name: msgspec.structs.replace(route, devices=tuple(_ids(self._words(name, route), config.devices)))
            for name, route in config.routes.items()
        }

    def _words(self, name: str, route: Route) -> Sequence[str]:
        """Return the devices of a route as they were written: those of a read config may be ids in place of names."""
        said = self._document.section("routes").get(name)
        return said.get("devices", ()) if isinstance(said, dict) else route.devices

    def _targets_of_routes(self) -> Iterator[Fault]:
        config = self._config
        named = self._document.section("targets")
        for name, route in config.routes.items():
            if route.to not in named:
                hint = probably_meant(route.to, named)
                yield self._fault(("routes", name, "to"), f"route to unknown target {route.to!r}", hint)
        if len(named) > 1 and not self._document.section("routes"):
            second = list(named)[1]
            what = f"{len(named)} targets and no route: say which events go where"
            yield self._fault(("targets", second), what, f'write [routes.NAME] and to = "{second}"')

    def words_of_routes(self) -> Iterator[Fault]:
        """Yield what routes name that devices.toml does not have."""
        from gateway.profiles.vocabulary import FAMILY_OF_KIND, KIND_OF_CLASS
        from gateway.routes import unknown_words

        devices = list(self._config.devices)
        known: dict[str, Collection[str]] = {
            "rooms": {device.room for device in devices} - {""},
            "kinds": {device.kind for device in devices if device.kind} | {*FAMILY_OF_KIND, *KIND_OF_CLASS.values()},
            "labels": {label for device in devices for label in device.labels},
            "devices": {device.id for device in devices} | {device.name for device in devices},
        }
        for name, route in self._config.routes.items():
            written = msgspec.structs.replace(route, devices=tuple(self._words(name, route)))
            for selector, value, hint in unknown_words(written, known):
                if selector == "devices" and self._may_be_heard(value):
                    continue
                at = ("routes", name, selector, getattr(written, selector).index(value))
                what = (
                    f"unknown {selector.removesuffix('s')} {value!r}: it is not in {self._config.gateway.devices.name}"
                )
                yield self._fault(at, what, hint)

    def _may_be_heard(self, device: str) -> bool:
        """Return whether an id that nobody listed can come from a source."""
        source, slash, rest = device.removeprefix("!").partition("/")
        return bool(slash) and ":" in rest and source in (self._document.section("sources") or (EMBEDDED,))

    def _ports(self) -> Iterator[Fault]:
        """Find listeners that want the same port."""
        from gateway.sources.listener import ListenerOptions

        taken: dict[int, tuple[str, str]] = {}  # port -> source, host
        for name, options in self._config.sources.items():
            if not isinstance(options, ListenerOptions) or options.port == 0:
                continue
            other, host = taken.setdefault(options.port, (name, options.host))
            if other != name and (host == options.host or {host, options.host} & EVERYWHERE):
                what = f"sources {other!r} and {name!r} both listen on port {options.port}"
                yield self._fault(("sources", name, "port"), what, "give one of them another port")

    def _missing_files(self) -> Iterator[Fault]:
        for at, path in _find(self._config, Path):
            if not path.exists():
                yield self._fault(at, f"there is no file {path}")

    def _recipients(self) -> Iterator[Fault]:
        from gateway.config.recipients import unknown_sources

        yield from unknown_sources(self._config)

    def _offers(self) -> Iterator[Fault]:
        """Find a source of [offers] that is none, or that has no topics."""
        name, sources = self._config.offers.source, self._config.sources
        if name and name not in (self._document.section("sources") or sources):
            yield self._fault(("offers", "source"), f"there is no source {name!r}", probably_meant(name, sources))
        elif name in sources and not type(sources[name]).__name__.startswith(("Mqtt", "Listener")):
            what = f"source {name!r} has no topics: name a broker, or the own listener"
            yield self._fault(("offers", "source"), what)

    def _credential(self) -> bool:
        """Return whether systemd gives the journal's keys to the service: then a person cannot read them."""
        keys = (self._config.journal.key, *self._config.journal.old_keys)
        return any(key is not None and key.place == "credential" for key in keys)

    def _keys(self) -> Iterator[Fault]:
        """Read the journal's keys: without them there is no start."""
        from gateway.journal.cipher import keys_of

        try:
            keys_of(self._config.journal)
        except ConfigError as error:
            yield from error.faults

    def _fault(self, at: Place, what: str, hint: str | None = None) -> Fault:
        return self._document.fault(at, what, hint)


def unknown_prefixes(config: Config, known: Collection[str]) -> Iterator[Fault]:
    """Find prefixes of sources that no profile has: their devices would never be heard."""
    for name, options in config.sources.items():
        for prefix in getattr(options, "prefixes", ()):  # a serial line has none
            if prefix not in known:
                hint = probably_meant(prefix, known) or f"there are {', '.join(map(repr, sorted(known)))}"
                what = f"no profile reads topics that begin with {prefix!r}"
                yield config.document.fault(("sources", name, "prefixes", prefix), what, hint)


def profile_words(options: Any) -> tuple[str, ...] | None:
    """Return the profiles a source is told to read, by id or family; None: not told."""
    said = getattr(options, "profile", ())
    return ((said,) if isinstance(said, str) else tuple(said)) or None


def unknown_profiles(config: Config, catalogue: Catalogue) -> Iterator[Fault]:
    """Find words of sources and devices that name no profile."""
    yield from unreadable_sources(config, catalogue)
    if config.devices.profiled:
        document = Document.read(config.gateway.devices)
        for i, device in enumerate(document.data.get("device", ())):
            word = device.get("profile", "")
            if word and word not in catalogue.profiles:
                hint = probably_meant(word, catalogue.profiles)
                yield document.fault(("device", i, "profile"), f"there is no profile {word!r}", hint)


def unreadable_sources(config: Config, catalogue: Catalogue) -> Iterator[Fault]:
    """Find sources whose words name no profile, or profiles that cannot share a port: there is no start with these."""
    for name, options in config.sources.items():
        for word in profile_words(options) or ():
            if not catalogue.has(word):
                hint = probably_meant(word, catalogue.profiles)
                yield config.document.fault(("sources", name, "profile"), f"there is no profile {word!r}", hint)
    yield from _lines(config, catalogue)


def _lines(config: Config, catalogue: Catalogue) -> Iterator[Fault]:
    """Find serial sources whose profiles cannot share a port, and ports that two sources want."""
    from gateway.profiles.lines import check_asking, line_of

    owners: dict[str, str] = {}
    for name, options in config.sources.items():
        port, words = getattr(options, "serial", ""), profile_words(options) or ()
        if words and all(map(catalogue.has, words)):
            try:
                check_asking(catalogue, words, asks=hasattr(options, "units"))
                line_of(catalogue, words, options.baud, options.mode)
            except ValueError as error:
                yield config.document.fault(("sources", name, "profile"), str(error))
            except KeyError as error:  # a family, but none of it for serial ports
                what = f"no profile of {error.args[0]!r} reads serial ports"
                yield config.document.fault(("sources", name, "profile"), what)
        port = port.lower() if port.startswith("usb:") else port
        if port and owners.setdefault(port, name) != name:
            what = f"source {owners[port]!r} has this port already"
            yield config.document.fault(("sources", name, "serial"), what)


def _ids(words: Sequence[str], devices: Devices) -> Iterator[str]:
    """Replace names in devices.toml by ids, which is what events carry."""
    for word in words:
        found = devices.find(word.removeprefix("!"))
        yield word if found is None else ("!" if word.startswith("!") else "") + found.id


def _find(config: Config, kind: type) -> Iterator[tuple[Place, Any]]:
    """Yield (place, value) of a type in the options of sources, targets, services and recipients."""
    named = (
        *(("sources", config.sources), ("targets", config.targets), ("http", config.http)),
        ("notify", config.notify.recipients),
    )
    for section, options in named:
        for name, struct in options.items():
            yield from _find_in(struct, (section, name), kind)


def _find_in(value: Any, at: Place, kind: type) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, kind):
        yield at, value
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from _find_in(getattr(value, field), (*at, field), kind)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _find_in(inner, (*at, key), kind)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _find_in(inner, (*at, index), kind)
