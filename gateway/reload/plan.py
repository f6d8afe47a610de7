"""What a reload has to do: which parts end, which begin, which take other options as they run. Pure.

A part whose options are the same is not touched. What hangs on a part goes with it: routes on their target, the route
that tells what was dropped on the set of routes, a source that offers the house on what is offered.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.config.crosscheck import CrossCheck, profile_words
from gateway.config.load import Config
from gateway.forward.drops import rest_told_by


@dataclass(frozen=True)
class Steps:
    """Names of parts: `ending` are stopped, `beginning` are made of the new config and started; both: made anew."""

    sources_ending: frozenset[str]
    sources_beginning: frozenset[str]
    decoders: frozenset[str]  # of them made anew, too: how they read has changed
    targets_ending: frozenset[str]
    targets_beginning: frozenset[str]
    routes_ending: frozenset[str]
    routes_beginning: frozenset[str]
    notify: bool
    http: bool
    offers: bool
    history: bool
    dead_letters: bool  # other routes: what is sent again has other ways


def steps(before: Config, after: Config, *, touched: Collection[str], lines: Collection[str] = ()) -> Steps:
    """Decide.

    touched  parts (``sources.house``) whose secrets or certificates have other contents
    lines    sources whose serial line or polls are others, by their profiles
    """
    offers = before.offers != after.offers or _offered(before) != _offered(after)
    offering = {before.offers.source, after.offers.source} - {""} if before.offers != after.offers else set()
    sources = _anew(before.sources, after.sources, touched, "sources") | (offering & after.sources.keys()) | set(lines)
    read_anew = {
        name
        for name in sources
        if name not in before.sources
        or name not in after.sources
        or _reading(before, name) != _reading(after, name)
        or name in lines
    }
    targets = _anew(before.targets, after.targets, touched, "targets")
    then = CrossCheck(dataclasses.replace(before, devices=after.devices)).routes()  # the same devices for both
    then = {name: route for name, route in then.items() if name in before.routes}  # without what the start left out
    routes = _anew(then, after.routes, (), "routes")
    routes |= {name for found in (then, after.routes) for name, route in found.items() if route.to in targets}
    others = then.keys() != after.routes.keys()
    if others or rest_told_by(then) != rest_told_by(after.routes):
        routes |= {teller for teller in (rest_told_by(then), rest_told_by(after.routes)) if teller}
    here = (before.sources.keys(), before.targets.keys(), then.keys())
    there = (after.sources.keys(), after.targets.keys(), after.routes.keys())
    anew = (sources, targets, routes)
    ending, beginning = ([frozenset(a & b) for a, b in zip(anew, found, strict=True)] for found in (here, there))
    return Steps(
        sources_ending=ending[0],
        sources_beginning=beginning[0],
        decoders=frozenset(read_anew),
        targets_ending=ending[1],
        targets_beginning=beginning[1],
        routes_ending=ending[2],
        routes_beginning=beginning[2],
        notify=_told(before) != _told(after)
        or before.gateway.timezone != after.gateway.timezone
        or any(part.startswith("notify.") for part in touched),
        http=before.http != after.http or any(part.startswith("http.") for part in touched),
        offers=offers,
        history=before.history != after.history,
        dead_letters=others,
    )


def _anew(before: Mapping[str, Any], after: Mapping[str, Any], touched: Collection[str], section: str) -> set[str]:
    """Return the names that are only in one, or have other options, or other credentials."""
    return {
        name
        for name in {*before, *after}
        if name not in before or name not in after or before[name] != after[name] or f"{section}.{name}" in touched
    }


def _reading(config: Config, source: str) -> tuple[Any, ...]:
    """Return what the decoder of a source is made of."""
    options = config.sources[source]
    return (
        type(options),
        getattr(options, "prefixes", {}),
        getattr(options, "importers", ()),
        getattr(options, "units", None),
        profile_words(options),
        config.offers.source == source,
    )


def _told(config: Config) -> tuple[Any, ...]:
    return config.notify.recipients, config.notify.groups


def _offered(config: Config) -> tuple[Any, ...]:
    return config.inputs, config.rules.modes
