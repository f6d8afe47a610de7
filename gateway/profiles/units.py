"""The units of a bus and their profiles: what the master shall ask each, and which messages each one's answers are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gateway.clock import NS_PER_S
from gateway.polling.heatmiser import Heatmiser
from gateway.polling.plan import Poll, Unit
from gateway.polling.request import BROADCAST, Request, Wire
from gateway.polling.rtu import Rtu
from gateway.profiles.catalogue import Catalogue, Entry, entries_of
from gateway.profiles.polls import AFTER_FAILURES, protocol_of
from gateway.profiles.report import NOTES
from gateway.profiles.template import NameTemplate, TopicTemplate
from gateway.profiles.times import duration_ns

ADDRESS = "{address}"


WIRES: dict[str, Callable[[], Wire]] = {"modbus-rtu": Rtu, "heatmiser-v3": Heatmiser}


def wire_of(catalogue: Catalogue, profile: str) -> Wire:
    """Return the protocol in which the units of a profile are asked."""
    return WIRES[protocol_of(catalogue.profiles[profile].source.link)]()


def units_of(catalogue: Catalogue, units: Mapping[int, str]) -> list[Unit]:
    """Return what the master shall do with units (address -> profile)."""
    return [_unit(catalogue, address, profile) for address, profile in units.items()]


def everybody(catalogue: Catalogue, source: str, units: Mapping[int, str]) -> dict[str, dict[str, Any]]:
    """Return what is known of "all units at once" (address 0), which never says anything: its profile, for commands."""
    profile = units.get(BROADCAST)
    if profile is None:
        return {}
    said = catalogue.profiles[profile].source
    captures = {"address": str(BROADCAST)}
    device = f"{source}/{NameTemplate(said.device.id).render(captures)}"
    return {device: {NOTES: {"profile": profile, "class": said.device_class, "captures": captures}}}


class OfUnits(Catalogue):
    """The profiles as one bus reads them: each unit's messages are those of its own profile."""

    def __init__(self, catalogue: Catalogue, units: Mapping[int, str]) -> None:
        """Take the profile of each address."""
        super().__init__(catalogue.profiles.values())
        self._units = units

    def entries(self, prefixes: Mapping[str, str], names: Iterable[str] | None = None) -> list[Entry]:  # noqa: ARG002
        """Return the messages of each unit's profile, for the topics of its address only."""
        found = []
        for address, profile in self._units.items():
            for entry in entries_of(self.profiles[profile], {}):
                text = entry.template.text.replace(ADDRESS, f"{{address:{address}}}")
                found.append(entry._replace(template=TopicTemplate(text).bound({})))
        return found


def _unit(catalogue: Catalogue, address: int, profile: str) -> Unit:
    source = catalogue.profiles[profile].source
    link, availability = source.link, source.availability
    polls = (
        Poll(poll.name, duration_ns(poll.every) / NS_PER_S, Request(address, poll.function, poll.start, poll.count))
        for poll in source.poll
    )
    return Unit(
        address,
        tuple(polls),
        (availability.after_failures if availability else None) or AFTER_FAILURES,
        duration_ns(link.timeout) / NS_PER_S,
        link.retries,
        duration_ns(link.pause) / NS_PER_S if link.pause else 0.0,
    )
