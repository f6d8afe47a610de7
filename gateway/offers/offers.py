"""Offers the house on a broker, keeps it as it is, and takes away what is gone.

What was published is remembered in the table "offered" (topic -> source, and of an alert its key and rule): what is not
offered any more, by whatever the config says now, is cleared with an empty retained message. All is published anew when
the connection is, and when Home Assistant says that it has started.

An alert is offered from its first time on, and stays, OFF, as long as the rule is there that raised it: so that
automations can name it.

Bounds: `PUBLISH_MAX` messages a look, every `LOOK_S`; `OFFERED_MAX` topics.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from gateway import __version__
from gateway.codes.targets import OFFER_STAYS, OFFERS_FULL
from gateway.event import Event
from gateway.logs.about import about
from gateway.mqtt.options import MessageOptions
from gateway.offers.discovery import House, Offer, Topics, slug, topics
from gateway.offers.hearing import HearingDecoder, Wishes
from gateway.offers.options import OfferOptions
from gateway.rules.engine.tables import ALERTS, INPUTS, MODE_KEY, MODES
from gateway.rules.language.inputs import value_of
from gateway.rules.worker.supervisor import State

if TYPE_CHECKING:
    from gateway.daemon import Daemon

log = logging.getLogger(__name__)

OFFERED = "offered"  # the table
LOOK_S = 0.25
PUBLISH_MAX = 200  # messages a look
OFFERED_MAX = 3000  # topics
EVENT_BYTES = 3 * 1024  # of a mode or an input, about


class Offers:
    """What is offered. Belongs to the event loop's thread."""

    def __init__(self, options: OfferOptions, daemon: Daemon) -> None:
        """Prepare; `daemon` may still be in the making, but for its config, clock and journal."""
        self._options, self._daemon = options, daemon
        topic = options.topic_of(daemon.name)
        self._offer = Offer(daemon.name, __version__, topic, options.home_assistant)
        self.prefix, self.discovery, self.node = f"{topic}/", options.home_assistant, self._offer.node
        self._sent: dict[str, Topics] = {}  # by source, on this connection
        self._connects: dict[str, object] = {}
        self._full = False
        self._house: House | None = None  # as it was at the last look
        self._topics: Topics = {}
        self._wishes = Wishes(
            daemon.name, f"mqtt:{options.source}", now_ns=daemon.clock.wall_ns, mode=self._mode,
            modes=tuple(daemon.config.rules.modes), inputs=daemon.config.inputs, was=self._input,
            rules=lambda: {name: acts for name, (_, acts) in self._rules().items()}, put=self._put,
        )  # fmt: skip

    def hear(self, decoder: HearingDecoder) -> None:
        """Have the decoder of the source give us what is set on our topics."""
        decoder.offers = self

    def with_will(self, name: str, options: Any) -> Any:
        """Return a source's options; of the one that offers with a will that says so when the connection breaks."""
        if name != self._options.source or getattr(options, "will", self) is not None:
            return options
        will = MessageOptions(topic=f"{self.prefix}status", payload="offline", qos=1, retain=True)
        return msgspec.structs.replace(options, will=will)

    def wish(self, path: str, text: str) -> list[Event]:
        """Return the events of a wish."""
        if path.partition("/")[0] not in self._options.what:
            return []
        return self._wishes.events(path, text)

    def again(self) -> None:
        """Offer everything once more."""
        self._sent.clear()

    # ---- the watch ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep what is offered as the house is, until cancelled; then say that nobody is there."""
        try:
            while True:
                self.look()
                await asyncio.sleep(LOOK_S)
        finally:
            source = self._options.source
            if source and self._connected(source):
                self._daemon.sources[source].send(f"{self.prefix}status", b"offline", 1, retain=True)

    def look(self) -> None:
        """Publish what is new, clear what is gone."""
        options, rows = self._options, self._daemon.journal.table(OFFERED)
        wanted = self._wanted(rows) if options.source else {}
        if options.source and self._connected(options.source):
            self._publish(options.source, wanted, rows)
        settled = self._daemon.rules.state in (State.RUNNING, State.NONE)  # else nobody knows which rules there are
        gone = [(topic, str(row["source"])) for topic, row in rows.items() if topic not in wanted] if settled else []
        for topic, source in gone[:PUBLISH_MAX]:
            self._clear(topic, source)

    def _publish(self, source: str, wanted: Topics, rows: Mapping[str, Any]) -> None:
        sent, sender, left = self._sent.setdefault(source, {}), self._daemon.sources[source], PUBLISH_MAX
        for topic, payload in wanted.items():
            if sent.get(topic) == payload:
                continue
            if topic not in rows and len(rows) >= OFFERED_MAX:
                if not self._full:
                    log.error(
                        "offers: more than %d topics: the others are not offered", OFFERED_MAX, extra=about(OFFERS_FULL)
                    )
                self._full = True
                continue
            row = {"source": source, **self._alert_of(topic)}
            if rows.get(topic) != row:
                self._daemon.pipeline.keep(OFFERED, topic, row)
                self._daemon.committer.wake()  # what is forgotten stays on the broker for ever
            reached = sender.send(topic, payload, 1, retain=True)
            left -= 1
            if not left or not (reached or self._keeps(source)):
                return
            sent[topic] = payload

    def _clear(self, topic: str, source: str) -> None:
        """Take one topic away; where its source is no more, nobody can."""
        sender = self._daemon.sources.get(source)
        if sender is not None and not self._connected(source):
            return
        if sender is None:
            said = about(OFFER_STAYS, source=source)
            log.warning("offers: %s stays on the broker: there is no source %r any more", topic, source, extra=said)
        elif not (sender.send(topic, b"", 1, retain=True) or self._keeps(source)):
            return
        self._sent.get(source, {}).pop(topic, None)
        self._daemon.pipeline.keep(OFFERED, topic, None)

    def _connected(self, source: str) -> bool:
        """Return whether there is a connection; after each new one everything is published again."""
        said = self._daemon.sources[source].status()
        if "listening" in said:
            return bool(said["listening"])
        if not said.get("connected"):
            return False
        if self._connects.get(source) != said.get("connects"):
            self._connects[source] = said.get("connects")
            self._sent.pop(source, None)
        return True

    def _keeps(self, source: str) -> bool:
        """Return whether a source keeps what is retained itself: the own listener, whoever is connected."""
        return "listening" in self._daemon.sources[source].status()

    # ---- how the house is ----------------------------------------------------------------------------

    def _wanted(self, rows: Mapping[str, Any]) -> Topics:
        what, config = self._options.what, self._daemon.config
        house = House(
            self._mode() if "mode" in what else None,
            config.rules.modes,
            {name: (each, self._input(name)) for name, each in config.inputs.items()} if "inputs" in what else {},
            self._alerts(rows) if "alerts" in what else {},
            self._rules() if "rules" in what else {},
        )
        if house != self._house:
            self._house = house
            self._topics = {f"{self.prefix}status": b"online", **topics(self._offer, house)}
        return self._topics

    def _mode(self) -> str:
        row = self._table(MODES).get(MODE_KEY)
        return str(row["mode"]) if row else self._daemon.config.rules.modes[0]

    def _input(self, name: str) -> Any:
        return value_of(self._daemon.config.inputs, name, self._table(INPUTS).get(name))

    def _rules(self) -> dict[str, tuple[str, bool]]:
        worker = self._daemon.rules
        disabled = worker.disabled()
        return {rule.name: (rule.title, rule.name not in disabled) for rule in worker.rules}

    def _alerts(self, rows: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
        """Return what is raised by key, and keys of rules that are there whose alerts are over."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        rules = {rule.name for rule in self._daemon.rules.rules}
        for row in rows.values():
            if "alert" in row and (row["rule"] in rules or not row["rule"]):
                found.setdefault(row["alert"], [])
        for row in self._table(ALERTS).values():
            found.setdefault(str(row["key"]), []).append(row)
        return found

    def _alert_of(self, topic: str) -> dict[str, str]:
        """Return the key and rule of the alert that a topic is about; nothing for any other."""
        start = f"{self.prefix}alerts/"
        if not topic.startswith(start):
            return {}
        name = topic.removeprefix(start).partition("/")[0]
        raised = next((row for row in self._table(ALERTS).values() if slug(str(row["key"])) == name), None)
        if raised is None:
            return {key: value for key, value in self._table(OFFERED).get(topic, {}).items() if key != "source"}
        return {"alert": str(raised["key"]), "rule": str(raised.get("rule", ""))}

    def _table(self, name: str) -> Mapping[str, Any]:
        return self._daemon.journal.table(name)

    def _put(self, table: str, event: Event) -> None:
        """Put the row of a mode or an input at once where no rule worker takes it over."""
        if self._daemon.rules.state not in (State.NONE, State.STOPPED):
            return
        now_ns = self._daemon.clock.wall_ns()
        self._daemon.journal.make_room(EVENT_BYTES)  # the event comes behind it: with the row alone it would be lost
        if table == MODES:
            self._daemon.pipeline.keep(MODES, MODE_KEY, {"mode": event.data["mode"], "since": now_ns})
        else:
            row = {"value": event.data["value"], "since": now_ns, "actor": event.actor}
            self._daemon.pipeline.keep(INPUTS, str(event.data["input"]), row)
