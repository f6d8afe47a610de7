"""Profiles of a running gateway: a saved file counts from the next message on, a broken one changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from gateway.actors import by_file
from simulators.subject import PROFILES
from tests.mqtt.broker import Broker
from tests.system.rig import House, broker_source, broker_target, device, running, until, watching

METER = """schema = 1
id = "meter"
title = "A meter"
device_class = "thermostat"
[device]
id = "meter:{device}"
[[message]]
topics = ["@WAY@/{device}"]
format = "text"
fields = [{ name = "temperature", scale = @SCALE@ }]
"""


def test_a_saved_profile_is_live_and_a_broken_one_keeps_the_last_good(
    tmp_path: Path, mosquitto: Callable[..., Broker]
) -> None:
    """A profile that is changed while messages flow is swapped whole and subscribed to; a broken one is refused."""
    broker = mosquitto()
    house = House(tmp_path / "gw", broker_source(broker.url), broker_target(broker.url))
    profiles = tmp_path / "profiles"
    shutil.copytree(PROFILES, profiles)
    file = profiles / "meter.toml"

    def save(scale: str, way: str = "meter") -> None:
        fresh = file.with_suffix(".new")
        fresh.write_text(METER.replace("@SCALE@", scale).replace("@WAY@", way))
        fresh.rename(file)

    def values() -> list[float]:
        return [e["data"]["temperature"] for e in cloud.arrived if e.get("subject") == "house/meter:stove"]

    save("1")
    house.file.write_text(house.file.read_text().replace(str(PROFILES), str(profiles)))
    with watching(broker.port, "gw/#") as cloud, running(house), device(broker.port) as sender:
        sender.tell("meter/stove", "20")
        until(lambda: values() == [20])

        save("10")
        since = until(lambda: house.status()["profiles"].get("since"))
        sender.tell("meter/stove", "3")
        until(lambda: values() == [20, 30])
        assert house.ask("table", name="values")["house/meter:stove"]["temperature"] == 30

        save('"much"')
        (fault,) = until(lambda: house.status()["profiles"]["faults"])
        assert "meter.toml:10: 'scale': Expected `float`, got `str`" in fault
        assert house.status()["profiles"]["since"] == since
        assert "the profiles as they were still count" in house.said()
        sender.tell("meter/stove", "4")
        until(lambda: values() == [20, 30, 40])

        save("100", way="moved")  # another topic: the broker is asked for it
        until(lambda: house.status()["profiles"]["since"] != since and not house.status()["profiles"]["faults"])

        def arrives() -> bool:
            sender.tell("moved/stove", "5")
            return 500 in values()

        until(arrives)
        (changed, *_) = house.events("--type", "profiles_changed")
        assert (changed["data"]["profiles"], changed["actor"]) == (["meter"], by_file(file))
        assert house.status().get("unread", []) == []
