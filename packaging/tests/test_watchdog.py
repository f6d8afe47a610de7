"""The unit when its program hangs, crashes, or has nothing to start with: what systemd makes of it."""

from __future__ import annotations

import pytest
from conftest import Lab, figures

WATCHDOG_S = 4
# A send may take 2 s here until its target gives up by itself; then come the stage's own 24 s (forward).
PATIENCE_S = {"loop": 30, "commit": 40, "acknowledge": 30, "forward": 60}
SETTING = """
        mkdir -p /etc/systemd/system/edge-gateway.service.d
        printf '[Service]\\nWatchdogSec=%s\\n' {watchdog} >/etc/systemd/system/edge-gateway.service.d/fast.conf
        systemctl daemon-reload
        install $NEWER
        until_true 60 answers
        cloud
        cp cloud.toml /etc/edge-gateway/gateway.d/50-cloud.toml
        printf 'keep_alive_s = 1\\nanswer_timeout_s = 0.5\\n' >/tmp/patience
        sed -i '/^reconnect_max_s/r /tmp/patience' /etc/edge-gateway/gateway.d/50-cloud.toml
        cp oracle.toml /etc/edge-gateway/profiles/
"""


@pytest.mark.parametrize("stage", sorted(PATIENCE_S))
def test_a_stuck_path_is_ended_and_nothing_is_lost(lab: Lab, stage: str) -> None:
    """A stage hangs: it is named, systemd ends the gateway, stacks are in the log, what was acknowledged arrives."""
    boot = lab.run(
        SETTING.format(watchdog=WATCHDOG_S)
        + f"""
        printf '[gateway]\\nfaults = ["{stage}"]\\nfaults_after_s = 3\\n' >/etc/edge-gateway/gateway.d/60-bench.toml
        systemctl restart edge-gateway
        until_true 60 answers
        hung=$(main_pid)
        systemd-run --quiet --unit=device python3 /lab/in/oracle.py publish --rate 20 --until /tmp/enough
        sleep 3
        began=$(now)
        rm /etc/edge-gateway/gateway.d/60-bench.toml
        until_true {PATIENCE_S[stage]} journalctl -u edge-gateway --grep 'Watchdog timeout' -q
        until_true 60 another_than "$hung"
        echo "hung to answering {{\\"seconds\\": $(passed "$began")}}"
        sleep 1
        touch /tmp/enough
        until_true 60 sh -c '! systemctl is-active --quiet device'
        echo "judged $(python3 oracle.py judge)"
        journalctl -u edge-gateway -o cat --no-pager >/lab/out/log
        echo "restarts $(property NRestarts)"
    """
    )
    said = boot.file("log")
    named, _, after = said.partition("Watchdog timeout")
    assert "is stuck" in named
    assert (f"stage {stage}" if stage != "loop" else "the event loop hangs in gateway/bench.py") in named
    assert "Fatal Python error: Aborted" in after
    judged = figures(boot, "judged")
    assert judged["missing"] == 0
    assert judged["acknowledged"] > 0
    assert "restarts 1" in boot.console


def test_a_crash_again_and_again_is_started_more_slowly(lab: Lab) -> None:
    """The first crashes are started again at once, later ones wait; an orderly stop forgets them."""
    boot = lab.run("""
        install $NEWER
        until_true 60 answers
        for round in 1 2 3 4; do
            pid=$(main_pid)
            kill -SEGV "$pid"
            until_true 60 another_than "$pid"
        done
        test -s /run/edge-gateway/starts.json
        systemctl stop edge-gateway
        test ! -e /run/edge-gateway/starts.json
        systemctl start edge-gateway
        until_true 60 answers
        journalctl -u edge-gateway -o cat --no-pager >/lab/out/log
    """)
    said = boot.file("log")
    assert "waiting 1 s before this start" in said
    assert "Segmentation fault" in said


def test_it_starts_with_anything_missing(lab: Lab) -> None:
    """No credentials folder, a broken target, a serial port that is not there: it runs and says so in STATUS."""
    boot = lab.run("""
        install $NEWER
        until_true 60 answers
        systemctl stop edge-gateway
        rm -r /etc/edge-gateway/credentials
        cat >/etc/edge-gateway/gateway.d/60-odd.toml <<'TOML'
[sources.attic]
serial = "usb:1a86:7523"
profile = "mysensors"
[sources.house]
url = "mqtt://localhost:1999"
[targets.cloud]
type = "mqtt"
urll = "mqtt://nowhere.example"
TOML
        systemctl start edge-gateway
        until_true 60 answers
        echo "said $(property StatusText)"
        echo "status $(edge-gateway status --json | tr -d '\\n')"
        echo '[gateway' >>/etc/edge-gateway/gateway.d/60-odd.toml
        systemctl restart edge-gateway || true
        sleep 5
        echo "result {\\"active\\": \\"$(systemctl is-active edge-gateway)\\", \\"code\\": $(property ExecMainStatus)}"
        test "$(property NRestarts)" = 0
    """)
    status = figures(boot, "status")
    assert [part.partition(":")[0] for part in status["left_out"]] == ["target cloud", "route cloud"]
    said = next(line for line in boot.console.splitlines() if line.startswith("said "))
    assert "left out: target cloud and 1 more" in said
    assert "2 of 2 sources down" in said
    result = figures(boot, "result")
    assert result == {"active": "failed", "code": 78} or result["active"] == "active", "78, or the last good config"


def test_the_start_asks_for_nothing_outside(lab: Lab) -> None:
    """The unit waits for neither network nor time, tells when it is ready, and is as fast as the machine."""
    lab.run("""
        install $NEWER
        until_true 60 answers
        systemctl show -P After edge-gateway | tr ' ' '\\n' | tee /tmp/after
        for each in network network-pre network-online time-set time-sync; do
            if grep -qx "$each.target" /tmp/after; then exit 1; fi
        done
        for round in 1 2 3; do
            systemctl stop edge-gateway
            began=$(now)
            systemctl start edge-gateway
            passed "$began" >>/tmp/starts; echo >>/tmp/starts
        done
        echo "starts {\\"seconds\\": [$(paste -sd, /tmp/starts)]}"
    """)
