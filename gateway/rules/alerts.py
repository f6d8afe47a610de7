"""Alerts: raised, repeated, cleared. An alert is known by its key, house-wide, and by what it is about.

A row of the table "alerts" is ``{key, scope, rule, text, lane, device, since, count, timer?}``; `alert_raised` and
`alert_cleared` carry the same ``alert`` (the key) and subject, so a receiver can pair them.
"""

from __future__ import annotations

from typing import Any

from gateway.clock import rfc3339
from gateway.event import LaneName
from gateway.rules.call import Call, LimitReached
from gateway.rules.tables import ALERTS, TIMERS, Rows

ALERTS_MAX = 1000  # raised at the same time
TEXT_CHARS_MAX = 500
KEY_CHARS_MAX = 100
REPEAT = "repeat"  # kind of timer


def raise_alert(call: Call, text: str, key: str, lane: LaneName, repeat_ns: int) -> None:
    """Raise an alert, or once more the one that is already there. LimitReached when there are too many."""
    if not key or len(key) > KEY_CHARS_MAX or "|" in key:
        raise ValueError(f"alert key {key!r}: 1 to {KEY_CHARS_MAX} characters and no '|'")
    rows, at = call.rows, _at(key, call.scope)
    row: dict[str, Any] | None = rows.get(ALERTS, at)
    if row is None:
        if sum(1 for _ in rows.keys(ALERTS)) >= ALERTS_MAX:
            raise LimitReached(f"more than {ALERTS_MAX} alerts at the same time")
        row = {"key": key, "scope": call.scope, "since": call.cause.time_ns, "count": 0, "device": call.device}
    elif row.get("timer"):
        rows.put(TIMERS, row["timer"], None)
    timer = call.start_timer(REPEAT, repeat_ns, {"alert": at}) if repeat_ns else None
    about = {"rule": call.rule.name, "text": text[:TEXT_CHARS_MAX], "lane": lane, "timer": timer, "repeat": repeat_ns}
    _say(call, at, {**row, **about})


def repeat_alert(call: Call, at: str) -> None:
    """Raise an alert again whose repeat timer fired, if it is still there."""
    row = call.rows.get(ALERTS, at)
    if row is None or not row.get("repeat") or row.get("acknowledged"):
        return
    row = {**row, "timer": call.start_timer(REPEAT, row["repeat"], {"alert": at})}
    if call.late:
        call.rows.put(ALERTS, at, row)  # nobody wants to hear now that it was so then; the next one is in time
    else:
        _say(call, at, row)


def clear_alerts(call: Call, key: str | None, scope: str | None) -> None:
    """Clear the alerts with a key (None: of the call's rule) and a scope (None: of any)."""
    for at in list(call.rows.keys(ALERTS)):
        row = call.rows.get(ALERTS, at)
        assert row is not None
        mine = row["key"] == key if key is not None else row["rule"] == call.rule.name
        if mine and scope in (None, row["scope"]):
            clear(call, at, row)


def clear(call: Call, at: str, row: dict[str, Any]) -> None:
    """Clear one alert."""
    call.rows.put(ALERTS, at, None)
    if row.get("timer"):
        call.rows.put(TIMERS, row["timer"], None)
    data = {"alert": row["key"], "rule": row["rule"], "text": row["text"], "since": rfc3339(row["since"])}
    call.output("alert_cleared", data, lane=row["lane"], subject=row["device"])


def raised(rows: Rows) -> list[dict[str, Any]]:
    """Return all alerts that are raised, in the order of their keys."""
    return [row for row in (rows.get(ALERTS, at) for at in rows.keys(ALERTS)) if row is not None]


def _say(call: Call, at: str, row: dict[str, Any]) -> None:
    row = {**row, "count": row["count"] + 1}
    call.rows.put(ALERTS, at, row)
    data = {name: row[name] for name in ("rule", "text", "count")}
    data |= {"alert": row["key"], "since": rfc3339(row["since"])}
    call.output("alert_raised", data, lane=row["lane"], subject=row["device"])


def _at(key: str, scope: str) -> str:
    return f"{key}|{scope}"
