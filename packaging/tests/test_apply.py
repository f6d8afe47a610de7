"""`edge-gateway apply` on a real systemd, under load: tried, confirmed, gone back, and no end that systemd sees."""

from __future__ import annotations

from conftest import Lab, figures


def test_applied_under_load(lab: Lab) -> None:
    """A bundle is confirmed, one with a wrong port goes back: one process for systemd and its watchdog, and no loss."""
    boot = lab.run("""
        mkdir -p /etc/systemd/system/edge-gateway.service.d
        printf '[Service]\\nWatchdogSec=4\\n' >/etc/systemd/system/edge-gateway.service.d/fast.conf
        systemctl daemon-reload
        install $NEWER
        cloud
        use_oracle
        pid=$(main_pid)
        systemd-run --quiet --unit=device python3 /lab/in/oracle.py publish --rate 200 --until /tmp/enough
        sleep 2
        cp -r /etc/edge-gateway /tmp/good
        echo 'journal.max_delay_ms = 33' >/tmp/good/gateway.d/60-delay.toml
        cp -r /tmp/good /tmp/bad
        sed -i s/1884/1885/ /tmp/bad/gateway.d/50-cloud.toml

        began=$(now)
        edge-gateway apply /tmp/good --confirm 5m
        echo "applied {\\"seconds\\": $(passed $began)}"
        test "$(main_pid)" = "$pid"
        edge-gateway check --effective | grep 'max_delay_ms = 33'
        systemctl is-active edge-gateway
        began=$(now)
        edge-gateway apply /tmp/bad --confirm 10s && exit 1
        echo "went_back {\\"seconds\\": $(passed $began)}"
        until_true 60 answers
        test "$(main_pid)" = "$pid"
        test "$(property NRestarts)" = 0
        sleep 5
        test "$(property ActiveState)" = active
        test "$(main_pid)" = "$pid"
        edge-gateway apply --status
        touch /tmp/enough
        until_true 60 sh -c '! systemctl is-active --quiet device'
        echo "judged $(python3 oracle.py judge)"
        kill -STOP "$pid"
        until_true 30 journalctl -u edge-gateway --grep 'Watchdog timeout' -q
        until_true 60 another_than "$pid"
        edge-gateway check --effective | grep 'max_delay_ms = 33'
    """)
    assert figures(boot, "judged")["missing"] == 0
    assert figures(boot, "applied")["seconds"] > 0
    assert figures(boot, "went_back")["seconds"] > 10
