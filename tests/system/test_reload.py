"""A reload changes what the files say and nothing else: no event is lost, no fault gets in, the rest runs on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from gateway.config.diff import ONWARDS
from simulators.processes import free_port, listening
from tests.mqtt.broker import Broker
from tests.system.rig import (
    House,
    acknowledged,
    broker_target,
    device,
    own_listener,
    readings,
    running,
    slow_link,
    until,
    watching,
)

ROUNDS = 7  # one of each change
A_ROUND = 40  # messages
RULE = """from gateway.rules import Context, Event, rule


@rule("reading_taken")
def {name}(event: Event, ctx: Context) -> None:
    pass
"""
NOT_A_CONFIG = ("[targets.cloud]\ntype = 'mqqt'\n", "[sources\n", "[routes.all]\nto = 'nowhere'\n")


def write(house: House, *parts: str) -> None:
    """Write gateway.d/change.toml: what is merged over the config of the house."""
    folder = house.folder / "gateway.d"
    folder.mkdir(exist_ok=True)
    (folder / "change.toml").write_text("\n".join(parts))


def reload(house: House) -> dict[str, Any]:
    """Reload and return what came of it."""
    outcome: dict[str, Any] = house.ask("reload")
    return outcome


def rounds(house: House) -> Iterator[bool]:
    """Change one part after the other, for ever; yield whether a reload has to take it."""
    number = 0
    while True:
        for part in (
            "[sources.house]\nreceive_max = {n}\n",
            "[targets.cloud]\nbatch_max = {n}\n",
            "[routes.all]\nto = 'cloud'\nwindow_max = {n}00\n",
            "[rules]\nlate_s = {n}\n[inputs.guests]\ntype = 'boolean'\n",
            "[sources.attic]\nlisten = '127.0.0.1:0'\n[gateway]\ntimezone = 'Europe/Berlin'\n",
        ):
            number += 1
            write(house, part.format(n=100 + number))
            yield True
        number += 1
        rules = house.folder / "rules"
        rules.mkdir(exist_ok=True)
        (rules / "counting.py").write_text(RULE.format(name=f"counting_{number}"))
        write(house)
        yield True
        write(house, NOT_A_CONFIG[number // 7 % len(NOT_A_CONFIG)])
        yield False


def test_no_event_is_lost_or_doubled_while_everything_is_changed(
    tmp_path: Path, mosquitto: Callable[..., Broker]
) -> None:
    """Sources, targets, routes and rules are changed under load, broken configs between them: each event, once."""
    broker = mosquitto()
    port, source = own_listener()
    (tmp_path / "gw" / "rules").mkdir(parents=True)
    patient = "[rules]\nload_s_max = 60\ncall_s_max = 60\n"
    with (
        watching(broker.port) as cloud,
        running(House(tmp_path / "gw", source, broker_target(f"mqtt://127.0.0.1:{broker.port}"), patient)) as house,
        device(port) as sender,
    ):
        sent = []
        for number, good in enumerate(islice(rounds(house), ROUNDS)):
            sent += sender.count("hall", range(number * A_ROUND, (number + 1) * A_ROUND))
            outcome = reload(house)
            assert outcome["applied"] == good, outcome
            assert good or "change.toml:" in outcome["faults"][0]
        until(lambda: all(info._published for info in sent), "some were never acknowledged")
        wanted = list(range(ROUNDS * A_ROUND))
        until(
            lambda: sorted(readings(cloud.arrived).get("hall", [])) == wanted,
            lambda: set(wanted) - set(readings(cloud.arrived)["hall"]),
        )
        assert house.session is not None
        assert house.session.alive()
        assert house.status()["epoch"] == 1


def test_what_is_the_same_runs_on(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """A device stays connected while other parts are changed, and while SIGHUP comes a hundred times."""
    broker = mosquitto()
    port, source = own_listener()
    with (
        watching(broker.port) as cloud,
        running(House(tmp_path / "gw", source, broker_target(f"mqtt://127.0.0.1:{broker.port}"))) as house,
        device(port) as sender,
    ):
        write(house, "[targets.cloud]\nbatch_max = 10\n[sources.attic]\nlisten = '127.0.0.1:0'\n")
        assert reload(house)["applied"]
        pid = house.status()["pid"]
        sent = sender.count("hall", range(100))
        for _ in range(100):
            os.kill(pid, signal.SIGHUP)
        assert acknowledged(sent)
        write(house, "")
        assert reload(house)["applied"]
        assert [each["name"] for each in house.status()["sources"]] == ["house"]
        assert not sender.lost.is_set()
        until(lambda: readings(cloud.arrived).get("hall") == list(range(100)), lambda: len(cloud.arrived))


def test_devices_of_a_source_that_goes_and_comes_back(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """What is known of them stays while their source is gone, and they go on under their ids when it is back."""
    broker = mosquitto()
    (_, source), attic = own_listener(), free_port()
    both = f"[sources.attic]\nlisten = '127.0.0.1:{attic}'\n"
    with (
        watching(broker.port) as cloud,
        running(House(tmp_path / "gw", source, broker_target(f"mqtt://127.0.0.1:{broker.port}"))) as house,
    ):
        for number, text in enumerate((both, "", both)):
            write(house, text)
            assert reload(house)["applied"]
            if text:
                until(lambda: listening("127.0.0.1", attic))
                with device(attic) as sender:
                    sender.tell("load/meter/cellar", {"temperature": number})
            assert any(name.startswith("attic/") for name in house.ask("table", name="values"))
        until(lambda: readings(cloud.arrived).get("cellar") == [0, 2], lambda: cloud.arrived)
        assert len({event["subject"] for event in cloud.arrived if event["type"] == "reading_taken"}) == 1


def test_a_reload_in_an_outage_keeps_the_backlog(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """The cloud is away: its address is changed to where it is, and everything that waited arrives, in order."""
    broker = mosquitto()
    port, source = own_listener()
    with (
        slow_link(broker.port) as link,
        watching(broker.port) as cloud,
        running(House(tmp_path / "gw", source, broker_target(link.url))) as house,
        device(port) as sender,
    ):
        link.cut()
        assert acknowledged(sender.count("hall", range(500)))
        write(house, f"[targets.cloud]\nurl = 'mqtt://127.0.0.1:{broker.port}'\n")
        changes = reload(house)["changes"]
        assert [(each["key"], each["means"]) for each in changes] == [
            ("targets.cloud.url", f"target cloud is made anew, with its routes{ONWARDS}")
        ]
        until(lambda: readings(cloud.arrived).get("hall") == list(range(500)), lambda: len(cloud.arrived))


def test_a_new_password_in_the_same_file_is_used(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """The config has not changed by a letter, a secret has: the target logs in with it, without a restart."""
    folder = tmp_path / "gw"
    folder.mkdir()
    secret = folder / "cloud.password"
    secret.write_text("old\n")
    broker = mosquitto(users={"pi": "opensesame"})
    port, source = own_listener()
    more = 'username = "pi"\npassword = { file = "cloud.password" }\nrefused_wait_s = 300\n'
    target = broker_target(f"mqtt://127.0.0.1:{broker.port}", more)
    with running(House(folder, source, target)) as house, device(port) as sender:
        sender.tell("load/meter/hall", {"temperature": 1})
        until(lambda: house.status()["routes"][0]["last_error"], house.status)
        secret.write_text("opensesame\n")
        outcome = reload(house)
        assert outcome["applied"], outcome
        assert [each["key"] for each in outcome["changes"]] == ["targets.cloud"]
        assert "opensesame" not in json.dumps(outcome)
        until(lambda: house.status()["routes"][0]["delivered"], house.status)


def test_what_cannot_be_taken_over_whole_is_not_taken_over_at_all(
    tmp_path: Path, mosquitto: Callable[..., Broker]
) -> None:
    """A certificate that is none, or a name that needs a restart, beside good changes: nothing, and it is said why."""
    broker = mosquitto()
    port, source = own_listener()
    with (
        watching(broker.port) as cloud,
        running(House(tmp_path / "gw", source, broker_target(f"mqtt://127.0.0.1:{broker.port}"))) as house,
        device(port) as sender,
    ):
        (house.folder / "ca.pem").write_text("no certificate\n")
        target = "[targets.cloud]\nurl = 'mqtts://127.0.0.1:1'\n[targets.cloud.tls]\nca = 'ca.pem'\n"
        write(house, "[sources.attic]\nlisten = '127.0.0.1:0'", target)
        result = house("reload")
        assert result.code == 78, result.out
        assert "change.toml:5" in result.err
        status = house.status()
        assert [each["name"] for each in status["sources"]] == ["house"]
        assert "change.toml:5" in status["reload_faults"][0]
        sender.tell("load/meter/hall", {"temperature": 7})
        until(lambda: readings(cloud.arrived).get("hall") == [7], lambda: len(cloud.arrived))
        assert not sender.lost.is_set()
        last = json.loads((house.state / "last_good.json").read_text())
        assert not any("attic" in text for text in last["texts"].values())
        write(house, "[gateway]\nname = 'other'\n[sources.attic]\nlisten = '127.0.0.1:0'\n")
        result = house("reload")
        assert result.code == 1, result.out
        assert "systemctl restart" in result.err
        assert "gateway.name" in result.out
        assert [each["name"] for each in house.status()["sources"]] == ["house"]
