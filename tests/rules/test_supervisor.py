"""The worker process and its supervisor, with the real journal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import msgspec

from gateway.clock import NS_PER_S, rfc3339
from gateway.event import Event
from gateway.rules.language.acting import Acting
from gateway.rules.protocol import DeviceEntry, Inventory
from gateway.rules.worker.blame import Activity
from tests.rules.rig import PATIENCE_S, MovedClock, Rig, running

COUNTS = {
    "counts.py": """
    @rule("door_opened")
    def counts(event, ctx):
        ctx.state["count"] = ctx.state.get("count", 0) + 1
        ctx.emit("door_counted", {"count": ctx.state["count"], "number": event["number"]})
    """
}


def counted(rig: Rig) -> list[int]:
    """Return the numbers of the events that were counted, in order."""
    return [event.data["number"] for event in rig.outputs if event.type == "door_counted"]


def stopped(pid: int) -> bool:
    """Return whether a process has come to a stop, or to its end (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "TtZX"
    except OSError:
        return True


async def kill(rig: Rig) -> None:
    """End the worker from outside at an instant when no rule is running, so that nobody is blamed."""
    while True:
        await rig.until(lambda: rig.rules.state.value == "running")
        process = rig.rules._process
        assert process is not None
        pid = process.pid
        os.kill(pid, signal.SIGSTOP)
        await rig.until(partial(stopped, pid))  # the signal takes its time on a machine with much to do
        if process is rig.rules._process:  # else another one took over meanwhile, and this one has ended
            if process.blame().activity is Activity.ENGINE:
                break
            os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(0.001)
    os.kill(pid, signal.SIGKILL)


def test_outputs_state_and_cursor_in_one_outcome(tmp_path: Path) -> None:
    """What a rule puts out comes back with its state and the cursor behind its cause."""

    async def run() -> None:
        async with running(tmp_path, COUNTS) as rig:
            cause = rig.event("door_opened", number=7)
            await rig.until(lambda: rig.outputs)
            (output,) = rig.outputs
            assert (output.type, output.data, output.cause) == ("door_counted", {"count": 1, "number": 7}, cause.id)
            outcome = next(outcome for outcome in rig.outcomes if outcome.outputs)
            assert ("rule_state", "counts|state|count", 1) in outcome.puts
            assert rig.journal.get("cursors", "rules")["after"] >= int(cause.sequence)

    asyncio.run(run())


def test_a_worker_killed_at_any_time_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Five kills amid 2,000 events: each event is counted once, in order."""

    async def run() -> None:
        async with running(tmp_path, COUNTS) as rig:
            for number in range(2000):
                rig.event("door_opened", number=number)
                if number % 20 == 0:  # who takes over looks at what was on its way one by one: not too much of it
                    await asyncio.sleep(0.001)
                    await rig.until(lambda sent=number: len(rig.outputs) >= sent - 40)
                if number % 400 == 300:  # deaths in a row that nobody explains would be the rule's
                    await rig.until(lambda: rig.rules._verdicts.pause_s == 0)
                if number % 400 == 350:
                    await kill(rig)
            await rig.settled()
            assert counted(rig) == list(range(2000))
            assert [event.data["count"] for event in rig.outputs] == list(range(1, 2001))
            assert len({event.id for event in rig.outputs}) == 2000
            assert rig.rules.starts == 6
            assert rig.rules.quarantined() == []

    asyncio.run(run())


def test_what_memory_does_not_hold_is_read_back_from_the_journal(tmp_path: Path) -> None:
    """With room for fifty records a burst of thousands is counted all the same, in order."""

    async def run() -> None:
        async with running(tmp_path, COUNTS, records_max=50) as rig:
            for number in range(3000):
                rig.event("door_opened", number=number)
                if number % 500 == 0:
                    await asyncio.sleep(0)
            assert len(rig.rules._backlog) <= 50
            await rig.settled()
            assert counted(rig) == list(range(3000))
            await kill(rig)
            for number in range(3000, 4000):
                rig.event("door_opened", number=number)
            await rig.settled()
            assert counted(rig) == list(range(4000))

    asyncio.run(run())


def test_a_restart_goes_on_from_the_cursor(tmp_path: Path, moved: type[MovedClock]) -> None:
    """State, timers and cursor come back with the journal; what was appended meanwhile is looked at once."""
    files = {
        "timers.py": """
        @timer
        def later(ctx, number): ctx.emit("later_done", {"number": number})
        @rule("door_opened")
        def starts(event, ctx):
            ctx.state["count"] = ctx.state.get("count", 0) + 1
            ctx.after("1h" if ctx.state["count"] == 1 else "1s", later, number=ctx.state["count"])
        """
    }

    async def first() -> None:
        async with running(tmp_path, files) as rig:
            rig.event("door_opened")
            await rig.settled()
            rig.rules.feed = lambda events, raws: None  # type: ignore[method-assign]
            rig.event("door_opened")  # journalled, and never seen by this worker

    async def second() -> None:
        async with running(tmp_path, files) as rig:
            await rig.until(lambda: len(rig.outputs) == 2)
            assert sorted(event.data["number"] for event in rig.outputs) == [1, 2]
            assert rig.journal.get("rule_state", "starts|state|count") == 2
            assert not rig.journal.table("timers")

    asyncio.run(first())
    moved.sleep(3600)
    asyncio.run(second())


def test_what_happened_while_the_gateway_was_off_switches_nothing(tmp_path: Path) -> None:
    """An event of an hour ago is emitted about and commanded nothing for."""
    files = {
        "light.py": """
        @rule("motion_detected")
        def light(event, ctx):
            ctx.emit("was_seen")
            ctx.command("light", "set_on", True)
        """
    }

    async def run() -> None:
        async with running(tmp_path, files, [DeviceEntry("house/test:light", "light")]) as rig:
            ago = rfc3339(rig.clock.wall_ns() - 3600 * NS_PER_S)
            rig.record(Event(source="/test/house", type="motion_detected", subject="house/test:motion", time=ago))
            await rig.until(lambda: "command_suppressed" in rig.types())
            assert "command_requested" not in rig.types()
            rig.event("motion_detected", "house/test:motion")
            await rig.until(lambda: "command_requested" in rig.types())

    asyncio.run(run())


def test_events_nobody_looks_at_are_not_sent_and_the_cursor_moves(tmp_path: Path) -> None:
    """The worker sees only types and fields its rules name; the rest does not hold the journal back."""

    async def run() -> None:
        async with running(tmp_path, COUNTS) as rig:
            await rig.settled()
            for _ in range(100):
                last = rig.event("humidity_changed", humidity=50)
            assert len(rig.rules._backlog) == 0
            assert rig.rules.seen == int(last.sequence)

    asyncio.run(run())


def test_timers_fire_by_themselves(tmp_path: Path) -> None:
    """@every ticks and what lasts begins, as records of the journal's lane of time."""
    files = {
        "time.py": """
        @every("1s")
        def ticks(ctx): ctx.emit("tick_done")
        @when(open=True, lasts="1s")
        def left_open(door, ctx): ctx.alert("open")
        """
    }

    async def run() -> None:
        async with running(tmp_path, files) as rig:
            rig.event("door_opened", open=True)
            await rig.until(lambda: rig.types().count("tick_done") >= 2 and "alert_raised" in rig.types())
            timers = [event for event in rig.recorded if event.type == "timer_fired"]
            assert {event.lane for event in timers} == {"timer"}
            assert {event.subject for event in timers} == {"rule:ticks", "rule:left_open"}
            caused = {event.cause for event in rig.outputs}
            assert caused <= {event.id for event in timers}

    asyncio.run(run())


def test_a_new_device_is_known_by_its_class(tmp_path: Path) -> None:
    """A thermostat nobody has listed is a thermostat to a condition from its first event on."""
    files = {
        "warm.py": """
        @when(kind="thermostat", temperature=above(20))
        def warm(trv, ctx): ctx.emit("warm_noted", {"kind": trv.kind})
        """
    }

    async def run() -> None:
        async with running(tmp_path, files) as rig:
            rig.values["house/z2m:trv"] = {"$": {"class": "thermostat"}}
            rig.event("temperature_changed", "house/z2m:trv", temperature=21.5)
            await rig.until(lambda: rig.types() == ["warm_noted"])

    asyncio.run(run())


def test_a_worker_is_polite_and_named(tmp_path: Path) -> None:
    """It has a name of its own and a low priority, and none of the gateway's environment or open files."""

    async def run() -> None:
        os.environ["EDGE_GATEWAY_TEST_SECRET"] = "x"
        try:
            async with running(tmp_path, COUNTS) as rig:
                rig.event("door_opened", number=1)
                await rig.until(lambda: rig.outputs)  # it has settled: no file is open for a moment only
                assert rig.rules._process is not None
                proc = Path(f"/proc/{rig.rules._process.pid}")
                assert (proc / "comm").read_text().strip() == "edge-rules"
                assert int((proc / "stat").read_text().rpartition(")")[2].split()[16]) >= 10
                assert b"SECRET" not in (proc / "environ").read_bytes()
                opened = [str(fd.readlink()) for fd in (proc / "fd").iterdir()]
                assert not [name for name in opened if "journal" in name]
        finally:
            del os.environ["EDGE_GATEWAY_TEST_SECRET"]

    asyncio.run(run())


def test_a_worker_does_not_outlive_its_gateway(tmp_path: Path) -> None:
    """A gateway that is killed takes its worker along, also one that hangs in a rule."""
    script = textwrap.dedent(
        """
        import asyncio, pathlib, sys
        from tests.rules.rig import running
        async def main():
            files = {"hang.py": '@rule("door_opened")\\ndef hang(event, ctx):\\n    while True: pass\\n'}
            async with running(pathlib.Path(sys.argv[1]), files, call_s_max=100) as rig:
                rig.event("door_opened")
                await rig.until(lambda: rig.rules._process.blame().activity == 1)
                print(rig.rules._process.pid, flush=True)
                await asyncio.sleep(100)
        asyncio.run(main())
        """
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as gateway:
        assert gateway.stdout is not None
        worker = int(gateway.stdout.readline())
        assert Path(f"/proc/{worker}").exists()
        gateway.kill()
    ends = time.monotonic() + PATIENCE_S
    while _alive(worker) and time.monotonic() < ends:
        time.sleep(0.01)
    assert not _alive(worker)


def _alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_an_edited_device_is_known_at_once(tmp_path: Path) -> None:
    """A device that gets another room is looked at anew, without a restart."""
    files = {"open.py": '@when(room="bath", open=True)\ndef bath_open(door, ctx): ctx.emit("bath_noted")\n'}

    async def run() -> None:
        devices = [DeviceEntry("house/test:w", "w", "hall")]
        async with running(tmp_path, files, devices) as rig:
            # a room nobody has is a fault: nothing is loaded until a device is in it
            assert [fault.what for fault in rig.rules.faults] == ["there is no room 'bath'"]
        devices = [DeviceEntry("house/test:w", "w", "hall"), DeviceEntry("house/test:x", "x", "bath")]
        async with running(tmp_path, files, devices) as rig:
            rig.event("window_opened", "house/test:w", open=True)
            await rig.settled()
            assert rig.types() == []
            rig.rules.installed(Inventory([msgspec.structs.replace(devices[0], room="bath")]))
            await rig.until(lambda: rig.types() == ["bath_noted"])

    asyncio.run(run())


def test_what_counts_for_all_devices_is_live_too(tmp_path: Path) -> None:
    """What is only observed, and whose values are forgotten, reaches the running worker between two events."""
    files = {"turn.py": '@rule("window_opened")\ndef turn(event, ctx):\n'
                        '    ctx.emit("knew", {"temperature": event.device.temperature})\n'
                        '    ctx.hold("lamp" if event["open"] else "fan", on=True)\n'}  # fmt: skip
    devices = [DeviceEntry(f"house/test:{name}", name, "hall") for name in ("w", "lamp", "fan")]

    async def run() -> None:
        async with running(tmp_path, files, devices) as rig:
            rig.event("temperature_changed", "house/test:w", temperature=20.5)
            rig.event("window_opened", "house/test:w", open=True)
            await rig.until(lambda: "command_requested" in rig.types())
            assert "observe" not in rig.outputs[-1].data
            rig.rules.installed(Inventory(devices, Acting(observed=("turn",)), ("house/test:w",)))
            rig.event("window_opened", "house/test:w", open=False)
            await rig.until(lambda: any(event.subject == "house/test:fan" for event in rig.outputs))
            assert [event.data["observe"] for event in rig.outputs if event.subject == "house/test:fan"][:1] == [True]
            assert [event.data["temperature"] for event in rig.outputs if event.type == "knew"] == [20.5, None]

    asyncio.run(run())
