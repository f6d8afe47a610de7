"""A device that posts: its answer 200 means that the event is on the disk, over a kill, too."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Callable
from pathlib import Path

from simulators.processes import free_port
from tests.mqtt.broker import Broker
from tests.system.rig import House, broker_target, readings, running, until, watching

NUMBERS = 60


def post(port: int, number: int, **headers: str) -> int:
    """Post a reading; return the status, 0 when there was no answer."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        body = json.dumps({"temperature": number})
        client.request("POST", "/load/meter/hall", body, {"Idempotency-Key": str(number), **headers})
        return client.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        client.close()


def test_what_was_answered_is_kept_over_kills(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """Killed right behind an answer, again and again: every 200 is at the cloud, once, and the log has no password."""
    cloud_broker, port = mosquitto(), free_port()
    folder = tmp_path / "gw"
    folder.mkdir()
    (folder / "pw").write_text("gate-password\n")
    source = f'[sources.web]\nhttp = "127.0.0.1:{port}"\nusers.cam = {{ file = "pw" }}\n'
    login = {"Authorization": "Basic " + base64.b64encode(b"cam:gate-password").decode()}
    house = House(folder, source, broker_target(cloud_broker.url))
    with watching(cloud_broker.port) as cloud, running(house):
        until(lambda: post(port, 0) == 401)
        for number in range(NUMBERS):
            assert post(port, number, **login) == 200
            if number % 20 == 19:
                house.kill()
                house.end()
                house.begin()
                # its answer may have been lost: it is said again, and is no second event
                until(lambda said=number: post(port, said, **login) == 200)
        until(lambda: readings(cloud.arrived).get("hall") == list(range(NUMBERS)), lambda: readings(cloud.arrived))
        (status,) = house.status()["sources"]
        assert (status["kind"], status["state"], status["where"]) == ("http", "listening", f"127.0.0.1:{port}")
        assert house.stop() == 0
    assert "gate-password" not in house.said()
    assert login["Authorization"] not in house.said()
