"""A site in a folder: files by name, and the command run on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.cli.main import main

GOOD = {
    "gateway.toml": """\
[gateway]
name = "pi"
state = "state"

[sources.house]
listen = "127.0.0.1:1883"

[targets.cloud]
type = "mqtt"
url = "mqtt://localhost:1884"
""",
    "devices.toml": """\
[[device]]
id = "house/z2m:front"
name = "front-door"
room = "hall"
kind = "door"
labels = ["entry"]

[[device]]
id = "house/z2m:siren"
name = "siren-hall"
room = "hall"
kind = "siren"
""",
    "rules/left_open.py": '''\
"""A door that is left open."""

from gateway.rules import when


@when(kind="door", open=True, lasts="30m")
def left_open(door, ctx):
    """A door is left open."""
    ctx.alert(f"{door.name} open for 30 min")
''',
}


class Result(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Everything it said, line by line."""
        return (self.out + self.err).splitlines()

    @property
    def json(self) -> Any:
        """What it said as JSON."""
        return json.loads(self.out)


class Site:
    """A config folder under test."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.config = folder / "gateway.toml"
        self._capsys = capsys

    def write(self, files: Mapping[str, str]) -> None:
        """Write files over those of a good site."""
        for name, text in {**GOOD, **files}.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def run(self, *words: str) -> Result:
        """Run a command in this process."""
        self._capsys.readouterr()
        try:
            code = main([*words, "--config", str(self.config)])
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = self._capsys.readouterr()
        return Result(code, said.out, said.err)

    def relative(self, line: str) -> str:
        """Return a line without the folder's name."""
        return line.replace(f"{self.folder}/", "")


def command(*words: str, stdin: str | None = None, **environment: str) -> Result:
    """Run the real command as its own process."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, **environment},
    )
    return Result(done.returncode, done.stdout, done.stderr)
