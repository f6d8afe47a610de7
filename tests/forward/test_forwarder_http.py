"""The whole way out: real journal, forwarder, HTTP target, and a real HTTP server that misbehaves or dies."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.targets.http import HttpTarget, HttpTargetOptions
from simulators.cloud_http import Answer, CloudHttp
from simulators.processes import free_port
from tests.forward.memory import judge
from tests.forward.rig import WAIT_S, running

ROOT = Path(__file__).parent.parent.parent
WINDOW = 1000
TARGET = {"reconnect_first_s": 0.01, "reconnect_max_s": 0.1, "answer_timeout_s": WAIT_S}

BOTH = pytest.mark.parametrize("mode", ["structured", "batched"])


def target_at(url: str, **options: object) -> HttpTarget:
    """Return a target that is quick to come back."""
    return HttpTarget("cloud", HttpTargetOptions(**{"url": url, **TARGET, **options}), SystemClock())


def raws(cloud: CloudHttp) -> list[bytes]:
    """Return what the server accepted, as bytes, in order."""
    return [json.dumps(event).encode() for event in cloud.accepted]


@BOTH
@pytest.mark.parametrize("fault", ["429:0.05", "503:0.05", "500", "408", "401", "404", "reset", "close", "silent",
                                   "garbage"])  # fmt: skip
def test_a_passing_fault_loses_nothing(tmp_path: Path, mode: str, fault: str) -> None:
    """Whatever the server answers for a while, all events arrive once it works, in order, none dead-lettered."""
    silent = fault == "silent"
    options = {"answer_timeout_s": 0.5} if silent else {}  # so an answer that comes late on its own is given up, too

    async def main(cloud: CloudHttp) -> None:
        async with running(tmp_path, target_at(cloud.url, mode=mode, **options)) as rig:
            ids = rig.append(100)
            await rig.until(lambda: len(cloud.accepted) >= 100)
            cloud.script(*[fault] * 3)
            ids += rig.append(400, start=100)
            await rig.until(rig.over)
            assert rig.letters() == []
            assert not cloud.answers
        seen, repeats, disorder = judge(raws(cloud))
        assert (seen, disorder) == (set(ids), 0)
        assert repeats == 0 or silent

    with CloudHttp() as cloud:
        asyncio.run(main(cloud))


@BOTH
def test_an_answer_that_is_cut_off_repeats_with_the_same_ids(tmp_path: Path, mode: str) -> None:
    """When the server has taken a request and its answer breaks off, the events come again under the same ids."""

    async def main(cloud: CloudHttp) -> None:
        async with running(tmp_path, target_at(cloud.url, mode=mode)) as rig:
            ids = rig.append(50)
            await rig.until(lambda: len(cloud.accepted) == 50)
            cloud.script("partial", "partial")
            ids += rig.append(200, start=50)
            await rig.until(rig.over)
        seen, repeats, disorder = judge(raws(cloud))
        assert (seen, disorder) == (set(ids), 0)
        assert 0 < repeats <= 400

    with CloudHttp() as cloud:
        asyncio.run(main(cloud))


@BOTH
@pytest.mark.parametrize("status", ["413", "422", "400"])
def test_one_refused_event_of_a_batch_is_dead_lettered_alone(tmp_path: Path, mode: str, status: str) -> None:
    """A server that refuses one event gets all the others in order, and that one is a dead letter with its reason."""

    async def main(cloud: CloudHttp) -> None:
        async with running(tmp_path, target_at(cloud.url, mode=mode)) as rig:
            ids = rig.append(300)
            await rig.until(rig.over)
            (letter,) = rig.letters()
        assert letter.data["event"]["data"]["n"] == 142
        assert letter.data["reason"].startswith(status)
        assert judge(raws(cloud)) == (set(ids) - {ids[142]}, 0, 0)

    with CloudHttp(poison={"142": status}) as cloud:
        asyncio.run(main(cloud))


@BOTH
def test_one_event_at_which_the_server_fails_holds_up_nobody_for_long(tmp_path: Path, mode: str) -> None:
    """An event that always gets 500 is parked while the others arrive in order, and arrives when the fault is gone."""

    async def main(cloud: CloudHttp) -> None:
        async with running(tmp_path, target_at(cloud.url, mode=mode), attempts_max=10_000) as rig:
            ids = rig.append(600)
            await rig.until(lambda: len(set(cloud.arrived())) == 599)
            assert judge(raws(cloud)) == (set(ids) - {ids[142]}, 0, 0)
            cloud.poison.clear()
            await rig.until(rig.over)
            assert rig.letters() == []
        assert judge(raws(cloud))[:2] == (set(ids), 0)

    with CloudHttp(poison={"142": "500"}) as cloud:
        asyncio.run(main(cloud))


@BOTH
def test_results_in_the_answer_are_honoured_event_by_event(tmp_path: Path, mode: str) -> None:
    """Per-event results: refused events are dead letters, throttled ones come again later, nothing else repeats."""

    async def main(cloud: CloudHttp) -> None:
        cloud.usual = Answer.parse("results")
        async with running(tmp_path, target_at(cloud.url, mode=mode)) as rig:
            ids = rig.append(300)
            await rig.until(lambda: len(cloud.accepted) > 250)
            cloud.poison.pop("93")
            await rig.until(rig.over)
            refused = {letter.data["event"]["data"]["n"] for letter in rig.letters()}
        assert refused == {7, 142}
        assert judge(raws(cloud))[:2] == (set(ids) - {ids[7], ids[142]}, 0)

    with CloudHttp(poison={"7": "422", "142": "422", "93": "429:0.02"}) as cloud:
        asyncio.run(main(cloud))


@BOTH
def test_wrong_credentials_keep_everything(tmp_path: Path, mode: str) -> None:
    """While the token is not accepted the route is refused and keeps everything; with the right one all arrives."""
    token = tmp_path / "token"
    token.write_text("wrong")

    async def main(cloud: CloudHttp) -> None:
        target = target_at(cloud.url, mode=mode, bearer=token.read_text)
        async with running(tmp_path / "journal", target) as rig:
            ids = rig.append(200)
            await rig.until(lambda: rig.forwarder.status().state == "refused")
            assert cloud.accepted == []
            token.write_text("right")
            await rig.until(rig.over)
            assert rig.letters() == []
        assert judge(raws(cloud)) == (set(ids), 0, 0)

    with CloudHttp(token="right") as cloud:
        asyncio.run(main(cloud))


class Process:
    """The simulated cloud as a process of its own, to be killed."""

    def __init__(self, ledger: Path) -> None:
        self.port = free_port()
        self.ledger = ledger
        self.url = f"http://127.0.0.1:{self.port}/events"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it listens."""
        command = [
            sys.executable,
            "-m",
            "simulators.cloud_http",
            "--port",
            str(self.port),
            "--ledger",
            str(self.ledger),
        ]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert self.process.stdout
        assert b"listening" in self.process.stdout.readline()

    def kill(self) -> None:
        """SIGKILL."""
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            assert self.process.stdout
            self.process.stdout.close()
            self.process = None

    def lines(self) -> list[bytes]:
        """Return the accepted events; a line cut off by the kill was not answered."""
        text = self.ledger.read_bytes() if self.ledger.exists() else b""
        return [line for line in text.split(b"\n") if line.endswith(b"}")]


@pytest.mark.parametrize(("mode", "count"), [("batched", 20_000), ("structured", 4_000)])
def test_the_cloud_is_killed_and_restarted_amid_events(tmp_path: Path, mode: str, count: int) -> None:
    """The cloud's process is killed twice amid a backlog: all arrives, in order, repeats within a window."""
    cloud = Process(tmp_path / "ledger")

    async def main() -> None:
        target = target_at(cloud.url, mode=mode)
        async with running(tmp_path / "journal", target, window_max=WINDOW) as rig:
            ids = rig.append(count)
            for part in (0.2, 0.5):
                await rig.until(lambda part=part: rig.forwarder.status().delivered >= count * part)
                cloud.kill()  # on the loop's thread: nothing is delivered meanwhile
                await asyncio.sleep(0.05)
                assert rig.forwarder.status().delivered < count
                await asyncio.to_thread(cloud.start)
            await rig.until(rig.over)
            assert rig.letters() == []
        seen, repeats, disorder = judge(cloud.lines())
        assert (seen, disorder) == (set(ids), 0)
        assert repeats <= 2 * WINDOW

    try:
        cloud.start()
        asyncio.run(main())
    finally:
        cloud.kill()


def test_the_gateway_is_killed_amid_events(tmp_path: Path) -> None:
    """Started again from the journal as the disk had it at some instant, all arrives; repeats within a window."""
    arrived: list[bytes] = []

    async def fill(folder: Path) -> list[str]:
        async with running(folder, target_at("http://127.0.0.1:1/", mode="batched")) as rig:
            ids = rig.append(8_000)
            await rig.until(lambda: rig.journal.durable_sequence == rig.journal.last_sequence)
            return ids

    async def life(folder: Path, cloud: CloudHttp, after: Path) -> None:
        async with running(folder, target_at(cloud.url, mode="batched", batch_max=50), window_max=300) as rig:
            await rig.until(lambda: len(cloud.accepted) > 900 or rig.over())
            shutil.copytree(folder, after)  # what a kill at this instant leaves
            arrived.extend(raws(cloud))  # what arrives after that instant never did

    async def rest(folder: Path, cloud: CloudHttp) -> None:
        async with running(folder, target_at(cloud.url, mode="batched"), window_max=300) as rig:
            await rig.until(rig.over)
            assert rig.letters() == []
        arrived.extend(raws(cloud))

    ids = asyncio.run(fill(tmp_path / "0"))
    for n in range(5):
        with CloudHttp() as cloud:  # each life its own: what is on its way at the kill is seen by nobody
            asyncio.run(life(tmp_path / str(n), cloud, tmp_path / str(n + 1)))
    with CloudHttp() as cloud:
        asyncio.run(rest(tmp_path / "5", cloud))
    seen, repeats, disorder = judge(arrived)
    assert (seen, disorder) == (set(ids), 0)
    assert repeats <= 5 * 300


def test_alarms_arrive_while_a_backlog_drains_over_http(tmp_path: Path) -> None:
    """Alarms appended amid a large backlog arrive long before it is drained."""

    async def main(cloud: CloudHttp) -> None:
        async with running(tmp_path, target_at(cloud.url, mode="batched", batch_max=50)) as rig:
            rig.append(20_000)
            await rig.until(lambda: len(cloud.accepted) > 500)
            ids = set(rig.append(5, start=90_000, lane="alarm"))
            await rig.until(lambda: rig.journal.durable_sequence >= 20_005)
            durable = len(cloud.accepted)
            await rig.until(lambda: ids <= set(cloud.arrived()))
            arrived = cloud.arrived()
            assert max(map(arrived.index, ids)) < durable + 2_000

    with CloudHttp() as cloud:
        asyncio.run(main(cloud))
