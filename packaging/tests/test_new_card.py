"""A backup put on a new card: another machine, the same log, nothing lost."""

from __future__ import annotations

from conftest import Lab, figures


def test_a_backup_on_a_new_card(lab: Lab) -> None:
    """Restored by root on a machine that has just the package, the service reads what root wrote and delivers it."""
    lab.run("""
        install $NEWER
        until_true 60 answers
        use_oracle
        python3 oracle.py publish --count 3000
        edge-gateway backup /var/lib/oracle/card.tar.zst

        dpkg --purge edge-gateway
        rm -rf /etc/edge-gateway
        userdel edge-gateway
    """)
    boot = lab.run("""
        useradd --system somebody-else # so that the service's number is another one than before
        install $NEWER
        until_true 60 answers
        systemctl stop edge-gateway
        begun=$(now)
        edge-gateway restore --force /var/lib/oracle/card.tar.zst
        systemctl start edge-gateway
        until_true 60 answers
        echo "restored {\\"seconds\\": $(passed "$begun")}"
        cloud
        echo "judged $(python3 oracle.py judge)"
        dpkg -V edge-gateway
    """)
    judged = figures(boot, "judged")
    assert (judged["acknowledged"], judged["missing"]) == (3000, 0)
