"""Whether this machine is the one that the state folder belongs to: looked at before the journal is opened, said after.

`Belonging` reads or makes the identity (gateway/identity.py). On another machine the journal's epoch leaps before its
start, so that ids stay unique while nobody has decided; a copy that was adopted as one begins a journal of its own, and
the one it came with is kept beside it. Nothing here keeps the gateway from running: what cannot be read or written is
said (EG-611).

    identity_made      a copy that was adopted as one has an id of its own
    identity_doubted   this is another machine; once for each: the journal's row of the identity goes with the event
    identity_adopted   a person has decided
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from gateway import identity as identities
from gateway.clock import Clock, rfc3339
from gateway.codes.clock import NO_IDENTITY, OTHER_MACHINE
from gateway.errors import GatewayError
from gateway.event import Event
from gateway.identity import How, Identity, Undecided
from gateway.journal.leap import leap
from gateway.logs.about import about

log = logging.getLogger(__name__)

ASIDE_MAX: Final = 100  # names tried for a journal that is set aside
_WORDS: Final = {
    "moved": "this card was in another machine",
    "other": "this is not the machine that the card or state folder belongs to: it was copied, or the machine replaced",
}


class Tables(Protocol):
    """The journal, as far as it is asked."""

    log_id: str
    epoch: int

    def get(self, table: str, key: str) -> Any | None:
        """Return a row, or None."""
        ...

    def put(self, table: str, key: str, value: Any | None) -> None:
        """Set a row."""
        ...


class Belonging:
    """The identity of a gateway that starts, and what is to be said of it."""

    def __init__(self, state: Path, journal: Path, clock: Clock, root: Path = Path("/")) -> None:
        """Look at the machine, before the journal is opened. Raises JournalError when somebody else has it open."""
        self._state = state
        self._folder = journal
        self._clock = clock
        self._root = root
        self._news: list[tuple[str, dict[str, Any]]] = []
        self.set_aside = ""
        self.identity: Identity | None = None
        self._broken = False
        try:
            self.identity = identities.load(state)
        except GatewayError as error:
            self._broken = True
            log.error("%s; who this is is taken from the journal", error, extra=about(NO_IDENTITY))
        if self.identity is not None:
            self._begin_anew()
            self._meet(self.identity)

    def joined(self, journal: Tables) -> None:
        """Take note of the journal: it keeps who this is, too."""
        row = journal.get(identities.TABLE, identities.KEY)
        if self.identity is None and row is not None:
            with suppress(msgspec.ValidationError):
                self._meet(msgspec.convert(row, Identity), leaping=False)
        if self.identity is None:
            self.identity = identities.first_boot(self._state, self._now(), self._root)
            log.info("first boot: this is gateway %s", self.identity.id)
        if self.identity.log_id != journal.log_id:
            self.identity = msgspec.structs.replace(self.identity, log_id=journal.log_id)
        undecided = self.identity.undecided
        if undecided is not None and not self._news and not _said(row, undecided):
            self._news.append(("identity_doubted", {"code": str(OTHER_MACHINE), "verdict": undecided.verdict}))
        self._keep(journal)

    def say(self, record: Callable[[Event], None], gateway: str) -> None:
        """Say what was found, in the log and in the journal."""
        assert self.identity is not None
        undecided = self.identity.undecided
        if undecided is not None:
            log.warning(
                "%s (identity %s); type: edge-gateway identity show", _WORDS[undecided.verdict], self.identity.id,
                extra=about(OTHER_MACHINE),
            )  # fmt: skip
        for kind, data in self._news:
            record(self._event(gateway, kind, "gateway", data))
        self._news.clear()

    def adopt(self, how: How, actor: str, journal: Tables, record: Callable[[Event], None], gateway: str) -> Identity:
        """Decide for a gateway that runs; a copy begins anew at its next start. Raises GatewayError."""
        assert self.identity is not None
        before = self.identity
        self.identity = identities.adopt(self._state, how, self._now(), self._root)
        record(self._event(gateway, "identity_adopted", actor, {"how": how, "before": before.id}))
        if how == "replace":
            journal.put(identities.TABLE, identities.KEY, msgspec.to_builtins(self.identity))
        return self.identity

    def said(self) -> Mapping[str, object]:
        """Return what people are shown."""
        assert self.identity is not None
        aside = {"journal_set_aside": self.set_aside} if self.set_aside else {}
        return {**identities.said(self.identity), **aside, "restart": bool(self.identity.begin_anew)}

    @property
    def undecided(self) -> Undecided | None:
        """What a person is to decide, if anything."""
        return self.identity.undecided if self.identity is not None else None

    def _now(self) -> str:
        return rfc3339(self._clock.wall_ns())

    def _meet(self, identity: Identity, *, leaping: bool = True) -> None:
        """Compare with the machine; on one that is met for the first time, leap and say so."""
        self.identity = identities.met(
            identity, identities.read_facts(self._state, identity.id, self._root), self._now()
        )
        undecided = self.identity.undecided
        if undecided is None or undecided == identity.undecided:
            return
        data: dict[str, Any] = {"code": str(OTHER_MACHINE), "verdict": undecided.verdict}
        if leaping and identity.log_id and self._folder.is_dir():
            data["epochs_left_out"] = leap(self._folder, identity.log_id)
        self._news.append(("identity_doubted", data))
        self._write()  # before the journal is opened: a second start must not leap again, nor forget that it did

    def _begin_anew(self) -> None:
        """Set the journal aside that belongs to the gateway this was a copy of."""
        assert self.identity is not None
        old = self.identity.begin_anew
        if not old:
            return
        aside = self._free_name(old)
        try:
            if self._folder.is_dir():
                self._folder.rename(aside)
                self.set_aside = str(aside)
        except OSError as error:
            log.error("%s cannot be set aside: %s", self._folder, error, extra=about(NO_IDENTITY))
            return
        self.identity = msgspec.structs.replace(self.identity, begin_anew="", log_id="")
        self._news.append(("identity_made", {"copied_from": self.identity.copied_from, "journal_kept": aside.name}))
        self._write()

    def _free_name(self, old: str) -> Path:
        names = [f"{self._folder.name}-{old}", *(f"{self._folder.name}-{old}.{n}" for n in range(2, ASIDE_MAX))]
        return next(path for name in names if not (path := self._folder.with_name(name)).exists())

    def _keep(self, journal: Tables) -> None:
        row = msgspec.to_builtins(self.identity)
        if journal.get(identities.TABLE, identities.KEY) != row:
            journal.put(identities.TABLE, identities.KEY, row)
        self._write()

    def _write(self) -> None:
        assert self.identity is not None
        with suppress(GatewayError):
            if not self._broken and identities.load(self._state) == self.identity:
                return
        try:
            identities.save(self._state, self.identity)
        except OSError as error:
            log.error("%s: %s", self._state / identities.NAME, error, extra=about(NO_IDENTITY))

    def _event(self, gateway: str, kind: str, actor: str, data: dict[str, Any]) -> Event:
        assert self.identity is not None
        return Event(
            source=f"/{gateway}/identity", type=kind, time=self._now(), actor=actor,
            data={"identity": self.identity.id, **data},
        )  # fmt: skip


def _said(row: Any | None, undecided: Undecided) -> bool:
    """Return whether the journal has said what is undecided: a start may have been killed before it had."""
    with suppress(msgspec.ValidationError):
        return row is not None and msgspec.convert(row, Identity).undecided == undecided
    return False
