"""`devices`: what is installed, and what was last heard of it."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING, Any

from gateway.cli.asking.heard import heard
from gateway.cli.asking.running import connected
from gateway.cli.devices import adopting
from gateway.cli.devices.claims import acting, add_release, lines
from gateway.cli.devices.strangers import LISTEN_S, unknown
from gateway.cli.terminal.printing import complain, json_text, printable, say, say_json, table
from gateway.cli.times import seconds
from gateway.cli.verb import BAD, DEVICE_NAMES, OK, Verbs, add, completed, group
from gateway.errors import GatewayError, probably_meant

if TYPE_CHECKING:
    from gateway.profiles.devices import Device


def add_verbs(verbs: Verbs) -> None:
    """Declare `devices list` and `devices show`."""
    words = group(verbs, "devices", "devices: list, show, adopt, rename, invert, forget, release")
    parser = add(
        words,
        "list",
        "devices in devices.toml and devices heard of, with their last values",
        listing,
        examples=[
            "edge-gateway devices list",
            "edge-gateway devices list --new",
            "edge-gateway devices list --unknown --for 1m",
        ],
        json=True,
    )
    parser.add_argument("--new", action="store_true", help="only those that were heard and are not adopted")
    parser.add_argument("--unknown", action="store_true", help="what no profile reads, and which profile may fit")
    parser.add_argument(
        "--for",
        type=seconds,
        dest="seconds",
        metavar="TIME",
        default=f"{LISTEN_S:g}s",
        help="with --unknown: listen to everything on the brokers so long (default: %(default)s; 0s: not at all)",
    )
    parser.add_argument("--names", action="store_true", help="only names and ids, one a line")
    parser = add(
        words,
        "show",
        "one device: name, room, kind, labels, last values, which rules look at it, who holds it",
        show,
        examples=["edge-gateway devices show house/z2m:bedroom/radiator", "edge-gateway devices show siren-hall"],
        json=True,
    )
    completed(parser.add_argument("device", help="the device's id, or its name in devices.toml"), DEVICE_NAMES)
    adopting.add_verbs(words)
    add_release(words)


def listing(words: argparse.Namespace) -> int:
    """List every device that is installed or was heard of."""
    if words.unknown:
        return unknown(words)
    known = [device for device in _known(words) if not words.new or _new(device)]
    if words.names:
        for name in adopting.names([device["id"] for device in known], [device["name"] for device in known]):
            say(name)
        return OK
    if words.json:
        say_json(known)
        return OK
    if not known:
        none = "every device that was heard is adopted" if words.new else "nothing in devices.toml, nothing heard"
        say(f"no device: {none}. Type: edge-gateway events --follow")
        return OK
    rows = [
        [
            d["id"],
            "new" if _new(d) else "bridge" if d["bridge"] else "",
            d["name"] or d["called"],
            d["room"],
            d["kind"],
            d["class"],
            d["profile"],
            d["qos"],
            " ".join(d["labels"]),
            _values(d["values"]),
        ]
        for d in known
    ]
    table(["id", "", "name", "room", "kind", "class", "profile", "QoS", "labels", "last values"], rows)
    new = [device["id"] for device in known if _new(device)]
    if new:
        say(
            f"\n{len(new)} not adopted; give one a name and a room: edge-gateway devices adopt {shlex.quote(new[0])}",
            "dim",
        )
    return OK


def show(words: argparse.Namespace) -> int:
    """Show one device."""
    known = _known(words)
    called = ("id", "name", "called")
    found = next((device for device in known if words.device in [device[key] for key in called]), None)
    if found is None:
        names = [device[key] for device in known for key in called if device[key]]
        hint = probably_meant(words.device, names)
        complain(f"no device {words.device!r}" + (f" ({hint})" if hint else ""))
        return BAD
    found |= {"rules": _rules(words, found["id"]), **_acting(words, found["id"])}
    found |= {"not_read": _not_read(words, found["id"]) if found["described_by"] else []}
    if words.json:
        say_json(found)
        return OK
    from gateway.cli.rules.why import not_counting

    claims, told = found.pop("claims"), {key: found.pop(key) for key in ("not_taken", "awaited", "observed")}
    not_read = found.pop("not_read")
    for key, value in found.items():
        if key == "values":
            for field, last in value.items():
                say(f"  {field:<24} {json_text(last)}")
        elif value or (key == "qos" and value is not None):
            label = key.replace("_", " ")
            say(f"{label:<10} {' '.join(value) if isinstance(value, list) else 'yes' if value is True else value}")
    for text in not_read:
        say(printable(f"not read   {text}"))
    for claim in claims:
        until = f" until {claim['until']}" if claim["until"] else ""
        counts = "" if claim["counts"] else f"; {not_counting(claim)}"
        why = f", {claim['why']}" if claim["why"] else ""
        held = json_text(claim["value"])
        say(f"held       {claim['field']}={held} by {claim['by']} as {claim['priority']}{why}{until}{counts}")
    for line in lines(told):
        say(line)
    return OK


def _rules(words: argparse.Namespace, device: str) -> list[str]:
    """Return the rules that look at a device; none when the rules can't be read now."""
    from gateway.cli.rules.listing import looking_at
    from gateway.cli.rules.place import Place

    try:
        return looking_at(argparse.Namespace(config=words.config, device=device), Place(words))
    except GatewayError:
        return []


def _not_read(words: argparse.Namespace, device: str) -> list[str]:
    """Return what a device says of itself and is not read; nothing to say when the gateway does not run."""
    try:
        with connected(words.config) as client:
            said: list[str] = client.ask("devices_described", device=device)
    except (GatewayError, OSError):
        return []
    return said


def _acting(words: argparse.Namespace, device: str) -> dict[str, Any]:
    """Return who holds which fields of a device, which claims count, and what became of commands."""
    from gateway.cli.asking.records import opened
    from gateway.rules.desk.why import claim_entry, claims_on

    try:
        with opened(words.config) as records:
            row, told = records.table("holds").get(device), acting(records, device)
    except GatewayError:
        row, told = None, {"not_taken": {}, "awaited": [], "observed": {"count": 0, "last": []}}
    return {"claims": [claim_entry(device, "", claim, counts) for claim, counts in claims_on(row)], **told}


def _known(words: argparse.Namespace) -> list[dict[str, Any]]:
    """Return installed devices and those with values, by id."""
    from gateway.config.load import read

    config, _ = read(words.config)
    values = heard(words.config) or {}
    installed = {device.id: device for device in config.devices} if config else {}
    kinds = ("MqttSourceOptions", "ListenerOptions")  # elsewhere there is no QoS
    speaking = {name for name, each in config.sources.items() if type(each).__name__ in kinds} if config else set()
    found = [_device(id_, installed.get(id_), values.get(id_, {})) for id_ in sorted(installed.keys() | values.keys())]
    return [device if device["id"].partition("/")[0] in speaking else {**device, "qos": None} for device in found]


def _device(device_id: str, installed: Device | None, values: dict[str, Any]) -> dict[str, Any]:
    """Describe a device: what a person decided, what its profile says, what was last heard."""
    from gateway.profiles.report import only_a_bridge

    heard = values.get("$", {})  # beside the fields: the profile that reads it
    return {
        "id": device_id,
        "name": installed.name if installed else "",
        "room": installed.room if installed else "",
        "kind": (installed.kind if installed else None) or "",
        "labels": list(installed.labels) if installed else [],
        "invert": bool(installed and installed.invert),
        "installed": installed is not None,
        "bridge": only_a_bridge(values),
        "called": heard.get("name", ""),
        "described_by": heard.get("from", ""),
        "profile": heard.get("profile", ""),
        "class": heard.get("class", ""),
        "qos": heard.get("qos"),  # it last sent at; 0: nobody acknowledges it
        "values": {field: value for field, value in values.items() if not field.startswith("$")},
    }


def _new(device: dict[str, Any]) -> bool:
    """Return whether a person is asked to name a device."""
    return not device["installed"] and not device["bridge"]


def _values(values: dict[str, Any]) -> str:
    return " ".join(f"{field}={json_text(value)}" for field, value in values.items())
