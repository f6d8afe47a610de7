"""What differs between two configs, key by key, and what each difference means to a gateway that runs.

::

    targets.cloud.url: "mqtts://a" -> "mqtts://b"    gateway.toml:12    target cloud is made anew, with its routes

Compared is what is in force, not what is written: an option written out that is the default is no difference. A secret
is named by the place where it is kept; whoever knows that its content is another one says so (`touched`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from gateway.config.effective import Value, values
from gateway.config.load import Config

Effect = Literal["live", "replaced", "added", "removed", "restart"]

RESTART: Final = (  # what a running gateway stands on; the others are taken over by a reload
    "gateway.name",
    "gateway.state",
    "gateway.trust_clock",
    "api.socket",
    "rules.folder",
    "journal",
)
LIMITS: Final = ("journal.telemetry", "journal.alarm", "journal.dead_letters")  # but these can be
PARTS: Final = ("sources", "targets", "routes", "http", "notify")  # tables of things with names


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One key that is another now."""

    key: str  # dotted, as in the config
    before: Any  # None: not set, or not there
    after: Any
    origin: str  # file:line of the new value; of a key that is gone, of the old one; "default"
    effect: Effect
    part: str  # what it is about: "source house", "rules"; empty for the gateway as a whole

    @property
    def means(self) -> str:
        """Say what the change means, as a person reads it."""
        if self.effect == "restart":
            return "needs a restart"
        also = {"targets": ", with its routes"}.get(self.key.partition(".")[0], "")
        return {
            "live": "live",
            "replaced": f"{self.part} is made anew{also}",
            "added": f"{self.part} is new",
            "removed": f"{self.part} is gone{also}",
        }[self.effect]


def differences(before: Config, after: Config, touched: Collection[str] = ()) -> list[Change]:
    """Return what differs, in the order of the reference.

    touched  parts (``sources.house``) whose secrets or certificates have another content than before
    """
    old, new = _by_key(before), _by_key(after)
    told = _named(before), _named(after)
    found = [
        _change(key, old.get(key), new.get(key), told)
        for key in _both(old, new)
        if _shown(old, key) != _shown(new, key)
    ]
    named = {_part_of(change.key) for change in found}
    for part in sorted(touched):
        if part not in named:
            what, origin = "(content of a secret or certificate)", after.document.origin(tuple(part.split("."))) or ""
            found.append(
                Change(key=part, before=what, after="(changed)", origin=origin, effect="replaced", part=_words(part))
            )
    return found


def needs_restart(changes: Collection[Change]) -> list[Change]:
    """Return those that a running gateway cannot take over."""
    return [change for change in changes if change.effect == "restart"]


def _by_key(config: Config) -> dict[str, Value]:
    return {f"{value.table}.{value.key}" if value.table else value.key: value for value in values(config)}


def _named(config: Config) -> Mapping[str, Collection[str]]:
    """Return the names of each table of parts."""
    return {section: config.notify.recipients if section == "notify" else getattr(config, section) for section in PARTS}


def _both(old: Mapping[str, Value], new: Mapping[str, Value]) -> Iterator[str]:
    yield from new
    yield from (key for key in old if key not in new)


def _shown(found: Mapping[str, Value], key: str) -> Any:
    return found[key].value if key in found else None


def _change(key: str, old: Value | None, new: Value | None, told: tuple[Mapping[str, Collection[str]], ...]) -> Change:
    part, known = _part_of(key), new or old
    assert known is not None
    return Change(
        key=key,
        before=None if old is None else old.value,
        after=None if new is None else new.value,
        origin=known.origin,
        effect=_effect(key, part, *told),
        part=_words(part),
    )


def _effect(key: str, part: str, old: Mapping[str, Collection[str]], new: Mapping[str, Collection[str]]) -> Effect:
    section, _, name = part.partition(".")
    if name:
        if name not in old[section]:
            return "added"
        return "replaced" if name in new[section] else "removed"
    if _below(key, RESTART) and not _below(key, LIMITS):
        return "restart"
    return "live"


def _below(key: str, tables: Collection[str]) -> bool:
    return any(key == table or key.startswith(f"{table}.") for table in tables)


def _part_of(key: str) -> str:
    """Return ``section.name`` of a key of a named part, else its section."""
    section, _, rest = key.partition(".")
    name, dot, _ = rest.partition(".")
    return f"{section}.{name}" if section in PARTS and (dot or section != "notify") else section


def _words(part: str) -> str:
    section, _, name = part.partition(".")
    if not name:
        return "" if section in ("gateway", "api") else section
    return f"{ {'http': 'service', 'notify': 'recipient'}.get(section, section.removesuffix('s')) } {name}"
