"""Fault codes 6xx: clock, identity."""

from __future__ import annotations

from gateway.codes.code import Code

CLOCK_UNSYNCED = Code(
    601,
    "The clock is not synchronised",
    "Events are kept in order and marked `clock: unsynced`; rules that need the hour wait for it.",
    "timedatectl",
)
