"""Another version over a full backlog, and back: what was kept is kept, what a person wrote stays."""

from __future__ import annotations

from conftest import Lab, figures

QUEUED = 100_000


def test_upgrade_and_downgrade_with_a_backlog(lab: Lab) -> None:
    """Upgraded, downgraded and upgraded again with 100,000 events queued, each one of them reaches the cloud."""
    boot = lab.run(
        f"""
        install $OLDER
        until_true 60 answers
        edge-gateway --version | grep -q before1
        use_oracle
        echo '# changed by hand' >>/etc/edge-gateway/gateway.toml
        python3 oracle.py publish --count {QUEUED}
        edge-gateway status || true
        edge-gateway status --json >/lab/out/queued.json || true

        begun=$(now)
        install $NEWER
        until_true 60 answers
        echo "upgraded {{\\"seconds\\": $(passed "$begun")}}"
        edge-gateway --version | grep -v before1
        grep -qx '# changed by hand' /etc/edge-gateway/gateway.toml
        test ! -e /etc/edge-gateway/gateway.toml.dpkg-new
        systemctl is-enabled edge-gateway

        begun=$(now)
        install $OLDER
        until_true 60 answers
        echo "downgraded {{\\"seconds\\": $(passed "$begun")}}"
        edge-gateway --version | grep -q before1
        dpkg -V edge-gateway | grep -v 'c /etc/edge-gateway/gateway.toml' && exit 1

        install $NEWER
        until_true 60 answers
        edge-gateway status || true
        cloud
        begun=$(now)
        echo "judged $(python3 oracle.py judge --wait 240)"
        echo "delivered {{\\"seconds\\": $(passed "$begun")}}"
    """,
        limit_s=600,
    )
    judged = figures(boot, "judged")
    assert judged["acknowledged"] == QUEUED
    assert judged["missing"] == 0


def test_conffiles(lab: Lab) -> None:
    """A newer gateway.toml replaces one that nobody touched; a changed one stays, with the new one beside it."""
    lab.run("""
        dpkg-deb -R "./$OLDER" /tmp/other
        echo '# as an older version had it' >>/tmp/other/etc/edge-gateway/gateway.toml
        dpkg-deb -b /tmp/other /tmp/other.deb
        file=/etc/edge-gateway/gateway.toml

        dpkg -i /tmp/other.deb
        grep -q 'as an older' $file
        echo 'gateway.name = "cellar"' >/etc/edge-gateway/gateway.d/90-mine.toml
        install $NEWER
        if grep -q 'as an older' $file; then exit 1; fi

        dpkg -i /tmp/other.deb
        echo '# mine' >>$file
        dpkg --force-confold -i "./$NEWER"
        grep -qx '# mine' $file
        grep -q 'as an older' $file
        cat $file.dpkg-dist
        cat /etc/edge-gateway/gateway.d/90-mine.toml
        until_true 60 answers
        edge-gateway status
    """)


def test_upgraded_under_load(lab: Lab) -> None:
    """Upgraded while a device sends, nothing that was acknowledged is lost, and the service was never given up."""
    boot = lab.run("""
        install $OLDER
        until_true 60 answers
        use_oracle
        cloud
        systemd-run --quiet --unit=device python3 /lab/in/oracle.py publish --rate 1000 --until /tmp/enough
        sleep 3
        install $NEWER
        sleep 3
        touch /tmp/enough
        until_true 60 sh -c '! systemctl is-active --quiet device'
        echo "judged $(python3 oracle.py judge)"
        test "$(property Result)" = success
        answers
    """)
    assert figures(boot, "judged")["missing"] == 0


def test_a_reboot(lab: Lab) -> None:
    """After a reboot the service runs by itself and delivers what waited."""
    lab.run("""
        install $NEWER
        until_true 60 answers
        use_oracle
        python3 oracle.py publish --count 5000
    """)
    boot = lab.run("""
        until_true 60 answers
        cloud
        echo "judged $(python3 oracle.py judge)"
    """)
    assert figures(boot, "judged") | {"twice": 0} == {
        "acknowledged": 5000,
        "came": 5000,
        "twice": 0,
        "missing": 0,
        "first_missing": [],
    }
