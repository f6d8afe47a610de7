"""Rules in the running gateway: what they are for, what bad ones may not do, and what kills may not change."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any

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

SHIPPED = Path(__file__).parents[2] / "rules" / "catalogue"
FRONT, SIREN = "zigbee2mqtt/front", "shellies/shelly1-5/relay/0"
DEVICES = """\
[[device]]
id = "house/z2m:front"
name = "front-door"
kind = "door"

[[device]]
id = "house/shelly:shelly1-5/relay/0"
name = "siren-hall"
kind = "siren"

[[device]]
id = "house/load:bed"

[[device]]
id = "house/load:spin"

[[device]]
id = "house/load:quit"
"""
BEDTIME = """\
from gateway.rules import rule

@rule("reading_taken", device="house/load:bed")
def bedtime(event, ctx):
    ctx.set_mode("night")
"""
LOOPS = """\
from gateway.rules import rule

@rule("reading_taken", device="house/load:spin")
def loops(event, ctx):
    while True:
        pass
"""
EXITS = """\
import os
from gateway.rules import rule

@rule("reading_taken", device="house/load:quit")
def exits(event, ctx):
    os._exit(3)
"""
LEAVES = """\
import os

os._exit(0)
"""
HANGS = """\
import time

time.sleep(60)
"""
BROKEN = """\
from gateway.rules import rule

@rule("reading_taken")
def broken(event ctx):
    pass
"""
NUMBERING = """\
from gateway.rules import rule

@rule("reading_taken", device="house/load:hall")
def numbering(event, ctx):
    number = int(event["temperature"])
    ctx.state["calls"] = ctx.state.get("calls", 0) + 1
    if number % 2 == 0:
        ctx.alert(f"reading {number}", key=f"n{number}", lane="alarm")
        ctx.emit("numbered", {"number": number, "calls": ctx.state["calls"]})
"""
NUMBERS = 600
PACE_S = 0.002  # between two readings: the worker is seldom in a call
QUARANTINED = "rule_quarantined"
KILLS = ("worker", "gateway", "worker", "gateway")


def alerts(events: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Return the ids of alerts that rules raised, by key: not the gateway's own about a rule.

    A worker that is killed while a rule runs has that rule to blame; the rule goes on when its quarantine is over.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for event in list(events):
        if event["type"] == "alert_raised" and event["data"]["alert"] != "rule_quarantined":
            found[event["data"]["alert"]].add(event["id"])
    return dict(found)


def worker(house: House) -> int:
    """Return the process id of the rule worker."""
    assert house.session is not None
    for pid in house.session.pids():
        try:
            if Path(f"/proc/{pid}/comm").read_text().strip() == "edge-rules":
                return pid
        except OSError:
            continue
    return 0


def test_an_alarm_leaves_and_a_command_arrives_whatever_other_rules_do(
    tmp_path: Path, mosquitto: Callable[..., Broker]
) -> None:
    """A door at night: alarm to the cloud, siren on, while other files loop, exit and don't parse, named file:line."""
    edge, cloud_broker = mosquitto(), mosquitto()
    rules = tmp_path / "gw" / "rules"
    rules.mkdir(parents=True)
    shutil.copy(SHIPPED / "night_watch.py", rules)
    files = {"bedtime": BEDTIME, "loops": LOOPS, "exits": EXITS, "leaves": LEAVES, "hangs": HANGS, "broken": BROKEN}
    for name, text in files.items():
        (rules / f"{name}.py").write_text(text)
    (tmp_path / "gw" / "devices.toml").write_text(DEVICES)
    limits = "[rules]\ncall_s_max = 2\nload_s_max = 2\n"
    house = House(tmp_path / "gw", broker_source(edge.url), broker_target(cloud_broker.url), limits)
    with (
        watching(cloud_broker.port) as cloud,
        watching(edge.port, f"{SIREN}/command") as siren,
        running(house),
        device(edge.port) as sender,
    ):
        until(lambda: house.status()["rules"]["state"] == "running", house.status)
        sender.tell("load/meter/spin", {"temperature": 1})
        sent = sender.count("hall", range(50))
        sender.tell("load/meter/quit", {"temperature": 1})
        sent += sender.count("hall", range(50, 100))
        assert acknowledged(sent)
        until(lambda: readings(cloud.arrived).get("hall") == list(range(100)), "forwarding goes on")
        assert not alerts(cloud.arrived).get("night_watch")

        sender.tell(FRONT, {"contact": True})
        sender.tell(SIREN, "off")
        sender.tell("load/meter/bed", {"temperature": 1})
        until(lambda: any(event["type"] == "mode_changed" for event in cloud.arrived))
        sender.tell(FRONT, {"contact": False})
        until(lambda: alerts(cloud.arrived).get("night_watch"), lambda: cloud.arrived)
        until(lambda: siren.topics)
        assert (set(siren.topics), set(siren.raw)) == ({f"{SIREN}/command"}, {b"on"})  # again until it says it is
        alarm = next(event for event in cloud.arrived if event["data"].get("alert") == "night_watch")
        assert (alarm["lane"], alarm["data"]["text"]) == ("alarm", "front-door opened while night")

        status = until(lambda: found if len((found := house.status())["rules"]["quarantined"]) == 2 else None)
        reasons = {each["name"]: each["reason"] for each in status["rules"]["quarantined"]}
        assert re.search(r"did not return within 2 s \(.*loops.py:[56]\)", reasons["loops"]), reasons
        assert re.search(r"exit status 3 \(.*exits.py:4\)", reasons["exits"]), reasons
        faults = "\n".join(status["rules"]["faults"])
        assert re.search(r"broken.py:4: not Python", faults), faults
        assert re.search(r"leaves.py:1: loading it ended the worker with exit status 0", faults), faults
        assert re.search(r"hangs.py:3: loading it did not return within 2 s", faults), faults
        for name in ("leaves", "hangs"):
            (rules / f"{name}.py").unlink()  # `rules list` would run them, too
        listed = house.json("rules", "list")
        assert [(Path(f["file"]).name, f["line"]) for f in listed["faults"]] == [("broken.py", 4)]
        assert f"{rules}/broken.py:4" in house("rules", "list").out
        assert house.stop() == 0


def test_kills_of_worker_and_gateway_lose_and_double_no_alert(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """SIGKILL of the rule worker and of the gateway in a stream: each alert is at the cloud under exactly one id."""
    edge, cloud_broker = mosquitto(), mosquitto()
    rules = tmp_path / "gw" / "rules"
    rules.mkdir(parents=True)
    (rules / "numbering.py").write_text(NUMBERING)
    house = House(tmp_path / "gw", broker_source(edge.url), broker_target(cloud_broker.url))
    with watching(cloud_broker.port) as cloud, running(house), device(edge.port) as sender:
        sent, share = [], NUMBERS // (len(KILLS) + 1)
        for part, victim in enumerate((*KILLS, None)):
            pid = until(lambda: worker(house), "a worker runs")
            until(lambda: house.status()["rules"]["state"] == "running", house.status)
            for number in range(part * share, (part + 1) * share):
                sent += sender.count("hall", range(number, number + 1))
                if victim == "worker":
                    sleep(PACE_S)
                    if number % share == share // 2:
                        os.kill(pid, signal.SIGKILL)
            if victim == "gateway":  # with as much behind the rules as a burst leaves there
                until(lambda first=part * share: len(readings(cloud.arrived).get("hall", ())) > first)
                house.kill()
                house.end()
                house.begin()
        assert acknowledged(sent)
        wanted = {f"n{number}" for number in range(0, NUMBERS, 2)}
        until(lambda: alerts(cloud.arrived).keys() >= wanted, lambda: wanted - alerts(cloud.arrived).keys())
        until(lambda: house.status()["routes"][0]["backlog"] == 0)
        until(lambda: readings(cloud.arrived) == {"hall": list(range(NUMBERS))}, lambda: readings(cloud.arrived))
        journalled = house.events("--type", "alert_raised", "--type", "numbered")
        assert house.stop() == 0
    found = alerts(cloud.arrived)
    found.pop(QUARANTINED, None)  # when the worker was killed in the middle of a call
    assert found.keys() == wanted
    assert {key: len(ids) for key, ids in found.items() if len(ids) != 1} == {}
    assert found.items() <= alerts(journalled).items(), "the journal has each once, under the same id"
    raised = [event for event in journalled if event["type"] == "alert_raised"]
    assert len([event for event in raised if event["data"]["alert"] in wanted]) == len(wanted)
    calls = {event["data"]["number"]: event["data"]["calls"] for event in journalled if event["type"] == "numbered"}
    assert calls.keys() == set(range(0, NUMBERS, 2))
    assert len(set(calls.values())) == len(calls), "state and outputs are of one piece"
    assert NUMBERS - 1 <= max(calls.values()) <= NUMBERS, "each call counted once"
