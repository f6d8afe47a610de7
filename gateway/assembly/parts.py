"""Makes the parts of a daemon from its config: all of them at the start, some of them again when a reload changes them.

What makes a source or a target from its options is `building.py`; here is what needs the daemon's other parts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from datetime import UTC, tzinfo
from functools import partial
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from gateway.api.dead_letters import DeadLetters
from gateway.assembly.building import Building
from gateway.blobs.store import FOLDER as BLOBS
from gateway.blobs.store import read as read_blob
from gateway.bundles.ledger import trying
from gateway.bundles.trial import Trying
from gateway.commands.web_calls import WebCalls
from gateway.config.acting import acting
from gateway.config.crosscheck import profile_words
from gateway.config.load import Config
from gateway.config.startable import routes_left_out
from gateway.event import ROUTED, Lane
from gateway.forward.drops import rest_told_by
from gateway.forward.forwarder import Forwarder
from gateway.forward.held import forget_cursors, hold_cursors, lead, way_of
from gateway.gates import TABLE as GATES
from gateway.gates import Gates
from gateway.history.file import NAME as HISTORY_NAME
from gateway.history.keeper import Keeper
from gateway.journal.merged import Merged
from gateway.notify.carriers import Carriers
from gateway.notify.notifier import Notifier
from gateway.notify.outbox import Outbox
from gateway.offers.hearing import HearingDecoder
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.context import Decoded
from gateway.profiles.decode import Decoder
from gateway.profiles.units import OfUnits
from gateway.rules.language.calendar import Place
from gateway.rules.worker.supervisor import CURSOR_KEY, RuleWorker
from gateway.sources.source import Delivery

if TYPE_CHECKING:
    from gateway.daemon import Daemon

RULE_LANES = (*ROUTED, Lane.TIMER)
RULE_VERSIONS = "rules"  # in the state folder: good versions of rule files


def building_of(daemon: Daemon) -> Building:
    """Return what makes sources and targets."""
    return Building(
        daemon.name, daemon.journal, daemon.committer, daemon.clock, daemon.catalogue, daemon.pipeline.keep,
        lambda name: daemon.decoders[name].filters, partial(read_blob, daemon.config.places.state / BLOBS),
    )  # fmt: skip


def decoder_of(daemon: Daemon, source: str, catalogue: Catalogue, values: dict[str, dict[str, Any]]) -> Decoder:
    """Make the decoder of a source."""
    config, imports = daemon.config, daemon.announcements.by_source[source]
    options = config.sources[source]
    prefixes, profiles = getattr(options, "prefixes", {}), profile_words(options)
    catalogue = OfUnits(catalogue, options.units) if hasattr(options, "units") else catalogue
    kind = HearingDecoder if source == config.offers.source else Decoder
    made = kind(catalogue, daemon.name, source, config.devices, values, prefixes, zone_of(config), imports, profiles)
    made.synced = daemon.clock.synced()
    return made


def decode_again(daemon: Daemon, delivery: Delivery) -> Decoded:
    """Decode a message of the past: last values are newer than it, but for a device that has none yet."""
    decoder, values = daemon.decoders[delivery.source], dict[str, dict[str, Any]]()
    if daemon.announcements.by_source[delivery.source].wants(delivery.topic):
        return decoder.decode(delivery)  # what a device says about itself is not older than what is known
    daemon.pipeline.release()
    decoded = decoder_of(daemon, delivery.source, decoder.catalogue, values).decode(delivery)
    daemon.pipeline.values.adopt({device: values[device] for device in decoded.changed if device in values})
    return decoded


def web_calls_of(daemon: Daemon) -> WebCalls:
    """Make what calls web services for rules."""
    return WebCalls(
        daemon.journal, daemon.committer, daemon.config.http, daemon.pipeline.record, daemon.clock,
        gateway=daemon.name, observe=daemon.config.gateway.commands == "observe",
    )  # fmt: skip


def history_of(daemon: Daemon) -> Keeper:
    """Make what keeps the history index."""
    journal, config = daemon.journal, daemon.config
    path = config.places.state / HISTORY_NAME
    return Keeper(journal.store, journal.log_id, path, config.history, lambda: journal.durable_sequence)


def dead_letters_of(daemon: Daemon) -> DeadLetters:
    """Make what sends dead letters again."""
    return DeadLetters(
        daemon.journal, daemon.past, daemon.clock, daemon.ways, sources=daemon.sources, flush=daemon.committer.flush,
        decode=partial(decode_again, daemon), append=daemon.pipeline.record_all,
    )  # fmt: skip


def forwarder_of(daemon: Daemon, name: str) -> Forwarder:
    """Make what carries the events of a route."""
    routes = daemon.config.routes
    route, rest = routes[name], routes if name == rest_told_by(routes) else None
    return Forwarder(
        name, route, daemon.targets[route.to], daemon.journal, daemon.committer, daemon.clock,
        lookup=daemon.config.devices.get, gateway=daemon.name, rest_of=rest,
    )  # fmt: skip


def settle_cursors(daemon: Daemon, made: Collection[str]) -> None:
    """Let go of events for routes that there are no more; of none while a part is left out, or the config only tried.

    What was meant by a faulty part is not known, and what is tried may go back to routes that it does not have, or that
    lead elsewhere. `made`: the routes that are about to be made.
    """
    config, journal = daemon.config, daemon.journal
    tried, folder = trying(config.places.state), str(config.file.parent.absolute())
    routes = {name: config.routes[name] for name in config.routes if name in made}
    ways = {name: way_of(each, config.targets[each.to], config.devices, folder) for name, each in routes.items()}
    lead(journal, ways, trying=tried)
    if config.left_out:
        hold_cursors(journal, routes_left_out(config))
    elif not tried:
        forget_cursors(journal, config.routes)


def rule_worker_of(daemon: Daemon) -> RuleWorker:
    """Make the rule worker; without rules it only looks whether there are some."""
    journal, config = daemon.journal, daemon.config
    if journal.get("cursors", CURSOR_KEY) is None:  # with the first block: what comes is theirs over a kill
        journal.put("cursors", CURSOR_KEY, {"after": journal.durable_sequence, "done": []})
    return RuleWorker(
        config.rules,
        gateway=daemon.name,
        log_id=journal.log_id,
        clock=daemon.clock,
        table=lambda name: daemon.values if name == "values" else journal.table(name),
        devices=daemon.installation.entries,
        read=Merged(journal, RULE_LANES).read,
        append=daemon.audit.beside,
        on_outcome=daemon.pipeline.on_rule_outcome,
        last_sequence=journal.durable_sequence,
        recipients=config.notify.names,
        store=config.places.state / RULE_VERSIONS,
        acting=acting(config),
    )


def gates_of(daemon: Daemon) -> Gates:
    """Make what holds events for gates, with those that were held when the gateway ended."""
    journal = daemon.journal
    gates = Gates(
        journal.log_id, daemon.clock, daemon.config.rules.gate_s, journal.table(GATES),
        keep=daemon.pipeline.keep, last_sequence=lambda: journal.last_sequence,
        installed=daemon.config.devices.get, values=daemon.values, disabled=daemon.rules.disabled,
        copies_bytes_max=journal.batch_bytes_max // 4, wake=partial(daemon.committer.wake, urgent=True),
    )  # fmt: skip
    with contextlib.closing(Merged(journal, ROUTED)) as found:
        gates.restore(found.read, journal.durable_sequence)
    return gates


def notifier_of(daemon: Daemon) -> Notifier:
    """Make what tells people."""
    directory, clock, pipeline = daemon.config.notify, daemon.clock, daemon.pipeline

    def publish(source: str, topic: str, payload: bytes) -> bool:
        """Publish through a source, or the first there is; False when it is not connected."""
        found: Any = daemon.sources.get(source) if source else next(iter(daemon.sources.values()), None)
        return found is not None and bool(found.send(topic, payload))

    outbox = Outbox(directory, daemon.journal.table, pipeline.keep, clock, Place(zone_of(daemon.config)))
    carriers = Carriers(directory, clock, publish, gateway=daemon.name)
    return Notifier(directory, outbox, carriers, pipeline.record, daemon.committer.flush, clock, gateway=daemon.name)


def zone_of(config: Config) -> tzinfo:
    """Return the time zone of the house, for devices that send local time."""
    name = config.gateway.timezone
    return UTC if name == "UTC" else ZoneInfo(name)  # UTC is known without a database of time zones


def trying_of(daemon: Daemon) -> Trying:
    """Make what looks after a config that is being tried."""

    async def good() -> None:
        """Let what was tried count for good."""
        settle_cursors(daemon, made=())
        await daemon.reload.keep()

    made = Trying(
        config=daemon.config.file.absolute(), state=daemon.config.places.state, clock=daemon.clock,
        gateway=daemon.name, carriers=lambda: {each.name: each for each in daemon.forwarders},
        record=daemon.audit.record, again=daemon.start_again, good=good,
    )  # fmt: skip
    daemon.vitals.more["bundle"] = lambda: made.bundle[:16]
    return made
