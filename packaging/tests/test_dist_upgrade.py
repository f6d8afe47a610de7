"""Debian 12 becomes Debian 13 under a running gateway: it goes on, on the other Python, and nothing is lost."""

from __future__ import annotations

import pytest
from conftest import Lab, figures

from lab.fetched import packages

QUEUED = 20_000


@pytest.mark.suites("bookworm")
def test_debian_12_becomes_13(lab: Lab) -> None:
    """With a backlog queued, after `full-upgrade` and `autoremove` it runs on 3.13, and after a reboot, too."""
    trixie = packages("bookworm", "trixie", ["full-upgrade"])
    boot = lab.run(
        f"""
        install $NEWER
        until_true 60 answers
        use_oracle
        python3 oracle.py publish --count {QUEUED}
        cp sources.list /etc/apt/sources.list
        begun=$(now)
        apt-get full-upgrade -y --no-download --no-install-recommends
        echo "upgraded {{\\"seconds\\": $(passed "$begun")}}"
        apt-get autoremove -y
        grep ^13 /etc/debian_version
        until_true 60 answers
        test "$(readlink /proc/$(main_pid)/exe)" = /usr/bin/python3.13
        test ! -e /usr/bin/python3.11
        python3 oracle.py publish --first {QUEUED} --count 1000
        systemctl is-enabled edge-gateway
        dpkg -V edge-gateway
    """,
        files=[trixie.sources],
        binds=trixie.binds,
        limit_s=900,
    )
    assert figures(boot, "upgraded")["seconds"] > 0
    boot = lab.run("""
        until_true 60 answers
        cloud
        echo "judged $(python3 oracle.py judge)"
        test "$(property NRestarts)" = 0
    """)
    judged = figures(boot, "judged")
    assert (judged["acknowledged"], judged["missing"]) == (QUEUED + 1000, 0)
