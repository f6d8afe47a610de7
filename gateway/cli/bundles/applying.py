"""`bundle make` and `apply`: a whole configuration for this machine or others, and back by itself when it fails."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway import __version__
from gateway.cli.terminal.printing import complain, fault_json, say, say_json
from gateway.cli.times import seconds
from gateway.cli.verb import BAD, CONFIG_FAULT, OK, USAGE, Verbs, add, group
from gateway.errors import ConfigError, Fault, GatewayError

if TYPE_CHECKING:
    from gateway.bundles.bundle import Bundle, Site
    from gateway.bundles.ledger import Ledger, Version
    from gateway.config.places import Places

CONFIRM = "10m"
CONFIRM_S_MIN, CONFIRM_S_MAX = 5.0, 86_400.0
LOOK_S = 0.3
GRACE_S = 60.0  # for two starts, beside the time to confirm
CHECK_S_MAX = 300.0


def add_verbs(verbs: Verbs) -> None:
    """Declare `bundle make` and `apply`."""
    bundles = group(verbs, "bundle", "bundles: an installation in one file, for this machine or many others")
    parser = add(
        bundles,
        "make",
        "pack a folder with gateway.toml and what it names; the same files make the same bytes",
        make,
        examples=["edge-gateway bundle make ./fleet -o fleet.tar.zst", "edge-gateway bundle make /etc/edge-gateway"],
        json=True,
        config=False,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="with gateway.toml, gateway.d, rules, sites ...")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="a .tar.zst, .tar.gz or .tar; default: bundle.tar.zst"
    )
    parser.add_argument(
        "--program", default="", metavar="VERSION", help="the oldest version that takes it; default: this one"
    )
    parser = add(
        verbs,
        "apply",
        "let a bundle count on this machine; it goes back by itself when the cloud is not reached",
        apply,
        examples=[
            "edge-gateway apply fleet.tar.zst --confirm 10m",
            "edge-gateway apply fleet.tar.zst --site berlin-3",
            "edge-gateway apply --status",
            "edge-gateway apply --revert",
        ],
        json=True,
    )
    parser.add_argument("bundle", type=Path, nargs="?", metavar="PATH", help="a folder or an archive")
    parser.add_argument(
        "--site", default="", metavar="NAME", help="of its sites; default: the one as before, or the host's name"
    )
    parser.add_argument(
        "--confirm",
        type=seconds,
        default=CONFIRM,
        metavar="TIME",
        help=f"until the cloud is reached; default: {CONFIRM}",
    )
    parser.add_argument("--force", action="store_true", help="also undo what was edited on this machine since")
    parser.add_argument("--no-wait", action="store_true", help="do not wait for the outcome")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--confirm-now", action="store_true", help="what is tried counts for good")
    instead.add_argument("--revert", action="store_true", help="what counted before counts again")
    instead.add_argument("--status", action="store_true", help="what counts, and how a try goes")


def make(words: argparse.Namespace) -> int:
    """Pack a bundle."""
    from gateway.bundles import archive, manifest
    from gateway.bundles.bundle import contents, opened
    from gateway.durable import replacing

    if not words.folder.is_dir():
        raise GatewayError(f"{words.folder} is no folder")
    file = words.output or Path("bundle.tar.zst")
    try:
        with opened(words.folder, remake=True) as bundle:
            faults = [fault for site in bundle.sites for fault in site.faults if site.config is None]
            if faults:
                raise ConfigError(faults)
            files = contents(bundle)
            said = manifest.Manifest(files=bundle.manifest.files, program=words.program or __version__)
            with replacing(file, among=f".{os.getpid()}") as raw:
                archive.write(raw, file.name, {**files, manifest.NAME: manifest.encoded(said)})
    except OSError as error:
        raise GatewayError(f"{error.filename or file}: {error.strerror or error}") from None
    sites = [site.name for site in bundle.sites if site.name]
    if words.json:
        say_json({"file": str(file), "hash": said.hash, "files": len(files), "sites": sites, "program": said.program})
    else:
        for_sites = f", {len(sites)} sites" if sites else ""
        say(f"{file}: bundle {said.hash[:12]}, {len(files)} files{for_sites}", "green")
        say(f"Type: edge-gateway check --bundle {file}")
    return OK


def apply(words: argparse.Namespace) -> int:
    """Apply a bundle, or say or end what is applied."""
    from gateway.config.places import places

    where = places(words.base)
    if words.confirm_now or words.revert or words.status:
        if words.bundle is not None:
            complain("name a bundle, or one of --confirm-now, --revert, --status")
            return USAGE
        return _ask(words, where)
    if words.bundle is None:
        complain("name a bundle: a folder or an archive; see edge-gateway apply --help")
        return USAGE
    try:
        return _apply(words, where)
    except ConfigError as error:
        return _refused(words, error)
    except PermissionError as error:
        raise GatewayError(
            f"{error.filename or where.state}: {error.strerror}. Type: sudo edge-gateway apply ..."
        ) from None
    except OSError as error:
        raise GatewayError(
            f"{error.filename or words.bundle}: {error.strerror or error}; nothing was changed"
        ) from None


def _apply(words: argparse.Namespace, where: Places) -> int:
    from gateway.bundles import ledger as ledgers
    from gateway.bundles.bundle import opened
    from gateway.bundles.placing import Placing, chosen, edited, prune, remove
    from gateway.clock import SystemClock, rfc3339
    from gateway.owner import as_owner

    confirm_s = min(max(words.confirm, CONFIRM_S_MIN), CONFIRM_S_MAX)
    if not where.state.is_dir():
        raise GatewayError(
            f"there is no folder {where.state}: start the gateway once, or name its config with --config"
        )
    with ledgers.alone(where.state) as ledger, opened(words.bundle) as bundle:
        site = bundle.site(chosen(words.site, bundle, ledger))
        if site.config is None or site.faults:
            raise ConfigError(map(bundle.placed, site.faults))
        undone = edited(ledger, where.state, bundle)
        if undone and not words.force:
            raise GatewayError(
                f"{', '.join(undone)} was edited on this machine since the last apply, and the bundle has it as it was "
                "or otherwise: take the edit into the bundle, or undo it with --force"
            )
        folder = Placing(bundle, site, words.base, where).place(ledger.count + 1)
        try:
            _check(folder, bundle, site, where.state)
            version = ledgers.Version(
                name=folder.name, bundle=bundle.manifest.hash, site=site.name, origin=str(words.bundle.absolute()),
                actor=_actor(), made=rfc3339(SystemClock().wall_ns()),
            )  # fmt: skip

            def begin(now: Ledger) -> Ledger:
                counted = ledgers.begun(now, version, confirm_s)
                return ledgers.based(counted, words.base)

            with as_owner(where.state):
                after = ledgers.change(where.state, begin)
        except BaseException:  # Ctrl-C, too: also in the moment in which it has come to count
            if not ledgers.counting(where.state, folder.name):
                remove(folder)
            raise
    prune(after, where.state)
    return _begun(words, where, version, confirm_s)


def _refused(words: argparse.Namespace, refusal: ConfigError) -> int:
    from gateway.codes.service import APPLY_REFUSED

    if words.json:
        faults = list(map(fault_json, refusal.faults))
        say_json({"outcome": "refused", "code": str(APPLY_REFUSED), "faults": faults})
        return CONFIG_FAULT
    for fault in refusal.faults:
        complain(str(fault))
    complain(f"{APPLY_REFUSED}: the bundle was refused, and nothing was changed")
    return CONFIG_FAULT


def _check(folder: Path, bundle: Bundle, site: Site, state: Path) -> None:
    """Check what was placed as the gateway's own user would, in a process of its own. Raises ConfigError."""
    owner = state.stat()
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0 and owner.st_uid:
        as_user = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    argv = [sys.executable, "-m", "gateway", "check", "--json", "--config", str(folder / "gateway.toml")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            argv, capture_output=True, text=True, check=False, timeout=CHECK_S_MAX, env=environment, **as_user
        )
        said = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise GatewayError(f"the bundle cannot be checked: {error}; nothing was changed") from None
    placed = {str(folder / "gateway.d/zy-site.toml"): str(bundle.origin / f"sites/{site.name}.toml")}
    faults = [_fault(each, folder, bundle.origin, placed) for each in said["faults"]]
    if faults:
        raise ConfigError(faults)
    for each in said["warnings"]:
        say(f"warning: {_fault(each, folder, bundle.origin, placed)}", "yellow") if sys.stdout.isatty() else None


def _fault(said: dict[str, Any], folder: Path, origin: Path, placed: dict[str, str]) -> Fault:
    file = placed.get(said["file"], said["file"].replace(str(folder), str(origin)))
    return Fault(file, said["line"], said["what"].replace(f"{folder}/", ""), said["hint"])


def _actor() -> str:
    """Say who types: the one behind sudo, too."""
    from gateway.actors import myself

    return myself()


def _begun(words: argparse.Namespace, where: Places, version: Version, confirm_s: float) -> int:
    """Tell the gateway that runs, and wait for the outcome."""
    from gateway.api.client import ApiClient
    from gateway.api.line import ApiError, NotRunning
    from gateway.bundles.ledger import named

    running = True
    try:
        with ApiClient(where.socket) as client:
            client.ask("apply_begun")
    except NotRunning:
        running = False
    except ApiError as error:
        complain(f"{error}; it counts from the next start")
        running = False
    if not words.json:
        say(f"{named(version)} is in place; the cloud has to be reached in {confirm_s:g} s, or it goes back")
    if not running:
        say("No gateway runs: it counts, and its time runs, from the next start", "yellow") if not words.json else None
    if not running or words.no_wait:
        if words.json:
            say_json({"bundle": version.bundle, "site": version.site, "outcome": "", "running": running})
        return OK
    return _outcome(words, where, version, confirm_s)


def _outcome(words: argparse.Namespace, where: Places, version: Version, confirm_s: float) -> int:
    """Wait until the try is over; the ledger says it, whether the gateway answers or not."""
    from gateway.bundles import ledger as ledgers

    end = time.monotonic() + confirm_s + GRACE_S
    started = time.monotonic()
    shown = ""
    while time.monotonic() < end:
        now = ledgers.read(where.state)
        outcome = now.outcome
        if now.trial is None and outcome is not None and outcome.version.name == version.name:
            took_s = round(time.monotonic() - started, 1)
            if words.json:
                answer = {"bundle": version.bundle, "site": version.site, "outcome": outcome.verdict}
                say_json({**answer, "why": outcome.why, "code": outcome.code, "took_s": took_s})
            elif outcome.verdict == "confirmed":
                say(f"confirmed after {took_s:g} s: {outcome.why}", "green")
            else:
                complain(f"{outcome.code} it went back after {took_s:g} s: {outcome.why}".lstrip())
            return OK if outcome.verdict == "confirmed" else BAD
        waits = _waits(where)
        if waits and waits != shown and not words.json:
            shown = waits
            say(f"  {waits}", "dim")
        time.sleep(LOOK_S)
    complain("no outcome yet: does the gateway run? Type: edge-gateway apply --status")
    return BAD


def _waits(where: Places) -> str:
    from gateway.api.client import ApiClient
    from gateway.api.line import ApiError

    with suppress(ApiError, OSError), ApiClient(where.socket) as client:
        return "; ".join(client.ask("applied")["missing"])
    return ""


def _ask(words: argparse.Namespace, where: Places) -> int:
    """Confirm, revert, or show: by the gateway that runs, else by the ledger."""
    from gateway.api.client import ApiClient
    from gateway.api.line import NotRunning
    from gateway.bundles import ledger as ledgers
    from gateway.clock import SystemClock
    from gateway.owner import as_owner

    asked = "apply_confirm" if words.confirm_now else "apply_revert" if words.revert else "applied"
    try:
        with ApiClient(where.socket) as client:
            client.ask(asked)
    except NotRunning:
        clock, why = SystemClock(), f"{_actor()} says so"
        changes: dict[str, Callable[[Ledger], Ledger]] = {
            "apply_confirm": lambda now: ledgers.confirmed(now, why, clock),
            "apply_revert": lambda now: ledgers.reverted(now, why, "", clock),
        }
        if asked in changes:
            with as_owner(where.state):
                ledgers.change(where.state, changes[asked])
    now = ledgers.read(where.state)
    if words.json:
        left = ledgers.left_s(now, SystemClock())
        say_json({"current": now.current, "before": now.before, "trying": now.trial is not None, "left_s": left,
                  "outcome": now.outcome, "waits": _waits(where)})  # fmt: skip
        return OK
    _show(words, now, where)
    return OK


def _show(words: argparse.Namespace, now: Ledger, where: Places) -> None:
    from gateway.bundles.ledger import left_s, named
    from gateway.clock import SystemClock

    if now.current is None:
        say(f"{words.base} itself counts", "bold")
    else:
        current = now.current
        say(f"{named(current)} counts, applied {current.made} by {current.actor} from {current.origin}", "bold")
        say(f"its files are in {where.state / 'applied' / current.name}; {words.base} is not read")
    if now.trial is not None:
        left = left_s(now, SystemClock())
        say(f"it is being tried, {left or 0:.0f} s left: {_waits(where) or 'the gateway does not answer'}", "yellow")
    if now.outcome is not None:
        out = now.outcome
        text = f"{out.at}: {named(out.version)} was {out.verdict}: {out.why}" + (f" ({out.code})" if out.code else "")
        say(text, "green" if out.verdict == "confirmed" else "red")
    if now.current is not None:
        say(f"`edge-gateway apply --revert` goes back to {named(now.before)}")
