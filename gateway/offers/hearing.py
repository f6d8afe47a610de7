"""What comes back: mode, inputs and rules set on their topics. Each is an event with who did it, like any other.

The decoder of the source that offers hears them before any profile, so that such a message takes the one path of an
event: appended, on the disk, acknowledged. A retained copy is nobody's wish of now and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gateway.clock import rfc3339
from gateway.errors import DecodeError, probably_meant
from gateway.event import Event
from gateway.offers.discovery import slug
from gateway.profiles.context import Decoded, Received
from gateway.profiles.decode import Decoder
from gateway.rules.engine.tables import INPUTS, MODES
from gateway.rules.language.inputs import CHANGED
from gateway.rules.records import DISABLED, ENABLED

VALUE_BYTES_MAX = 1024
_SWITCH: Mapping[str, str] = {"on": ENABLED, "true": ENABLED, "off": DISABLED, "false": DISABLED}


class Heard(Protocol):
    """What the hearing needs of the offers."""

    prefix: str  # of topics, with the slash
    discovery: str  # prefix of Home Assistant's; empty: none
    node: str

    def wish(self, path: str, text: str) -> list[Event]:
        """Return the events of a wish for ``mode``, ``inputs/<name>`` or ``rules/<name>``. DecodeError: why none."""
        ...

    def again(self) -> None:
        """Offer everything once more: Home Assistant has started."""
        ...


class HearingDecoder(Decoder):
    """The decoder of the source that offers."""

    offers: Heard | None = None

    @property
    def filters(self) -> list[str]:
        """Return what profiles and importers read, and the topics to be set."""
        offers = self.offers
        if offers is None:
            return super().filters
        own = [f"{offers.prefix}mode/set", f"{offers.prefix}inputs/+/set", f"{offers.prefix}rules/+/set"]
        birth = [f"{offers.discovery}/status"] if offers.discovery else []
        wanted = super().filters
        return sorted({*wanted, *own, *(each for each in birth if f"{offers.discovery}/#" not in wanted)})

    def decode(self, delivery: Received) -> Decoded:
        """Hear what is the offers' own; the rest is for profiles."""
        offers, topic = self.offers, delivery.topic
        if offers is None:
            return super().decode(delivery)
        if topic.startswith(offers.prefix):
            return _heard(offers, delivery, topic.removeprefix(offers.prefix))
        if offers.discovery and topic.startswith(f"{offers.discovery}/"):
            if f"/{offers.node}/" in topic:
                return Decoded(ignored="offers: our own")
            if topic == f"{offers.discovery}/status":
                if delivery.payload == b"online" and not delivery.retained:
                    offers.again()
                return Decoded(ignored="offers: Home Assistant's own state")
        return super().decode(delivery)


def _heard(offers: Heard, delivery: Received, path: str) -> Decoded:
    path, _, end = path.rpartition("/")
    if end != "set" or not path:
        return Decoded(ignored="offers: our own")
    if delivery.retained:
        return Decoded(ignored="offers: a retained wish is nobody's wish of now")
    try:
        if len(delivery.payload) > VALUE_BYTES_MAX:
            raise DecodeError(f"a value of {len(delivery.payload)} bytes, the limit is {VALUE_BYTES_MAX}")
        return Decoded(events=offers.wish(path, delivery.payload.decode().strip()))
    except UnicodeDecodeError:
        return Decoded(rejected="offers: not UTF-8")
    except DecodeError as error:
        return Decoded(rejected=f"offers: {error}")


class Wishes:
    """Makes events of what was set. `put` puts a row at once where no rule worker takes events over."""

    def __init__(
        self,
        gateway: str,
        actor: str,
        *,
        now_ns: Callable[[], int],
        mode: Callable[[], str],
        modes: tuple[str, ...],
        inputs: Mapping[str, Any],
        was: Callable[[str], Any],
        rules: Callable[[], Mapping[str, bool]],
        put: Callable[[str, Event], None],
    ) -> None:
        """Take what is asked: `mode()` as it is, `was(input)` so far, `rules()` by name and whether they act."""
        self._gateway, self._actor, self._now_ns = gateway, actor, now_ns
        self._mode, self._modes, self._inputs, self._was, self._rules, self._put = mode, modes, inputs, was, rules, put

    def events(self, path: str, text: str) -> list[Event]:
        """Return the events of a wish; none when it is so already. DecodeError: why it can't be."""
        kind, _, name = path.partition("/")
        if path == "mode":
            return self._of_mode(text)
        if kind == "inputs":
            return self._of_input(name, text)
        if kind == "rules":
            return self._of_rule(name, text)
        raise DecodeError(f"nothing is set on {path!r}")

    def _of_mode(self, text: str) -> list[Event]:
        if text not in self._modes:
            hint = probably_meant(text, self._modes) or f"there are {', '.join(self._modes)}"
            raise DecodeError(f"there is no mode {text!r}, {hint}")
        was = self._mode()
        return [] if was == text else [self._event("mode_changed", {"mode": text, "was": was}, MODES)]

    def _of_input(self, name: str, text: str) -> list[Event]:
        found = next((each for each in self._inputs if slug(each) == name), None)
        if found is None:
            near = probably_meant(name, self._inputs)
            raise DecodeError(f"there is no input {name!r}" + (f" ({near})" if near else ""))
        try:
            value = self._inputs[found].read(text)
        except ValueError as error:
            raise DecodeError(f"{found}: {error}; it takes {self._inputs[found].takes}") from None
        was = self._was(found)
        return [] if was == value else [self._event(CHANGED, {"input": found, "value": value, "was": was}, INPUTS)]

    def _of_rule(self, name: str, text: str) -> list[Event]:
        kind, rules = _SWITCH.get(text.lower()), self._rules()
        found = next((each for each in rules if slug(each) == name), None)
        if kind is None:
            raise DecodeError(f"a rule is switched ON or OFF, not {text!r}")
        if found is None:
            near = probably_meant(name, rules)
            raise DecodeError(f"there is no rule {name!r}" + (f" ({near})" if near else ""))
        if rules[found] == (kind == ENABLED):
            return []
        return [self._event(kind, {"rule": found}, "", subject=f"rule:{found}", lane="timer", source="rules")]

    def _event(
        self,
        kind: str,
        data: dict[str, Any],
        table: str,
        *,
        subject: str = "",
        lane: Any = "telemetry",
        source: str = "api",
    ) -> Event:
        event = Event(
            source=f"/{self._gateway}/{source}",
            type=kind,
            subject=subject,
            time=rfc3339(self._now_ns()),
            lane=lane,
            actor=self._actor,
            data=data,
        )
        if table:
            self._put(table, event)
        return event
