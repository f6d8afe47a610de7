"""The daemon: builds every stage, starts them in order, and ends them in an order that loses nothing.

Start: journal (recover) -> committer -> rules -> routes -> sources -> local API; READY when sources run and
the journal is open, whatever the network does.  Stop: sources first (what they have not acknowledged their
senders keep), then what is in flight to targets, then one last commit with all cursors, then the journal.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from gateway import __version__
from gateway.answers import Answers
from gateway.api.server import ApiServer
from gateway.assembly.announcements import Announcements
from gateway.assembly.outlet import Outlet
from gateway.assembly.parts import (
    building_of,
    dead_letters_of,
    decoder_of,
    forwarder_of,
    gates_of,
    history_of,
    notifier_of,
    rule_worker_of,
    settle_cursors,
    trying_of,
    web_calls_of,
)
from gateway.audit import Audit
from gateway.belonging import Belonging
from gateway.bench import hang
from gateway.blobs.keeper import BlobKeeper
from gateway.blobs.store import FOLDER as BLOBS
from gateway.blobs.store import BlobStore
from gateway.clock import Clock, SystemClock, rfc3339
from gateway.clock_watch import ClockWatch
from gateway.codes.config import CONFIG_DOUBTFUL, PART_LEFT_OUT
from gateway.codes.disk import RECORDS_DAMAGED
from gateway.codes.service import NO_API
from gateway.commands.commands import Commands
from gateway.config.acting import acting
from gateway.config.load import Config
from gateway.config.startable import with_profiles
from gateway.errors import GatewayError
from gateway.health.heartbeat import Heartbeat
from gateway.health.outlook import left_out_event, line_of, marks_of, settled
from gateway.health.restarts import Restarts
from gateway.health.vitals import VitalSigns
from gateway.health.watchdog import Watchdog, patient
from gateway.history.query import Past
from gateway.installation.live import Installation
from gateway.installation.profiles import ProfileFiles
from gateway.journal.committer import Committer
from gateway.journal.journal import Journal
from gateway.logs.about import about
from gateway.logs.output import set_up, tick
from gateway.offers.hearing import HearingDecoder
from gateway.offers.offers import Offers
from gateway.pipeline import Pipeline
from gateway.profiles.units import everybody
from gateway.reload.reload import Reload
from gateway.replay.replay import Replays
from gateway.replay.sender import Way
from gateway.rules.files.edits import version
from gateway.service import AGAIN, Service
from gateway.sources.source import Source
from gateway.stages import Stages

log = logging.getLogger(__name__)

TICK_S = 1.0  # clock quality, held-back values, the watchdog
SETTLE_LOOK_S = 0.02  # whether sources have had their first try,
SETTLE_LOOKS_MAX = 100  # so often, before the service manager is told that it goes on
FINISH_S = 2.0  # for answers from targets at the end


class Daemon:
    """A whole gateway in one process (the rules are in another)."""

    def __init__(self, config: Config, clock: Clock | None = None, service: Service | None = None) -> None:
        """Open the journal and build every stage; nothing runs yet. Raises GatewayError."""
        self.clock = clock or SystemClock(trusted=config.gateway.trust_clock)
        self.service = service or Service()
        self.name = config.gateway.name
        self.started = rfc3339(self.clock.wall_ns())
        config, self.catalogue = with_profiles(config)
        self.config = config
        self.belonging = Belonging(config.places.state, config.places.journal, self.clock)
        self.journal = Journal.open(config.places.journal, config.journal, self.clock)
        self.belonging.joined(self.journal)
        self._damage_at_start = frozenset(self.journal.table("damage"))
        self._damage_said = self.damaged_records
        self.committer = Committer(self.journal, self._durable)
        self.values: dict[str, dict[str, Any]] = dict(self.journal.table("values"))
        self.installation = Installation(self)
        self.announcements = Announcements(config.sources, self.journal.table, self._keep)
        self.committer.before_seal.append(self.announcements.before_commit)
        self.offers = Offers(config.offers, self)
        self.decoders = {name: decoder_of(self, name, self.catalogue, self.values) for name in config.sources}
        for name, options in config.sources.items():
            self.values |= everybody(self.catalogue, name, getattr(options, "units", {}))
        if isinstance(hearing := self.decoders.get(config.offers.source), HearingDecoder):
            self.offers.hear(hearing)
        self.pipeline = Pipeline(
            gateway=self.name, journal=self.journal, committer=self.committer,
            decoders=self.decoders, values=self.values, clock=self.clock,
        )  # fmt: skip
        self.audit = Audit(self.pipeline.record, self.clock, gateway=self.name, rules=lambda: self.config.rules.folder)
        self.building = building_of(self)
        self.sources: dict[str, Source] = {
            name: self.building.source(name, self.offers.with_will(name, options))
            for name, options in config.sources.items()
        }
        self.outlet = Outlet(self.decoders, self.sources, self.values, config.devices)
        self.pipeline.on_pressure = self._press
        self.pipeline.on_unclaimed = self.installation.unknown.note
        self.profiles = ProfileFiles(self)
        self.rules = self.pipeline.rules = rule_worker_of(self)
        self.gates = self.pipeline.gates = gates_of(self)
        self.rules.gates.append(self.gates.declare)
        self.targets = {name: self.building.target(name, options) for name, options in config.targets.items()}
        settle_cursors(self, made=config.routes)
        self.forwarders = [forwarder_of(self, name) for name in config.routes]
        self._build_acting()
        self._build_past()
        self._build_clock()
        self.stages = Stages()
        self.watchdog = Watchdog(self.service, partial(marks_of, self), partial(line_of, self))
        self.trying = trying_of(self)
        self.reload = Reload(self)
        self.answers = Answers(self)
        self.api = ApiServer(config.places.socket, self.answers.all())
        self.again = False
        self._stop = asyncio.Event()

    def _build_clock(self) -> None:
        """Build what looks at the clock, and at what the heartbeat says."""
        self.clock_watch = ClockWatch(
            self.journal, self.clock, self.pipeline.record, gateway=self.name,
            marks=lambda: [*self.decoders.values()], retell=self._retell, clock_set=self._clock_set,
        )  # fmt: skip
        self.vitals = VitalSigns(
            self.clock, lambda: self.clock_watch.state, self.belonging, config=lambda: self.config,
            rules=lambda: {name: version(text) for name, text in self.rules.edits.running.items()},
            profiles=lambda: self.catalogue, written=lambda: self.journal.usage()["written_bytes"],
        )  # fmt: skip

    def _build_acting(self) -> None:
        """Build what acts on the house, and what tells people."""
        config = self.config
        self.commands = Commands(
            self.journal, self.committer, self.outlet, self.pipeline.record, self.clock,
            gateway=self.name, observe=config.gateway.commands == "observe",
            observed=acting(config).observed_devices,
        )  # fmt: skip
        self.outlet.tell_refusals(self.commands.refused)
        self.notifier = notifier_of(self)
        self.pipeline.on_outputs = self.notifier.take
        self.web_calls = web_calls_of(self)

    def _build_past(self) -> None:
        """Build what looks back: history, replays, dead letters."""
        config = self.config
        self.blobs = BlobKeeper(BlobStore(config.places.state / BLOBS, config.blobs))
        self.pipeline.blobs = None if self.blobs.off else self.blobs
        self.history = history_of(self)
        self.past = Past(self.journal.store, lambda: self.journal.durable_sequence,
                         index=lambda: self.history.index, starts=lambda: self.journal.table("starts"))  # fmt: skip
        self.ways = {each.name: Way(each, self.targets[each.route.to]) for each in self.forwarders}
        self.replays = Replays(self.journal, self.past, self.ways, self.clock,
                               wake=self.committer.wake, flush=self.committer.flush)  # fmt: skip
        self.dead_letters = dead_letters_of(self)

    def _keep(self, table: str, key: str, row: Any) -> None:
        self.pipeline.keep(table, key, row)

    # ---- running -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until `stop`; the journal is closed when this returns. A stage that ends by itself is a bug: raised."""
        self._say_what_was_found()
        loop = asyncio.get_running_loop()
        signals = {signal.SIGTERM: self.stop, signal.SIGINT: self.stop}
        loop.add_signal_handler(signal.SIGHUP, self.reload.hangup)  # until the loop closes: it never ends a gateway
        for number, then in signals.items():
            loop.add_signal_handler(number, then)
        try:
            with self.watchdog.guarded():
                self._start()
                await self.stages.watch(self._stop)
        finally:
            await self._end()
            for number in signals:
                loop.remove_signal_handler(number)
            await self.committer.close()
            log.info("stopped: on disk up to record %d", self.journal.durable_sequence)
            self.service.close()

    def stop(self) -> None:
        """End in good order."""
        self._stop.set()

    def start_again(self) -> None:
        """End in good order, to be started again at once by the same process."""
        self.again = True
        self.stop()

    def _start(self) -> None:
        """Run every stage: what is inside first, what takes in from outside last."""
        add = self.stages.add
        add("commit", self.committer.run())
        for name, target in self.targets.items():
            add(f"target[{name}]", target.run())
        for forwarder in self.forwarders:
            add(f"forward[{forwarder.name}]", forwarder.run())
        add("commands", self.commands.run())
        add("notify", self.notifier.run())
        add("http", self.web_calls.run())
        add("tick", self._tick())
        add("history", self.history.run())
        add("blobs", self.blobs.run())
        add("replays", self.replays.run())
        add("dead letters", self.dead_letters.run())
        add("rules", self.rules.run())
        add("devices", self.installation.run())
        add("profiles", self.profiles.run())
        add("applied", self.trying.run())
        add("offers", self.offers.run(), outer=True)
        for name, source in self.sources.items():
            add(f"source[{name}]", source.run(self.pipeline.inbox), outer=True)
        add("reload", self.reload.run(), outer=True)
        add("api", self._serve(self.api), outer=True)
        heartbeat = Heartbeat(self.answers.status, self.pipeline.record, self.clock, gateway=self.name,
                              every_s=lambda: self.config.gateway.heartbeat_minutes * 60)  # fmt: skip
        add("heartbeat", heartbeat.run(), outer=True)
        for stage in self.config.gateway.faults:
            add(f"fault[{stage}]", hang(self, stage, self.config.gateway.faults_after_s))

    async def _become_ready(self) -> None:
        """Say READY when the journal takes records and each source is there, or has tried: nobody is waited for."""
        for _ in range(SETTLE_LOOKS_MAX):
            if settled(self) and (self.committer.commits or self.committer.refusals):
                break
            await asyncio.sleep(SETTLE_LOOK_S)
        line = line_of(self)
        self.service.ready(line)
        log.info("ready: %s", line)

    async def _end(self) -> None:
        """End every stage in an order that loses nothing: the commit last, it has the cursors of what was sent."""
        log.info("stopping")
        if self.again:
            self.service.reloading()  # systemd must not take what comes for the end
        else:
            self.service.stopping()
        await self.stages.end("reload")
        await self.stages.end(*self.stages.names(outer=True))
        if "commit" in self.stages:
            await asyncio.gather(*(each.finish(FINISH_S) for each in self.forwarders))
        await self.stages.end(*(name for name in self.stages if name != "commit"))
        await self.stages.end("commit")

    async def _serve(self, api: ApiServer) -> None:
        """Answer people; a socket that can't be made is said and does not stop the gateway."""
        try:
            await api.run()
        except (GatewayError, OSError) as error:
            log.error("no local API: %s", error, extra=about(NO_API))
            await asyncio.get_running_loop().create_future()

    async def _tick(self) -> None:
        """Once a second: is the clock believed, which held-back values are due, tell the watchdog."""
        await self._become_ready()
        while True:
            self.clock_watch.look()
            self.pipeline.release()
            self.announcements.tick(self.decoders, self.sources, self.committer.wake,
                                    observe=self.config.gateway.commands == "observe")  # fmt: skip
            self._say_new_damage()
            tick()
            self.watchdog.beat()
            await asyncio.sleep(TICK_S)

    @property
    def damaged_records(self) -> int:
        """Return how many records were damaged or gone at start, or turned out so when they were read since."""
        found, rows = self.journal.recovery, self.journal.table("damage")
        since: int = sum(row["records"] for key, row in rows.items() if key not in self._damage_at_start)
        return found.damaged_records + found.missing_records + since

    def _say_new_damage(self) -> None:
        damaged = self.damaged_records
        if damaged != self._damage_said:
            more = damaged - self._damage_said
            log.warning("journal: %d damaged records were found while reading", more, extra=about(RECORDS_DAMAGED))
            self._damage_said = damaged

    def _durable(self, batch: int) -> None:
        """Something is on the disk: first the acknowledgements, then whoever reads durable records."""
        self.pipeline.durable()
        for forwarder in self.forwarders:
            forwarder.durable(batch)
        self.commands.wake()
        self.web_calls.wake()
        self.audit.durable(batch)

    def _clock_set(self, last: int, offset_ns: int) -> None:
        self.rules.clock_set(last, offset_ns)

    def _retell(self) -> None:
        for forwarder in self.forwarders:
            forwarder.retell(self.journal.timeline.told)

    def _press(self, paused: bool) -> None:
        for source in self.sources.values():
            if paused:
                source.pause()
            else:
                source.resume()

    def _say_what_was_found(self) -> None:
        log.info(
            "edge-gateway %s %s: log %s, epoch %d, sequence %d", __version__, self.name,
            self.journal.log_id, self.journal.epoch, self.journal.last_sequence,
        )  # fmt: skip
        self.clock_watch.say()
        self.belonging.say(self.pipeline.record, self.name)
        self.audit.begin(self.config.document.data, self.config.file, self.config.places.state, self.journal)
        for line in self.journal.recovery.lines():
            log.warning("journal: %s", line, extra=about(RECORDS_DAMAGED))
        for part in self.config.left_out:
            log.error("left out: %s", part, extra=about(PART_LEFT_OUT))
        if self.config.left_out:
            self.pipeline.record(left_out_event(self))
        for warning in self.config.warnings:
            log.warning("%s", warning, extra=about(CONFIG_DOUBTFUL))


def serve(config: Config, daemon: Callable[[Config], Daemon] = Daemon) -> int:
    """Run a gateway until it is told to stop; the exit code. Raises GatewayError when it can't start."""
    hung_up: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _frame: hung_up.append(number))  # while nobody can reload yet
    set_up(config.log)
    faulthandler.enable()  # the watchdog's SIGABRT leaves the stacks of all threads in the log
    starting, restarts = Service(), Restarts()
    restarts.wait(starting)

    async def _run() -> int:
        with patient(starting):
            made = daemon(config)
        gc.enable()
        gc.freeze()  # what is there now stays: collections look at what comes
        starting.close()
        if hung_up:
            made.reload.hangup()
        await made.run()
        return AGAIN if made.again else 0

    try:
        code = asyncio.run(_run())
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what starts again reads all files anew
    restarts.over()
    return code
