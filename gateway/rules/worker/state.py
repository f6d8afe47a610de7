"""How the rule worker is."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """What `status` says about the worker."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"  # before the next start
    NONE = "none"  # there are no rules
    STOPPED = "stopped"
