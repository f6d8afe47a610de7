"""Online or not, and what time alone does: silence, parents, sleepers, several words, impulses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.document import Document
from gateway.errors import ConfigError
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.compile import compile_profile
from gateway.profiles.decode import Decoder
from gateway.profiles.report import NOTES
from tests.profiles.deliveries import NOW, SECOND, decoder, delivery

HEAD = 'schema = 1\nid = "t"\ntitle = "t"\ndevice_class = "occupancy_sensor"\n'
HOUR = 3600 * SECOND


def compiled(text: str) -> Catalogue:
    """Compile one profile."""
    return Catalogue([compile_profile(Document(HEAD + text, "t.toml"))])


def after(made: Decoder, seconds: float, *, wall: int = NOW) -> list[tuple[str, str]]:
    """Look so many seconds after boot; returns what came of it (type, device)."""
    return [(e.type, e.subject) for e in made.release(wall, round(seconds * SECOND)).events]


RADIO = compiled("""[link]
topics = ["t/{device}"]
[device]
id = "t:{device}"
[availability]
heartbeat = "90m"
[[field]]
name = "temperature"
from = "/t"
""")


def test_silence_is_offline_and_a_word_is_online_again() -> None:
    """A device with a heartbeat goes offline when it was silent for so long, once, and online with its next message."""
    made = decoder(RADIO)
    after(made, 1)
    made.decode(delivery("t/a", {"t": 1}))
    made.decode(delivery("t/b", {"t": 1}))
    assert made.values["house/t:a"]["online"] is True
    assert after(made, 3000) == []
    made.decode(delivery("t/b", {"t": 1}))  # nothing new in it, but a sign of life
    assert after(made, 5399) == []
    (event,) = made.release(NOW, 5403 * SECOND).events
    assert (event.type, event.subject) == ("device_offline", "house/t:a")
    assert event.data == {"online": False, "previous": True, "reason": "silent", "silent_s": 5400}
    assert after(made, 8000) == []
    assert after(made, 8402) == [("device_offline", "house/t:b")]
    back = made.decode(delivery("t/a", {"t": 1}))
    assert ([e.type for e in back.events], back.changed) == (["device_online"], ["house/t:a"])
    assert after(made, 13_000) == []
    assert after(made, 14_000) == [("device_offline", "house/t:a")]


def test_a_start_makes_no_storm_and_no_clock_does() -> None:
    """After a restart every device has its whole time again; a wall clock that jumps by years changes nothing."""
    values: dict[str, Any] = {}
    made = decoder(RADIO, values=values)
    after(made, 1)
    for i in range(20):
        made.decode(delivery(f"t/{i}", {"t": 1}))
    again = decoder(RADIO, values=json.loads(json.dumps(values)))
    assert after(again, 900_000, wall=NOW + 10_000 * HOUR) == []
    again.decode(delivery("t/7", {"t": 2}, at=NOW - 10_000 * HOUR))
    assert after(again, 900_000 + 5399, wall=NOW - 20_000 * HOUR) == []
    assert len(after(again, 900_000 + 5402)) == 20
    third = decoder(RADIO, values=json.loads(json.dumps(again.values)))
    after(third, 5)
    assert after(third, 50_000) == []  # it was said before the restart
    assert [e.type for e in third.decode(delivery("t/7", {"t": 2})).events] == ["device_online"]


def test_a_retained_copy_is_no_sign_of_life() -> None:
    """What a broker kept says nothing about whether the device lives."""
    made = decoder(RADIO)
    after(made, 1)
    made.decode(delivery("t/a", {"t": 1}))
    after(made, 5402)
    assert made.decode(delivery("t/a", {"t": 1}, retained=True)).events == []


def test_who_makes_up_devices_is_not_watched() -> None:
    """What cannot be read makes no device, and nothing that waits for one."""
    made = decoder(RADIO)
    for i in range(50):
        assert made.decode(delivery(f"t/{i}", {"t": "warm"})).changed == []
    assert (made.values, made.watch._heard) == ({}, {})


SLEEPER = compiled("""[link]
topics = ["t/{device}"]
[device]
id = "t:{device}"
[availability]
topics = ["t/{device}/online"]
map = { true = true, false = false }
sleepy = true
heartbeat = "13h"
[[field]]
name = "temperature"
from = "/t"
""")


def test_a_sleeper_that_says_goodbye_is_asleep() -> None:
    """A device that says "offline" whenever it sleeps is offline only when it stays silent."""
    made = decoder(SLEEPER)
    after(made, 1)
    made.decode(delivery("t/a/online", "true"))
    made.decode(delivery("t/a", {"t": 1}))
    gone = made.decode(delivery("t/a/online", "false"))
    assert (gone.ignored, gone.events, made.values["house/t:a"]["online"]) == ("t: asleep", [], True)
    assert after(made, 13 * 3600 + 5) == [("device_offline", "house/t:a")]
    assert [e.type for e in made.decode(delivery("t/a/online", "true")).events] == ["device_online"]


BRIDGE = compiled("""[device]
id = "t:{device}"
via = "t:bridge"
[[message]]
topics = ["t/bridge/state"]
format = "text"
device = "t:bridge"
device_class = "gateway"
fields = []
availability = { map = { online = true, offline = false }, scope = "parent" }
[[message]]
topics = ["t/{device}/set"]
fields = [{ name = "temperature", from = "/t" }]
[[message]]
topics = ["t/{device}/availability"]
format = "text"
fields = []
availability = { map = { online = true, offline = false } }
""")


def test_what_is_behind_a_parent_goes_with_it() -> None:
    """A bridge that goes is one event; its devices are offline with it and are what they were when it is back."""
    values: dict[str, Any] = {}
    made = decoder(BRIDGE, values=values)
    made.decode(delivery("t/bridge/state", "online"))
    for name in ("a", "b", "c"):
        made.decode(delivery(f"t/{name}/set", {"t": 1}))
        made.decode(delivery(f"t/{name}/availability", "online" if name != "c" else "offline"))

    def online() -> list[Any]:
        return [values[f"house/t:{name}"].get("online") for name in ("a", "b", "c")]

    assert online() == [True, True, False]
    gone = made.decode(delivery("t/bridge/state", "offline"))
    assert [(e.type, e.subject, e.data["scope"]) for e in gone.events] == [
        ("device_offline", "house/t:bridge", "parent")
    ]
    assert gone.events[0].data["devices"] == ["house/t:a", "house/t:b"], "c was offline already"
    assert (online(), len(gone.changed)) == ([False, False, False], 4)
    made.decode(delivery("t/b/availability", "offline"))
    assert made.decode(delivery("t/c/availability", "online")).events == []
    assert online() == [False, False, False]
    back = made.decode(delivery("t/bridge/state", "online"))
    assert online() == [True, False, True]
    assert [e.data.get("devices") for e in back.events] == [["house/t:a", "house/t:c"]]
    assert all("own" not in values[f"house/t:{name}"][NOTES] for name in ("a", "b", "c"))


def test_a_board_is_not_behind_itself() -> None:
    """Parts of a board are offline with it and back with it; the board's own word about itself counts each time."""
    made = decoder(Catalogue.load())
    made.decode(delivery("plus-1/status/temperature:0", {"id": 0, "tC": 21.0}))  # the board's own sensor
    made.decode(delivery("plus-1/status/switch:0", {"id": 0, "output": True}))
    seen = []
    for word in ("true", "false", "true", "false"):
        events = made.decode(delivery("plus-1/online", word)).events
        part = made.values["house/shelly:plus-1/switch:0"].get("online")
        seen.append(([e.type for e in events], made.values["house/shelly:plus-1"]["online"], part))
    assert [types for types, _, _ in seen] == [
        ["device_online"],
        ["device_offline"],
        ["device_online"],
        ["device_offline"],
    ]
    assert [(own, part) for _, own, part in seen[1:]] == [(False, False), (True, True), (False, False)]


@pytest.mark.parametrize(("agree", "expected"), [("all", [True, False, True]), ("any", [True, True, True])])
def test_several_words_about_one_device(agree: str, expected: list[bool]) -> None:
    """Where all must agree, every word must be online, with any one is enough; what was not said yet does not count."""
    word = f'availability = {{ map = {{ online = true, offline = false }}, agree = "{agree}" }}\nfields = []\n'
    made = decoder(
        compiled(f"""[device]
id = "t:{{device}}"
[[message]]
topics = ["t/{{device}}/own"]
format = "text"
{word}
[[message]]
topics = ["t/{{device}}/bridge"]
format = "text"
{word}""")
    )
    found = []
    for topic, said in (("own", "online"), ("bridge", "offline"), ("bridge", "online")):
        made.decode(delivery(f"t/a/{topic}", said))
        found.append(made.values["house/t:a"]["online"])
    assert found == expected


IMPULSE = compiled("""[link]
topics = ["t/{device}"]
[device]
id = "t:{device}"
[[field]]
name = "motion"
value = true
when = [{ path = "/cmd", equals = ["0a", "0b"] }]
auto_reset = "60s"
""")


def test_an_impulse_ends_by_itself() -> None:
    """A sensor that only says "motion" is still again after its time; each further word begins the time anew."""
    made = decoder(IMPULSE)
    after(made, 100)
    assert [e.type for e in made.decode(delivery("t/a", {"cmd": "0a"})).events] == ["motion_detected"]
    after(made, 140)
    assert made.decode(delivery("t/a", {"cmd": "0b"})).events == []
    assert after(made, 199) == []
    (event,) = made.release(NOW, 201 * SECOND).events
    assert (event.type, event.data) == ("motion_cleared", {"motion": False, "previous": True})
    assert made.values["house/t:a"]["motion"] is False
    assert after(made, 400) == []
    assert made.decode(delivery("t/a", {"cmd": "ff"})).readings == []


def test_an_impulse_ends_though_the_gateway_was_restarted() -> None:
    """What was true at a restart is false after its whole time, not for ever."""
    values: dict[str, Any] = {}
    made = decoder(IMPULSE, values=values)
    after(made, 100)
    made.decode(delivery("t/a", {"cmd": "0a"}))
    again = decoder(IMPULSE, values=json.loads(json.dumps(values)))
    assert after(again, 5) == []
    assert after(again, 64) == []
    assert after(again, 66) == [("motion_cleared", "house/t:a")]


def test_a_count_that_moved_is_a_press() -> None:
    """A button that repeats its last press with a count is pressed when the count moves, also over a restart."""
    text = """[link]
topics = ["t/{device}"]
[device]
id = "t:{device}"
[[field]]
name = "button"
from = "/event"
momentary = true
counter = "/count"
"""
    values: dict[str, Any] = {}
    made = decoder(compiled(text), values=values)

    def pressed(made: Decoder, event: str, count: int) -> int:
        return len(made.decode(delivery("t/a", {"event": event, "count": count})).events)

    assert [pressed(made, *press) for press in [("S", 4), ("S", 4), ("S", 5), ("S", 5), ("L", 6), ("", 6)]] == [
        *(0, 0, 1, 0, 1, 0)
    ]
    again = decoder(compiled(text), values=json.loads(json.dumps(values)))
    assert [pressed(again, "L", 6), pressed(again, "L", 7), pressed(again, "L", 1)] == [0, 1, 1]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('name = "temperature"\nfrom = "/t"\nauto_reset = "1m"', "`auto_reset` is for a state that is true or false"),
        ('name = "motion"\nfrom = "/t"\nauto_reset = "1 m"', "'1 m' is no duration"),
        ('name = "motion"\nvalue = "yes"', "'yes' is no value of 'motion'"),
        ('name = "motion"\nvalue = true\nfrom = "/t"', "`value` stands alone"),
        ('name = "mode"\nvalue = "warm"', "'warm' is no value of 'mode'"),
        ('name = "button"\nfrom = "/t"\ncounter = "/c"', "`counter` needs `momentary = true`"),
    ],
)
def test_faults_of_time(line: str, fault: str) -> None:
    """What cannot be is a fault at its line."""
    with pytest.raises(ConfigError) as caught:
        compiled(f'[link]\ntopics = ["t/{{device}}"]\n[device]\nid = "t:{{device}}"\n[[field]]\n{line}\n')
    assert fault in str(caught.value)
    assert str(caught.value).startswith("t.toml:1")
