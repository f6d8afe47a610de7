"""Records of a corpus: one JSON object a line, with a topic or a port, a payload, and what it must decode to."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VARIABLE = "EDGE_GATEWAY_CORPORA"


@dataclass(frozen=True)
class Record:
    """One record. `topic` is empty for a serial one, `port` for one of MQTT."""

    id: str
    corpus: str
    dialect: str
    topic: str
    port: str
    payload: bytes
    retained: bool
    down: bool  # it goes to the device
    expect: dict[str, Any]
    whole: dict[str, Any]

    @property
    def fields(self) -> dict[str, Any]:
        """What its values must be, by the recorder's names; empty when they are not named."""
        found = self.expect.get("fields")
        return found if isinstance(found, dict) else {}

    @property
    def document(self) -> Any:
        """The payload as JSON; None when it is none."""
        try:
            return json.loads(self.payload)
        except ValueError:
            return None


def folder() -> Path | None:
    """Return where the corpora are, if anybody says so."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def read(root: Path) -> Iterator[Record]:
    """Yield the records of all corpora of a folder, by name."""
    for file in sorted(root.glob("*/samples.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            yield _record(file.parent.name, json.loads(line))


def _record(corpus: str, line: dict[str, Any]) -> Record:
    raw = line.get("payload_b64")
    payload = base64.b64decode(raw) if raw else str(line.get("payload", "")).encode()
    return Record(
        id=line["id"],
        corpus=corpus,
        dialect=line["dialect"],
        topic=line.get("topic", ""),
        port=line.get("port", ""),
        payload=payload,
        retained=bool(line.get("retain")),
        down=line.get("direction") == "down",
        expect=line["expect"],
        whole=line,
    )
