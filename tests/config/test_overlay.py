"""Config files over each other, with variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.overlay import Overlaid, read_overlaid
from gateway.document import Document
from gateway.errors import ConfigError


def overlaid(*texts: str) -> Overlaid:
    """Merge texts; their names are 0.toml, 1.toml and so on."""
    return Overlaid([Document(text, f"{i}.toml") for i, text in enumerate(texts)])


def test_tables_merge_and_values_replace() -> None:
    """An overlay adds keys to tables and replaces everything else, lists included."""
    merged = overlaid('[a]\nx = 1\ny = [1, 2]\n[b]\nz = "z"', "[a]\ny = [3]\n[c]\nw = 4")
    assert merged.data == {"a": {"x": 1, "y": [3]}, "b": {"z": "z"}, "c": {"w": 4}}


def test_documents_are_not_changed() -> None:
    """Merging leaves the documents as they were read."""
    base, over = Document("[a]\nx = 1", "0"), Document("[a.b]\ny = 2", "1")
    Overlaid([base, over]).data["a"]["b"]["y"] = 3
    assert base.data == {"a": {"x": 1}}
    assert over.data == {"a": {"b": {"y": 2}}}


def test_fault_names_the_file_that_has_the_key() -> None:
    """A fault leads to the overlay that set the value, else to the base."""
    merged = overlaid("[a]\nx = 1\ny = 2", "# a comment\n[a]\n\nx = 3")
    assert str(merged.fault(("a", "x"), "wrong")) == "1.toml:4: wrong"
    assert str(merged.fault(("a", "y"), "wrong")) == "0.toml:3: wrong"
    assert str(merged.fault(("nowhere",), "wrong")) == "0.toml: wrong"


def test_variables_are_put_into_texts() -> None:
    """${name} becomes the variable, in nested tables and lists too; $$ is a dollar sign."""
    merged = overlaid(
        '[a]\nx = "${site}/up"\ny = ["$${site} costs $5", "${ floor }"]\n[variables]\nfloor = 3',
        '[variables]\nsite = "b3"',
    )
    assert merged.substitute() == []
    assert merged.data["a"] == {"x": "b3/up", "y": ["${site} costs $5", "3"]}


def test_unknown_variable_is_a_fault_at_its_line() -> None:
    """A variable nobody set is a fault where it is used, with what was probably meant."""
    faults = overlaid('[a]\nx = 1\ny = "${stie}"\n[variables]\nsite = "b3"').substitute()
    assert [str(fault) for fault in faults] == ["0.toml:3: unknown variable ${stie} (did you mean 'site'?)"]


def test_variable_that_is_no_text_is_a_fault() -> None:
    """Variables are texts or numbers."""
    faults = overlaid("[variables]\nsite = [1]").substitute()
    assert [str(fault) for fault in faults] == ["0.toml:2: variable 'site' must be a text or a number"]


def test_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    """gateway.d is read after gateway.toml, by name; other files in it do not count."""
    (tmp_path / "gateway.d").mkdir()
    (tmp_path / "gateway.toml").write_text("x = 1\ny = 1\nz = 1")
    (tmp_path / "gateway.d/20.toml").write_text("y = 20\nz = 20")
    (tmp_path / "gateway.d/10.toml").write_text("z = 10")
    (tmp_path / "gateway.d/30.toml.bak").write_text("x = 30")
    assert read_overlaid(tmp_path / "gateway.toml").data == {"x": 1, "y": 20, "z": 20}


def test_syntax_faults_of_all_files_come_at_once(tmp_path: Path) -> None:
    """One broken file does not hide another."""
    (tmp_path / "gateway.d").mkdir()
    (tmp_path / "gateway.toml").write_text("x = \n")
    (tmp_path / "gateway.d/10.toml").write_text("a = 1\n[b\n")
    with pytest.raises(ConfigError) as caught:
        read_overlaid(tmp_path / "gateway.toml")
    assert [(Path(fault.file).name, fault.line) for fault in caught.value.faults] == [
        ("gateway.toml", 1),
        ("10.toml", 2),
    ]
