"""What devices post, as messages: a request's path is a topic, its body a payload (sans-io).

=====================================  ===========================================================================
request                                messages
=====================================  ===========================================================================
GET /door/front?open=1                 topic ``door/front``, the query as JSON: ``{"open": "1"}``; without one, empty
POST, any type not below               the body as it is
POST application/x-www-form-urlencoded the form as JSON, like a query
POST multipart/form-data               each part is a message: its name is one more level of the topic
POST application/cloudevents+json      the event as it is (CloudEvents 1.0 HTTP binding, structured mode)
POST application/cloudevents-batch+json each event is a message
POST with ce-* headers                 the event as JSON (binary mode)
=====================================  ===========================================================================

Nothing here is believed: what is too long, too many or cannot be read is a `Refusal` with its status.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from email.message import Message
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
import orjson

from gateway.topic import is_name

TOPIC_CHARS_MAX: Final = 512
FIELDS_MAX: Final = 200  # of a query or a form
PARTS_MAX: Final = 16  # of a multipart body
EVENTS_MAX: Final = 500  # of a batch
KEY_CHARS_MAX: Final = 256  # of an identity that tells repeats
EVENT, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
FORM = "application/x-www-form-urlencoded"


class Posted(NamedTuple):
    """One message."""

    topic: str
    payload: bytes


class Refusal(Exception):
    """A request that is not taken: status and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class _Identity(msgspec.Struct):
    id: str
    source: str


def messages(method: str, target: str, headers: Mapping[str, str], body: bytes) -> list[Posted]:
    """Return what a request says; header names are in lower case. Raises Refusal."""
    path, _, query = target.partition("?")
    topic = _topic(path)
    if method == "GET":
        return [Posted(topic, _pairs(query) if query else b"")]
    if method not in ("POST", "PUT"):
        raise Refusal(405, "GET, POST or PUT")
    kind, parameters = _content_type(headers.get("content-type", ""))
    if kind == BATCH:
        return [Posted(topic, event) for event in _batch(body)]
    if kind == EVENT:
        return [Posted(topic, _checked(body))]
    if "ce-specversion" in headers:
        return [Posted(topic, _binary(headers, kind, body))]
    if kind == FORM:
        return [Posted(topic, _pairs(_text(body)))]
    if kind.startswith("multipart/"):
        return _parts(topic, parameters.get("boundary", ""), body)
    return [Posted(topic, body)]


def identity(headers: Mapping[str, str], body: bytes) -> str:
    """Return what tells a repeated request from another: its key, or the event's source and id; else nothing."""
    key = headers.get("idempotency-key", "")
    if not key and "ce-id" in headers:
        key = f"{headers.get('ce-source', '')} {headers['ce-id']}"
    elif not key and _content_type(headers.get("content-type", ""))[0] == EVENT:
        try:
            event = msgspec.json.decode(body, type=_Identity)
        except msgspec.DecodeError:
            return ""
        key = f"{event.source} {event.id}"
    return key if len(key) <= KEY_CHARS_MAX else ""


def _topic(path: str) -> str:
    try:
        topic = unquote_to_bytes(path).decode().strip("/")
    except UnicodeDecodeError:
        raise Refusal(400, "the path is not UTF-8") from None
    if not is_name(topic) or len(topic) > TOPIC_CHARS_MAX or not topic.isprintable():
        raise Refusal(404, f"the path is a topic of at most {TOPIC_CHARS_MAX} characters, as in /door/front")
    return topic


def _content_type(text: str) -> tuple[str, dict[str, str]]:
    """Read a Content-Type with its parameters."""
    message = Message()
    message["content-type"] = text.replace("\n", " ").replace("\r", " ")
    found = message.get_params(failobj=[])
    kind = text.partition(";")[0].strip().lower()
    return kind, {name.lower(): value for name, value in found[1:]}


def _pairs(text: str) -> bytes:
    """Turn a query or form into JSON; what is there several times becomes a list."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise Refusal(400, f"no form of at most {FIELDS_MAX} fields in UTF-8") from None
    found: dict[str, Any] = {}
    for name, value in pairs:
        before = found.get(name)
        found[name] = value if before is None else [*before, value] if isinstance(before, list) else [before, value]
    return orjson.dumps(found)


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Refusal(400, "the form is not UTF-8") from None


def _checked(body: bytes) -> bytes:
    """Return a CloudEvent that has what it needs."""
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"no CloudEvent: {error}") from None
    missing = [name for name in ("id", "source", "type") if not isinstance(event, dict) or not event.get(name)]
    if missing:
        raise Refusal(400, f"no CloudEvent: {', '.join(missing)} missing")
    return body


def _batch(body: bytes) -> list[bytes]:
    try:
        events = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"no batch of CloudEvents: {error}") from None
    if not isinstance(events, list) or len(events) > EVENTS_MAX:
        raise Refusal(400, f"a batch is a list of at most {EVENTS_MAX} CloudEvents")
    return [_checked(orjson.dumps(event)) for event in events]


def _binary(headers: Mapping[str, str], kind: str, body: bytes) -> bytes:
    """Turn an event in binary mode into one in structured mode."""
    event: dict[str, Any] = {name[3:]: value for name, value in headers.items() if name.startswith("ce-")}
    if body and (kind.endswith(("/json", "+json")) or not kind):
        try:
            event["data"] = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Refusal(400, f"data of the CloudEvent: {error}") from None
    elif body:
        event["data_base64"] = base64.b64encode(body).decode()
    return _checked(orjson.dumps(event))


def _parts(topic: str, boundary: str, body: bytes) -> list[Posted]:
    """Take a multipart body apart (RFC 2046 section 5.1, RFC 7578)."""
    if not boundary or len(boundary) > 70:
        raise Refusal(400, "multipart without a boundary")
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise Refusal(400, "a multipart body that does not end")
    if len(pieces) - 2 > PARTS_MAX:
        raise Refusal(413, f"more than {PARTS_MAX} parts")
    found = []
    for number, piece in enumerate(pieces[1:-1]):
        head, separator, content = piece.partition(b"\r\n\r\n")
        if not separator:
            raise Refusal(400, "a part without a head")
        found.append(Posted(f"{topic}/{_name_of(head) or number}", content))
    for part in found:
        _topic(part.topic)
    return found


def _name_of(head: bytes) -> str:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-disposition":
            message = Message()
            message["content-disposition"] = value.decode("utf-8", "replace").strip()
            said = message.get_param("name", header="content-disposition")
            return said if isinstance(said, str) else ""
    return ""
