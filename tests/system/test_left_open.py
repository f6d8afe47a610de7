"""The promise that timers keep: a door left open for half an hour, through everything."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.system import bent_clock
from tests.system.bent_clock import bend
from tests.system.rig import House, device, own_listener, running, until

FRONT = "zigbee2mqtt/front"
DEVICES = '[[device]]\nid = "house/z2m:front"\nname = "front-door"\nkind = "door"\n'
MINUTE_S, YEAR_S = 60.0, 365 * 86400.0
RULES = """\
from gateway.rules import every, when

@when(kind="door", open=True, lasts="30m")
def left_open(door, ctx):
    ctx.alert("version {0}")

@every("1s")
def ticks(ctx):
    ctx.emit("time_passed")
"""


def test_half_an_hour_over_an_edit_a_kill_and_clocks_that_jump(tmp_path: Path) -> None:
    """Over two edits, SIGKILL and jumps of years it fires once, not a moment early, by the version that runs then."""
    port, source = own_listener()
    folder, clock = tmp_path / "gw", tmp_path / "clock"
    rules = folder / "rules"
    rules.mkdir(parents=True)
    (rules / "left_open.py").write_text(RULES.format(1))
    (folder / "devices.toml").write_text(DEVICES)
    house = House(folder, source)
    house._program = (sys.executable, bent_clock.__file__, str(clock))
    bend(clock, 0, 0)

    def edit(version: int) -> None:
        before = house.status()["rules"]["versions"]
        (rules / "left_open.py").write_text(RULES.format(version))
        until(lambda: house.status()["rules"]["versions"] != before, house.said)

    def ticks() -> int:
        return len(house.events("--type", "time_passed"))

    def raised() -> list[str]:
        return [event["data"]["text"] for event in house.events("--type", "alert_raised")]

    def pass_time(wall_s: float, boot_s: float) -> None:
        """Move the clock and wait until the gateway has seen it."""
        bend(clock, wall_s, boot_s)
        before = ticks()
        until(lambda: ticks() >= before + 2, house.said)

    with running(house):
        until(lambda: house.status()["rules"]["state"] == "running", house.said)
        with device(port) as sender:
            sender.tell(FRONT, {"contact": True})
            sender.tell(FRONT, {"contact": False})
        until(lambda: house.events("--type", "door_opened"), house.said)
        pass_time(10 * MINUTE_S, 10 * MINUTE_S)
        edit(2)
        house.kill()
        house.end()
        bend(clock, 5 * YEAR_S, 14 * MINUTE_S)
        house.begin()
        until(lambda: house.status()["rules"]["state"] == "running", house.said)
        pass_time(-2 * YEAR_S, 17 * MINUTE_S)
        edit(3)
        pass_time(3 * YEAR_S, 20 * MINUTE_S)  # the rest is for a machine that is slow itself
        assert raised() == []
        bend(clock, -YEAR_S, 30 * MINUTE_S)
        until(raised, house.said)
        pass_time(YEAR_S, 90 * MINUTE_S)
        assert raised() == ["version 3"]
        assert house.stop() == 0
