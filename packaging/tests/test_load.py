"""The service under load: killed and stopped while a device sends; judged by books that are not the gateway's."""

from __future__ import annotations

from conftest import Lab, all_figures, figures

STOP_S_MAX = 5.0
KILLS = 6


def test_killed_under_load(lab: Lab) -> None:
    """SIGKILL under load, again and again: systemd starts it again, and each acknowledged message reaches the cloud."""
    boot = lab.run(
        f"""
        install $NEWER
        until_true 60 answers
        use_oracle
        cloud
        systemd-run --quiet --unit=device python3 /lab/in/oracle.py publish --rate 1500 --until /tmp/enough
        for round in $(seq {KILLS}); do
            sleep 2
            pid=$(main_pid)
            kill -9 "$pid"
            killed=$(now)
            until_true 60 another_than "$pid"
            echo "answers again after $(passed "$killed") s"
        done
        sleep 1
        touch /tmp/enough
        until_true 60 sh -c '! systemctl is-active --quiet device'
        echo "judged $(python3 oracle.py judge)"
        echo "restarts $(property NRestarts)"
        edge-gateway status || true
        edge-gateway journal verify
    """
    )
    judged = figures(boot, "judged")
    assert judged["missing"] == 0
    assert judged["acknowledged"] > 1000
    assert f"restarts {KILLS}" in boot.console


def test_stopped_under_load(lab: Lab) -> None:
    """Stopped under load it ends in order within 5 s, and nothing that was acknowledged is lost."""
    boot = lab.run("""
        install $NEWER
        until_true 60 answers
        use_oracle
        cloud
        systemd-run --quiet --unit=device python3 /lab/in/oracle.py publish --rate 2000 --until /tmp/enough
        sleep 4
        for round in 1 2 3; do
            begun=$(now)
            systemctl stop edge-gateway
            echo "stopped {\\"seconds\\": $(passed "$begun"), \\"result\\": \\"$(property Result)\\"}"
            test "$(property Result)" = success
            test "$(property ExecMainStatus)" = 0
            systemctl start edge-gateway
            sleep 2
        done
        touch /tmp/enough
        until_true 60 sh -c '! systemctl is-active --quiet device'
        echo "judged $(python3 oracle.py judge)"
    """)
    assert figures(boot, "judged")["missing"] == 0
    stops = all_figures(boot, "stopped")
    assert len(stops) == 3
    assert max(stop["seconds"] for stop in stops) <= STOP_S_MAX
