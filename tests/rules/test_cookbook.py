"""docs/guides/cookbook.md: every recipe is a rule file without fault, carries its test, and passes it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.rules.desk.trials import Suite
from gateway.rules.engine.context import Context
from gateway.rules.testing import SimulatedHouse

COOKBOOK = (Path(__file__).parents[2] / "docs" / "guides" / "cookbook.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", COOKBOOK, re.DOTALL)
NAMED = {found[1]: block for block in BLOCKS if (found := re.match(r"# (\S+\.py)\n", block))}
RECIPES = [block for block in BLOCKS if block not in NAMED.values()]
END_S = 240.0
PATIENT = """from hypothesis import HealthCheck, settings
settings.register_profile("patient", suppress_health_check=list(HealthCheck), database=None)
settings.load_profile("patient")
"""


def titles() -> list[str]:
    """Return the titles of the recipes."""
    return re.findall(r"(?m)^## (.+)$", COOKBOOK)


@pytest.mark.parametrize("recipe", RECIPES, ids=range(len(RECIPES)))
def test_recipes(tmp_path: Path, recipe: str) -> None:
    """A recipe loads beside what it imports, has a test, and its tests pass."""
    for name, block in NAMED.items():
        if name.startswith("rules/lib/"):
            file = tmp_path / name.removeprefix("rules/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block, encoding="utf-8")
    file = tmp_path / "recipe.py"
    file.write_text(recipe, encoding="utf-8")
    suite = Suite(file)
    assert [str(fault) for fault in suite.faults] == []
    assert suite.tests
    assert [trial.message for trial in suite.run() if not trial.ok] == []


def test_a_property_is_tested_by_pytest(tmp_path: Path) -> None:
    """The files that are named stand where the recipe says, and pytest finds the property to hold."""
    for name, block in NAMED.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(block, encoding="utf-8")
    (tmp_path / "tests" / "conftest.py").write_text(PATIENT)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path, capture_output=True, text=True, timeout=END_S, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout


def test_there_are_enough_and_all_are_listed() -> None:
    """Between 12 and 20 recipes, each in the table at the top, and each word of ctx and house exists."""
    listed = re.findall(r"\]\(#([a-z0-9-]+)\)", COOKBOOK)
    anchors = [re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles()]
    assert 12 <= len(anchors) <= 20
    assert sorted(listed) == sorted(anchors)
    for name in re.findall(r"ctx\.([a-z_]+)", COOKBOOK):
        assert hasattr(Context, name), name
    for name in re.findall(r"house\.([a-z_]+)", COOKBOOK.replace("the-house.md", "")):
        assert hasattr(SimulatedHouse, name), name
