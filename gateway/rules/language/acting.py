"""What the installation says about acting: how long a person's change counts, what is only observed, inputs, services.

Config makes it, the worker gets it with its rules, and the simulated house of tests has one, too.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.clock import NS_PER_S
from gateway.rules.language.endpoints import Endpoint
from gateway.rules.language.inputs import InputOptions

MANUAL_HOLD_S = 3600.0
ECHO_S = 10.0


class Acting(msgspec.Struct, frozen=True):
    """What all rules of an installation share when they act."""

    manual_hold_s: float = MANUAL_HOLD_S  # how long a change by hand counts
    manual_hold_of: Mapping[str, float] = {}  # of a device (its id) or a kind, where it differs
    echo_s: float = ECHO_S  # for so long after a command, what a device says may be about the time before
    observed: tuple[str, ...] = ()  # rules whose commands are only recorded
    observed_devices: tuple[str, ...] = ()  # ids of devices that are sent nothing
    everything_observed: bool = False  # no device is sent anything
    inputs: Mapping[str, InputOptions] = {}
    endpoints: Mapping[str, Endpoint] = {}  # web services that rules may call
    anything: bool = False  # inputs and services nobody declared are there, too: a test without an installation

    @property
    def of_tests(self) -> Acting:
        """What is so in the house of a rule's test, too: the names of inputs and services."""
        return Acting(inputs=self.inputs, endpoints=self.endpoints, anything=self.anything)

    def observes(self, device: str) -> bool:
        """Return whether a device is sent nothing."""
        return self.everything_observed or device in self.observed_devices

    def manual_hold_ns(self, device: str, kind: str) -> int:
        """Return how long a change by hand counts on a device."""
        found = self.manual_hold_of.get(device)
        if found is None:
            found = self.manual_hold_of.get(kind, self.manual_hold_s)
        return round(found * NS_PER_S)


AS_USUAL = Acting()
"""What counts where an installation says nothing."""
