"""What a broker says (`visit`) and how it is set (`mosquitto`): does it lose what it has acknowledged? Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from gateway.codes.sources import BROKER_FORGETS, FILTER_REFUSED, SENDS_AT_QOS_0, SOURCE_REFUSED
from gateway.codes.targets import BROKER_IS_OLD
from gateway.doctor.finding import Finding, bad, note
from gateway.doctor.mosquitto import Settings
from gateway.doctor.reach import Reach
from gateway.doctor.visit import Visited
from gateway.mqtt.packet import Reason, reason_name
from gateway.quantity import duration, size
from gateway.secrets import ONLY_ROOT

AUTOSAVE_S_MAX = 120  # of messages that a power cut may take from a broker
AWAY_S = 86_400.0  # how long the gateway may be away: a weekend's power cut is longer, a restart shorter
SESSION_S_MIN = 86_400
PACKET_BYTES_MIN = 256 * 1024  # a camera's picture
RECEIVE_MIN = 10
NAMED_MAX = 3
EXPIRATION = re.compile(r"(\d+)([hdwmy])")
UNITS_S = {"h": 3600, "d": 86_400, "w": 604_800, "m": 2_592_000, "y": 31_536_000}
RESTART = "then: sudo systemctl restart mosquitto"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one broker that is a source."""

    name: str
    url: str
    reach: Reach | None = None  # None: over a proxy, nothing is looked at before it
    visited: Visited | None = None  # None: not reached
    settings: Settings | None = None  # None: not Mosquitto, or not on this machine
    gateway_connected: bool = False  # the running gateway is
    per_s: float | None = None  # messages that come from it
    at_qos_0: int | None = None  # of them since the start; None: not known
    refused: dict[str, str] = {}  # subscriptions of the running gateway, and why


def not_let_in(facts: Facts) -> Finding:
    """Say why a broker did not let us in."""
    said = facts.visited
    assert said is not None
    if facts.gateway_connected:
        text = (
            f"the gateway is connected; a second client was not let in ({said.why}), so the broker was not asked more"
        )
        return Finding("ok", text)
    if said.ours and ONLY_ROOT in said.why:
        text = f"{facts.url}: you may not read its credential, so it was not asked"
        return note(text, "sudo edge-gateway doctor broker")
    if said.ours:
        return bad(f"no credentials: {said.why}", "edge-gateway doctor credentials", SOURCE_REFUSED)
    if said.silent:
        text = f"{facts.url} takes the connection and does not answer in MQTT: {said.why}"
        return bad(text, "is it the broker's port, and TLS as the broker wants it (mqtts://)?")
    words = said.why
    command = "mosquitto_sub -h HOST -u USER -P ... -t '$SYS/broker/version' -C 1 tries it by hand"
    if said.reason_code == Reason.CLIENT_IDENTIFIER_NOT_VALID:
        command = "it may let in known client ids only: start the gateway, and see edge-gateway status"
    elif said.reason_code in (Reason.NOT_AUTHORIZED, Reason.BAD_USER_NAME_OR_PASSWORD):
        command = "user name and password in gateway.toml; or it lets in known client ids only"
    return bad(f"{facts.url} does not let us in: {words}", command, SOURCE_REFUSED)


def answered(facts: Facts) -> Iterator[Finding]:
    """Judge what a broker said to us."""
    said, limits = facts.visited, facts.visited.limits if facts.visited else None
    if said is None or limits is None:
        return
    if said.version == "3.1.1":
        text = "it knows MQTT 3.1.1 only: what it refuses of single messages goes unseen"
        yield note(text, "a newer broker: sudo apt install mosquitto", BROKER_IS_OLD)
    if denied := {each: reason_name(code) for each, code in said.denied.items()} | facts.refused:
        named = ", ".join(f"{each!r}: {why}" for each, why in list(denied.items())[:NAMED_MAX])
        text = f"subscriptions are refused: {named}{' ...' if len(denied) > NAMED_MAX else ''}"
        yield bad(text, "allow them in the broker's access control list", FILTER_REFUSED)
    given = said.expiry_asked_s if limits.session_expiry_interval is None else limits.session_expiry_interval
    if given < min(said.expiry_asked_s, SESSION_S_MIN):
        text = (
            f"it forgets the gateway's session after {duration(given)} ({duration(said.expiry_asked_s)} was asked for)"
        )
        yield note(f"{text}: what comes meanwhile is lost", "session expiry in the broker's settings", BROKER_FORGETS)
    if limits.maximum_qos == 0:
        yield bad("it knows QoS 0 only: nothing is acknowledged", "max_qos in the broker's settings", BROKER_FORGETS)
    if limits.retain_available == 0:
        yield note("it keeps no retained messages: after a restart states are not known until devices report", "")
    if limits.wildcard_subscription_available == 0:
        yield bad("it takes no subscriptions with + or #, which profiles need", "filters = [...] under the source")
    if limits.receive_maximum is not None and limits.receive_maximum < RECEIVE_MIN:
        yield note(f"it takes {limits.receive_maximum} commands at a time", "")
    if limits.maximum_packet_size is not None and limits.maximum_packet_size < PACKET_BYTES_MIN:
        text = f"it takes packets of {size(limits.maximum_packet_size)} at most: larger ones (pictures) are lost"
        yield note(text, "max_packet_size in the broker's settings", BROKER_FORGETS)
    dropped = said.heard.get("$SYS/broker/publish/messages/dropped", "")
    if dropped.isdecimal() and int(dropped):
        up = said.heard.get("$SYS/broker/uptime", "its start")
        text = f"it has dropped {int(dropped):,} messages since its start ({up} ago), because a queue was full"
        yield note(text, f"max_queued_messages 0 in mosquitto.conf; {RESTART}", BROKER_FORGETS, dropped=int(dropped))
    if said.published is not None and said.published >= Reason.UNSPECIFIED_ERROR:
        yield note(
            f"what the gateway publishes there may be refused: {reason_name(said.published)}", "", SOURCE_REFUSED
        )
    elif said.published is not None and said.came_back_s is None:
        yield note(
            "what was published on a topic of our own did not come back: reading it is not allowed", "", FILTER_REFUSED
        )


def settings(facts: Facts) -> Iterator[Finding]:
    """Judge mosquitto.conf."""
    found = facts.settings
    if found is None:
        return
    if not found.readable:
        yield note(f"{found.file} cannot be read by you", "sudo edge-gateway doctor broker")
        return
    value, file = found.values, found.file or "its config (it was started without one)"
    if not _yes(value["persistence"]):
        text = "Mosquitto keeps everything in memory (persistence false): a restart or power cut loses what waits for"
        lines = "persistence true, persistence_location /var/lib/mosquitto/, autosave_interval 60"
        yield bad(f"{text} the gateway, and all retained states", f"in {file}: {lines}; {RESTART}", BROKER_FORGETS)
    else:
        yield from _autosave(value, file)
    yield from _queue(facts, value, file)
    expiry = EXPIRATION.fullmatch(value["persistent_client_expiration"])
    if expiry and int(expiry[1]) * UNITS_S[expiry[2]] < 7 * 86_400:
        text = f"it forgets clients that were away for {value['persistent_client_expiration']}, and what waits for them"
        yield note(text, f"in {file}: persistent_client_expiration 2m; {RESTART}", BROKER_FORGETS)
    for key in ("message_size_limit", "max_packet_size"):
        if value[key].isdecimal() and 0 < int(value[key]) < PACKET_BYTES_MIN:
            text = f"{key} is {size(int(value[key]))}: larger messages (pictures) are refused or lost"
            yield note(text, f"in {file}: {key} 0; {RESTART}", BROKER_FORGETS)
    if value["memory_limit"] not in ("0", ""):
        yield note(f"memory_limit {value['memory_limit']}: at it, messages are refused", f"in {file}: memory_limit 0")
    if value["max_qos"] == "0":
        yield bad("max_qos 0: nothing is acknowledged", f"in {file}: max_qos 2; {RESTART}", BROKER_FORGETS)


def _autosave(value: dict[str, str], file: str) -> Iterator[Finding]:
    interval = int(value["autosave_interval"]) if value["autosave_interval"].isdecimal() else 1800
    if _yes(value["autosave_on_changes"]):
        return
    if interval == 0 or interval > AUTOSAVE_S_MAX:
        when = "only when it ends in good order" if interval == 0 else f"every {duration(interval)}"
        text = f"Mosquitto writes what it holds {when}: a power cut loses what came since, acknowledged or not"
        yield note(text, f"in {file}: autosave_interval 60; {RESTART}", BROKER_FORGETS)


def _queue(facts: Facts, value: dict[str, str], file: str) -> Iterator[Finding]:
    most = int(value["max_queued_messages"]) if value["max_queued_messages"].isdecimal() else 0
    lasts = most / facts.per_s if facts.per_s else None
    if most and (lasts is None or lasts < AWAY_S):
        rate = f", which is {duration(lasts)} at the rate of now" if lasts is not None else ""
        text = (
            f"it keeps {most:,} messages for the gateway while that is away{rate}; what comes after is dropped unsaid"
        )
        yield note(text, f"in {file}: max_queued_messages 0; {RESTART}", BROKER_FORGETS)
    if not _yes(value["queue_qos0_messages"]) and facts.at_qos_0:
        text = f"messages of QoS 0 ({facts.at_qos_0:,} since the gateway's start) are not kept at all while it is away"
        yield note(text, f"in {file}: queue_qos0_messages true; better: edge-gateway doctor devices", SENDS_AT_QOS_0)


def _yes(word: str) -> bool:
    return word.lower() in ("true", "1", "yes")
