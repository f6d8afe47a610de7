"""`config diff` with bundles: what counts here against a bundle, or one bundle against another, for one site.

Values are compared key by key (gateway/config/diff.py), with paths below either folder as names below it. Rules,
profiles, devices and certificates are compared by their content, and said with a short summary.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.bundles import ledger as ledgers
from gateway.bundles.archive import SUFFIXES
from gateway.bundles.bundle import Bundle, Site, opened
from gateway.bundles.placing import PLACES, chosen
from gateway.cli.rules.names import rules_in
from gateway.config.diff import differences
from gateway.config.installation import parts
from gateway.config.places import places
from gateway.errors import ConfigError

NAMED_MAX: Final = 5
MACHINES: Final = {".".join(at) for at in PLACES}


def is_bundle(path: Path) -> bool:
    """Return whether a person means a bundle, not a config file."""
    return path.is_dir() or path.name.endswith(SUFFIXES)


def of_bundles(words: argparse.Namespace) -> dict[str, Any]:
    """Compare what counts with a bundle, or two bundles. Raises ConfigError for one that cannot be read."""
    before, after = words.files if len(words.files) == 2 else (words.config.parent, words.files[0])
    ledger = ledgers.read(places(words.base).state)
    with ExitStack() as stack:
        old, new = (stack.enter_context(opened(path)) for path in (before, after))
        sites = (_site(old, words.site, ledger), _site(new, words.site, ledger))
        changes = list(_values(old, new, *sites))
        files = list(_files(old, new, *sites))
        return {"changes": changes, "files": files, "site": sites[1].name, "from": str(before), "to": str(after)}


def _site(bundle: Bundle, named: str, ledger: ledgers.Ledger) -> Site:
    """Return the site that is meant; of what was applied there is one."""
    only = [site.name for site in bundle.sites] == [""]
    site = bundle.site("" if only else chosen(named, bundle, ledger))
    if site.config is None:
        raise ConfigError(map(bundle.placed, site.faults))
    return site


def _values(old: Bundle, new: Bundle, was: Site, now: Site) -> Iterator[dict[str, Any]]:
    assert was.config is not None
    assert now.config is not None
    for change in differences(was.config, now.config):
        before, after = _relative(change.before, old), _relative(change.after, new)
        if before != after and change.key not in MACHINES:
            said: dict[str, Any] = msgspec.to_builtins(change, enc_hook=str)
            yield said | {"before": before, "after": after, "origin": new.said(old.said(change.origin)), "means": ""}


def _relative(value: Any, bundle: Bundle) -> Any:
    """Return a value with what is below the bundle's folder as a name below it."""
    text = msgspec.json.encode(value, enc_hook=str).decode()
    return msgspec.json.decode(text.replace(f"{bundle.folder}/", ""))


def _files(old: Bundle, new: Bundle, was: Site, now: Site) -> Iterator[dict[str, str]]:
    """Yield the files that differ and are no config: those are said key by key."""
    before, after = _installed(old, was), _installed(new, now)
    for name in sorted(before.keys() | after.keys()):
        one, two = before.get(name, b""), after.get(name, b"")
        kept = name == "devices" and name not in after  # the machine's own stay when a bundle has none
        if not kept and (one != two or (name in before) != (name in after)):
            how = "changed" if name in before and name in after else "new" if name in after else "gone"
            yield {"file": name, "change": how, "summary": _summary(name, one, two)}


def _installed(bundle: Bundle, site: Site) -> dict[str, bytes]:
    assert site.config is not None
    config = {bundle.config, *(bundle.folder / "gateway.d").glob("*.toml")}
    found = {}
    for part in parts(site.config):
        if not part.secret and part.path not in config and part.path.is_relative_to(bundle.folder):
            name = part.path.relative_to(bundle.folder)
            found["devices" if part.path == site.config.gateway.devices else str(name)] = part.path.read_bytes()
    return found


def _summary(name: str, before: bytes, after: bytes) -> str:
    if name == "devices":
        was, now = _devices(before), _devices(after)
        changed = sum(was[each] != now[each] for each in was.keys() & now.keys())
        said = [_named("new", now.keys() - was.keys()), _named("gone", was.keys() - now.keys())]
        return "; ".join([*filter(None, said), *([f"{changed} changed"] if changed else [])])
    if name.endswith(".py"):
        was_rules, rules = set(rules_in(before)), set(rules_in(after))
        said = [_named("new", rules - was_rules), _named("gone", was_rules - rules)]
        return "; ".join([*filter(None, said), *([_named("of", rules & was_rules)] if rules & was_rules else [])])
    return ""


def _devices(text: bytes) -> dict[str, Any]:
    try:
        listed = tomllib.loads(text.decode()).get("device", [])
        return {str(each.get("id", "")): each for each in listed}
    except (ValueError, AttributeError):
        return {}


def _named(word: str, names: Collection[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return f"{word} {', '.join(sorted(names)[:NAMED_MAX])}{more}"
