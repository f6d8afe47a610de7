"""docs/guides/write-a-rule.md: every example loads, and its tests pass."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.rules.desk.trials import Suite
from gateway.rules.engine.context import Context
from gateway.rules.testing import SimulatedHouse

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
GUIDE = (GUIDES / "write-a-rule.md").read_text(encoding="utf-8")
ACTING = (GUIDES / "act-on-the-house.md").read_text(encoding="utf-8")
TIME = (GUIDES / "time-and-patterns.md").read_text(encoding="utf-8")
TELLING = (GUIDES / "tell-people.md").read_text(encoding="utf-8")
LEAVING = (GUIDES / "decide-what-leaves.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", GUIDE + ACTING + TIME + TELLING + LEAVING, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples(tmp_path: Path, example: str) -> None:
    """An example is a rule file without fault; what it tests holds."""
    file = tmp_path / "example.py"
    file.write_text(example, encoding="utf-8")
    suite = Suite(file)
    assert [str(fault) for fault in suite.faults] == []
    assert [trial.message for trial in suite.run() if not trial.ok] == []
    assert suite.loaded.definitions


def test_the_guide_is_short_and_its_words_exist() -> None:
    """At most 180 lines; everything it says of ctx and house is there."""
    assert len(GUIDE.splitlines()) <= 180
    for name in re.findall(r"ctx\.([a-z_]+)", GUIDE.replace("ctx.alret", "") + ACTING):
        assert hasattr(Context, name), name
    for name in re.findall(r"house\.([a-z_]+)", (GUIDE + ACTING).replace("the-house.md", "")):
        assert hasattr(SimulatedHouse, name), name


def test_every_word_of_ctx_is_in_the_guide() -> None:
    """What a rule can do is documented, all of it."""
    words = {name for name in dir(Context) if not name.startswith("_")}
    assert words <= set(re.findall(r"ctx\.([a-z_]+)", GUIDE))
