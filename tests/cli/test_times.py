"""Times as people type them."""

from __future__ import annotations

from argparse import ArgumentTypeError

import pytest

from gateway.cli.times import moment


def test_moments() -> None:
    """A time is a moment with its zone, or how long ago."""
    assert moment("2026-11-23T07:00:00+01:00") == "2026-11-23T06:00:00.000Z"
    assert moment("2h") < moment("1h")
    for wrong in ("yesterday", "2026-11-23T07:00:00", ""):
        with pytest.raises(ArgumentTypeError, match="is not a time"):
            moment(wrong)
