"""Facts in, findings out: each check shown what it may meet, on machines that are not here."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.certificates import Certificate
from gateway.doctor.brokers import Facts as BrokerFacts
from gateway.doctor.check import AREAS, every
from gateway.doctor.checks import (
    broker,
    card,
    certificates,
    clock,
    cloud,
    filesystem,
    flush,
    journal,
    listener,
    machine,
    ports,
    qos,
    secrets,
    serial,
    service,
    timezone,
    versions,
    walls,
)
from gateway.doctor.checks import config as config_check
from gateway.doctor.finding import Finding
from gateway.doctor.mosquitto import DEFAULTS, Settings
from gateway.doctor.reach import Reach
from gateway.doctor.visit import Visited
from gateway.doctor.web import Answered
from gateway.mqtt.packet import Properties
from gateway.rules.walls.enforced import Enforced

NOW = 1_790_000_000.0
DAY = 86_400


def _certificate(**said: Any) -> Certificate:
    usual = {
        "subject": "CN=pi", "issuer": "CN=CA", "names": ("pi.lan",), "not_before_s": int(NOW) - DAY, "authority": False,
        "not_after_s": int(NOW) + 365 * DAY, "own_issuer": False, "fingerprint": "00",
    }  # fmt: skip
    return Certificate(**{**usual, **said})


def _reach(**said: Any) -> Reach:
    return Reach(**{"host": "broker.lan", "port": 8883, "tls": True, "now_s": NOW, **said})


def _broker(visited: Visited | None = None, **said: Any) -> BrokerFacts:
    return BrokerFacts(name="house", url="mqtt://broker:1883", reach=_reach(tls=False), visited=visited, **said)


def _settings(**values: str) -> Settings:
    good = {"persistence": "true", "autosave_interval": "60", "max_queued_messages": "0"}
    return Settings("/etc/mosquitto/mosquitto.conf", {**DEFAULTS, **good, **values})


LET_IN = Visited(connected=True, version="5", expiry_asked_s=7 * DAY)
REFUSED = Visited(why="refused: Not authorized", reason_code=0x87, refused=True)
ENDED = _certificate(not_after_s=0)
ENDS = _certificate(not_after_s=int(NOW) + DAY)
UNIT = {"LoadState": "loaded", "ActiveState": "active", "NRestarts": "0", "UnitFileState": "enabled"}
DISK: dict[str, Any] = {
    "folder": "/var/lib/edge-gateway", "kind": "ext4", "point": "/", "source": "/dev/mmcblk0p2", "user": "edge-gateway",
    "options": frozenset({"rw", "noatime"}), "free_bytes": 9 << 30, "total_bytes": 29 << 30, "inodes_free": 100_000,
    "needed_bytes": 256 << 20, "budget_bytes": 256 << 20,
}  # fmt: skip
CARD: dict[str, Any] = {"name": "mmcblk0", "kind": "SD", "model": "SD32G", "made": "06/2021", "size_bytes": 32 * 10**9}
PORT: dict[str, Any] = {"identity": "usb:1a86:7523", "path": "/dev/ttyUSB0", "user": "edge-gateway", "group": "dialout"}
VERSIONS: dict[str, Any] = {"program": "1.0", "python": (3, 11, 2), "kernel": "6.1"}
SECRET: dict[str, Any] = {
    "where": "file /etc/x", "kind": "file", "user": "edge-gateway", "path": "/etc/x", "there": True,
    "service_reads": True, "length": 12,
}  # fmt: skip
CLOUD: dict[str, Any] = {"url": "https://c", "kind": "http", "reach": _reach()}

CASES: list[tuple[Any, Any, str, str]] = [
    # check, facts, the worst level that comes of it, words in it
    (clock, clock.Facts(now_s=NOW, synced=True, by=("chrony",), chip="rtc-ds3231"), "ok", "synchronised by chrony"),
    (clock, clock.Facts(now_s=NOW, synced=False, by=("chrony",)), "warning", "chronyc sources"),
    (clock, clock.Facts(now_s=NOW, synced=False), "warning", "nobody synchronises it"),
    (clock, clock.Facts(now_s=NOW, synced=False, trusted=True), "ok", "trust_clock"),
    (clock, clock.Facts(now_s=0, synced=False, newest_s=NOW), "bad", "1970-01-01T00:00:00.000Z"),
    (clock, clock.Facts(now_s=NOW, synced=True, newest_s=NOW + 30), "ok", "synchronised"),
    (clock, clock.Facts(now_s=NOW, synced=True, by=("chrony", "ntpd")), "warning", "both discipline"),
    (clock, clock.Facts(now_s=NOW, synced=True, ppm=-500.0), "warning", "-500 ppm"),
    (timezone, timezone.Facts(zone="Mars/Base", known=False, database="", said=True, rules=True), "bad", "tzdata"),
    (timezone, timezone.Facts(zone="UTC", known=True, database="", said=False, rules=True), "warning", "are UTC"),
    (timezone, timezone.Facts(zone="UTC", known=True, database="", said=True, rules=True), "ok", "UTC"),
    (secrets, secrets.Facts(**SECRET), "ok", "12 characters"),
    (secrets, secrets.Facts(**{**SECRET, "there": False}), "bad", "sudo install -m 640 -g edge-gateway"),
    (secrets, secrets.Facts(**{**SECRET, "service_reads": False}), "bad", "may not read it"),
    (secrets, secrets.Facts(**{**SECRET, "others_read": True}), "bad", "every user of this machine"),
    (secrets, secrets.Facts(**{**SECRET, "length": 0}), "bad", "is empty"),
    (secrets, secrets.Facts(**{**SECRET, "length": None}), "ok", "its content was not looked at"),
    (secrets, secrets.Facts(**{**SECRET, "blank_ends": True}), "warning", "begins or ends with a blank"),
    (secrets, secrets.Facts(**{**SECRET, "lines": 2}), "warning", "2 lines"),
    (secrets, secrets.Facts(**{**SECRET, "lines": 9, "pem": True}), "ok", "12 characters"),
    (secrets, secrets.Facts(**{**SECRET, "binary": True}), "bad", "is not text"),
    (secrets, secrets.Facts(**{**SECRET, "kind": "credential", "there": None}), "warning", "systemctl cat"),
    (certificates, certificates.Facts(file="c", ours=True, now_s=NOW, chain=[_certificate()]), "ok", "365 days left"),
    (
        certificates,
        certificates.Facts(file="c", ours=True, now_s=NOW, chain=[_certificate(not_after_s=int(NOW) + 20 * DAY)]),
        "warning",
        "ends in 20 days",
    ),
    (
        certificates,
        certificates.Facts(file="c", ours=True, now_s=NOW, chain=[_certificate(not_after_s=int(NOW) - 3 * DAY)]),
        "bad",
        "ended 3 days ago",
    ),
    (
        certificates,
        certificates.Facts(file="c", ours=True, now_s=0, clock_synced=False, chain=[_certificate()]),
        "bad",
        "probably the clock",
    ),
    (
        certificates,
        certificates.Facts(file="c", ours=True, now_s=NOW, chain=[_certificate(), _certificate(subject="CN=other")]),
        "bad",
        "signed by CN=CA, and what follows it is CN=other",
    ),
    (
        certificates,
        certificates.Facts(file="c", ours=False, now_s=NOW, chain=[_certificate(not_after_s=0)] + [_certificate()] * 9),
        "ok",
        "10 authorities",
    ),
    (certificates, certificates.Facts(file="c", ours=True, now_s=NOW, error="not DER"), "bad", "openssl x509"),
    (
        certificates,
        certificates.Facts(file="c", ours=True, now_s=NOW, chain=[_certificate()], key_error="does not belong"),
        "bad",
        "openssl pkey",
    ),
    (filesystem, filesystem.Facts(**DISK), "ok", "free"),
    (filesystem, filesystem.Facts(**{**DISK, "kind": "tmpfs"}), "bad", "a power cut loses everything"),
    (filesystem, filesystem.Facts(**{**DISK, "kind": "overlay", "upper": "tmpfs"}), "bad", "overlay"),
    (filesystem, filesystem.Facts(**{**DISK, "kind": "overlay", "upper": "ext4"}), "ok", "overlay"),
    (filesystem, filesystem.Facts(**{**DISK, "kind": "overlay"}), "warning", "cannot be seen"),
    (filesystem, filesystem.Facts(**{**DISK, "kind": "nfs4"}), "warning", "another machine's"),
    (filesystem, filesystem.Facts(**{**DISK, "kind": "vfat"}), "warning", "mkfs.ext4"),
    (filesystem, filesystem.Facts(**{**DISK, "options": frozenset({"rw", "nobarrier"})}), "bad", "nobarrier"),
    (filesystem, filesystem.Facts(**{**DISK, "options": frozenset({"data=writeback"})}), "warning", "old bytes"),
    (
        filesystem,
        filesystem.Facts(**{**DISK, "options": frozenset({"ro"})}),
        "bad",
        "probably the kernel has found errors",
    ),
    (
        filesystem,
        filesystem.Facts(**{**DISK, "options": frozenset({"ro"}), "wanted_rw": False}),
        "bad",
        "as /etc/fstab says",
    ),
    (filesystem, filesystem.Facts(**{**DISK, "free_bytes": 200 << 20}), "warning", "bytes_max is 268 MB"),
    (filesystem, filesystem.Facts(**{**DISK, "free_bytes": 1 << 20}), "bad", "du -xh"),
    (filesystem, filesystem.Facts(**{**DISK, "inodes_free": 5}), "warning", "5 files more"),
    (filesystem, filesystem.Facts(**{**DISK, "inodes_free": None}), "ok", "free"),
    (filesystem, filesystem.Facts(**{**DISK, "writable": False}), "bad", "chown"),
    (card, card.Facts(), "ok", "no disk"),
    (card, card.Facts(**CARD), "ok", "SD card mmcblk0 SD32G of 06/2021, 32.0 GB"),
    (card, card.Facts(**{**CARD, "kind": "MMC", "life": (3, 9), "pre_eol": 1}), "warning", "90 % of its life"),
    (card, card.Facts(**{**CARD, "kind": "MMC", "life": (11,), "pre_eol": 3}), "bad", "nearly used up"),
    (card, card.Facts(**{**CARD, "written_bytes": 50 * 10**9, "up_s": 7200.0}), "warning", "lasts some"),
    (card, card.Facts(**{**CARD, "written_bytes": 50 * 10**6, "up_s": 7200.0}), "ok", "written a day"),
    (flush, flush.Facts(folder="/x", seconds=(0.004,) * 6), "ok", "4.0 ms"),
    (flush, flush.Facts(folder="/x", seconds=(0.004, 0.9), disk="mmcblk0"), "warning", "mmcblk0"),
    (flush, flush.Facts(folder="/x", seconds=(0.000004,) * 6), "warning", "too quick"),
    (flush, flush.Facts(folder="/x", why_not="Permission denied"), "ok", "Permission denied"),
    (journal, journal.Facts(folder="/j", records=5, segments=2, read=2), "ok", "every block"),
    (journal, journal.Facts(folder="/j", records=5, segments=9, read=2), "ok", "2 of 9 segments"),
    (journal, journal.Facts(folder="/j", damaged_blocks=1, damaged_records=3), "warning", "3 records are damaged"),
    (journal, journal.Facts(folder="/j", error="a newer version wrote it"), "bad", "newer version"),
    (journal, journal.Facts(folder="/j", seen=False), "warning", "sudo edge-gateway doctor disk"),
    (serial, serial.Facts(**PORT), "ok", "may open it"),
    (serial, serial.Facts(identity="usb:1:2", missing="usb:1:2 is not plugged in"), "bad", "serial list"),
    (serial, serial.Facts(**PORT, may_open=False), "bad", "usermod -aG dialout edge-gateway"),
    (serial, serial.Facts(**PORT, held_by=("minicom (process 7)",)), "bad", "minicom"),
    (serial, serial.Facts(**PORT, held_by=("python3 (process 7)",), ours=True), "ok", "has it open"),
    (serial, serial.Facts(**PORT, modem_manager=True, rule="R"), "warning", "ModemManager"),
    (serial, serial.Facts(**PORT, brltty=True), "warning", "braille"),
    (
        serial,
        serial.Facts(**{**PORT, "identity": "/dev/ttyUSB0", "better": "usb:1a86:7523"}),
        "warning",
        'serial = "usb:1a86:7523"',
    ),
    (ports, ports.Facts(unread=[("usb:1a86:7523", "/dev/ttyUSB0", "CH340")]), "ok", 'serial = "usb:1a86:7523"'),
    (ports, ports.Facts(), "ok", "every serial adapter"),
    (service, service.Facts(answers=True, pid=7, version="1", unit=UNIT), "ok", "process 7"),
    (service, service.Facts(answers=False, why_not="nobody", start="systemctl start"), "bad", "systemctl start"),
    (
        service,
        service.Facts(answers=False, start="s", unit={**UNIT, "ActiveState": "failed", "ExecMainStatus": "78"}),
        "bad",
        "its config has a fault",
    ),
    (service, service.Facts(answers=False, start="s", unit={**UNIT, "MainPID": "9"}), "bad", "another config?"),
    (service, service.Facts(answers=True, unit={**UNIT, "NRestarts": "5"}), "warning", "again 5 times"),
    (service, service.Facts(answers=True, unit={**UNIT, "UnitFileState": "disabled"}), "warning", "systemctl enable"),
    (service, service.Facts(answers=True, unit={**UNIT, "NeedDaemonReload": "yes"}), "warning", "daemon-reload"),
    (service, service.Facts(answers=True, found=[Finding("bad", "Rule x is stopped", "y")]), "bad", "Rule x"),
    (versions, versions.Facts(**VERSIONS), "ok", "edge-gateway 1.0"),
    (versions, versions.Facts(**{**VERSIONS, "python": (3, 9, 2)}), "bad", "too old"),
    (versions, versions.Facts(**{**VERSIONS, "python": (3, 99, 0)}), "warning", "newer than any"),
    (versions, versions.Facts(**VERSIONS, running="0.9"), "warning", "0.9 runs, 1.0 is installed"),
    (versions, versions.Facts(**VERSIONS, missing={"orjson": "3.10"}), "bad", "orjson is not installed"),
    (versions, versions.Facts(**VERSIONS, old={"h11": ("0.9", "0.14")}), "bad", "h11 is 0.9"),
    (walls, walls.Facts(kernel="6.1", landlock=4, seccomp=True), "ok", "Landlock 4 and seccomp"),
    (
        walls,
        walls.Facts(kernel="6.1", landlock=0, seccomp=True, modules="apparmor"),
        "warning",
        "lsm=landlock,apparmor",
    ),
    (
        walls,
        walls.Facts(kernel="6.1", landlock=4, seccomp=True, enforced=Enforced(by={"files": "audit hook"})),
        "warning",
        "audit hook",
    ),
    (machine, machine.Facts(total_bytes=1 << 30, available_bytes=1 << 29, throttled=0), "ok", "supply good"),
    (machine, machine.Facts(total_bytes=1 << 29, available_bytes=1 << 23), "bad", "memory available"),
    (machine, machine.Facts(throttled=0x50005), "bad", "voltage is too low now"),
    (machine, machine.Facts(throttled=0x50000), "warning", "at some time since boot"),
    (machine, machine.Facts(swap_on=("/var/swap",)), "warning", "swapped to /var/swap"),
    (machine, machine.Facts(hottest_c=80.0), "warning", "80 °C"),
    (qos, qos.Facts(acknowledged=5), "ok", "5 devices send at QoS 1"),
    (qos, qos.Facts(by_dialect={"z2m": ["house/z2m:door"]}), "warning", "device_options: {qos: 1}"),
    (qos, qos.Facts(by_dialect={"tasmota": ["house/tasmota:plug"]}), "warning", "at QoS 0 only"),
    (qos, qos.Facts(subscribed_at_0=("house",)), "warning", "[sources.house]: qos = 1"),
    (qos, qos.Facts(asked=False), "warning", "nothing is known"),
    (config_check, config_check.Facts(file="g.toml", counts={"source": 1}), "ok", "1 source"),
    (config_check, config_check.Facts(file="g.toml", faults=["g.toml:3: x"]), "bad", "g.toml:3"),
    (config_check, config_check.Facts(file="g.toml", warnings=[f"w{n}" for n in range(9)]), "warning", "and 4 more"),
    (config_check, config_check.Facts(file="g.toml", ended=False), "warning", "g.toml has no fault itself"),
    (config_check, config_check.Facts(file="g.toml", ended=False, faults=["g.toml:3: x"]), "bad", "nano +3 g.toml"),
    (listener, listener.Facts(name="h", host="0.0.0.0", port=1883, state="listening", clients=3), "ok", "the network"),
    (listener, listener.Facts(name="h", host="127.0.0.1", port=1883, taken=True, mosquitto=True), "bad", "Mosquitto"),
    (listener, listener.Facts(name="h", host="::1", port=1883, state="connecting", error="in use"), "bad", "in use"),
    (broker, _broker(LET_IN, settings=_settings()), "ok", "lets us in over MQTT 5"),
    (broker, _broker(LET_IN, settings=_settings(persistence="false")), "bad", "persistence true"),
    (broker, _broker(LET_IN, settings=_settings(autosave_interval="1800")), "warning", "every 30 min"),
    (broker, _broker(LET_IN, settings=_settings(autosave_interval="0")), "warning", "only when it ends"),
    (broker, _broker(LET_IN, settings=_settings(max_queued_messages="1000"), per_s=2.0), "warning", "8 min 20 s"),
    (broker, _broker(LET_IN, settings=_settings(max_queued_messages="1000"), per_s=0.001), "ok", "lets us in"),
    (broker, _broker(LET_IN, settings=_settings(), at_qos_0=7), "warning", "queue_qos0_messages true"),
    (broker, _broker(LET_IN, settings=_settings(persistent_client_expiration="1h")), "warning", "away for 1h"),
    (broker, _broker(LET_IN, settings=_settings(persistent_client_expiration="2m")), "ok", "lets us in"),
    (broker, _broker(LET_IN, settings=_settings(message_size_limit="1000")), "warning", "message_size_limit"),
    (broker, _broker(LET_IN), "warning", "cannot be seen from here"),
    (
        broker,
        _broker(msgspec.structs.replace(LET_IN, limits=Properties(session_expiry_interval=3600))),
        "warning",
        "after 1 h (7 d was asked for)",
    ),
    (broker, _broker(msgspec.structs.replace(LET_IN, limits=Properties(maximum_qos=0))), "bad", "QoS 0 only"),
    (broker, _broker(msgspec.structs.replace(LET_IN, denied={"a/#": 0x87}, granted=3)), "bad", "'a/#': Not authorized"),
    (broker, _broker(LET_IN, refused={"b/#": "Not authorized"}), "bad", "'b/#'"),
    (broker, _broker(msgspec.structs.replace(LET_IN, version="3.1.1"), settings=_settings()), "warning", "3.1.1 only"),
    (
        broker,
        _broker(msgspec.structs.replace(LET_IN, heard={"$SYS/broker/publish/messages/dropped": "12"})),
        "warning",
        "dropped 12 messages",
    ),
    (
        broker,
        _broker(Visited(why="refused: Not authorized", reason_code=0x87, refused=True)),
        "bad",
        "does not let us in",
    ),
    (
        broker,
        _broker(REFUSED, gateway_connected=True),
        "ok",
        "a second client was not let in",
    ),
    (broker, _broker(Visited(why="no answer", silent=True)), "bad", "does not answer in MQTT"),
    (broker, _broker(Visited(why="cannot read the secret", ours=True)), "bad", "doctor credentials"),
    (cloud, cloud.Facts(**CLOUD, answered=Answered(status=405)), "ok", "405 to OPTIONS"),
    (cloud, cloud.Facts(**CLOUD, answered=Answered(status=401)), "bad", "does not take our credentials"),
    (cloud, cloud.Facts(**CLOUD, answered=Answered(status=401), gateway_up=True), "ok", "delivers to it"),
    (cloud, cloud.Facts(**CLOUD, answered=Answered(status=503)), "warning", "not well"),
    (cloud, cloud.Facts(**CLOUD, answered=Answered(status=204, ahead_s=900.0)), "warning", "900 s behind"),
    (cloud, cloud.Facts(**{**CLOUD, "reach": _reach(failed="name", why="?")}), "bad", "getent hosts broker.lan"),
    (cloud, cloud.Facts(**{**CLOUD, "reach": _reach(failed="nameserver", why="?")}), "bad", "no name server answers"),
    (cloud, cloud.Facts(**{**CLOUD, "reach": _reach(failed="refused", why="?")}), "bad", "nobody listens there"),
    (cloud, cloud.Facts(**{**CLOUD, "reach": _reach(failed="timeout", why="no answer")}), "bad", "a firewall"),
    (cloud, cloud.Facts(**{**CLOUD, "reach": _reach(failed="unreachable", why="?")}), "bad", "ip route"),
    (
        cloud,
        cloud.Facts(**{**CLOUD, "reach": _reach(failed="client", why="?")}),
        "bad",
        "does not take our certificate",
    ),
    (
        cloud,
        cloud.Facts(**{**CLOUD, "reach": _reach(mtu=1200)}, answered=Answered(status=200)),
        "warning",
        "1200 bytes only",
    ),
    (
        cloud,
        cloud.Facts(
            **{**CLOUD, "reach": _reach(chain=(ENDS,))},
            answered=Answered(status=200),
        ),
        "warning",
        "ends in 1 days",
    ),
    (
        cloud,
        cloud.Facts(**{**CLOUD, "reach": _reach(failed="certificate", verify_code=62, chain=(_certificate(),))}),
        "bad",
        "is for pi.lan, and not for broker.lan",
    ),
    (
        cloud,
        cloud.Facts(**{**CLOUD, "reach": _reach(failed="certificate", verify_code=10, chain=(ENDED,))}),
        "bad",
        "ended 1970-01-01",
    ),
    (
        cloud,
        cloud.Facts(
            **{**CLOUD, "reach": _reach(failed="certificate", verify_code=9, now_s=0.0, chain=(_certificate(),))}
        ),
        "bad",
        "edge-gateway doctor clock",
    ),
]
ORDER = ("ok", "warning", "bad")


@pytest.mark.parametrize(
    ("check", "facts", "level", "words"),
    CASES,
    ids=[f"{case[0].__name__.rpartition('.')[2]}: {case[3]}" for case in CASES],
)
def test_what_facts_mean(check: Any, facts: Any, level: str, words: str) -> None:
    """Each kind of facts is judged as bad as it is, no worse, in words that say what it is or what to type."""
    found = list(check.judge(facts))
    assert found
    assert max((finding.level for finding in found), key=ORDER.index) == level
    assert any(words in f"{finding.text} {finding.command}" for finding in found), found


def test_every_check_is_in_the_catalogue_and_judged_here() -> None:
    """A file in gateway/doctor/checks is a check with an area that exists, what a check needs, and cases above."""
    shown = {case[0].__name__.rpartition(".")[2] for case in CASES}
    for name, check in every().items():
        assert check.AREA in AREAS
        assert all(callable(getattr(check, part)) for part in ("subjects", "look", "judge"))
        assert name in shown, f"no case shows what {name} makes of its facts"


def test_what_is_bad_says_what_to_do() -> None:
    """A line that is bad has something to type or to change behind it."""
    for check, facts, _, words in CASES:
        for finding in check.judge(facts):
            assert finding.level != "bad" or finding.command, words
