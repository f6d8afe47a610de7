"""What people ask about files of rules: which version runs, what ran before; and rules switched off and on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from gateway import durable
from gateway.api.line import ApiError
from gateway.clock import NS_PER_S, Clock, rfc3339
from gateway.errors import probably_meant
from gateway.rules.files.edits import version
from gateway.rules.files.snapshot import content
from gateway.rules.files.versions import Version
from gateway.rules.records import DISABLED, ENABLED
from gateway.rules.worker.supervisor import RuleWorker

LIVE_S_MAX = 20.0  # a person waits for a version to be live, or refused
LOOK_S = 0.05
DISABLED_S_MAX = 366 * 86400.0


class RuleFiles:
    """The answers about files of rules, and what a person does to rules."""

    def __init__(self, worker: RuleWorker, clock: Clock) -> None:
        self._worker = worker
        self._edits = worker.edits
        self._clock = clock

    def all(self) -> dict[str, Callable[..., Any]]:
        """Return the answers by what is asked."""
        return {
            "rules_files": self.files,
            "rules_history": self.history,
            "rules_rollback": self.rollback,
            "rules_settled": self.settled,
            "rules_disable": self.disable,
            "rules_enable": self.enable,
        }

    def files(self) -> list[dict[str, Any]]:
        """Say of each file which version runs, since when, and whether that is what lies on the disk."""
        edits = self._edits
        found = []
        for name in sorted({*edits.running, *edits.wanted, *edits.refused}):
            running, wanted = edits.running.get(name), edits.wanted.get(name)
            refusal = edits.refused.get(name)
            faults = [str(fault) for fault in refusal.faults] if refusal else []
            found.append(
                {
                    "file": name,
                    "version": None if running is None else version(running),
                    "since": edits.since.get(name),
                    "on_disk": None if wanted is None else version(wanted),
                    "live": running == wanted and not faults,
                    "faults": faults,
                }
            )
        return found

    def history(self, file: str = "") -> dict[str, Any]:
        """Return the good versions of files (of one), newest first."""
        history = self._history()
        if file:
            history = {file: self._versions(file)}
        return {name: [msgspec.to_builtins(each) for each in versions] for name, versions in sorted(history.items())}

    async def rollback(self, file: str, to: str = "1", actor: str = "person") -> dict[str, Any]:
        """Put an earlier good version back in place, as an edit.

        file   its name below the folder of rules
        to     how many versions back, or the beginning of a version's hash
        actor  who does it
        """
        edits, store = self._edits, self._edits.store
        assert store is not None
        there = edits.wanted.get(file, edits.running.get(file, b"") if file in edits.refused else b"")
        earlier = [each for each in self._versions(file) if each.hash != content(there)]
        wanted = (
            [each for each in earlier if each.hash.startswith(to)] if not _is_number(to) else earlier[int(to) - 1 :]
        )
        if not wanted:
            raise ApiError(
                f"{file} has {len(earlier)} other good versions, and none is {to}: see edge-gateway rules history"
            )
        source = await asyncio.to_thread(store.text, wanted[0].hash)
        if source is None:
            raise ApiError(f"the text of version {wanted[0].hash[:8]} is damaged or gone")
        edits.expect(file, source, actor)
        said = {"file": file, "version": version(source), "time": wanted[0].time, "path": str(edits.folder / file)}
        try:
            await asyncio.to_thread(_put, edits.folder / file, source)
        except OSError as error:  # the folder of rules is somebody else's: whoever asks may write there
            return said | {"written": False, "why": error.strerror, "text": source.decode(errors="surrogateescape")}
        return said | {"written": True}

    async def settled(self, file: str, wanted: str) -> dict[str, Any]:
        """Return when a version runs or was refused: `live`, and the faults if not."""
        edits, started = self._edits, time.monotonic()
        while time.monotonic() - started < LIVE_S_MAX:
            running, refusal = edits.running.get(file), edits.refused.get(file)
            if running is not None and version(running) == wanted:
                return {"live": True, "faults": []}
            if refusal is not None and version(edits.wanted.get(file, b"")) == wanted:
                return {"live": False, "faults": [str(fault) for fault in refusal.faults]}
            await asyncio.sleep(LOOK_S)
        return {"live": False, "faults": [f"{file}: not looked at within {LIVE_S_MAX:g} s"]}

    def disable(self, rule: str, for_s: float | None = None, actor: str = "person") -> dict[str, Any]:
        """Let a rule do nothing, for some seconds or until it is enabled."""
        self._known(rule)
        if for_s is not None and not 0 < for_s <= DISABLED_S_MAX:
            raise ApiError(f"{for_s:g} s: more than nothing, and at most a year")
        until = None if for_s is None else rfc3339(self._clock.wall_ns() + round(for_s * NS_PER_S))
        event = self._worker.time.record(
            DISABLED, {"rule": rule} | ({"until": until} if until else {}), subject=f"rule:{rule}", actor=actor
        )
        return {"rule": rule, "until": until, "id": event.id}

    def enable(self, rule: str, actor: str = "person") -> dict[str, Any]:
        """Let a disabled rule act again."""
        rows = self._worker.disabled()
        if rule not in rows:
            self._known(rule)
            raise ApiError(f"rule {rule} is not disabled")
        event = self._worker.time.record(ENABLED, {"rule": rule}, subject=f"rule:{rule}", actor=actor)
        return {"rule": rule, "id": event.id}

    def _known(self, name: str) -> None:
        rules = {rule.name: rule for rule in self._worker.rules}
        if name not in rules:
            hint = probably_meant(name, rules)
            raise ApiError(f"no rule {name!r} runs" + (f", {hint}" if hint else ""))
        if rules[name].trigger == "ctx.after":
            raise ApiError(f"{name} is a @timer: disable the rule that starts it")

    def _history(self) -> dict[str, list[Version]]:
        return {} if self._edits.store is None else self._edits.store.index.history

    def _versions(self, file: str) -> list[Version]:
        history = self._history()
        if file not in history:
            hint = probably_meant(file, history)
            raise ApiError(f"no good version of {file!r} is known" + (f", {hint}" if hint else ""))
        return history[file]


def _is_number(text: str) -> bool:
    return text.isdigit() and 0 < int(text) < 100 and len(text) < 3


def _put(path: Path, source: bytes) -> None:
    """Save a rule file in one piece, with the permissions it had."""
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.replace(path, source, path.stat().st_mode & 0o777 if path.exists() else 0o644)
