"""The package on a clean Debian: what is there after `dpkg -i`, and what is left after it is removed."""

from __future__ import annotations

import json

from conftest import Lab


def test_a_clean_system(lab: Lab) -> None:
    """Installed on a clean Debian the service runs at once, says what to do next, and dpkg vouches for each file."""
    boot = lab.run("""
        install $NEWER
        until_true 60 answers
        state=$(systemctl is-enabled edge-gateway || true)
        echo "is-enabled: $state"
        test "$state" = enabled
        test "$(systemctl show -P NRestarts edge-gateway)" = 0
        id -nG edge-gateway | grep -qw dialout
        test "$(stat -c '%U:%G %a' /run/edge-gateway/api.sock)" = "edge-gateway:edge-gateway 660"
        test "$(stat -c '%U:%G %a' /var/lib/edge-gateway)" = "edge-gateway:edge-gateway 750"
        test "$(stat -c '%U:%G %a' /etc/edge-gateway/credentials)" = "root:root 700"
        dpkg -V edge-gateway
        systemd-analyze verify --man=no edge-gateway.service
        edge-gateway check
        edge-gateway status || true
        edge-gateway --version
        ls /usr/lib/edge-gateway/common/gateway/__pycache__/daemon.*.pyc
        rm -r /usr/lib/edge-gateway/common/gateway/__pycache__
        python=$(basename "$(readlink -f /usr/bin/python3)")
        /usr/share/python3/runtime.d/edge-gateway.rtupdate rtupdate python3.1 "$python"
        ls /usr/lib/edge-gateway/common/gateway/__pycache__/daemon.*.pyc
        zcat /usr/share/man/man1/edge-gateway.1.gz | grep -q 'SS status'
        bash -c '. /usr/share/bash-completion/completions/edge-gateway && complete -p edge-gateway'
        if udevadm verify --help >/dev/null 2>&1; then udevadm verify /usr/lib/udev/rules.d/61-edge-gateway.rules; fi
        edge-gateway status --json >/lab/out/status.json
        echo; property StatusText
        cat /etc/edge-gateway/gateway.toml
    """)
    assert json.loads(boot.file("status.json"))
    for step in ("edge-gateway setup", "edge-gateway check", "systemctl", "edge-gateway events"):
        assert step in boot.console


def test_somebody_of_the_group(lab: Lab) -> None:
    """Who is in the group edge-gateway may ask the service, others are told what to type; all may see the demo."""
    lab.run("""
        install $NEWER
        until_true 60 answers
        useradd -m -G edge-gateway anna
        useradd -m ben
        setpriv --reuid anna --regid anna --init-groups edge-gateway status
        if setpriv --reuid ben --regid ben --init-groups edge-gateway status >/tmp/said 2>&1; then exit 1; fi
        cat /tmp/said
        grep -q 'usermod -aG edge-gateway' /tmp/said
        setpriv --reuid anna --regid anna --init-groups edge-gateway demo --seconds 8
    """)


def test_to_the_cloud(lab: Lab) -> None:
    """What mosquitto_pub sends to the listener arrives at a broker in the cloud, once that is configured."""
    lab.run("""
        install $NEWER
        until_true 60 answers
        cloud
        edge-gateway setup --yes --listen 127.0.0.1:1883
        test -s /etc/edge-gateway/gateway.d/10-setup.toml
        cp oracle.toml /etc/edge-gateway/profiles/
        cp cloud.toml /etc/edge-gateway/gateway.d/50-cloud.toml
        systemctl restart edge-gateway
        until_true 60 answers
        before=$(main_pid)
        mosquitto_pub -q 1 -t oracle/hall/reading -m '{"n": 4711}'
        until_true 60 grep -qx 4711 /var/lib/oracle/came
        test "$(main_pid)" = "$before"
        edge-gateway status || true
    """)


def test_removed_and_installed_again(lab: Lab) -> None:
    """Removal keeps journal and configuration, installing again goes on with them, purge deletes state and says so."""
    boot = lab.run("""
        install $NEWER
        until_true 60 answers
        use_oracle
        mosquitto_pub -q 1 -t oracle/hall/reading -m '{"n": 1}'
        systemctl stop edge-gateway
        edge-gateway journal stat --json >/tmp/before

        dpkg -r edge-gateway | tee /tmp/removed
        grep -q 'stays in /var/lib/edge-gateway' /tmp/removed
        test ! -e /usr/bin/edge-gateway
        test ! -e /usr/lib/edge-gateway
        test -s /etc/edge-gateway/gateway.toml
        ls /var/lib/edge-gateway/journal
        if systemctl is-active edge-gateway; then exit 1; fi

        install $NEWER
        until_true 60 answers
        cloud
        until_true 60 grep -qx 1 /var/lib/oracle/came
        systemctl is-enabled edge-gateway

        dpkg --purge edge-gateway | tee /tmp/purged
        grep -q 'deleting the journal and all state' /tmp/purged
        grep -q '50-cloud.toml' /tmp/purged
        test ! -e /var/lib/edge-gateway
        test ! -e /etc/edge-gateway/gateway.toml
        test -e /etc/edge-gateway/gateway.d/50-cloud.toml
        systemctl daemon-reload
        systemctl list-unit-files 'edge-gateway*' --no-legend | tee /tmp/units
        test ! -s /tmp/units

        install $NEWER
        until_true 60 answers
    """)
    assert "Traceback" not in boot.console
