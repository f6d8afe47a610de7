"""`systemctl reload` on a real systemd: a new target without a restart, a fault that changes nothing."""

from __future__ import annotations

from conftest import Lab, figures


def test_reloaded_under_load(lab: Lab) -> None:
    """A target is added by a reload under load: the same process goes on, and what it kept reaches the cloud."""
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
        systemctl reload edge-gateway || true
        until_true 60 sh -c 'journalctl -u edge-gateway -o cat | grep -q 60-broken.toml:1'
        test "$(main_pid)" = "$pid"
        systemctl is-active edge-gateway
        rm /etc/edge-gateway/gateway.d/60-broken.toml
        systemctl reload edge-gateway
        test "$(main_pid)" = "$pid"

        touch /tmp/enough
        until_true 60 sh -c '! systemctl is-active --quiet device'
        echo "judged $(python3 oracle.py judge)"
        edge-gateway status
    """)
    assert figures(boot, "judged")["missing"] == 0
