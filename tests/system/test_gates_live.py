"""Gates in the running gateway: what leaves, over kills and when nobody answers."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.mqtt.broker import Broker
from tests.system.rig import (
    House,
    acknowledged,
    broker_source,
    broker_target,
    device,
    readings,
    running,
    until,
    watching,
)
from tests.system.test_rules_live import worker

THIRDS = """\
from gateway.rules import gate, rule

@gate("reading_taken", device="house/load:hall")
def thirds(event, ctx):
    number = int(event["temperature"])
    return {0: False, 1: {**event.data, "seen": number}, 2: True}[number % 3]

@rule("reading_taken", device="house/load:hall")
def counting(event, ctx):
    ctx.emit("counted", {"number": int(event["temperature"])})
"""
SHUT = """\
from gateway.rules import gate

@gate("reading_taken", device="house/load:shut", fail="closed")
def shut(event, ctx):
    return True
"""
DEVICES = '[[device]]\nid = "house/load:hall"\n[[device]]\nid = "house/load:shut"\n'
NUMBERS = 300


def test_over_kills_each_event_leaves_once_or_never(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """A third is dropped, a third changed, a third goes; rules see all of them once; nobody answers: `fail` counts."""
    edge, cloud_broker = mosquitto(), mosquitto()
    rules = tmp_path / "gw" / "rules"
    rules.mkdir(parents=True)
    (rules / "thirds.py").write_text(THIRDS)
    (rules / "shut.py").write_text(SHUT)
    (tmp_path / "gw" / "devices.toml").write_text(DEVICES)
    house = House(tmp_path / "gw", broker_source(edge.url), broker_target(cloud_broker.url), "[rules]\ngate_s = 60\n")
    with watching(cloud_broker.port) as cloud, running(house), device(edge.port) as sender:
        sent = []
        for part in range(3):
            until(lambda: house.status()["rules"]["state"] == "running", house.status)
            sent += sender.count("hall", range(part * NUMBERS // 3, (part + 1) * NUMBERS // 3))
            if part < 2:
                until(lambda first=part * NUMBERS // 3: max(readings(cloud.arrived).get("hall", [0])) > first)
                house.kill()
                house.end()
                house.begin()
        assert acknowledged(sent)
        wanted = [number for number in range(NUMBERS) if number % 3]
        until(lambda: readings(cloud.arrived).get("hall") == wanted, lambda: readings(cloud.arrived))
        arrived = {event["id"]: event for event in cloud.arrived if event["type"] == "reading_taken"}
        assert len(arrived) == len(wanted)
        for event in arrived.values():
            number = int(event["data"]["temperature"])
            assert (event["gate"], event["data"].get("seen")) == (
                ("thirds", number) if number % 3 == 1 else ("open", None)
            )
            assert "held" not in event
        until(lambda: len({e["data"]["number"] for e in cloud.arrived if e["type"] == "counted"}) == NUMBERS)
        counted = {event["id"] for event in cloud.arrived if event["type"] == "counted"}
        assert len(counted) == NUMBERS, "rules see each event once, and no copy"
        assert house.status()["rules"]["gates"]["thirds"] == {
            "held": NUMBERS, "dropped": NUMBERS // 3, "changed": NUMBERS // 3
        }  # fmt: skip
        assert house.stop() == 0


def test_nobody_answers_in_time(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """The worker stands still: after the limit an event goes as it is, or is dropped where the gate says closed."""
    edge, cloud_broker = mosquitto(), mosquitto()
    rules = tmp_path / "gw" / "rules"
    rules.mkdir(parents=True)
    (rules / "thirds.py").write_text(THIRDS)
    (rules / "shut.py").write_text(SHUT)
    (tmp_path / "gw" / "devices.toml").write_text(DEVICES)
    house = House(tmp_path / "gw", broker_source(edge.url), broker_target(cloud_broker.url), "[rules]\ngate_s = 0.2\n")
    with watching(cloud_broker.port) as cloud, running(house), device(edge.port) as sender:
        until(lambda: house.status()["rules"]["state"] == "running", house.status)
        pid = until(lambda: worker(house), "a worker runs")
        os.kill(pid, signal.SIGSTOP)
        try:
            assert acknowledged([*sender.count("shut", range(1)), *sender.count("hall", range(1))])
            until(lambda: readings(cloud.arrived).get("hall") == [0], lambda: cloud.arrived)
        finally:
            with suppress(ProcessLookupError):  # it may be given up meanwhile, as it answers nothing
                os.kill(pid, signal.SIGCONT)
        assert acknowledged(sender.count("hall", range(2, 3)))
        until(lambda: 2 in readings(cloud.arrived)["hall"], lambda: cloud.arrived)
        found = [(event["subject"], event["gate"]) for event in cloud.arrived if event["type"] == "reading_taken"]
        assert found[0] == ("house/load:hall", "late")
        assert "house/load:shut" not in {subject for subject, _ in found}
        counts = house.status()["rules"]["gates"]
        assert counts["shut"] == {"held": 1, "late": 1, "dropped": 1}
        assert house.stop() == 0


def test_a_closed_gate_stays_closed_while_its_file_does_not_load(
    tmp_path: Path, mosquitto: Callable[..., Broker]
) -> None:
    """No good version is left and the file is broken: what the gate is about stays here until it loads again."""
    edge, cloud_broker = mosquitto(), mosquitto()
    rules = tmp_path / "gw" / "rules"
    rules.mkdir(parents=True)
    (rules / "shut.py").write_text(SHUT)
    (tmp_path / "gw" / "devices.toml").write_text(DEVICES)
    house = House(tmp_path / "gw", broker_source(edge.url), broker_target(cloud_broker.url), "[rules]\ngate_s = 60\n")
    with watching(cloud_broker.port) as cloud, running(house), device(edge.port) as sender:
        until(lambda: house.status()["rules"]["gates"].get("shut") is not None, house.status)
        assert house.stop() == 0
        shutil.rmtree(tmp_path / "gw" / "state" / "rules")
        (rules / "shut.py").write_text(SHUT.replace("return True", "return True)"))
        house.begin()
        until(lambda: house.status()["rules"]["shut"] == {"shut": "shut.py"}, house.status)
        assert acknowledged([*sender.count("shut", range(1, 2)), *sender.count("hall", range(1))])
        until(lambda: readings(cloud.arrived).get("hall") == [0], lambda: cloud.arrived)
        (rules / "shut.py").write_text(SHUT)
        until(lambda: not house.status()["rules"]["shut"], house.status)
        assert acknowledged(sender.count("shut", range(2, 3)))
        until(lambda: "shut" in readings(cloud.arrived), lambda: cloud.arrived)
        assert readings(cloud.arrived)["shut"] == [2]
        assert house.status()["rules"]["gates"]["shut"] == {"held": 2, "dropped": 1}
        assert house.stop() == 0
