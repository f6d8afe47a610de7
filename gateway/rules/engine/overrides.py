"""What persons do beside the rules: a device changed by hand, a command by `edge-gateway send`, a claim let go.

While a rule holds a field, the gateway knows what it told the device.  What the device reports then is

* what it was told, or how the device rounds it: it has taken the command;
* what it was before, while it has not taken the command: an old copy, or it refuses;
* anything within `echo_s` after the command: perhaps still on its way there; looked at again when that time is over;
* anything else: somebody changed it by hand.

A change by hand is a claim of priority "person" for `manual_hold_s` (of the device, of its kind, or as the rule that
holds it says; 0: it is set right at once).  So is a command that a person sent, whether a rule holds the field or not.
Every such claim is said by an event `device_overridden`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from gateway.clock import NS_PER_S, rfc3339
from gateway.rules.engine import claims
from gateway.rules.engine.call import Call, Cause, Site
from gateway.rules.engine.seen import Seen
from gateway.rules.engine.tables import HOLDS, INPUTS, MODE_KEY, MODES
from gateway.rules.language.definition import Definition
from gateway.rules.language.house import ONLINE
from gateway.rules.language.inputs import CHANGED as INPUT_CHANGED
from gateway.rules.language.inputs import value_of
from gateway.rules.records import GIVEN, LET_GO

ECHO = "echo"  # kind of timer
CONFIRMED, FAILED, OBSERVED = "command_confirmed", "command_failed", "command_observed"
ANSWERS = frozenset({GIVEN, LET_GO, CONFIRMED, FAILED, OBSERVED})
"""Types of events that say something about what is claimed, and are no device's."""
HOUSE_TYPES = frozenset({"mode_changed", INPUT_CHANGED})
"""Types of events about the house as a whole."""
EMPTY: Mapping[str, Any] = {"claims": [], "base": {}, "sent": {}, "told": {}}  # a row of the table
NEAR = 1e-6  # of two numbers that mean the same


class Settling(Protocol):
    """The runner, as far as it is needed here."""

    def cause(self, seen: Seen) -> Cause:
        """Return a record as the cause of what follows from it."""
        ...

    def settle(self, call: Call, devices: list[str]) -> None:
        """Command what the claims say now."""
        ...

    def accept(self, call: Call) -> None:
        """Take over what a call changed and put out."""
        ...


class Overrides:
    """Keeps the claims of persons, and what is known of commands that follow from claims."""

    def __init__(self, site: Site, runner: Settling) -> None:
        self._site = site
        self._runner = runner

    def reported(self, seen: Seen) -> None:
        """Look at what a device says that has claims."""
        sent = self._row(seen.subject)["sent"]
        said = {name: value for name, value in seen.data.items() if name in sent and value is not None}
        if said:
            self._judge(seen.subject, said, self._runner.cause(seen))
        if said or seen.type == ONLINE:
            self._tell_again(seen.subject, None if seen.type == ONLINE else said, self._runner.cause(seen))

    def loaded(self, definitions: Mapping[str, Definition]) -> None:
        """Take over what is observed now and was not, or the other way round; what follows is settled later."""
        for device, row in list(self._site.tables.of(HOLDS).items()):
            found = {**EMPTY, **row, "base": dict(row["base"])}
            found["claims"] = [self._as_now(claim, definitions) for claim in row["claims"]]
            known = self._site.house.devices.get(device)
            for before, claim in zip(row["claims"], found["claims"], strict=True):
                if before.get("observe") and not claim.get("observe") and claim["field"] not in row["sent"]:
                    found["base"].setdefault(claim["field"], known and known[claim["field"]])
            if not self._site.acting.observes(device):
                unsent = {name for name, told in found["told"].items() if told.get("observed")}
                found["told"] = {name: told for name, told in found["told"].items() if name not in unsent}
                found["sent"] = {name: value for name, value in found["sent"].items() if name not in unsent}
            if found != {**EMPTY, **row}:
                self._site.tables.put(HOLDS, device, found)

    def _as_now(self, claim: claims.Claim, definitions: Mapping[str, Definition]) -> claims.Claim:
        rule = definitions.get(claim["by"])
        if rule is None:
            return claim
        observed = rule.commands == "observe" or rule.name in self._site.acting.observed
        kept = {key: value for key, value in claim.items() if key != "observe"}
        return {**kept, "observe": True} if observed else kept

    def time_passed(self, row: Mapping[str, Any], key: str, cause: Cause) -> None:
        """Look again at a field that was something else while its echo time ran."""
        device, name = row["held"], row["field"]
        if self._row(device)["told"].get(name, {}).get("check") != key:
            return
        self._note(device, name, {"check": None})
        known = self._site.house.devices.get(device)
        if known is not None and known[name] is not None:
            self._judge(device, {name: known[name]}, cause)

    def take(self, seen: Seen) -> None:
        """Look at what a person asked for, or what became of a command."""
        name = seen.data.get("field")
        if seen.type == GIVEN and isinstance(name, str):
            self._override(seen.subject, {name: seen.data.get("value")}, self._runner.cause(seen), seen.actor, "sent")
        elif seen.type == LET_GO:
            self._let_go(seen, name)
        elif isinstance(name, str) and not seen.data.get("observe"):  # one of a rule on trial is nothing real
            row = self._row(seen.subject)
            if name in row["told"] and same(row["sent"].get(name), seen.data.get("value")):
                noted: dict[str, dict[str, Any]] = {
                    CONFIRMED: {"took": seen.data.get("reported"), "failed": None},
                    OBSERVED: {"observed": True},
                }
                self._note(seen.subject, name, noted.get(seen.type, {"failed": seen.data.get("reason", "")}))

    def input(self, name: str) -> Any:
        """Return what an input is; None when nobody declared it."""
        acting, row = self._site.acting, self._site.tables.get(INPUTS, name)
        if name in acting.inputs:
            return value_of(acting.inputs, name, row)
        return row["value"] if row and acting.anything else None

    def house_changed(self, seen: Seen, since_ns: int) -> None:
        """Take over a mode or an input that somebody set, a person or a rule."""
        tables, value = self._site.tables, seen.data.get("value")
        if seen.type == INPUT_CHANGED:
            name = str(seen.data.get("input", ""))
            row = tables.get(INPUTS, name)
            if name and value is not None and (row is None or row["value"] != value):
                tables.put(INPUTS, name, {"value": value, "since": since_ns, "actor": seen.actor})
            return
        mode, row = seen.data.get("mode"), tables.get(MODES, MODE_KEY)
        if isinstance(mode, str) and mode != (row["mode"] if row else self._site.modes[0]):
            tables.put(MODES, MODE_KEY, {"mode": mode, "since": since_ns})

    def _judge(self, device: str, said: Mapping[str, Any], cause: Cause) -> None:
        """Tell what was changed by hand from what follows from commands."""
        by_hand: dict[str, Any] = {}
        row = self._row(device)
        for name, value in said.items():
            told: dict[str, Any] = row["told"].get(name, {})
            taken = told.get("took") is not None
            if same(value, row["sent"][name]) or (taken and same(value, told["took"])) or told.get("observed"):
                if not taken:
                    self._note(device, name, {"took": value, "failed": None})
                continue
            if not taken and (told.get("before") is None or same(value, told["before"])):
                continue
            echo_ns = round(self._site.acting.echo_s * NS_PER_S)
            left_ns = told.get("at", 0) + echo_ns - cause.time_ns
            if 0 < left_ns <= echo_ns:  # more than all of it: the clock was set back
                self._look_again(device, name, left_ns, cause)
            else:
                by_hand[name] = value
        if by_hand:
            self._override(device, by_hand, cause, claims.BY_HAND, "changed by hand")

    def _tell_again(self, device: str, said: Mapping[str, Any] | None, cause: Cause) -> None:
        """Tell a device once more what it did not take, now that it is back, or says how that field is."""
        row, known = self._row(device), self._site.house.devices.get(device)
        failed = [name for name, told in row["told"].items() if told.get("failed") and (said is None or name in said)]
        again = {name for name in failed if name in row["sent"] and not same(known and known[name], row["sent"][name])}
        if not again:
            return
        sent = {name: value for name, value in row["sent"].items() if name not in again}
        self._site.tables.put(HOLDS, device, {**row, "sent": sent})
        counts = claims.strongest(claim for claim in row["claims"] if not claim.get("observe"))
        by = next((counts[name]["by"] for name in sorted(again) if name in counts), claims.BY_HAND)
        call = self._call(by, cause, f"again|{device}")
        self._runner.settle(call, [device])
        self._runner.accept(call)

    def _look_again(self, device: str, name: str, after_ns: int, cause: Cause) -> None:
        if self._row(device)["told"].get(name, {}).get("check"):
            return
        call = self._call(claims.BY_HAND, cause, f"{device}|{name}")
        timer = call.start_timer(ECHO, after_ns, {"held": device, "field": name})
        call.commit()
        self._note(device, name, {"check": timer})

    def _override(self, device: str, fields: Mapping[str, Any], cause: Cause, by: str, why: str) -> None:
        """Claim fields for a person, each for its time, and set right what a stronger claim says otherwise."""
        call = self._call(by, cause, device)
        row = self._row(device)
        counts = claims.strongest(claim for claim in row["claims"] if not claim.get("observe"))
        for name, value in fields.items():
            claim = counts.get(name)
            lasts_ns = self._lasts_ns(device, claim)
            if not lasts_ns and claim is None:
                continue
            known = self._site.house.devices.get(device)
            was = row["sent"].get(name, known and known[name])
            claims.override(call, device, name, value, lasts_ns, why)
            until = rfc3339(cause.time_ns + lasts_ns) if lasts_ns else None
            data = {"field": name, "value": value, "was": was, "reason": why, "until": until}
            if claim is not None and not claims.is_persons(claim):
                data["over"] = claim["by"]
            call.output("device_overridden", data, subject=device)
        self._runner.settle(call, [device])
        self._runner.accept(call)

    def _lasts_ns(self, device: str, claim: claims.Claim | None) -> int:
        """Return how long a person's change of a field counts: as the rule says that holds it, or the installation."""
        if claim is not None and claim.get("manual") is not None:
            return int(claim["manual"])
        known = self._site.house.devices.get(device)
        return self._site.acting.manual_hold_ns(device, known.kind if known else "")

    def _let_go(self, seen: Seen, name: object) -> None:
        call = self._call(seen.actor, self._runner.cause(seen), seen.subject)
        if claims.release(call, seen.subject, lambda c: claims.is_persons(c) and name in (None, c["field"])):
            self._runner.settle(call, [seen.subject])
        self._runner.accept(call)

    def _note(self, device: str, name: str, noted: Mapping[str, Any]) -> None:
        """Change what is known of a field that was told."""
        row = self._row(device)
        told = {key: value for key, value in {**row["told"].get(name, {}), **noted}.items() if value is not None}
        if told != row["told"].get(name):
            self._site.tables.put(HOLDS, device, {**row, "told": {**row["told"], name: told}})

    def _row(self, device: str) -> dict[str, Any]:
        return {**EMPTY, **(self._site.tables.get(HOLDS, device) or {})}

    def _call(self, by: str, cause: Cause, device: str) -> Call:
        actor = by if ":" in by else f"rule:{by}"
        person = Definition(name=by, title="", run=print, file="", line=0, actor=actor)
        return Call(self._site, person, cause, device=device, name=f"{by}|{device}")


def same(value: Any, other: Any) -> bool:
    """Return whether two values of a field mean the same."""
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, (int, float)) and isinstance(other, (int, float)):
        return abs(value - other) <= NEAR
    return bool(value == other)
