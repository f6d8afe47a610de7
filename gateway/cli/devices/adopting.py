"""`devices adopt|rename|invert|forget`: what a person decides about devices, written to devices.toml.

The file is checked with everything that names its devices before it takes the old one's place. A running gateway goes
by it at once, and records who did it. Exit codes: 0 done, 1 it can't be done, 78 the file has a fault.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.asking.heard import called, heard
from gateway.cli.terminal.printing import complain, say, say_json
from gateway.cli.verb import BAD, DEVICE_NAMES, NEW_NAMES, OK, Verbs, add, completed
from gateway.errors import ConfigError, Fault, GatewayError, probably_meant

if TYPE_CHECKING:
    from gateway.config.load import Config
    from gateway.installation.edit import DevicesText
    from gateway.profiles.devices import Devices

KEYS = (
    "name",
    "room",
    "kind",
    "labels",
    "invert",
    "manual_hold",
    "commands",
    "profile",
)  # in the order they are written


def add_verbs(words: Verbs) -> None:
    """Declare them."""
    _adopt(words)
    parser = add(
        words, "rename", "give a device another name; says which rules and routes know it by the old one", rename,
        examples=["edge-gateway devices rename house/z2m:hall/door front-door"], json=True,
    )  # fmt: skip
    completed(parser.add_argument("device", metavar="DEVICE", help="its id, or its name"), DEVICE_NAMES)
    parser.add_argument("name", metavar="NAME", help="what rules and people call it from now on")
    _force(parser)
    parser = add(
        words, "invert", "a contact says open when it is closed: read it the other way round", invert,
        examples=["edge-gateway devices invert front-door", "edge-gateway devices invert front-door --off"], json=True,
    )  # fmt: skip
    completed(parser.add_argument("device", metavar="DEVICE", help="its id, or its name"), DEVICE_NAMES)
    parser.add_argument("--off", action="store_true", help="as the device says it, again")
    parser = add(
        words, "forget", "take a device out of devices.toml", forget,
        examples=["edge-gateway devices forget front-door", "edge-gateway devices forget house/z2m:old --data"],
        json=True,
    )  # fmt: skip
    completed(parser.add_argument("device", metavar="DEVICE", help="its id, or its name"), DEVICE_NAMES)
    parser.add_argument("--data", action="store_true", help="its last values, too; events stay as long as history says")
    _force(parser)


def _adopt(words: Verbs) -> None:
    parser = add(
        words, "adopt", "list a device in devices.toml, or change what is said of it there; live at once", adopt,
        examples=[
            "edge-gateway devices adopt house/z2m:hall/door --name front-door --room hall --label entry",
            "edge-gateway devices adopt house/z2m:bath --kind window",
            "edge-gateway devices adopt --all",
        ],
        json=True,
    )  # fmt: skip
    device = parser.add_argument("device", nargs="?", metavar="ID", help="as `devices list` shows it, or its name")
    completed(device, NEW_NAMES)
    parser.add_argument("--all", action="store_true", help="every device that was heard and is not listed yet")
    parser.add_argument("--name", help="what rules and people call it (default: from its id)")
    parser.add_argument("--room", help="where it is")
    parser.add_argument("--kind", help="what it is on or in: door, window, light, thermostat ...")
    parser.add_argument("--label", action="append", dest="labels", metavar="LABEL", help="may be repeated")
    parser.add_argument("--invert", action=argparse.BooleanOptionalAction, help="it says open when it is closed")
    parser.add_argument("--manual-hold", metavar="TIME", help="how long a change by hand wins over rules")
    parser.add_argument("--commands", choices=["run", "observe"], help="observe: nothing is sent to it")
    parser.add_argument("--profile", metavar="ID", help="that reads it, where its messages cannot say")
    parser.add_argument("--unheard", action="store_true", help="though nothing was heard of it yet")
    _force(parser)


def _force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="though rules name what is no more")


# ---- the verbs -----------------------------------------------------------------------------------------------------


def adopt(words: argparse.Namespace) -> int:
    """List a device, or all that were heard."""
    work = Work(words)
    if words.all == bool(words.device):
        raise GatewayError("say which device, or --all; those that were heard: edge-gateway devices list --new")
    if words.all:
        read = (device for device, values in sorted(work.heard.items()) if values.get("$", {}).get("profile"))
        new = [device for device in read if work.devices.get(device) is None]  # bridges only say that they are there
        taken = {device.name for device in work.devices}

        fields = {device: {"name": suggested(device, taken, work.called.get(device, ""))} for device in new}
        return work.do(lambda text: text.add_all(fields), new, "adopted")
    listed = work.devices.find(words.device)
    device = listed.id if listed else work.found(words.device, unheard=words.unheard)
    said = {key: getattr(words, key, None) for key in KEYS}
    if listed is None and sys.stdin.isatty() and not words.json and not any(v is not None for v in said.values()):
        said |= _asked(device, work)
    said = {key: value for key, value in said.items() if value is not None}
    if listed is not None:
        return work.do(lambda text: text.change(device, said), [device], "changed")
    taken = {each.name for each in work.devices}
    name = said.get("name") or suggested(device, taken, work.called.get(device, ""))
    said = {"name": name, **{k: v for k, v in said.items() if k != "name"}}
    return work.do(lambda text: text.add(device, said), [device], "adopted")


def rename(words: argparse.Namespace) -> int:
    """Change a device's name; a heard one is adopted by it."""
    work = Work(words)
    listed = work.devices.find(words.device)
    if listed is None:
        device = work.found(words.device, unheard=False)
        return work.do(lambda text: text.add(device, {"name": words.name}), [device], "adopted")
    return work.do(lambda text: text.change(listed.id, {"name": words.name}), [listed.id], "renamed")


def invert(words: argparse.Namespace) -> int:
    """Turn a contact round."""
    work = Work(words)
    fields = {"invert": None if words.off else True}
    listed = work.devices.find(words.device)
    if listed is None:
        device = work.found(words.device, unheard=False)
        name = suggested(device, {each.name for each in work.devices}, work.called.get(device, ""))
        return work.do(lambda text: text.add(device, {"name": name, **fields}), [device], "inverted")
    done = "read as it says it" if words.off else "inverted"
    return work.do(lambda text: text.change(listed.id, fields), [listed.id], done)


def forget(words: argparse.Namespace) -> int:
    """Take a device out; with --data its last values, too."""
    work = Work(words)
    listed = work.devices.find(words.device)
    device = listed.id if listed else work.found(words.device, unheard=False)
    if listed is None and not words.data:
        raise GatewayError(f"{device} is not in {work.file.name}; its last values are forgotten with --data")
    if words.data:
        work.needs_gateway("last values are in its journal")
    if listed is None:
        return work.forget_data(device)
    code = work.do(lambda text: text.remove(device), [device], "forgotten", quiet=words.data)
    return work.forget_data(device) if words.data and code == OK else code


class Work:
    """One verb's work on devices.toml."""

    def __init__(self, words: argparse.Namespace) -> None:
        from gateway.config.load import read

        config, faults = read(words.config)
        if config is None:
            raise ConfigError(faults)
        self.config: Config = config
        self.words = words
        self.file: Path = config.gateway.devices
        if own := [fault for fault in faults if Path(fault.file) == self.file]:
            raise ConfigError(own)
        self.devices: Devices = config.devices
        values = heard(words.config)
        self.knows = values is not None
        self.heard = values or {}
        self.called = called(words.config, config.sources) if self.heard else {}  # by their own dialects, by id

    def found(self, name: str, *, unheard: bool) -> str:
        """Return the id of a device that is not listed. GatewayError when there is none of that name."""
        if name in self.heard:
            return name
        tails = [device for device in self.heard if name in (device.partition(":")[2], self.called.get(device))]
        if len(tails) == 1:
            return tails[0]
        source, slash, rest = name.partition("/")
        if unheard and slash and ":" in rest:
            if source in self.config.sources:
                return name
            near = probably_meant(source, self.config.sources) or f"there are {', '.join(self.config.sources)}"
            raise GatewayError(f"there is no source {source!r} ({near})")
        if not self.knows:
            why = "the gateway does not run and has no journal yet, so that nobody knows what was heard"
            raise GatewayError(f"no device {name!r} in {self.file.name}, and {why}; if its id is right, add --unheard")
        names = [*self.heard, *(each for device in self.devices for each in (device.id, device.name) if each)]
        near = probably_meant(name, names) or "see: edge-gateway devices list"
        raise GatewayError(f"no device {name!r} was heard ({near}); if its id is right, adopt it with --unheard")

    def do(self, edit: Callable[[DevicesText], None], devices: Sequence[str], done: str, *, quiet: bool = False) -> int:
        """Edit the file, have the gateway take it, and say so."""
        from gateway.installation.edit import editing

        if not devices:
            say_json({"devices": [], "live": None}) if self.words.json else say("there is nothing to adopt", "dim")
            return OK
        with editing(self.file, self._accept) as text:
            edit(text)
        since, faults = self._settled()
        listed = self._listed(devices)
        if self.words.json:
            if not quiet:
                say_json({"devices": listed, "done": done, "file": str(self.file), "live": since, "faults": faults})
        elif not faults and not quiet:
            for device in listed:
                say(f"{_line(device)}: {done}", "green")
            say(f"{self.file}: {f'live since {since}' if since else 'counts when the gateway starts'}", "dim")
        for fault in faults:
            complain(fault)
        return BAD if faults else OK

    def _listed(self, devices: Sequence[str]) -> list[dict[str, Any]]:
        import msgspec

        from gateway.profiles.devices import Devices

        now = Devices.load(self.file)
        return [msgspec.to_builtins(now.get(device)) if now.get(device) else {"id": device} for device in devices]

    def _accept(self, text: bytes, found: Devices) -> None:
        """Refuse what the gateway would not start with, and what rules would miss; else announce the text."""
        from gateway.api.line import ApiError
        from gateway.config.crosscheck import CrossCheck
        from gateway.installation.live import text_hash_of

        with ExitStack() as stack:
            client = None
            with suppress(ApiError):
                client = stack.enter_context(self._client())  # before rules are run: they may be run as somebody else
            faults = list(CrossCheck(dataclasses.replace(self.config, devices=found)).words_of_routes())
            if not getattr(self.words, "force", True) and self._loses(found):
                faults += self._missed(found)
            if faults:
                raise ConfigError(faults)
            with suppress(ApiError):
                if client is not None:
                    client.ask("devices_expect", text_hash=text_hash_of(text))

    def _loses(self, found: Devices) -> bool:
        """Return whether a word that rules may use of a device is no more."""
        return bool(_words(self.devices) - _words(found))

    def _missed(self, found: Devices) -> list[Fault]:
        """Return what is wrong in rules then and is not now."""
        from gateway.cli.rules.loading import rules_with

        now = set(rules_with(self.config, self.devices, self.heard).faults)
        then = rules_with(self.config, found, self.heard).faults
        hint = "change the rule, too; or add --force"
        return [dataclasses.replace(fault, hint=hint) for fault in then if fault not in now]

    # ---- the running gateway ---------------------------------------------------------------------------------------

    def _client(self) -> Any:
        from gateway.api.client import ApiClient

        return ApiClient(self.config.places.socket)

    def needs_gateway(self, why: str) -> None:
        """Raise NotRunning when no gateway runs."""
        from gateway.api.line import NotRunning

        try:
            self._client().close()
        except NotRunning as error:
            raise NotRunning(f"{error} ({why})") from None

    def _settled(self) -> tuple[str, list[str]]:
        """Return since when the file is live, or nothing when no gateway runs; and why it is not."""
        from gateway.api.line import ApiError

        try:
            with self._client() as client:
                said: Mapping[str, Any] = client.ask("devices_settled")
        except ApiError:
            return "", []
        return str(said["since"]), list(said["faults"])

    def forget_data(self, device: str) -> int:
        """Have the gateway forget what a device said last."""
        with self._client() as client:
            known = client.ask("devices_forget", device=device)
        if self.words.json:
            say_json({"devices": [{"id": device}], "done": "forgotten", "data": known})
        else:
            say(f"{device}: forgotten" + (", with its last values" if known else "; it had no last values"), "green")
            say("events about it stay in the journal as long as [history] and its size keep them", "dim")
        return OK


def suggested(device: str, taken: set[str], called: str = "") -> str:
    """Return a name for a device from its id, or what its dialect calls it; one that nobody has, and take it."""
    return free(re.sub(r"[\s/]+", "-", called or device.partition(":")[2]).strip("-") or device, taken)


def free(name: str, taken: set[str]) -> str:
    """Return a name that nobody has, with a number if it must be, and count it as taken."""
    found, number = name, 2
    while found in taken:
        found, number = f"{name}-{number}", number + 1
    taken.add(found)
    return found


def _asked(device: str, work: Work) -> dict[str, Any]:
    """Ask a person at a terminal what only they know; an empty answer takes what is shown."""
    rooms = sorted({each.room for each in work.devices if each.room})
    name = suggested(device, {each.name for each in work.devices}, work.called.get(device, ""))
    say(f"{device} says {', '.join(key for key in work.heard.get(device, {}) if key != '$') or 'nothing yet'}")
    room = f" ({', '.join(rooms)})" if rooms else ""
    said: dict[str, Any] = {
        "name": input(f"name [{name}]: ").strip() or name,
        "room": input(f"room{room}: ").strip() or None,
        "kind": input("kind, if it is not what its class says (window, gate, freezer ...): ").strip() or None,
    }
    labels = input("labels, with commas: ").strip()
    return {**said, "labels": [label.strip() for label in labels.split(",") if label.strip()] or None}


def _words(devices: Devices) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for device in devices:
        labels = {("label", label) for label in device.labels}
        found |= {("name", device.name), ("room", device.room), ("kind", device.kind or ""), *labels}
    return found


def _line(device: Mapping[str, Any]) -> str:
    where = [str(device[key]) for key in ("name", "room", "kind") if device.get(key)]
    return f"{device['id']} ({', '.join(where)})" if where else str(device["id"])


def names(ids: Sequence[str], called: Sequence[str]) -> list[str]:
    """Return what a shell may complete for a device: names and ids without blanks."""
    return sorted({word for word in (*ids, *called) if word and not re.search(r"[\s$`\"'\\]", word)})
