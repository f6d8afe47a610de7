"""The unit's limits on a real systemd: as the file says, and a rule that eats memory never comes near them."""

from __future__ import annotations

from pathlib import Path

from conftest import Lab, figures

MIB = 2**20
MEMORY_MAX = 448 * MIB
SET = {
    "MemoryMax": str(MEMORY_MAX),
    "MemoryHigh": "infinity",
    "TasksMax": "128",
    "LimitNOFILE": "8192",
    "LimitCORE": "0",
    "OOMPolicy": "continue",
    "OOMScoreAdjust": "-200",
    "CPUWeight": "200",
    "IOWeight": "200",
}
HUNGRY = '''
from gateway.rules import rule

EATEN = []


@rule("reading_taken")
def eats(event, ctx):
    """Take memory and keep it."""
    while True:
        EATEN.append(b"x" * (4 << 20))
'''
MODEST = '''
from gateway.rules import rule


@rule("reading_taken")
def modest(event, ctx):
    """Say that a reading came."""
    ctx.emit("reading_seen")
'''
PEAK = """
import json, pathlib, time
group = pathlib.Path("/sys/fs/cgroup/system.slice/edge-gateway.service")
most = tasks = 0
while not pathlib.Path("/tmp/enough").exists():
    pages = 0
    for process in (group / "cgroup.procs").read_text().split():
        try:
            pages += int(pathlib.Path(f"/proc/{process}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue  # it has just ended
    most = max(most, pages * 4096)
    tasks = max(tasks, len((group / "cgroup.threads").read_text().split()))
    time.sleep(0.01)
print("peak", json.dumps({"bytes": most, "tasks": tasks}))
"""


def test_limits_are_as_written(lab: Lab) -> None:
    """Memory, tasks, files, core and weights: systemd has each limit as the unit says it."""
    boot = lab.run(f"""
        install $NEWER
        until_true 60 answers
        for name in {" ".join(SET)}; do echo "limit $name=$(property $name)"; done
    """)
    said = dict(line.split()[1].split("=") for line in boot.console.splitlines() if line.startswith("limit "))
    assert said == SET


def test_a_rule_that_eats_memory_is_stopped_long_before(lab: Lab, tmp_path: Path) -> None:
    """It is ended by its worker's own limit and named; the gateway and the other rule go on, far below MemoryMax."""
    files = {"hungry.py": HUNGRY, "modest.py": MODEST, "peak.py": PEAK}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    boot = lab.run(
        """
        install $NEWER
        cp oracle.toml /etc/edge-gateway/profiles/
        cp hungry.py modest.py /etc/edge-gateway/rules/
        systemctl restart edge-gateway
        until_true 60 answers
        pid=$(main_pid)
        until_true 60 sh -c 'edge-gateway rules list | grep -q modest'
        systemd-run --quiet --unit=peak -p StandardOutput=file:/tmp/peak python3 /lab/in/peak.py
        mosquitto_pub -q 1 -t oracle/hall/reading -m '{"n": 1}'
        until_true 120 sh -c 'edge-gateway rules list | grep -E "eats.*(quarantined|stopped)"'
        mosquitto_pub -q 1 -t oracle/hall/reading -m '{"n": 2}'
        until_true 60 sh -c 'test "$(edge-gateway events --json --limit 1000 | grep -c reading_seen)" -ge 2'
        touch /tmp/enough
        until_true 30 grep -q bytes /tmp/peak
        cat /tmp/peak
        edge-gateway rules list || true
        test "$(main_pid)" = "$pid"
        test "$(property NRestarts)" = 0
        journalctl -u edge-gateway -o cat --no-pager | tail -30
    """,
        files=[tmp_path / name for name in files],
    )
    peak = figures(boot, "peak")
    assert peak["bytes"] < MEMORY_MAX * 0.9
    assert peak["tasks"] < int(SET["TasksMax"]) / 2
