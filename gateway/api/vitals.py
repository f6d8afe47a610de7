"""What a gateway says of itself beside what it does: who it is, what it runs, how its clock and its card are."""

from __future__ import annotations

import msgspec

from gateway.clock import ClockState


class CertificateDays(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate file of the config."""

    of: str  # the source or target
    file: str
    name: str  # of the certificate in it that ends first
    days_left: float  # below 0: it is over


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """See the head of this module. Hashes are the first 16 digits of a SHA-256: the same at every site that runs it."""

    clock: ClockState
    identity: str = ""
    identity_state: str = "bound"  # bound | unbound (nothing to compare) | moved | other (a person is to decide)
    identity_since: str | None = None  # moved, other: since when
    hashes: dict[str, str] = {}  # of what runs: config, rules, profiles
    memory_bytes: int = 0  # resident, of the gateway's own process
    written_per_day_bytes: int | None = None  # by the journal since the start; None: too early to say
    card_life_used_percent: int | None = None  # where the medium says so itself (eMMC), in steps of 10
    certificates: list[CertificateDays] = []
