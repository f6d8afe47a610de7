"""A backtest of the shipped rules over a busy house comes out the same, byte for byte, in any process."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from tests.rules.recorded import Recorder

CATALOGUE = Path(__file__).parents[2] / "rules" / "catalogue"
EVENTS = 700
DEVICES = [
    ("house/z2m:front", "front-door", "hall", "door"),
    ("house/z2m:bath", "window-bath", "bath", "window"),
    ("house/z2m:kitchen", "window-kitchen", "kitchen", "window"),
    ("house/z2m:trv-bath", "trv-bath", "bath", "thermostat"),
    ("house/z2m:trv-kitchen", "trv-kitchen", "kitchen", "thermostat"),
    ("house/z2m:freezer", "freezer", "cellar", "freezer"),
    ("house/z2m:leak", "leak-bath", "bath", "leak"),
    ("house/z2m:valve", "valve-main", "cellar", "valve"),
    ("house/z2m:siren-hall", "siren-hall", "hall", "siren"),
    ("house/z2m:siren-attic", "siren-attic", "attic", "siren"),
    ("house/frigate:drive", "cam-drive", "drive", "camera"),
    ("house/z2m:light", "light-drive", "drive", "light"),
]


def live(recorder: Recorder) -> None:
    """Let a house be busy for some hours: the same each time."""
    dice, seconds = random.Random(5), 0.0
    for _ in range(EVENTS):
        seconds += dice.expovariate(1 / 60)
        device, _, _, kind = dice.choice(DEVICES)
        on = dice.random() < 0.5
        if kind in ("door", "window"):
            recorder.event(seconds, f"{kind}_{'opened' if on else 'closed'}", device, open=on)
        elif kind == "leak":
            recorder.event(seconds, "leak_detected" if on else "leak_cleared", device, leak=on)
        elif kind in ("freezer", "thermostat"):
            degrees = dice.uniform(-25, -5) if kind == "freezer" else dice.uniform(3, 30)
            recorder.event(seconds, "temperature_changed", device, temperature=round(degrees, 1))
        elif kind == "camera":
            recorder.event(seconds, "object_detected", device, **{"object.label": "person", "object.score": 0.9})
        elif on:
            mode = dice.choice(("home", "away", "night"))
            recorder.event(seconds, "mode_changed", actor="person:anna", mode=mode)
        else:
            recorder.event(seconds, "device_offline", device, online=False)


def backtest(folder: Path, hash_seed: str) -> bytes:
    """Run it in a process whose sets and dictionaries of texts are ordered in a way of their own."""
    words = ["rules", "backtest", "--json", "--rules", str(CATALOGUE), "--config", str(folder / "gateway.toml")]
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        capture_output=True, timeout=240, check=False, env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b""), done.stderr
    return done.stdout


def test_the_same_in_every_process(tmp_path: Path) -> None:
    """Hundreds of alerts, commands and notifications of a dozen rules, in the same order with the same ids."""
    head = '[gateway]\nstate = "state"\ntimezone = "UTC"\nlocation = { latitude = 52.5, longitude = 13.4 }\n'
    (tmp_path / "gateway.toml").write_text(head)
    entries = [f'[[device]]\nid = "{i}"\nname = "{n}"\nroom = "{r}"\nkind = "{k}"\n' for i, n, r, k in DEVICES]
    (tmp_path / "devices.toml").write_text("".join(entries))
    recorder = Recorder(tmp_path / "state" / "journal")
    live(recorder)
    recorder.close()
    first = backtest(tmp_path, "1")
    assert first.count(b"\n") > 200
    assert first == backtest(tmp_path, "2")
