"""What is left of rules that do not exist any more: claims are released, alerts cleared."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from gateway.rules import alerts, claims
from gateway.rules.call import Call, Cause, Site
from gateway.rules.runner import Runner, stranger
from gateway.rules.tables import ALERTS, HOLDS


def forget_the_gone(
    site: Site, runner: Runner, known: Collection[str], settle: Callable[[Call, str], None], cause: Cause
) -> None:
    """Release what rules that are not `known` hold, and clear what they raised."""
    for device in list(site.tables.keys(HOLDS)):
        row = site.tables.get(HOLDS, device)
        owners = {claim["by"] for claim in row["claims"] if not claims.is_persons(claim)} if row else set()
        for name in sorted(owners - set(known)):
            call = Call(site, stranger(name), cause, name=f"{name}|gone|{device}")
            claims.release(call, device, partial(_is_of, name))
            runner.settle(call, [device])
            runner.accept(call)
    for at in list(site.tables.keys(ALERTS)):
        row = site.tables.get(ALERTS, at)
        if row is not None and row["rule"] not in known:
            call = Call(site, stranger(row["rule"]), cause, name=f"{row['rule']}|gone|{at}")
            alerts.clear(call, at, row, partial(settle, call))
            runner.accept(call)


def _is_of(rule: str, claim: claims.Claim) -> bool:
    return bool(claim["by"] == rule)
