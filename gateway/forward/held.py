"""Cursors of routes that do not run, or lead elsewhere for a while: what they hold stays on the disk.

A cursor whose route nobody runs is kept, and events for it, or let go: `hold_cursors`, `forget_cursors`.

A route that a config is only tried with may keep its name and lead to another cloud, or carry less.  What leaves by it
then is over by its cursor, and the cloud before has not had it.  So table "carried" says by what each route goes (its
`way`), and when that changes for a try its cursors are copied: ``route:<name>@before:<lane>``.  With the next change
they count again: everything since then is sent again, under its ids.  Without a try a route that is led elsewhere
goes on from where it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from gateway.event import ROUTED
from gateway.forward.log import Log
from gateway.profiles.devices import Device
from gateway.routes import Route
from gateway.secrets import Secret

CARRIED: Final = "carried"
BEFORE: Final = "@before"  # no name that a person gives a route has this letter
WAY_BYTES: Final = 8


def way_of(route: Route, target: object, devices: Iterable[Device], folder: str) -> str:
    """Say by what a route goes: its options and its target's, and the devices it selects by.

    What lies in the config's own `folder` has the same name in every version of the config.
    """
    asks = route.rooms or route.kinds or route.labels
    installed = sorted((each.id, each.room, each.kind, each.labels) for each in devices) if asks else []
    text = msgspec.json.encode((route, target, installed), enc_hook=_named).replace(folder.encode(), b"")
    return hashlib.blake2b(text, digest_size=WAY_BYTES).hexdigest()


def _named(option: object) -> str:
    """Write what JSON has no word for; of a secret its place."""
    return option.where if isinstance(option, Secret) else str(option)


def lead(log: Log, ways: Mapping[str, str], *, trying: bool) -> None:
    """Take note of routes that are about to be made, and by what they go."""
    for name, way in ways.items():
        if log.table(CARRIED).get(name) == way:
            continue
        for lane in ROUTED:
            key, before = _key(name, lane.name), _key(name + BEFORE, lane.name)
            kept = log.table("cursors").get(before)
            if kept is not None:
                log.put("cursors", key, kept)
            row = kept or log.table("cursors").get(key)
            if trying and row is not None:
                log.put("cursors", before, row)
        log.put(CARRIED, name, way)


def hold_cursors(log: Log, names: Collection[str]) -> None:
    """Keep events for routes that are meant and do not run; one that never ran gets all, from the oldest event on."""
    running = {key.rpartition(":")[0] for key in log.table("cursors")}
    for name in names:
        if f"route:{name}" not in running:
            for lane in ROUTED:
                log.put("cursors", _key(name, lane.name), {"after": 0, "done": []})


def forget_cursors(log: Log, routes: Mapping[str, Route]) -> list[str]:
    """Delete the cursors that no route reads any more: they would keep their events for ever. Return their keys."""
    read = {_key(name, lane.name) for name, route in routes.items() for lane in route.reads}
    stale = [key for key in log.table("cursors") if key.startswith("route:") and key not in read]
    for key in stale:
        log.put("cursors", key, None)
    for name in [name for name in log.table(CARRIED) if name not in routes]:
        log.put(CARRIED, name, None)
    return stale


def _key(name: str, lane: str) -> str:
    return f"route:{name}:{lane.lower()}"
