"""Records for the verbs that look: through the running gateway, or read-only from its journal's folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from gateway.api.client import ApiClient
from gateway.api.line import NotRunning
from gateway.config.places import places

if TYPE_CHECKING:
    from gateway.history.query import EventFilter, Past
    from gateway.journal.inspection import Inspection


class Records(Protocol):
    """What can be looked at."""

    def events(self, wanted: EventFilter) -> Iterator[dict[str, Any]]:
        """Yield events, oldest first."""
        ...

    def table(self, name: str) -> Mapping[str, Any]:
        """Return a durable table: values, cursors, dead_letters."""
        ...

    def at(self, sequence: int) -> Mapping[str, Any] | None:
        """Return ``{event, written, moment}``: the record with a number, and when it was; None when it is not there."""
        ...

    def ask(self, what: str, **arguments: Any) -> Any:
        """Ask the running gateway. ApiError when it has no answer; NotRunning is one."""
        ...


@contextmanager
def opened(config: Path, *, follow: bool = False) -> Iterator[Records]:
    """Open the running gateway's records, or those on the disk. NotRunning when there are neither."""
    where = places(config)
    try:
        client = ApiClient(where.socket)
    except NotRunning as error:
        if follow:
            raise
        if not where.journal.is_dir():
            why = str(error).partition(": is it")[0]
            raise NotRunning(f"{why}, and there is no journal in {where.journal}. Type: edge-gateway status") from None
    else:
        with client:
            yield _Live(client)
        return
    from gateway.cli.asking.offline import inspected

    yield _Stored(inspected(config), where.state)


class _Live:
    """A running gateway's."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    def events(self, wanted: EventFilter) -> Iterator[dict[str, Any]]:
        return self._client.stream("events", **msgspec.to_builtins(wanted))

    def table(self, name: str) -> Mapping[str, Any]:
        table: Mapping[str, Any] = self._client.ask("table", name=name)
        return table

    def at(self, sequence: int) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = self._client.ask("record", sequence=sequence)
        return found

    def ask(self, what: str, **arguments: Any) -> Any:
        return self._client.ask(what, **arguments)


class _Stored:
    """A folder's."""

    def __init__(self, inspection: Inspection, state: Path) -> None:
        self._inspection = inspection
        self._state = state

    def events(self, wanted: EventFilter) -> Iterator[dict[str, Any]]:
        return map(msgspec.json.decode, self._past().events(wanted))

    def _past(self) -> Past:
        from gateway.history.file import NAME, HistoryFile
        from gateway.history.keeper import HistoryOptions
        from gateway.history.query import Past

        found = self._inspection
        last = found.last_sequence
        index = HistoryFile(self._state / NAME, found.log_id).load(HistoryOptions().bytes_max, last)
        return Past(found.store, lambda: last, index=lambda: index, starts=lambda: found.table("starts"))

    def table(self, name: str) -> Mapping[str, Any]:
        return self._inspection.table(name)

    def at(self, sequence: int) -> Mapping[str, Any] | None:
        past = self._past()
        found = past.at(sequence)
        if found is None:
            return None
        moment = past.moment(sequence, found[0])
        return {"event": msgspec.json.decode(found[0]), "written": found[1], "moment": moment}

    def ask(self, what: str, **arguments: Any) -> Any:
        raise NotRunning(f"the gateway does not run: nobody answers {what!r} about {arguments or 'it'}")
