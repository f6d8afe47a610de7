"""The simulated web service, asked by the standard library's client."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from pathlib import Path

import pytest

from simulators.cloud_http import JSON, JSON_BATCH, Answer, CloudHttp

ROOT = Path(__file__).parent.parent.parent
EVENT = {
    "specversion": "1.0",
    "id": "a-1",
    "source": "/gw/house",
    "type": "door_opened",
    "subject": "d",
    "data": {"n": 1},
}


def post(port: int, body: object, content_type: str = JSON) -> tuple[int, bytes]:
    """POST once."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/events", json.dumps(body), {"Content-Type": content_type})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_it_takes_events_and_answers_by_its_script() -> None:
    """Scripted answers are used up one a request, then it takes events; only those it took are accepted."""
    with CloudHttp(answers=["429:3", "500"]) as cloud:
        assert [post(cloud.port, EVENT)[0] for _ in range(3)] == [429, 500, 200]
        assert post(cloud.port, [EVENT, EVENT], JSON_BATCH)[0] == 200
        assert cloud.arrived() == ["a-1"] * 3


def test_what_is_no_cloudevent_is_refused() -> None:
    """A body without the mandatory attributes, or of another type, is a 400 and not accepted."""
    with CloudHttp() as cloud:
        assert post(cloud.port, {"id": "x"})[0] == 400
        assert post(cloud.port, EVENT, "application/json")[0] == 400
        assert post(cloud.port, EVENT, JSON_BATCH)[0] == 400
        assert cloud.accepted == []


def test_an_event_can_be_poison() -> None:
    """A pattern over id, subject or n decides about requests that hold such an event."""
    with CloudHttp(poison={"1": "413"}) as cloud:
        assert post(cloud.port, EVENT)[0] == 413
        assert post(cloud.port, {**EVENT, "data": {"n": 2}})[0] == 200


def test_an_answer_that_does_not_exist_is_refused() -> None:
    """A script with a misspelt answer does not start."""
    with pytest.raises(ValueError, match="not an answer"):
        Answer.parse("resett")


def test_it_runs_by_itself_and_writes_a_ledger(tmp_path: Path) -> None:
    """As a program it says where it listens and writes what it accepted, one event a line."""
    ledger = tmp_path / "got.ndjson"
    command = [sys.executable, "-m", "simulators.cloud_http", "--port", "0", "--ledger", str(ledger)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            port = json.loads(process.stdout.readline())["listening"]
            assert post(port, EVENT)[0] == 200
            assert json.loads(ledger.read_text()) == EVENT
        finally:
            process.kill()
