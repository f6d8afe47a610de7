"""The listener with clients that are not ours: mosquitto_pub and mosquitto_sub, paho-mqtt, aiomqtt."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from gateway.secrets import Secret
from gateway.sources.listener import ListenerOptions
from tests.mqtt.authority import Authority
from tests.sources.rig import WITHIN_S, Rig, until

VERSIONS = ["311", "5"]
PAHO = {"311": paho.MQTTv311, "5": paho.MQTTv5}


def mosquitto_pub(rig: Rig, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run mosquitto_pub to its end."""
    command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(rig.port), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)


@contextlib.contextmanager
def mosquitto_sub(rig: Rig, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run mosquitto_sub, subscribed when the block begins."""
    before = rig.listener.broker._subscriptions.count
    command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(rig.port), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: rig.listener.broker._subscriptions.count > before)
            yield process
        finally:
            process.kill()


def output(process: subprocess.Popen[str]) -> list[str]:
    """Return the lines of a process that ends by itself."""
    return process.communicate(timeout=WITHIN_S)[0].splitlines()


@contextlib.contextmanager
def paho_client(rig: Rig, version: str, client_id: str = "paho", **options: Any) -> Iterator[paho.Client]:
    """Run a paho client in its own thread, connected when the block begins."""
    will = options.pop("will", None)
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=PAHO[version], **options)
    if will:
        client.will_set(*will)
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.connect("127.0.0.1", rig.port)
    client.loop_start()
    assert connected.wait(WITHIN_S)
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_mosquitto_pub(version: str, qos: str) -> None:
    """mosquitto_pub delivers a message at each QoS and ends well."""
    with Rig() as rig:
        done = mosquitto_pub(rig, "-V", f"mqttv{version}", "-q", qos, "-t", "house/door", "-m", "open")
        assert (done.returncode, done.stderr) == (0, "")
        rig.expect(1)
        got = rig.deliveries[0]
        assert (got.topic, got.payload, got.qos) == ("house/door", b"open", int(qos))


@pytest.mark.parametrize("qos", ["1", "2"])
def test_mosquitto_pub_waits_for_the_disk(qos: str) -> None:
    """mosquitto_pub ends when its message has been acknowledged, and not before."""
    with Rig(hold=True) as rig:
        command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(rig.port), "-q", qos, "-t", "a", "-m", "1"]
        with subprocess.Popen(command) as process:
            rig.expect(1)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.3)
            rig.acknowledge()
            assert process.wait(WITHIN_S) == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_mosquitto_sub_watches(version: str) -> None:
    """A person's mosquitto_sub sees what its wildcards match, retained first, live after it is safe."""
    with Rig() as rig:
        mosquitto_pub(rig, "-t", "house/hall/door", "-m", "was open", "-r", "-q", "1")
        arguments = ("-V", f"mqttv{version}", "-t", "house/+/door", "-t", "cellar/#", "-q", "1", "-C", "3", "-v")
        with mosquitto_sub(rig, *arguments) as watcher:
            for topic in ("house/hall/window", "house/hall/door", "cellar", "house/a/b/door"):
                mosquitto_pub(rig, "-t", topic, "-m", "closed", "-q", "1")
            assert output(watcher) == ["house/hall/door was open", "house/hall/door closed", "cellar closed"]


def test_mosquitto_sub_sees_nothing_unsafe() -> None:
    """What has not been acknowledged is shown to nobody."""
    with Rig(hold=True) as rig, mosquitto_sub(rig, "-t", "#", "-C", "1") as watcher:
        mosquitto_pub(rig, "-t", "a", "-m", "1")
        rig.expect(1)
        with pytest.raises(subprocess.TimeoutExpired):
            watcher.communicate(timeout=0.3)
        rig.acknowledge()
        assert output(watcher) == ["1"]


@pytest.mark.parametrize("version", VERSIONS)
def test_mosquitto_sub_with_a_lasting_session(version: str) -> None:
    """A lasting session of mosquitto_sub is kept while it is away, with the messages of that time."""
    who = ("-V", f"mqttv{version}", "-i", "watcher", "-c", "-x", "3600", "-q", "1", "-t", "a/#")
    with Rig() as rig:
        with mosquitto_sub(rig, *who, "-C", "1") as watcher:
            mosquitto_pub(rig, "-t", "a/1", "-m", "first", "-q", "1")
            assert output(watcher) == ["first"]
        until(lambda: rig.listener.broker.sessions["watcher"].connection is None)
        mosquitto_pub(rig, "-t", "a/2", "-m", "while away", "-q", "1")
        command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(rig.port), *who, "-C", "1", "-W", "60"]
        again = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=True)
        assert again.stdout == "while away\n"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [1, 2])
def test_paho_publishes(version: str, qos: int) -> None:
    """Paho sends 300 messages with its window full; they are delivered in order and all are answered."""
    with Rig() as rig, paho_client(rig, version) as client:
        sent = [client.publish("house/door", b"%d" % i, qos) for i in range(300)]
        for info in sent:
            info.wait_for_publish(WITHIN_S)
            assert info.is_published()
        assert rig.payloads() == [b"%d" % i for i in range(300)]


def test_paho_sends_again_after_a_cut() -> None:
    """Paho, cut off before its PUBACKs, sends again by itself: nothing is lost, nothing is delivered twice."""
    with Rig(hold=True) as rig, paho_client(rig, "311", clean_session=False) as client:
        sent = [client.publish("a", b"%d" % i, 1) for i in range(10)]
        rig.expect(10)
        rig.call(lambda: [socket._transport.abort() for socket in rig.listener.hall.sockets])
        until(lambda: rig.listener.broker.counters.connected == 2)
        assert rig.payloads() == [b"%d" % i for i in range(10)]
        rig.acknowledge()
        for info in sent:
            info.wait_for_publish(WITHIN_S)
            assert info.is_published()
        assert rig.payloads() == []


def test_paho_will() -> None:
    """A paho client that is cut off leaves its will."""
    with Rig() as rig, paho_client(rig, "5", will=("status", b"offline", 1, True)):
        rig.call(lambda: [socket._transport.abort() for socket in rig.listener.hall.sockets])
        rig.expect(1)
        assert (rig.deliveries[0].topic, rig.deliveries[0].payload) == ("status", b"offline")


@pytest.mark.parametrize("version", [aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5])
def test_aiomqtt_device(version: aiomqtt.ProtocolVersion) -> None:
    """An aiomqtt device publishes a reading and is given the command that the gateway sends for it."""

    async def device(rig: Rig) -> bytes:
        async with aiomqtt.Client("127.0.0.1", rig.port, protocol=version, identifier="trv") as client:
            await client.subscribe("trv/set", qos=1)
            await client.publish("trv", b"19.5", qos=1)
            await asyncio.to_thread(rig.expect, 1)
            assert await asyncio.to_thread(rig.call, rig.listener.send, "trv/set", b"21")
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                return message.payload
        return b""

    with Rig() as rig:
        assert asyncio.run(device(rig)) == b"21"
        assert rig.payloads() == [b"19.5"]


def test_wrong_password_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Users of the config and of a password file get in with their own passwords; nobody else, and nobody unnamed."""
    monkeypatch.setenv("ANNAS_PASSWORD", "correct horse")
    users = tmp_path / "passwords"
    users.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(users), "bert", "staple"], check=True, capture_output=True)
    options = ListenerOptions(port=0, users={"anna": Secret("env", "ANNAS_PASSWORD")}, users_file=users)
    cases = [
        (("-u", "anna", "-P", "correct horse"), True),
        (("-u", "bert", "-P", "staple"), True),
        (("-u", "anna", "-P", "staple"), False),
        (("-u", "bert", "-P", ""), False),
        (("-u", "carl", "-P", "staple"), False),
        ((), False),
    ]
    with Rig(options) as rig:
        for who, welcome in cases:
            for version in VERSIONS:
                done = mosquitto_pub(rig, *who, "-V", f"mqttv{version}", "-t", "a", "-m", "1", "-q", "1")
                assert (done.returncode == 0) == welcome, (who, version, done.stderr)
                assert welcome or "authori" in done.stderr or "Bad User" in done.stderr or "bad user" in done.stderr
        assert len(rig.deliveries) == 4
        monkeypatch.delenv("ANNAS_PASSWORD")
        assert mosquitto_pub(rig, "-u", "anna", "-P", "correct horse", "-t", "a", "-m", "1", "-q", "1").returncode
        assert "ANNAS_PASSWORD" in str(rig.listener.status()["last_error"])


def test_tls_with_client_certificates(authority: Authority, tmp_path: Path) -> None:
    """Over TLS a client with a certificate of ours gets in, also without a password; one without is turned away."""
    certificate, key = authority.issue("listener")
    options = ListenerOptions(port=0, certificate=certificate, key=key, client_ca=authority.certificate)
    client_certificate, client_key = authority.issue("device")
    ours = ("--cafile", str(authority.certificate))
    shown = ("--cert", str(client_certificate), "--key", str(client_key))
    large = tmp_path / "snapshot.jpg"
    large.write_bytes(os.urandom(500_000))
    with Rig(options) as rig:
        for arguments in (("-m", "1"), ("-f", str(large))):
            done = mosquitto_pub(rig, *ours, *shown, "-t", "a", "-q", "1", *arguments)
            assert (done.returncode, done.stderr) == (0, "")
        assert rig.payloads() == [b"1", large.read_bytes()]
        assert mosquitto_pub(rig, *ours, "-t", "a", "-m", "1", "-q", "1").returncode != 0
        assert mosquitto_pub(rig, "-t", "a", "-m", "1", "-q", "1").returncode != 0
        assert len(rig.deliveries) == 2
