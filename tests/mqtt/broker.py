"""A real Mosquitto for tests: own config, free ports on 127.0.0.1, can be killed and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from simulators.processes import free_port

START_S = 60.0  # generous: a loaded machine

MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


class Broker:
    """One Mosquitto. `port` stays the same over restarts; `url` is what the config calls it."""

    def __init__(self, folder: Path, config: list[str], port: int, scheme: str = "mqtt") -> None:
        self.folder = folder
        self.port = port
        self.host = "127.0.0.1"
        self.url = f"{scheme}://127.0.0.1:{port}"
        self.log = folder / "mosquitto.log"
        self.config = folder / "mosquitto.conf"
        self.config.write_text("\n".join([*config, ""]))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it accepts connections."""
        assert MOSQUITTO, "mosquitto is not installed (apt install mosquitto)"
        assert self.process is None, "already running"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([MOSQUITTO, "-c", str(self.config)], stdout=log, stderr=log)
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                self.process = None
                raise OSError(f"mosquitto ended: {self.log.read_text()[-2000:]}")
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 1):
                return
            time.sleep(0.02)
        raise TimeoutError(f"mosquitto does not listen on {self.port}")

    def stop(self, sig: int = signal.SIGTERM) -> None:
        """End it (SIGTERM saves what `persistence` keeps) and wait; nothing happens if it does not run."""
        if self.process is not None:
            self.process.send_signal(sig)
            self.process.wait(START_S)
            self.process = None

    def kill(self) -> None:
        """End it as a crash does."""
        self.stop(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start on the same port."""
        self.stop()
        self.start()


def _password_file(folder: Path, users: Mapping[str, str]) -> Path:
    path = folder / "passwords"
    path.touch(mode=0o600)
    for name, password in users.items():
        subprocess.run(["mosquitto_passwd", "-b", str(path), name, password], check=True, capture_output=True)
    return path


def brokers(folder: Path) -> Iterator[Callable[..., Broker]]:
    """Yield a function that starts brokers, and end them all afterwards."""
    running: list[Broker] = []

    def start(
        *,
        acl: str | None = None,
        users: Mapping[str, str] | None = None,
        websockets: bool = False,
        persistence: bool = False,
        tls: Mapping[str, Path] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> Broker:
        """Start one broker.

        `acl` is the text of an ACL file; `users` name -> password (else anonymous); `tls` has the listener's
        cafile, certfile, keyfile (a client certificate is then required); `options` are further lines of
        mosquitto.conf and win over the defaults (no limit on in-flight and queued messages).
        """
        home = folder / f"mosquitto-{len(running)}"
        home.mkdir()
        port = free_port()
        lines: dict[str, object] = {"persistence": str(persistence).lower(), "log_dest": "stderr"}
        lines |= {"max_inflight_messages": 0, "max_queued_messages": 0, "allow_anonymous": str(not users).lower()}
        if os.getuid() == 0:
            lines["user"] = "root"  # it would drop to its own user and not read the test's files
        if persistence:
            lines["persistence_location"] = f"{home}/"
        if acl is not None:
            (home / "acl").write_text(acl)
            (home / "acl").chmod(0o600)
            lines["acl_file"] = home / "acl"
        if users:
            lines["password_file"] = _password_file(home, users)
        lines |= options or {}
        listener: dict[str, object] = {"listener": f"{port} 127.0.0.1"}
        if websockets:  # 2.0.11 does not start with a listener for WebSockets alone
            lines["listener"] = f"{free_port()} 127.0.0.1"
            listener["protocol"] = "websockets"
        if tls:
            listener |= {**tls, "require_certificate": "true"}
        config = [f"{key} {value}" for part in (lines, listener) for key, value in part.items()]
        scheme = ("ws" if websockets else "mqtt") + ("s" if tls else "")
        broker = Broker(home, config, port, scheme)
        running.append(broker)
        broker.start()
        return broker

    try:
        yield start
    finally:
        for broker in running:
            broker.kill()
