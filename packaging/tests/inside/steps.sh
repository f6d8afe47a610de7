# What a test's script in the machine is made of; each step ends the script when it fails.
set -Eeu
trap 'echo "failed: $BASH_COMMAND"' ERR
cd /lab/in
mkdir -p /var/lib/oracle

# until_true SECONDS COMMAND...: wait for something.
until_true() {
    limit=$1
    shift
    for _ in $(seq $((limit * 5))); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    echo "not within $limit s: $*"
    return 1
}

# install PACKAGE: as an operator does.
install() { dpkg -i "./$1"; }

# answers: the service has said READY and can be asked; how it is, is another matter (status is 1 with the cloud away).
answers() { systemctl is-active --quiet edge-gateway && test -S /run/edge-gateway/api.sock; }

# use_oracle: read the oracle's messages, send to the cloud at port 1884; in files that no package brings.
use_oracle() {
    cp oracle.toml /etc/edge-gateway/profiles/oracle.toml
    cp cloud.toml /etc/edge-gateway/gateway.d/50-cloud.toml
    edge-gateway check
    systemctl restart edge-gateway
    until_true 60 answers
}

# cloud: a broker far away, and somebody who notes what comes there. The subscription is there before the gateway can
# reach the broker: what comes to nobody is thrown away.
cloud() {
    mkdir -p /var/lib/cloud && chown mosquitto /var/lib/cloud
    cp cloud.conf /etc/cloud.conf
    sed 's/^listener 1884/listener 1885/' cloud.conf >/etc/cloud-before.conf
    systemd-run --quiet --unit=cloud-before mosquitto -c /etc/cloud-before.conf
    until_true 30 python3 oracle.py subscribe
    systemctl stop cloud-before
    systemd-run --quiet --unit=cloud mosquitto -c /etc/cloud.conf
    systemd-run --quiet --unit=collector python3 /lab/in/oracle.py collect
    until_true 30 listens
}
listens() { test -n "$(ss -Hlnt 'sport = 1884')"; }

# main_pid, property NAME: of the service.
property() { systemctl show -P "$1" edge-gateway; }
main_pid() { property MainPID; }

# passed FILE: seconds since the uptime that FILE holds.
now() { cut -d' ' -f1 /proc/uptime; }
passed() { awk -v then="$1" '{ printf "%.2f", $1 - then }' /proc/uptime; }

# another_than PID: another process serves now.
another_than() { test "$(main_pid)" != "$1" && answers; }
