"""What a posted request says: topic from its path, payload from its body, in every form that devices use."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sources.http_message import PARTS_MAX, Refusal, identity, messages

JPEG = b"\xff\xd8\xff\xe0 \r\n--x\r\n\xff\xd9"
EVENT = {"specversion": "1.0", "id": "7", "source": "/cam", "type": "door_opened", "data": {"open": True}}


def post(body: bytes, content_type: str = "application/json", target: str = "/door/front", **headers: str) -> list:
    """Post and return (topic, payload) of each message."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return [tuple(each) for each in messages("POST", target, {"content-type": content_type, **named}, body)]


def test_a_path_is_a_topic_and_a_body_its_payload() -> None:
    """As it came, whatever is in it."""
    assert post(b'{"open": true}') == [("door/front", b'{"open": true}')]
    assert post(JPEG, "image/jpeg", "/cams/dr%20ive/snapshot/") == [("cams/dr ive/snapshot", JPEG)]


def test_a_query_and_a_form_become_json() -> None:
    """What is there twice is a list; a GET without a query has nothing to say but its path."""
    assert messages("GET", "/hook/a?x=1&x=2&y=", {}, b"")[0].payload == b'{"x":["1","2"],"y":""}'
    assert messages("GET", "/hook/a", {}, b"") == [("hook/a", b"")]
    assert post(b"temp=21.5&hum=48", "application/x-www-form-urlencoded; charset=utf-8")[0][1] == (
        b'{"temp":"21.5","hum":"48"}'
    )


def test_each_part_of_a_multipart_body_is_a_message() -> None:
    """Named parts under their names, others by number; the bytes of a picture are not touched."""
    body = (
        b'--BB\r\nContent-Disposition: form-data; name="event"\r\n\r\n<x/>\r\n'
        b'--BB\r\nContent-Disposition: form-data; name="snap"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
        + JPEG + b"\r\n--BB\r\n\r\nbare\r\n--BB--\r\n"
    )  # fmt: skip
    found = post(body, 'multipart/form-data; boundary="BB"', "/cam")
    assert found == [("cam/event", b"<x/>"), ("cam/snap", JPEG), ("cam/2", b"bare")]


def test_cloud_events_in_every_mode() -> None:
    """Structured, batched, binary: each is one message, the event as JSON."""
    structured = json.dumps(EVENT).encode()
    assert post(structured, "application/cloudevents+json") == [("door/front", structured)]
    batch = post(json.dumps([EVENT, EVENT]).encode(), "application/cloudevents-batch+json")
    assert [json.loads(payload) for _, payload in batch] == [EVENT, EVENT]
    head = {"ce_specversion": "1.0", "ce_id": "7", "ce_source": "/cam", "ce_type": "door_opened"}
    ((_, payload),) = post(b'{"open": true}', **head)
    assert json.loads(payload) == EVENT
    ((_, payload),) = post(JPEG, "image/jpeg", **head)
    assert json.loads(payload)["data_base64"]


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (400, "application/cloudevents+json", b"{"),
        (400, "application/cloudevents+json", b'{"id": "1"}'),
        (400, "application/cloudevents-batch+json", b"{}"),
        (400, "application/cloudevents-batch+json", b"[1]"),
        (400, "application/x-www-form-urlencoded", b"\xff"),
        (400, "application/x-www-form-urlencoded", b"&".join(b"a=1" for _ in range(300))),
        (400, "multipart/form-data", b"--x--"),
        (400, "multipart/form-data; boundary=x", b"--x\r\nhead only"),
        (413, "multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n" * (PARTS_MAX + 1) + b"--x--"),
        (404, "multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="#"\r\n\r\n1\r\n--x--'),
    ],
)
def test_what_cannot_be_read_is_refused(status: int, kind: str, body: bytes) -> None:
    """Each with its status, and nothing of it is taken."""
    with pytest.raises(Refusal) as refused:
        post(body, kind)
    assert refused.value.status == status


@pytest.mark.parametrize("target", ["/", "/a/+/b", "/%00", "/%ff", "/" + "x" * 600, "/a%0ab"])
def test_a_path_that_is_no_topic_is_not_found(target: str) -> None:
    """Nothing to subscribe to, nothing to fill a log with."""
    with pytest.raises(Refusal) as refused:
        post(b"", target=target)
    assert refused.value.status in (400, 404)
    with pytest.raises(Refusal) as refused:
        messages("DELETE", "/a", {}, b"")
    assert refused.value.status == 405


def test_what_tells_a_repeat() -> None:
    """A key of its own, or the event's source and id."""
    structured = json.dumps(EVENT).encode()
    assert identity({"idempotency-key": "k"}, b"") == "k"
    assert identity({"content-type": "application/cloudevents+json"}, structured) == "/cam 7"
    assert identity({"ce-id": "7", "ce-source": "/cam"}, b"") == "/cam 7"
    assert identity({"content-type": "application/json"}, structured) == ""
    assert identity({"idempotency-key": "k" * 1000}, b"") == ""


@given(
    st.sampled_from(["GET", "POST", "PUT", "HEAD"]),
    st.text(max_size=40),
    st.sampled_from(["multipart/form-data; boundary=b", "application/cloudevents+json", "x", "multipart/x; boundary"]),
    st.binary(max_size=200) | st.just(b"--b\r\n\r\n\r\n--b--"),
)
def test_nothing_raises_but_a_refusal(method: str, path: str, kind: str, body: bytes) -> None:
    """Whatever comes."""
    identity({"content-type": kind}, body)
    with suppress(Refusal):
        messages(method, "/" + path, {"content-type": kind, "ce-specversion": path}, body)
