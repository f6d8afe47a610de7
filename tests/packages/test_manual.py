"""Man pages and completion of the Debian package, made from parser and option types."""

from __future__ import annotations

import re

from deb import manual
from gateway.cli.main import parser
from gateway.cli.reference import verbs


def test_every_verb_is_in_the_manual() -> None:
    """edge-gateway(1) has each verb, its options and its examples."""
    page = manual.program("1.2", 0)
    assert page.startswith('.TH EDGE-GATEWAY 1 "1970-01-01" "edge-gateway 1.2"')
    for path, _ in verbs(parser()):
        assert f".SS {manual.roff(path.removeprefix('edge-gateway '))}\n" in page
    assert manual.roff("--dry-run") in page


def test_every_option_is_in_the_manual() -> None:
    """edge-gateway.toml(5) has each table and each key."""
    page = manual.config("1.2", 0)
    for key in ("bytes_max", "max_delay_ms", "timezone", "drain_per_s"):
        assert f"\\fB{key}\\fR" in page
    assert r".SH [sources.NAME]" in page


def test_no_line_is_a_request_by_accident() -> None:
    """Text that begins with a dot or a quote is not read as a command of troff, and no dash becomes a hyphen."""
    assert manual.roff(".d/*.toml") == r"\&.d/*.toml"
    for page in (manual.program("1", 0), manual.config("1", 0)):
        for line in page.splitlines():
            known = re.match(r"\.(TH|SH|SS|TP|PP|B|BR|I|RI|nf|fi|nh)\b", line)
            assert known or not line.startswith((".", "'")), line
