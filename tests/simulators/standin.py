"""A gateway small enough to be judged by reading it: it tries the rigs out.

``honest``: acknowledges a message when the cloud has acknowledged its event; ids follow from the reading.
``hasty``: acknowledges at once and sends a moment later, as scripts do. ``forgetful``: every start names its events
anew, and it acknowledges a moment late, so that each kill leaves some that the cloud has and the devices send again.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
import tomllib
from pathlib import Path

from simulators import traffic, wire

HOLD_S, HASTY_HOLD_S = 0.1, 0.5


def event(topic: str, payload: bytes, run: str) -> bytes:
    """Make the CloudEvent of a message."""
    device, reading = topic.rpartition("/")[2], json.loads(payload)
    return json.dumps(
        {
            "specversion": "1.0",
            "id": f"{run}-{device}-{reading['counter']}",
            "source": "/standin/house",
            "type": "temperature_changed",
            "subject": f"house/load:{device}",
            "data": {"temperature": reading["temperature"]},
        }
    ).encode()


def publishes(data: bytes) -> tuple[list[tuple[str, bytes, bytes]], bytes]:
    """Return (topic, payload, packet id) of each complete PUBLISH at QoS 1, and the rest."""
    found, used = [], 0
    for first, start, end in wire.packets(data):
        used = end
        if first & 0xF0 == wire.PUBLISH:
            body = start + 2 + int.from_bytes(data[start : start + 2], "big")
            found.append((data[start + 2 : body].decode(), data[body + 2 : end], data[body : body + 2]))
    return found, data[used:]


def serve(edge: socket.socket, cloud: socket.socket, mode: str) -> None:
    """Forward until killed."""
    run = f"{os.getpid()}" if mode == "forgetful" else "standin"
    from_edge = from_cloud = b""
    unanswered: dict[bytes, bytes] = {}
    held: list[tuple[float, str, bytes, bytes]] = []
    answers: list[tuple[float, bytes]] = []
    packet_id = 0
    while True:
        readable, _, _ = select.select([edge, cloud], [], [], 0.02)
        if edge in readable:
            messages, from_edge = publishes(from_edge + edge.recv(65_536))
            due = time.monotonic() + (HASTY_HOLD_S if mode == "hasty" else 0.0)
            held += [(due, *message) for message in messages]
            if mode == "hasty":
                edge.sendall(b"".join(b"\x40\x02" + message[2] for message in messages))
        if cloud in readable:
            from_cloud += cloud.recv(65_536)
            whole = len(from_cloud) // 4 * 4
            answered = [from_cloud[at + 2 : at + 4] for at in range(0, whole, 4) if from_cloud[at] == wire.PUBACK]
            from_cloud = from_cloud[whole:]
            due = time.monotonic() + (HOLD_S if mode == "forgetful" else 0.0)
            if mode != "hasty":
                answers += [(due, unanswered.pop(packet)) for packet in answered]
        while answers and answers[0][0] <= time.monotonic():
            edge.sendall(b"\x40\x02" + answers.pop(0)[1])
        while held and held[0][0] <= time.monotonic():
            _, topic, payload, edge_id = held.pop(0)
            packet_id = packet_id % 60_000 + 1
            unanswered[packet_id.to_bytes(2, "big")] = edge_id
            cloud.sendall(wire.publish(topic.replace("load/", "gw/"), event(topic, payload, run), packet_id))


def main() -> None:
    """Read the gateway's config and serve."""
    settings = tomllib.loads(Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
    source = wire.address_of(settings["sources"]["house"]["url"])
    target = wire.address_of(settings["targets"]["cloud"]["url"])
    cloud = wire.dial(*target, client_id="standin-cloud")
    edge = wire.dial(*source, client_id="standin-edge", clean=False, subscribe_to=traffic.TOPIC_FILTER)
    serve(edge, cloud, sys.argv[1])


if __name__ == "__main__":
    main()
