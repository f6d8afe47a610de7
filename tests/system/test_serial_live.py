"""A house with a serial port: lines become events on the disk and at the cloud, commands reach the device."""

from __future__ import annotations

from pathlib import Path

from simulators.broker import Mosquitto
from simulators.subject import PROFILES
from tests.sources.plugs import Plug
from tests.system.rig import House, broker_target, running, until, watching

PROFILE = """
schema = 1
id = "line-meter"
title = "A meter that prints a line a reading"
device_class = "temperature_sensor"

[link]
kind = "serial"
baud = 57600
framing = { type = "line", checksum = "sum-hex", bytes_max = 64 }

[decode]
format = { type = "split", sep = ";", names = ["name", "temperature", "end"] }

[device]
id = "line:{/name}"

[[field]]
name = "temperature"
from = "/temperature"

[[field]]
name = "setpoint.heat"
from = "/setpoint"

[[command]]
name = "set_setpoint"
field = "setpoint.heat"
arg = { type = "number", unit = "Cel", min = 5, max = 30, step = 0.5 }
topic = "{port}"
text = "SET;$value\\r\\n"
"""


def line(name: str, number: int) -> bytes:
    """Write a reading as the meter does."""
    body = b"%s;%d;" % (name.encode(), number)
    return b"%s%02X\r\n" % (body, sum(body) % 256)


def serial_house(folder: Path, link: Path, *parts: str) -> House:
    """Make a house with one serial port and a profile of its own."""
    house = House(folder, f'[sources.attic]\nserial = "{link}"\nprofile = "line"\n', *parts)
    mine = folder / "my-profiles"
    mine.mkdir()
    (mine / "line-meter.toml").write_text(PROFILE)
    text = house.file.read_text()
    assert f'profiles = ["{PROFILES}"]' in text
    house.file.write_text(text.replace(f'profiles = ["{PROFILES}"]', f'profiles = ["{mine}"]'))
    return house


def temperatures(events: list[dict[str, object]], name: str) -> list[int]:
    """Return what a device said, in order, from its events."""
    found = []
    for event in list(events):
        data = event.get("data")
        if event["type"] == "temperature_changed" and event["subject"] == f"attic/line:{name}":
            assert isinstance(data, dict)
            found.append(int(data["temperature"]))
    return found


def test_a_line_on_a_port_arrives_in_the_cloud(tmp_path: Path) -> None:
    """Readings go from a port to disk and cloud in order, over garbage, a cable that was pulled out, and a kill."""
    cloud_broker = Mosquitto(tmp_path / "cloud").start()
    link, plug = tmp_path / "tty", Plug()
    house = serial_house(tmp_path / "gw", link, broker_target(cloud_broker.url))

    def source() -> dict[str, object]:
        (said,) = house.status()["sources"]
        assert isinstance(said, dict)
        return said

    try:
        with watching(cloud_broker.port) as cloud, running(house):
            status = house("status").out
            assert f"Source attic ({link}) is not connected: {link} is not there" in status
            assert "edge-gateway serial list" in status
            plug.plug(link)
            until(lambda: source()["state"] == "connected", source)
            plug.send(b"".join(line("hall", n) for n in range(10)))
            plug.send(b"\x00\xffnoise\r\n" + line("hall", 10) + line("hall", 11)[:6])
            until(lambda: temperatures(cloud.arrived, "hall") == list(range(11)), lambda: cloud.arrived)
            plug.unplug()
            until(lambda: source()["state"] == "connecting", source)
            assert "not there" in str(until(lambda: source()["last_error"]))
            plug.plug(link)
            until(lambda: source()["state"] == "connected", source)
            plug.send(b"".join(line("hall", n) for n in range(11, 20)))
            until(lambda: temperatures(cloud.arrived, "hall") == list(range(20)), lambda: cloud.arrived)
            detail = source()["detail"]
            assert isinstance(detail, dict)
            assert detail["rejected_by_framing"] == {"checksum": 1, "cut short": 1}

            house.kill()  # all of that is on the disk; the port is locked by nobody now
            house.end()
            house.begin()
            until(lambda: source()["state"] == "connected", source)
            plug.send(line("hall", 20))
            until(lambda: temperatures(cloud.arrived, "hall")[-1] == 20, lambda: cloud.arrived)

            said = house("send", "attic/line:hall", "set_setpoint", "21.5")
            assert said.code == 0, said.err
            assert until(plug.read) == b"SET;21.5\r\n"

            now = source()
            assert (now["kind"], now["where"], now["received"], now["qos"]) == ("serial", str(link), 1, {"0": 1})
            assert temperatures(house.events(), "hall") == list(range(21))
            assert house.stop() == 0
    finally:
        plug.unplug()
        cloud_broker.stop()
