"""Texts in a config that mean a duration, a size, a path or a secret."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gateway.config.texts import read_texts
from gateway.document import Document
from gateway.secrets import Secret


class Inner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table in a table."""

    retry_s_max: float = 60.0
    key: Path | None = None


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One option of each sort."""

    max_delay_ms: int = 20
    bytes_max: int | None = None
    keep_alive_s: float = 60.0
    drain_per_s: int = 5
    name: str = ""
    folders: list[Path] = []
    password: Secret | None = None
    inner: Inner = Inner()
    many: dict[str, Inner] = {}


def read(text: str) -> tuple[Options, list[str]]:
    """Read a document with one table [o], as the config does."""
    document = Document("[o]\n" + text, "f.toml")
    faults = [str(fault) for fault in read_texts(document, Options, ("o",), Path("/etc/gw"))]
    return document.convert(Options, ("o",)), faults


def test_texts_become_what_they_mean() -> None:
    """Durations, sizes, paths and secrets are read as the option's type and name say."""
    options, faults = read(
        'max_delay_ms = "1s"\nbytes_max = "1GB"\nkeep_alive_s = "1m"\nname = "5s"\nfolders = ["a", "/b"]\n'
        'password = { file = "p" }\ninner = { retry_s_max = "5m", key = "k" }\nmany.x = { key = "/k" }'
    )
    assert faults == []
    assert options == Options(
        max_delay_ms=1000,
        bytes_max=10**9,
        keep_alive_s=60,
        name="5s",
        folders=[Path("/etc/gw/a"), Path("/b")],
        password=Secret("file", "/etc/gw/p"),
        inner=Inner(retry_s_max=300, key=Path("/etc/gw/k")),
        many={"x": Inner(key=Path("/k"))},
    )


def test_every_fault_has_its_line() -> None:
    """Each text that cannot be read is a fault at its own line; a literal secret is not repeated in it."""
    document = Document(
        '[o]\nmax_delay_ms = "soon"\nbytes_max = "5 elephants"\npassword = "hunter2"\ninner.retry_s_max = "x"', "f.toml"
    )
    faults = [str(fault) for fault in read_texts(document, Options, ("o",), Path())]
    assert [fault.split(" ")[0] for fault in faults] == ["f.toml:2:", "f.toml:3:", "f.toml:4:", "f.toml:5:"]
    assert "'soon' is not a duration" in faults[0]
    assert "'5 elephants' is not a size" in faults[1]
    assert "does not belong in the config" in faults[2]
    assert "hunter2" not in "".join(faults)


def test_fraction_of_a_whole_number_is_a_fault() -> None:
    """An option counted in whole milliseconds cannot be half of one."""
    document = Document('[o]\nmax_delay_ms = "500us"', "f.toml")
    faults = [str(fault) for fault in read_texts(document, Options, ("o",), Path())]
    assert len(faults) == 1
    assert "not a whole number" in faults[0]


def test_numbers_stay_numbers() -> None:
    """What is written as a number is taken in the option's own unit."""
    options, faults = read("max_delay_ms = 7\nbytes_max = 8\nkeep_alive_s = 1.5")
    assert faults == []
    assert (options.max_delay_ms, options.bytes_max, options.keep_alive_s) == (7, 8, 1.5)
