"""What the gateway and its rule worker say to each other: msgpack frames over a socketpair.

A frame is its length (4 bytes, little endian) and a msgpack array whose first element names the message.
The gateway sends `Load` once, answered by `Ready`; then, to a worker that is to test files, `Try`, answered by
`Tried`; or, to one that is to run them, `Start` once with all tables, then `Batch`, `Inventory` and `Ask`, and gets
one `Outcome` for each batch, in order, and one `Answer` for each `Ask`.  Either side that reads a frame it can't
understand gives the other up.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from gateway.event import Event
from gateway.rules.language.acting import AS_USUAL, Acting
from gateway.rules.options import Location
from gateway.rules.walls.enforced import Enforced

FRAME_BYTES_MAX = 64 * 1024 * 1024  # `Load` carries all files, `Start` all tables; anything longer is a broken peer
FROM_WORKER_BYTES_MAX = 16 * 1024 * 1024  # of a frame of a worker, in which rules may do as they like
LENGTH = struct.Struct("<I")

DOUBLE = "there is a rule "  # what a fault about two rules of one name begins with: it may be due to either file

NOT_PYTHON = "not Python: "  # what a fault of a text that can't be compiled begins with

Verdict = tuple[int, bool | dict[str, Any], str]
"""What gates say of a record: its sequence; that it goes, is dropped, or goes with these data; which gates did that."""

Put = tuple[str, str, Any]
"""A change of a durable table: table, key, value (None deletes)."""


class DeviceEntry(msgspec.Struct, frozen=True, array_like=True):
    """A device as the installation knows it (devices.toml, or seen and not yet adopted)."""

    id: str
    name: str = ""
    room: str = ""
    kind: str = ""
    labels: tuple[str, ...] = ()


class Blamed(msgspec.Struct, frozen=True, array_like=True):
    """A call that ended a worker: it is not run again but counted as failed, for `reason`."""

    rule: str
    sequence: int
    ordinal: int
    reason: str


class RuleInfo(msgspec.Struct, frozen=True, array_like=True):
    """A loaded rule, as `rules list` shows it."""

    name: str
    title: str
    trigger: str
    file: str
    line: int
    actor: str = ""  # rule:<name>@<version>: who its outputs are by


class GateInfo(msgspec.Struct, frozen=True, array_like=True):
    """Which events are held until a gate has decided about them, and what becomes of them when it does not."""

    name: str
    types: tuple[str, ...]
    device: tuple[str, ...] = ()
    room: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    closed: bool = False  # dropped; else they go
    file: str = ""  # name in the folder of rules
    lost: bool = False  # its file is left out, so that nobody decides


class RuleFault(msgspec.Struct, frozen=True, array_like=True):
    """Something wrong with a rule or a file of rules: at load (`rule` empty) or in a call."""

    rule: str
    file: str
    line: int
    what: str
    hint: str = ""
    stack: str = ""
    attempts: int = 0

    def __str__(self) -> str:
        """Render as ``file:line: what (hint)``."""
        where = f"{self.file}:{self.line}: " if self.line else self.file and f"{self.file}: "
        return f"{where}{self.what}" + (f" ({self.hint})" if self.hint else "")


class Load(msgspec.Struct, array_like=True, tag="load"):
    """The rule files to load, as they were read."""

    folder: str  # where they are: for what faults and stacks say
    files: dict[str, bytes]  # by name below the folder
    devices: list[DeviceEntry]
    modes: tuple[str, ...]
    recipients: tuple[str, ...]  # and groups: who can be told
    memory_bytes_max: int
    packages: str = ""  # folder of packages of rules' own
    last: list[str] = []  # to be run after the others: when two rules have one name, theirs is the fault
    excluded: dict[str, tuple[int, str]] = {}  # path -> line, and why it is not loaded (it hung or killed a worker)
    grants: dict[str, tuple[str, ...]] = {}  # file name, or "" for all -> what the installation opens for it
    located: bool = True  # it is known where the house is
    acting: Acting = AS_USUAL


class Try(msgspec.Struct, array_like=True, tag="try"):
    """Run the tests that files carry; nothing else is asked of this worker."""

    files: list[str]  # names below the folder


class Start(msgspec.Struct, array_like=True, tag="start"):
    """Everything a worker that has loaded needs to go on where the last committed outcome ended."""

    gateway: str
    log_id: str
    devices: list[DeviceEntry]
    modes: tuple[str, ...]
    timezone: str
    tables: dict[str, dict[str, Any]]
    blamed: list[Blamed]
    late_s: float
    complete: bool = True  # no file is left out: what belongs to no rule belongs to nobody
    kept_s: float = 7 * 86400.0  # how long what belongs to a removed rule is kept
    careful_upto: int = 0  # up to this sequence each call is announced, and looked behind
    location: Location | None = None


class Batch(msgspec.Struct, array_like=True, tag="batch"):
    """Records of the journal in order, as stored."""

    raws: list[bytes]
    upto: int  # sequence of the last one
    now_ns: int  # wall clock of the gateway
    live_after: int  # records with a greater sequence were appended since the gateway started


class Inventory(msgspec.Struct, array_like=True, tag="inventory"):
    """Devices added or changed since the start; and what is so with all of them, where that is others now."""

    devices: list[DeviceEntry]
    acting: Acting | None = None
    gone: tuple[str, ...] = ()  # ids whose last values nobody knows any more


class Ask(msgspec.Struct, array_like=True, tag="ask"):
    """A person's question, answered between two batches."""

    number: int
    what: str
    arguments: dict[str, Any] = {}


class Answer(msgspec.Struct, array_like=True, tag="answer"):
    """What was asked for; or, with `error`, why not."""

    number: int
    value: Any = None
    error: str = ""


class Ready(msgspec.Struct, array_like=True, tag="ready"):
    """What was loaded, and which events it wants to see."""

    rules: list[RuleInfo]  # the index is what the blame slot names
    faults: list[RuleFault]
    types: list[str]  # event types rules react to
    fields: list[str] | None  # fields rules may read; None = any
    hash: str  # of all files
    uses: dict[str, list[str]] = {}  # file -> what of lib it depends on; names below the folder
    tested: list[str] = []  # files that carry tests
    enforced: Enforced = Enforced()
    gates: list[GateInfo] = []


class Step(msgspec.Struct, array_like=True, tag="step"):
    """A file is about to be run; or a call is about to be made, while nobody knows why the last worker ended."""

    rule: int
    sequence: int
    ordinal: int
    file: str = ""


class Tried(msgspec.Struct, array_like=True, tag="tried"):
    """How the tests went."""

    tests: int
    faults: list[RuleFault]


class Outcome(msgspec.Struct, array_like=True, tag="outcome"):
    """What rules made of the records up to `upto`: appended in one journal batch, with the cursor."""

    upto: int
    outputs: list[Event] = []
    puts: list[Put] = []
    faults: list[RuleFault] = []
    fired: dict[str, int] = {}  # rule -> calls that went well
    logs: list[tuple[str, str]] = []  # (rule, text)
    gated: list[Verdict] = []

    @property
    def empty(self) -> bool:
        """Return whether nothing but the cursor moved."""
        return not (self.outputs or self.puts or self.faults or self.fired or self.logs or self.gated)


ToWorker = Load | Try | Start | Batch | Inventory | Ask
FromWorker = Ready | Tried | Outcome | Step

encode = msgspec.msgpack.Encoder().encode
decode_to_worker = msgspec.msgpack.Decoder(ToWorker).decode
decode_from_worker = msgspec.msgpack.Decoder(FromWorker | Answer).decode


def frame(message: ToWorker | FromWorker | Answer) -> bytes:
    """Encode a message with its length in front."""
    body = encode(message)
    return LENGTH.pack(len(body)) + body
