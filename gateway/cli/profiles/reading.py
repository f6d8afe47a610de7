"""`profiles list`, `profiles decode` and `profiles test`: what the profiles make of messages, without a gateway.

`decode` reads one JSON object a line on standard input, ``{"topic" | "port", "payload" | "payload_b64",
"retain"?}``, and prints one line for each: ``{"device", "device_class", "profile", "fields", "events", "rejected",
"id"}``. Every line is decoded as if nothing had been heard before, but what devices said about themselves on
earlier lines counts; `says` and `described` tell what such a line is about and what became of it.
`device` is the name in the device's own dialect ("bedroom/radiator"), `id` what rules and clouds see behind the
source's name ("z2m:bedroom/radiator").
`ignored` says why a known message holds nothing to report, `faults` which fields could not be read, `more` holds
the other devices of a message about several.  Exit codes: 0 ok, 1 a sample does not match, 2 no such profile.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from gateway.cli.terminal.printing import complain, say, say_json, table
from gateway.cli.verb import BAD, OK, USAGE
from gateway.errors import DecodeError, probably_meant
from gateway.importers.importer import Description
from gateway.importers.imports import Imports, names
from gateway.profiles import samples
from gateway.profiles.catalogue import BUILTIN, Catalogue, load_profile
from gateway.profiles.context import Decoded
from gateway.profiles.language import Link


def listing(words: argparse.Namespace) -> int:
    """Print every profile: what it is for, the topics it reads, how many samples prove it."""
    catalogue = Catalogue.load(_folders(words))
    rows = [_row(catalogue, name) for name in sorted(catalogue.profiles)]
    if words.json:
        say_json({"profiles": rows})
        return OK
    table(
        ("profile", "what", "class", "topics", "samples"),
        [(r["id"], r["title"], r["device_class"], _brief(r["topics"]), r["samples"]) for r in rows],
    )
    return OK


def _brief(topics: Sequence[str]) -> str:
    """Write the first topics as they are by default; --json has them all, as the profile says them."""
    plain = (re.sub(r"{(\w+)[:+][^}]*}", r"{\1}", re.sub(r"{\w+=([^}]*)}", r"\1", topic)) for topic in topics)
    different = list(dict.fromkeys(plain))
    return ", ".join(different[:2]) + (", …" if len(different) > 2 else "")


def decode(words: argparse.Namespace) -> int:
    """Decode JSON lines from standard input."""
    imports = Imports(names(None))
    heard = samples.Heard(Catalogue.load(_folders(words)), imports=imports)
    for line in sys.stdin.buffer:
        if line.strip():
            said = dict(imports.descriptions_by_key())
            decoded = _decoded(heard, line)
            heard.settle(time.time_ns())
            now = imports.descriptions_by_key()
            fresh = [_described(key[0], one) for key, one in now.items() if said.get(key) is not one]
            gone = [one.device for key, one in said.items() if key not in now]
            more = {"says": _explained(imports, line), "described": fresh, "no_longer_described": gone}
            say_json(samples.as_line(decoded) | {key: value for key, value in more.items() if value})
            sys.stdout.flush()
            heard.forget()
    return OK


def _explained(imports: Imports, line: bytes) -> dict[str, Any]:
    """Return what an announcement says, read once more on its own."""
    with contextlib.suppress(msgspec.DecodeError, DecodeError, RecursionError, UnicodeDecodeError):
        message = samples.incoming(msgspec.json.decode(line, type=samples.Line), 0)
        importer = imports.wants(message.topic)
        return importer.explain(message.topic, message.payload) if importer is not None else {}
    return {}


def _described(importer: str, one: Description) -> dict[str, Any]:
    """Say what a device that describes itself has become."""
    document = one.document
    lists = [message["fields"] for message in document["message"] if isinstance(message.get("fields"), list)]
    return {
        "importer": importer,
        "id": one.device,
        "name": one.name,
        "device_class": document["device_class"],
        "topics": list(one.topics),
        "fields": sorted({field["name"] for fields in lists for field in fields}),
        "commands": sorted({command["name"] for command in document.get("command", ())}),
        "left_out": list(one.left_out),
    }


def test(words: argparse.Namespace) -> int:
    """Run the samples of profiles, by id or file; without any, of all."""
    catalogue = Catalogue.load(_folders(words))
    try:
        names = [_named(catalogue, str(word)) for word in words.files] or sorted(catalogue.profiles)
    except KeyError as unknown:
        near = probably_meant(str(unknown.args[0]), catalogue.profiles)
        complain(f"no profile {unknown.args[0]}" + (f" ({near})" if near else ""))
        return USAGE
    results = [(name, *samples.run(catalogue, name)) for name in names]
    if words.json:
        say_json({"profiles": [_result(*result) for result in results]})
    else:
        _show(results)
    return BAD if any(wrong or not count for _, count, wrong in results) else OK


def _show(results: Sequence[tuple[str, int, list[samples.Mismatch]]]) -> None:
    for name, count, wrong in results:
        for mismatch in wrong:
            say(f"{mismatch.file}:{mismatch.line}: does not match", "red")
            for difference in mismatch.differences:
                say(f"    {difference}")
        if not count:
            say(f"{name}: no samples; write samples/{name}.jsonl beside the profile", "red")
        elif not wrong:
            say(f"{name}: {count} samples match", "green")


def _result(name: str, count: int, wrong: list[samples.Mismatch]) -> dict[str, Any]:
    mismatches = [{"file": str(m.file), "line": m.line, "differences": m.differences} for m in wrong]
    return {"id": name, "samples": count, "mismatches": mismatches}


def _row(catalogue: Catalogue, name: str) -> dict[str, Any]:
    compiled = catalogue.profiles[name]
    profile = compiled.source
    file = samples.sample_file(compiled.file)
    return {
        "id": name,
        "title": profile.title,
        "maker": profile.maker,
        "manual": profile.manual,
        "device_class": profile.device_class,
        "file": compiled.file,
        "topics": _lines(profile.link) or sorted({t.text for message in compiled.messages for t in message.topics}),
        "commands": sorted(compiled.commands),
        "samples": sum(1 for _ in samples.read(file)) if file.exists() else 0,
    }


def _lines(link: Link) -> list[str]:
    return [f"serial {port}:{link.baud}" for port in link.ports or ["any"]] if link.kind == "serial" else []


def _decoded(heard: samples.Heard, line: bytes) -> Decoded:
    if len(line) > samples.SAMPLE_BYTES_MAX:
        return Decoded(rejected=f"a line of {len(line)} bytes, the limit is {samples.SAMPLE_BYTES_MAX}")
    try:
        return heard.decode(msgspec.json.decode(line, type=samples.Line), time.time_ns())
    except (msgspec.DecodeError, DecodeError, RecursionError, UnicodeDecodeError) as error:
        return Decoded(rejected=f"not a line of the form {{topic, payload}}: {error}")


def _named(catalogue: Catalogue, word: str) -> str:
    """Return the id of a profile named by id or by file; a file from elsewhere joins the catalogue. KeyError."""
    if word in catalogue.profiles:
        return word
    file = Path(word)
    if not file.is_file():
        raise KeyError(word)
    compiled = load_profile(file)
    catalogue.profiles[compiled.source.id] = compiled
    return compiled.source.id


def _folders(words: argparse.Namespace) -> list[Path]:
    """Return the shipped profiles, those of the config if there is one, those of --profiles."""
    config = getattr(words, "config", None)
    found = [BUILTIN]
    if config is not None and config.exists():
        from gateway.config.load import read

        known, _ = read(config)
        found = list(known.profiles) if known else found
    return [*found, *(words.profiles or ())]
