"""What was said before and counts later: learned words, repeats, values of the past."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.document import Document
from gateway.errors import ConfigError
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.compile import compile_profile
from gateway.profiles.repeats import REPEATS_MAX, CompiledDedup
from tests.profiles.deliveries import NOW, SECOND, decoder, delivery

HEAD = 'schema = 1\nid = "t"\ntitle = "t"\ndevice_class = "contact_sensor"\n'
SENSORS = (
    HEAD
    + """[link]
kind = "serial"
baud = 115200
framing = { type = "line" }
[decode]
format = { type = "split", sep = ";", names = ["node", "command", "type", "payload"] }
[device]
id = "t:{/node}"
[[learn]]
when = [{ path = "/command", equals = 0 }]
set = { kind = { from = "/type", map = { 0 = "door", 1 = "motion", else = "other" } }, text = "{/payload} ({port})" }
[[message]]
when = [{ path = "/command", equals = 1 }, { learned = "kind", equals = "door" }]
fields = [{ name = "open", from = "/payload", map = { 1 = true, 0 = false } }]
[[message]]
when = [{ path = "/command", equals = 1 }, { learned = "kind", equals = "motion" }]
fields = [{ name = "motion", from = "/payload", map = { 1 = true, 0 = false } }]
"""
)


def compiled(text: str) -> Catalogue:
    """Compile one profile."""
    return Catalogue([compile_profile(Document(text, "t.toml"))])


def test_what_a_presentation_said_is_known_later_and_after_a_restart() -> None:
    """A word learned from one message chooses how later ones of that device are read, also behind a restart."""
    values: dict[str, Any] = {}
    made = decoder(compiled(SENSORS), values=values, profiles=["t"])
    assert made.decode(delivery("house", b"1;1;16;1")).unclaimed
    learned = made.decode(delivery("house", b"1;0;0;Front"))
    assert (learned.ignored, learned.changed) == ("t: learned kind = door, text = Front (house)", ["house/t:1"])
    assert made.decode(delivery("house", b"1;0;0;Front")).changed == []
    made.decode(delivery("house", b"2;0;1;Hall"))
    restarted = decoder(compiled(SENSORS), values=json.loads(json.dumps(values)), profiles=["t"])
    assert [e.type for e in restarted.decode(delivery("house", b"1;1;16;1")).events] == ["door_opened"]
    assert [e.type for e in restarted.decode(delivery("house", b"2;1;16;1")).events] == ["motion_detected"]
    restarted.decode(delivery("house", b"3;0;77;?"))
    assert restarted.decode(delivery("house", b"3;1;16;1")).unclaimed


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('learned = "kind", equals = "door"', 'learned = "kint", exists = true', "17: nothing learns 'kint'"),
        ('learned = "kind", equals = "door"', 'equals = "door"', "17: a condition has either `path` or `learned`"),
        ('from = "/type"', 'from = "type"', "15: 'type' is no JSON pointer"),
        ("({port})", "({prot})", "15: nothing captures {prot} (did you mean 'port'?)"),
        ("set = { kind", "set = { Kind", "Kind"),
        ("[[message]]\nwhen", '[[message]]\nroot = "/x"\nwhen', "16: `learned` is not for messages with `root`"),
    ],
)  # fmt: skip
def test_faults_of_learning(old: str, new: str, fault: str) -> None:
    """What cannot be learned or is never learned is a fault at its line."""
    with pytest.raises(ConfigError) as caught:
        compile_profile(Document(SENSORS.replace(old, new, 1), "t.toml"))
    assert fault in str(caught.value)


BUTTON = (
    HEAD
    + """[device]
id = "t:{device}"
[[message]]
topics = ["t/{device}/rpc"]
dedup = { key = ["/event"], window = "500ms" }
fields = [{ name = "button", from = "/event", momentary = true }]
[[message]]
topics = ["t/{device}/status"]
dedup = { key = ["/input/event"], window = "500ms" }
fields = [{ name = "button", from = "/input/event", momentary = true }]
[[message]]
topics = ["t/{device}/radio"]
dedup = { ignore = ["/rssi", "/more/noise"], window = "1s" }
fields = [{ name = "button", from = "/code", momentary = true }]
"""
)


def presses(made: Any, topic: str, payload: Any, after: float) -> list[str]:
    """Return the buttons pressed by a message that comes so many seconds after the beginning."""
    return [e.data["button"] for e in made.decode(delivery(topic, payload, at=NOW + int(after * SECOND))).events]


def test_the_same_on_two_topics_is_one() -> None:
    """One press that is said on two topics within the window is one event; another device's is its own."""
    made = decoder(compiled(BUTTON))
    assert presses(made, "t/a/rpc", {"event": "single"}, 0) == ["single"]
    assert presses(made, "t/a/status", {"input": {"event": "single"}}, 0.02) == []
    assert presses(made, "t/b/status", {"input": {"event": "single"}}, 0.02) == ["single"]
    assert presses(made, "t/a/status", {"input": {"event": "double"}}, 0.03) == ["double"]
    assert presses(made, "t/a/rpc", {"event": "single"}, 0.6) == ["single"]


def test_radio_that_repeats_itself_is_heard_once() -> None:
    """A frame that comes eight times is one press, whatever signal strength each had; held on, it is one a window."""
    made = decoder(compiled(BUTTON))
    heard = [presses(made, "t/r/radio", {"code": "0a", "rssi": i, "more": {"noise": i}}, i / 10) for i in range(21)]
    assert [i for i, press in enumerate(heard) if press] == [0, 10, 20]
    assert presses(made, "t/r/radio", {"code": "0b", "rssi": 1, "more": {"noise": 1}}, 2.01) == ["0b"]
    assert presses(made, "t/r/radio", {"code": "0b", "rssi": 1, "more": {"noise": 1}}, -50) == [
        "0b"
    ]  # a clock set back
    assert made.repeats.count == 18


def test_several_messages_read_one_delivery_within_a_window() -> None:
    """A delivery that two messages of a profile read repeats nothing; the next one with the same in it does."""
    more = '[[message]]\ntopics = ["t/{device}/radio"]\ndedup = { ignore = ["/rssi", "/more/noise"], window = "1s" }\n'
    made = decoder(compiled(BUTTON + more + 'fields = [{ name = "temperature", from = "/t" }]\n'))
    both = made.decode(delivery("t/r/radio", {"code": "0a", "t": 20, "rssi": 1, "more": {}}))
    assert [e.type for e in both.events] == ["button_pressed", "temperature_changed"]
    again = made.decode(delivery("t/r/radio", {"code": "0a", "t": 20, "rssi": 2, "more": {}}))
    assert (again.events, again.ignored) == ([], "t: the same again within 1s")


def test_what_a_broker_kept_comes_at_once_and_is_no_repeat() -> None:
    """Open, closed, open within the window are three news, each with its repeats; so the last state is what counts."""
    made = decoder(compiled(BUTTON))
    codes = [code for code in ("0a", "0b", "0a", "0b", "0a") for _ in range(3)]
    heard = [presses(made, "t/r/radio", {"code": code, "rssi": i}, i / 100) for i, code in enumerate(codes)]
    assert [press[0] for press in heard if press] == ["0a", "0b", "0a", "0b", "0a"]
    assert made.repeats.count == 10


def test_windows_are_bounded() -> None:
    """Who makes up messages or devices cannot fill the memory with windows."""
    made = decoder(compiled(BUTTON))
    for i in range(REPEATS_MAX + 100):
        presses(made, "t/r/radio", {"code": str(i)}, 0)
        made.repeats.again(CompiledDedup(SECOND, "1s", (), ()), ("t", f"device-{i}"), {}, 0)
    assert len(made.repeats._opened) == len(made.repeats._newest) == REPEATS_MAX


@pytest.mark.parametrize(
    ("new", "fault"),
    [
        ('{ key = ["/event"], window = "1 s" }', "'1 s' is no duration"),
        ('{ key = ["/event"] }', "missing key 'window'"),
        ('{ key = ["/event"], window = "" }', "a window of no length"),
        ('{ key = ["/event"], ignore = ["/x"], window = "1s" }', "`dedup` has either `key` or `ignore`"),
        ('{ key = ["event"], window = "1s" }', "'event' is no JSON pointer"),
    ],
)
def test_faults_of_repeats(new: str, fault: str) -> None:
    """A window that cannot be is a fault at its line."""
    text = BUTTON.replace('{ key = ["/event"], window = "500ms" }', new)
    with pytest.raises(ConfigError) as caught:
        compile_profile(Document(text, "t.toml"))
    assert f"t.toml:9: {fault}" in str(caught.value)


PAST = (
    HEAD
    + """[link]
topics = ["t/{device}"]
[device]
id = "t:{device}"
[time]
from = "/ts"
historical = { path = "/is_historical", equals = true }
[[field]]
name = "temperature"
from = "/t"
"""
)


def test_values_of_the_past_are_events_of_their_time_and_no_state() -> None:
    """What a device kept while it was cut off is told with its own time, and the device's state stays what it is."""
    made = decoder(compiled(PAST))
    made.decode(delivery("t/a", {"t": 21, "ts": NOW / 1e9}))
    old = {"t": 5, "ts": 1_700_000_000, "is_historical": True}
    events = (
        made.decode(delivery("t/a", old)).events + made.decode(delivery("t/a", {**old, "ts": 1_700_000_060})).events
    )
    assert [(e.time, e.data["temperature"], e.resync) for e in events] == [
        ("2023-11-14T22:13:20.000Z", 5, True),
        ("2023-11-14T22:14:20.000Z", 5, True),
    ]
    assert {e.received for e in events} == {"2026-11-21T22:26:40.000Z"}
    assert made.values["house/t:a"]["temperature"] == 21
    assert "does not say of when" in (made.decode(delivery("t/a", {"t": 5, "is_historical": True})).rejected or "")
    assert made.decode(delivery("t/a", {"t": 21, "ts": NOW / 1e9, "is_historical": False})).events == []


def test_both_clocks_are_told_where_they_differ() -> None:
    """An event with the device's time also says when the gateway heard it; without one, or off by days, one."""
    made = decoder(compiled(PAST))
    (first,) = made.decode(delivery("t/a", {"t": 1, "ts": NOW / 1e9 - 60})).events
    assert (first.time, first.received) == ("2026-11-21T22:25:40.000Z", "2026-11-21T22:26:40.000Z")
    (second,) = made.decode(delivery("t/a", {"t": 2})).events
    (third,) = made.decode(delivery("t/a", {"t": 3, "ts": 1_700_000_000})).events
    assert {(e.time, e.received) for e in (second, third)} == {("2026-11-21T22:26:40.000Z", "")}


@pytest.mark.parametrize(("policy", "pressed"), [("state", 0), ("drop", 0), ("event", 1)])
def test_what_a_retained_press_is(policy: str, pressed: int) -> None:
    """A broker's copy of a press is none, unless the profile says that copies are events."""
    text = (
        HEAD
        + f'''[device]
id = "t:{{device}}"
[link]
retained = "{policy}"
topics = ["t/{{device}}"]
[[field]]
name = "button"
from = "/event"
momentary = true
'''
    )
    assert len(decoder(compiled(text)).decode(delivery("t/a", {"event": "single"}, retained=True)).events) == pressed
