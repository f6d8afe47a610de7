"""The daemon: builds every stage, starts them in order, and ends them in an order that loses nothing.

Start: journal (recover) -> committer -> rules -> routes -> sources -> local API; READY when sources run and
the journal is open, whatever the network does.  Stop: sources first (what they have not acknowledged their
senders keep), then what is in flight to targets, then one last commit with all cursors, then the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, tzinfo
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from gateway import __version__
from gateway.announcements import Announcements
from gateway.answers import Answers
from gateway.api.dead_letters import DeadLetters
from gateway.api.server import ApiServer
from gateway.blobs.keeper import BlobKeeper
from gateway.blobs.store import FOLDER as BLOBS
from gateway.blobs.store import BlobStore
from gateway.blobs.store import read as read_blob
from gateway.building import Building
from gateway.clock import Clock, SystemClock, rfc3339
from gateway.commands.commands import Commands
from gateway.commands.web_calls import WebCalls
from gateway.config.acting import acting
from gateway.config.crosscheck import profile_words, unknown_prefixes, unreadable_sources
from gateway.config.load import Config
from gateway.document import raise_faults
from gateway.errors import GatewayError
from gateway.event import ROUTED, Lane
from gateway.forward.drops import rest_told_by
from gateway.forward.forwarder import Forwarder, forget_cursors
from gateway.gates import TABLE as GATES
from gateway.gates import Gates
from gateway.history.file import NAME as HISTORY_NAME
from gateway.history.keeper import Keeper
from gateway.history.query import Past
from gateway.installation.live import Installation
from gateway.installation.profiles import ProfileFiles
from gateway.journal.committer import Committer
from gateway.journal.journal import Journal
from gateway.journal.merged import Merged
from gateway.notify.carriers import Carriers
from gateway.notify.notifier import Notifier
from gateway.notify.outbox import Outbox
from gateway.offers.hearing import HearingDecoder
from gateway.offers.offers import Offers
from gateway.outlet import Outlet
from gateway.pipeline import Pipeline
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.context import Decoded
from gateway.profiles.decode import Decoder
from gateway.profiles.units import OfUnits, everybody
from gateway.replay.replay import Replays
from gateway.replay.sender import Way
from gateway.rules.language.calendar import Place
from gateway.rules.worker.supervisor import CURSOR_KEY, RuleWorker
from gateway.service import Service, set_up_logging
from gateway.sources.source import Delivery, Source

log = logging.getLogger(__name__)

TICK_S = 1.0  # clock quality, held-back values, the watchdog
RULE_LANES = (*ROUTED, Lane.TIMER)
RULE_VERSIONS = "rules"  # in the state folder: good versions of rule files
FINISH_S = 2.0  # for answers from targets at the end


class Daemon:
    """A whole gateway in one process (the rules are in another)."""

    def __init__(self, config: Config, clock: Clock | None = None, service: Service | None = None) -> None:
        """Open the journal and build every stage; nothing runs yet. Raises GatewayError."""
        self.config = config
        self.clock = clock or SystemClock(trusted=config.gateway.trust_clock)
        self.service = service or Service()
        self.name = config.gateway.name
        self.started = rfc3339(self.clock.wall_ns())
        self.catalogue = Catalogue.load(config.profiles)
        raise_faults([*unknown_prefixes(config, self.catalogue.prefixes), *unreadable_sources(config, self.catalogue)])
        self.journal = Journal.open(config.places.journal, config.journal, self.clock)
        self._damage_at_start = frozenset(self.journal.table("damage"))
        self._damage_said = self.damaged_records
        self.committer = Committer(self.journal, self._durable)
        self.values: dict[str, dict[str, Any]] = dict(self.journal.table("values"))
        self.installation = Installation(self)
        self.announcements = Announcements(config.sources, self.journal.table, self._keep)
        self.committer.before_seal.append(self.announcements.before_commit)
        self.offers = Offers(config.offers, self)
        self.decoders = {name: self._decoder(name, self.catalogue, self.values) for name in config.sources}
        for name, options in config.sources.items():
            self.values |= everybody(self.catalogue, name, getattr(options, "units", {}))
        if isinstance(hearing := self.decoders.get(config.offers.source), HearingDecoder):
            self.offers.hear(hearing)
        self.pipeline = Pipeline(
            gateway=self.name, journal=self.journal, committer=self.committer,
            decoders=self.decoders, values=self.values, clock=self.clock,
        )  # fmt: skip
        building = Building(
            self.name, self.journal, self.committer, self.clock, self.catalogue, self.pipeline.keep,
            lambda name: self.decoders[name].filters, partial(read_blob, config.places.state / BLOBS),
        )  # fmt: skip
        self.sources: dict[str, Source] = {
            name: building.source(name, self.offers.with_will(name, options))
            for name, options in config.sources.items()
        }
        self.outlet = Outlet(self.decoders, self.sources, self.values, config.devices)
        self.pipeline.on_pressure = self._press
        self.pipeline.on_unclaimed = self.installation.unknown.note
        self.profiles = ProfileFiles(self)
        self.rules = self._rules()
        self.pipeline.rules = self.rules
        self.gates = self.pipeline.gates = self._gates()
        self.targets = {name: building.target(name, options) for name, options in config.targets.items()}
        forget_cursors(self.journal, config.routes)
        self.forwarders = [
            Forwarder(name, route, self.targets[route.to], self.journal, self.committer, self.clock,
                      lookup=config.devices.get, gateway=self.name,
                      rest_of=config.routes if name == rest_told_by(config.routes) else None)
            for name, route in config.routes.items()
        ]  # fmt: skip
        self._build_acting()
        self._build_past()
        self._stop = asyncio.Event()

    def _build_acting(self) -> None:
        """Build what acts on the house, and what tells people."""
        config = self.config
        self.commands = Commands(
            self.journal, self.committer, self.outlet, self.pipeline.record, self.clock,
            gateway=self.name, observe=config.gateway.commands == "observe",
            observed=acting(config).observed_devices,
        )  # fmt: skip
        self.outlet.tell_refusals(self.commands.refused)
        self.notifier = self._notifier()
        self.pipeline.on_outputs = self.notifier.take
        self.web_calls = WebCalls(
            self.journal, self.committer, config.http, self.pipeline.record, self.clock,
            gateway=self.name, observe=config.gateway.commands == "observe",
        )  # fmt: skip

    def _build_past(self) -> None:
        """Build what looks back: history, replays, dead letters."""
        config = self.config
        self.blobs = BlobKeeper(BlobStore(config.places.state / BLOBS, config.blobs))
        self.pipeline.blobs = None if self.blobs.off else self.blobs
        self.history = Keeper(self.journal.store, self.journal.log_id, config.places.state / HISTORY_NAME,
                              config.history, lambda: self.journal.durable_sequence)  # fmt: skip
        self.past = Past(self.journal.store, lambda: self.journal.durable_sequence,
                         index=lambda: self.history.index, starts=lambda: self.journal.table("starts"))  # fmt: skip
        self.ways = {each.name: Way(each, self.targets[each.route.to]) for each in self.forwarders}
        self.replays = Replays(self.journal, self.past, self.ways, self.clock,
                               wake=self.committer.wake, flush=self.committer.flush)  # fmt: skip
        self.dead_letters = DeadLetters(
            self.journal, self.past, self.clock, self.ways, sources=self.sources, flush=self.committer.flush,
            decode=self._decode_again, append=self.pipeline.record_all,
        )  # fmt: skip

    def _decoder(self, source: str, catalogue: Catalogue, values: dict[str, dict[str, Any]]) -> Decoder:
        config, imports = self.config, self.announcements.by_source[source]
        options = config.sources[source]
        prefixes, profiles = getattr(options, "prefixes", {}), profile_words(options)
        zone = _zone(config)
        catalogue = OfUnits(catalogue, options.units) if hasattr(options, "units") else catalogue
        kind = HearingDecoder if source == config.offers.source else Decoder
        return kind(catalogue, self.name, source, config.devices, values, prefixes, zone, imports, profiles)

    def _keep(self, table: str, key: str, row: Any) -> None:
        self.pipeline.keep(table, key, row)

    def _decode_again(self, delivery: Delivery) -> Decoded:
        """Decode a message of the past: last values are newer than it, but for a device that has none yet."""
        decoder, values = self.decoders[delivery.source], dict[str, dict[str, Any]]()
        if self.announcements.by_source[delivery.source].wants(delivery.topic):
            return decoder.decode(delivery)  # what a device says about itself is not older than what is known
        self.pipeline.release()
        decoded = self._decoder(delivery.source, decoder.catalogue, values).decode(delivery)
        self.pipeline.adopt({device: values[device] for device in decoded.changed if device in values})
        return decoded

    def _rules(self) -> RuleWorker:
        """Build the rule worker; without rules it only looks whether there are some."""
        if self.journal.get("cursors", CURSOR_KEY) is None:  # with the first block: what comes is theirs over a kill
            self.journal.put("cursors", CURSOR_KEY, {"after": self.journal.durable_sequence, "done": []})
        return RuleWorker(
            self.config.rules,
            gateway=self.name,
            log_id=self.journal.log_id,
            clock=self.clock,
            table=self._table,
            devices=self.installation.entries,
            read=Merged(self.journal, RULE_LANES).read,
            append=self.pipeline.record,
            on_outcome=self.pipeline.on_rule_outcome,
            last_sequence=self.journal.durable_sequence,
            recipients=self.config.notify.names,
            store=self.config.places.state / RULE_VERSIONS,
            acting=acting(self.config),
        )

    def _gates(self) -> Gates:
        """Build what holds events for gates, with those that were held when the gateway ended."""
        journal = self.journal
        gates = Gates(
            journal.log_id, self.clock, self.config.rules.gate_s, journal.table(GATES),
            keep=self.pipeline.keep, last_sequence=lambda: journal.last_sequence,
            installed=self.config.devices.get, values=self.values,
        )  # fmt: skip
        with contextlib.closing(Merged(journal, ROUTED)) as found:
            gates.restore(found.read, journal.durable_sequence)
        self.rules.gates.append(gates.declare)
        return gates

    def _notifier(self) -> Notifier:
        """Build what tells people."""
        directory, clock = self.config.notify, self.clock
        outbox = Outbox(directory, self.journal.table, self.pipeline.keep, clock, Place(_zone(self.config)))
        carriers = Carriers(directory, clock, self._publish, gateway=self.name)
        record, flush = self.pipeline.record, self.committer.flush
        return Notifier(directory, outbox, carriers, record, flush, clock, gateway=self.name)

    def _publish(self, source: str, topic: str, payload: bytes) -> bool:
        """Publish through a source, or the first there is; False when it is not connected."""
        found: Any = self.sources[source or next(iter(self.sources))]
        return bool(found.send(topic, payload))

    def _table(self, name: str) -> Mapping[str, Any]:
        return self.values if name == "values" else self.journal.table(name)

    # ---- running -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until `stop`; the journal is closed when this returns."""
        self._say_what_was_found()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        committing = asyncio.create_task(self.committer.run(), name="gateway.commit")
        try:
            await self._run_stages(committing)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
            committing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await committing
            await self.committer.close()
            log.info("stopped: on disk up to record %d", self.journal.durable_sequence)
            self.service.close()

    def stop(self) -> None:
        """End in good order."""
        self._stop.set()

    async def _run_stages(self, committing: asyncio.Task[None]) -> None:
        """Run everything beside the committer; a stage that ends by itself is a bug, and its error ends the program."""
        api = ApiServer(self.config.places.socket, Answers(self).all())
        inner = [
            *(_named(f"target[{name}]", target.run()) for name, target in self.targets.items()),
            *(_named(f"forward[{each.name}]", each.run()) for each in self.forwarders),
            _named("commands", self.commands.run()),
            _named("notify", self.notifier.run()),
            _named("http", self.web_calls.run()),
            _named("tick", self._tick()),
            _named("history", self.history.run()),
            _named("blobs", self.blobs.run()),
            _named("replays", self.replays.run()),
            _named("dead letters", self.dead_letters.run()),
            _named("rules", self.rules.run()),
            _named("devices", self.installation.run()),
            _named("profiles", self.profiles.run()),
        ]
        outer = [
            _named("offers", self.offers.run()),
            *(_named(f"source[{name}]", source.run(self.pipeline.inbox)) for name, source in self.sources.items()),
            _named("api", self._serve(api)),
        ]
        stopping = asyncio.create_task(self._stop.wait(), name="gateway.stop")
        self.service.ready(f"{len(self.sources)} sources, {len(self.forwarders)} routes")
        log.info("ready")
        try:
            watched = {stopping, committing, *outer, *inner}
            done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()  # raises what ended it
                if not self._stop.is_set():
                    raise RuntimeError(f"{task.get_name()} ended by itself")
        finally:
            log.info("stopping")
            self.service.stopping()
            stopping.cancel()
            await _end(outer)
            if not committing.done():
                await asyncio.gather(*(each.finish(FINISH_S) for each in self.forwarders))
            await _end(inner)

    async def _serve(self, api: ApiServer) -> None:
        """Answer people; a socket that can't be made is said and does not stop the gateway."""
        try:
            await api.run()
        except (GatewayError, OSError) as error:
            log.error("no local API: %s", error)
            await asyncio.get_running_loop().create_future()

    async def _tick(self) -> None:
        """Once a second: is the clock believed, which held-back values are due, tell the watchdog."""
        while True:
            synced = self.clock.synced()
            for decoder in self.decoders.values():
                decoder.synced = synced
            self.pipeline.release()
            self.announcements.tick(self.decoders, self.sources, self.committer.wake,
                                    observe=self.config.gateway.commands == "observe")  # fmt: skip
            self._say_new_damage()
            self.service.alive()
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
            log.warning("journal: %d damaged records were found while reading", damaged - self._damage_said)
            self._damage_said = damaged

    def _durable(self, batch: int) -> None:
        """Something is on the disk: first the acknowledgements, then whoever reads durable records."""
        self.pipeline.durable()
        for forwarder in self.forwarders:
            forwarder.durable(batch)
        self.commands.wake()
        self.web_calls.wake()

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
        for line in self.journal.recovery.lines():
            log.warning("journal: %s", line)
        for warning in self.config.warnings:
            log.warning("%s", warning)


def _zone(config: Config) -> tzinfo:
    """Return the time zone of the house, for devices that send local time."""
    name = config.gateway.timezone
    return UTC if name == "UTC" else ZoneInfo(name)  # UTC is known without a database of time zones


def _named(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work, name=f"gateway.{name}")


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            log.error("while stopping: %s", outcome, exc_info=outcome)


def serve(config: Config, daemon: Callable[[Config], Daemon] = Daemon) -> int:
    """Run a gateway until it is told to stop; the exit code. Raises GatewayError when it can't start."""
    set_up_logging()

    async def _run() -> None:
        await daemon(config).run()

    asyncio.run(_run())
    return 0
