"""What every room's tests share: the last line says how many ran."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from gateway import secrets
from tests.mqtt.authority import Authority
from tests.mqtt.broker import Broker, brokers

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # no time is asserted
settings.load_profile("patient")


def _forgotten() -> Iterator[None]:
    """Forget the secrets that are read meanwhile: a log of another test hides no word because of them."""
    before = secrets._known
    yield
    secrets._known = before


forgotten_by_tests = pytest.fixture(_forgotten, autouse=True)
forgotten_by_modules = pytest.fixture(_forgotten, autouse=True, scope="module")


@pytest.fixture(autouse=True)
def at_its_priority(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the niceness of the tests' own process: nobody gets it back, and all that follow would run behind others."""
    before = os.nice(0)
    monkeypatch.setattr(os, "nice", lambda more: before)
    yield
    monkeypatch.undo()
    assert os.nice(0) == before


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Start real brokers: `mosquitto(acl=..., users=..., tls=..., options=...)`; all end with the test."""
    yield from brokers(tmp_path)


@pytest.fixture
def broker(mosquitto: Callable[..., Broker]) -> Broker:
    """Run one real broker, anonymous, without limits."""
    return mosquitto()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make a certificate authority for TLS tests."""
    return Authority(tmp_path_factory.mktemp("authority"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests ran, counting a test once whatever its parts did."""
    outcomes = ("passed", "failed")
    ran = {report.nodeid for outcome in outcomes for report in terminalreporter.getreports(outcome)}
    broken = {report.nodeid for outcome in ("failed", "error") for report in terminalreporter.getreports(outcome)}
    terminalreporter.write_line(f"{len(ran | broken)} tests ran, {len(broken)} of them failed")
