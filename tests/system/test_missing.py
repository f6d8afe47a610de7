"""A start with things missing or broken: the rest runs, and says what does not."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from simulators.processes import free_port
from tests.mqtt.broker import Broker
from tests.system.rig import (
    House,
    acknowledged,
    broker_target,
    device,
    own_listener,
    readings,
    running,
    until,
    watching,
)

RULE = """\
from gateway.rules import rule


@rule("opened")
def broken(event, ctx)
    pass
"""
WELL = """\
from gateway.rules import every


@every("1h")
def well(ctx):
    \"\"\"Do nothing.\"\"\"
"""


def test_one_broken_part_of_each_kind_stops_nothing_else(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """Broken: source, target, route, profile, rule; away: broker, serial port, cloud: what is left carries events."""
    broker = mosquitto()
    port, source = own_listener()
    away = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        parts = (
            source,
            f'[sources.broker]\nurl = "mqtt://127.0.0.1:{away}"\n',
            '[sources.port]\nserial = "/dev/serial/by-id/not-plugged-in"\nprofile = "mysensors"\n',
            '[sources.odd]\nserial = "/dev/ttyUSB9"\nprofile = "nobody"\n',
            f'[sources.web]\nhttp = "127.0.0.1:{taken.getsockname()[1]}"\n',
            '[sources.typo]\nlissen = "127.0.0.1:1"\n',
            broker_target(broker.url),
            f'[targets.gone]\ntype = "http"\nurl = "http://127.0.0.1:{away}/"\n',
            '[targets.odd]\ntype = "htpp"\n',
            '[routes.cloud]\nto = "cloud"\n[routes.gone]\nto = "gone"\n[routes.odd]\nto = "odd"\n',
            '[routes.typo]\nto = "cloud"\nlanes = ["alarms"]\n',
        )
        house = House(tmp_path / "gw", *parts)
        house.file.write_text(house.file.read_text().replace('profiles = ["', 'profiles = ["mine", "', 1))
        for name, text in {
            "rules/broken.py": RULE,
            "rules/well.py": WELL,
            "mine/bad.toml": "id = 'bad'\nx = 1\n",
        }.items():
            (house.folder / name).parent.mkdir(exist_ok=True)
            (house.folder / name).write_text(text)
        with watching(broker.port) as cloud, running(house), device(port) as sender:
            assert acknowledged(sender.count("hall", range(20)))
            until(lambda: readings(cloud.arrived).get("hall") == list(range(20)), lambda: cloud.arrived)
            until(lambda: [each for each in cloud.arrived if each["type"] == "parts_left_out"])
            status = until(lambda: found if (found := house.status())["rules"]["loaded"] == 1 else None, house.status)
            assert sorted(part.partition(":")[0] for part in status["left_out"]) == [
                "profile bad", "route odd", "route typo", "source odd", "source typo", "target odd"
            ]  # fmt: skip
            up = {each["name"]: each["state"] for each in status["sources"]}
            assert up["house"] == "listening"
            assert set(up.values()) == {"listening", "connecting"}
            assert {each["name"] for each in status["routes"]} == {"cloud", "gone"}
            until(lambda: "broken.py:5" in str(house.status()["rules"]["faults"]), house.status)
            said = house("status")
            assert said.code == 1
            assert said.out.startswith("Left out: ")
            assert "EG-108" in said.out.splitlines()[0]
            assert house.stop() == 0
    (told,) = [each for each in cloud.arrived if each["type"] == "parts_left_out"]
    assert (told["lane"], told["data"]["count"]) == ("alarm", 6)


def test_events_of_a_route_that_is_broken_are_kept_for_it(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """A route with a fault, over two starts: what was acknowledged meanwhile is there when the fault is mended."""
    broker = mosquitto()
    port, source = own_listener()
    house = House(tmp_path / "gw", source, broker_target("mqtt://127.0.0.1:1"))
    right = house.file.read_text()
    with running(house), device(port) as sender:
        assert acknowledged(sender.count("hall", range(10)))
        assert house.stop() == 0
        house.file.write_text(right.replace('type = "mqtt"', 'type = "mqtt"\nurll = "x"'))
        for first in (10, 20):
            house.begin()
            assert [part.partition(":")[0] for part in house.status()["left_out"]] == ["target cloud", "route cloud"]
            assert acknowledged(sender.online().count("hall", range(first, first + 10)))
            assert {"route:cloud:alarm", "route:cloud:telemetry"} <= set(house.ask("table", name="cursors"))
            assert house.stop() == 0
        house.file.write_text(right.replace("mqtt://127.0.0.1:1", broker.url))
        with watching(broker.port) as cloud:
            house.begin()
            until(lambda: len(readings(cloud.arrived).get("hall", ())) >= 30, lambda: cloud.arrived)
            assert house.stop() == 0
    assert readings(cloud.arrived)["hall"] == list(range(30))


def test_a_config_that_cannot_be_read_is_no_start_and_78(tmp_path: Path) -> None:
    """TOML with a fault and nothing kept from before: 78, so that the service manager does not try again."""
    house = House(tmp_path / "gw", own_listener()[1])
    house.file.write_text("[gateway\n")
    refused = house("run")
    assert refused.code == 78
    assert f"{house.file}:1" in refused.err
