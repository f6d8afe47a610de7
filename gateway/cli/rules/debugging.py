"""`rules debug`: one recorded event in the foreground: ``breakpoint()`` in a rule opens the debugger here."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.events.listing import line as event_line
from gateway.cli.rules import desk
from gateway.cli.rules.place import Place
from gateway.cli.terminal.printing import complain, json_text, printable, say, say_json
from gateway.cli.verb import BAD, OK, USAGE, Verbs, add

if TYPE_CHECKING:
    from gateway.journal.inspection import Inspection
    from gateway.journal.sweep import Run
    from gateway.rules.desk.candidate import Table
    from gateway.rules.files.loader import Loaded
    from gateway.rules.protocol import Outcome

Found = tuple[int, bytes, int]
"""A record: its sequence, its bytes, when it was written."""


def add_verbs(verbs: Verbs) -> None:
    """Declare `rules debug`."""
    parser = add(
        verbs,
        "debug",
        "run a rule file on one recorded event, here, without limits; breakpoint() in a rule works",
        debug,
        examples=[
            "edge-gateway rules debug rules/left_open.py --event 0a1b2c3d4e5f-1-2f",
            "edge-gateway rules debug draft.py --event 0a1b2c3d4e5f-1-2f --state now",
        ],
        json=True,
    )
    desk.add_words(parser, several=False)
    parser.add_argument("--event", required=True, metavar="ID", help="its id, as `events` shows it")
    parser.add_argument(
        "--state", choices=("then", "now", "empty"), default="then", help="state before the event (default), now, none"
    )
    parser.add_argument("--journal", type=Path, metavar="FOLDER", help="default: as the config says")


def debug(words: argparse.Namespace) -> int:
    """Run it; 1 when there is no such event or a rule failed."""
    from gateway.cli.asking.offline import inspected

    place = Place(words)
    loaded = place.load([words.file])
    if loaded is None:
        return USAGE
    inspection = inspected(words.config, words.journal)
    found = _find(inspection, words.event)
    if found is None:
        complain(f"no event {words.event!r} in the journal: it may have made room for newer ones")
        return BAD
    tables = _tables(inspection, found[0], words.state)
    if words.state == "then" and tables is None:
        complain("the journal does not know any more how things stood then: it begins with no state")
    return _Case(place, loaded, inspection, found, tables).run(as_json=words.json)


def _find(inspection: Inspection, event_id: str) -> Found | None:
    """Look for a record; its id says about where it is."""
    import msgspec

    from gateway.history.query import EVERY_LANE, EventFilter, Past
    from gateway.journal.sweep import Sweep

    last = inspection.last_sequence
    past = Past(inspection.store, lambda: last, starts=lambda: inspection.table("starts"))
    for sequence, raw in past.records(EventFilter(about=event_id, lanes=EVERY_LANE)):
        if msgspec.json.decode(raw)["id"] != event_id:
            continue
        sweep = Sweep(inspection.store)
        runs: list[Run] = list(sweep.runs(sequence - 1, sequence))
        sweep.close()
        return sequence, raw, runs[0].wall_ns if runs else 0
    return None


def _tables(inspection: Inspection, sequence: int, state: str) -> Mapping[str, Table] | None:
    from gateway.journal.asof import before
    from gateway.rules.engine.tables import NAMES

    if state == "then":
        found: Mapping[str, Table] | None = before(inspection, sequence).tables
        return found
    return {name: inspection.table(name) for name in ("values", *NAMES)} if state == "now" else None


class _Case:
    """A rule file, an event, and what comes of it."""

    def __init__(
        self,
        place: Place,
        loaded: Loaded,
        inspection: Inspection,
        found: Found,
        tables: Mapping[str, Table] | None,
    ) -> None:
        import time

        from gateway.rules.desk.candidate import Candidate
        from gateway.rules.engine.trace import Trace

        self._sequence, self._raw, wall_ns = found
        self._outcomes: list[Outcome] = []
        self._installation = place.installation(inspection.log_id)
        self._candidate = Candidate(
            loaded, self._installation, self._outcomes.append, now_ns=wall_ns, tables=tables,
            trace=Trace(len(loaded.definitions), time.perf_counter_ns),
        )  # fmt: skip
        self._candidate.time.sequence = self._sequence - 2
        self._candidate.load()
        self._outcomes.clear()  # what follows from loading is not what was asked for

    def run(self, *, as_json: bool) -> int:
        """Let it happen, then say what the rules made of it."""
        import msgspec

        from gateway.rules.desk.looks import told_of
        from gateway.rules.desk.tally import action, line

        event: dict[str, Any] = msgspec.json.decode(self._raw)
        if not as_json:
            say(printable(event_line(event)), "bold")
            sys.stdout.flush()
        sequence = max(self._sequence, self._candidate.time.sequence + 1)
        self._candidate.time.play([(sequence, self._raw)])
        looks = told_of(
            self._candidate.engine, f"{sequence:016d}", event["id"], event["type"], event.get("subject", ""),
            list(event.get("data") or {}),
        )  # fmt: skip
        names = desk.names_of(self._installation.devices)
        done = [action(output, names) for outcome in self._outcomes for output in outcome.outputs]
        faults = [fault for outcome in self._outcomes for fault in outcome.faults]
        puts = [put for outcome in self._outcomes for put in outcome.puts]
        logs = [text for outcome in self._outcomes for text in outcome.logs]
        if as_json:
            say_json({"event": event, "rules": looks, "did": done, "faults": faults, "logs": logs, "puts": puts})
            return BAD if faults else OK
        for look in looks:
            say(f"  {look.rule}: {look.text}", "green" if look.ran else None)
        if not looks:
            say("  it is nothing to any rule of the file", "dim")
        for rule, text in logs:
            say(printable(f"  log      {rule}: {text}"))
        for each in done:
            say(printable(f"  did      {line(each)}"))
        for table, key, row in puts:
            say(printable(f"  kept     {table} {key} = {json_text(row)}"), "dim")
        for fault in faults:
            say(f"  fault    {fault}\n{fault.stack}", "red")
        return BAD if faults else OK
