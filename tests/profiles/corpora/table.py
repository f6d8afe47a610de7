"""The table: every record decoded on its own by all profiles, judged, and counted by dialect."""

from __future__ import annotations

import base64
import importlib
import json
import pkgutil
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gateway.profiles import samples
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.context import Decoded
from gateway.profiles.devices import Devices
from gateway.profiles.samples import Line
from tests.profiles.corpora import dialects
from tests.profiles.corpora.dialects import described
from tests.profiles.corpora.expected import OUTCOMES, Expected, Verdict, judge
from tests.profiles.corpora.records import Record

EXPLAINED = Path(__file__).parent / "explained.toml"
Expect = Callable[[Record], Expected]


@dataclass
class Row:
    """One dialect. `explained` of those that are not right have a reason in explained.toml."""

    dialect: str
    counts: Counter[str] = field(default_factory=Counter)
    explained: int = 0
    left: list[tuple[Record, Verdict, str]] = field(default_factory=list)  # what is not right; and why that is so

    @property
    def records(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    @property
    def share(self) -> float | None:
        """Right ones of those that say something we have a name for, in percent."""
        asked = self.counts["right"] + sum(verdict.asked for _, verdict, _ in self.left)
        return 100 * self.counts["right"] / asked if asked else None


def expectations() -> dict[str, Expect]:
    """Collect what the files in dialects/ say: dialect -> how a record's expectation reads in our names."""
    found: dict[str, Expect] = {}
    for module in pkgutil.iter_modules(dialects.__path__):
        found.update(importlib.import_module(f"{dialects.__name__}.{module.name}").DIALECTS)
    return found


def explanations() -> dict[str, str]:
    """Return record id -> why it is not as its record expects."""
    named: dict[str, str] = {}
    for entry in tomllib.loads(EXPLAINED.read_text(encoding="utf-8"))["explained"]:
        named.update(dict.fromkeys(entry["records"], entry["why"]))
    return named


class Listener:
    """Decodes records, each as if nothing had been heard but what its expectation says came before."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Make one gateway for all records that need no devices.toml."""
        self._catalogue, self._usual = catalogue, samples.Heard(catalogue)

    def decode(self, record: Record, expected: Expected) -> Decoded:
        """Decode one record."""
        heard = self._usual
        if expected.installed:
            heard = samples.Heard(self._catalogue, Devices(expected.installed))
        heard.forget()
        for earlier in expected.before:
            heard.decode(self._message(record, earlier), samples.NOW_NS)
        return heard.decode(self._message(record, record.payload), samples.NOW_NS + 1_000_000_000)

    @staticmethod
    def _message(record: Record, payload: bytes) -> samples.Line:
        raw = base64.b64encode(payload).decode()
        return samples.Line(topic=record.topic, port=record.port, payload_b64=raw)


def _line(port: str, payload: bytes) -> Line:
    return Line(port=port, payload_b64=base64.b64encode(payload).decode())


def judged(records: Iterable[Record], dialect: str | None = None) -> Iterator[tuple[Record, Verdict, str]]:
    """Yield each record with its verdict and the explanation it has, if any."""
    catalogue, known, why = Catalogue.load(), expectations(), explanations()
    listener, told = Listener(catalogue), described.Told(catalogue)
    for record in records:
        if dialect and not record.dialect.startswith(dialect):
            continue
        expect = known.get(record.dialect)
        expected = expect(record) if expect else Expected()
        heard = told if record.dialect in described.DIALECTS else listener
        yield record, judge(expected, heard.decode(record, expected), down=record.down), why.get(record.id, "")


def table(records: Iterable[Record], dialect: str | None = None) -> list[Row]:
    """Count by dialect."""
    rows: dict[str, Row] = defaultdict(lambda: Row(""))
    for record, verdict, why in judged(records, dialect):
        row = rows[record.dialect]
        row.dialect = record.dialect
        row.counts[verdict.outcome] += 1
        if verdict.outcome in ("wrong", "missing", "rejected", "unclaimed"):
            row.explained += bool(why)
            row.left.append((record, verdict, why))
    return sorted(rows.values(), key=lambda row: row.dialect)


def as_text(rows: list[Row]) -> Iterator[str]:
    """Yield the table's lines."""
    yield (
        f"{'dialect':20}{'records':>8}"
        + "".join(f"{word:>10}" for word in OUTCOMES)
        + f"{'explained':>10}{'right %':>9}"
    )
    total = Row("all")
    for row in [*rows, total]:
        if row is not total:
            total.counts += row.counts
            total.left += row.left
            total.explained += row.explained
        share = "" if row.share is None else f"{row.share:.1f}"
        counts = "".join(f"{row.counts[word] or '':>10}" for word in OUTCOMES)
        yield f"{row.dialect:20}{row.records:>8}{counts}{row.explained or '':>10}{share:>9}"


def as_markdown(rows: list[Row]) -> Iterator[str]:
    """Yield the table as docs/figures.md has it: one line a dialect, empty cells for none."""
    total = Row("all")
    for row in rows:
        total.counts += row.counts
        total.explained += row.explained
    yield f"| dialect | records | {' | '.join(OUTCOMES)} | explained |"
    yield "|---|" + "---:|" * (len(OUTCOMES) + 2)
    for row in [*rows, total]:
        counts = " | ".join(f"{row.counts[word]:,}" if row.counts[word] else "" for word in OUTCOMES)
        yield f"| {row.dialect} | {row.records:,} | {counts} | {row.explained or ''} |"


def as_json(rows: list[Row]) -> str:
    """Write the table and everything that is not right as one JSON document."""
    return json.dumps(
        [
            {
                "dialect": row.dialect,
                "records": row.records,
                **{word: row.counts[word] for word in OUTCOMES},
                "explained": row.explained,
                "right_percent": row.share,
                "not_right": [
                    {"id": record.id, "outcome": verdict.outcome, "why": verdict.why, "explained": why}
                    for record, verdict, why in row.left
                ],
            }
            for row in rows
        ],
        indent=1,
    )
