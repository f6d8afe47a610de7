"""A gateway that tells people, killed while it does; and what a person sees and says of alerts."""

from __future__ import annotations

from pathlib import Path

from simulators.cloud_http import CloudHttp
from tests.notify.scene import nobody
from tests.system.rig import House, device, own_listener, running, until

RULES = """
from gateway.rules import rule

@rule("reading_taken", device="house/load:tells")
def tells(event, ctx):
    ctx.notify(f"reading {event['temperature']:g}", to="anna", key=f"{event['temperature']:g}")

@rule("reading_taken", device="house/load:warm")
def warm(event, ctx):
    if event["temperature"] > 30:
        ctx.alert("it is warm", lane="alarm", escalate=[("0m", "anna"), ("1h", "everyone")])
    else:
        ctx.clear()
"""


def house_of(tmp_path: Path, address: str) -> tuple[int, House]:
    """Return the listener's port, and a gateway that can tell anna."""
    rules = tmp_path / "gw" / "rules"
    rules.mkdir(parents=True)
    (rules / "telling.py").write_text(RULES)
    (tmp_path / "gw" / "anna").write_text(address + "\n")
    port, source = own_listener()
    quick = "retry_first_s = 0.1\nretry_max_s = 0.3"
    return port, House(tmp_path / "gw", source, f'[notify.anna]\nurl = {{ file = "anna" }}\n{quick}\n')


def ready(house: House) -> None:
    """Wait until the rules are loaded."""
    until(lambda: house.status()["rules"]["state"] == "running", house.status)


def test_kills_lose_no_notification_and_repeat_one_at_most_once(tmp_path: Path) -> None:
    """Killed before it is sent, while it is sent, and right after it was asked for: each arrives, under one key."""
    anna = CloudHttp(plain=True, answers=["silent"])
    with nobody() as anna.port:
        port, house = house_of(tmp_path, anna.url)
        with running(house):
            ready(house)
            with device(port) as meter:
                meter.tell("load/meter/tells", {"temperature": 1})
            until(lambda: [each["error"] for each in house.ask("notifications")["waiting"]] not in ([], [""]))
            house.kill()
    with anna, running(house):
        until(lambda: anna.requests, "it is sent after the kill")
        assert anna.accepted == []
        house.kill()  # it is under way: nobody knows whether it has arrived
        house.end()
        house.begin()
        until(lambda: anna.accepted)
        (sent,) = until(lambda: house.ask("notifications")["past"])
        assert (sent["type"], sent["data"]["text"]) == ("notification_sent", "reading 1")
        assert len(anna.requests) == 2
        ready(house)
        with device(port) as meter:
            meter.tell("load/meter/tells", {"temperature": 2})
            house.kill()  # acknowledged, and perhaps no rule has seen it
            house.end()
            house.begin()
        until(lambda: [each["type"] for each in house.ask("notifications")["past"]] == ["notification_sent"] * 2)
        assert house.stop() == 0
    keys = [request.headers["idempotency-key"] for request in anna.requests]
    assert len(set(keys)) == 2
    assert all(keys.count(key) <= 2 for key in keys)
    assert [message["text"] for message in anna.accepted[:1]] == ["reading 1"]
    assert {message["text"] for message in anna.accepted[1:]} == {"reading 2"}


def test_a_person_sees_alerts_and_acknowledges_them(tmp_path: Path) -> None:
    """Status says that something is raised, `alerts` what, who was told and what is next; who has seen it is kept."""
    with CloudHttp(plain=True) as anna:
        port, house = house_of(tmp_path, anna.url)
        with running(house), device(port) as meter:
            ready(house)
            assert house.ask("alerts") == []
            meter.tell("load/meter/warm", {"temperature": 31})
            (alert,) = until(lambda: [each for each in house.ask("alerts") if each["told"]])
            assert (alert["key"], alert["state"], alert["told"], alert["next_to"]) == (
                "warm",
                "raised",
                ["anna"],
                "everyone",
            )
            assert alert["next_at"]
            assert house.status()["alerts"] == {"raised": 1, "unacknowledged": 1}
            assert "1 alert raised, 1 unacknowledged" in house("status").out
            wrong = house("alerts", "ack", "wram")
            assert (wrong.code, "did you mean 'warm'" in wrong.err) == (1, True)
            said = house("alerts", "ack", alert["short"])
            assert (said.code, "acknowledged by person:" in said.out) == (0, True), said
            (seen,) = house.ask("alerts")
            assert (seen["id"], seen["state"], seen["next_to"]) == (alert["id"], "acknowledged", None)
            listed = house("alerts", "list").out
            assert "it is warm" in listed
            assert "acknowledged by person:" in listed
            meter.tell("load/meter/warm", {"temperature": 20})
            until(lambda: not house.ask("alerts"))
            events = house.events("--type", "alert_*")
            assert [event["type"].removeprefix("alert_") for event in events] == [
                "raised", "escalated", "acknowledged", "cleared",
            ]  # fmt: skip
            assert {event["data"]["id"] for event in events} == {alert["id"]}
            assert events[2]["actor"].startswith("person:")

            said = house("notify", "anna", "can you read this?", "--title", "Test")
            assert (said.code, said.out) == (0, "anna: sent\n"), said
            assert (anna.accepted[-1]["title"], anna.accepted[-1]["text"]) == ("Test", "can you read this?")
            wrong = house("notify", "ana", "x")
            assert (wrong.code, "did you mean 'anna'" in wrong.err) == (1, True)
            past = until(lambda: found if len(found := house.ask("notifications")["past"]) == 3 else None)
            assert [event["data"]["text"] for event in past] == ["it is warm", "over: it is warm", "can you read this?"]
            assert "over: it is warm" in house("notifications", "list").out
            assert house.stop() == 0
