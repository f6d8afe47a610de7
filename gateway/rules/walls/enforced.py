"""What is really enforced around rules, where this gateway runs: for the log, `status` and `rules list`."""

from __future__ import annotations

import msgspec

HOOK = "audit hook"  # tells the author; somebody who wants to get around it can
NOBODY = "nobody"
GRANTED = "granted"


class Enforced(msgspec.Struct, frozen=True):
    """Who enforces what, in the worker process as it is now."""

    landlock: int = 0  # version of its interface, 0 is none
    seccomp: bool = False
    by: dict[str, str] = {}  # what -> who: "kernel (Landlock 6, seccomp)", "audit hook", "granted"
    missing: tuple[str, ...] = ()  # why it is not more
    granted: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Return whether everything that is not granted is the kernel's."""
        return bool(self.by) and not any(who in (HOOK, NOBODY) for who in self.by.values())

    def line(self) -> str:
        """Say it on one line, for the log."""
        weak = [what for what, who in self.by.items() if who in (HOOK, NOBODY)]
        kernel = [f"Landlock {self.landlock}"] if self.landlock else []
        kernel += ["seccomp"] if self.seccomp else []
        text = f"rules are kept in by {' and '.join(kernel) if kernel else 'an audit hook alone'}"
        if weak:
            text += f"; only an audit hook keeps them from {', '.join(weak)} ({'; '.join(self.missing)})"
        return text + (f"; granted: {', '.join(self.granted)}" if self.granted else "")
