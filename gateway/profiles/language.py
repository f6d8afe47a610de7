"""The profile language, version 1: what a file in device_profiles/ may say.

A profile is data; each Struct here is one table of the TOML file and each field one key. Unknown keys are
errors. `compile.py` turns a `Profile` into functions once, at load; nothing here is read per message.

Two levels deep on purpose (TOML's inline tables are one line): ``[link] [decode] [device] [[field]] [time]``
describe one shape of message; a dialect with several shapes has one ``[[message]]`` each, which inherits what
it leaves out. ``docs/guides/add-a-device.md`` shows it by example. Durations are text: "500ms", "30s", "1h".
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from gateway.framing.options import Framing
from gateway.profiles.formats.formats import Tabled
from gateway.profiles.times import Form
from gateway.profiles.vocabulary import FieldType

Pointers = str | list[str]
Retained = Literal["state", "drop", "event"]
Format = Literal["json", "text", "auto", "blob"] | Tabled
RegisterType = Literal[
    "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "bit"
]  # of a polled value
Words = Literal["high-first", "low-first"]  # which 16 bits of a larger value come first
_Poll = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_-]*$", max_length=32)]
_Address = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
_Word = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
_Key = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
_Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=64)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class Condition(_Table, frozen=True):
    """True when what is at `path` exists (or not), equals one of these as text, or is a number of this range."""

    path: str | None = None
    learned: _Key | None = None  # instead of a path: what a [[learn]] has remembered of the device
    exists: bool | None = None
    equals: str | int | float | bool | list[str | int | float | bool] | None = None
    within: Annotated[list[float], msgspec.Meta(min_length=2, max_length=2)] | None = None  # both ends belong to it

    def __post_init__(self) -> None:
        """Check that it says one thing."""
        if (self.path is None) == (self.learned is None):
            raise ValueError("a condition has either `path` or `learned`")
        if [self.exists, self.equals, self.within].count(None) != 2:
            raise ValueError("a condition has one of `exists`, `equals` and `within`")


class UnitFrom(_Table, frozen=True):
    """The unit stands in the message: its text at `from`, mapped to a unit."""

    source: Pointers = msgspec.field(name="from")
    map: dict[str, str]


class Span(_Table, frozen=True):
    """A straight line by two points, as data sheets write it: raw 255 to 0 is 0 to 40 degrees. Beyond it: unknown."""

    raw: Annotated[list[float], msgspec.Meta(min_length=2, max_length=2)]
    value: Annotated[list[float], msgspec.Meta(min_length=2, max_length=2)]  # in the field's `unit`

    def __post_init__(self) -> None:
        """Check that it is a line."""
        if self.raw[0] == self.raw[1]:
            raise ValueError("the two `raw` of a span are the same")


class Guard(_Table, frozen=True):
    """A value below `if_below` is already in `unit` (makers disagree whether 3.0 is V or mV)."""

    if_below: float
    unit: str


class Force(_Table, frozen=True):
    """A value that holds whatever the field itself says: a mode is "off" while the device is switched off."""

    when: Condition
    value: bool | int | float | str


class Report(_Table, frozen=True):
    """When a change is worth an event. Default: every change, once."""

    deadband: Annotated[float, msgspec.Meta(ge=0)] = 0.0  # canonical unit; a smaller change is none
    min_interval: str = ""  # a change before that is held back as pending
    max_silence: str = ""  # the same value again after that is an event


class Field(_Table, frozen=True):
    """One value of the vocabulary and where it is in the message."""

    name: str  # of the vocabulary; may hold {captures} of the topic
    source: Pointers = msgspec.field(name="from", default="")  # first one present wins
    value: bool | int | float | str | None = None  # this, whenever `when` holds: a sensor that only says "open"
    type: FieldType | RegisterType | None = None  # default: the vocabulary's, or a register as it stands
    words: Words | None = None  # of a register type; default: the poll's
    mask: Annotated[int, msgspec.Meta(gt=0)] | None = None  # of a register: these bits, moved down to bit 0
    map: dict[str, bool | int | float | str] = {}  # text form of the raw value -> value
    fallback: bool | int | float | str | None = msgspec.field(name="else", default=None)  # raw goes to data.raw
    unit: str | None = None  # the source's; default: the vocabulary's
    unit_from: UnitFrom | None = None
    numeral: Literal["decimal", "hex"] = "decimal"  # of a number sent as text
    sign: Literal["none", "twos", "magnitude"] = "none"  # of a raw number that is read as unsigned
    bits: Annotated[int, msgspec.Meta(ge=2, le=64)] | None = None  # of it; default: of the hex digits, or 16
    scale: float = 1.0  # applied before the unit: raw * scale + offset
    offset: float = 0.0
    span: Span | None = None  # instead of scale and offset
    guard: Guard | None = None
    null: list[str | int | float | bool] = []  # raw values that mean "unknown"
    range: Annotated[list[float], msgspec.Meta(min_length=2, max_length=2)] | None = None  # raw; outside: unknown
    valid_if: Condition | None = None  # otherwise unknown
    when: list[Condition] = []  # otherwise absent
    invertible: bool = False  # devices.toml may say invert = true
    if_kind: dict[str, str] = {}  # family of the device's kind -> the field this is then
    force: list[Force] = []  # of a field with a `map`: the first that holds
    momentary: bool = False  # an event each time, no state (buttons)
    counter: str | None = None  # of a momentary field: where its count stands; no event unless that has moved
    auto_reset: str = ""  # true is false again after this long without another true (a motion that never clears)
    event: str | None = None  # raise this instead of the vocabulary's type
    report: Report | Literal["never"] | None = None
    group: str = ""  # of a [[field]] that only messages with `fields = "<group>"` read


class Time(_Table, frozen=True):
    """When the device says it happened. Off by more than `max_skew`, the gateway's time is used."""

    source: Pointers = msgspec.field(name="from")
    format: Form = "auto"
    max_skew: str = "1d"
    historical: Condition | None = None  # then it is of the past, however old: an event, but not the device's state


class Availability(_Table, frozen=True):
    """Online or not. In a [[message]] `topics` is the message's own."""

    map: dict[str, bool] = {}
    topics: list[str] = []
    after_failures: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None  # polls in a row without an answer
    source: Pointers = msgspec.field(name="from", default="")
    device: str | None = None  # id; default: the profile's
    scope: Literal["device", "parent"] = "device"  # parent: everything behind it (`via`) is gone with it
    heartbeat: str = ""  # silent for so long is offline, whatever it said; heard again is online
    sleepy: bool = False  # it says "offline" whenever it sleeps: that is no news, only silence is
    removed: str | None = None  # this text says the device was removed
    agree: Literal["latest", "all", "any"] = "latest"  # several topics: which of them must say that it is online
    retained: Retained = "state"


class EventFrom(_Table, frozen=True):
    """The event's type, read from the message."""

    source: Pointers = msgspec.field(name="from")
    map: dict[str, str]


class EmitIf(_Table, frozen=True):
    """Raise the event only if one of these differs from the device's last event with the same `key`."""

    any_changed: Annotated[list[str], msgspec.Meta(min_length=1)]


class Blob(_Table, frozen=True):
    """Bytes that are not decoded: checked by size and first bytes, and described by hash."""

    mime: str
    magic: str  # hexadecimal
    bytes_max: Annotated[int, msgspec.Meta(gt=0, le=16_000_000)] = 2_000_000
    encoding: Literal["raw", "base64"] = "raw"  # base64 also takes a data URI
    label: str | None = None  # may hold {captures}


class Dedup(_Table, frozen=True):
    """The same again within `window` is none: radio that repeats itself, one event on two topics.

    It is the same when everything at `key` is; without a `key`, when all is but what `ignore` names.
    """

    window: str
    key: list[str] = []
    ignore: list[str] = []

    def __post_init__(self) -> None:
        """Check that it says one thing."""
        if self.key and self.ignore:
            raise ValueError("`dedup` has either `key` or `ignore`")


class Link(_Table, frozen=True):
    """Where messages come in: topics of a broker, or the frames of a serial line."""

    kind: Literal["mqtt", "serial"] = "mqtt"
    topics: list[str] = []  # mqtt: templates with {captures}
    exclude: list[str] = msgspec.field(name="except", default=[])
    ignore: list[str] = []  # topics that are known and hold nothing to report
    retained: Retained = "state"
    dedup: Dedup | None = None  # of every message that has none of its own
    baud: Annotated[int, msgspec.Meta(ge=50, le=4_000_000)] | None = None  # serial: bits a second
    mode: Annotated[str, msgspec.Meta(pattern=r"^[5-8][NEO](1|1\.5|2)$")] = "8N1"  # serial: bits, parity, stop bits
    framing: Framing | None = None  # serial: where a frame begins and ends, and what proves it
    ports: list[_Word] = []  # serial: words such a port is usually called, for `profiles decode`
    asks: Literal["modbus-rtu", "heatmiser-v3"] | None = None  # with [[poll]]: how; default: as the framing is called
    timeout: str = "500ms"  # with [[poll]]: how long an answer may take
    retries: Annotated[int, msgspec.Meta(ge=0, le=10)] = 2  # with [[poll]]: further tries of one request
    pause: str = ""  # with [[poll]]: how long a unit wants to be left alone between requests


class Poll(_Table, frozen=True):
    """A request that is repeated; fields read its answer as ``from = "<poll>/<register>"``.

    Registers are numbered as on the wire, from 0: a manual's 40002 is register 1 of function 3, its 30003 register 2
    of function 4, coil 00001 is bit 0 of function 1.
    """

    name: _Poll
    every: str
    function: Literal[0, 1, 2, 3, 4]  # coils, inputs, holding registers, input registers; 0: the block (Heatmiser)
    start: _Address
    count: Annotated[int, msgspec.Meta(ge=1, le=2000)] = 1  # registers (at most 125) or bits
    words: Words = "high-first"


class Decode(_Table, frozen=True):
    """How messages are read: that of a profile without [[message]], and what each [[message]] leaves out."""

    format: Format = "json"
    when: list[Condition] = []  # of a profile without [[message]]
    skip: list[Condition] = []  # any of these: seen, understood, nothing to report; for each [[message]] too


class Device(_Table, frozen=True):
    """Which device it is: `id` is ``<dialect>:<name>``; `name` is what the dialect's own software calls it."""

    id: str
    name: str | None = None
    via: str | None = None  # id of the device it is behind (its bridge, its gateway): offline when that is
    installed: bool = False  # messages cannot say what it is: devices.toml must name this profile for the device


class Message(_Table, frozen=True):
    """One shape of message. What it leaves out is the profile's."""

    topics: list[str] = []  # mqtt: needed; serial: every frame of the port, unless it is a reply to a poll
    exclude: list[str] = msgspec.field(name="except", default=[])
    format: Format | None = None
    when: list[Condition] = []
    root: str = ""  # pointers start here
    each: str | None = None  # one reading for every member this finds; pointers start at the member
    per: str | None = None  # one reading for every match; pointers start at the message and may use its captures
    skip: list[Condition] = []  # seen, understood, nothing to report
    device: str | None = None
    name: str | None = None
    device_class: str | None = None
    retained: Retained | None = None
    dedup: Dedup | None = None
    fields: list[Field] | str | None = None  # or the name of a group of [[field]]; default: those of no group
    event: str | EventFrom | None = None  # the message is one event that carries its fields
    key: str | None = None  # identity of what the event is about
    emit_if: EmitIf | None = None
    time: Time | None = None
    blob: Blob | None = None
    availability: Availability | None = None


class LearnFrom(_Table, frozen=True):
    """A word that stands in the message; with a `map`, what its text means ("else": any other)."""

    source: Pointers = msgspec.field(name="from")
    map: dict[str, str] = {}


class Learn(_Table, frozen=True):
    """A message that says what later ones do not: remembered for the device, also over restarts.

    A word called `profile` names the profile that reads the device, where `[device] installed` asks for one.
    """

    set: dict[_Key, str | LearnFrom]  # name -> a word, also with {captures} and {/pointers}, or where it stands
    when: list[Condition] = []
    topics: list[str] = []  # mqtt; default: those of [link]
    device: str | None = None  # whose; default: the profile's


class Argument(_Table, frozen=True):
    """What a command takes. Numbers are in the canonical unit, snapped to `step`."""

    type: Literal["number", "bool", "enum", "text"]
    unit: str | None = None  # canonical
    min: float | None = None
    max: float | None = None
    step: float | None = None
    values: list[str] = []


class Confirm(_Table, frozen=True):
    """How one knows that the device did it. Without one of the three: its `field` says so."""

    within: str  # behind the sending; then it is sent again, or has failed
    field: str | None = None  # this field has the value; default: the command's
    topic: str | None = None  # mqtt: what was sent comes back on this topic, which a message of the profile reads
    readback: str | None = None  # of a write: the poll that shows it, as "state" or "state/4"

    def __post_init__(self) -> None:
        """Check that it says one thing."""
        if sum(each is not None for each in (self.field, self.topic, self.readback)) > 1:
            raise ValueError("`confirm` has one of `field`, `topic`, `readback`")


class Write(_Table, frozen=True):
    """One request that a command sends to a polled unit. What it leaves out is inherited from the command's `field`.

    That is type, words, scale, offset, unit (also one that stands in a register) and map, all the other way round.
    """

    function: Literal[1, 5, 6, 16]  # one coil, one register, several registers; 1: bytes of the block (Heatmiser)
    register: _Address
    when: list[str] | str = []  # for these arguments, instead of the requests without a `when`
    value: int | None = None  # always this
    values: list[int] = []  # always these (function 16)
    map: dict[str, int] = {}  # text of the argument -> register
    type: RegisterType | None = None
    words: Words | None = None
    scale: float | None = None  # of the reading: register * scale + offset
    offset: float | None = None
    unit: str | None = None
    once: bool = False  # never repeated: a pulse


class Command(_Table, frozen=True):
    """A command: argument -> where to, and bytes. ``$value`` stands for what is sent.

    In a key of `json`, ``"$key:setpoint.heat"`` is the key under which the device last reported that field. ``{name}``
    is what a topic captured of the device, ``{/node}`` what its id is made of.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
    topic: str = ""  # mqtt: needed; serial: the port the device was heard on
    arg: Argument | None = None
    field: str | None = None  # the field it sets
    map: dict[str, str | int | float | bool] = {}  # text form of the argument -> what is sent
    unit: str | None = None  # the device's unit, when it is not the canonical one
    scale: float = 1.0  # the field's: the value is divided by it and sent as a whole number
    inverse: bool = False  # instead of the three: what the `field` would read as the value (map, unit, scale, span)
    json: dict[str, Any] | None = None
    text: str | None = None
    line: str | None = None  # serial: text, with the line's end
    hex: str | None = None  # serial: bytes; $value is one byte, $value:2 two, $value:2le two with the low one first
    write: Write | list[Write] | None = None  # to a polled unit
    device_class: str | None = None  # only for devices of this class (a profile with several)
    needs: list[str] = []  # captures a device must have to take it, beside those it uses
    confirm: Confirm | None = None
    rate: str = ""  # at least so long between two of them to one device: what comes earlier waits, the newest wins
    expires: str = ""  # it may wait so long for a device that sleeps; default: as long as any command
    once: bool = False  # doing it twice is something else (toggle, step, ring): never sent again

    def __post_init__(self) -> None:
        """Check that there is one payload."""
        if sum(each is not None for each in (self.json, self.text, self.line, self.hex, self.write)) != 1:
            raise ValueError("a command has one of `json`, `text`, `line`, `hex`, `write`")


class Profile(_Table, frozen=True):
    """A file in device_profiles/. Its name is the id."""

    schema: Literal[1]
    id: _Name
    title: str
    device_class: str
    device: Device
    maker: str = ""
    manual: str = ""  # where the dialect is described in public
    link: Link = Link()
    decode: Decode = Decode()
    field: list[Field] = []
    message: list[Message] = []
    poll: list[Poll] = []  # of a serial link: what is asked
    learn: list[Learn] = []
    time: Time | None = None
    availability: Availability | None = None
    command: list[Command] = []

    def fields_of(self, message: Message) -> list[Field]:
        """Return the fields a message reads: its own, a group's, or those of no group."""
        if isinstance(message.fields, list):
            return message.fields
        return [field for field in self.field if field.group == (message.fields or "")]
