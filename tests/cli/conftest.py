"""What the command line's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.site import Site


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Site:
    """Make a good site."""
    made = Site(tmp_path, capsys)
    made.write({})
    return made
