"""What every room's tests share: the last line says how many ran."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests ran, counting a test once whatever its parts did."""
    outcomes = ("passed", "failed")
    ran = {report.nodeid for outcome in outcomes for report in terminalreporter.getreports(outcome)}
    broken = {report.nodeid for outcome in ("failed", "error") for report in terminalreporter.getreports(outcome)}
    terminalreporter.write_line(f"{len(ran | broken)} tests ran, {len(broken)} of them failed")
