"""Reload: read config, profiles, rules and credentials again, and go by them; or go on as before and say why not.

All or nothing: everything is read, compiled and tried beside what runs, and with a single fault anywhere what runs goes
on untouched. What needs a restart is said, and then nothing else is applied either: a gateway goes by one state of its
files, never by a mixture nobody has written (docs/decisions/0031).

One reload at a time; who asks while one is under way is answered by the next, and all of them by the same one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.actors import by_file, person
from gateway.audit import hash_of
from gateway.bundles.ledger import trying
from gateway.clock import rfc3339
from gateway.codes.service import GATEWAY_FAULT, RELOAD_NEEDS_RESTART, RELOAD_REFUSED
from gateway.config import last_good
from gateway.config.acting import acting
from gateway.config.changes import Changes
from gateway.config.crosscheck import unknown_prefixes, unknown_profiles
from gateway.config.diff import Change, differences, needs_restart
from gateway.config.load import Config, load
from gateway.document import raise_faults
from gateway.errors import ConfigError, DiskRefused, Fault
from gateway.health.outlook import line_of
from gateway.installation.profiles import FoundProfiles
from gateway.journal.committer import State as DiskState
from gateway.logs.about import about
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.lines import line_of as serial_line_of
from gateway.profiles.units import units_of
from gateway.reload.credentials import Prints, prints, touched, unusable
from gateway.reload.plan import Steps, steps
from gateway.reload.swap import Swap
from gateway.rules.files.candidate import CandidateFailed
from gateway.rules.files.terms import Rehearsal, RulesRefused, Terms

if TYPE_CHECKING:
    from gateway.daemon import Daemon

log = logging.getLogger(__name__)

STOP_S_MAX: Final = 3.0  # a stop waits so long for a change that has begun
CHANGES_RECORDED_MAX: Final = 50  # in the event about a reload
TRIES_MAX: Final = 3  # when the process that tried the rules is gone before they took over
REFUSED_AGAIN_S: Final = 60.0  # the same faults by the same actor are recorded once in that time
_NOTHING: Final = ("", list[str](), 0.0)  # by whom, why, when
SIGNAL: Final = "signal"  # actor of a reload by SIGHUP


class Outcome(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What came of a reload."""

    applied: bool
    changes: list[Change] = []
    faults: list[str] = []  # file:line: what, why nothing was applied
    restart: list[str] = []  # keys that need one
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class _Read:
    """What was read, and is good as far as can be known without trying the rules."""

    config: Config
    profiles: FoundProfiles
    prints: Prints
    lines: Mapping[str, Any]
    changes: list[Change]
    steps: Steps
    unread: Changes


class Reload:
    """Belongs to the event loop's thread. `run` is a stage."""

    def __init__(self, daemon: Daemon, read: Callable[[], Config] | None = None) -> None:
        """Begin with what the daemon was made of; `read` reads its config again."""
        self._daemon = daemon
        self._read_config = read or (lambda: load(daemon.config.file))
        self.since = ""  # when the config that counts took effect; empty: at the start
        self.faults: list[str] = []  # why the last reload changed nothing
        self._prints: Prints = prints(daemon.config)
        self._lines: Mapping[str, Any] = _lines(daemon.config, daemon.catalogue)
        self._said: tuple[str, list[str], float] = _NOTHING  # the last refusal that was recorded
        self._wanted = asyncio.Event()
        self._asked: list[asyncio.Future[Outcome]] = []
        self._actor = SIGNAL

    # ---- what others ask ----------------------------------------------------------------------------

    async def ask(self, actor: str = "person") -> Outcome:
        """Reload, and return what came of it. The unit's ExecReload= is as anonymous as a signal."""
        if self._daemon.service.managed and actor == person(os.geteuid()):
            actor = SIGNAL
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        self._actor = actor
        self._wanted.set()
        return await answer

    def hangup(self) -> None:
        """SIGHUP has come."""
        self._wanted.set()

    async def differences(self) -> Outcome:
        """Say what a reload would change, and what speaks against it."""
        try:
            read = await asyncio.to_thread(self._read)
        except ConfigError as error:
            return Outcome(applied=False, faults=[str(fault) for fault in error.faults])
        return Outcome(
            applied=False, changes=read.changes, restart=[change.key for change in needs_restart(read.changes)]
        )

    # ---- one after the other ------------------------------------------------------------------------

    async def run(self) -> None:
        """Reload when asked, until cancelled; a change that has begun is brought to its end."""
        await self.keep()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            asked, self._asked = self._asked, []
            actor, self._actor = self._actor, SIGNAL
            change = asyncio.create_task(self._reload(actor), name="gateway.reload[one]")
            try:
                outcome = await asyncio.shield(change)
            except asyncio.CancelledError:
                await asyncio.wait({change}, timeout=STOP_S_MAX)
                change.cancel()
                await asyncio.wait({change}, timeout=STOP_S_MAX)  # what it was ending ends before the journal does
                raise
            for answer in asked:
                if not answer.done():
                    answer.set_result(outcome)

    async def _reload(self, actor: str) -> Outcome:
        daemon, started = self._daemon, time.monotonic()
        before = daemon.config
        daemon.service.reloading()
        try:
            async with daemon.profiles.one:
                changes = await self._change()
            outcome = Outcome(applied=True, changes=changes, seconds=time.monotonic() - started)
            self.faults, self._said, self.since = [], _NOTHING, rfc3339(daemon.clock.wall_ns())
            keys = ", ".join(change.key for change in changes[:CHANGES_RECORDED_MAX]) or "nothing has changed"
            log.info("reloaded by %s in %.2f s: %s", actor, outcome.seconds, keys, extra=about(actor=actor))
        except _Restart as error:
            outcome = Outcome(applied=False, changes=error.changes, restart=[each.key for each in error.keys])
            self._refused([str(fault) for fault in _restart_faults(error.keys)], actor, restart=True)
        except (ConfigError, RulesRefused, CandidateFailed, DiskRefused) as error:
            faults = getattr(error, "faults", None) or [error]
            outcome = Outcome(applied=False, faults=[str(fault) for fault in faults])
            self._refused(outcome.faults, actor)
        self._record(outcome, by_file(before.file) if actor == SIGNAL else actor, before)
        daemon.service.ready(line_of(daemon))
        return outcome

    async def _change(self) -> list[Change]:
        """Try everything, then do it. Raises what speaks against it; nothing has changed then."""
        daemon = self._daemon
        if daemon.committer.state is not DiskState.OK:
            raise DiskRefused(f"the disk refuses writes, until then nothing is changed: {daemon.committer.reason}")
        try:
            read = await asyncio.to_thread(self._read)
        except ConfigError:
            raise
        except Exception as error:  # a bug of ours: nothing has changed yet, and nothing has to end for it
            log.exception("reading the config again: a fault of the gateway", extra=about(GATEWAY_FAULT))
            what = f"a fault of the gateway: {type(error).__name__}: {error}"
            raise ConfigError([Fault(daemon.config.file, None, what)]) from None
        if stuck := needs_restart(read.changes):
            raise _Restart(stuck, read.changes)
        for left in reversed(range(TRIES_MAX)):
            try:
                rehearsal = await self._rehearse(read.config)
                await Swap(daemon, read.config, read.steps, read.profiles, rehearsal).run()
                break
            except CandidateFailed:
                if not left:
                    raise
        self._prints, self._lines = read.prints, read.lines
        daemon.answers.changes = read.unread
        await self.keep()
        return read.changes

    def _read(self) -> _Read:
        """Read all files. Raises ConfigError with every fault found. BLOCKING."""
        daemon = self._daemon
        config = self._read_config()
        unread = Changes(config)
        profiles = daemon.profiles.read(config)
        catalogue = profiles.catalogue
        raise_faults([*unknown_prefixes(config, catalogue.prefixes), *unknown_profiles(config, catalogue)])
        found, lines = prints(config), _lines(config, catalogue)
        news = touched(self._prints, found)
        changes = differences(daemon.config, config, news)
        otherwise = {name for name in lines.keys() & self._lines.keys() if lines[name] != self._lines[name]}
        todo = steps(daemon.config, config, touched=news, lines=otherwise)
        begin = {f"sources.{name}" for name in todo.sources_beginning}
        begin |= {f"targets.{name}" for name in todo.targets_beginning}
        begin |= {f"http.{name}" for name in config.http} if todo.http else set()
        begin |= {f"notify.{name}" for name in config.notify.recipients} & news
        raise_faults(list(unusable(config, begin)))
        return _Read(config, profiles, found, lines, changes, todo, unread)

    async def _rehearse(self, config: Config) -> Rehearsal:
        now = dataclasses.replace(config, devices=self._daemon.config.devices)
        return await self._daemon.rules.edits.rehearse(Terms(config.rules, tuple(config.notify.names), acting(now)))

    async def keep(self) -> None:
        """Keep the config that counts, if it does so for good."""
        await asyncio.to_thread(self._keep, self._daemon.config)

    def _keep(self, config: Config) -> None:
        """Keep what is good for a start that finds nothing good; what is only tried is not yet. BLOCKING."""
        if config.left_out or trying(config.places.state):
            return
        try:
            last_good.keep(config, rfc3339(self._daemon.clock.wall_ns()))
        except (OSError, ValueError) as error:
            log.warning("the config is not kept as the last good one: %s", error)

    def _refused(self, faults: list[str], actor: str, *, restart: bool = False) -> None:
        self.faults = faults
        said = about(RELOAD_NEEDS_RESTART if restart else RELOAD_REFUSED, actor=actor)
        for fault in faults:
            log.error("%s; nothing is changed, the gateway goes on as before", fault, extra=said)

    def _record(self, outcome: Outcome, actor: str, before: Config) -> None:
        """Say in the journal who changed what, or could not."""
        daemon, changes = self._daemon, outcome.changes[:CHANGES_RECORDED_MAX]
        if outcome.applied and not changes:
            return
        told = {change.key: f"{change.before!r} -> {change.after!r}" for change in changes}
        if outcome.applied:
            was, now = hash_of(before.document.data), hash_of(daemon.config.document.data)
            daemon.audit.record("config_reloaded", actor, before=was, after=now, changes=told, more=_rest(outcome))
            daemon.audit.config_is(daemon.config.document.data, daemon.journal)
        elif self._said[:2] != (actor, self.faults) or time.monotonic() - self._said[2] >= REFUSED_AGAIN_S:
            self._said = actor, self.faults, time.monotonic()
            code = str(RELOAD_NEEDS_RESTART if outcome.restart else RELOAD_REFUSED)
            daemon.audit.record("config_refused", actor, code=code, faults=self.faults, changes=told or None)


class _Restart(Exception):
    """There are changes that a running gateway cannot take over."""

    def __init__(self, keys: list[Change], changes: list[Change]) -> None:
        self.keys, self.changes = keys, changes
        super().__init__()


def _rest(outcome: Outcome) -> int | None:
    return max(0, len(outcome.changes) - CHANGES_RECORDED_MAX) or None


def _restart_faults(changes: list[Change]) -> list[Fault]:
    """Say of each key where it stands and what to type."""
    found = []
    for change in changes:
        file, _, line = change.origin.rpartition(":")
        what = f"{change.key} is another one: that needs a restart, and nothing else was applied"
        hint = "sudo systemctl restart edge-gateway"
        found.append(Fault(file or "config", int(line) if line.isdecimal() else None, what, hint))
    return found


def _lines(config: Config, catalogue: Catalogue) -> dict[str, Any]:
    """Return what profiles say of serial sources that is only read when they begin."""
    found: dict[str, Any] = {}
    for name, options in config.sources.items():
        if hasattr(options, "units"):
            words = options.profile
            line = serial_line_of(catalogue, words, options.baud, options.mode)
            found[name] = line, units_of(catalogue, options.units)
        elif hasattr(options, "profiles") and hasattr(options, "baud"):
            found[name] = serial_line_of(catalogue, options.profiles, options.baud, options.mode)
    return found
