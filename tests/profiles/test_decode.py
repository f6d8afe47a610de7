"""The decoder: claims, events, replays, hostile input."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.document import Document
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.compile import compile_profile
from gateway.profiles.context import DEVICES_KNOWN_MAX, FIELDS_KNOWN_MAX
from gateway.profiles.decode import ROUTES_MAX
from gateway.profiles.devices import Device, Devices
from gateway.profiles.payloads import PAYLOAD_BYTES_MAX
from gateway.profiles.report import NOTES
from tests.profiles.deliveries import NOW, SECOND, decoder, delivery

CATALOGUE = Catalogue.load()
DOOR = "zigbee2mqtt/front door"
DOOR_ID = "house/z2m:front door"


def profile(text: str) -> Catalogue:
    """Compile one profile from a few lines."""
    head = 'schema = 1\nid = "t"\ntitle = "t"\ndevice_class = "thermostat"\n'
    tail = "" if "[device]" in text else '\n[device]\nid = "t:{device}"\n'
    return Catalogue([compile_profile(Document(head + text + tail, "t.toml"))])


PLAIN = '[link]\ntopics = ["t/{device}"]\n'


def test_event_has_all_it_needs() -> None:
    """An event names the gateway's source, the device, when, the value, its unit and the value before."""
    made = decoder(CATALOGUE)
    made.decode(delivery("zigbee2mqtt/bath", {"local_temperature": 20.5}))
    (event,) = made.decode(delivery("zigbee2mqtt/bath", {"local_temperature": 21}, at=NOW + SECOND)).events
    assert (event.type, event.source, event.subject) == ("temperature_changed", "/gw/house", "house/z2m:bath")
    assert (event.time, event.lane, event.resync) == ("2026-11-21T22:26:41.000Z", "telemetry", False)
    assert event.data == {"temperature": 21, "unit": "Cel", "previous": 20.5}


def test_alarms_go_by_the_alarm_lane() -> None:
    """Tamper, smoke, leak and gas are alarms; a door is telemetry until a rule says otherwise."""
    events = decoder(CATALOGUE).decode(delivery(DOOR, {"contact": False, "tamper": True})).events
    assert {event.type: event.lane for event in events} == {"door_opened": "telemetry", "tamper_raised": "alarm"}


def test_values_are_what_the_next_start_compares_with() -> None:
    """With the persisted values a cached copy after a restart is silent, and a change is a change."""
    values: dict[str, Any] = {}
    decoder(CATALOGUE, values=values).decode(delivery(DOOR, {"contact": False}))
    again = json.loads(json.dumps(values))
    restarted = decoder(CATALOGUE, values=again)
    assert restarted.decode(delivery(DOOR, {"contact": False})).events == []
    assert [e.type for e in restarted.decode(delivery(DOOR, {"contact": True})).events] == ["door_closed"]


def test_partial_message_after_restart_finds_its_profile() -> None:
    """A message without the claiming field goes to the profile the device is known by, also after a restart."""
    values: dict[str, Any] = {}
    decoder(CATALOGUE, values=values).decode(delivery(DOOR, {"contact": False, "battery": 50}))
    restarted = decoder(CATALOGUE, values=values)
    assert [e.type for e in restarted.decode(delivery(DOOR, {"battery": 49})).events] == ["battery_changed"]


def test_diagnostics_do_not_make_a_device_dirty() -> None:
    """A changed link quality is in the values but is not worth a write to the card."""
    made = decoder(CATALOGUE)
    made.decode(delivery(DOOR, {"contact": False, "linkquality": 10}))
    decoded = made.decode(delivery(DOOR, {"contact": False, "linkquality": 99}))
    assert (decoded.events, decoded.changed) == ([], [])
    assert made.values[DOOR_ID]["link_quality"] == 99


def test_retained_copies() -> None:
    """A first retained copy seeds; the known value again is nothing; another one is a change marked resync."""
    made = decoder(CATALOGUE)
    seed = made.decode(delivery(DOOR, {"contact": False}, retained=True))
    assert (seed.events, seed.changed) == ([], [DOOR_ID])
    same = made.decode(delivery(DOOR, {"contact": False}, retained=True))
    assert (same.events, same.changed) == ([], [])
    (event,) = made.decode(delivery(DOOR, {"contact": True}, retained=True)).events
    assert (event.type, event.resync) == ("door_closed", True)


def test_retained_policies() -> None:
    """`event` takes a retained copy as live, `drop` looks away."""
    text = PLAIN + 'retained = "event"\n[[field]]\nname = "temperature"\nfrom = "/t"\n'
    live = decoder(profile(text)).decode(delivery("t/a", {"t": 1}, retained=True))
    assert [(e.type, e.resync) for e in live.events] == [("temperature_changed", False)]
    drop = decoder(profile(text.replace('"event"', '"drop"'))).decode(delivery("t/a", {"t": 1}, retained=True))
    assert (drop.events, drop.changed, drop.ignored) == ([], [], "t: a retained copy")


def test_kind_names_the_event_and_invert_turns_it() -> None:
    """devices.toml makes window_opened of a contact, and takes effect when it is read again."""
    made = decoder(CATALOGUE)
    assert made.decode(delivery(DOOR, {"contact": False})).events[0].type == "door_opened"
    made.installed(Devices([Device(id=DOOR_ID, kind="window", invert=True)]))
    assert made.decode(delivery(DOOR, {"contact": True})).events == []
    assert made.decode(delivery(DOOR, {"contact": False})).events[0].type == "window_closed"


def test_held_value_is_released_in_its_time() -> None:
    """A change held back by a minimum interval is reported when the interval is over, though nothing comes."""
    text = PLAIN + '[[field]]\nname = "power"\nfrom = "/p"\nreport = { min_interval = "10s" }\n'
    made = decoder(profile(text))
    made.decode(delivery("t/a", {"p": 1}))
    held = made.decode(delivery("t/a", {"p": 7}, at=NOW + SECOND))
    assert (held.events, held.changed) == ([], ["house/t:a"])
    assert made.release(NOW + 9 * SECOND).events == []
    (event,) = made.release(NOW + 10 * SECOND).events
    assert event.data == {"power": 7, "unit": "W", "previous": 1}
    assert made.release(NOW + 99 * SECOND).events == []


def test_held_value_survives_a_restart() -> None:
    """A pending value in the persisted values is released by the next decoder."""
    text = PLAIN + '[[field]]\nname = "power"\nfrom = "/p"\nreport = { min_interval = "10s" }\n'
    values: dict[str, Any] = {}
    first = decoder(profile(text), values=values)
    first.decode(delivery("t/a", {"p": 1}))
    first.decode(delivery("t/a", {"p": 7}, at=NOW + SECOND))
    second = decoder(profile(text), values=json.loads(json.dumps(values)))
    assert [e.data["power"] for e in second.release(NOW + 60 * SECOND).events] == [7]


def test_device_time_is_used_when_it_can_be_believed() -> None:
    """A device's time stands in the event; one that is a day off, local without a zone, or nonsense does not."""
    text = PLAIN + '[time]\nfrom = "/at"\n[[field]]\nname = "on"\nfrom = "/on"\n'
    made = decoder(profile(text))
    times = [NOW // SECOND - 60, "2026-11-21T20:00:00", NOW // SECOND - 90_000, "soon", None]
    got = [made.decode(delivery("t/a", {"at": at, "on": i % 2})).events[0].time for i, at in enumerate(times)]
    assert got == ["2026-11-21T22:25:40.000Z"] + ["2026-11-21T22:26:40.000Z"] * 4
    local = decoder(profile(text), zone=UTC).decode(delivery("t/a", {"at": "2026-11-21T20:00:00", "on": 1}))
    assert local.events[0].time == "2026-11-21T20:00:00.000Z"


def test_unsynced_clock_is_said() -> None:
    """While the gateway's own clock is doubtful every event says so."""
    made = decoder(CATALOGUE)
    made.synced = False
    assert made.decode(delivery(DOOR, {"contact": False})).events[0].clock == "unsynced"


def test_source_can_have_its_own_prefix() -> None:
    """A bridge with another base topic is subscribed to and decoded under it, and only under it."""
    made = decoder(CATALOGUE, prefixes={"zigbee2mqtt": "attic/z2m"})
    assert "attic/z2m/#" in made.filters
    assert made.decode(delivery("attic/z2m/door", {"contact": False})).events[0].subject == "house/z2m:door"
    assert made.decode(delivery("zigbee2mqtt/door", {"contact": False})).rejected == "no profile claims this topic"
    assert made.encode  # the command goes there too
    made.decode(delivery("attic/z2m/trv", {"local_temperature": 20, "occupied_heating_setpoint": 20}))
    assert made.encode("house/z2m:trv", "set_setpoint", 21)[0] == "attic/z2m/trv/set"


def test_no_filter_covers_another() -> None:
    """The filters bring each message once: none is covered by another."""
    filters = decoder(CATALOGUE).filters
    assert "zigbee2mqtt/#" in filters
    assert not any(f.startswith("zigbee2mqtt/") and f != "zigbee2mqtt/#" for f in filters)
    assert "#" not in filters


def test_claim_sticks_to_the_device() -> None:
    """A device stays with its profile while that still fits, however many others could read the message too."""
    made = decoder(CATALOGUE)
    made.decode(delivery("zigbee2mqtt/x", {"local_temperature": 20}))
    both = made.decode(delivery("zigbee2mqtt/x", {"local_temperature": 21, "contact": False}))
    assert both.readings[0].profile == "zigbee2mqtt-thermostat"


def test_claim_follows_the_device_when_it_changes() -> None:
    """What was decided for a set of keys is decided again once the device has turned out to be something else."""
    made = decoder(CATALOGUE)
    both = {"local_temperature": 21, "contact": False}
    assert made.decode(delivery("zigbee2mqtt/x", both)).readings[0].profile == "zigbee2mqtt-contact"
    made.decode(delivery("zigbee2mqtt/x", {"local_temperature": 20}))
    assert made.decode(delivery("zigbee2mqtt/x", both)).readings[0].profile == "zigbee2mqtt-thermostat"


def test_excepted_topics_are_not_claimed() -> None:
    """`except` takes topics out of a template that would match them."""
    text = '[link]\ntopics = ["t/{device+}"]\nexcept = ["t/{device+}/set", "t/{a}/{b}/raw"]\n'
    made = decoder(profile(text + '[[field]]\nname = "on"\nfrom = "/on"\n'))
    assert made.decode(delivery("t/a/b", {"on": 1})).events
    assert made.decode(delivery("t/a/set", {"on": 1})).unclaimed
    assert made.decode(delivery("t/a/b/raw", {"on": 1})).unclaimed


def test_availability_is_news_once() -> None:
    """Online said again is nothing; offline is an event with what it was before."""
    made = decoder(CATALOGUE)
    made.decode(delivery("tele/lamp/LWT", "Online"))
    again = made.decode(delivery("tele/lamp/LWT", "Online"))
    assert (again.events, again.changed) == ([], [])
    (event,) = made.decode(delivery("tele/lamp/LWT", "Offline")).events
    assert (event.type, event.data) == ("device_offline", {"online": False, "state": "Offline", "previous": True})


HOSTILE = {
    "ten megabytes": b'{"contact":' + b" " * 10_000_000 + b"true}",
    "invalid UTF-8": b'{"contact":"\xff\xfe"}',
    "deep": b'{"contact":' * 100_000,
    "deep list": b"[" * 100_000 + b"]" * 100_000,
    "NaN": b'{"contact":NaN}',
    "Infinity": b'{"contact":-Infinity}',
    "lone surrogate": b'{"contact":"\\ud800"}',
    "empty": b"",
    "spaces": b"   ",
    "bare word": b"contact",
    "list": b'[{"contact":true}]',
    "number": b"1e400",
    "trailing": b'{"contact":true}}',
    "NUL": b'{"contact":true}\0',
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    "topic", [DOOR, "frigate/events", "tele/x/SENSOR", "shellies/shellydw2-1/sensor/state", "s/online"]
)
def test_hostile_payloads_are_refused_with_a_reason(name: str, topic: str) -> None:
    """Whatever comes, nothing is raised, nothing is kept, and the reason says what is wrong."""
    made = decoder(CATALOGUE)
    decoded = made.decode(delivery(topic, HOSTILE[name]))
    assert decoded.rejected
    assert len(decoded.rejected) < 300
    assert (decoded.events, decoded.changed, made.values) == ([], [], {})


def test_size_limit_is_named() -> None:
    """A payload over the limit is refused by its size, before it is parsed."""
    decoded = decoder(CATALOGUE).decode(delivery(DOOR, HOSTILE["ten megabytes"]))
    assert decoded.rejected == f"a payload of 10000016 bytes, the limit is {PAYLOAD_BYTES_MAX}"


@pytest.mark.parametrize(
    "topic",
    ["", "zigbee2mqtt/\0", "zigbee2mqtt/+", "a/#", "zigbee2mqtt/" + "x" * 300, "zigbee2mqtt/a\nb", "z" * 70_000],
)
def test_hostile_topics_are_refused(topic: str) -> None:
    """A name that is no topic, too long for a device, or holds control characters makes no device."""
    made = decoder(CATALOGUE)
    assert made.decode(delivery(topic, {"contact": True})).rejected
    assert made.values == {}


def test_huge_integers_and_duplicate_keys() -> None:
    """An integer beyond 64 bits is a float; of duplicate keys the last wins."""
    made = decoder(CATALOGUE)
    made.decode(delivery("zigbee2mqtt/a", b'{"contact":true,"battery":' + b"9" * 40 + b"}"))
    assert made.values["house/z2m:a"]["battery"] is None  # out of range
    made.decode(delivery("zigbee2mqtt/b", b'{"contact":true,"contact":false}'))
    assert made.values["house/z2m:b"]["open"] is True


def test_flood_of_topics_is_bounded() -> None:
    """A hundred thousand made-up topics do not fill the memory: routes kept are limited."""
    made = decoder(CATALOGUE)
    tracemalloc.start()
    for i in range(ROUTES_MAX + 5_000):
        made.decode(delivery(f"nothing/{i}", b"x"))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 8_000_000
    assert len(made._routes) == ROUTES_MAX
    assert made.values == {}


def test_flood_of_shapes_is_bounded() -> None:
    """A device whose keys differ in every message costs a bounded memory."""
    made = decoder(CATALOGUE)
    made.decode(delivery(DOOR, {"contact": True}))
    tracemalloc.start()
    for i in range(5_000):
        made.decode(delivery(DOOR, {"contact": True, f"k{i}": 1}))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 2_000_000


_KEYS = st.sampled_from(
    ["contact", "local_temperature", "occupancy", "battery", "POWER", "Switch1", "ENERGY", "after", "type", "params",
     "input:0", "events", "method", "component", "thermostats", "tmp", "value", "Temperature", "DS18B20", "camera",
     "id"]
)  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS | st.text(max_size=8), inner, max_size=6),
    max_leaves=12,
)
_TOPICS = st.sampled_from(
    [DOOR, "tele/x/SENSOR", "stat/x/RESULT", "frigate/events", "frigate/a/person", "frigate/a/b/snapshot",
     "s/events/rpc", "s/status/input:0", "shellies/shellytrv-1/info", "zigbee2mqtt/x/availability", "s/online"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(_TOPICS, _JSON, st.booleans()), max_size=6))
def test_any_sequence_of_messages_is_survived(messages: list[tuple[str, Any, bool]]) -> None:
    """Whatever JSON comes in whatever order, the outcome is events of the vocabulary or a reason."""
    made = decoder(CATALOGUE)
    for i, (topic, payload, retained) in enumerate(messages):
        decoded = made.decode(delivery(topic, payload, retained=retained, at=NOW + i * SECOND))
        assert decoded.rejected or decoded.ignored or decoded.readings or decoded.faults
        for event in decoded.events:
            assert event.subject in made.values or event.type == "device_removed"
        assert set(decoded.changed) <= {*made.values, *(e.subject for e in decoded.events)}
    for known in made.values.values():
        assert NOTES in known


def test_several_fields_of_one_name_first_wins() -> None:
    """Two rules for one field are alternatives: the first that finds something speaks."""
    text = PLAIN + '[[field]]\nname = "on"\nfrom = "/a"\n[[field]]\nname = "on"\nfrom = "/b"\n'
    made = decoder(profile(text))
    assert made.decode(delivery("t/x", {"a": 1, "b": 0})).readings[0].fields == {"on": True}
    assert made.decode(delivery("t/x", {"b": 0})).readings[0].fields == {"on": False}


def test_field_conditions() -> None:
    """`when` makes a field absent, `valid_if` makes it unknown."""
    text = PLAIN + (
        '[[field]]\nname = "on"\nfrom = "/v"\nwhen = [{ path = "/k", equals = "relay" }]\n'
        '[[field]]\nname = "temperature"\nfrom = "/t"\nvalid_if = { path = "/ok", equals = [true, 1] }\n'
    )
    made = decoder(profile(text))
    assert made.decode(delivery("t/x", {"v": 1, "k": "relay", "t": 5, "ok": 1})).readings[0].fields == {
        "on": True, "temperature": 5
    }  # fmt: skip
    assert made.decode(delivery("t/x", {"v": 1, "k": "lamp", "t": 5, "ok": False})).readings[0].fields == {
        "temperature": None
    }


def test_base64_pictures(tmp_path: Path) -> None:
    """A picture may come as base64 or as a data URI; it is described like a raw one."""
    text = (
        '[[message]]\ntopics = ["t/{device}/preview"]\nformat = "blob"\nfields = []\n'
        'blob = { mime = "image/png", magic = "89504e47", bytes_max = 100, encoding = "base64" }\n'
    )
    made = decoder(profile(text))
    for payload in (b"iVBORw0KGgo=", b"data:image/png;base64,iVBORw0KGgo="):
        (event,) = made.decode(delivery("t/cam/preview", payload)).events
        assert (event.type, event.data["bytes"], event.data["mime"]) == ("snapshot_taken", 8, "image/png")
    assert "not base64" in str(made.decode(delivery("t/cam/preview", b"%%")).rejected)
    assert "the limit is" in str(made.decode(delivery("t/cam/preview", b"A" * 1000)).rejected)


def test_heartbeat_of_an_unchanged_value() -> None:
    """The same value is an event again after max_silence, and not before; also when the wall clock steps back."""
    made = decoder(CATALOGUE)
    hour = 3600 * SECOND
    steps = [0, 10 * SECOND, hour - SECOND, hour, hour + SECOND, 2 * hour, -900 * hour, -900 * hour + SECOND]
    heard = [made.decode(delivery("zigbee2mqtt/a", {"local_temperature": 20}, at=NOW + at)).events for at in steps]
    assert [len(events) for events in heard] == [1, 0, 0, 1, 0, 1, 1, 0]


def test_member_without_a_name_costs_only_itself() -> None:
    """Of a message about several devices the ones that can be named are read, the others are a fault."""
    text = (
        '[[message]]\ntopics = ["t/all"]\neach = "/{i}"\ndevice = "t:{/id}"\n'
        'fields = [{ name = "on", from = "/on" }]\n[device]\nid = "t:x"\n'
    )
    decoded = decoder(profile(text)).decode(delivery("t/all", [{"id": 1, "on": 1}, {"on": 1}, {"id": 3, "on": 0}]))
    assert [reading.device for reading in decoded.readings] == ["1", "3"]
    assert (decoded.faults, decoded.rejected) == (["no device: /id is missing"], None)


def test_made_up_devices_and_fields_are_bounded() -> None:
    """Neither made-up device names nor made-up labels of one camera fill the memory; what is known goes on."""
    values: dict[str, Any] = {f"house/z2m:{i}": {NOTES: {}, "open": True} for i in range(DEVICES_KNOWN_MAX)}
    made = decoder(CATALOGUE, values=values)
    refused = made.decode(delivery("zigbee2mqtt/new", {"contact": True}))
    assert (refused.events, len(values)) == ([], DEVICES_KNOWN_MAX)
    assert "the limit is 20000" in str(refused.rejected)
    assert made.decode(delivery("zigbee2mqtt/7", {"contact": True})).events
    camera = decoder(CATALOGUE)
    for i in range(1000):
        camera.decode(delivery(f"frigate/cam/label{i}", "1"))
        camera.decode(delivery(f"frigate/cam/label{i}/active", "1"))
    assert len(camera.values["house/frigate:cam"]) <= FIELDS_KNOWN_MAX + 1
    assert camera.decode(delivery("frigate/cam/label0", "2")).events


def test_part_of_what_a_thermostat_says_stays_the_thermostats() -> None:
    """A battery or a temperature alone is read by the profile its device is known by, and its commands stay."""
    made = decoder(CATALOGUE)
    made.decode(
        delivery("zigbee2mqtt/bath", {"local_temperature": 20.5, "occupied_heating_setpoint": 21, "battery": 90})
    )
    for part in ({"battery": 44}, {"temperature": 19.5}, {"state": "ON"}):
        readings = made.decode(delivery("zigbee2mqtt/bath", part)).readings
        assert {reading.device_class for reading in readings} <= {"thermostat", "on_off_plug"}
        assert made.values["house/z2m:bath"][NOTES]["class"] == "thermostat"
    topic, _ = made.encode("house/z2m:bath", "set_setpoint", 22)
    assert topic == "zigbee2mqtt/bath/set"


def test_a_device_becomes_what_says_more_of_it() -> None:
    """What only measured or switched at first is the lock that it turns out to be, and stays it."""
    made = decoder(CATALOGUE)
    classes = []
    for payload in ({"battery": 80}, {"state": "ON"}, {"lock_state": "locked", "state": "LOCK"}, {"temperature": 20}):
        made.decode(delivery("zigbee2mqtt/front", payload))
        classes.append(made.values["house/z2m:front"].get(NOTES, {}).get("class"))
    assert classes == [None, "on_off_plug", "door_lock", "door_lock"]


def test_what_one_profile_cannot_parse_another_passes_over() -> None:
    """A topic that two profiles read is nothing to report when one knows it, whatever the other expected there."""
    decoded = decoder(CATALOGUE).decode(delivery("tele/plug/RESULT", {"Restart": "Hardware watchdog"}))
    assert (decoded.rejected, decoded.ignored) == (None, "tasmota: nothing to report")
    assert decoder(CATALOGUE).decode(delivery("tele/plug/RESULT", '{"Restart":')).rejected.startswith("not JSON")


def test_a_reason_names_a_few_profiles_only() -> None:
    """Where many profiles read a topic, the reason says how many others there are."""
    rejected = decoder(CATALOGUE).decode(delivery("zigbee2mqtt/hall", {"wobble": 1})).rejected or ""
    assert "others read this topic, but not this payload" in rejected
    assert len(rejected) < 200
