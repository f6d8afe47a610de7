"""What is left of a run for others: JUnit XML for a build server, an evidence file for whoever asks later."""

from __future__ import annotations

import hashlib
import json
import platform
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gateway import __version__
from simulators.house.expectations import Result


def junit(file: Path, title: str, results: Sequence[Result], seconds: float) -> None:
    """Write each expectation as a test case."""
    failed = sum(not result.met for result in results)
    suite = ET.Element(
        "testsuite",
        {"name": title, "tests": str(len(results)), "failures": str(failed), "time": f"{seconds:.3f}"},
    )
    for result in results:
        case = ET.SubElement(suite, "testcase", {"classname": title, "name": result.name})
        if not result.met:
            ET.SubElement(case, "failure", {"message": result.what})
        else:
            ET.SubElement(case, "system-out").text = result.what
    ET.ElementTree(suite).write(file, encoding="utf-8", xml_declaration=True)


def evidence(file: Path, scenario: Path, folder: Path | None, result: Mapping[str, Any]) -> None:
    """Write what somebody needs to believe a result, and to do it again: seed, versions, hashes, what happened when."""
    sources = [scenario, *sorted((folder / "rules").glob("*.py"))] if folder else [scenario]
    files = [*sources, *(folder / name for name in ("gateway.toml", "devices.toml"))] if folder else sources
    document = {
        "versions": {
            "edge-gateway": __version__, "python": platform.python_version(), "system": platform.platform(),
        },
        "sha256": {each.name: _hash(each) for each in files if each.exists()},
        **result,
    }  # fmt: skip
    if folder:
        books = {name: _hash(folder / name) for name in ("sent.ndjson", "received.ndjson") if (folder / name).exists()}
        document["sha256"].update(books)
    file.write_text(json.dumps(document, indent=1, default=str, ensure_ascii=False) + "\n", encoding="utf-8")


def rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return expectations for a program."""
    return [asdict(result) for result in results]


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
