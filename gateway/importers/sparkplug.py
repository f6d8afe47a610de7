"""Sparkplug B: births name the metrics, data only their aliases, deaths end them; a gap in `seq` asks for a new birth.

Source: Eclipse Sparkplug 3.0.  Every message becomes JSON on a topic of our own (``$spb/...``), which the profile made
of the birth reads, so change detection, names and limits are those of every other dialect.  Historical values change
no state and raise no alarm: they leave as `reading_taken`.  Metrics are read only: what may be written a birth does
not say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import orjson

from gateway.clock import NS_PER_S
from gateway.importers import words
from gateway.importers.draft import Part, ext, token, unit_of
from gateway.importers.exposes import class_of
from gateway.importers.importer import DEVICES_MAX, Description, Rows, Taken
from gateway.importers.protobuf import BOOLEAN, NUMBERS, TEXTS, Malformed, Metric, Payload, read_payload, signed

PREFIX = "spBv1.0"
REBIRTH_EVERY_S = 60  # of one node
NODES_MAX = 500
METRICS_KEPT_MAX = 160  # of one node or device
NAME_CHARS_MAX = 200
HISTORY_MAX = 64  # times of historical values taken from one message

REBIRTH = bytes.fromhex("121a0a144e6f646520436f6e74726f6c2f52656269727468200b7001")
"""A payload with the one metric ``Node Control/Rebirth`` = true."""

BIRTHS, DATA, DEATHS = ("NBIRTH", "DBIRTH"), ("NDATA", "DDATA"), ("NDEATH", "DDEATH")
_MADE = "$spb"


class _Node:
    """What is known of an edge node in this run."""

    __slots__ = ("asked_ns", "seq")

    def __init__(self) -> None:
        self.seq: int | None = None
        self.asked_ns = 0


class Sparkplug:
    """Rows: ``<group>/<node>`` or ``<group>/<node>/<device>`` -> {b: bdSeq, m: [[name, alias, datatype, unit] ...]}."""

    name = "sparkplug"
    rank = 1

    def __init__(self, prefixes: Mapping[str, str], kept: Mapping[str, Any]) -> None:
        """Begin with the rows of an earlier run."""
        self.prefix = prefixes.get(PREFIX, PREFIX)
        self.rows = Rows(kept)
        self.rows.keep_only(lambda _, row: "b" in row and all(len(one) == 4 for one in row["m"]))
        self.yielded: set[str] = set()
        self._nodes: dict[str, _Node] = {}
        self._depth = self.prefix.count("/") + 1
        self._aliases: dict[str, dict[int, int]] = {}  # row's key -> alias -> place among its metrics

    def beside(self, names: Collection[str], is_read: Callable[[Iterable[str]], bool]) -> None:
        """Know nothing of the others."""

    def filters(self) -> Iterable[str]:
        """Return the namespace."""
        return (f"{self.prefix}/#",)

    def wants(self, topic: str) -> bool:
        """Return whether this is of the namespace."""
        return topic.startswith(f"{self.prefix}/")

    def explain(self, _topic: str, payload: bytes) -> dict[str, Any]:
        """Return the metrics as they are written; a host's state is JSON already."""
        try:
            message = read_payload(payload)
        except Malformed:
            return {}
        metrics = [
            {"name": m.name, "alias": m.alias, "timestamp": m.timestamp, "datatype": m.datatype,
             "historical": m.historical, "value": signed(m.value, m.datatype) if _is_shown(m) else None}
            for m in message.metrics
        ]  # fmt: skip
        return {"timestamp": message.timestamp, "seq": message.seq, "metrics": metrics}

    def described(self) -> Iterable[str]:
        """Return all nodes and devices."""
        return self.rows.keys("")

    def take(self, topic: str, payload: bytes, now_ns: int) -> Taken:
        """Take any message of the namespace."""
        levels = topic.split("/")[self._depth :]
        if levels[0] == "STATE":
            return Taken(why="the state of a host application")
        if len(levels) not in (3, 4) or len(topic) > NAME_CHARS_MAX or not topic.isprintable():
            return Taken(refused="no topic of Sparkplug B")
        group, kind, node = levels[:3]
        if kind in ("NCMD", "DCMD"):
            return Taken(why="a command")
        if kind not in (*BIRTHS, *DATA, *DEATHS) or (kind[0] == "D") is not (len(levels) == 4):
            return Taken(refused=f"{kind[:20]!r} is no message of Sparkplug B")
        try:
            message = read_payload(payload)
        except Malformed as error:
            return Taken(refused=f"no payload of Sparkplug B: {error}")
        at = f"{group}/{node}"
        key = "/".join([at, *levels[3:]])
        if kind in BIRTHS:
            return self._born(key, at, message, now_ns)
        if kind in DEATHS:
            return self._died(key, at, message, now_ns)
        return self._data(key, at, message, now_ns)

    # -- births and deaths ---------------------------------------------------------------------------------

    def _born(self, key: str, at: str, message: Payload, now_ns: int) -> Taken:
        node = self._node(at)
        if node is None or (self.rows.get(key) is None and len(self.rows) >= DEVICES_MAX):
            return Taken(refused=f"more than {NODES_MAX} nodes or {DEVICES_MAX} devices")
        taken = Taken(why="born")
        if key != at:
            self._follows(node, at, message, now_ns, taken)
        node.seq = message.seq
        metrics = [_kept(metric) for metric in message.metrics if _is_read(metric)][:METRICS_KEPT_MAX]
        row = {"b": _death_number(message), "m": metrics}
        if row != self.rows.get(key):
            if not self.rows.put(key, row):
                return Taken(refused=f"no room: {self.rows.bytes} bytes of {self.rows.bytes_max} are taken")
            self._aliases.pop(key, None)
            taken.changed.append(key)
        taken.readings += self._readings(key, message)
        taken.readings.append((f"{_made(key)}/online", b"true"))
        return taken

    def _died(self, key: str, at: str, message: Payload, now_ns: int) -> Taken:
        """Take a death: of a node and all behind it, or of a device. The will of an earlier session is none."""
        taken = Taken(why="a death of nothing that was born")
        node, row = self._nodes.get(at), self.rows.get(key)
        if key != at:
            if node is not None:
                self._follows(node, at, message, now_ns, taken)
            behind = [key] if row is not None else []
        else:
            number = _death_number(message)
            if row is not None and number is not None and row["b"] is not None and number != row["b"]:
                return Taken(why="the will of an earlier session")
            self._nodes.pop(at, None)
            behind = [at] * (row is not None) + self.rows.keys(f"{at}/")
        taken.readings += [(f"{_made(one)}/online", b"false") for one in behind]
        return taken

    # -- data ----------------------------------------------------------------------------------------------

    def _data(self, key: str, at: str, message: Payload, now_ns: int) -> Taken:
        taken, node = Taken(why="no birth was seen"), self._node(at)
        if node is None:
            return Taken(refused=f"more than {NODES_MAX} nodes")
        self._follows(node, at, message, now_ns, taken)
        if self.rows.get(key) is None:
            self._ask(node, at, now_ns, taken)
            return taken
        found = self._readings(key, message)
        if any(self._name(key, metric) is None for metric in message.metrics):
            self._ask(node, at, now_ns, taken)
        taken.readings += found
        return taken

    def _follows(self, node: _Node, at: str, message: Payload, now_ns: int, taken: Taken) -> None:
        """Look whether a message was lost before this one."""
        if message.seq is None:
            return
        if node.seq is not None and message.seq != (node.seq + 1) % 256:
            self._ask(node, at, now_ns, taken)
        node.seq = message.seq

    def _ask(self, node: _Node, at: str, now_ns: int, taken: Taken) -> None:
        """Ask a node to be born again, not more often than it may be asked."""
        if not taken.sends and (not node.asked_ns or not 0 <= now_ns - node.asked_ns < REBIRTH_EVERY_S * NS_PER_S):
            node.asked_ns = now_ns
            group, _, name = at.partition("/")
            taken.sends.append((f"{self.prefix}/{group}/NCMD/{name}", REBIRTH))

    def _node(self, at: str) -> _Node | None:
        found = self._nodes.get(at)
        if found is None and len(self._nodes) < NODES_MAX:
            found = self._nodes[at] = _Node()
        return found

    def _name(self, key: str, metric: Metric) -> list[Any] | None:
        """Return the row of a metric: by its alias, or by its own name."""
        metrics: list[list[Any]] = self.rows.get(key)["m"]
        places = self._aliases.get(key)
        if places is None:
            places = {each[1]: i for i, each in enumerate(metrics) if each[1] is not None}
            self._aliases[key] = places
        if metric.name is None:
            place = places.get(metric.alias) if metric.alias is not None else None
            return None if place is None else metrics[place]
        if not _is_read(metric):
            return [metric.name, None, None, ""]  # known, and nothing to report
        return next((each for each in metrics if each[0] == metric.name), None)

    def _readings(self, key: str, message: Payload) -> list[tuple[str, bytes]]:
        """Return what a message says now, and what it says of earlier times."""
        now: dict[str, Any] = {}
        earlier: dict[int, dict[str, Any]] = {}
        for metric in message.metrics:
            row = self._name(key, metric)
            if row is None or row[2] is None:
                continue
            at = metric.timestamp or message.timestamp or 0
            where = now if not metric.historical else earlier.setdefault(at, {})
            where[row[0]] = signed(metric.value, row[2])
            if len(earlier) > HISTORY_MAX:
                break
        made = _made(key)
        found = [(made, orjson.dumps({**now, "$t": message.timestamp}))] if now else []
        return found + [(f"{made}/history", orjson.dumps({**was, "$t": at})) for at, was in sorted(earlier.items())]

    # -- profiles ------------------------------------------------------------------------------------------

    def describe(self, key: str) -> Description | None:
        """Return a node or device as a profile."""
        row = self.rows.get(key)
        if row is None or set("{}") & set(key):
            return None
        part = Part()
        for name, _, datatype, unit in row["m"]:
            _field(part, name, datatype, unit)
        is_node = key.count("/") == 1
        if not (part.fields or is_node):
            return None
        made, fields = _made(key), list(part.fields.values())
        time = {"from": "/$t", "format": "unix_ms"}
        messages: list[dict[str, Any]] = [
            {"topics": [made], "fields": fields, "time": time},
            {"topics": [f"{made}/history"], "fields": fields, "event": "reading_taken",
             "time": {**time, "max_skew": "3650d"}},
            {"topics": [f"{made}/online"], "format": "text", "fields": [],
             "availability": {"map": {"true": True, "false": False}}},
        ]  # fmt: skip
        messages = messages if fields else messages[2:]
        document = {
            "title": key, "device_class": "gateway" if is_node else class_of(part.fields),
            "device": {"id": f"spb:{key}"}, "message": messages,
        }  # fmt: skip
        topics = tuple(str(message["topics"][0]) for message in messages)
        return Description(key=key, document=document, topics=topics, device=f"spb:{key}", name=key,
                           aliases={f"spb:{key}": f"spb:{key}"}, left_out=tuple(part.left_out))  # fmt: skip


def _field(part: Part, name: str, datatype: int, unit: str) -> None:
    """Add the field of a metric: by its last word and its unit, or as it is called."""
    last = name.rpartition("/")[2]
    tail = ext(name.replace("/", ".").replace(" ", "_"))
    try:
        pointer = f"/{token(name)}"
    except ValueError as error:
        part.leave(name, str(error))
        return
    if datatype in NUMBERS:
        found = words.number(last, unit)
        if found is not None and part.add(found[0], pointer, **found[1]):
            return
        rules: dict[str, Any] = {"type": "number", **unit_of("ext.x", unit)}
    elif datatype == BOOLEAN:
        field = words.boolean(last)
        if field is not None and part.add(field, pointer):
            return
        rules = {"type": "bool", "map": {"true": True, "false": False}}
    else:
        rules = {"type": "text"}
    if tail is None or not part.add(tail, pointer, **rules):
        part.leave(name, "no name for a field")


def _is_read(metric: Metric) -> bool:
    """Return whether a metric is one of the device, of a type that can be shown."""
    name = metric.name or ""
    if name == "bdSeq" or name.startswith(("Node Control/", "Device Control/")) or len(name) > NAME_CHARS_MAX:
        return False
    return _is_shown(metric) and name != "" and name.isprintable() and not name.startswith("$")


def _is_shown(metric: Metric) -> bool:
    """Return whether a value is one that people and JSON can read."""
    return not isinstance(metric.value, bytes) and metric.datatype in NUMBERS | TEXTS | {BOOLEAN, None}


def _kept(metric: Metric) -> list[Any]:
    return [metric.name, metric.alias, metric.datatype, metric.unit if metric.unit.isprintable() else ""]


def _death_number(message: Payload) -> int | None:
    found: Iterator[Any] = (metric.value for metric in message.metrics if metric.name == "bdSeq")
    value = next(found, None)
    return value if isinstance(value, int) else None


def _made(key: str) -> str:
    return f"{_MADE}/{key}"
