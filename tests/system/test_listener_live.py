"""No broker in the house: devices talk to the gateway itself, and their sessions outlive it."""

from __future__ import annotations

from pathlib import Path

from simulators import wire
from tests.system.rig import House, acknowledged, device, own_listener, readings, running, until

NUMBERS = 100
RELAY = "house/shelly:shelly1-5/relay/0"
TOPIC = "shellies/shelly1-5/relay/0"


def test_devices_at_the_gateway_itself(tmp_path: Path) -> None:
    """QoS 1 and 0 arrive, what was acknowledged survives a kill, `send` reaches the device, sessions a restart."""
    port, source = own_listener()
    house = House(tmp_path / "gw", source)
    with running(house):
        with device(port, "relay") as relay, device(port, "meter") as meter:
            relay.subscribe(f"{TOPIC}/command")
            relay.tell(TOPIC, "off")
            meter.count("zero", range(20), qos=0)
            assert acknowledged(meter.count("one", range(50)))
            assert acknowledged(meter.count("two", range(20), qos=2))
            house.kill()  # at once: what is acknowledged is on the disk
            house.end()
            house.begin()
            assert relay.lost.wait(60)
            until(lambda: house.status()["sources"][0]["clients"] == 2)
            stored = readings(house.events())
            assert (stored["one"], stored["two"]) == (list(range(50)), list(range(20)))
            assert stored["zero"] == list(range(20)), "sent before what was acknowledged, so on the disk with it"

            until(lambda: relay.session_present)  # it dialled again by itself, and subscribes no more
            said = house("send", RELAY, "set_on", "true")
            assert said.code == 0, said.err
            until(lambda: relay.told)
            assert set(relay.told) == {(f"{TOPIC}/command", b"on")}  # at least once
            wrong = house("send", RELAY, "set_on", "perhaps")
            assert (wrong.code, wrong.out) == (1, "")
            assert "perhaps" in wrong.err

        assert house.stop() == 0
        house.begin()
        command = house.json("send", RELAY, "set_on", "false")
        with device(port, "relay") as relay:
            assert relay.session_present, "the session is there after a clean restart"
            until(lambda: (f"{TOPIC}/command", b"off") in relay.told, "the subscription is there, too")
            again = (f"{TOPIC}/command", b"on")  # its answer may have been too late for the end
            assert [each for each in relay.told if each != again] == [(f"{TOPIC}/command", b"off")]
        with device(port, "meter", clean=True) as meter:
            assert not meter.session_present, "a clean start forgets it"
        recorded = house.events("--lane", "command")
        wanted = [{"command": "set_on", "value": value, "field": "on"} for value in (True, False)]
        assert [event["data"] for event in recorded] == wanted
        assert recorded[1]["id"] == command["id"]
        assert recorded[1]["actor"].startswith("person:")
        assert house.stop() == 0


def test_a_device_that_sends_again_makes_no_second_event(tmp_path: Path) -> None:
    """Messages on the disk whose answers a kill took are sent again by the device, and are one event each."""
    port, source = own_listener()
    house = House(tmp_path / "gw", source)
    packets = [wire.publish("load/meter/hall", b'{"temperature":%d}' % n, n + 1) for n in range(NUMBERS)]
    with running(house):
        with wire.dial("127.0.0.1", port, "hall", clean=False) as sender:
            sender.sendall(b"".join(packets))  # and never reads
            until(lambda: house.status()["durable"] >= NUMBERS)
            house.kill()
        house.end()
        house.begin()
        more = wire.publish("load/meter/hall", b'{"temperature":%d}' % NUMBERS, NUMBERS + 1)
        with wire.dial("127.0.0.1", port, "hall", clean=False) as sender:
            sender.sendall(b"".join(map(wire.as_duplicate, packets)) + more)
            until(lambda: house.status()["durable"] > NUMBERS and len(house.events()) > NUMBERS)
        stored = [event for event in house.events() if event["type"] == "reading_taken"]
        assert house.stop() == 0
    assert readings(stored, repeats=True) == {"hall": list(range(NUMBERS + 1))}
