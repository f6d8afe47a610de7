"""The gateway as the thing under test: the real program as a process, with a config of its own, killed at will."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from simulators.processes import Session

NAME = "bench"
SOURCE = "house"
PROFILES = Path(__file__).parent / "load_profiles"
RULES = Path(__file__).parent / "load_rules"
PROGRAM = (sys.executable, "-m", "gateway", "run")
TOPIC = "gw/{device}"  # where events go at the cloud broker


def config(
    folder: Path, *, target: str, source: str = "", listen_port: int = 0, rules: Path | None = RULES, more: str = ""
) -> str:
    """Write the configuration of a gateway to the broker at `target`, with its state in `folder`.

    Messages come from the broker at `source`, or else from devices at its own listener, on `listen_port`.
    """
    lines = [
        "[gateway]",
        f'name = "{NAME}"',
        f'state = "{folder / "state"}"',
        f'profiles = ["{PROFILES}"]',
        "[rules]",
        f'folder = "{rules or folder / "rules"}"',
        f"[sources.{SOURCE}]",
        f'url = "{source}"' if source else f'listen = "127.0.0.1:{listen_port}"',
        "[targets.cloud]",
        'type = "mqtt"',
        f'url = "{target}"',
        f'topic = "{TOPIC}"',
        more,
    ]
    (folder / "rules").mkdir(parents=True, exist_ok=True)
    return "\n".join([*lines, ""])


class Gateway:
    """`edge-gateway run` on a config in `folder`; state and journal survive a kill."""

    def __init__(self, folder: Path, text: str, program: Sequence[str] = PROGRAM) -> None:
        """Write the config; `start` runs `program` with ``--config FILE`` behind it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._program = folder, program
        self.file = folder / "gateway.toml"
        self.file.write_text(text)
        self.log = folder / "gateway.log"
        self.session: Session | None = None

    def start(self) -> Session:
        """Start it; it is not ready yet."""
        self.session = Session([*self._program, "--config", str(self.file)], self.log)
        return self.session

    def stop(self) -> int | None:
        """Ask it to end; return its exit code, None if it does not run."""
        session, self.session = self.session, None
        return session.stop() if session else None
