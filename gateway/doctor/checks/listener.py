"""The gateway's own listeners: whether the port is theirs, and who may come."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import msgspec

from gateway.codes.sources import NOT_LISTENING
from gateway.doctor.check import Subject
from gateway.doctor.finding import Finding, bad, ok
from gateway.doctor.scene import Scene
from gateway.sources.exposure import loopback

AREA = "broker"
KNOCK_S = 1.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "localhost": "127.0.0.1", "::": "::1"}  # noqa: S104 - to knock at


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one."""

    name: str
    host: str
    port: int
    state: str = ""  # as the running gateway says; empty: none answers
    error: str = ""
    clients: int | None = None
    taken: bool = False  # somebody answers there, and no gateway runs
    mosquitto: bool = False  # which may be that somebody
    tls: bool = False


def subjects(scene: Scene) -> list[Subject]:
    """Return the sources that listen."""
    if scene.config is None:
        return []
    every = scene.config.sources.items()
    return [
        Subject(f"source {name}", (name, each))
        for name, each in every
        if hasattr(each, "port") and hasattr(each, "host")
    ]


def look(scene: Scene, subject: Subject) -> Facts:
    """Ask the running gateway; without one, knock."""
    name, options = subject.about
    facts = Facts(name=name, host=options.host, port=options.port, tls=options.certificate is not None)
    if scene.status is not None:
        source = next((each for each in scene.status.sources if each.name == name), None)
        if source is None:
            return facts
        return msgspec.structs.replace(facts, state=source.state, error=source.last_error or "", clients=source.clients)
    host = EVERYWHERE.get(options.host, options.host)
    try:
        socket.create_connection((host, options.port), KNOCK_S).close()
    except OSError:
        return facts
    return msgspec.structs.replace(facts, taken=True, mosquitto=bool(scene.processes("mosquitto")))


def judge(facts: Facts) -> Iterator[Finding]:
    """Say whether devices can come."""
    where = f"{facts.host} port {facts.port}"
    who = "this machine only" if loopback(facts.host) else "the network"
    if facts.taken:
        text = f"{where}: another program listens there{', probably Mosquitto' if facts.mosquitto else ''}"
        mosquitto = 'or use it: url = "mqtt://localhost" instead of listen =' if facts.mosquitto else "another port"
        yield bad(text, f"sudo ss -ltnp 'sport = :{facts.port}'; {mosquitto}", NOT_LISTENING)
    elif facts.state and facts.state != "listening":
        yield bad(f"{where}: {facts.error or facts.state}", f"sudo ss -ltnp 'sport = :{facts.port}'", NOT_LISTENING)
    elif facts.state:
        clients = f", {facts.clients} connected" if facts.clients is not None else ""
        yield ok(f"{where}: listens for {who}{' with TLS' if facts.tls else ''}{clients}")
    else:
        yield ok(f"{where} is free, for {who}; the gateway does not run")
