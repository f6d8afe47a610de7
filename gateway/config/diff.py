"""What differs between two configs, key by key, and what each difference means to a gateway that runs.

::

    targets.cloud.url: "mqtts://a" -> "mqtts://b"    gateway.toml:12    target cloud is made anew, with its routes

Compared is what is in force, not what is written: an option written out that is the default is no difference. A secret
is named by the place where it is kept; whoever knows that its content is another one says so (`touched`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from gateway.config.effective import Value, values
from gateway.config.load import Config

Effect = Literal["live", "replaced", "added", "removed", "restart"]

RESTART: Final = (  # what a running gateway stands on; the others are taken over by a reload
    "gateway.name",
    "gateway.state",
    "gateway.trust_clock",
    "gateway.faults",
    "api.socket",
    "rules.folder",
    "journal",
)
LIMITS: Final = ("journal.telemetry", "journal.alarm", "journal.dead_letters")  # but these can be
DEFAULT: Final = "default"
ELSEWHERE: Final = ("url", "to")  # of targets and routes: where events go
ONWARDS: Final = "; what was sent is not sent there again, unless by `replay`"
PARTS: Final = ("sources", "targets", "routes", "http", "notify")  # tables of things with names


class Change(msgspec.Struct, frozen=True):
    """One key that is another now."""

    key: str  # dotted, as in the config
    before: Any  # None: not set, or not there
    after: Any
    origin: str  # file:line of the new value; of a key that is gone, of the old one; "default"
    effect: Effect
    part: str  # what it is about: "source house", "rules"; empty for the gateway as a whole
    means: str  # the effect, as a person reads it


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
    found = list(_worth_saying(found))
    named = {_part_of(change.key) for change in found}
    for part in sorted(touched):
        if part not in named:
            origin = after.document.origin(tuple(part.split("."))) or ""
            what, now = "(content of a secret or certificate)", "(changed)"
            means = _means("replaced", part)
            found.append(Change(part, what, now, origin, "replaced", _words(part), means))
    return found


def needs_restart(changes: Collection[Change]) -> list[Change]:
    """Return those that a running gateway cannot take over."""
    return [change for change in changes if change.effect == "restart"]


def _worth_saying(changes: Sequence[Change]) -> Iterator[Change]:
    """Leave out what is at its default in a part or table that came or went, unless nothing else is said of it."""
    said = {_about(change) for change in changes if change.origin != DEFAULT}
    for change in changes:
        there = change.before is None or change.after is None
        if not there or change.origin != DEFAULT or _about(change) not in said:
            said.add(_about(change))
            yield change


def _about(change: Change) -> str:
    part = _part_of(change.key)
    return part if "." in part else change.key.rpartition(".")[0]


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
    effect = _effect(key, part, *told)
    leads = effect == "replaced" and part.startswith(("targets.", "routes.")) and key.rpartition(".")[2] in ELSEWHERE
    return Change(
        key=key,
        before=None if old is None else old.value,
        after=None if new is None else new.value,
        origin=known.origin,
        effect=effect,
        part=_words(part),
        means=_means(effect, part) + (ONWARDS if leads else ""),
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


def _means(effect: Effect, part: str) -> str:
    """Say what a change means to a gateway that runs."""
    words, also = _words(part), ", with its routes" if part.startswith("targets.") else ""
    return {
        "restart": "needs a restart",
        "live": "live",
        "replaced": f"{words} is made anew{also}",
        "added": f"{words} is new",
        "removed": f"{words} is gone{also}",
    }[effect]


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
