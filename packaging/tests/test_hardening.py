"""The unit in a machine: its exposure, what each wall forbids, and that the gateway works behind all of them.

docs/reference/hardening.md is the table; each line of it names a probe of inside/probe.py or a test here.
"""

from __future__ import annotations

import json
import os
import pty
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import Lab, figures

SERIAL_LINE = b"12;6;1;0;0;36.5\n"  # MySensors: node 12, child 6, set, temperature
DIALOUT_GID = 20  # Debian's, in every release
EVERY_S = 0.2

RULE = '''
from gateway.rules import rule


@rule("reading_taken")
def echo(event, ctx):
    """Say that a reading came."""
    ctx.emit("reading_seen")
'''


def test_exposure(lab: Lab) -> None:
    """`systemd-analyze security` gives the running unit 2.0 or less."""
    boot = lab.run("""
        install $NEWER
        until_true 60 answers
        systemd-analyze security --no-pager --threshold=20 edge-gateway.service | tail -1
        score=$(systemd-analyze security --no-pager edge-gateway.service | grep -o 'service: [0-9.]*' | cut -d' ' -f2)
        echo "exposure {\\"score\\": $score, \\"systemd\\": $(systemctl --version | awk 'NR == 1 { print $2 }')}"
    """)
    assert figures(boot, "exposure")["score"] <= 2.0


def test_each_wall_stands_and_nothing_needed_is_behind_one(lab: Lab) -> None:
    """In the unit's own sandbox every forbidden thing is refused, and everything the gateway needs works."""
    boot = lab.run("""
        install $NEWER
        until_true 60 answers
        useradd -m anna && touch /home/anna/diary /tmp/of-others
        printf s3cret >/etc/edge-gateway/credentials/web
        systemctl stop edge-gateway
        cp probe.py /usr/local/lib/probe.py
        sed -e '/^Type=\\|^ExecReload=\\|^Restart\\|^Watchdog/d' \
            -e 's,^ExecStart=.*,Type=oneshot\\nExecStart=/usr/bin/python3 -B /usr/local/lib/probe.py,' \
            /usr/lib/systemd/system/edge-gateway.service >/etc/systemd/system/probe.service
        systemctl daemon-reload
        systemctl start probe || true
        journalctl -u probe -o cat --no-pager | grep '^{' | tee /lab/out/probes
    """)
    probes = [json.loads(line) for line in boot.file("probes").splitlines()]
    fallen = [each for each in probes if each["kind"] == "forbidden" and each["ended"] == "done"]
    broken = [each for each in probes if each["kind"] == "needed" and each["ended"] != "done"]
    assert len(probes) > 40
    assert (fallen, broken) == ([], [])


@contextmanager
def serial_device() -> Iterator[Path]:
    """Have a device that says its temperature on a port, again and again."""
    device, port = pty.openpty()
    tty.setraw(port)
    path = Path(os.ttyname(port))
    os.chown(path, 0, DIALOUT_GID)
    path.chmod(0o660)
    over = threading.Event()

    def speak() -> None:
        while not over.wait(EVERY_S):
            os.write(device, SERIAL_LINE)

    speaking = threading.Thread(target=speak)
    speaking.start()
    try:
        yield path
    finally:
        over.set()
        speaking.join()
        os.close(device)
        os.close(port)


def test_the_gateway_works_behind_them(lab: Lab, tmp_path: Path) -> None:
    """Serial port, rules behind the kernel's walls, a credential, names, a person's name: all in the hardened unit."""
    (tmp_path / "echo.py").write_text(RULE)
    (tmp_path / "60-attic.toml").write_text(
        '[sources.attic]\nserial = "/dev/ttyUSB0"\nprofile = "mysensors"\n'
        '[sources.house]\nlisten = "127.0.0.1:1883"\n'
        '[sources.web]\nhttp = "127.0.0.1:8480"\ntoken = { credential = "web" }\n'
    )
    script = """
        install $NEWER
        until_true 60 answers
        cloud
        printf s3cret >/etc/edge-gateway/credentials/web
        cp oracle.toml /etc/edge-gateway/profiles/ && cp cloud.toml /etc/edge-gateway/gateway.d/50-cloud.toml
        sed -i s/127.0.0.1:1884/localhost:1884/ /etc/edge-gateway/gateway.d/50-cloud.toml
        cp 60-attic.toml /etc/edge-gateway/gateway.d/ && cp echo.py /etc/edge-gateway/rules/
        edge-gateway check || true
        systemctl restart edge-gateway
        until_true 60 answers
        mosquitto_pub -q 1 -t oracle/hall/reading -m '{"n": 4711}'
        until_true 60 grep -qx 4711 /var/lib/oracle/came
        until_true 60 sh -c 'edge-gateway events --json --limit 1000 | grep -q reading_seen'
        until_true 60 sh -c 'edge-gateway events --json --limit 1000 | grep -q attic/mysensors'
        for token in s3cret wrong; do
            python3 -c '
import sys, urllib.request, urllib.error
request = urllib.request.Request("http://127.0.0.1:8480/x", b"1", {"Authorization": "Bearer " + sys.argv[1]})
try: print("posted", sys.argv[1], urllib.request.urlopen(request).status)
except urllib.error.HTTPError as error: print("posted", sys.argv[1], error.code)' $token
        done
        useradd -m -G edge-gateway anna
        setpriv --reuid anna --regid anna --init-groups edge-gateway rules disable echo --for 1h
        until_true 30 sh -c 'edge-gateway events --json --limit 1000 | grep -q person:anna'
        worker=$(pgrep -u edge-gateway -f gateway.rules.worker | head -1)
        echo "worker {\\"nice\\": $(ps -o ni= -p $worker), \\"oom\\": $(cat /proc/$worker/oom_score_adj)}"
        echo "status $(edge-gateway status --json | tr -d '\\n')"
    """
    with serial_device() as port:
        boot = lab.run(script, files=[tmp_path / "echo.py", tmp_path / "60-attic.toml"], binds={port: "/dev/ttyUSB0"})
    status, worker = figures(boot, "status"), figures(boot, "worker")
    enforced = status["rules"]["enforced"]["by"]
    assert {who.partition(" ")[0] for who in enforced.values()} == {"kernel"}, enforced
    assert worker["nice"] > 0
    assert worker["oom"] > 0
    assert status["left_out"] == []
    assert "posted s3cret 404" in boot.console, "nobody reads it, but it was let in"
    assert "posted wrong 401" in boot.console
