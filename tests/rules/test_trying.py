"""docs/guides/try-a-rule.md: its property test passes under pytest, and fails when the rule is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SURE = "max_examples=100, derandomize=True, database=None"  # the same examples each time
ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "try-a-rule.md").read_text(encoding="utf-8")
RULE = (ROOT / "rules" / "catalogue" / "freezer_warm.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(("rule", "code"), [(RULE, 0), (RULE.replace("-15", "-40"), 1)], ids=["right", "wrong"])
def test_the_property_test(tmp_path: Path, rule: str, code: int) -> None:
    """What stands in the guide runs beside a rule file, and finds a limit that is wrong."""
    (example,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "rules" / "tests").mkdir(parents=True)
    (tmp_path / "rules" / "freezer_warm.py").write_text(rule)
    (tmp_path / "rules" / "tests" / "test_freezer.py").write_text(example.replace("max_examples=25", SURE))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "gateway.rules.pytest_plugin", "-p", "no:cacheprovider",
         "rules/tests"],
        capture_output=True, timeout=240, check=False, cwd=tmp_path, text=True,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr


def test_the_guide_is_short() -> None:
    """One page."""
    assert len(GUIDE.splitlines()) <= 90
