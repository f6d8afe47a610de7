"""The whole gateway on a card that fails, is pulled, and comes back. Budget: 15 s."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.mqtt.broker import Broker
from tests.system.pulled_card import pulled_card
from tests.system.rig import (
    House,
    acknowledged,
    broker_target,
    device,
    own_listener,
    readings,
    running,
    until,
    watching,
)

JOURNAL = "[journal]\nbytes_max = '4MB'\nsegment_bytes = '256kB'\ntail_bytes_max = '16kB'\nfolder = '{folder}'\n"
PART = 400


def test_a_card_that_fails_and_one_that_is_pulled_are_ridden_out(
    tmp_path: Path, mosquitto: Callable[..., Broker]
) -> None:
    """It runs on, acknowledges nothing, says so and when it is over; all arrives once, also what waited on the card."""
    cloud_broker = mosquitto(persistence=True)
    port, source = own_listener()
    with pulled_card(tmp_path / "card") as card, watching(cloud_broker.port) as cloud:
        cloud_broker.stop()
        sections = JOURNAL.format(folder=card.folder / "journal")
        house = House(tmp_path / "gw", sections, source, broker_target(cloud_broker.url))
        with running(house), device(port) as sender:
            assert house.session is not None
            pid = house.session.pid
            assert acknowledged(sender.count("hall", range(PART), bulk=200))

            card.fail(pid)
            sent = sender.count("hall", range(PART, 2 * PART), bulk=200)
            refused(house)
            assert not any(info.is_published() for info in sent)
            card.heal(pid)
            assert acknowledged(sent)
            assert house.status()["disk"]["state"] == "ok"
            until(lambda: "takes writes again" in house.said())

            card.pull()
            sent = sender.count("hall", range(2 * PART, 3 * PART), bulk=200)
            assert refused(house).startswith("The disk refuses writes")
            assert "is its file system mounted?" in house.said()
            cloud_broker.start()  # what waits is on the card, and the card is not there
            until(lambda: house.status()["routes"][0]["state"] == "up", house.status)
            assert not any(info.is_published() for info in sent)
            card.put_in()
            assert acknowledged(sent)
            until(lambda: len(readings(cloud.arrived).get("hall", ())) >= 3 * PART, lambda: len(cloud.arrived))
            status = house.status()
            assert (status["disk"]["state"], status["disk"]["damaged_records"]) == ("ok", 0)
            assert house("journal", "verify").code == 0
            assert house.stop() == 0
        assert readings(cloud.arrived)["hall"] == list(range(3 * PART))


def refused(house: House) -> str:
    """Wait until status says that the disk refuses; returns its first line."""
    until(lambda: house.status()["disk"]["state"] == "refused", house.status)
    said = house("status")
    assert said.code == 1
    return said.out.splitlines()[0]
