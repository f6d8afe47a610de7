"""Serial profiles: which frames they read, who is left out, and devices whose messages do not say what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.document import Document
from gateway.errors import ConfigError
from gateway.profiles import samples
from gateway.profiles.catalogue import Catalogue, load_profile
from gateway.profiles.compile import compile_profile
from gateway.profiles.devices import Device, Devices
from tests.profiles.deliveries import decoder, delivery

BOARD = """schema = 1
id = "board"
title = "A board that prints lines"
device_class = "contact_sensor"
[link]
kind = "serial"
baud = 115200
framing = { type = "line" }
ports = ["board"]
[decode]
format = { type = "split", sep = ";", names = ["node", "what", "value"] }
skip = [{ path = "/what", equals = "hello" }]
[device]
id = "board:{/node}"
[[message]]
when = [{ path = "/what", equals = "door" }]
fields = [{ name = "open", from = "/value", map = { 1 = true, 0 = false }, invertible = true }]
[[message]]
when = [{ path = "/what", equals = "temp" }]
device_class = "temperature_sensor"
fields = [{ name = "temperature", from = "/value", unit = "[degF]" }]
"""
MQTT = """schema = 1
id = "attic"
title = "Attic"
device_class = "thermostat"
[link]
topics = ["attic/{device}"]
[device]
id = "attic:{device}"
[[field]]
name = "temperature"
from = "/t"
"""


def compiled(*texts: str) -> Catalogue:
    """Compile profiles."""
    return Catalogue([compile_profile(Document(text, "t.toml")) for text in texts])


def test_frames_of_a_port_are_read() -> None:
    """A serial source's decoder reads frames by the profile it is told, each message of it by what is in the frame."""
    made = decoder(compiled(BOARD, MQTT), profiles=["board"])
    (event,) = made.decode(delivery("house", b"7;door;1")).events
    assert (event.type, event.subject) == ("door_opened", "house/board:7")
    assert made.decode(delivery("house", b"8;temp;68")).readings[0].fields == {"temperature": 20.0}
    assert made.decode(delivery("house", b"8;hello;1")).ignored == "board: nothing to report"
    assert made.decode(delivery("house", b"8;temp")).rejected == "2 cells, expected 3 or more, at most 256"
    assert made.decode(delivery("attic/x", {"t": 5})).unclaimed


def test_a_frame_that_cannot_be_read_is_not_passed_over() -> None:
    """What `skip` asks for is not asked of a garbled frame: "nothing there" is no reason to be silent about it."""
    board = BOARD.replace('path = "/what", equals = "hello"', 'path = "/node", exists = false')
    assert decoder(compiled(board), profiles=["board"]).decode(delivery("house", b"8;temp")).rejected


def test_a_family_is_named_by_its_beginning() -> None:
    """`profile = "board"` takes board-* too; a word that names none is an error."""
    more = BOARD.replace('id = "board"', 'id = "board-garden"').replace('"board:{/node}"', '"garden:{/node}"')
    catalogue = compiled(BOARD, more, BOARD.replace('id = "board"', 'id = "boarding"'))
    assert catalogue.named(["board"]) == ["board", "board-garden"]
    broker = MQTT.replace('id = "attic"', 'id = "board-mqtt"')  # the same dialect over MQTT is not meant
    assert compiled(BOARD, broker).named(["board"]) == ["board"]
    assert compiled(BOARD, broker).named(["board-mqtt"]) == ["board-mqtt"]
    with pytest.raises(KeyError):
        decoder(catalogue, profiles=["boat"])


def test_a_command_names_the_device_as_its_frames_do() -> None:
    """What a frame said in the paths of the device's id stands in the bytes of a command, and survives a restart."""
    order = '[[command]]\nname = "set_on"\ntopic = "{port}"\ntext = "{/node};on;$value\\n"\narg = { type = "bool" }\n'
    values: dict[str, Any] = {}
    decoder(compiled(BOARD + order), values=values, profiles=["board"]).decode(delivery("house", b"7;door;1"))
    made = decoder(compiled(BOARD + order), values=json.loads(json.dumps(values)), profiles=["board"])
    assert made.encode("house/board:7", "set_on", value=True) == ("house", b"7;on;true\n")


def test_a_broker_is_not_asked_for_what_comes_by_wire() -> None:
    """The decoder of an MQTT source leaves serial profiles out: no filter and no claim."""
    made = decoder(compiled(BOARD, MQTT))
    assert made.filters == ["attic/+"]
    assert made.decode(delivery("house", b"7;door;1")).unclaimed


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('kind = "serial"\n', "", "6: 'baud' is not for kind = 'mqtt'"),
        ("baud = 115200\n", "", "5: missing key 'baud': a serial profile says how its port is read"),
        ("baud = 115200", "baud = 5", "7: 'baud': Expected `int` >= 50"),
        ('{ type = "line" }', '{ type = "lines" }', "8: 'type': 'lines' is not one of 'line'"),
        ('ports = ["board"]', 'topics = ["a/{device}"]', "9: 'topics' is not for kind = 'serial'"),
        ('type = "split"', 'type = "splitt"', "11: 'type': 'splitt' is not one of"),
        ('"value"] }', '"value"], types = { vale = "int" } }', "11: `types`: no cell is called 'vale'"),
        ('sep = ";"', 'separator = ";"', "11: unknown key 'separator'"),
        ('mode = "8X1"', 'mode = "8X1"', "mode"),
    ],
)  # fmt: skip
def test_faults_of_serial_profiles(old: str, new: str, fault: str) -> None:
    """What does not go together on a serial link is a fault at its line, with what was probably meant."""
    text = BOARD.replace("ports =", 'mode = "8X1"\nports =') if old.startswith("mode") else BOARD.replace(old, new)
    with pytest.raises(ConfigError) as caught:
        compile_profile(Document(text, "t.toml"))
    assert fault in str(caught.value)


LEARNED = """schema = 1
id = "radio-{n}"
title = "A radio device that does not say what it is"
device_class = "temperature_sensor"
[link]
kind = "serial"
baud = 57600
framing = { type = "line" }
[decode]
format = { type = "split", names = ["sender", "raw"], types = { raw = "int" } }
[device]
id = "radio:{/sender}"
installed = true
[[field]]
name = "temperature"
from = "/raw"
scale = {n}
"""


def test_devices_toml_says_what_a_device_is() -> None:
    """Where messages do not say it, the profile in devices.toml reads the device, and no other; unlisted ones wait."""
    catalogue = compiled(LEARNED.replace("{n}", "1"), LEARNED.replace("{n}", "10"), BOARD)
    listed = Devices([Device(id="house/radio:a1", profile="radio-10")])
    made = decoder(catalogue, listed, profiles=["radio"])
    assert made.decode(delivery("house", b"a1 2")).readings[0].fields == {"temperature": 20}
    unknown = made.decode(delivery("house", b"b2 2"))
    assert unknown.unclaimed
    assert unknown.rejected == (
        "house/radio:b2: its messages do not say what it is; devices.toml can: profile = 'radio-10' or 'radio-1'"
    )
    made.installed(Devices([Device(id="house/radio:b2", profile="radio-1")]))
    assert made.decode(delivery("house", b"b2 2")).readings[0].fields == {"temperature": 2}


def test_a_listed_profile_keeps_others_away() -> None:
    """A device listed with a profile is read by that one, though another would claim its topic, too."""
    other = MQTT.replace('id = "attic"', 'id = "other"').replace('"/t"', '"/u"')
    listed = Devices([Device(id="house/attic:x", profile="other")])
    made = decoder(compiled(MQTT, other), listed)
    assert made.decode(delivery("attic/x", {"t": 5, "u": 6})).readings[0].fields == {"temperature": 6}
    assert made.decode(delivery("attic/y", {"t": 5, "u": 6})).readings[0].fields == {"temperature": 5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the board's profile."""
    (tmp_path / "board.toml").write_text(BOARD)
    (tmp_path / "samples").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"port": "board:115200", "payload": "7;door;1\n"}, {"id": "board:7", "fields": {"open": True}}),
        ({"port": "board:115200", "payload": "7;door;1"}, {"events": ["door_opened"]}),  # captured without its end
        ({"port": "tty:9600", "payload": "7;door;0\r\n"}, {"profile": "board"}),  # a port nobody calls so: all
        ({"port": "board:1", "payload": "1;hello;\n2;temp;32\n"}, {"fields": {"temperature": 0.0}, "rejected": None}),
        ({"port": "board:1", "payload": "7;door\n"}, {"rejected": "2 cells, expected 3 or more, at most 256"}),
        ({"port": "board:1", "payload": ""}, {"rejected": "framing: no whole frame"}),
        ({"port": "board:1", "topic": "bus/5/state", "payload": "7;door;1"}, {"events": []}),
    ],
)
def test_bytes_of_a_port_as_people_try_them(line: dict[str, Any], expected: dict[str, Any], folder: Path) -> None:
    """`profiles decode` takes the bytes of a port, frames them as the profile says and decodes each frame."""
    catalogue = Catalogue([load_profile(folder / "board.toml")])
    heard = samples.Heard(catalogue)
    got = samples.as_line(heard.decode(samples.Line(**line), samples.NOW_NS))
    assert {key: got[key] for key in expected} == expected


def test_samples_of_a_serial_profile(folder: Path) -> None:
    """Samples beside a serial profile are raw bytes of its port, and are compared as all others."""
    good = {"port": "board:115200", "payload": "7;door;1\n", "after": [{"port": "board:115200", "payload": "7;door;1"}]}
    file = folder / "samples" / "board.jsonl"
    file.write_text(
        json.dumps({**good, "expect": {"id": "board:7", "fields": {"open": True}, "events": []}})
        + "\n"
        + json.dumps({**good, "installed": {"invert": True}, "expect": {"id": "board:7", "fields": {"open": True}}})
    )
    count, wrong = samples.run(Catalogue([load_profile(folder / "board.toml")]), "board")
    assert (count, [mismatch.line for mismatch in wrong]) == (2, [2])


TEACHER = BOARD.replace('id = "board"', 'id = "radio"').replace('"board:{/node}"', '"radio:{/node}"').replace(
    "[[message]]", '[[learn]]\nwhen = [{ path = "/what", equals = "i am" }]\n'
    'set = { profile = { from = "/value", map = { T1 = "radio-1", else = "" } } }\n[[message]]', 1
)  # fmt: skip


def test_a_teach_in_says_what_a_device_is_unless_devices_toml_says_another() -> None:
    """The learned word `profile` binds a device as devices.toml would, over restarts; a person's word stands above."""
    split = 'names = ["sender", "what", "raw"], sep = ";", types = { raw = "number" }'
    one = LEARNED.replace('names = ["sender", "raw"], types = { raw = "int" }', split).replace("{n}", "1")
    catalogue = compiled(TEACHER, one, one.replace("radio-1", "radio-2").replace("scale = 1", "scale = 2"))
    values: dict[str, Any] = {}
    made = decoder(catalogue, values=values, profiles=["radio"])
    assert made.decode(delivery("house", b"7;t;20")).unclaimed
    assert made.decode(delivery("house", b"7;i am;T1")).ignored == "radio: learned profile = radio-1"
    made = decoder(catalogue, values=json.loads(json.dumps(values)), profiles=["radio"])
    assert made.decode(delivery("house", b"7;t;20")).readings[0].fields == {"temperature": 20}
    made.installed(Devices([Device(id="house/radio:7", profile="radio-2")]))
    assert made.decode(delivery("house", b"7;t;20")).readings[0].fields == {"temperature": 40}


def test_other_profiles_from_the_next_message_on() -> None:
    """Profiles are swapped between two messages: what is known stays, what was heard under the old ones is compared."""
    made = decoder(compiled(MQTT))
    made.decode(delivery("attic/x", {"t": 5, "u": 50}))
    made.read(compiled(MQTT.replace('"/t"', '"/u"'), MQTT.replace('"attic"', '"loft"').replace("attic", "loft")))
    assert made.filters == ["attic/+", "loft/+"]
    (event,) = made.decode(delivery("attic/x", {"t": 5, "u": 50})).events
    assert event.data == {"temperature": 50, "unit": "Cel", "previous": 5}
    assert made.decode(delivery("attic/x", {"t": 6, "u": 50})).events == []
    made.read(compiled(BOARD))
    assert made.decode(delivery("attic/x", {"u": 50})).unclaimed
    assert list(made.catalogue.profiles) == ["board"]


def test_bytes_nobody_reads_on_a_port_nobody_names() -> None:
    """Bytes of a port whose word no profile has are tried by all; when none reads them, that is what is said."""
    heard = samples.Heard(compiled(BOARD))
    assert heard.decode(samples.Line(port="attic:9600", payload="7;door;1"), 0).readings
    refused = heard.decode(samples.Line(port="attic:9600", payload="7 is open"), 0)
    assert (refused.rejected, refused.unclaimed) == (
        "no serial profile reads it, and none calls a port 'attic:9600'",
        True,
    )


def test_a_line_that_is_sent_is_sealed_as_its_framing_wants() -> None:
    """A command on a line with checksums gets its own: 030 for partition 1 ends with C4."""
    values: dict[str, Any] = {}
    made = decoder(Catalogue.load(), values=values, profiles=["dsc-it100"])
    made.decode(delivery("house", b"6511"))
    assert made.encode("house/dsc:partition/1", "set_armed", "away")[1] == b"0301C4\r\n"


def test_keys_nobody_described_are_kept_each_by_its_name() -> None:
    """`per` over keys names a field by each of them, for one device, though other keys come the next time."""
    rest = '[[message]]\nper = "/{key:!node|what|value}"\nfields = [{ name = "ext.{key}", from = "/{key}" }]\n'
    pairs = 'format = { type = "pairs", leading = ["node"] }'
    board = BOARD.replace('format = { type = "split", sep = ";", names = ["node", "what", "value"] }', pairs) + rest
    made = decoder(compiled(board), profiles=["board"])
    said = [r.fields for r in made.decode(delivery("house", b"7;a=1;b=2")).readings]
    assert said == [{"ext.a": "1"}, {"ext.b": "2"}]
    assert [r.fields for r in made.decode(delivery("house", b"7;c=3;a=4")).readings] == [{"ext.c": "3"}, {"ext.a": "4"}]
