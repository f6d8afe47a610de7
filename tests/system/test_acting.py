"""What rules and people do in a running gateway: claims, commands, inputs, web services; and kills in between."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.commands.test_web_calls import serving
from tests.mqtt.broker import Broker
from tests.system.rig import Device, House, broker_source, device, running, until

TRV, COPY = "shellies/shellytrv-1", "shellies/shellytrv-2"
TARGET, VALVE = "thermostat/0/command/target_t", "thermostat/0/command/valve_pos"
DEVICES = """\
[[device]]
id = "house/shelly:shellytrv-1"
name = "trv-bath"

[[device]]
id = "house/shelly:shellytrv-2"
name = "trv-seen"
commands = "observe"
"""
HOLDS = """\
from gateway.rules import rule

@rule("reading_taken")
def warm(event, ctx):
    ctx.hold("trv-bath", setpoint_heat=23 if ctx.inputs.guests else 21)
    ctx.hold("trv-seen", setpoint_heat=21)
"""


def info(target: float, pos: int = 0) -> dict[str, Any]:
    """Return what the thermostat says of itself."""
    target_t = {"enabled": True, "value": target, "units": "C"}
    state = {"pos": pos, "target_t": target_t, "tmp": {"value": 20.0, "units": "C", "is_valid": True}}
    return {"thermostats": [state], "bat": {"value": 90}}


def told(sender: Device, topic: str) -> list[str]:
    """Return what was sent to a topic."""
    return [payload.decode() for at, payload in list(sender.told) if at == topic]


def test_a_person_wins_for_a_time_and_everything_is_kept(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """A rule's claim, a change by hand, a person's command, letting go, mode and input, over a restart."""
    edge = mosquitto()
    rules = tmp_path / "gw" / "rules"
    rules.mkdir(parents=True)
    (rules / "warm.py").write_text(HOLDS)
    (tmp_path / "gw" / "devices.toml").write_text(DEVICES)
    inputs = '[rules]\necho_s = 0.2\n[inputs.guests]\ntype = "boolean"\n'
    house = House(tmp_path / "gw", broker_source(edge.url), inputs)

    def claims() -> list[tuple[str, float, str]]:
        row = house.ask("table", name="holds").get("house/shelly:shellytrv-1", {"claims": []})
        found = [(claim["by"], claim["value"], claim.get("why", "")) for claim in row["claims"]]
        return sorted(found, key=lambda claim: claim[0])  # persons before rules

    with running(house), device(edge.port) as sender:
        sender.subscribe("shellies/+/thermostat/0/command/#")
        until(lambda: house.status()["rules"]["state"] == "running", house.status)
        for each in (TRV, COPY):
            sender.tell(f"{each}/info", info(19))
        sender.tell("load/meter/go", {"temperature": 1})
        until(lambda: told(sender, f"{TRV}/{TARGET}") == ["21"], lambda: sender.told)
        sender.tell(f"{TRV}/info", info(21))
        until(lambda: house.status()["commands"]["confirmed"] == 1, house.status)
        assert claims() == [("warm", 21, "")]

        sender.tell(f"{TRV}/info", info(24.5))
        until(lambda: len(claims()) == 2, claims)
        assert claims() == [("person:hand", 24.5, "changed by hand"), ("warm", 21, "")]
        sender.tell("load/meter/go", {"temperature": 2})
        assert house("send", "trv-bath", "set_setpoint", "18").code == 0
        until(lambda: told(sender, f"{TRV}/{TARGET}") == ["21", "18"], lambda: sender.told)
        sender.tell(f"{TRV}/info", info(18))  # or it would be told again in time
        until(lambda: claims()[0][1] == 18, claims)
        assert re.fullmatch(r"person:(?!hand).+", claims()[0][0])
        shown = house("devices", "show", "trv-bath").out
        assert re.search(r"held +setpoint.heat=18 by person:.* as person, sent until 20", shown), shown

        assert house.json("input", "guests", "yes")["value"] is True
        wrong = house("input", "gests", "yes")
        assert (wrong.code, "did you mean 'guests'?" in wrong.err) == (1, True)
        assert house.json("mode", "away")["was"] == "home"
        assert house("devices", "release", "trv-bath").code == 0
        until(lambda: told(sender, f"{TRV}/{TARGET}") == ["21", "18", "21"], lambda: sender.told)
        sender.tell("load/meter/go", {"temperature": 3})
        until(lambda: told(sender, f"{TRV}/{TARGET}")[3:] == ["23"], lambda: sender.told)

        observed = house.json("devices", "show", "trv-seen")["observed"]
        assert (observed["count"], observed["last"][0]["value"]) == (1, 21)
        assert told(sender, f"{COPY}/{TARGET}") == []
        assert "only observed (house/shelly:shellytrv-2)" in house("status").out
        assert house.stop() == 0
        house.session = None
        assert house.json("mode")["mode"] == "away"
        assert house.json("input", "guests")["value"] is True
        house.begin()
        assert claims() == [("warm", 23, "")]
        assert house.json("input")[0]["actor"].startswith("person:")
        changes = [event["data"] for event in house.events("--type", "input_changed")]
        assert changes == [{"input": "guests", "value": True, "was": False}]


ACTS = """\
from gateway.rules import rule, timer

@rule("reading_taken")
def acts(event, ctx):
    number = int(event["temperature"])
    ctx.command("trv-bath", "set_valve", number, within="1h")
    ctx.command("bell", "set_valve", number, once=True, within="1h")
    ctx.http("POST", "hook/again", json=number, then=answered, way="again", number=number, within="1h")
    ctx.http("POST", "hook/once", json=number, then=answered, once=True, way="once", number=number, within="1h")

@timer
def answered(ctx, answer, way, number):
    ctx.emit("call_answered", {"way": way, "number": number, "status": answer.status, "error": answer.error})
    ctx.state["answered"] = ctx.state.get("answered", 0) + 1
"""
NUMBERS = 60
KILLS = 3


def _more(than: Sequence[object], count: int) -> bool:
    return len(than) >= count


def test_kills_lose_no_command_and_no_call_and_repeat_none_that_must_not_be(
    tmp_path: Path, mosquitto: Callable[..., Broker]
) -> None:
    """SIGKILL in a stream of commands and calls: each arrives; what may be sent once never twice, or nobody knows."""
    edge = mosquitto()
    rules = tmp_path / "gw" / "rules"
    rules.mkdir(parents=True)
    (rules / "acts.py").write_text(ACTS)
    (tmp_path / "gw" / "devices.toml").write_text(
        DEVICES.replace('commands = "observe"', "").replace("trv-seen", "bell")
    )
    with serving() as service:
        hook = f'[http.hook]\nurl = "{service.url}"\nper_minute_max = 100000\n'
        house = House(tmp_path / "gw", broker_source(edge.url), hook)
        with running(house), device(edge.port) as sender:
            sender.subscribe("shellies/+/thermostat/0/command/#")
            for each in (TRV, COPY):
                sender.tell(f"{each}/info", info(19))
            share = NUMBERS // (KILLS + 1)
            for part in range(KILLS + 1):
                until(lambda: house.status()["rules"]["state"] == "running", house.status)
                for number in range(part * share, (part + 1) * share):
                    sender.tell("load/meter/go", {"temperature": number})
                if part < KILLS:
                    before = len(service.asked)
                    until(partial(_more, service.asked, before + share // 2))  # in the middle of what follows
                    house.kill()
                    house.end()
                    house.begin()

            def answered() -> int:
                return int(house.ask("table", name="rule_state").get("acts|state|answered", 0))

            until(lambda: answered() >= 2 * NUMBERS, answered)
            until(lambda: len(set(told(sender, f"{TRV}/{VALVE}"))) == NUMBERS)
            until(lambda: not house.status()["commands"]["waiting"])
            uncertain = [event["data"]["value"] for event in house.events("--type", "command_uncertain")]
            rung = partial(told, sender, f"{COPY}/{VALVE}")
            until(lambda: set(range(NUMBERS)) <= {*map(int, rung()), *uncertain}, "did not ring, and nobody was told")
            found = [event["data"] for event in house.events("--type", "call_answered")]
            assert house.stop() == 0
    assert max(Counter(rung()).values()) == 1, "rang twice"
    assert Counter((each["way"], each["number"]) for each in found) == {
        (way, number): 1 for way in ("again", "once") for number in range(NUMBERS)
    }, "each call is answered to its rule once"
    asked = [(path, headers["idempotency-key"], body) for _, path, headers, body in service.asked]
    again = {body: key for path, key, body in asked if path == "/api/again"}
    assert again.keys() == set(range(NUMBERS))
    assert {key for path, key, _ in asked if path == "/api/again"} == set(again.values()), "one key for each call"
    once = Counter(body for path, _, body in asked if path == "/api/once")
    assert max(once.values()) == 1
    unknown = {each["number"] for each in found if each["way"] == "once" and each["status"] != 200}
    assert set(range(NUMBERS)) - set(once) <= unknown
