"""A web service as the cloud, on its bad days: each answer is handled as it deserves, and nothing is lost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from simulators.cloud_http import CloudHttp
from tests.system.rig import PATIENCE_S, House, acknowledged, device, own_listener, readings, running, until

BAD_DAYS = ("429:1", "500", "silent", "reset", "partial", "garbage")
DEVICES = ("hall", "attic", "cellar")
NUMBERS = 20  # of each device in a round


def target(cloud: CloudHttp, mode: str, answer_timeout_s: float = PATIENCE_S) -> str:
    """Write the target and its route, quick to try again."""
    return (
        f'[targets.cloud]\ntype = "http"\nurl = "{cloud.url}"\nmode = "{mode}"\n'
        f"answer_timeout_s = {answer_timeout_s}\n"
        "reconnect_first_s = 0.1\nreconnect_max_s = 0.3\n"
        "[routes.all]\nto = 'cloud'\nretry_first_s = 0.1\nretry_longest_s = 0.5\n"
    )


def requests_with(cloud: CloudHttp, number: int) -> list[list[str]]:
    """Return the ids in each request that had a reading of this number in it."""
    return [
        [event["id"] for event in request.events]
        for request in cloud.requests
        if any(event["data"].get("temperature") == number for event in request.events)
    ]


@pytest.mark.parametrize("mode", ["structured", "batched"])
def test_bad_answers_lose_nothing(tmp_path: Path, mode: str) -> None:
    """429, 500, silence, a reset, 413 for one event, then 200: what was not refused arrives, in order, under its id."""
    port, source = own_listener()
    with CloudHttp(poison={"house/load:fat": "413"}) as cloud:
        house = House(tmp_path / "gw", source, target(cloud, mode, answer_timeout_s=0.5))
        with running(house), device(port) as sender:
            assert acknowledged(sender.count("hall", range(1)))
            until(lambda: cloud.arrived())
            cloud.script(*BAD_DAYS)
            sent = []
            for number in range(1, NUMBERS):
                for name in DEVICES:
                    sent += sender.count(name, range(number, number + 1))
                if number == NUMBERS // 2:
                    sent += sender.count("fat", range(1000, 1001))
            assert acknowledged(sent)
            wanted = {name: list(range(name != "hall", NUMBERS)) for name in DEVICES}
            until(lambda: readings(cloud.accepted) == wanted, lambda: readings(cloud.accepted))
            until(lambda: house.status()["routes"][0]["backlog"] == 0, house.status)
            assert not cloud.answers, "every bad answer was given"
            letters = house.json("dead-letters", "list")
            stored = {event["data"]["temperature"]: event["id"] for event in house.events("--type", "reading_taken")
                      if event["subject"].endswith("hall")}  # fmt: skip
            route = house.status()["routes"][0]

    assert [(letter["subject"], letter["data"]["event"]["data"]["temperature"]) for letter in letters] == [
        ("house/load:fat", 1000)
    ]
    assert letters[0]["data"]["reason"].startswith("413")
    assert readings(cloud.accepted, repeats=True).keys() == wanted.keys(), "the refused one is nowhere"
    arrived = {e["data"]["temperature"]: e["id"] for e in cloud.accepted if e.get("subject", "").endswith("hall")}
    assert arrived == stored, "ids at the cloud are those of the journal"
    assert route["retries"] > 0
    assert route["delivered"] == len(set(cloud.arrived()))
    assert len({tuple(request.headers["idempotency-key"]) for request in cloud.requests}) > 1
    if mode == "batched":
        assert max(len(request.events) for request in cloud.requests) > 1
        assert requests_with(cloud, 1000)[-1] == [letters[0]["data"]["event"]["id"]], "halved until it stood alone"
    else:
        assert {len(request.events) for request in cloud.requests} == {1}
    _same_key_for_same_events(cloud)


def _same_key_for_same_events(cloud: CloudHttp) -> None:
    """Check that a request sent again carries the key of the first time, so that the service can tell."""
    keys: dict[tuple[str, ...], set[str]] = {}
    for request in cloud.requests:
        keys.setdefault(tuple(event["id"] for event in request.events), set()).add(request.headers["idempotency-key"])
    assert all(len(each) == 1 for each in keys.values())
    assert len({key for each in keys.values() for key in each}) == len(keys)


def test_an_absent_service_is_waited_for(tmp_path: Path) -> None:
    """While nothing listens at the address events stay in the journal; when the service comes they go, each once."""
    port, source = own_listener()
    cloud = CloudHttp()
    cloud.start()
    cloud.stop()  # its port is known now, and nobody is there
    house = House(tmp_path / "gw", source, target(cloud, "batched"))
    with running(house), device(port) as sender:
        assert acknowledged(sender.count("hall", range(50)))
        waiting = until(lambda: _away(house))
        assert waiting["backlog"] == 50
        with cloud:
            until(lambda: len(cloud.arrived()) >= 50)
            until(lambda: house.status()["routes"][0]["backlog"] == 0)
    assert readings(cloud.accepted) == {"hall": list(range(50))}
    assert set(Counter(cloud.arrived()).values()) == {1}


def _away(house: House) -> dict[str, Any] | None:
    route: dict[str, Any] = house.status()["routes"][0]
    return route if route["state"] == "down" and route["last_error"] else None


def test_a_refused_route_says_so_and_its_error_has_a_time(tmp_path: Path) -> None:
    """401: status says refused and what to check; when it is mended the route is up, and says what was wrong when."""
    port, source = own_listener()
    with CloudHttp() as cloud:
        house = House(tmp_path / "gw", source, target(cloud, "batched") + "refused_retry_s = 0.2\n")
        with running(house), device(port) as sender:
            cloud.script(*["401"] * 10_000)
            assert acknowledged(sender.count("hall", range(5)))
            refused = until(lambda: _route_in(house, "refused"), house.status)
            assert "401" in refused["last_error"]
            headline = house("status").out.splitlines()[0]
            assert "Route all to cloud is refused" in headline
            assert "edge-gateway check" in headline
            cloud.answers.clear()
            up = until(lambda: _route_in(house, "up"), house.status)
            assert up["last_error_at"] is not None
            assert f"at {up['last_error_at']}: " in house("status").out
    assert readings(cloud.accepted) == {"hall": list(range(5))}


def _route_in(house: House, state: str) -> dict[str, Any] | None:
    route: dict[str, Any] = house.status()["routes"][0]
    return route if route["state"] == state and route["last_error"] else None
