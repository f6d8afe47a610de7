"""Who can be told, as far as rules know it: names of recipients and groups, not where they are reached."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gateway.errors import probably_meant

EVERYONE = "everyone"
"""The group that always exists: all recipients, unless the config says otherwise."""


class Recipients:
    """Names of recipients and groups; None where nobody knows (a laptop)."""

    def __init__(self, names: Collection[str] | None = None) -> None:
        self.names = names

    def __contains__(self, name: str) -> bool:
        """Return whether there is such a recipient or group."""
        return name == EVERYONE or self.names is None or name in self.names

    def check(self, name: object, others: Sequence[str] = ()) -> str:
        """Return the name of a recipient. LookupError says what was probably meant (`others` may stand here, too)."""
        if isinstance(name, str) and name in self:
            return name
        raise LookupError(f"there is no recipient {name!r}, {self.hint(name, others)}")

    def hint(self, name: object, others: Sequence[str] = ()) -> str:
        """Say which name was probably meant, or which there are."""
        known = sorted({*(self.names or ()), EVERYONE})
        return probably_meant(str(name), [*known, *others]) or f"there are {', '.join(known)}"
