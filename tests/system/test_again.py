"""Sending again what was delivered or refused before: replays, mended profiles, questions about the past."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from simulators.subject import PROFILES
from tests.mqtt.broker import Broker
from tests.system.rig import (
    House,
    acknowledged,
    broker_target,
    delivered,
    device,
    own_listener,
    readings,
    running,
    until,
    watching,
)

PROFILE = """\
schema = 1
id = "mended"
title = "A meter that says how warm it is"
device_class = "thermostat"

[device]
id = "mended:{device}"

[[message]]
topics = ["mended/{device}"]
format = "text"
fields = [{ name = "temperature"@MAP@ }]
"""


def test_a_replay_survives_kill_and_start_and_moves_no_cursor(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """One device's hour goes out again while the gateway is killed; live events arrive meanwhile, once, unmarked."""
    broker = mosquitto()
    port, source = own_listener()
    house = House(tmp_path / "gw", source, broker_target(broker.url))
    with watching(broker.port) as cloud, running(house), device(port) as sender:
        assert acknowledged([info for name in ("hall", "attic") for info in sender.count(name, range(400))])
        until(lambda: sum(map(len, readings(cloud.arrived).values())) == 800)
        delivered(house)
        house.ask("flush")  # the route's cursor is on the disk: the kill repeats nothing of its own
        query = ("--route", "cloud", "--since", "1h", "--device", "hall")
        found = house.json("replay", *query, "--dry-run")
        assert (found["events"], found["over"], found["kept_since"]) == (400, True, None)
        before = list(cloud.arrived)

        number = house.json("replay", *query, "--per-second", "200", "--background")["number"]
        until(lambda: len(cloud.arrived) > len(before) + 50)
        house.kill()
        house.begin()
        sender.online()
        assert acknowledged(sender.count("attic", range(400, 420)))
        row = until(lambda: row if (row := house.json("replay", "list")[-1])["state"] == "done" else None)
        assert (row["number"], row["total"], row["sent"], row["gone"]) == (number, 400, 400, 0)
        until(lambda: readings(cloud.arrived)["attic"] == list(range(420)))

        arrived = [event for event in cloud.arrived if event["type"] == "reading_taken"]  # not what was asked of us
        again = [event for event in arrived if event.get("replayed")]
        assert {event["id"] for event in again} == {e["id"] for e in before if e.get("subject", "").endswith("hall")}
        assert {event["subject"] for event in again} == {"house/load:hall"}
        live = Counter(event["id"] for event in arrived if not event.get("replayed"))
        assert len(live) == 820
        delivered(house)

        past = house.events("--device", "hall", "--since", "1h")
        house.kill()
        (house.state / "history").unlink(missing_ok=True)
        assert house.events("--device", "hall", "--since", "1h") == past, "without a gateway and its index"
        assert len(past) == 400


def test_a_mended_profile_decodes_what_was_set_aside(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """A message that its profile did not understand is decoded once the profile is mended, at the time it came."""
    broker = mosquitto()
    port, source = own_listener()
    house = House(tmp_path / "gw", source, broker_target(broker.url))
    profiles = tmp_path / "profiles"
    shutil.copytree(PROFILES, profiles)
    (profiles / "mended.toml").write_text(PROFILE.replace("@MAP@", ""))
    house.file.write_text(house.file.read_text().replace(str(PROFILES), str(profiles)))
    with watching(broker.port) as cloud, running(house):
        with device(port) as sender:
            sender.tell("mended/stove", "21.5")
            sender.tell("mended/stove", "warm")
            sender.tell("mended/stove", "22.5")
        (letter,) = until(lambda: house.json("dead-letters", "list"))
        assert house("dead-letters", "retry", letter["id"]).code == 1
        delivered(house)
        house.ask("flush")  # as above
        house.kill()
        (profiles / "mended.toml").write_text(PROFILE.replace("@MAP@", ', map = { "warm" = 40 }'))
        house.begin()
        said = house.json("dead-letters", "retry", "--device", "mended/*")
        assert [(row["state"], row["events"]) for row in said] == [("decoded", 1)]
        of_stove = partial(filter, lambda event: event.get("subject") == "house/mended:stove")
        *_, late = until(lambda: found if len(found := list(of_stove(cloud.arrived))) == 3 else None)
        assert (late["data"]["temperature"], late["time"]) == (40, letter["time"])
        assert house.json("dead-letters", "list") == []
        assert house.ask("table", name="values")["house/mended:stove"]["temperature"] == 22.5, "what is newer stays"
        assert house.json("dead-letters", "retry", letter["id"])["tried"] is False
