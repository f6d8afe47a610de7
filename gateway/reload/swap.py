"""Lets another config count in a running gateway, part by part; what has not changed runs on and notices nothing.

Order, so that nothing is lost:

1. The rules take over what was rehearsed. It is the one step that can fail, and nothing else has been done by then.
2. Sources that end stop reading; what they handed over is written and acknowledged; then their connections close, and
   what they remember of messages goes into the journal, from where the source that follows takes it.
3. Routes that end wait a moment for answers from their target; what has none is sent again under its id, by the route
   that follows, from the cursor.
4. Between two turns of the loop all parts are made of the new config.
5. They are started, targets before routes before sources.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import TYPE_CHECKING, Any, Final

from gateway.assembly.parts import (
    dead_letters_of,
    decoder_of,
    forwarder_of,
    history_of,
    notifier_of,
    settle_cursors,
    web_calls_of,
    zone_of,
)
from gateway.config.load import Config
from gateway.installation.profiles import FoundProfiles
from gateway.logs.output import set_up
from gateway.offers.hearing import HearingDecoder
from gateway.offers.offers import Offers
from gateway.profiles.units import everybody
from gateway.reload.plan import Steps
from gateway.replay.sender import Way
from gateway.rules.files.terms import Rehearsal

if TYPE_CHECKING:
    from gateway.daemon import Daemon

log = logging.getLogger(__name__)

FINISH_S: Final = 2.0  # for answers from targets and services
FLUSH_S: Final = 30.0  # for the disk to take what a source that ends has handed over


class Swap:
    """One change from the config that counts to another."""

    def __init__(
        self, daemon: Daemon, config: Config, steps: Steps, profiles: FoundProfiles, rehearsal: Rehearsal
    ) -> None:
        self._daemon = daemon
        self._config = dataclasses.replace(config, devices=daemon.config.devices)  # everybody holds these
        self._steps = steps
        self._profiles = profiles
        self._rehearsal = rehearsal
        self._files = config.gateway.devices

    async def run(self) -> None:
        """Do it. Raises CandidateFailed when nothing was done; what is raised later is a bug."""
        await self._daemon.rules.edits.adopt(self._rehearsal)
        await asyncio.gather(self._end_sources(), self._end_routes(), self._end_others())
        before, self._daemon.config = self._daemon.config, self._config
        self._make(before)
        self._start()

    # ---- what ends ------------------------------------------------------------------------------------

    async def _end_sources(self) -> None:
        daemon, ending = self._daemon, sorted(self._steps.sources_ending)
        if not ending:
            return
        for name in ending:
            daemon.sources[name].pause()
        await daemon.stages.end(*(f"source[{name}]" for name in ending), first=self._flush())
        await self._flush()  # what came in the last moment; its sender hears nothing and sends it again
        for name in ending:
            daemon.building.forget(name)

    async def _flush(self) -> None:
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._daemon.committer.flush()
        except TimeoutError:
            log.warning("reload: the disk has not taken what sources handed over: their devices send it again")

    async def _end_routes(self) -> None:
        daemon, steps = self._daemon, self._steps
        ending = [each for each in daemon.forwarders if each.name in steps.routes_ending]
        quiet = asyncio.gather(*(each.finish(FINISH_S) for each in ending))
        await daemon.stages.end(*(f"forward[{each.name}]" for each in ending), first=quiet)
        for each in ending:
            each.put_cursors()
            daemon.committer.before_seal.remove(each.put_cursors)
        await daemon.stages.end(*(f"target[{name}]" for name in sorted(steps.targets_ending)))

    async def _end_others(self) -> None:
        daemon, steps = self._daemon, self._steps
        if steps.http:
            await daemon.stages.end("http", first=daemon.web_calls.quiet(FINISH_S))
            daemon.web_calls.forget()
        names = ("notify", "offers", "history", "dead_letters")
        await daemon.stages.end(*(name.replace("_", " ") for name in names if getattr(steps, name)))

    # ---- what is made ---------------------------------------------------------------------------------

    def _make(self, before: Config) -> None:
        """Make everything, in one turn of the loop."""
        daemon, config = self._daemon, self._config
        daemon.building.catalogue = self._profiles.catalogue
        if self._steps.offers:
            daemon.offers = Offers(config.offers, daemon)
        self._make_sources()
        daemon.profiles.become(self._profiles)
        self._make_routes()
        observe = config.gateway.commands == "observe"
        daemon.commands.observe = observe
        daemon.gates.limit(config.rules.gate_s)
        daemon.blobs.store.options = config.blobs
        daemon.pipeline.blobs = None if daemon.blobs.off else daemon.blobs
        if self._steps.notify:
            daemon.notifier = notifier_of(daemon)
            daemon.pipeline.on_outputs = daemon.notifier.take
        if self._steps.http:
            daemon.web_calls = web_calls_of(daemon)
        daemon.web_calls.observe = observe
        if self._steps.history:
            daemon.history = history_of(daemon)
        if self._steps.dead_letters:
            daemon.dead_letters = dead_letters_of(daemon)
        daemon.journal.limit(config.journal)
        if config.log != before.log:
            set_up(config.log)
        daemon.installation.become(self._files)
        daemon.answers.renew()
        daemon.api.answer_with(daemon.answers.all())

    def _make_sources(self) -> None:
        daemon, config, steps = self._daemon, self._config, self._steps
        catalogue = self._profiles.catalogue
        zone, synced = zone_of(config), daemon.clock_watch.state.synced
        sources, decoders = dict(daemon.sources), dict(daemon.decoders)
        for name in steps.sources_ending - config.sources.keys():
            del sources[name], decoders[name], daemon.announcements.by_source[name]
        for name in sorted(steps.sources_beginning):
            options = config.sources[name]
            if name in steps.decoders:
                daemon.announcements.listen(name, options, daemon.journal.table)
                decoders[name] = decoder_of(daemon, name, catalogue, daemon.values)
                daemon.values.update(everybody(catalogue, name, getattr(options, "units", {})))
        for decoder in decoders.values():
            decoder.zone, decoder.synced = zone, synced
        _become(daemon.decoders, {name: decoders[name] for name in config.sources})
        if isinstance(hearing := decoders.get(config.offers.source), HearingDecoder):
            daemon.offers.hear(hearing)
        for name in sorted(steps.sources_beginning):
            daemon.pipeline.qos.setdefault(name, [0, 0, 0])
            sources[name] = daemon.building.source(name, daemon.offers.with_will(name, config.sources[name]))
            if daemon.pipeline.paused:
                sources[name].pause()
        _become(daemon.sources, {name: sources[name] for name in config.sources})
        daemon.outlet.tell_refusals(daemon.commands.refused)

    def _make_routes(self) -> None:
        daemon, config, steps = self._daemon, self._config, self._steps
        targets = {name: target for name, target in daemon.targets.items() if name in config.targets}
        for name in sorted(steps.targets_beginning):
            targets[name] = daemon.building.target(name, config.targets[name])
        _become(daemon.targets, {name: targets[name] for name in config.targets})
        settle_cursors(daemon, made=steps.routes_beginning)
        there = {each.name: each for each in daemon.forwarders}
        for name in sorted(steps.routes_beginning):
            there[name] = forwarder_of(daemon, name)
        daemon.forwarders[:] = [there[name] for name in config.routes]
        ways = dict(daemon.ways)
        for each in daemon.forwarders:
            way, target = ways.get(each.name), daemon.targets[each.route.to]
            if way is None:
                ways[each.name] = Way(each, target)
            else:
                way.live, way.target = each, target
        _become(daemon.ways, {name: ways[name] for name in config.routes})

    # ---- what begins ----------------------------------------------------------------------------------

    def _start(self) -> None:
        daemon, config, steps = self._daemon, self._config, self._steps
        add = daemon.stages.add
        for name in config.targets:
            if name in steps.targets_beginning:
                add(f"target[{name}]", daemon.targets[name].run())
        for forwarder in daemon.forwarders:
            if forwarder.name in steps.routes_beginning:
                add(f"forward[{forwarder.name}]", forwarder.run())
        if steps.http:
            add("http", daemon.web_calls.run())
        if steps.notify:
            add("notify", daemon.notifier.run())
        if steps.history:
            add("history", daemon.history.run())
        if steps.dead_letters:
            add("dead letters", daemon.dead_letters.run())
        if steps.offers:
            add("offers", daemon.offers.run(), outer=True)
        for name in config.sources:
            if name in steps.sources_beginning:
                add(f"source[{name}]", daemon.sources[name].run(daemon.pipeline.inbox), outer=True)


def _become(held: dict[str, Any], other: dict[str, Any]) -> None:
    """Make a dictionary that others hold another one, in its order."""
    held.clear()
    held.update(other)
