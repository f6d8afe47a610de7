"""The log and the audit of a real gateway: no secret ever, an event to be followed, and who changed what."""

from __future__ import annotations

import json
import os
import secrets
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from gateway.actors import by_file, person
from gateway.api.client import ApiClient
from gateway.api.line import ApiError
from gateway.audit import ALSO, ASKED, TYPES
from gateway.cli.main import main
from simulators.processes import free_port
from tests.mqtt.broker import Broker
from tests.system.rig import House, device, own_listener, running, until

READS = {  # what is asked and changes nothing
    *("status", "events", "table", "record", "flush", "raw", "mode", "inputs", "alerts", "notifications"),
    *("rules_files", "rules_history", "rules_settled", "rules_list", "rules_why", "rules_looks", "rules_of_device"),
    *("rules_log", "rules_standing", "rules_records", "devices_settled", "devices_unknown", "devices_described"),
    *("replay_found", "replay_list", "identity", "answered"),
    *("notify", "applied", "config_diff", "doctor", "support"),
}
RECORDED = {"apply_begun", "apply_confirm", "apply_revert", "reload"}  # by `Audit.record`, where it is done
TELLS = {  # what changes something and is an event with its actor by itself, of which `TYPES` or `ALSO` has the type
    "command": "command_requested",
    "claims_release": "claim_released",
    "mode_set": "mode_changed",
    "input_set": "input_changed",
    "alerts_acknowledge": "alert_acknowledged",
    "devices_expect": "device_changed",
    "identity_adopt": "identity_adopted",
    "devices_forget": "device_data_forgotten",
    "rules_rollback": "rules_changed",
    "rules_disable": "rule_disabled",
    "rules_enable": "rule_enabled",
}


FAILS = '''\
"""Fails."""

from gateway.rules import rule


@rule("door_opened")
def fails(event, ctx):
    """Fails."""
    raise ValueError("no")
'''
TELLS_TOO = '''\
"""Tells somebody, and asks a service."""

from gateway.rules import rule


@rule("door_opened")
def tells(event, ctx):
    """Tells somebody, and asks a service."""
    ctx.notify("the door is open", to="anna")
    ctx.http("POST", "hook", json={})
'''


def all_secrets(folder: Path) -> tuple[str, list[str]]:
    """Write a config with every kind of secret it can hold, on things that do not work; return it and the secrets."""
    named = (
        *("user", "mqtt_user", "mqtt_password", "token", "basic", "bearer", "signature"),
        *("webhook_url", "webhook_bearer", "webhook_signature", "http_header", "http_bearer", "journal_key"),
    )
    found = {name: f"s3cr3t-{name}-{secrets.token_hex(6)}" for name in named}
    found["journal_key"] = secrets.token_hex(32)
    found["webhook_url"] = f"http://127.0.0.1:1/{found['webhook_url']}"
    for name, text in found.items():
        (folder / f"{name}.secret").write_text(text)
    at = {name: f'{{ file = "{folder / name}.secret" }}' for name in found}
    return (
        f"""
[log]
level = "debug"
form = "%s"
[journal]
bytes_max = "8MB"
key = {at["journal_key"]}
[sources.house]
listen = "127.0.0.1:%d"
users.gate = {at["user"]}
[sources.broker]
url = "mqtt://127.0.0.1:%d"
username_from = {at["mqtt_user"]}
password = {at["mqtt_password"]}
reconnect_first_s = 0.1
reconnect_max_s = 0.3
[sources.web]
http = "127.0.0.1:%d"
token = {at["token"]}
users.cam = {at["basic"]}
[targets.cloud]
type = "http"
url = "http://127.0.0.1:1/in"
bearer = {at["bearer"]}
signature = {at["signature"]}
[notify.anna]
url = {at["webhook_url"]}
bearer = {at["webhook_bearer"]}
signature = {at["webhook_signature"]}
[http.hook]
url = "http://127.0.0.1:1/hook"
bearer = {at["http_bearer"]}
secrets.x-key = {at["http_header"]}
[rules]
folder = "rules"
""",
        [*found.values(), *(text.rpartition("/")[2] for text in found.values())],
    )


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_is_ever_logged(tmp_path: Path, form: str, mosquitto: Any) -> None:
    """With every secret a config can hold, and everything failing, at level debug, none of them is in the log."""
    broker: Broker = mosquitto(users={"somebody": "else"})
    text, hidden = all_secrets(tmp_path)
    port, web = free_port(), free_port()
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.py").write_text(FAILS)
    (tmp_path / "rules" / "b.py").write_text(TELLS_TOO)
    house = House(tmp_path, text % (form, port, broker.port, web))
    with running(house):
        user = (tmp_path / "user.secret").read_text()
        token = (tmp_path / "token.secret").read_text()
        post(web, "/shellies/shellydw-1/sensor/state", b"open", f"Bearer {token}")
        post(web, "/shellies/shellydw-1/sensor/state", b"open", f"Bearer {user}")
        post(web, f"/zigbee2mqtt/{token}", b"{ no JSON", f"Bearer {token}")  # a device that gives it away
        until(lambda: all(word in house.said() for word in SAID), lambda: house.said()[-3000:])
        house.ask("status")
        assert house.stop() == 0
    log = house.said()
    assert not [text for text in hidden if text in log]
    if form == "json":
        lines = [json.loads(line) for line in log.splitlines()]
        assert {"EG-302", "EG-501"} <= {line.get("code") for line in lines}


SAID = ("EG-302", "EG-501", "EG-207", "EG-307")


def post(port: int, path: str, body: bytes, authorization: str) -> int:
    """Post as a camera does; return the status."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path, body, {"Authorization": authorization, "Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_an_event_is_followed_from_the_device_to_the_cloud(tmp_path: Path, mosquitto: Any, capsys: Any) -> None:
    """At level debug each step of an event is a line with its id; explain tells the same from what is kept."""
    port, source = own_listener()
    cloud: Broker = mosquitto()
    target = f'[targets.cloud]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1:{cloud.port}"\n'
    house = House(tmp_path, source, target, '[log]\nlevel = "debug"\nform = "json"\n')
    with running(house), device(port) as sender:
        sender.tell("zigbee2mqtt/hall", {"contact": False})
        with ApiClient(house.state / "api.sock") as client:
            client.ask("flush")
            (event,) = list(client.stream("events", devices=["house/z2m:hall"], limit=10, follow=False))
        steps = until(lambda: found if len(found := said_of(house, event["id"])) == 4 else None, house.said)
        assert main(["explain", event["id"], "--config", str(house.file)]) == 0
        told = capsys.readouterr().out
    assert [step["message"].split()[0] for step in steps] == ["received", "on", "sent", "delivered"]
    assert "zigbee2mqtt/hall" in steps[0]["message"]
    assert steps[3]["route"] == steps[3]["target"] == "cloud"
    assert f"(127.0.0.1:{port})" in told
    assert "last heard on zigbee2mqtt/hall" in told
    assert "cloud: delivered, sent 20" in told
    assert ", acknowledged 20" in told


def said_of(house: House, event_id: str) -> list[dict[str, Any]]:
    """Return the lines of the log about an event."""
    lines = [json.loads(line) for line in house.said().splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event_id") == event_id]


def test_who_changed_what_is_on_the_record(tmp_path: Path, capsys: Any) -> None:
    """What a person asks and what is found on the disk is listed with who did it; nothing can be asked that is not."""
    _, source = own_listener()
    (tmp_path / "rules").mkdir(parents=True)
    house = House(tmp_path, source, '[rules]\nfolder = "rules"\nmodes = ["home", "away"]\n')
    with running(house):
        asked(house)
        assert main(["mode", "away", "--config", str(house.file)]) == 0
        rule = tmp_path / "rules" / "a.py"
        rule.write_text(FAILS)
        until(lambda: "rules_changed" in listed(house, capsys), house.said)
        (tmp_path / "devices.toml").write_text('[[device]]\nid = "house/z2m:a"\nname = "a"\n')
        until(lambda: "device_adopted" in listed(house, capsys), house.said)
    house.file.write_text(house.file.read_text() + "\n[history]\nenabled = false\n")
    with running(house):
        found = until(lambda: said if "config_changed" in (said := listed(house, capsys)) else None, house.said)
    assert found["mode_changed"] == myself_here()
    assert found["rules_changed"] == by_file(rule)
    assert found["device_adopted"] == by_file(tmp_path / "devices.toml")
    assert found["config_changed"] == by_file(house.file)


def myself_here() -> str:
    """Return who the tests are to the kernel."""
    return person(os.getuid())


def listed(house: House, capsys: Any) -> dict[str, str]:
    """Return who did what, as `audit --json` lists it."""
    capsys.readouterr()
    assert main(["audit", "--json", "--config", str(house.file)]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {event["data"].get("what", event["type"]): event["actor"] for event in events}


def asked(house: House) -> None:
    """Whoever adds an answer to the local API says whether it changes something, and how that is on the record."""
    with pytest.raises(ApiError) as error, ApiClient(house.state / "api.sock") as client:
        client.ask("nothing like it")
    there = set(str(error.value).rpartition("there are ")[2].split(", "))
    unknown = there - READS - RECORDED - TELLS.keys() - ASKED.keys()
    assert not unknown, f"{unknown}: into gateway.audit.ASKED, or an event of its own, or does it change nothing?"
    assert set(TELLS.values()) <= {*TYPES, *ALSO}
