"""What may stand in gateway.toml: the gateway's own tables, and where the others are defined.

Each room's options are a frozen type in the module that uses them; here they are only found by name.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from gateway.rules.options import Location

STATE = Path("/var/lib/edge-gateway")
EMBEDDED = "house"  # name of the listener's source when none is configured; a broker that comes later keeps the ids
SECTIONS = (
    *(
        "gateway",
        "api",
        "journal",
        "history",
        "blobs",
        "sources",
        "targets",
        "routes",
        "rules",
        "notify",
        "inputs",
        "http",
        "offers",
        "log",
    ),
    "variables",
)

KINDS: dict[str, dict[str, str]] = {  # a new source or target is one line here and one file
    "sources": {
        "mqtt": "gateway.sources.mqtt:MqttSourceOptions",
        "listener": "gateway.sources.listener:ListenerOptions",
        "serial": "gateway.sources.serial:SerialSourceOptions",
        "http": "gateway.sources.http:HttpSourceOptions",
        "bus": "gateway.sources.bus:BusOptions",
    },
    "targets": {"mqtt": "gateway.targets.mqtt:MqttTargetOptions", "http": "gateway.targets.http:HttpTargetOptions"},
}
URL_SCHEMES = {"mqtt": "mqtt", "mqtts": "mqtt", "ws": "mqtt", "wss": "mqtt"}


class GatewayOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The gateway itself."""

    name: str = ""  # in event sources and client ids; default: the host's name
    state: Path = STATE  # journal, socket and everything else that is written
    profiles: list[Path] = []  # folders with device profiles, beside the shipped ones
    devices: Path = Path("devices.toml")  # the installed devices; need not exist
    timezone: str = ""  # IANA name, as "Europe/Berlin"; default: the machine's
    location: Location | None = None  # for sunrise and sunset
    trust_clock: bool = False  # the machine has a clock chip: its time is right, even if nobody synchronises it
    heartbeat_minutes: float = 15.0  # between two gateway_heartbeat events; 0: none
    commands: Literal["observe", "run"] = "run"  # observe: what rules would switch is recorded, nothing is switched
    faults: list[Literal["loop", "commit", "acknowledge", "forward"]] = []  # on a bench: these stages hang on purpose
    faults_after_s: float = 10.0  # so long after the start


class ApiOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The local API, a unix socket."""

    socket: Path | None = None  # default: api.sock in the state folder


def options_of(section: str, kind: str) -> type[msgspec.Struct]:
    """Return the options type of a kind of source or target; its module is imported now."""
    module, name = KINDS[section][kind].split(":")
    found: type[msgspec.Struct] = getattr(importlib.import_module(module), name)
    return found


def journal_table() -> type[msgspec.Struct]:
    """Return the type of [journal]: the journal's own options, and where it is."""
    from gateway.journal.options import JournalOptions

    folder = Annotated[Path | None, msgspec.Meta(description="default: `journal` in the state folder")]
    return closed(JournalOptions, (("folder", folder, None),))


@cache
def closed(kind: type[msgspec.Struct], extra: tuple[tuple[str, Any, Any], ...] = ()) -> type[msgspec.Struct]:
    """Return a type of options that refuses keys it does not know, with `extra` fields (name, type, default)."""
    return msgspec.defstruct(
        kind.__name__, list(extra), bases=(kind,), frozen=True, kw_only=True, forbid_unknown_fields=True
    )
