"""`rules catalogue` and `rules new`: what is shipped is taken by its name, or under another, and works."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.rules.catalogue import shipped
from gateway.cli.rules.templates import DRAFTS
from gateway.rules.desk.trials import Suite
from gateway.rules.files.loader import known_types, load
from tests.cli.site import Site


@pytest.mark.parametrize("name", shipped())
def test_taken_under_another_name(tmp_path: Path, name: str) -> None:
    """A copy's rules have the new name, no word of the old one is left in what it declares, and its tests pass."""
    file = tmp_path / "cellar_7.py"
    file.write_text(shipped()[name].copied("cellar_7"), encoding="utf-8")
    suite = Suite(file)
    assert [str(fault) for fault in suite.faults] == []
    assert all(rule.name.startswith("cellar_7") for rule in suite.loaded.definitions)
    assert [trial.message for trial in suite.run() if not trial.ok] == []


def test_a_rule_is_taken_by_its_name(site: Site) -> None:
    """Its own name needs no template; two copies of one file live beside each other."""
    taken = site.run("rules", "new", "frost_guard")
    assert (taken.code, f"it needs   {shipped()['frost_guard'].needs}" in taken.out) == (0, True)
    assert site.run("rules", "new", "night_watch").code == 0
    assert site.run("rules", "new", "cellar", "--template", "night_watch").code == 0
    loaded = load(site.folder / "rules", types=known_types())
    assert [str(fault) for fault in loaded.faults] == []
    names = {rule.name for rule in loaded.rules}
    assert {"frost_guard", "night_watch_alarm", "cellar", "cellar_alarm"} <= names


def test_what_there_is(site: Site) -> None:
    """The list has each rule and template with what it is for; a misspelt one is named, and nothing is written."""
    listed = site.run("rules", "catalogue")
    assert listed.code == 0
    for name, each in shipped().items():
        assert any(line.startswith(name) and each.title[:40] in line for line in listed.lines)
    assert site.run("rules", "catalogue", "--names").out.split() == [*DRAFTS, *shipped()]
    refused = site.run("rules", "new", "cellar", "--template", "frost_gard")
    assert (refused.code, "did you mean 'frost_guard'" in refused.err) == (2, True)
    assert not (site.folder / "rules" / "cellar.py").exists()
