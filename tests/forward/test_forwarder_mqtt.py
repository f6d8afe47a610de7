"""The whole way out over MQTT: real journal, forwarder, MQTT target, and a real Mosquitto that refuses or dies."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.targets.mqtt import MqttTarget, MqttTargetOptions
from simulators.broker import Mosquitto
from simulators.far_end import FarEnd
from tests.contract.far_ends import Keep
from tests.forward.memory import judge
from tests.forward.rig import running

WINDOW = 1000


def target_at(broker: Mosquitto) -> MqttTarget:
    """Return a target that is quick to come back."""
    return MqttTarget("cloud", MqttTargetOptions(url=broker.url, reconnect_first_s=0.01, reconnect_max_s=0.1), "gw")


class Payloads(Keep):
    """Keeps what arrived as bytes; what had arrived and the broker hands over again is not the gateway's."""

    def __init__(self) -> None:
        super().__init__()
        self.raws: list[bytes] = []
        self._seen: set[bytes] = set()

    def show(self, payload: bytes, at_ns: int, handed_over_again: bool = False) -> None:
        """Take one message."""
        if not handed_over_again or payload not in self._seen:  # it may have gone down with the first connection
            self._seen.add(payload)
            self.raws.append(payload)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_the_broker_goes_away_amid_events(tmp_path: Path, how: str) -> None:
    """The cloud's broker ends twice amid 20,000 events: all are delivered, in order, repeats in a window."""
    broker = Mosquitto(tmp_path / "broker").start()
    kept = Payloads()
    far_end = FarEnd(broker.host, broker.port, judge=kept).start()

    async def main() -> None:
        async with running(tmp_path / "journal", target_at(broker), window_max=WINDOW) as rig:
            ids = rig.append(10_000)
            for part in (2_000, 9_000):
                await rig.until(lambda part=part: rig.forwarder.status().delivered >= part)
                await asyncio.to_thread(getattr(broker, how))
                ids += rig.append(5_000, start=len(ids))  # before the wait: who has nothing to send waits for nobody
                await rig.until(lambda: rig.forwarder.status().state == "waiting")
                await asyncio.to_thread(broker.start)
            await rig.until(rig.over)
            assert rig.forwarder.status().delivered == len(ids) == 20_000
            assert rig.letters() == []
            if how == "stop":  # a killed broker forgets what it has acknowledged: that is not the gateway's to mend
                await rig.until(lambda: len(kept.raws) >= len(ids) and judge(kept.raws)[0] == set(ids))
        _, repeats, disorder = judge(kept.raws)
        assert disorder == 0
        assert repeats <= 2 * WINDOW

    try:
        asyncio.run(main())
    finally:
        far_end.stop()
        broker.kill()


def test_one_topic_is_refused(tmp_path: Path) -> None:
    """Events to a topic that the broker's ACL denies are dead letters with its reason; all others arrive in order."""
    acl = tmp_path / "acl"
    acl.write_text("topic read #\n" + "".join(f"topic write gw/house/test:{n}/#\n" for n in range(10) if n != 3))
    acl.chmod(0o700)
    broker = Mosquitto(tmp_path / "broker", lines=[f"acl_file {acl}"]).start()
    kept = Payloads()
    far_end = FarEnd(broker.host, broker.port, judge=kept).start()

    async def main() -> None:
        async with running(tmp_path / "journal", target_at(broker)) as rig:
            ids = rig.append(200)
            await rig.until(rig.over)
            letters = rig.letters()
            assert {letter.data["reason"] for letter in letters} == {"Not authorized"}
            assert sorted(letter.data["event"]["data"]["n"] for letter in letters) == list(range(3, 200, 10))
            wanted = {each for n, each in enumerate(ids) if n % 10 != 3}
            await rig.until(lambda: judge(kept.raws)[0] == wanted)
        assert judge(kept.raws)[2] == 0

    try:
        asyncio.run(main())
    finally:
        far_end.stop()
        broker.kill()
