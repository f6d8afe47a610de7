"""[notify]: tables are recipients, lists are groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gateway.errors import ConfigError, Fault, probably_meant
from gateway.notify.carriers import carrier_of
from gateway.notify.courier import HOW_TO_INSTALL, MISSING, installed
from gateway.notify.options import RECIPIENTS_MAX, Directory, RecipientOptions
from gateway.rules.language.recipients import EVERYONE

if TYPE_CHECKING:
    from gateway.config.load import Config, Reading


def read_directory(reading: Reading, entries: Iterator[tuple[str, Any]]) -> Directory:
    """Convert [notify]; what has a fault is left out."""
    recipients: dict[str, RecipientOptions] = {}
    groups: dict[str, tuple[str, ...]] = {}
    known: list[str] = []
    found = list(entries)
    for name, value in found:
        at = ("notify", name)
        if isinstance(value, dict):
            known.append(name)
            options = reading.convert(RecipientOptions, at) if name != EVERYONE else None
            if name == EVERYONE:
                what, hint = f"{EVERYONE!r} is the group of all recipients", "name a recipient otherwise"
                reading.faults.append(reading.document.fault(at, what, hint))
            elif options is not None:
                recipients[name] = options
        elif isinstance(value, list) and value and all(isinstance(member, str) for member in value):
            groups[name] = tuple(dict.fromkeys(value))
        else:
            what = f"{name} is neither a recipient nor a group"
            hint = f'write [notify.{name}] for a recipient, or {name} = ["anna", "ben"] for a group'
            reading.faults.append(reading.document.fault(at, what, hint))
    for name, members in groups.items():
        for place, member in enumerate(members):
            if member not in known:
                fault = reading.document.fault(
                    ("notify", name, place), f"there is no recipient {member!r}", probably_meant(member, known)
                )
                reading.faults.append(fault)
    if len(known) > RECIPIENTS_MAX:
        reading.faults.append(reading.document.fault(("notify",), f"more than {RECIPIENTS_MAX} recipients"))
    return Directory(
        recipients, {name: tuple(m for m in members if m in recipients) for name, members in groups.items()}
    )


def unknown_sources(config: Config) -> Iterator[Fault]:
    """Find recipients that are reached through a source that does not exist."""
    for name, options in config.notify.recipients.items():
        if options.source and options.source not in config.sources:
            hint = probably_meant(options.source, config.sources)
            yield config.document.fault(("notify", name, "source"), f"there is no source {options.source!r}", hint)


def missing_extra(config: Config) -> Iterator[Fault]:
    """Find recipients that need the extra that is not installed. A gateway without it runs; they are not told."""
    if installed():
        return
    for name, options in config.notify.recipients.items():
        if options.carrier == "apprise" or (options.carrier is None and _address(options) == "apprise"):
            yield config.document.fault(("notify", name), f"{name} needs apprise: {MISSING}", HOW_TO_INSTALL)


def _address(options: RecipientOptions) -> str:
    try:
        return carrier_of(options.url()) if options.url is not None else ""
    except ConfigError:
        return ""  # said elsewhere
