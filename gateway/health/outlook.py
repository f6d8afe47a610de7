"""How a running gateway is, in short: the marks of its stages for the watchdog, and one line for `systemctl status`.

The line says the worst first, and what it means for events. Numbers are rounded: it changes when something has
changed, not with each event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from gateway.clock import rfc3339
from gateway.codes.config import PART_LEFT_OUT
from gateway.event import Event
from gateway.journal.committer import State as DiskState
from gateway.progress import Mark
from gateway.quantity import counted

if TYPE_CHECKING:
    from gateway.config.startable import LeftOut
    from gateway.daemon import Daemon
    from gateway.forward.forwarder import ForwarderStatus

LEFT_OUT_MAX: Final = 16  # parts that are named in the event
NAMED_MAX: Final = 2  # sources that are named; of more the number is said
REASON_CHARS_MAX: Final = 60
ROUND_FROM: Final = 100  # from here on two digits say enough
AWAY: Final[Mapping[str, str]] = {"waiting": "away", "backing off": "takes nothing", "refused": "refuses us"}


def marks_of(daemon: Daemon) -> dict[str, Mark]:
    """Take the marks of all stages of the event path."""
    said: Mapping[str, Any] = daemon.rules.status()
    at_work = said["state"] == "running" and said["in_flight"] > 0
    return {
        **daemon.pipeline.marks(),
        "commit": daemon.committer.mark(),
        "blobs": daemon.blobs.mark(),
        "rules": Mark(at_work, daemon.rules.seen + said["starts"], f"{said['in_flight']} batches without an outcome"),
        **{f"forward[{each.name}]": each.mark() for each in daemon.forwarders},
    }


def line_of(daemon: Daemon) -> str:
    """Say in one line how the gateway is."""
    troubles = [*_disk(daemon), *_left_out(daemon), *_sources(daemon), *_routes(daemon), *_rules(daemon)]
    size = f"{counted(len(daemon.sources), 'source')}, {counted(len(daemon.forwarders), 'route')}"
    if not troubles:
        return f"{size}: all well" if daemon.forwarders else f"{size}: events stay here, no target"
    return f"{'; '.join(troubles)} ({size})"


def left_out_event(daemon: Daemon) -> Event:
    """Make the alarm that tells the cloud, and rules, that parts of the config do not run."""
    parts = [{"part": f"{part.section} {part.name}".strip(), "why": str(part.faults[0])} for part in _some(daemon)]
    return Event(
        source=f"/{daemon.name}/gateway", type="parts_left_out", time=rfc3339(daemon.clock.wall_ns()),
        lane="alarm", actor="gateway",
        data={"code": str(PART_LEFT_OUT), "count": len(daemon.config.left_out), "parts": parts},
    )  # fmt: skip


def _some(daemon: Daemon) -> Sequence[LeftOut]:
    return daemon.config.left_out[:LEFT_OUT_MAX]


def settled(daemon: Daemon) -> bool:
    """Return whether each source is there, or has tried: a start that waits for nobody is over then."""
    return all(_up(said) or said.get("last_error") for said in map(_said, daemon.sources.values()))


def _disk(daemon: Daemon) -> Iterator[str]:
    if daemon.committer.state is not DiskState.OK:
        yield f"the disk refuses writes, acknowledgements wait: {_short(daemon.committer.reason)}"


def _left_out(daemon: Daemon) -> Iterator[str]:
    if parts := daemon.config.left_out:
        more = f" and {len(parts) - 1} more" if len(parts) > 1 else ""
        yield f"left out: {' '.join((parts[0].section.removesuffix('s'), parts[0].name))}{more}"


def _sources(daemon: Daemon) -> Iterator[str]:
    if daemon.pipeline.paused:
        yield "sources pause until the disk has what came"
    down = {name: said for name, source in daemon.sources.items() if not _up(said := _said(source))}
    named = [f"{name} ({_short(said.get('last_error') or 'connecting')})" for name, said in down.items()]
    if named:
        more = f" and {len(named) - NAMED_MAX} more" if len(named) > NAMED_MAX else ""
        yield f"{len(named)} of {counted(len(daemon.sources), 'source')} down: {', '.join(named[:NAMED_MAX])}{more}"


def _routes(daemon: Daemon) -> Iterator[str]:
    for each in daemon.forwarders:
        said: ForwarderStatus = each.status()
        if said.state in AWAY:
            waiting = sum(said.backlog.values())
            since = said.since[11:16]
            yield f"{said.target} {AWAY[said.state]} since {since} UTC, {_rounded(waiting)} events wait"


def _rules(daemon: Daemon) -> Iterator[str]:
    quarantined = daemon.rules.quarantined()
    if quarantined:
        yield f"{counted(len(quarantined), 'rule')} in quarantine"


def _said(source: Any) -> Mapping[str, Any]:
    said: Mapping[str, Any] = source.status()
    return said


def _up(said: Mapping[str, Any]) -> bool:
    """Return whether a source takes messages: a listener counts its clients under `connected`."""
    return bool(said["listening"] if "listening" in said else said.get("connected"))


def _short(text: object) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= REASON_CHARS_MAX else f"{line[: REASON_CHARS_MAX - 1]}…"


def _rounded(number: int) -> str:
    """Write a number with two digits that count, as it is often asked for and seldom read to the last one."""
    if number < ROUND_FROM:
        return str(number)
    unit = int(10 ** (len(str(number)) - 2))
    return f"{number // unit * unit:,}"
