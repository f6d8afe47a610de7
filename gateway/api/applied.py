"""What counts on this machine: the config's own folder or an applied bundle, and how a try of one goes."""

from __future__ import annotations

import msgspec


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """As `status` and `apply --status` say it."""

    base: str = ""  # the config that people name
    bundle: str = ""  # hash of what counts; empty: the folder of the config itself
    site: str = ""
    since: str = ""
    trying: bool = False
    left_s: float | None = None
    missing: list[str] = []  # what a try still waits for
    outcome: str = ""  # of the last try: confirmed, reverted
    why: str = ""
    code: str = ""  # fault code, when it went wrong
    at: str = ""

    @property
    def sentence(self) -> str:
        """Say what a person should know of it; empty when there is nothing."""
        if self.trying:
            waits = self.missing[0] if self.missing else "it works"
            return f"Bundle {self.bundle[:12]} is being tried, {self.left_s or 0:.0f} s left: {waits}"
        if self.outcome == "reverted" and self.code:
            return f"A bundle went back at {self.at}: {self.why}"
        return ""
