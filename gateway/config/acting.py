"""[inputs], [http] and what [rules] and devices.toml say about acting, as rules get it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gateway.commands.web_services import WebServiceOptions
from gateway.rules.language.acting import Acting
from gateway.rules.language.inputs import InputOptions

if TYPE_CHECKING:
    from gateway.config.load import Config, Reading


def read_inputs(reading: Reading, named: Iterator[tuple[str, Any]]) -> dict[str, InputOptions]:
    """Convert [inputs.NAME]."""
    return _converted(reading, "inputs", InputOptions, named)


def read_services(reading: Reading, named: Iterator[tuple[str, Any]]) -> dict[str, WebServiceOptions]:
    """Convert [http.NAME]."""
    return _converted(reading, "http", WebServiceOptions, named)


def acting(config: Config) -> Acting:
    """Return what rules are told of the installation."""
    return Acting(
        manual_hold_s=config.rules.manual_hold_s,
        manual_hold_of=config.devices.manual_holds,
        echo_s=config.rules.echo_s,
        observed=config.rules.observe,
        observed_devices=tuple(device.id for device in config.devices if device.commands == "observe"),
        everything_observed=config.gateway.commands == "observe",
        inputs=config.inputs,
        endpoints={name: options.endpoint for name, options in config.http.items()},
    )


def _converted(reading: Reading, section: str, kind: type[Any], named: Iterator[tuple[str, Any]]) -> dict[str, Any]:
    found: Mapping[str, Any] = {name: reading.convert(kind, (section, name)) for name, _ in named}
    return {name: options for name, options in found.items() if options is not None}
