"""Rules that do harm: each is stopped at its limit, blamed by name, and the others go on. All with the real process."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from tests.rules.rig import running

GOOD = """
@rule("door_opened")
def good(event, ctx):
    ctx.emit("door_counted", {"count": event["count"]})
"""

CATCHES = """while True:
        try: [0 for _ in iter(int, 1)]
        except BaseException: pass
"""
KILLED = {  # what only ends with the worker
    "loops": "while True: pass",
    "loops and catches everything": CATCHES,
    "sleeps": "import time; time.sleep(3600)",
    "waits for a lock": "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "exits at once": "import os; os._exit(0)",
    "crashes in C": "import faulthandler; faulthandler._sigsegv()",
    "closes all descriptors": "import os; os.closerange(3, 1000); ctx.log('x'); import time; time.sleep(3600)",
    "raises KeyboardInterrupt": "raise KeyboardInterrupt",
    "is slow in C": "sum(range(10**12))",
}
RAISES = {  # what ends with the call
    "raises": "raise ValueError('no')",
    "calls exit": "exit()",
    "calls sys.exit": "import sys; sys.exit(3)",
    "kills itself": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "calls C": "import ctypes; ctypes.string_at(0)",
    "recurses": "f = lambda: f(); f()",
    "eats memory": "data = bytearray(10**12)",
    "eats memory slowly": "data = []\n    while True: data.append(bytearray(10**7))",
    "forks": "import os; os.fork()",
    "starts a program": "import subprocess; subprocess.run(['true'])",
    "puts out too much": "[ctx.emit('noise_made') for _ in range(10**6)]",
    "puts out something huge": "ctx.emit('noise_made', {'text': 'x' * 10**8})",
    "keeps too much": "ctx.state['all'] = 'x' * 10**6",
    "sets too many timers": "[ctx.after('1h', later) for _ in range(10**5)]",
    "puts out what is no JSON": "ctx.emit('noise_made', {'what': object()})",
}
TIMER = "\n@timer\ndef later(ctx): pass\n"


def bad(body: str) -> str:
    """Return a rule file whose rule does `body` when a door is opened."""
    return f'{TIMER}\n@rule("door_opened")\ndef bad(event, ctx):\n    {body}\n'


@pytest.mark.parametrize("body", KILLED.values(), ids=KILLED)
def test_a_rule_that_ends_or_holds_the_worker(tmp_path: Path, body: str, caplog: pytest.LogCaptureFixture) -> None:
    """The rule is ended at its limit, in quarantine, named with file and line; the other rule misses nothing."""

    async def run() -> None:
        async with running(tmp_path, {"bad.py": bad(body), "good.py": GOOD}, call_s_max=0.3) as rig:
            for count in range(3):
                rig.event("door_opened", count=count)
            await rig.until(lambda: rig.types().count("door_counted") == 3)
            rig.event("door_opened", count=3)
            await rig.settled()
            counts = [event.data["count"] for event in rig.outputs if event.type == "door_counted"]
            assert counts == [0, 1, 2, 3]
            assert len({event.id for event in rig.outputs}) == len(rig.outputs)
            assert rig.rules.starts == 2
            (alert,) = [event for event in rig.outputs if event.type == "alert_raised"]
            assert alert.subject == "rule:bad"
            assert "quarantine" in alert.data["text"]
            assert "bad.py:" in alert.data["text"]
            assert [name for name, _ in rig.rules.quarantined()] == ["bad"]

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert "bad.py:" in caplog.text


@pytest.mark.parametrize("body", RAISES.values(), ids=RAISES)
def test_a_rule_that_raises(tmp_path: Path, body: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of the call remains, its fault has file and line, the worker lives on and the other rule goes on."""

    async def run() -> None:
        async with running(tmp_path, {"bad.py": bad(body), "good.py": GOOD}, call_s_max=5.0) as rig:
            rig.event("door_opened", count=0)
            await rig.until(lambda: rig.rules.faults)
            rig.event("door_opened", count=1)
            await rig.until(lambda: rig.types().count("door_counted") == 2)
            assert "noise_made" not in rig.types()
            assert rig.rules.starts == 1
            assert rig.rules.faults[0].rule == "bad"
            assert rig.rules.faults[0].line >= 6

    asyncio.run(run())


def test_a_runaway_is_named_with_the_line_it_hangs_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log shows the line where the rule was when it was ended, and its stack."""

    async def run() -> None:
        async with running(tmp_path, {"bad.py": bad("x = 1\n    while x:\n        x += 1")}, call_s_max=0.3) as rig:
            rig.event("door_opened")
            await rig.until(lambda: "alert_raised" in rig.types())

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert "bad.py:10: rule bad did not return within 0.3 s" in caplog.text or "bad.py:9: rule bad did" in caplog.text
    assert "in bad" in caplog.text


def test_a_file_that_hangs_while_it_is_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file whose top level never ends is left out; the others are loaded."""

    async def run() -> None:
        async with running(tmp_path, {"bad.py": "while True: pass\n", "good.py": GOOD}, load_s_max=0.5) as rig:
            rig.event("door_opened", count=7)
            await rig.until(lambda: rig.types() == ["door_counted"])
            assert any("bad.py" in str(fault) for fault in rig.rules.faults)

    asyncio.run(run())


def test_a_circle_of_rules_ends(tmp_path: Path) -> None:
    """Two rules that react to each other stop after a few hops, as a fault of the last one."""

    async def run() -> None:
        files = {
            "circle.py": """
            @rule("door_opened", "pong_sent")
            def ping(event, ctx): ctx.emit("ping_sent")
            @rule("ping_sent")
            def pong(event, ctx): ctx.emit("pong_sent")
            """
        }
        async with running(tmp_path, files) as rig:
            rig.event("door_opened")
            await rig.until(lambda: rig.rules.faults)
            await rig.settled()
            assert rig.types().count("ping_sent") == 4
            assert "in a circle" in rig.rules.faults[0].what

    asyncio.run(run())
