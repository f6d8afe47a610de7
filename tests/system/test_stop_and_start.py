"""How the gateway ends and begins: under load, alone in the world, twice, on a full disk and on a damaged one."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from time import sleep

from paho.mqtt.client import MQTTMessageInfo

from tests.mqtt.broker import Broker
from tests.system.rig import (
    PATIENCE_S,
    Cloud,
    House,
    acknowledged,
    broker_source,
    broker_target,
    delivered,
    device,
    own_listener,
    readings,
    running,
    slow_link,
    until,
    watching,
)
from tests.system.small_disk import small_disk

STUCK_S = 0.5  # for what should not happen
FLIPPED_BYTES = 2048
MESSAGES = 4000
RECORDS_BEHIND = range(40_000, 50_000)  # bytes of a segment: its middle is behind the checkpoint, and the end fits in
SEGMENTS = "[journal]\nbytes_max = '8MB'\nsegment_bytes = '{kB}kB'\n"


def test_sigterm_under_load_loses_nothing_and_a_clean_restart_repeats_nothing(
    tmp_path: Path, mosquitto: Callable[..., Broker]
) -> None:
    """SIGTERM in a stream ends with 0; all is at the cloud then, once but for sends that the end left unanswered."""
    broker = mosquitto()
    port, source = own_listener()
    with (
        slow_link(broker.port) as link,  # something is always under way
        watching(broker.port) as cloud,
        running(House(tmp_path / "gw", source, broker_target(link.url))) as house,
        device(port) as sender,
    ):
        link.delay(0.05)
        sent = sender.count("hall", range(MESSAGES // 2))
        until(lambda: len(cloud.arrived) > MESSAGES // 10)
        assert house.session is not None
        gateway = house.session.process
        gateway.send_signal(signal.SIGSTOP)  # so that it is under load when it is told to end, however slow we are
        sent += sender.count("attic", range(MESSAGES // 2))
        assert not all(info._published for info in sent), "it is under load"
        gateway.send_signal(signal.SIGTERM)
        gateway.send_signal(signal.SIGCONT)
        assert gateway.wait(PATIENCE_S) == 0, house.session.tail()
        house.end()
        unanswered = sum(map(int, re.findall(r"(\d+) events? without an answer at the end", house.said())))
        house.begin()
        sender.online()
        until(lambda: len(set(ids_of(cloud))) == MESSAGES, lambda: len(cloud.arrived))
        delivered(house)
        assert house.stop() == 0
        before = len(cloud.arrived)
        assert before - MESSAGES <= unanswered, "it repeats nothing else"
        house.begin()
        sender.online()
        sender.count("probe", range(1))
        until(lambda: readings(cloud.arrived).get("probe"))
        assert house.stop() == 0
    assert len(cloud.arrived) == before + 1
    assert readings(cloud.arrived) == {
        "hall": list(range(MESSAGES // 2)),
        "attic": list(range(MESSAGES // 2)),
        "probe": [0],
    }
    assert len(set(ids_of(cloud))) == MESSAGES + 1


def ids_of(cloud: Cloud) -> list[str]:
    """Return the ids of what arrived, in order, repeats included."""
    return [event["id"] for event in list(cloud.arrived)]


def test_alone_in_the_world_it_is_ready_and_all_arrives_later(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """With both brokers away it starts and says so; they come one after the other, and everything arrives."""
    edge, cloud_broker = mosquitto(), mosquitto(persistence=True)
    house = House(tmp_path / "gw", broker_source(edge.url), broker_target(cloud_broker.url))
    with watching(cloud_broker.port) as cloud:
        edge.stop()
        cloud_broker.stop()
        house.begin()
        until(lambda: house.status()["routes"][0]["last_error"], house.status)
        status = house.status()
        assert (status["sources"][0]["state"], status["routes"][0]["state"]) == ("connecting", "down")
        said = house("status")
        assert said.code == 1
        assert "Source house" in said.out
        assert "Route cloud" in said.out
        edge.start()
        until(lambda: house.status()["sources"][0]["state"] == "connected", house.status)
        with device(edge.port) as sender:
            assert acknowledged(sender.count("hall", range(300)))
        until(lambda: house.status()["routes"][0]["backlog"] == 300, house.status)
        telemetry = house.status()["lanes"][1]
        assert (telemetry["name"], telemetry["queued"]) == ("telemetry", 300)
        assert telemetry["oldest"] == house.events()[0]["time"]
        assert 1000 < telemetry["queued_bytes"] < 300_000
        cloud_broker.start()
        until(lambda: len(cloud.arrived) >= 300, lambda: len(cloud.arrived))
        assert house.stop() == 0
    assert readings(cloud.arrived) == {"hall": list(range(300))}


def test_two_gateways_on_one_journal(tmp_path: Path) -> None:
    """The second one refuses with a sentence and 1, and the first one does not notice."""
    port, source = own_listener()
    house = House(tmp_path / "gw", source)
    with running(house), device(port) as sender:
        second = House(tmp_path / "other", own_listener()[1])
        second.file.write_text(second.file.read_text().replace(str(second.state), str(house.state)))
        refused = second("run")
        assert (refused.code, refused.out) == (1, "")
        assert refused.err.splitlines()[-1].endswith("open")
        assert f"another gateway has the journal in {house.state / 'journal'}" in refused.err
        assert "Traceback" not in refused.err
        assert acknowledged(sender.count("hall", range(10)))
        assert house.status()["durable"] >= 10
        assert house.stop() == 0
    assert readings(house.events()) == {"hall": list(range(10))}


def test_a_damaged_journal_is_no_reason_not_to_start(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """Bytes flipped in the journal: it starts, says how many records that cost, and delivers all the others."""
    broker = mosquitto()
    port, source = own_listener()
    house = House(tmp_path / "gw", SEGMENTS.format(kB=64), source)
    numbers = list(range(1500))
    with running(house), device(port) as sender:
        for first in range(0, len(numbers), 100):
            assert acknowledged(sender.count("hall", range(first, first + 100), bulk=400))
        while written(segments_of(house)[-1]) not in RECORDS_BEHIND:
            more = range(len(numbers), len(numbers) + 10)
            assert acknowledged(sender.count("hall", more, bulk=400))
            numbers += more
        assert house.stop() == 0
        segments = segments_of(house)
        assert len(segments) > 2
        damage(segments[0])  # found when it is read
        damage(segments[-1])  # found at start
        house.file.write_text(house.file.read_text() + broker_target(broker.url))
        with watching(broker.port) as cloud:
            house.begin()
            found = re.search(r"with (\d+) records set aside", house.said())
            assert found
            at_start = int(found[1])
            sender.online().count("hall", range(9000, 9001))
            until(lambda: 9000 in readings(cloud.arrived).get("hall", ()))
            until(lambda: "found while reading" in house.said())
            delivered(house)
            lost = int(house.status()["disk"]["damaged_records"])
            assert 0 < at_start < lost
            assert f"{lost:,} damaged records" in house("status").out
            assert house("journal", "verify").code == 1
            assert house.stop() == 0
    arrived = readings(cloud.arrived)["hall"]
    assert arrived == sorted(arrived)
    assert len(set(numbers) - set(arrived)) == lost, "what is missing is what was said"


def segments_of(house: House) -> list[Path]:
    """Return the files of the journal, the newest last."""
    return sorted((house.state / "journal").glob("*.segment"))


def written(segment: Path) -> int:
    """Return how many bytes of a segment were written."""
    return len(segment.read_bytes().rstrip(b"\0"))


def damage(segment: Path) -> None:
    """Flip a few sectors in the middle of what was written to a segment."""
    content, middle = segment.read_bytes(), written(segment) // 2
    with segment.open("r+b") as file:
        file.seek(middle)
        file.write(bytes(byte ^ 0xFF for byte in content[middle : middle + FLIPPED_BYTES]))


def test_a_full_disk_withholds_and_recovers(tmp_path: Path, mosquitto: Callable[..., Broker]) -> None:
    """On a full disk nothing is acknowledged but alarms, status says so; with room again all of it arrives, once."""
    broker = mosquitto(persistence=True)
    port, source = own_listener()
    journal = tmp_path / "disk" / "journal"
    with small_disk(journal.parent) as disk, watching(broker.port) as cloud:
        broker.stop()
        sections = f"{SEGMENTS.format(kB=256)}folder = '{journal}'\n"
        disk.shrink()
        house = House(tmp_path / "gw", sections, source, broker_target(broker.url))
        with running(house), device(port) as sender, device(port, "flood") as flood:
            assert house.session is not None
            pid = house.session.pid
            assert acknowledged(sender.count("hall", range(200), bulk=800))
            until(lambda: "no segment could be prepared" in house.said() or not disk.reserve)
            disk.fill(pid)
            sent = sender.count("hall", range(200, 3000), bulk=800)
            status = until(lambda: found if (found := house.status())["disk"]["state"] == "refused" else None)
            assert status["disk"]["last_error"]
            said = house("status")
            assert said.code == 1
            assert said.out.startswith("The disk refuses writes")
            heard, durable = acknowledged_so_far(sent), house.status()["durable"]
            assert heard <= durable - 200 < len(sent), "acknowledged is what is on the disk, and the rest is not"
            sleep(STUCK_S)
            assert house.status()["durable"] == durable
            leak = flood.publish("shellies/shellyflood-1/sensor/flood", "true")
            if disk.reserve:
                leak.wait_for_publish(PATIENCE_S)
                assert leak.is_published(), "alarms have a reserve"
                until(lambda: house.status()["disk"]["state"] == "refused", "what came with it took its room")
                assert acknowledged_so_far(sent) < len(sent)

            disk.relieve(pid)
            assert acknowledged([*sent, leak])
            assert house.status()["disk"]["state"] == "ok"
            broker.start()
            until(lambda: len(readings(cloud.arrived).get("hall", ())) == 3000, lambda: len(cloud.arrived))
            until(lambda: [e["lane"] for e in cloud.arrived if e["type"] == "leak_detected"] == ["alarm"])
            assert house.stop() == 0
    assert readings(cloud.arrived)["hall"] == list(range(3000))


def acknowledged_so_far(sent: list[MQTTMessageInfo]) -> int:
    """Count what was acknowledged."""
    return sum(info.is_published() for info in sent)
