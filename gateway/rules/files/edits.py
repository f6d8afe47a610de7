"""From a saved file to live rules: see the change, read it once, try it in a process of its own, hand it over.

A look at what the file system says of the folder costs some microseconds and is taken every `SCAN_S`.  When something
changed and has been quiet for `SETTLE_S`, all files are read; a file that somebody is still writing keeps what runs.
Then a plan (plan.py) is tried in candidates until one is without fault; what was refused is said and stays as it was.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from gateway.clock import Clock, rfc3339
from gateway.codes.rules import RULE_FILE_FAULT, RULE_STORE_FAULT
from gateway.logs.about import about
from gateway.rules.files import snapshot
from gateway.rules.files.candidate import Candidate, CandidateFailed
from gateway.rules.files.packages import Packages
from gateway.rules.files.plan import Plan, Refusal
from gateway.rules.files.snapshot import LOCK, Signature, Snapshot, content, is_rule_file
from gateway.rules.files.spares import Spares
from gateway.rules.files.terms import Rehearsal, RulesRefused, Succession, Terms
from gateway.rules.files.versions import Versions
from gateway.rules.files.writers import Writers
from gateway.rules.language.acting import AS_USUAL, Acting
from gateway.rules.options import RuleOptions
from gateway.rules.protocol import DeviceEntry, Load, Ready, RuleFault

log = logging.getLogger(__name__)

SCAN_S = 0.2
BUSY_SCAN_S = 0.05  # while somebody edits
SETTLE_S = 0.1  # a folder that was quiet for so long is read
UNSETTLED_S_MAX = 2.0  # then files that are written again and again no longer keep others waiting
ROUNDS_MAX = 12  # of trials for one change; then all of it is refused
AGAIN_S = 5.0  # before files are tried again in which nothing was found
EXPECTED_MAX = 100  # texts that somebody is known to be about to save
BY_HAND = "file"  # actor of a change found on the disk
NAMED_MAX = 100  # files and rules in an event `rules_changed`


class Edits:
    """Watches a folder of rules. `running` is what runs, or is about to at the start."""

    def __init__(
        self,
        options: RuleOptions,
        clock: Clock,
        store: Path | None,
        devices: Callable[[], list[DeviceEntry]],
        propose: Callable[[Succession], None],
        decided: Callable[[], None],
        recipients: Sequence[str] = (),
        acting: Acting = AS_USUAL,
    ) -> None:
        """Wire it up.

        store    folder for good versions; None keeps them in memory only
        devices  what names in files are checked against, as are `recipients`
        propose  is given what takes over, and settles its `done`
        acting   what the installation says about acting: names of inputs and services are checked, too
        decided  is called once, when it is known what to begin with
        """
        self.terms = Terms(options, tuple(recipients), acting)
        self.folder = options.folder.resolve()
        self._clock = clock
        self._store_folder = store
        self._devices = devices
        self._propose = propose
        self._say_decided = decided
        self.store: Versions | None = None
        self.running: dict[str, bytes] = {}
        self.since: dict[str, str] = {}  # file -> when its version went live
        self.wanted: dict[str, bytes] = {}  # on the disk at the last look
        self.refused: dict[str, Refusal] = {}
        self.decided = False
        self._uses: Mapping[str, Collection[str]] = {}
        self._seen: Signature | None = None  # of the files as they were read last
        self._expected: dict[tuple[str, str], str] = {}  # (file, hash) -> who is about to save it
        self.spares = Spares(options)
        self._one = asyncio.Lock()  # one look at a time, or one rehearsal
        self._writers = Writers(self.folder)
        self._packages = Packages(options, None if store is None else store.with_name(f"{store.name}-packages"))
        self._again_at = math.inf  # when to try once more what nobody can be blamed for
        self._look_now = asyncio.Event()
        self._installed = asyncio.Event()  # packages are there, or can't be had
        self.edits = 0  # that went live
        self.on_left_out: Callable[[frozenset[str]], None] = lambda _: None  # is told after each trial

    # ---- what others ask ----------------------------------------------------------------------------

    @property
    def left_out(self) -> frozenset[str]:
        """The files of the folder of which no version runs."""
        return _left_out(self.refused, self.running)

    @property
    def faults(self) -> list[RuleFault]:
        """Why files on the disk are not what runs."""
        return [fault for _, refusal in sorted(self.refused.items()) for fault in refusal.faults]

    def said(self) -> list[str]:
        """Return the same for a person, with what runs instead."""
        return [
            f"{fault}; {self.instead(name)}"
            for name, refusal in sorted(self.refused.items())
            for fault in refusal.faults
        ]

    def text(self, path: str) -> bytes | None:
        """Return the text that runs of a file, by its path."""
        file = Path(path)
        return self.running.get(file.relative_to(self.folder).as_posix()) if file.is_relative_to(self.folder) else None

    def load_message(
        self,
        files: Mapping[str, bytes],
        last: Collection[str] = (),
        excluded: Mapping[str, tuple[int, str]] | None = None,
        terms: Terms | None = None,
    ) -> Load:
        """Return what tells a worker to load files; `terms`: others than those that count."""
        options, recipients, acting = terms or self.terms
        return Load(
            folder=str(self.folder),
            files=dict(files),
            devices=self._devices(),
            modes=options.modes,
            recipients=recipients,
            memory_bytes_max=options.memory_bytes_max,
            packages=str(self._packages.path(files.get(LOCK)) or ""),
            last=list(last),
            excluded=dict(excluded or {}),
            grants=options.grants,
            located=options.location is not None,
            acting=acting,
        )

    def expect(self, name: str, source: bytes, actor: str) -> None:
        """Take note of who is about to save a text."""
        while len(self._expected) >= EXPECTED_MAX:
            self._expected.pop(next(iter(self._expected)))
        self._expected[name, content(source)] = actor
        self._look_now.set()

    def look_again(self, acting: Acting | None = None) -> None:
        """Try what was refused once more: devices, or what is so with all of them, are others now."""
        self.terms = self.terms._replace(acting=acting or self.terms.acting)
        self.refused.clear()
        self._packages.forget_failures()
        self._seen = None
        self._look_now.set()

    # ---- the watch ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            async with self._one:
                await self._begin()
            while True:
                try:
                    async with asyncio.timeout(BUSY_SCAN_S if self.spares.busy else SCAN_S):
                        await self._look_now.wait()
                except TimeoutError:
                    pass
                self._look_now.clear()
                async with self._one:
                    await self._look()
        finally:
            self._writers.close()
            await self._packages.close()
            await self.spares.close()

    async def _begin(self) -> None:
        """Find out what to run at the start: what ran last, or what lies on the disk now if that is good."""
        if self._store_folder is not None:
            self.store = await asyncio.to_thread(Versions, self._store_folder)
            self.running = await asyncio.to_thread(self.store.current)
            history = self.store.index.history
            self.since = {name: history[name][0].time for name in self.running if name in history}
            await self._packages.built(self.running.get(LOCK))
        found = await self._settled()
        if found.faults or found.files != self.running:
            await self._consider(found, {})
        self.wanted = found.files
        self.decided = True
        self._say_decided()

    async def rehearse(self, terms: Terms) -> Rehearsal:
        """Look now; and try what lies on the disk under other terms, if they are others. Nothing runs otherwise yet.

        Raises RulesRefused when something on the disk is not good, CandidateFailed when it can't be tried.
        """
        async with self._one:
            if terms == self.terms:
                await self._look()
                if self.refused:
                    raise RulesRefused(self.faults)
                return Rehearsal(terms)
            found = await self._settled()
            plan = Plan(self.folder, found.files, self.running, unreadable=found.faults, uses=self._uses)
            if (lock := plan.files.get(LOCK)) is not None and (why := self._packages.missing(lock)):
                plan.wait(LOCK, why)
            if plan.refused:
                raise RulesRefused([fault for _, refusal in sorted(plan.refused.items()) for fault in refusal.faults])
            if not any(map(is_rule_file, plan.files)):
                return Rehearsal(terms)
            return Rehearsal(terms, plan, *await self._tried(plan, terms))

    async def adopt(self, rehearsal: Rehearsal) -> None:
        """Let what was rehearsed count, and run it from the next event on. CandidateFailed: its process is gone."""
        async with self._one:
            trial, ready = rehearsal.candidate, rehearsal.ready
            before, self.terms = self.terms, rehearsal.terms
            if rehearsal.plan is not None and trial is not None and ready is not None:
                try:
                    await self._hand_over(rehearsal.plan, trial, ready)
                except CandidateFailed:
                    self.terms = before
                    raise
                finally:
                    await rehearsal.drop()
                self.refused, self._seen = {}, None
            self.spares.options = self.terms.options

    async def _look(self) -> None:
        now = snapshot.signature(self.folder)  # cheaper than to wake a thread for it, five times a second
        installed = self._installed.is_set()
        self._installed.clear()
        same = now == self._seen and not installed
        if same and time.monotonic() < self._again_at:
            await self.spares.keep(wanted=bool(self.running))
            return
        self._again_at = math.inf
        if self._seen is None or now.get(LOCK) != self._seen.get(LOCK):
            self._packages.forget_failures()
        self.spares.changed()
        found = await self._settled()
        await self._consider(found, known={} if installed else self.refused)
        self.wanted = found.files
        self.spares.changed()

    async def _settled(self) -> Snapshot:
        """Read the folder when nobody writes to it; a file that is never quiet counts as what runs."""
        started = time.monotonic()
        before = await asyncio.to_thread(snapshot.signature, self.folder)
        while True:
            await asyncio.sleep(SETTLE_S)
            now = await asyncio.to_thread(snapshot.signature, self.folder)
            self._writers.look_around()
            writing = self._writers.writing()
            late = time.monotonic() - started > UNSETTLED_S_MAX
            if (now == before and not writing) or late:
                found = await asyncio.to_thread(snapshot.read, self.folder)
                after = await asyncio.to_thread(snapshot.signature, self.folder)
                writing |= self._writers.writing()
                if after == before and not writing:
                    self._seen = after
                    return found
                if late:
                    return self._without(found, snapshot.moving(before, after) | writing)
                now = after
            before = now

    def _without(self, found: Snapshot, moving: Collection[str]) -> Snapshot:
        """Leave out files that are being written; they are looked at again."""
        self._seen = None
        files = {name: source for name, source in found.files.items() if name not in moving}
        files |= {name: self.running[name] for name in moving if name in self.running}
        return Snapshot(files, {name: fault for name, fault in found.faults.items() if name not in moving})

    # ---- trials -------------------------------------------------------------------------------------

    async def _consider(self, found: Snapshot, known: Mapping[str, Refusal]) -> None:
        """Try what lies on the disk; what is good takes over, what is not is refused and said.

        known   what was refused before, and is not tried again while it is the same
        """
        plan = Plan(self.folder, found.files, self.running, unreadable=found.faults, known=known, uses=self._uses)
        lock = plan.files.get(LOCK)
        if lock is not None and (why := self._packages.missing(lock)):
            plan.wait(LOCK, why)
            self._packages.build(lock, self._installed)
        for _ in range(ROUNDS_MAX):
            if not plan.changed or await self._try(plan):
                break
        else:
            plan.refuse_all(f"not tried any more after {ROUNDS_MAX} trials of this change")
        before, self.refused = self.refused, plan.refused
        self.on_left_out(self.left_out)
        for name, refusal in sorted(plan.refused.items()):
            if name not in before or list(before[name].faults) != list(refusal.faults):
                for fault in refusal.faults:
                    said = about(RULE_FILE_FAULT, rule=fault.rule)
                    log.error("rules: %s; %s\n%s", fault, self.instead(name), fault.stack or "", extra=said)

    async def _try(self, plan: Plan) -> bool:
        """Try a plan: hand it over and return True, or refuse what is wrong with it."""
        trial: Candidate | None = None
        try:
            trial, ready = await self._tried(plan, self.terms)
            await self._hand_over(plan, trial, ready)
            return True
        except RulesRefused as refused:
            faults = refused.faults
        except CandidateFailed as failed:
            faults = [failed.fault] if failed.fault is not None else []
            if not faults:  # nobody's code was running: memory, the machine, or a bug of ours
                plan.refuse_all(f"the process that tried it {failed.reason}")
                self._again_at = time.monotonic() + AGAIN_S
        finally:
            if trial is not None and trial.owned:
                await trial.close()
        plan.refuse(faults)
        return False

    async def _tried(self, plan: Plan, terms: Terms) -> tuple[Candidate, Ready]:
        """Load and test what is planned; returns a process that waits to be started, to be closed by who gets it.

        Raises RulesRefused, CandidateFailed.
        """
        trial, good = self.spares.take(), False
        try:
            message = self.load_message(plan.files, plan.changed, terms=terms)
            ready = await trial.load(message)
            plan.uses |= ready.uses
            faults, to_test = ready.faults, [name for name in plan.to_test() if name in ready.tested]
            if not faults and to_test:
                self.spares.fill(1)
                faults = (await trial.run_tests(to_test)).faults
                if not faults:  # rules go live in a process in which no test has run
                    await trial.close()
                    trial = self.spares.take()
                    ready = await trial.load(message)
                    faults = ready.faults
            if faults:
                raise RulesRefused(faults)
            good = True
            return trial, ready
        finally:
            if not good:
                await trial.close()

    async def _hand_over(self, plan: Plan, candidate: Candidate, ready: Ready) -> None:
        """Let it take over between two events, and keep what is good now."""
        files, changed = dict(plan.files), plan.changed
        at = rfc3339(self._clock.wall_ns())
        actors = {name: self._actor(name, files.get(name)) for name in changed}
        by = set(actors.values())
        actor = by.pop() if len(by) == 1 else BY_HAND
        versions = {name: version(files[name]) if name in files else None for name in changed[:NAMED_MAX]}
        record = {
            "hash": ready.hash,
            "was": snapshot.digest(self.running),
            "files": versions,
            "rules": [rule.actor for rule in ready.rules if self._name(rule.file) in changed][:NAMED_MAX],
            "actor": actor,
        }
        succession = Succession(candidate, ready, files, record, actor, _left_out(plan.refused, files))
        self._propose(succession)
        if not await succession.done:
            raise CandidateFailed(candidate.process.blame(), "ended before it took over", "")
        self.running, self._uses = files, ready.uses
        self.since = {name: at if name in changed else self.since.get(name, at) for name in files}
        self.edits += 1
        live = ", ".join(f"{name} {said or 'removed'}" for name, said in versions.items())
        log.info("rules: live now: %s", live or "the same, as the config says now")
        if self.store is not None and changed:
            try:
                await asyncio.to_thread(self.store.record, files, at, actors)
                if LOCK in changed:
                    await asyncio.to_thread(self._packages.sweep, [files[LOCK]] if LOCK in files else [])
            except OSError as error:
                log.error("rules: these versions are not kept over a restart: %s", error, extra=about(RULE_STORE_FAULT))

    def _actor(self, name: str, source: bytes | None) -> str:
        return BY_HAND if source is None else self._expected.pop((name, content(source)), BY_HAND)

    def _name(self, path: str) -> str:
        return Path(path).relative_to(self.folder).as_posix()

    def instead(self, name: str) -> str:
        """Say what runs instead of a file that was refused."""
        source = self.running.get(name)
        return "nothing of it runs" if source is None else f"its last good version, {version(source)}, goes on"


def _left_out(refused: Collection[str], running: Collection[str]) -> frozenset[str]:
    return frozenset(name for name in refused if is_rule_file(name) and name not in running)


def version(source: bytes) -> str:
    """Return what a version of a file is called by people."""
    return content(source)[:8]
