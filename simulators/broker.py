"""A real Mosquitto for rigs and benchmarks: start, stop, kill, start again on the same port and state."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from simulators.processes import Session, free_port, listening, wait_until

START_TIMEOUT_S = 60.0  # generous: a loaded machine
INFLIGHT_MAX = 100  # messages; Mosquitto's default of 20 would pace every subscriber by its round trip


def mosquitto_program() -> str:
    """Return the path of Mosquitto; FileNotFoundError says what to type."""
    path = shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise FileNotFoundError("mosquitto is not installed; type: sudo apt-get install mosquitto")
    return path


class Mosquitto:
    """One broker with persistence in a folder of its own, on loopback, queues unlimited.

    Unlimited, so that what is missing in the end was lost by the gateway and not by the broker beside it.
    """

    def __init__(self, folder: Path, port: int | None = None, lines: Sequence[str] = ()) -> None:
        """Prepare `folder`; `lines` are added to the configuration file."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.host, self.port = folder, "127.0.0.1", port or free_port()
        self.config = folder / "mosquitto.conf"
        self.config.write_text("\n".join([*self._lines(), *lines, ""]))
        self.session: Session | None = None

    @property
    def url(self) -> str:
        """Return the address as the gateway's configuration writes it."""
        return f"mqtt://{self.host}:{self.port}"

    @property
    def log(self) -> Path:
        """Return its log file."""
        return self.folder / "mosquitto.log"

    def start(self) -> Mosquitto:
        """Start it and return when it accepts connections; RuntimeError with the end of its log otherwise."""
        session = self.session = Session([mosquitto_program(), "-c", str(self.config)], self.log)
        wait_until(lambda: listening(self.host, self.port) or not session.alive(), START_TIMEOUT_S)
        if not session.alive() or not listening(self.host, self.port):
            session.kill()
            raise RuntimeError(f"Mosquitto did not start on port {self.port}:\n{session.tail()}")
        return self

    def stop(self) -> None:
        """SIGTERM: it saves its sessions and queues first."""
        if self.session:
            self.session.stop()
            self.session = None

    def kill(self) -> None:
        """SIGKILL: it loses what it has not saved."""
        if self.session:
            self.session.kill()
            self.session = None

    def _lines(self) -> list[str]:
        return [
            f"listener {self.port} {self.host}",
            "allow_anonymous true",
            "set_tcp_nodelay true",
            "persistence true",
            f"persistence_location {self.folder}/",
            "max_queued_messages 0",
            f"max_inflight_messages {INFLIGHT_MAX}",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
            *(["user root"] if os.geteuid() == 0 else []),
        ]
