"""A rule's own memory: `ctx.state`, JSON values by key, kept over restarts and edits."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from gateway.rules.engine.call import GONE, STATE_BYTES_MAX, STATE_KEY_CHARS_MAX, Call, plain, state_prefix
from gateway.rules.engine.tables import RULE_STATE
from gateway.rules.language.house import Device, Room


class State(MutableMapping[str, Any]):
    """A rule's own memory: JSON values by key, kept over restarts; `state[device]` is one for each device."""

    def __init__(self, call: Call, about: str = "") -> None:
        self._call = call
        self._prefix = state_prefix(call.rule.name) + (f"[{about}]" if about else "")

    def __getitem__(self, key: str | Device | Room) -> Any:
        if isinstance(key, (Device, Room)):
            return State(self._call, key.id)
        row, states = self._key(key), self._call.states
        if row not in states:
            stored = self._call.rows.get(RULE_STATE, row)
            if stored is None:
                raise KeyError(key)
            states[row] = plain(stored, STATE_BYTES_MAX)  # a copy: what the author changes inside it is noticed
        if states[row] is GONE:
            raise KeyError(key)
        return states[row]

    def __setitem__(self, key: str, value: Any) -> None:
        if value is None:
            raise ValueError("None is not kept: delete the key, and read with ctx.state.get(key)")
        plain(value, STATE_BYTES_MAX)  # no JSON or too large: say so on the author's line
        self._call.states[self._key(key)] = value

    def __delitem__(self, key: str) -> None:
        self[key]
        self._call.states[self._key(key)] = GONE

    def __iter__(self) -> Iterator[str]:
        states = self._call.states
        stored = set(self._call.rows.keys(RULE_STATE, self._prefix)) | {k for k in states if k.startswith(self._prefix)}
        names = (key[len(self._prefix) :] for key in sorted(stored) if states.get(key) is not GONE)
        return (name for name in names if not name.startswith("["))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _key(self, key: object) -> str:
        if not isinstance(key, str) or not 0 < len(key) <= STATE_KEY_CHARS_MAX or key.startswith("["):
            raise KeyError(
                f"{key!r}: a key of ctx.state is a text of 1 to {STATE_KEY_CHARS_MAX} characters, or a device"
            )
        return self._prefix + key
