"""The one sentence that a status begins with."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.api.findings import findings, headline
from gateway.api.status import (
    AlertStatus,
    DiskStatus,
    LaneStatus,
    NotificationStatus,
    Quarantined,
    RouteStatus,
    RuleStatus,
    SourceStatus,
    Status,
)
from gateway.codes.clock import CLIENT_ID_TAKEN

GOOD = Status(
    gateway="pi",
    version="0.1.0",
    pid=1,
    started="2026-11-23T06:00:00.000Z",
    uptime_s=60.0,
    sources=[SourceStatus(name="house", kind="listener", state="listening")],
    lanes=[LaneStatus(name="alarm"), LaneStatus(name="telemetry", queued=12)],
    routes=[RouteStatus(name="all", target="cloud", kind="mqtt", state="up")],
    rules=RuleStatus(state="running", loaded=3),
    disk=DiskStatus(folder="/var/lib/edge-gateway/journal"),
)


def but(**changes: Any) -> Status:
    """Return the good status with something else in it."""
    return msgspec.structs.replace(GOOD, **changes)


def test_pushed_off_by_a_copy() -> None:
    """A route and a source whose client id somebody else uses say which fault that is, and what to type."""
    why = f"the peer closed the connection: {CLIENT_ID_TAKEN.title} ('gw-cloud')"
    route = RouteStatus(name="a", target="c", kind="mqtt", state="refused", last_error=why)
    source = SourceStatus(name="house", kind="mqtt", state="connecting", last_error=why)
    for status in (but(routes=[route]), but(sources=[source])):
        level, sentence = headline(status)
        assert level == "bad"
        assert "[EG-612]" in sentence
        assert sentence.endswith("Type: edge-gateway identity show")


def test_all_is_well() -> None:
    """Without a finding the sentence says so, with what goes in and out and what waits."""
    assert headline(GOOD) == ("ok", "All is well: 1 source in, 1 route out, 12 events waiting.")


@pytest.mark.parametrize(
    ("status", "level", "cause", "command"),
    [
        (
            but(disk=DiskStatus(folder="/j", state="refused", last_error="No space left")),
            "bad",
            "No space left",
            "df -h",
        ),
        (but(disk=DiskStatus(folder="/j", state="full")), "bad", "byte limit", "journal stat"),
        (but(disk=DiskStatus(folder="/j", damaged_records=2)), "warning", "2 damaged records", "journal verify"),
        (
            but(routes=[RouteStatus(name="a", target="c", kind="mqtt", state="down", backlog=1, last_error="refused")]),
            "bad",
            "Route a to c is down: refused; 1 event kept on disk",
            "journalctl -u edge-gateway",
        ),
        (
            but(routes=[RouteStatus(name="a", target="c", kind="mqtt", state="retrying", backlog=1234)]),
            "warning",
            "1,234 events kept on disk",
            "journalctl -u edge-gateway",
        ),
        (
            but(
                routes=[RouteStatus(name="a", target="c", kind="http", state="refused", last_error="401 Unauthorized")]
            ),
            "bad",
            "Route a to c is refused: 401 Unauthorized; 0 events kept on disk",
            "edge-gateway check",
        ),
        (but(routes=[]), "warning", "No target is configured", "edge-gateway check"),
        (
            but(
                sources=[SourceStatus(name="house", kind="mqtt", state="connecting", where="mqtt://h", last_error="no")]
            ),
            "bad",
            "Source house (mqtt://h) is not connected: no",
            "journalctl -u edge-gateway",
        ),
        (
            but(
                sources=[
                    SourceStatus(name="house", kind="mqtt", state="connecting", last_error="refused: Bad password")
                ]
            ),
            "bad",
            "Source house is not connected: refused",
            "edge-gateway check",
        ),
        (
            but(sources=[SourceStatus(name="house", kind="mqtt", state="connected", paused=True)]),
            "warning",
            "paused",
            "journal stat",
        ),
        (
            but(rules=RuleStatus(state="running", quarantined=[Quarantined(name="siren", reason="did not return")])),
            "bad",
            "Rule siren is stopped: did not return",
            "rules list",
        ),
        (
            but(rules=RuleStatus(state="running", faults=["a.py:3: not Python"])),
            "bad",
            "a.py:3",
            "edge-gateway rules list",
        ),
        (
            but(rules=RuleStatus(state="running", shut={"plates": "plates.py"}, faults=["plates.py:3: not Python"])),
            "bad",
            "Gate plates stays closed while plates.py does not load: what it is about is dropped",
            "edge-gateway rules list",
        ),
        (but(rules=RuleStatus(state="stopped")), "bad", "rule worker is not running", "rules test"),
        (but(dead_letters=1), "warning", "1 dead letter to look at", "dead-letters list"),
        (but(clock_synced=False), "warning", "clock is not synchronised", "timedatectl"),
        (
            but(warnings=["gateway.toml:3: no route leads to target 'x'"]),
            "warning",
            "no route leads",
            "edge-gateway check",
        ),
        (
            but(unread=["devices.toml", "gateway.d/site.toml"]),
            "warning",
            "devices.toml and 1 more changed since it was read",
            "edge-gateway reload",
        ),
    ],
)
def test_one_sentence_has_cause_and_command(status: Status, level: str, cause: str, command: str) -> None:
    """What is wrong is said in one sentence with its cause and what to type about it."""
    found = headline(status)
    assert found[0] == level
    assert cause in found[1]
    assert command in found[1].partition(" Type: ")[2]
    assert "\n" not in found[1]


def test_the_worst_comes_first() -> None:
    """With several findings the bad one is the sentence, and the others are counted."""
    status = but(dead_letters=3, clock_synced=False, disk=DiskStatus(folder="/j", state="refused"))
    assert [finding.level for finding in findings(status)] == ["bad", "warning", "warning"]
    assert "(and 2 more findings)" in headline(status)[1]


def test_json_and_back() -> None:
    """A status survives its JSON form."""
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(GOOD)), Status) == GOOD


def test_alerts_and_who_cannot_be_told_are_findings() -> None:
    """What is raised is counted, and a recipient who cannot be reached is named with the reason."""
    status = but(alerts=AlertStatus(3, 2), notifications=NotificationStatus(1, errors={"anna": "503 unavailable"}))
    found = {finding.text: (finding.level, finding.command) for finding in findings(status)}
    assert found == {
        "3 alerts raised, 2 unacknowledged": ("warning", "edge-gateway alerts list"),
        "anna cannot be told: 503 unavailable": ("warning", "edge-gateway notifications list"),
    }
