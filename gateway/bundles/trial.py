"""What a running gateway does about a configuration that is being tried: find out whether it works, confirm or go back.

It works when each target that a route leads to has acknowledged an event since this start. There is one to acknowledge:
the record of the try itself.  A target whose routes carry no such record has to be connected.

What ends a try replaces the ledger, durably, and then this program by itself where another version counts now: it ends
in order and is started again under the same process id (`again`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from gateway.api.applied import Applied
from gateway.api.line import ApiError
from gateway.audit import CHANGE
from gateway.bundles import ledger as ledgers
from gateway.bundles.ledger import ApplyError, Ledger, named
from gateway.bundles.manifest import BundleError
from gateway.clock import Clock
from gateway.codes.code import Code
from gateway.codes.service import APPLIED_UNREADABLE, APPLY_CLOUD, APPLY_START
from gateway.forward.forwarder import ForwarderStatus
from gateway.logs.about import about

log = logging.getLogger(__name__)

LOOK_S: Final = 0.5
NOTED_EVERY_S: Final = 10.0  # how much is left is on the disk, for a boot without warning
READY: Final = ("sending", "idle")


class Carrier(Protocol):
    """A route, as far as a try asks."""

    def status(self) -> ForwarderStatus:
        """Say how it is."""
        ...

    @property
    def selection(self) -> Any:
        """What it carries."""
        ...


def missing(routes: Sequence[ForwarderStatus], carried: Callable[[str], bool]) -> Iterator[str]:
    """Yield what has not been shown yet, a sentence a target. `carried`: whether a route carries the record."""
    by_target: dict[str, list[ForwarderStatus]] = {}
    for route in routes:
        by_target.setdefault(route.target, []).append(route)
    if not by_target:
        yield "no route leads to a target, so nothing can show that it works: type edge-gateway apply --confirm-now"
    for target, leading in by_target.items():
        if any(route.delivered for route in leading):
            continue
        errors = [route.last_error for route in leading if route.last_error]
        because = f" ({errors[0]})" if errors else ""
        if any(carried(route.name) for route in leading):
            yield f"target {target} has acknowledged nothing yet{because}"
        elif not any(route.state in READY for route in leading):
            yield f"target {target} is not reached yet{because}"


class Trying:
    """The try of a running gateway. Belongs to the event loop's thread."""

    def __init__(
        self,
        *,
        config: Path,
        state: Path,
        clock: Clock,
        gateway: str,
        carriers: Callable[[], Mapping[str, Carrier]],
        record: Callable[..., None],
        again: Callable[[], None],
        good: Callable[[], Awaitable[None]],
    ) -> None:
        """Wire it up.

        config    the file that this process was started with: a version's, or the config itself
        carriers  the routes by name, as they are now
        record    makes an audit record: `Audit.record`
        again     ends this program in order and starts it again
        good      is told that what was tried counts for good: what only the version before had is over
        """
        self._state, self._clock, self._gateway = state, clock, gateway
        self._carriers, self._record, self._again, self._good = carriers, record, again, good
        folder = ledgers.folder_of(state)
        self._running = config.parent.name if config.parent.parent == folder else ""
        self._noted_ns = clock.boot_ns()
        self._stale = False  # another version counts by now
        self._ledger = Ledger()

    async def run(self) -> None:
        """Watch until cancelled."""
        if await self._read():
            self._tell()
            if self._ledger.trial is not None and self._counts:
                self._say("tried", "the config is tried", self._ledger.current)
        while True:
            await asyncio.sleep(LOOK_S)
            if self._ledger.trial is not None and self._counts and not self._stale:
                await self._look()

    @property
    def _counts(self) -> bool:
        """Whether what counts is what runs."""
        current = self._ledger.current
        return self._running == (current.name if current else "")

    @property
    def bundle(self) -> str:
        """Return the hash of the bundle that counts; empty where none was applied."""
        return self._ledger.current.bundle if self._ledger.current else ""

    async def _read(self) -> bool:
        try:
            self._ledger = await asyncio.to_thread(ledgers.read, self._state)
        except ApplyError as error:
            log.error("%s", error, extra=about(APPLIED_UNREADABLE))
            return False
        return True

    async def _change(self, what: Callable[[Ledger], Ledger]) -> bool:
        """Change the ledger; False and a line in the log where the disk does not let us."""
        try:
            self._ledger = await asyncio.to_thread(ledgers.change, self._state, what)
        except (ApplyError, OSError) as error:
            log.error("what is tried cannot be noted: %s", error, extra=about(APPLIED_UNREADABLE))
            return False
        return True

    async def _look(self) -> None:
        """Confirm, revert, or wait on."""
        clock, found = self._clock, self.missing()
        if not found:
            if await self._change(lambda now: ledgers.confirmed(now, "every target has acknowledged", clock)):
                await self._good()
                self._tell()
        elif not ledgers.left_s(self._ledger, clock):
            await self._back("; ".join(found), APPLY_CLOUD)
        elif (clock.boot_ns() - self._noted_ns) / 1e9 >= NOTED_EVERY_S:
            self._noted_ns = clock.boot_ns()
            await self._change(lambda now: ledgers.passed(now, clock))

    async def _back(self, why: str, code: Code | None) -> None:
        clock, name = self._clock, str(code or "")
        if await self._change(lambda now: ledgers.reverted(now, why, name, clock)):
            log.error("the applied config goes back: %s", why, extra=about(code or APPLY_START))
            self._leave()

    def _leave(self) -> None:
        self._stale = True
        self._again()

    def missing(self) -> list[str]:
        """Return what the try still waits for."""
        carriers = self._carriers()
        return list(
            missing(
                [each.status() for each in carriers.values()], lambda name: carriers[name].selection.takes(CHANGE, "")
            )
        )

    # ---- what is recorded ----------------------------------------------------------------------------

    def _tell(self) -> None:
        """Record how a try ended, once."""
        outcome = self._ledger.outcome
        if outcome is None or outcome.told:
            return
        self._say(outcome.verdict, outcome.why, outcome.version, code=outcome.code)
        level = logging.INFO if outcome.verdict == "confirmed" else logging.ERROR
        log.log(level, "%s was %s: %s", named(outcome.version), outcome.verdict, outcome.why)
        self._told = asyncio.create_task(self._change(ledgers.told))

    def _say(self, step: str, why: str, version: ledgers.Version | None, *, code: str = "") -> None:
        self._record(
            f"config_{step}",
            version.actor if version and step == "tried" else "gateway",
            why=why,
            bundle=version.bundle if version else "",
            site=(version.site if version else "") or None,
            code=code or None,
        )

    # ---- what people ask -----------------------------------------------------------------------------

    def all(self) -> dict[str, Callable[..., Any]]:
        """Return the answers by what is asked."""
        return {
            "applied": self.applied,
            "apply_begun": self.begun,
            "apply_confirm": self.confirm,
            "apply_revert": self.revert,
        }

    async def applied(self) -> Applied:
        """Say what counts, and how a try goes."""
        await self._read()
        return self.status()

    def status(self) -> Applied:
        """Say the same from memory."""
        now = self._ledger
        outcome, current = now.outcome, now.current
        return Applied(
            base=now.base,
            bundle=self.bundle,
            site=current.site if current else "",
            since=current.made if current else "",
            trying=now.trial is not None,
            left_s=ledgers.left_s(now, self._clock),
            missing=self.missing() if now.trial is not None else [],
            outcome=outcome.verdict if outcome else "",
            why=outcome.why if outcome else "",
            code=outcome.code if outcome else "",
            at=outcome.at if outcome else "",
        )

    async def begun(self) -> bool:
        """Look at the ledger: when another version counts, start again with it. Returns whether."""
        if await self._read() and not self._counts and not self._stale:
            self._leave()
        return self._stale

    async def confirm(self, actor: str = "person") -> Applied:
        """Let what is tried count for good, because a person says so."""
        await self._asked(lambda now: ledgers.confirmed(now, f"{actor} says so", self._clock))
        if self._counts:
            await self._good()
        self._tell()
        return self.status()

    async def revert(self, actor: str = "person") -> Applied:
        """Let the version before count again, because a person says so."""
        await self._asked(lambda now: ledgers.reverted(now, f"{actor} says so", "", self._clock))
        said = self.status()
        asyncio.get_running_loop().call_soon(self._leave)
        return said

    async def _asked(self, what: Callable[[Ledger], Ledger]) -> None:
        try:
            self._ledger = await asyncio.to_thread(ledgers.change, self._state, what)
        except (ApplyError, BundleError, OSError) as error:
            raise ApiError(str(error)) from None
