"""`explain`: what is recorded about one event: where it came from, what followed, where it went."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gateway.cli.events.listing import line
from gateway.cli.terminal.printing import complain, printable, say, say_json
from gateway.cli.verb import BAD, OK, Verbs, add

if TYPE_CHECKING:
    from gateway.cli.asking.records import Records
    from gateway.config.load import Config

RULE_LANES = ("alarm", "telemetry", "timer")
CAUSES_MAX = 8  # steps back: a timer set by a rule set off by an event …
Event = dict[str, Any]


def add_verbs(verbs: Verbs) -> None:
    """Declare `explain`."""
    parser = add(
        verbs,
        "explain",
        "one event: source, profile, rules that looked and why (not), lane, routes, as far as known; or a fault code",
        explain,
        examples=[
            "edge-gateway explain 0a1b2c3d4e5f-1-2f",
            "edge-gateway explain 0a1b2c3d4e5f-1-2f --json",
            "edge-gateway explain EG-204",
        ],
        json=True,
    )
    parser.add_argument("id", help="the event's id, as `events` or the cloud shows it; or a fault code")


def explain(words: argparse.Namespace) -> int:
    """Print the story of an event."""
    from gateway.cli.asking.records import opened
    from gateway.cli.health import faults
    from gateway.cli.rules import story as of_rules
    from gateway.codes.table import looks_like_one
    from gateway.config.load import read

    if looks_like_one(words.id):
        return faults.show(words)
    config, _ = read(words.config)
    with opened(words.config) as records:
        related = _about(records, words.id)
        event = next((found for found in related if found["id"] == words.id), None)
        if event is None:
            complain(f"no event {words.id!r} in the journal: it may have made room for newer ones")
            return BAD
        outcomes = [found for found in related if found is not event]
        causes = list(_causes(records, event))
        cursors, letters = dict(records.table("cursors")), dict(records.table("dead_letters"))
        stored = records.at(int(event["sequence"]))
        said, note = of_rules.looks(records, event, outcomes)
        authors = of_rules.Authors(records, words)
        made_by = [authors.of(each) for each in (event, *causes)]
        answered = _answered(records, event)
        heard = records.table("values").get(event.get("subject", ""), {}).get("$", {})
    by_device = event.get("actor", "device") == "device"
    story: dict[str, Any] = {
        "event": event,
        "profile": heard.get("profile", "") if by_device else "",
        "topic": heard.get("topic", "") if by_device else "",  # the device's last, which nearly always was this one
        "at": _place(config, event["source"]) if by_device else "",
        "written": stored["written"] if stored else None,
        "moment": stored.get("moment") if stored else None,
        "causes": causes,
        "made_by": made_by,
        "rules": rules_outcome(event, cursors),
        "looks": said,
        "looks_note": note,
        "outcomes": outcomes,
        "routes": [
            {**route_outcome(name, event, outcomes, cursors, letters), **answered.get(name, {})}
            for name in _routes(config, cursors, event)
        ],
    }
    if words.json:
        say_json(story)
    else:
        _tell(event, story)
    return OK


def _tell(event: Event, story: Mapping[str, Any]) -> None:
    from gateway.cli.rules.story import author_line

    say(line(event, whole="reason"), "bold")
    device, profile = event.get("subject"), story["profile"]
    about = (f", device {device}" if device else "") + (f", read by profile {profile}" if profile else "")
    at = f" ({story['at']})" if story["at"] else ""
    on = f", last heard on {story['topic']}" if story["topic"] else ""
    say(f"  from     {event['source']}{at}{about}{on}")
    lane, actor = event.get("lane", "telemetry"), event.get("actor", "device")
    written = f", on disk {story['written']}" if story["written"] else ""
    say(f"  record   {int(event['sequence']):,}, lane {lane}, by {actor}{written}")
    if clock := _clock(event, story["moment"]):
        say(f"  clock    {clock}", "yellow" if event.get("clock") == "unsynced" else None)
    for made_by, cause in zip(story["made_by"], [*story["causes"], None], strict=True):
        if made_by:
            say(f"  made by  {author_line(made_by)}")
        if cause:
            say(f"  because  {cause['id']}  {line(cause)}")
    say(f"  rules    {story['rules']}" + (f"; {story['looks_note']}" if story["looks_note"] else ""))
    for look in story["looks"]:
        mark = "ran" if look.get("ran") else "?" if look["verdict"] == "forgotten" else "not"
        say(f"    {mark:<7}{look['rule']}: {printable(look['text'])}")
    for outcome in story["outcomes"]:
        say(f"  then     {outcome['id']}  {line(outcome, whole='reason')}")
    for route in story["routes"]:
        reason = f": {route['reason']}" if route.get("reason") else ""
        when = f", sent {route['sent']}, acknowledged {route['answered']}" if "answered" in route else ""
        say(f"  route    {route['route']}: {route['outcome']}{when}{reason}")
    if not story["routes"]:
        say("  route    none carries it")


def _place(config: Config | None, source: str) -> str:
    """Return where a source hears: its url, address or port."""
    options = config.sources.get(source.rpartition("/")[2]) if config is not None else None
    if options is None:
        return ""
    listens = f"{options.host}:{options.port}" if hasattr(options, "host") and hasattr(options, "port") else ""
    named = (str(getattr(options, key, "") or "") for key in ("url", "http", "serial"))
    return next(filter(None, (*named, listens)), "")


def _answered(records: Records, event: Event) -> Mapping[str, Mapping[str, str]]:
    """Return when targets acknowledged an event, as far as the running gateway remembers."""
    from gateway.api.line import ApiError

    try:
        found: Mapping[str, Mapping[str, str]] = records.ask(
            "answered", lane=event.get("lane", "telemetry"), sequence=int(event["sequence"])
        )
    except ApiError:
        return {}
    return found


def _clock(event: Event, moment: Mapping[str, Any] | None) -> str:
    """Say when it was by the clock that never steps, and what the other one was worth."""
    if moment is None:
        return ""
    said = f"{moment['boot_s']:,.3f} s after boot {str(moment['boot'])[:8]}"
    if event.get("clock") == "corrected":
        return f"{said}; the clock said {event.get('uncorrectedtime')} then, and was corrected since"
    if event.get("clock") != "unsynced":
        return said
    between = [moment.get("not_before"), moment.get("not_after")]
    bounds = f": not before {between[0]}" if between[0] else ""
    bounds += (", " if bounds else ": ") + f"not after {between[1]}" if between[1] else ""
    return f"{said}; nobody had set the clock{bounds}"


def _about(records: Records, event_id: str) -> list[Event]:
    from gateway.history.query import EVERY_LANE, EventFilter

    return list(records.events(EventFilter(about=event_id, lanes=EVERY_LANE)))


def _causes(records: Records, event: Event) -> Iterator[Event]:
    """Yield what an event follows from, step by step; behind a timer stands the record that set it."""
    for _ in range(CAUSES_MAX):
        wanted = event.get("cause")
        set_by = _set_by(event)
        found = [cause for cause in _about(records, wanted) if cause["id"] == wanted] if wanted else []
        if set_by is not None and (stored := records.at(set_by)) is not None:
            found = [stored["event"]]
        if not found:
            return
        event = found[0]
        yield event


def _set_by(event: Event) -> int | None:
    """Return the number of the record for which a timer was set: its key says it (`Call.start_timer`)."""
    parts = str(event["data"].get("timer", "")).split("|") if event["type"] == "timer_fired" else []
    return int(parts[-2]) if len(parts) > 2 and parts[-2].isdigit() else None


def _routes(config: Config | None, cursors: Mapping[str, Any], event: Event) -> list[str]:
    """Return the routes that select an event: by the config, else by the cursors that are there."""
    lane = event.get("lane", "telemetry")
    if config is None:
        return [key.split(":")[1] for key in cursors if key.startswith("route:") and key.endswith(f":{lane}")]
    from gateway.routes import Selection

    return [
        name
        for name, route in config.routes.items()
        if lane in route.lanes and Selection(route, config.devices.get).takes(event["type"], event.get("subject", ""))
    ]


def route_outcome(
    name: str, event: Event, outcomes: list[Event], cursors: Mapping[str, Any], letters: Mapping[str, Any]
) -> Mapping[str, str]:
    """Say what a route did with an event, by its cursor, the dead letters that name it and what became of those."""
    sequence, cursor = int(event["sequence"]), cursors.get(f"route:{name}:{event.get('lane', 'telemetry')}")
    for outcome in outcomes:
        if outcome["type"] == "event_refused" and outcome["data"].get("route") == name:
            row = letters.get(outcome["id"], {})
            if row.get("state") == "delivered" and row.get("route") == name:
                return {"route": name, "outcome": "delivered", "reason": f"tried again by {row['actor']}"}
            reason = row.get("reason") or outcome["data"].get("reason", "")
            return {"route": name, "outcome": "refused", "reason": reason}
    if cursor is None:
        return {"route": name, "outcome": "waits", "reason": "the route has delivered nothing yet"}
    parked = {parked[0]: parked[1] for parked in cursor.get("parked", ())}
    if sequence in parked:
        return {"route": name, "outcome": "set aside", "reason": f"{parked[sequence]} attempts, tried again"}
    if sequence <= cursor["after"] or any(first <= sequence <= last for first, last in cursor.get("done", ())):
        return {"route": name, "outcome": "delivered"}
    return {"route": name, "outcome": "waits", "reason": f"the route is at record {cursor['after']:,}"}


def rules_outcome(event: Event, cursors: Mapping[str, Any]) -> str:
    """Say whether rules have seen an event."""
    cursor = cursors.get("rules")
    if event.get("lane", "telemetry") not in RULE_LANES:
        return f"don't look at the lane {event['lane']}"
    if cursor is None:
        return "none has run yet"
    seen = int(event["sequence"]) <= cursor["after"]
    return "have seen it" if seen else f"are at record {cursor['after']:,}, not there yet"
