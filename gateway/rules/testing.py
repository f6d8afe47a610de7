"""The `house` a rule's test gets: devices, a clock that is moved, and what the rules did. No gateway needed.

    def test_freezer(house):
        house.set("freezer-cellar", temperature=-10)
        house.advance("21m")
        assert house.alerts == ["freezer_warm"]

Everything runs in the real engine; what rules put out goes back into it, as in the gateway's journal.  Devices come
into being when they are named: "freezer-cellar" is a freezer in the room cellar (`house.device` says it otherwise).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from gateway.clock import NS_PER_S, rfc3339
from gateway.event import Event, LaneName
from gateway.rules.desk.carrier import Carrier, field_of
from gateway.rules.desk.looks import told
from gateway.rules.desk.open_house import OpenHouse, OpenRecipients, by_name, event_type_of
from gateway.rules.desk.virtual import TimedTables, Unwatched, VirtualTime
from gateway.rules.engine import alerts, claims
from gateway.rules.engine.call import STATE_BYTES_MAX, Site, plain, state_prefix
from gateway.rules.engine.engine import Engine
from gateway.rules.engine.notices import REQUESTED
from gateway.rules.engine.overrides import HOUSE_TYPES
from gateway.rules.engine.tables import HOLDS, INPUTS, MODE_KEY, MODES, RULE_STATE
from gateway.rules.engine.trace import Trace
from gateway.rules.files.checks import KINDS
from gateway.rules.files.loader import Loaded, load
from gateway.rules.language.acting import Acting
from gateway.rules.language.calendar import Moment, Place
from gateway.rules.language.definition import Condition, EventRule, Timer, duration_ns
from gateway.rules.language.house import Device, field_name
from gateway.rules.language.inputs import CHANGED, unknown
from gateway.rules.options import Location
from gateway.rules.protocol import DeviceEntry, Outcome
from gateway.rules.records import ACKNOWLEDGE, HTTP_REQUESTED
from gateway.rules.walls.fence import FencedCalls

START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)  # a Monday
MODES_OF_TESTS = ("home", "away", "night", "vacation")
LOCATION = Location(latitude=52.52, longitude=13.405)  # Berlin, unless the test says where
LATE_S = 60.0
SOURCE = "/test/house"


class RuleFailed(AssertionError):
    """A rule raised in a test; the message has its file, line and stack."""


class SimulatedHouse:
    """A house with the rules of one file, on a clock of its own."""

    def __init__(
        self,
        loaded: Loaded,
        devices: Sequence[DeviceEntry] = (),
        modes: Sequence[str] = MODES_OF_TESTS,
        acting: Acting | None = None,
        trace: Trace | None = None,
    ) -> None:
        self.loaded = loaded
        self._acting = acting or (loaded.acting.of_tests if loaded.acting is not None else Acting(anything=True))
        self._modes = tuple(modes)
        self._zone: tzinfo = UTC
        self._location = LOCATION
        self._kinds = KINDS | {
            kind for d in loaded.definitions if isinstance(d, (EventRule, Condition)) for kind in d.selector.kind
        }
        self._installed = by_name(devices)
        self._entries: dict[str, DeviceEntry] = {}
        self._values: dict[str, dict[str, Any]] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        self._time = VirtualTime(round(START.timestamp()) * NS_PER_S, self._take, source=SOURCE, log_id="test")
        self._trace = trace or Trace(len(loaded.definitions))
        self._engine = self._build()
        self._carrier = Carrier(self._happen, lambda device, field: self._known(device)[field])
        self.raises = True  # a rule that raises fails the test; False: see `faults`
        self.faults: list[str] = []
        self.outputs: list[Event] = []  # all of them, in order
        self.gated: list[bool | dict[str, Any]] = []  # what gates decided: let go, dropped, or let go with these data
        self.logs: list[str] = []
        self._record("rules_loaded", "", {}, lane="timer")

    # ---- what happens -------------------------------------------------------------------------------

    def device(self, name: str, *, kind: str = "", room: str = "", labels: Sequence[str] = (), **fields: Any) -> Device:
        """Add a device, or say more about it, with first values of fields that raise no event."""
        entry = DeviceEntry(f"house/test:{name}", name, room, kind, tuple(labels))
        self._entries[entry.id] = entry
        self._values.setdefault(entry.id, {}).update({field_name(key): value for key, value in fields.items()})
        self._engine = self._build()
        self._record("rules_loaded", "", {}, lane="timer")
        return self._engine.site.house.devices[entry.id]

    def set(self, name: str, *, ago: str | float = 0, **fields: Any) -> None:
        """Let a device report fields: each that changed raises its event; `ago` is how old the report is."""
        device = self._known(name)
        for given, value in fields.items():
            field = field_name(given)
            if device[field] != value:
                kind = event_type_of(field, value, device.kind)
                if kind is None:
                    device.update({field: value})
                    self.reindex()  # what conditions have counted may be another now
                else:
                    self._record(kind, device.id, {field: value}, ago=ago)

    def event(
        self,
        event_type: str,
        name: str = "",
        *,
        ago: str | float = 0,
        lane: LaneName = "telemetry",
        actor: str = "device",
        **data: Any,
    ) -> None:
        """Let something happen, about a device or none: ``event("button_pressed", "button-hall", button="single")``."""
        subject = self._known(name).id if name else ""
        self._record(event_type, subject, data, ago=ago, lane=lane, actor=actor)

    def send(self, name: str, command: str, value: Any = None) -> None:
        """Let a person send a command, as `edge-gateway send` does."""
        device = self._known(name)
        data = {"command": command, "value": value}
        field = field_of(command)
        self._record("command_given", device.id, data | ({"field": field} if field else {}), actor="person:test")

    def let_go(self, name: str, field: str | None = None) -> None:
        """End the claims of persons on a device, as `edge-gateway devices release` does."""
        data = {} if field is None else {"field": field_name(field)}
        self._record("claim_released", self._known(name).id, data, actor="person:test")

    def deaf(self, name: str, *, deaf: bool = True) -> None:
        """Let a device take no command from now on (or take them again): they are told again, and then have failed."""
        (self._carrier.deaf.add if deaf else self._carrier.deaf.discard)(self._known(name).id)

    def input(self, name: str, value: bool | float | str) -> None:
        """Let a person say what an input is. ValueError says what it takes."""
        declared = self._acting.inputs.get(name)
        if declared is None and not self._acting.anything:
            raise LookupError(unknown(self._acting.inputs, name))
        value = value if declared is None else declared.checked(value)
        row = self._engine.site.tables.get(INPUTS, name) or {}
        self._record(CHANGED, "", {"input": name, "value": value, "was": row.get("value")}, actor="person:test")

    def answer(self, service: str, status: int = 200, *, json: Any = None, text: str = "", error: str = "") -> None:
        """Let a web service answer the oldest call to it; with an `error` it could not be reached."""
        self._carrier.answer(service, status=0 if error else status, json=json, text=text, error=error)
        self._carrier.settle(self._time.now_ns)

    def offline(self, name: str) -> None:
        """Let a device fall silent."""
        self.set(name, online=False)

    def acknowledge(self, key: str) -> None:
        """Let a person acknowledge the alerts with a key."""
        self._record(ACKNOWLEDGE, "", {"alert": key}, lane="timer", actor="person:test")

    def advance(self, time: str | float) -> None:
        """Move the clock; timers that are due on the way fire at their time, in order."""
        self._advance_to(self._time.now_ns + duration_ns(time))

    def _advance_to(self, until: int) -> None:
        while self._carrier.due_ns <= until:
            self._time.advance(self._carrier.due_ns)
            self._carrier.settle(self._time.now_ns)
            self._carrier.expire(self._time.now_ns)
        self._time.advance(until)
        self._carrier.settle(self._time.now_ns)

    def until(self, time: str) -> None:
        """Move the clock on until it shows a time, such as "22:30" or "2026-03-29 01:00" in the house's timezone."""
        day, _, clock = time.rpartition(" ")
        moment, place = Moment.read(clock), Place(self._zone, self._location)
        today = place.day(self._time.now_ns) if not day else date.fromisoformat(day)
        at = moment.on(today, place).time_ns
        if not day and at <= self._time.now_ns:
            at = moment.on(today + timedelta(days=1), place).time_ns
        if at < self._time.now_ns:
            raise ValueError(f"it is {self.now:%Y-%m-%d %H:%M} already: {time!r} is over")
        self._advance_to(at)

    def place(self, timezone: str, latitude: float | None = None, longitude: float | None = None) -> None:
        """Put the house somewhere else: a timezone such as "Europe/Berlin", and where the sun is looked for."""
        self._zone = UTC if timezone == "UTC" else ZoneInfo(timezone)
        if latitude is not None and longitude is not None:
            self._location = Location(latitude=latitude, longitude=longitude)
        self.reload(self.loaded)

    def set_clock(self, jump: str | float = 0, *, back: bool = False, synced: bool = True) -> None:
        """Set the wall clock on (or back) without time passing; `synced` says whether it is believed from now on."""
        jumped_ns = duration_ns(jump) * (-1 if back else 1)
        self._time.synced = synced
        self._time.set_clock(self._time.now_ns + jumped_ns)
        self._record("clock_set", "", {"jumped_s": jumped_ns / NS_PER_S}, lane="timer")

    def restart(self, *, off: str | float = 0) -> None:
        """Start again from what is durable, as after a power cut; timers due while the power was off fire late."""
        self._time.now_ns += duration_ns(off)
        self.reload(self.loaded)
        self.advance(0)

    def reload(self, loaded: Loaded) -> None:
        """Go on with other rules, as after an edit."""
        if loaded is not self.loaded:
            self._trace = Trace(len(loaded.definitions))
        self.loaded = loaded
        self._engine = self._build()
        self._record("rules_loaded", "", {}, lane="timer")

    # ---- what is so ---------------------------------------------------------------------------------

    @property
    def mode(self) -> str:
        """The mode of the house; setting it is a person's doing."""
        row = self._engine.site.tables.get(MODES, MODE_KEY)
        return str(row["mode"]) if row else self._modes[0]

    @mode.setter
    def mode(self, mode: str) -> None:
        if mode not in self._modes:
            raise ValueError(f"there is no mode {mode!r}: {', '.join(self._modes)}")
        self._record("mode_changed", "", {"mode": mode, "was": self.mode}, actor="person:test")

    @property
    def now(self) -> datetime:
        """What the house's clock shows."""
        return datetime.fromtimestamp(self._time.now_ns / NS_PER_S, self._zone)

    @property
    def alerts(self) -> list[str]:
        """The keys of the alerts that are raised now, sorted."""
        return sorted(row["key"] for row in alerts.raised(self._engine.site.tables))

    @property
    def alert_texts(self) -> list[str]:
        """The texts of the alerts that are raised now, in the order of their keys."""
        return [row["text"] for row in alerts.raised(self._engine.site.tables)]

    @property
    def notifications(self) -> list[tuple[str, str]]:
        """Who was to be told what, so far: name of a recipient or group, text."""
        return [(event.data["to"], event.data["text"]) for event in self.outputs if event.type == REQUESTED]

    @property
    def commands(self) -> list[tuple[str, str, Any]]:
        """All commands so far: name of the device, command, value."""
        return self._commands(observed=False)

    @property
    def http(self) -> list[tuple[str, str, Any]]:
        """All calls to web services so far: method, service with its path, JSON that was sent."""
        calls = [event.data for event in self.outputs if event.type == HTTP_REQUESTED and "observe" not in event.data]
        return [(call["method"], call["endpoint"] + call["target"].rstrip("/"), call.get("json")) for call in calls]

    @property
    def observed(self) -> list[tuple[str, str, Any]]:
        """The commands so far that were only recorded: name of the device, command, value."""
        return self._commands(observed=True)

    def _commands(self, *, observed: bool) -> list[tuple[str, str, Any]]:
        return [
            (self._engine.site.house.devices[event.subject].name, event.data["command"], event.data["value"])
            for event in self.outputs
            if event.type == "command_requested" and bool(event.data.get("observe")) is observed
        ]

    def held(self, name: str) -> dict[str, tuple[Any, str]]:
        """Return what counts on a device: by field the value, and who claims it ("person:hand" or a rule)."""
        row = self._engine.site.tables.get(HOLDS, self._known(name).id) or {"claims": []}
        return {field: (claim["value"], claim["by"]) for field, claim in claims.strongest(row["claims"]).items()}

    @property
    def emitted(self) -> list[Event]:
        """The events rules put out with ctx.emit so far."""
        ours = (
            "alert_",
            "command_",
            "http_",
            "notification_",
            "rule_failed",
            "device_overridden",
            *sorted(HOUSE_TYPES),
        )
        return [event for event in self.outputs if not event.type.startswith(ours)]

    def state(self, rule: str) -> dict[str, Any]:
        """Return the state of a rule."""
        tables, prefix = self._engine.site.tables, state_prefix(rule)
        keys = tables.keys(RULE_STATE, prefix)
        return {key[len(prefix) :]: plain(tables.get(RULE_STATE, key), STATE_BYTES_MAX) for key in keys}

    def rows(self, table: str) -> dict[str, Any]:
        """Return a durable table: rule_state, timers, holds, alerts or modes."""
        return dict(self._rows.get(table, {}))

    def why(self, rule: str) -> list[str]:
        """Say what a rule made of the last events it looked at, oldest first: why it ran, or did not."""
        definition = next((each for each in self.loaded.definitions if each.name == rule), None)
        if definition is None:
            raise LookupError(f"there is no rule {rule!r} in this house")
        looks = self._trace.of(definition.index, self._trace.each)
        return [told(self._engine, definition, look).text for look in looks]

    # ---- how ----------------------------------------------------------------------------------------

    def _build(self) -> Engine:
        house = OpenHouse(self._entries.values(), self._values)
        house.simulated = self
        definitions = self.loaded.definitions
        timers = {definition.run: definition.name for definition in definitions if isinstance(definition, Timer)}
        tables = TimedTables(self._rows)
        recipients = OpenRecipients(house, self._kinds)
        site = Site(
            house,
            tables,
            "test",
            "test",
            self._modes,
            self._zone,
            timers,
            self._location,
            recipients=recipients,
            acting=self._acting,
        )
        watch = FencedCalls(Path(definitions[0].file).parent) if definitions else Unwatched()
        engine = Engine(definitions, site, watch, late_s=LATE_S, trace=self._trace)
        self._time.use(engine, tables)
        return engine

    def _known(self, name: str) -> Device:
        return self._engine.site.house.device(name)

    def reindex(self) -> None:
        """Let the engine look at a new device."""
        self._engine.reindex()

    def guess(self, name: str) -> DeviceEntry:
        """Make a device of a name the test has not declared: as it is installed, or else as the name says."""
        word, _, room = name.partition("-")
        kind = word if word in self._kinds else ""
        entry = self._installed.get(name) or DeviceEntry(f"house/test:{name}", name, room, kind)
        entry = msgspec.structs.replace(entry, kind=entry.kind or kind)  # live, its profile's class says it
        self._entries[entry.id] = entry
        return entry

    def _record(
        self, event_type: str, subject: str, data: dict[str, Any], *, ago: str | float = 0, **attributes: Any
    ) -> None:
        """Put a record through the engine, and what follows from it."""
        self._happen(event_type, subject, data, ago=ago, **attributes)
        self._carrier.settle(self._time.now_ns)

    def _happen(
        self, event_type: str, subject: str, data: dict[str, Any], *, ago: str | float = 0, **attributes: Any
    ) -> None:
        time = rfc3339(self._time.now_ns - duration_ns(ago))
        self._time.happen(Event(source=SOURCE, type=event_type, subject=subject, time=time, data=data, **attributes))

    def _take(self, outcome: Outcome) -> None:
        """Keep what came of a step."""
        self._keep(outcome.puts)
        self.outputs += outcome.outputs
        self._carrier.take(outcome.outputs)
        self.gated += [verdict for _, verdict, _ in outcome.gated]
        self.logs += [text for _, text in outcome.logs]
        self.faults += [str(fault) for fault in outcome.faults]
        if outcome.faults and self.raises:
            raise RuleFailed(f"{outcome.faults[0]}\n{outcome.faults[0].stack}")

    def _keep(self, puts: Sequence[tuple[str, str, Any]]) -> None:
        for table, key, row in puts:
            if row is None:
                self._rows.get(table, {}).pop(key, None)
            else:
                self._rows.setdefault(table, {})[key] = row
        for device_id, device in self._engine.site.house.devices.items():
            self._values[device_id] = dict(device.fields)


def house_for(file: Path) -> SimulatedHouse:
    """Return a house with the rules of one file. Raises RuleFailed when the file has faults."""
    loaded = load(file.parent, files=[file])
    if loaded.faults:
        raise RuleFailed("\n".join(map(str, loaded.faults)))
    return SimulatedHouse(loaded)
