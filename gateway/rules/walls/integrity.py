"""Whether what all rules share is still what it was: builtins, the engine's own modules and classes, the process.

A rule that puts its own function into `builtins` or `Context`, switches the garbage collector off, leaves a thread, a
signal handler or a trace function behind or closes a descriptor changes what other rules do, or ends the worker long
after it has returned.  `Fingerprint` remembers identities and compares them: some 50 microseconds a look, without
reading anything but dictionaries.  What it does not see: changes inside of objects (a function's `__code__`, a list).
"""

from __future__ import annotations

import builtins
import faulthandler
import gc
import os
import signal
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any

SHARED = ("builtins", "datetime", "json", "math", "msgspec", "operator", "os", "random", "re", "time", "zoneinfo")
"""Modules rules use, beside all of the gateway's that are loaded."""
OURS = "gateway."
SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    *(getattr(signal, name) for name in ("SIGALRM", "SIGUSR1") if hasattr(signal, name)),
)
_WATCHED = (types.FunctionType, types.BuiltinFunctionType, type, types.ModuleType)

_Group = tuple[str, Callable[[Mapping[str, Any]], Any], Mapping[str, Any], tuple[Any, ...], tuple[str, ...]]


class Fingerprint:
    """Identities as they are now."""

    def __init__(self, descriptors: Iterable[int] = ()) -> None:
        """Take them; `descriptors` are those that have to stay open."""
        self._groups: list[_Group] = []
        names = [name for name in sys.modules if name.startswith(OURS)]
        for name in (*SHARED, *names):
            module = sys.modules.get(name)
            if module is not None:
                self._take(name, vars(module))
        self._descriptors = tuple(descriptors)
        self._facts = self._now()

    def _take(self, name: str, values: Mapping[str, Any]) -> None:
        """Remember what functions, classes and modules a dictionary names, and the same of its own classes."""
        watched = {key: value for key, value in list(values.items()) if isinstance(value, _WATCHED)}
        if len(watched) > 1:
            keys = tuple(watched)
            getter = itemgetter(*keys)
            self._groups.append((name, getter, values, getter(values), keys))
        for value in watched.values():
            if isinstance(value, type) and value.__module__ == name and name.startswith(OURS):
                self._take(f"{name}.{value.__qualname__}", vars(value))

    def changed(self) -> str:
        """Name the first thing that is not what it was; nothing when all is."""
        for name, getter, values, before, keys in self._groups:
            try:
                now = getter(values)
            except KeyError as gone:
                return f"{name}.{gone.args[0]}"
            if now != before:
                key = next(key for key, one, other in zip(keys, now, before, strict=True) if one is not other)
                return f"{name}.{key}"
        facts = self._now()
        if facts != self._facts:
            return next(what for what, now in facts.items() if now != self._facts[what])
        return ""

    def _now(self) -> dict[str, Any]:
        return {
            "the garbage collector": (gc.isenabled(), gc.get_threshold()),
            "the recursion limit": sys.getrecursionlimit(),
            "the trace function": (sys.gettrace(), sys.getprofile()),
            "threads": len(sys._current_frames()),
            "signal handlers": [signal.getsignal(number) for number in SIGNALS],
            "the interval timer": signal.getitimer(signal.ITIMER_REAL)[0] > 0 if hasattr(signal, "getitimer") else None,
            "the import system": (tuple(map(id, sys.meta_path)), tuple(map(id, sys.path_hooks))),
            "sys.stdout": (id(sys.stdout), id(sys.stderr), id(sys.excepthook), id(sys.unraisablehook)),
            "builtins": len(vars(builtins)),
            "faulthandler": faulthandler.is_enabled(),
            "the worker's descriptors": [_identity(descriptor) for descriptor in self._descriptors],
        }


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino
