"""The bill of materials and the list of licences, made from the lock: ``python -m supply FOLDER``.

CycloneDX 1.5 as JSON, the same bytes each time: no time of day, and a serial number that follows from the content.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any

import gateway
from supply.locked import LOCK, ROOT, Library, libraries, refused

BOM = ROOT / "docs/reference/sbom.cdx.json"
PAGE = ROOT / "docs/reference/licences.md"
NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562, names that are URLs
HEAD = """# Licences

Made from `requirements.lock` and the packages' own metadata by `./dev licences`; a test fails when it is stale, or when
a library comes in under a licence that is not in `ALLOWED` (`packaging/supply/locked.py`). The same as CycloneDX JSON:
[sbom.cdx.json](sbom.cdx.json), in the Debian package `/usr/share/doc/edge-gateway/sbom.cdx.json`.

edge-gateway itself is under Apache-2.0. It is given on with:

| library | version | licence | by | what it is |
|---|---|---|---|---|
"""
FOOT = """
Not given on with it, but used where it is installed: `cryptography` (an encrypted journal), `apprise` (recipients),
`systemd-python`. The Debian package takes them from Debian.
"""


def bill(version: str = gateway.__version__) -> str:
    """Write the bill of materials of a version."""
    found = libraries()
    lock = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    own = f"pkg:generic/edge-gateway@{version}"
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, f'{own} {lock}')}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": "edge-gateway",
                "version": version,
                "licenses": [{"expression": "Apache-2.0"}],
                "purl": own,
            },
            "properties": [{"name": "edge-gateway:requirements.lock:sha256", "value": lock}],
        },
        "components": [component(library) for library in found],
        "dependencies": [{"ref": own, "dependsOn": [purl(library) for library in found]}],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def component(library: Library) -> dict[str, Any]:
    """Describe one library as CycloneDX does."""
    return {
        "type": "library",
        "bom-ref": purl(library),
        "author": library.author,
        "name": library.name,
        "version": library.version,
        "description": library.summary,
        "licenses": [{"expression": library.licence}],
        "purl": purl(library),
    }


def purl(library: Library) -> str:
    """Name a library as vulnerability databases do (package URL)."""
    return f"pkg:pypi/{library.name.replace('_', '-')}@{library.version}"


def licences() -> str:
    """Write the page of licences."""
    rows = (
        f"| {one.name} | {one.version} | {one.licence} | {one.author} | {' '.join(one.summary.split())} |"
        for one in libraries()
    )
    return HEAD + "\n".join(rows) + "\n" + FOOT


def not_allowed(found: list[Library]) -> list[str]:
    """Say of each library under a licence that is not allowed which one that is."""
    told = ((library, refused(library.licence)) for library in found)
    return [f"{library.name} {library.version}: {', '.join(bad)}" for library, bad in told if bad]
