"""Targets: how far one gets (name, port, TLS, login), and where it ends. No event is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec

from gateway.codes.targets import BROKER_IS_OLD, ROUTE_DOWN, ROUTE_REFUSED
from gateway.doctor.check import Subject
from gateway.doctor.finding import Finding, bad, note, ok
from gateway.doctor.reach import Reach, reach
from gateway.doctor.scene import NET_S_MAX, Scene
from gateway.doctor.servers import unreached, worth_knowing
from gateway.doctor.visit import VISIT_S_MIN, Visited, call_on
from gateway.doctor.web import Answered, options_of
from gateway.mqtt.options import ConnectionOptions
from gateway.mqtt.packet import Reason
from gateway.secrets import ONLY_ROOT

AREA = "cloud"
OK_STATES = ("up", "starting")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one target."""

    url: str  # without what may be secret in it
    kind: str  # mqtt, http
    reach: Reach | None = None
    visited: Visited | None = None
    answered: Answered | None = None
    gateway_up: bool = False  # the running gateway delivers to it


def subjects(scene: Scene) -> list[Subject]:
    """Return the targets."""
    if scene.config is None:
        return []
    return [Subject(f"target {name}", (name, options)) for name, options in scene.config.targets.items()]


def look(scene: Scene, subject: Subject) -> Facts:
    """Go there."""
    name, options = subject.about
    routes = [each for each in scene.status.routes if each.target == name] if scene.status is not None else []
    up = any(route.state == "up" for route in routes)
    if isinstance(options, ConnectionOptions):
        return _broker(scene, name, options, Facts(url=str(options.address), kind="mqtt", gateway_up=up))
    parts = urlsplit(options.url)
    host, tls = parts.hostname or "", parts.scheme == "https"
    found = reach(host, parts.port or (443 if tls else 80), options.tls if tls else None, NET_S_MAX)
    facts = Facts(url=f"{parts.scheme}://{parts.hostname}{parts.path}", kind="http", reach=found, gateway_up=up)
    if found.failed:
        return facts
    return msgspec.structs.replace(
        facts, answered=asyncio.run(options_of(options, max(VISIT_S_MIN, NET_S_MAX - found.seconds)))
    )


def judge(facts: Facts) -> Iterator[Finding]:
    """Say where it ends."""
    if facts.reach is not None and facts.reach.failed:
        yield from unreached(facts.reach)
        return
    if facts.kind == "mqtt":
        yield from _mqtt(facts)
    else:
        yield from _http(facts)
    if facts.reach is not None:
        yield from worth_knowing(facts.reach)


def _broker(scene: Scene, name: str, options: ConnectionOptions, facts: Facts) -> Facts:
    base = options.client_id or f"{scene.config.gateway.name if scene.config else 'gateway'}-{name}"
    found, said = call_on(options, base)
    return msgspec.structs.replace(facts, reach=found, visited=said)


def _mqtt(facts: Facts) -> Iterator[Finding]:
    said = facts.visited
    assert said is not None
    if said.connected:
        tls = f" with {facts.reach.tls_version}" if facts.reach is not None and facts.reach.tls_version else ""
        limits = said.limits
        yield ok(f"{facts.url} lets us in over MQTT {said.version}{tls} in {said.seconds * 1000:.0f} ms{_days(facts)}")
        if limits.maximum_qos == 0:
            yield bad("it knows QoS 0 only: what was delivered is never acknowledged", "another broker", ROUTE_REFUSED)
        if said.version == "3.1.1":
            yield note("it knows MQTT 3.1.1 only: refusals of single events go unseen", "", BROKER_IS_OLD)
    elif facts.gateway_up:
        yield ok(f"{facts.url}: the gateway delivers to it; a second client was not let in ({said.why})")
    elif said.ours and ONLY_ROOT in said.why:
        yield note(
            f"{facts.url}: you may not read its credential, so it was not asked", "sudo edge-gateway doctor cloud"
        )
    elif said.ours:
        yield bad(f"no credentials: {said.why}", "edge-gateway doctor credentials", ROUTE_REFUSED)
    elif said.refused:
        text = f"{facts.url} does not let us in: {said.why}"
        command = "user name, password or certificate in gateway.toml, and the policy there"
        if said.reason_code in (Reason.NOT_AUTHORIZED, Reason.CLIENT_IDENTIFIER_NOT_VALID):
            command += "; or it lets in known client ids only: start the gateway, and see edge-gateway status"
        yield bad(text, command, ROUTE_REFUSED)
    else:
        text = f"{facts.url} takes the connection and does not answer in MQTT: {said.why}"
        yield bad(
            text, "is it the port for MQTT, and TLS as it wants it? Some hang up when a policy forbids", ROUTE_DOWN
        )


def _http(facts: Facts) -> Iterator[Finding]:
    said = facts.answered
    assert said is not None
    if said.error:
        yield bad(
            f"{facts.url}: {said.error}",
            "edge-gateway doctor credentials" if said.ours else "edge-gateway status",
            ROUTE_DOWN,
        )
    elif said.status in (401, 403, 407) and not facts.gateway_up:
        what = "our proxy" if said.status == 407 else "it"
        text = f"{facts.url} answers {said.status}: {what} does not take our credentials"
        yield bad(text, "bearer or headers in gateway.toml, and what they may do there", ROUTE_REFUSED)
    elif said.status in (404, 410) and not facts.gateway_up:
        yield note(f"{facts.url} answers {said.status} to OPTIONS: is the path right?", "", ROUTE_REFUSED)
    elif said.status >= 500:
        yield note(f"{facts.url} answers {said.status}: it is there, and not well", "tell whoever runs it", ROUTE_DOWN)
    else:
        delivers = ", and the gateway delivers to it" if facts.gateway_up else ""
        yield ok(
            f"{facts.url} answers ({said.status} to OPTIONS) in {said.seconds * 1000:.0f} ms{delivers}{_days(facts)}"
        )
    if said.ahead_s is not None and abs(said.ahead_s) > 300:
        way = "behind" if said.ahead_s > 0 else "ahead of"
        yield note(
            f"the clock here is {abs(said.ahead_s):,.0f} s {way} its: signed requests are refused",
            "edge-gateway doctor clock",
        )


def _days(facts: Facts) -> str:
    if facts.reach is None or not facts.reach.chain:
        return ""
    return f", its certificate has {facts.reach.chain[0].days_left(facts.reach.now_s):,.0f} days left"
