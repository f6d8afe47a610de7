"""No broker in the house: devices talk to the gateway itself, and their sessions outlive it."""

from __future__ import annotations

from pathlib import Path

from tests.system.rig import House, acknowledged, device, own_listener, readings, running, until

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
            assert relay.told == [(f"{TOPIC}/command", b"on")]
            wrong = house("send", RELAY, "set_on", "perhaps")
            assert (wrong.code, wrong.out) == (1, "")
            assert "perhaps" in wrong.err

        assert house.stop() == 0
        house.begin()
        command = house.json("send", RELAY, "set_on", "false")
        with device(port, "relay") as relay:
            assert relay.session_present, "the session is there after a clean restart"
            until(lambda: relay.told)
            assert relay.told == [(f"{TOPIC}/command", b"off")], "the subscription too: it was not made again"
        with device(port, "meter", clean=True) as meter:
            assert not meter.session_present, "a clean start forgets it"
        recorded = house.events("--lane", "command")
        assert [event["data"] for event in recorded] == [{"command": "set_on", "value": v} for v in (True, False)]
        assert recorded[1]["id"] == command["id"]
        assert recorded[1]["actor"].startswith("person:")
        assert house.stop() == 0


def test_a_device_that_sends_again_makes_no_second_event(tmp_path: Path) -> None:
    """Messages whose answer a kill took are sent again by the device, and are one event each all the same."""
    port, source = own_listener()
    house = House(tmp_path / "gw", source)
    with running(house), device(port) as sender:
        sent = []
        for part in range(4):
            sent += sender.online().count("hall", range(part * 200, part * 200 + 200))
            sent[part * 200 + 50].wait_for_publish(60)
            house.kill()
            house.end()
            house.begin()
        assert acknowledged(sent)
        stored = [event for event in house.events() if event["type"] == "reading_taken"]
        assert readings(stored) == {"hall": list(range(800))}
        assert len(stored) == 800
        assert house.stop() == 0
