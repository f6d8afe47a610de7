"""`setup`: looks around, asks what it could not know, writes gateway.toml and devices.toml, and switches nothing yet.

Nothing is overwritten: where a package brought a gateway.toml that names nothing yet, a file in gateway.d is written
beside it. Not at a terminal, or with --json, nothing is asked: what cannot be known is left out and said;
--yes writes. Exit codes: 0 written (or shown, with --dry-run), 1 not written, 2 usage.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.config.place import config_place, overlay_of, own_listener
from gateway.cli.devices.strangers import NAMED_MAX, fitting
from gateway.cli.terminal.printing import complain, printable, say, say_json
from gateway.cli.times import seconds
from gateway.cli.verb import BAD, CONFIG, OK, Verbs, add
from gateway.errors import GatewayError, probably_meant
from gateway.quantity import counted

if TYPE_CHECKING:
    from gateway.installation.around import Broker, SerialPort
    from gateway.profiles.catalogue import Catalogue

LOCAL = "mqtt://localhost"
SOURCE = "house"
PASSWORD_FILE = "broker.password"  # noqa: S105 - its name
SECONDS = 3.0

POINT_HERE = """\
Nothing that sends was found. Three ways on:
  a broker elsewhere      edge-gateway setup --broker mqtt://ADDRESS     (--neighbourhood looks for one)
  devices to the gateway  edge-gateway setup --listen 127.0.0.1:1883     (then point Tasmota, Shelly ... here)
  no hardware at all      edge-gateway demo"""

OURSELVES = """\
At {where} the running gateway itself listens, so no broker of this machine has that port. Is there one (Mosquitto)?
  sudo systemctl stop edge-gateway && sudo systemctl restart mosquitto && sudo edge-gateway setup
Or should devices talk to the gateway itself, without a broker?
  sudo edge-gateway setup --listen {where}"""


def add_verbs(verbs: Verbs) -> None:
    """Declare `setup`."""
    parser = add(
        verbs,
        "setup",
        "look around for brokers, devices and serial ports, and write a gateway.toml that only observes",
        setup,
        examples=[
            "edge-gateway setup",
            "edge-gateway setup --yes --config ./gateway.toml",
            "edge-gateway setup --broker mqtts://broker.lan --username gateway --password-file ./broker.password --yes",
            "edge-gateway setup --serial usb:1a86:7523=mysensors --yes",
            "edge-gateway setup --dry-run --json",
        ],
        json=True,
    )
    parser.add_argument("--broker", metavar="URL", help=f"its address (default: {LOCAL}, if one answers there)")
    parser.add_argument("--username", metavar="NAME", help="for the broker")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="with the broker's password")
    parser.add_argument("--neighbourhood", action="store_true", help="ask machines this one knows for a broker, too")
    parser.add_argument("--listen", metavar="HOST:PORT", help="no broker: devices talk to the gateway itself")
    parser.add_argument(
        "--serial", action="append", default=[], metavar="PORT=PROFILE", help="what reads a serial port"
    )
    parser.add_argument("--name", default="", help="of the gateway (default: the host's)")
    parser.add_argument(
        "--for",
        type=seconds,
        dest="seconds",
        default=SECONDS,
        metavar="TIME",
        help=f"listen to a broker so long (default: {SECONDS:g}s)",
    )
    parser.add_argument("--yes", action="store_true", help="ask nothing, write")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be written")


@dataclass
class Plan:
    """What was found, and what is to be written."""

    config: Path
    overlay: Path | None = None  # is written instead of the config, where one is there that names nothing yet
    name: str = ""
    listen: str = ""
    broker: Broker | None = None
    username: str = ""
    password: Path | None = None
    neighbours: list[str] = field(default_factory=list)
    ports: list[SerialPort] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    occupied: bool = False  # the gateway itself listens where a broker would

    @property
    def found(self) -> bool:
        """Whether there is anything that sends."""
        return bool(self.listen or self.broker or any(port.profile for port in self.ports))

    def config_text(self) -> str:
        """Write gateway.toml: five lines, more where there is more."""
        options = "man edge-gateway.toml" if self.config == CONFIG else "docs/reference/config.md"
        lines = [f"# Written by `edge-gateway setup`. Every option: {options}"]
        lines.append('gateway.commands = "observe"   # what rules would switch is recorded; "run" when you trust them')
        if self.name:
            lines.append(f"gateway.name = {_toml(self.name)}")
        if self.config != CONFIG and self.overlay is None:
            lines.append('gateway.state = "state"        # journal and socket, beside this file')
        if self.listen:
            lines.append(f"sources.{SOURCE}.listen = {_toml(self.listen)}")
        if self.broker is not None:
            lines += self._broker_lines(self.broker)
        for name, port in self._serial_sources().items():
            lines += ["", f"[sources.{name}]", f"serial = {_toml(port.identity)}", f"profile = {_toml(port.profile)}"]
        return "\n".join(lines) + "\n"

    def _broker_lines(self, broker: Broker) -> list[str]:
        url = broker.url.removesuffix(":1883")
        options = [f"url = {_toml(url)}"]
        if self.username:
            options.append(f"username = {_toml(self.username)}")
        if self.password is not None:
            file = self.password.name if self.password.parent == self.config.parent else str(self.password.absolute())
            options.append(f"password = {{ file = {_toml(file)} }}")
        if broker.prefixes:
            pairs = ", ".join(f"{_toml(usual)} = {_toml(prefix)}" for usual, prefix in broker.prefixes.items())
            options.append(f"prefixes = {{ {pairs} }}")
        if len(options) == 1:
            return [f"sources.{SOURCE} = {_toml(url)}"]
        return ["", f"[sources.{SOURCE}]", *options]

    def _serial_sources(self) -> dict[str, SerialPort]:
        found: dict[str, SerialPort] = {}
        for port in self.ports:
            if port.profile:
                name, number = port.profile, 2
                while name in found or name == SOURCE:
                    name, number = f"{port.profile}-{number}", number + 1
                found[name] = port
        return found

    def devices_text(self) -> str:
        """Write devices.toml with what was heard, by the names it has already."""
        from gateway.cli.devices.adopting import suggested
        from gateway.installation.edit import HEADER

        text, taken = HEADER, set[str]()
        called = self.broker.called if self.broker else {}
        for device, profile in (self.broker.devices if self.broker else {}).items():
            name = _toml(suggested(device, taken, called.get(device, "")))
            text += f"\n[[device]]\nid = {_toml(device)}   # {profile}\nname = {name}\n"
        return text

    def as_json(self) -> dict[str, Any]:
        """Return it for a program."""
        import msgspec

        return {
            "broker": msgspec.to_builtins(self.broker) if self.broker else None,
            "neighbours": self.neighbours,
            "ports": msgspec.to_builtins(self.ports),
            "notes": self.notes,
            "files": {path.name: text for path, text in self.files().items()} if self.found else {},
            "next": self.next_commands() if self.found else [],
        }

    @property
    def devices(self) -> Path:
        """Return where devices.toml belongs."""
        return self.config.with_name("devices.toml")

    def files(self) -> dict[Path, str]:
        """Return what is to be written, by path; a devices.toml that is there stays."""
        files = {self.overlay or self.config: self.config_text()}
        return files if self.devices.exists() else {**files, self.devices: self.devices_text()}

    def next_commands(self) -> list[str]:
        """Return what to type next."""
        if self.config == CONFIG:
            return ["edge-gateway check", "sudo systemctl restart edge-gateway", "edge-gateway events --follow"]
        where = f"export EDGE_GATEWAY_CONFIG={shlex.quote(str(self.config.absolute()))}"
        return [where, "edge-gateway run &", "edge-gateway events --follow"]


def setup(words: argparse.Namespace) -> int:
    """Look, ask, write."""
    plan = Plan(config_place(words.config, shown=words.dry_run), name=words.name)
    if plan.config.exists():
        plan.overlay = overlay_of(plan.config)
    if plan.config.exists() and plan.overlay is None and not words.dry_run:
        raise GatewayError(f"there is a {plan.config} already, and setup overwrites nothing; what it finds: --dry-run")
    asks = sys.stdin.isatty() and not (words.yes or words.json)
    work = Setup(words, plan, asks=asks)
    work.look()
    if not words.json:
        work.tell()
    if not plan.found:
        say_json(plan.as_json()) if words.json else say("" if plan.occupied else POINT_HERE, "yellow")
        return BAD
    written = not words.dry_run and (words.yes or (asks and _yes("Write these files?")))
    if written:
        _write(plan)
    if words.json:
        say_json({**plan.as_json(), "written": written})
        return OK if written or words.dry_run else BAD
    if not written:
        say("nothing was written" + ("" if words.dry_run or asks else "; add --yes to write"), "dim")
        return OK if words.dry_run else BAD
    say("\nWritten. Next:", "green")
    for command in plan.next_commands():
        say(f"  {command}", "bold")
    return OK


class Setup:
    """One look around."""

    def __init__(self, words: argparse.Namespace, plan: Plan, *, asks: bool) -> None:
        self._words, self._plan, self._asks = words, plan, asks

    def look(self) -> None:
        """Find brokers and ports; ask for what only a person knows."""
        from gateway.profiles.catalogue import Catalogue

        catalogue = Catalogue.load()
        self._serial(catalogue)
        if self._words.listen:
            self._plan.listen = self._words.listen
            return
        self._plan.username, self._plan.password = self._words.username or "", self._words.password_file
        url = self._words.broker or LOCAL
        if where := own_listener(self._plan.config, url):
            self._plan.notes.append(OURSELVES.format(where=where))
            self._plan.occupied = True
            return
        broker = self._listen_to(url, catalogue)
        if broker.refused and self._asks and not self._plan.username:
            broker = self._with_password(url, catalogue)
        if broker.error and self._words.neighbourhood:
            import asyncio

            from gateway.installation.around import neighbours

            self._plan.neighbours = asyncio.run(neighbours())
            for host in self._plan.neighbours:
                broker = self._listen_to(f"mqtt://{host}", catalogue)
                if not broker.error:
                    break
        if broker.error and self._asks and not self._words.broker:
            url = input(f"{broker.url}: {broker.error}. Address of a broker (empty: none): ").strip()
            broker = self._listen_to(url if "://" in url else f"mqtt://{url}", catalogue) if url else broker
        if broker.error:
            self._plan.notes.append(f"{broker.url}: {broker.error}")
            if self._words.broker and broker.refused:
                self._plan.notes.append("give --username and --password-file")
        else:
            self._plan.broker = broker

    def _listen_to(self, url: str, catalogue: Catalogue) -> Broker:
        import asyncio

        from gateway.installation.around import listen_to
        from gateway.mqtt.options import ConnectionOptions
        from gateway.secrets import Secret

        words, plan = self._words, self._plan
        try:
            password = Secret("file", str(plan.password)) if plan.password else None
            options = ConnectionOptions(url=url, username=plan.username or None, password=password)
        except ValueError as error:
            raise GatewayError(str(error)) from None
        if not words.json:
            say(f"listening to {url} for {words.seconds:g} s ...", "dim")
        return asyncio.run(listen_to(options, catalogue, SOURCE, words.seconds))

    def _with_password(self, url: str, catalogue: Catalogue) -> Broker:
        """Ask who we are for a broker; the password goes to a file that only its owner reads."""
        self._plan.username = input(f"{url} wants to know who we are. User name: ").strip()
        password = getpass.getpass("Password: ")
        file = self._plan.config.with_name(PASSWORD_FILE)
        if file.exists():
            raise GatewayError(f"there is a {file} already: name it with --password-file")
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:  # noqa: PTH123 - Path.open sets no mode
            new.write(password)
        self._plan.password = file
        self._plan.notes.append(f"the password is in {file}, which only you can read")
        return self._listen_to(url, catalogue)

    def _serial(self, catalogue: Catalogue) -> None:
        from gateway.installation.around import SerialPort, serial_ports
        from gateway.sources.ports import Ports, is_identity

        said: dict[str, str] = {}
        for text in self._words.serial:
            identity, equals, profile = text.rpartition("=")
            if not equals or not is_identity(identity):
                raise GatewayError(f"--serial {text}: write PORT=PROFILE, such as usb:1a86:7523=mysensors")
            if not catalogue.has(profile):
                near = probably_meant(profile, catalogue.of_kind("serial")) or "see: edge-gateway profiles list"
                raise GatewayError(f"--serial {text}: there is no profile {profile!r} ({near})")
            said[identity] = profile
        for port in serial_ports(Ports().all(), catalogue):
            profile = said.pop(port.identity, said.pop(port.path, port.profile))
            if not profile and self._asks:
                known = ", ".join(sorted(catalogue.of_kind("serial")))
                profile = input(
                    f"{port.identity} ({port.title}): which profile reads it ({known}; empty: none)? "
                ).strip()
            self._plan.ports.append(SerialPort(port.identity, port.path, port.title, profile))
        self._plan.ports += [SerialPort(identity, identity, "", profile) for identity, profile in said.items()]

    def tell(self) -> None:
        """Say what was found."""
        plan = self._plan
        if plan.broker is not None:
            _tell_broker(plan.broker)
        for port in plan.ports:
            reads = f"read by {port.profile}" if port.profile else f"not used: --serial {port.identity}=PROFILE"
            say(f"{port.identity} {port.title}: {reads}")
        for note in plan.notes:
            say(note, "yellow")
        if plan.found:
            for path, text in plan.files().items():
                say(f"\n{path}", "bold")
                say(text.rstrip())
            if plan.devices.exists():
                say(f"\n{plan.devices} is there and stays as it is", "dim")


def _tell_broker(broker: Broker) -> None:
    say(f"{broker.url} answers: {broker.topics} topics", "green")
    for bridge in broker.bridges:
        version = f" {bridge.version}" if bridge.version else ""
        what = "camera" if bridge.kind == "frigate" else "device"
        say(f"  {bridge.kind}{version} on {bridge.prefix}/, {counted(bridge.devices, what)}")
    say(f"  {counted(len(broker.devices), 'device')} that a profile reads, heard just now")
    if broker.strangers:
        say(f"  {broker.strangers} that none reads (edge-gateway devices list --unknown says what to do):")
        for each in broker.unknown[:NAMED_MAX]:
            say(printable(f"    {each['device']}: {fitting(each)}"))
        if broker.strangers > NAMED_MAX:
            say("    ...")


def _write(plan: Plan) -> None:
    """Write the files; one that somebody made meanwhile stays."""
    for path, text in reversed(plan.files().items()):  # the config last: without it nothing begins
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            complain(f"{path}: {error.strerror}")
            raise GatewayError(f"{path} was not written") from None


def _yes(question: str) -> bool:
    return input(f"\n{question} [Y/n] ").strip().lower() in ("", "y", "yes")


def _toml(text: str) -> str:
    """Write a text as TOML: JSON's form is one, but for DEL."""
    return re.sub("\x7f", r"\\u007f", json.dumps(text, ensure_ascii=False))
