"""Brokers that are sources: reached, let in, allowed to subscribe, and set so that they lose nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.doctor.brokers import Facts, answered, not_let_in, settings
from gateway.doctor.check import Subject
from gateway.doctor.finding import Finding, note, ok
from gateway.doctor.mosquitto import settings_of
from gateway.doctor.scene import Scene
from gateway.doctor.servers import unreached, worth_knowing
from gateway.doctor.visit import call_on
from gateway.mqtt.options import ConnectionOptions

AREA = "broker"


def subjects(scene: Scene) -> list[Subject]:
    """Return the sources that are brokers."""
    if scene.config is None:
        return []
    brokers = ((name, each) for name, each in scene.config.sources.items() if isinstance(each, ConnectionOptions))
    return [Subject(f"source {name}", (name, options)) for name, options in brokers]


def look(scene: Scene, subject: Subject) -> Facts:
    """Go there, ask, and read its settings where it is on this machine."""
    name, options = subject.about
    address = options.address
    facts = _known(scene, name, Facts(name=name, url=str(address)))
    base = options.client_id or f"{scene.config.gateway.name if scene.config else 'gateway'}-{name}"
    found, said = call_on(options, base, tuple(options.filters), session=True, probe=scene.probe)
    here = found is not None and found.local and not found.failed
    its = settings_of(address.port, scene.roots) if here else None
    return msgspec.structs.replace(facts, reach=found, visited=said, settings=its)


def judge(facts: Facts) -> Iterator[Finding]:
    """Say whether its messages arrive, and whether it keeps them meanwhile."""
    if facts.reach is not None and facts.reach.failed:
        yield from unreached(facts.reach)
        return
    if facts.visited is None or not facts.visited.connected:
        yield not_let_in(facts)
        yield from settings(facts)
        return
    findings = [*(worth_knowing(facts.reach) if facts.reach else ()), *answered(facts), *settings(facts)]
    what = facts.visited.heard.get("$SYS/broker/version", "").removeprefix("mosquitto version ")
    kind = f"Mosquitto {what}" if what else "the broker"
    back = f", our message came back in {facts.visited.came_back_s * 1000:.1f} ms" if facts.visited.came_back_s else ""
    yield ok(f"{facts.url}: {kind} lets us in over MQTT {facts.visited.version}{back}", **_figures(facts))
    yield from findings
    if facts.settings is None and not findings:
        text = "what it keeps while the gateway is away cannot be seen from here"
        command = (
            "on its machine: grep -E '^(persistence|autosave|max_queued|queue_qos0)' /etc/mosquitto/mosquitto.conf"
        )
        yield note(text, command)


def _figures(facts: Facts) -> dict[str, Any]:
    assert facts.visited is not None
    limits = facts.visited.limits
    named = {name: getattr(limits, name) for name in limits.__struct_fields__}
    return {"mqtt": facts.visited.version, "limits": {name: value for name, value in named.items() if value}}


def _known(scene: Scene, name: str, facts: Facts) -> Facts:
    """Add what the running gateway knows of a source."""
    status = scene.status
    source = next((each for each in status.sources if each.name == name), None) if status is not None else None
    if status is None or source is None:
        return facts
    per_s = source.received / status.uptime_s if status.uptime_s > 60 and source.received else None
    return msgspec.structs.replace(
        facts,
        gateway_connected=source.state == "connected",
        per_s=per_s,
        at_qos_0=source.qos.get("0", 0),
        refused=dict(source.detail.get("refused_filters", {})),
    )
