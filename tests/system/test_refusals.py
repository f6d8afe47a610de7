"""A cloud broker that refuses a topic: refused events are set aside with its reason, and nothing waits behind them."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

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

CLOSED = "topic readwrite #\ntopic deny gw/load:vault\n"
OPEN = "topic readwrite #\n"


def test_what_the_cloud_refuses_is_set_aside_and_can_be_sent_again(
    tmp_path: Path, mosquitto: Callable[..., Broker]
) -> None:
    """Events for a topic the ACL closes are dead letters "Not authorized"; retried, under their ids, once it opens."""
    broker = mosquitto(acl=CLOSED)
    port, source = own_listener()
    house = House(tmp_path / "gw", source, broker_target(broker.url))
    with watching(broker.port) as cloud, running(house), device(port) as sender:
        sent = []
        for number in range(3):
            for name in ("hall", "vault", "attic"):
                sent += sender.count(name, range(number, number + 1))
        assert acknowledged(sent)
        until(lambda: len(readings(cloud.arrived).get("attic", ())) == 3)
        assert readings(cloud.arrived) == {name: list(range(3)) for name in ("hall", "attic")}

        letters = until(lambda: found if len(found := house.json("dead-letters", "list")) == 3 else None)
        assert {letter["data"]["reason"] for letter in letters} == {"Not authorized"}
        assert {letter["subject"] for letter in letters} == {"house/load:vault"}
        events = [letter["data"]["event"] for letter in letters]
        assert [event["data"]["temperature"] for event in events] == list(range(3))
        delivered(house)
        status = until(lambda: found if (found := house.status())["routes"][0]["state"] == "up" else None, house.status)
        route = status["routes"][0]
        assert (status["dead_letters"], route["dead_lettered"], route["backlog"], route["state"]) == (3, 3, 0, "up")

        again = house("dead-letters", "retry", letters[0]["id"])
        assert (again.code, again.out) == (1, "refused again: Not authorized\n")
        letters = house.json("dead-letters", "list", "--reason", "Not auth", "--route", "cloud", "--device", "*vault")
        assert [letter["attempts"] for letter in letters] == [2, 1, 1], "it is as open as before"

        (broker.folder / "acl").write_text(OPEN)
        assert broker.process is not None
        broker.process.send_signal(signal.SIGHUP)
        first = until(lambda: said if (said := house("dead-letters", "retry", letters[0]["id"])).code == 0 else None)
        assert first.out == "delivered\n"
        rest = house.json("dead-letters", "retry", "--all")
        assert [row["state"] for row in rest] == ["delivered"] * 2
        until(lambda: len(readings(cloud.arrived).get("vault", ())) == 3)
        arrived = {event["id"]: event["data"] for event in cloud.arrived if event.get("subject") == "house/load:vault"}
        assert arrived == {event["id"]: event["data"] for event in events}
        assert house.json("dead-letters", "list") == []
        assert len({event["id"] for event in cloud.arrived}) == len(cloud.arrived), "nothing came twice"
