"""The audit: who changed what and when, as events on the disk that leave by the routes like any other.

What changes the gateway and leaves no event of its own becomes a ``change_recorded``::

    {"type": "change_recorded", "actor": "person:anna", "source": "/pi/audit", "cause": …,
     "data": {"what": "dead_letters_dropped", "ids": [...], "more": 12}}

`what` is a thing and a past participle; ``before`` and ``after`` are hashes or redacted values, never a secret (the
hash of a config is the one in the heartbeat).  Changes that are events with an actor already (mode_changed,
input_changed, command_requested, device_adopted …) are not recorded twice: `TYPES` is all that `edge-gateway audit`
lists.

What is changed while no gateway runs (a restore) is left in a file of the state folder, and recorded at the next start:
the file goes when that is on the disk, and a row says what of it is, should a kill come between.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, Protocol

import msgspec

from gateway.actors import by_file
from gateway.clock import Clock, rfc3339
from gateway.codes.disk import NOT_IN_THE_JOURNAL
from gateway.errors import DiskRefused, JournalError
from gateway.event import Event
from gateway.logs.about import about
from gateway.logs.redaction import Redaction

log = logging.getLogger(__name__)

CHANGE = "change_recorded"
TYPES = (
    CHANGE,
    *("mode_changed", "input_changed", "command_requested", "claim_released", "alert_acknowledged"),
    *("device_adopted", "device_renamed", "device_inverted", "device_changed", "device_forgotten"),
    *("devices_changed", "device_data_forgotten", "profiles_changed", "identity_adopted"),
)
"""Types of the events that say what a person or a program changed; of some only those by a person are."""
ALSO = {"rules_changed": "rules_changed", "rule_disabled": "rule_disabled", "rule_enabled": "rule_enabled"}
"""Events of the lane of time, which does not leave: a copy of what they say does."""
LEFT = "changes.ndjson"  # in the state folder
TABLE, CONFIG_KEY, LEFT_KEY = "audit", "config", "left"
LEFT_BYTES_MAX = 64 * 1024
TEXT_CHARS_MAX = 500
HASH_DIGITS = 16
NAMED_MAX = 20  # things that one record names; the others are counted

Record = Callable[[Event], None]
Answer = Callable[..., Any]


class Audit:
    """Records changes. Belongs to the event loop's thread."""

    def __init__(self, record: Record, clock: Clock, *, gateway: str, rules: Callable[[], Path]) -> None:
        """`record` journals an event; `rules` returns the folder of rules, for whose files they are."""
        self._append = record
        self._clock = clock
        self._gateway = gateway
        self._rules = rules
        self._hide = Redaction()
        self._taken: tuple[Path, int] | None = None  # what was left, and the batch that takes it over

    def record(
        self, what: str, actor: str, *, before: Any = None, after: Any = None, cause: str | None = None, **of: Any
    ) -> None:
        """Record a change; a journal that cannot take it is said in the log and stops nobody.

        what    a thing and a past participle: "config_reloaded"
        actor   person:<user>, file:<owner>, cloud, gateway
        before  and `after`: hashes, versions or values; secrets in them are hidden
        of      what it is about: names, counts
        """
        told = {"before": before, "after": after, **of}
        data = {"what": what, **{name: self._shown(value) for name, value in told.items() if value is not None}}
        event = Event(
            source=f"/{self._gateway}/audit",
            type=CHANGE,
            time=rfc3339(self._clock.wall_ns()),
            actor=actor,
            cause=cause,
            clock=None if self._clock.synced() else "unsynced",
            data=data,
        )
        try:
            self._append(event)
        except (JournalError, DiskRefused) as error:
            said = about(NOT_IN_THE_JOURNAL, actor=actor)
            log.error("%s by %s is not in the journal: %s", what, actor, error, extra=said)
            return
        log.info("%s by %s", what, actor, extra=about(event_id=event.id, actor=actor))

    def beside(self, event: Event) -> None:
        """Journal an event, and what it says of a change in a record that leaves."""
        self._append(event)
        if event.type not in ALSO:
            return
        said, actor = event.data, str(event.data.get("actor") or event.actor)
        files: Mapping[str, Any] = said.get("files", {})
        if actor == "file":
            actor = by_file(self._rules() / next(iter(files), ""))
        about_it = {"files": dict(files)} if files else {"rule": said.get("rule"), "until": said.get("until")}
        self.record(ALSO[event.type], actor, before=said.get("was"), after=said.get("hash"), cause=event.id, **about_it)

    def answers(self, answers: Mapping[str, Answer]) -> dict[str, Answer]:
        """Return the answers; those that change something and leave no event of their own record it when it is done."""
        found = dict(answers)
        for ask, (what, of) in ASKED.items():
            if ask in found:
                found[ask] = self._recording(found[ask], what, of)
        return found

    def _recording(self, answer: Answer, what: str, of: Callable[[Mapping[str, Any], Any], dict[str, Any]]) -> Answer:
        """Return the answer with a record behind it; the server fills in `actor`, which not every answer takes."""
        takes_actor = "actor" in inspect.signature(answer).parameters

        @wraps(answer)
        async def recording(actor: str = "person", **asked: Any) -> Any:
            found = answer(actor=actor, **asked) if takes_actor else answer(**asked)
            found = await found if inspect.isawaitable(found) else found
            self.record(what, actor, **of(asked, found))
            return found

        if not takes_actor:
            recording.__signature__ = _with_actor(inspect.signature(answer))  # type: ignore[attr-defined]
        return recording

    def begin(self, config: Mapping[str, Any], file: Path, state: Path, rows: Rows) -> None:
        """Record what was changed since the last start. `config` is its document, which names secrets, no more."""
        now, row = hash_of(config), rows.get(TABLE, CONFIG_KEY)
        if row is not None and row["hash"] != now:
            last = _last_written(file)
            self.record("config_changed", by_file(last), before=row["hash"], after=now, at="start", file=last.name)
        self.config_is(config, rows)
        self._take_left(state / LEFT, rows)

    def _take_left(self, file: Path, rows: Rows) -> None:
        """Record what was changed while no gateway ran, unless that is on the disk already."""
        with suppress(OSError):
            text = file.read_bytes()[:LEFT_BYTES_MAX]
            taken = {"hash": hashlib.sha256(text).hexdigest()}
            if rows.get(TABLE, LEFT_KEY) != taken:
                for left in _left(text):
                    self.record(left.what, left.actor, at=left.time, **left.of)
                rows.put(TABLE, LEFT_KEY, taken)
            self._taken = file, rows.batch

    def durable(self, batch: int) -> None:
        """Forget what was left when it is on the disk, with the batch that it was recorded in."""
        if self._taken is not None and self._taken[1] <= batch:
            with suppress(OSError):
                self._taken[0].unlink()
            self._taken = None

    def config_is(self, config: Mapping[str, Any], rows: Rows) -> None:
        """Take note of the config that counts from now on; a reload does, when it has recorded what it did."""
        now = {"hash": hash_of(config)}
        if rows.get(TABLE, CONFIG_KEY) != now:
            rows.put(TABLE, CONFIG_KEY, now)

    def _shown(self, value: Any) -> Any:
        """Return a value as it may leave: without secrets, and bounded."""
        if isinstance(value, str):
            return self._hide(value)[:TEXT_CHARS_MAX]
        if isinstance(value, Mapping):
            return {str(key): self._shown(inner) for key, inner in list(value.items())[:NAMED_MAX]}
        if isinstance(value, Sequence):
            return [self._shown(inner) for inner in value[:NAMED_MAX]]
        return value if isinstance(value, int | float | None) else self._hide(str(value))[:TEXT_CHARS_MAX]


class Rows(Protocol):
    """Durable tables."""

    @property
    def batch(self) -> int:
        """The open batch."""
        ...

    def get(self, table: str, key: str) -> Any:
        """Return a row or None."""
        ...

    def put(self, table: str, key: str, value: Any) -> None:
        """Set a row in the open batch."""
        ...


class Left(msgspec.Struct, frozen=True):
    """A change that waits for a gateway to record it."""

    what: str
    actor: str
    time: str
    of: dict[str, Any] = {}


def leave(state: Path, what: str, actor: str, time: str, **of: Any) -> None:
    """Leave a change for the next start, from a program that changed something while no gateway ran. OSError."""
    line = msgspec.json.encode(Left(what, actor, time, of), enc_hook=str)
    file = state / LEFT
    if file.exists() and file.stat().st_size + len(line) > LEFT_BYTES_MAX:
        return  # a gateway that is never started and changed a hundred times
    with file.open("ab") as handle:
        handle.write(line + b"\n")


def _last_written(file: Path) -> Path:
    """Return the file of a config that was written last: gateway.toml, or one of gateway.d."""
    written: dict[int, Path] = {}
    for each in (file, *sorted((file.parent / "gateway.d").glob("*.toml"))[:NAMED_MAX]):
        with suppress(OSError):
            written[each.stat().st_mtime_ns] = each
    return written[max(written)] if written else file


def _left(text: bytes) -> Iterator[Left]:
    """Yield what was changed while no gateway ran."""
    for line in text.splitlines():
        with suppress(msgspec.DecodeError, msgspec.ValidationError):
            yield msgspec.json.decode(line, type=Left)


def hash_of(config: Mapping[str, Any]) -> str:
    """Return what tells one config from another: the hash that the heartbeat says, too."""
    text = msgspec.json.encode(config, order="deterministic", enc_hook=str)
    return hashlib.sha256(text).hexdigest()[:HASH_DIGITS]


def _with_actor(signature: inspect.Signature) -> inspect.Signature:
    actor = inspect.Parameter("actor", inspect.Parameter.KEYWORD_ONLY, default="person")
    kept = list(signature.parameters.values())
    at = next((i for i, each in enumerate(kept) if each.kind is inspect.Parameter.VAR_KEYWORD), len(kept))
    return signature.replace(parameters=[*kept[:at], actor, *kept[at:]])


def _letters(asked: Mapping[str, Any], _found: Any) -> dict[str, Any]:
    ids = list(asked.get("ids", ()))
    return {"ids": ids[:NAMED_MAX], "more": max(0, len(ids) - NAMED_MAX) or None, "route": asked.get("route")}


def _replay(asked: Mapping[str, Any], found: Any) -> dict[str, Any]:
    kept = {name: value for name, value in asked.items() if value}
    return {"number": found.get("number") if isinstance(found, dict) else None, **kept}


ASKED: Mapping[str, tuple[str, Callable[[Mapping[str, Any], Any], dict[str, Any]]]] = {
    "dead_letters_retry": ("dead_letters_retried", _letters),
    "dead_letters_drop": ("dead_letters_dropped", _letters),
    "replay_start": ("replay_started", _replay),
    "replay_stop": ("replay_stopped", _replay),
}
"""What people ask that changes something and leaves no event of its own: what it is called, and what it was about."""
