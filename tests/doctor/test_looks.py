"""The checks look at real parts: brokers, TLS servers, web servers, ports, file systems, files; and change nothing."""

from __future__ import annotations

import contextlib
import http.server
import os
import pty
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from gateway.config.load import read
from gateway.config.places import places
from gateway.doctor.check import Subject, every
from gateway.doctor.examination import examine
from gateway.doctor.finding import Finding, ok
from gateway.doctor.mosquitto import settings_of
from gateway.doctor.mounts import mount_of
from gateway.doctor.reach import Reach, reach
from gateway.doctor.scene import Roots, Scene, User, user_of
from gateway.doctor.servers import unreached
from gateway.mqtt.options import TlsOptions
from simulators.processes import free_port
from tests.mqtt.authority import Authority
from tests.mqtt.broker import Broker
from tests.test_certificates import Dated

ORDER = ("ok", "warning", "bad")


def scene_of(folder: Path, text: str, **more: Any) -> Scene:
    """Write a config and return what the doctor would know of it."""
    file = folder / "gateway.toml"
    file.write_text(f'[gateway]\nname = "pi"\nstate = "state"\n{text}')
    config, _ = read(file)
    where = config.places if config is not None else places(file)
    return Scene(file=file, config=config, places=where, status=None, why_no_status="nobody answers", **more)


def said(scene: Scene, name: str) -> list[Finding]:
    """Run one check on a scene and return what it finds."""
    lines = [line for found in examine(scene, {name: every()[name]}) for line in found]
    return [line.finding for line in lines]


def text_of(findings: list[Finding]) -> str:
    """Return findings as one text."""
    return "\n".join(f"{finding.level}: {finding.text} -> {finding.command}" for finding in findings)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait longer than a person would: the machine of a test may have a lot to do."""
    monkeypatch.setattr("gateway.doctor.examination.LOOK_S_MAX", 100.0)
    for name in ("visit", "checks.cloud"):
        monkeypatch.setattr(f"gateway.doctor.{name}.NET_S_MAX", 60.0)


# ---- brokers -------------------------------------------------------------------------------------------------------


def test_a_broker_that_forgets(mosquitto: Callable[..., Broker], tmp_path: Path) -> None:
    """A real Mosquitto that keeps nothing on the disk and little in its queue is found out by its own config."""
    broker = mosquitto(options={"persistence": "false", "max_queued_messages": 100})
    findings = said(scene_of(tmp_path, f'[sources.house]\nurl = "{broker.url}"\n'), "broker")
    found = text_of(findings)
    assert findings[0].level == "ok", found
    assert "Mosquitto 2" in findings[0].text
    assert "bad: Mosquitto keeps everything in memory (persistence false)" in found
    assert "it keeps 100 messages" in found
    assert str(broker.config) in found


def test_a_broker_that_keeps(mosquitto: Callable[..., Broker], tmp_path: Path) -> None:
    """One that is set as it should be gets one line, which is good; --probe measures the way there and back."""
    broker = mosquitto(persistence=True, options={"autosave_interval": 60})
    findings = said(scene_of(tmp_path, f'[sources.house]\nurl = "{broker.url}"\n', probe=True), "broker")
    assert [finding.level for finding in findings] == ["ok"], text_of(findings)
    assert "our message came back in" in findings[0].text


def test_a_visit_leaves_nothing_and_takes_nothing(mosquitto: Callable[..., Broker], tmp_path: Path) -> None:
    """The gateway's session is not taken over and what waits in it stays; no session of the doctor's is left."""
    broker = mosquitto(persistence=True)
    gateway = Client(CallbackAPIVersion.VERSION2, "pi-house", clean_session=False)
    gateway.connect("127.0.0.1", broker.port)
    gateway.loop_start()
    gone = threading.Event()
    gateway.on_disconnect = lambda *_: gone.set()
    try:
        gateway.subscribe("#", 1)
        said(scene_of(tmp_path, f'[sources.house]\nurl = "{broker.url}"\n', probe=True), "broker")
        assert gateway.is_connected()
        assert not gone.is_set()
    finally:
        gateway.disconnect()
        gateway.loop_stop()
    log = broker.log.read_text()
    names = {line.split(" as ")[1].split()[0] for line in log.splitlines() if " connected from " in line}
    guests = names - {"pi-house"}
    assert len(guests) == 1
    assert not _session_of(broker, guests.pop())
    assert _session_of(broker, "pi-house")


def _session_of(broker: Broker, client_id: str) -> bool:
    """Return whether a broker still has a session of a client."""
    there: list[bool] = []
    answered = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, client_id, clean_session=False)

    def connected(_client: Client, _data: object, flags: Any, *_: object) -> None:
        there.append(flags.session_present)
        answered.set()

    client.on_connect = connected
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        assert answered.wait(60)
    finally:
        client.disconnect()
        client.loop_stop()
    return there[0]


def test_mosquittos_defaults_and_included_files(tmp_path: Path) -> None:
    """What its files do not say is Mosquitto's own default; a later file wins; only the one on the port counts."""
    process, more = tmp_path / "proc/12", tmp_path / "conf.d"
    process.mkdir(parents=True)
    more.mkdir()
    (process / "comm").write_text("mosquitto\n")
    (process / "cmdline").write_bytes(f"mosquitto\0-c\0{tmp_path}/mosquitto.conf\0".encode())
    (process / "root").symlink_to("/")
    (tmp_path / "mosquitto.conf").write_text(f"# persistence true\nmax_queued_messages 5\ninclude_dir {more}\n")
    (more / "10-port.conf").write_text("listener 1884 0.0.0.0\nmax_queued_messages 7\n")
    roots = Roots(proc=tmp_path / "proc")
    assert settings_of(1883, roots) is None
    found = settings_of(1884, roots)
    assert found is not None
    assert (found.values["persistence"], found.values["max_queued_messages"]) == ("false", "7")
    assert found.values["autosave_interval"] == "1800"


def test_a_broker_that_refuses_us(mosquitto: Callable[..., Broker], tmp_path: Path) -> None:
    """A wrong password is told from a broker that is not there, and what to mend is named."""
    broker = mosquitto(users={"gateway": "right"})
    (tmp_path / "pw").write_text("wrong")
    source = f'[sources.house]\nurl = "{broker.url}"\nusername = "gateway"\npassword = {{ file = "pw" }}\n'
    found = said(scene_of(tmp_path, source), "broker")
    assert found[0].level == "bad"
    assert "does not let us in" in found[0].text
    assert "password in gateway.toml" in found[0].command
    (tmp_path / "pw").write_text("right\n")
    assert said(scene_of(tmp_path, source), "broker")[0].level == "ok"
    broker.stop()
    assert "nobody listens there" in text_of(said(scene_of(tmp_path, source), "broker"))


def test_an_old_broker_and_websockets(mosquitto: Callable[..., Broker], tmp_path: Path) -> None:
    """MQTT 3.1.1 is told; over WebSockets the visit goes the gateway's own way."""
    broker = mosquitto(persistence=True, options={"autosave_interval": 60}, websockets=True)
    source = f'[sources.house]\nurl = "{broker.url}"\nversion = "3.1.1"\n'
    found = text_of(said(scene_of(tmp_path, source), "broker"))
    assert "lets us in over MQTT 3.1.1" in found


def test_something_that_is_no_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port where nobody speaks MQTT is told from one where nobody is."""
    monkeypatch.setattr("gateway.doctor.visit.NET_S_MAX", 1.0)  # it waits so long
    with _web(200) as port:
        found = said(scene_of(tmp_path, f'[sources.house]\nurl = "mqtt://127.0.0.1:{port}"\n'), "broker")
    assert found[0].level == "bad"
    assert "does not answer in MQTT" in found[0].text


def test_the_listeners_port_is_taken(mosquitto: Callable[..., Broker], tmp_path: Path) -> None:
    """Before the gateway runs it is told that Mosquitto has the port it wants, and what to write instead."""
    broker = mosquitto()
    found = said(scene_of(tmp_path, f'[sources.house]\nlisten = "127.0.0.1:{broker.port}"\n'), "listener")
    assert found[0].level == "bad"
    assert "another program listens there" in found[0].text
    assert "mqtt://localhost" in found[0].command
    free = scene_of(tmp_path, f'[sources.house]\nlisten = "127.0.0.1:{free_port()}"\n')
    assert said(free, "listener")[0].level == "ok"


# ---- TLS -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _tls_server(certificate: Path, key: Path, *, tls_13_only: bool = False) -> Iterator[int]:
    """Run a TLS server on a thread; it hangs up after each handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if tls_13_only:
        context.minimum_version = ssl.TLSVersion.TLSv1_3

    class Server(http.server.HTTPServer):
        def get_request(self) -> Any:
            """Wrap the connection."""
            connection, address = super().get_request()
            connection.settimeout(60)
            return context.wrap_socket(connection, server_side=True), address

        def handle_error(self, *_: object) -> None:
            """Nothing: clients that do not trust us are what this is for."""

    yield from _serving(Server(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler))


def _serving(server: http.server.HTTPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _why(found: Reach) -> str:
    return text_of(list(unreached(found)))


def test_tls_that_is_good(authority: Authority) -> None:
    """A server whose certificate is trusted is reached, and how long it still is."""
    certificate, key = authority.issue("good")
    with _tls_server(certificate, key) as port:
        found = reach("localhost", port, TlsOptions(ca=authority.certificate), 60)
    assert (found.failed, found.local, found.tls_version) == ("", True, "TLSv1.3")
    assert 1 < found.chain[0].days_left(time.time()) < 3


@pytest.mark.parametrize("tls_13_only", [False, True])
def test_tls_of_an_unknown_authority(authority: Authority, tls_13_only: bool) -> None:
    """An authority that is not known here is named, also by a server that hides its certificates."""
    certificate, key = authority.issue("unknown")
    with _tls_server(certificate, key, tls_13_only=tls_13_only) as port:
        found = reach("localhost", port, TlsOptions(), 60)
    assert found.failed == "certificate"
    assert "its authority (CN=Test CA) is not known here" in _why(found)
    assert "tls.ca" in _why(found)


def test_tls_that_is_for_somebody_else(authority: Authority) -> None:
    """A certificate for other names says for which."""
    certificate, key = authority.issue("other")
    with _tls_server(certificate, key) as port:
        tls = TlsOptions(ca=authority.certificate, server_name="cloud.example")
        assert "is for 127.0.0.1, localhost" in _why(reach("localhost", port, tls, 60))


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("20200101000000Z", "20210101000000Z", "ended 2021-01-01T00:00:00.000Z"),
        ("20500101000000Z", "20600101000000Z", "begins 2050-01-01T00:00:00.000Z"),
    ],
)
def test_tls_out_of_time(tmp_path: Path, start: str, end: str, words: str) -> None:
    """A certificate that has ended, or begins only later, says when, beside the time it is here."""
    dated = Dated(tmp_path)
    made = tmp_path / "server.pem"
    made.write_bytes(dated.make(start, end, "/CN=localhost", "leaf", "DNS:localhost"))
    with _tls_server(made, dated.key) as port:
        why = _why(reach("localhost", port, TlsOptions(ca=made), 60))
    assert words in why
    assert "the clock here says 20" in why


def test_tls_where_there_is_none() -> None:
    """A port that speaks something else says that it is not the port for TLS."""
    with _web(200) as port:
        found = reach("127.0.0.1", port, TlsOptions(), 20)
    assert found.failed in ("tls", "timeout")
    assert "edge-gateway" in _why(reach("127.0.0.1", port, TlsOptions(ca=Path("/nowhere.pem")), 60))


def test_a_name_nobody_knows() -> None:
    """A name that cannot be resolved is told apart from a server that does not answer."""
    found = reach("no-such-host.invalid", 443, None, 60)
    assert found.failed in ("name", "nameserver")
    assert found.addresses == ()


# ---- the web -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _web(status: int, asked: list[tuple[str, str]] | None = None) -> Iterator[int]:
    """Run a web server that answers everything with one status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_OPTIONS(self) -> None:
            """Answer."""
            if asked is not None:
                asked.append((self.command, self.headers.get("Authorization", "")))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    yield from _serving(http.server.HTTPServer(("127.0.0.1", 0), Handler))


@pytest.mark.parametrize(("status", "level"), [(204, "ok"), (405, "ok"), (401, "bad"), (503, "warning")])
def test_a_web_service(tmp_path: Path, status: int, level: str) -> None:
    """A target is asked with OPTIONS and its token, nothing else; what it answers says whether it takes us."""
    (tmp_path / "token").write_text("abc")
    asked: list[tuple[str, str]] = []
    with _web(status, asked) as port:
        target = f'[targets.web]\ntype = "http"\nurl = "http://127.0.0.1:{port}/x"\nbearer = {{ file = "token" }}\n'
        found = said(scene_of(tmp_path, target), "cloud")
    assert max((finding.level for finding in found), key=ORDER.index) == level, text_of(found)
    assert asked == [("OPTIONS", "Bearer abc")]


# ---- files, ports, file systems ------------------------------------------------------------------------------------


def test_secrets_as_another_user(tmp_path: Path) -> None:
    """Whether the service's user may read a secret goes by owner, group, mode and the folders on the way."""
    folder = tmp_path / "private"
    folder.mkdir()
    secret = folder / "pw"
    secret.write_text("right\n")
    scene = scene_of(
        tmp_path, '[sources.house]\nurl = "mqtt://x"\nusername = "u"\npassword = { file = "private/pw" }\n'
    )
    stranger = User("somebody", 54321, frozenset({54321}))
    for parent in (tmp_path, *tmp_path.parents):
        with contextlib.suppress(PermissionError):
            parent.chmod(parent.stat().st_mode | 0o011)
    for mode, way, words in (
        (0o640, 0o755, "may not read it"),
        (0o644, 0o755, "every user"),
        (0o644, 0o700, "may not"),
    ):
        secret.chmod(mode)
        folder.chmod(way)
        found = said(Scene(**{**scene.__dict__, "user": stranger}), "secrets")
        assert words in found[0].text, (oct(mode), oct(way))
    assert said(scene, "secrets")[0].text.endswith("5 characters")


def test_a_key_that_belongs_to_another_certificate(authority: Authority, tmp_path: Path) -> None:
    """OpenSSL says whether key and certificate belong together; one that does gets its days."""
    one, key = authority.issue("one")
    _, other = authority.issue("two")
    target = '[targets.bus]\ntype = "mqtt"\nurl = "mqtts://x"\ntls = {{ certificate = "{}", key = "{}" }}\n'
    found = said(scene_of(tmp_path, target.format(one, other)), "certificates")
    assert "does not belong to the certificate" in found[0].text
    assert "days" in text_of(said(scene_of(tmp_path, target.format(one, key)), "certificates"))


def test_a_serial_port_that_is_gone_and_one_that_is_held(tmp_path: Path) -> None:
    """A port that is not there and one that another program has open are told apart; the program is named."""
    held, there = pty.openpty()
    name = os.ttyname(there)
    try:
        sources = '[sources.{}]\nserial = "{}"\nprofile = "mysensors-serial"\n'
        scene = scene_of(tmp_path, sources.format("one", name) + sources.format("two", "usb:dead:beef"))
        found = text_of(said(scene, "serial"))
    finally:
        os.close(held)
        os.close(there)
    assert f"{name} is open in" in found
    assert "usb:dead:beef is not plugged in" in found


def test_state_in_memory(tmp_path: Path) -> None:
    """A state folder on a real tmpfs is found out: what it acknowledges is gone after a power cut."""
    folder = Path("/dev/shm") / f"edge-gateway-doctor-{os.getpid()}"
    folder.mkdir()
    try:
        mount = mount_of(folder, Roots())
        assert mount is not None
        assert mount.kind == "tmpfs"
        scene = scene_of(tmp_path, "")
        lost = Scene(**{**scene.__dict__, "places": scene.places._replace(state=folder, journal=folder / "journal")})
        assert "a power cut loses everything" in text_of(said(lost, "filesystem"))
        assert "is not there yet" in text_of(said(lost, "flush"))
        later = Scene(**{**scene.__dict__, "places": scene.places._replace(state=tmp_path / "later")})
        assert "the gateway makes it" in text_of(said(later, "filesystem"))
    finally:
        folder.rmdir()


def test_mounts_as_proc_shows_them(tmp_path: Path) -> None:
    """Of several mounts over a folder the innermost and last counts; blanks in names and options are read."""
    lines = f"""\
22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw,errors=remount-ro
30 22 0:40 / {tmp_path} rw - ext4 /dev/sda1 rw,nobarrier
31 22 0:41 / {tmp_path}/a\\040b ro,relatime shared:7 master:2 - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w
32 30 0:42 / {tmp_path} rw - xfs /dev/sdb1 rw
"""
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text(lines)
    (tmp_path / "a b").mkdir()
    roots = Roots(proc=tmp_path)
    inner, outer = mount_of(tmp_path / "a b" / "later", roots), mount_of(tmp_path, roots)
    assert inner is not None
    assert outer is not None
    assert (inner.kind, "ro" in inner.options, "upperdir=/u" in inner.options) == ("overlay", True, True)
    assert outer.kind == "xfs"


def test_who_the_gateway_is() -> None:
    """The rights that count are those of the process that runs, read from /proc."""
    found = user_of(os.getpid())
    assert (found.uid, found.running, found.ourselves) == (os.geteuid(), True, True)
    assert set(os.getgroups()) <= found.groups


def test_flush_leaves_no_file(tmp_path: Path) -> None:
    """The time a block takes is measured in the journal's folder, where nothing is left behind."""
    scene = scene_of(tmp_path, "")
    scene.places.journal.mkdir(parents=True)
    found = said(scene, "flush")
    assert "4 KB are kept in" in found[0].text or "not measured" in found[0].text
    assert list(scene.places.journal.iterdir()) == []


# ---- all of them ---------------------------------------------------------------------------------------------------


class Hanging:
    """A check whose look never ends, and one that breaks."""

    AREA = "system"

    def __init__(self, ended: threading.Event, *, breaks: bool) -> None:
        self.ended, self.breaks = ended, breaks

    def subjects(self, _scene: Scene) -> list[Subject]:
        """One."""
        return [Subject("x")]

    def look(self, _scene: Scene, _subject: Subject) -> object:
        """Hang, or break."""
        if self.breaks:
            raise RuntimeError("on purpose")
        self.ended.wait(60)
        return None

    def judge(self, _facts: object) -> Iterator[Finding]:
        """Say that it is fine."""
        yield ok("fine")


def test_a_check_that_hangs_or_breaks_costs_only_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not answer in time is said so, what breaks too, and the others have their lines."""
    monkeypatch.setattr("gateway.doctor.examination.LOOK_S_MAX", 1.0)
    ended = threading.Event()
    checks = {"a": Hanging(ended, breaks=True), "b": Hanging(ended, breaks=False), "walls": every()["walls"]}
    lines = [line for found in examine(scene_of(tmp_path, ""), checks) for line in found]
    ended.set()
    assert [line.check for line in lines] == ["a", "b", "walls"]
    assert "RuntimeError: on purpose" in lines[0].finding.text
    assert "could not be found out" in lines[1].finding.text


def test_every_look_ends_on_a_machine_without_anything(tmp_path: Path) -> None:
    """Where proc and sysfs are empty, nothing is there and nothing is configured, no check breaks."""
    roots = Roots(*(tmp_path / name for name in ("sys", "proc", "run", "etc", "dev")))
    scene = scene_of(tmp_path, "", roots=roots)
    lines = [line for found in examine(scene, every()) for line in found]
    assert not [line for line in lines if "the check itself failed" in line.finding.text], lines
    broken = Scene(file=tmp_path / "none.toml", config=None, places=scene.places, status=None, roots=roots)
    lines = [
        line
        for found in examine(broken, {name: each for name, each in every().items() if name != "config"})
        for line in found
    ]
    assert not [line for line in lines if "the check itself failed" in line.finding.text], lines
