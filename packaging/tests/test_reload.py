"""`systemctl reload` on a real systemd: a new target without a restart, a fault that changes nothing and is said."""

from __future__ import annotations

from conftest import Lab, figures


def test_reloaded_under_load(lab: Lab) -> None:
    """Under load a target is added, and a fault refused: the same process goes on, both verbs fail and say where."""
    boot = lab.run("""
        install $NEWER
        cp oracle.toml /etc/edge-gateway/profiles/oracle.toml
        systemctl restart edge-gateway
        until_true 60 answers
        cloud
        pid=$(main_pid)
        systemd-run --quiet --unit=device python3 /lab/in/oracle.py publish --rate 500 --until /tmp/enough
        sleep 2
        cp cloud.toml /etc/edge-gateway/gateway.d/50-cloud.toml
        systemctl reload edge-gateway
        until_true 60 test -s /var/lib/oracle/came
        test "$(main_pid)" = "$pid"

        echo 'this is no TOML' >/etc/edge-gateway/gateway.d/60-broken.toml
        if systemctl reload edge-gateway; then exit 1; fi
        systemctl status edge-gateway --no-pager | tee /tmp/status
        grep 60-broken.toml:1 /tmp/status
        grep EG-725 /tmp/status
        code=0; edge-gateway reload >/tmp/said 2>&1 || code=$?
        test $code = 78
        grep 60-broken.toml:1 /tmp/said
        test "$(main_pid)" = "$pid"
        systemctl is-active edge-gateway
        edge-gateway audit | tee /tmp/audit
        rm /etc/edge-gateway/gateway.d/60-broken.toml
        systemctl reload edge-gateway
        test "$(main_pid)" = "$pid"

        touch /tmp/enough
        until_true 60 sh -c '! systemctl is-active --quiet device'
        echo "judged $(python3 oracle.py judge)"
        edge-gateway status
    """)
    assert figures(boot, "judged")["missing"] == 0
