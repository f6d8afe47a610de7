"""Pictures of a camera in the running gateway: on the disk before their events, at the cloud before them, too."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulators.cloud_http import CloudHttp
from tests.mqtt.broker import Broker
from tests.system.rig import House, broker_source, device, running, until

TOPIC = "frigate/drive/person/snapshot"
PICTURES = [b"\xff\xd8\xff\xe0" + bytes([number]) * 3000 + b"\xff\xd9" for number in range(5)]


def taken(cloud: CloudHttp) -> dict[str, dict[str, Any]]:
    """Return what the cloud knows of snapshots, by the ids of their events."""
    return {event["id"]: event["data"] for event in list(cloud.accepted) if event["type"] == "snapshot_taken"}


def test_pictures_are_kept_and_leave_before_their_events(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """Acknowledged and killed at once: event and picture are there; the cloud has the picture first, each once."""
    edge = mosquitto()
    with CloudHttp() as cloud:
        target = f'[targets.cloud]\ntype = "http"\nurl = "{cloud.url}"\nblobs = "/pictures/{{sha256}}"\n'
        house = House(tmp_path / "gw", broker_source(edge.url), target)
        with running(house), device(edge.port) as camera:
            for picture in PICTURES[:3]:
                camera.tell(TOPIC, picture)
            until(lambda: len(house.events("--type", "snapshot_taken")) == 3)
            house.kill()
            house.end()
            house.begin()
            camera.tell(TOPIC, PICTURES[0])
            camera.tell(TOPIC, b"\x89PNG no jpeg")
            until(lambda: len(taken(cloud)) == 4)
            hashes = [hashlib.sha256(picture).hexdigest() for picture in PICTURES]
            assert cloud.put == {f"/pictures/{hashes[n]}": PICTURES[n] for n in range(3)}
            assert sorted(data["sha256"] for data in taken(cloud).values()) == sorted([*hashes[:3], hashes[0]])
            assert all(set(data) == {"mime", "bytes", "sha256", "label"} for data in taken(cloud).values())

            cloud.put_status = 413  # it takes no pictures any more: the event is not to blame
            camera.tell(TOPIC, PICTURES[3])
            until(lambda: len(taken(cloud)) == 5)
            status = house.status()
            assert status["routes"][0]["dead_lettered"] == 0
            assert (status["blobs"]["count"], status["blobs"]["failed"]) == (4, 0)
            assert len(house.json("blobs", "list")) == 4
            file = tmp_path / "door.jpg"
            assert house("blobs", "get", hashes[1][:10], "-o", str(file)).code == 0
            assert file.read_bytes() == PICTURES[1]
            assert house("blobs", "get", hashes[4][:10]).code == 1
            letters = house.events("--lane", "dead_letter")
            assert [letter["data"]["reason"] for letter in letters] == [
                "not image/jpeg: it begins with 89504e47, not ffd8ff"
            ]
            assert house.stop() == 0


def test_without_room_events_say_so(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """A picture larger than all may be: the event goes on, with `kept` false; with bytes_max = 0 nothing is tried."""
    edge = mosquitto()
    house = House(tmp_path / "gw", broker_source(edge.url), "[blobs]\nbytes_max = 2000\n")
    with running(house), device(edge.port) as camera:
        camera.tell(TOPIC, PICTURES[0])
        (event,) = until(lambda: house.events("--type", "snapshot_taken"))
        assert event["data"]["kept"] is False
        assert house.status()["blobs"]["failed"] == 1
        assert house.stop() == 0
