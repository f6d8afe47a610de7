"""Every type of framing there is. A new one is one file in this folder and one line here."""

from __future__ import annotations

from gateway.framing.framer import Framer
from gateway.framing.line import Line

Framing = Line
"""What ``[link] framing = { type = "...", ... }`` may be: `type` chooses, the other keys are that type's."""

FRAMINGS = (Line,)


def framer_of(options: Framing) -> Framer:
    """Return a new framer for one line."""
    return options.framer()
