"""A house full of secrets: planted in files, the environment, addresses, headers, messages, rules and log lines."""

from __future__ import annotations

from pathlib import Path

# where each is planted -> what it is; those with a blank or a quote are what people really choose
PLANTED = {
    "file of a user of the listener": 'anna & "Bernd" 1987',
    "file of mosquitto_passwd": "$7$101$c2FsdHNhbHQ=$aHVudGVyMmh1bnRlcjI=",
    "variable of a password": "the dog is called Rex",
    "variable of the unit that nothing names": "Planted-unit-password",
    "file of a bearer token": "Planted/bearer+token==",
    "file of a signature": "whsec_UGxhbnRlZC1zaWduYXR1cmU=",
    "file of a key password": "Planted key pass phrase",
    "key of the journal": "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "private key, first line": "",  # filled in: made by openssl
    "header of a target": "Planted-header-value",
    "inline header of a service": "Planted-inline-header",
    "path of an address": "T0Planted9/B0Planted8/hPlanted7x",
    "query of an address": "Planted-query-code",
    "payload of a will": "Planted-will-payload",
    "payload of a birth": "Planted-birth-payload",
    "a comment with a password": "Planted-comment-pw",
    "a fault: a secret in the config": "Planted-inline-secret",
    "overlay variable": "Planted-overlay-token",
    "label of a device: its code": "Planted-install-code",
    "token in a rule": "Planted-rule-token",
    "header in a rule": "Planted-rule-bearer.abc",
    "address in a rule": "planted-user:planted-pass",
    "dictionary in a rule": "Planted-rule-dict",
    "code in a profile": "Planted-profile-key",
    "value of a device": "Planted-alarm-pin-4711",
    "payload nobody understands": "Planted-dead-payload",
    "password in a log line": "Planted-log-password",
    "json in a log line": "Planted-log-json",
    "web token in a log line": "eyJhbGciOiJIUzI1NiJ9.eyJQbGFudGVkIjoxfQ.UGxhbnRlZA",
    "cloud key in a log line": "AKIAPLANTEDPLANTED12",
    "session in a log line": "sid=Planted-log-cookie",
    "trace with a made up word": "Pl4nT3dxK9qW2eR5tY8uI1oP",
}
DOOR, ROOM = "front-door-of-anna", "hall-of-anna"


def _config(planted: dict[str, str], port: int, cloud: int, certificate: Path, key: Path) -> str:
    """Return a gateway.toml with every kind of secret."""
    return f"""\
[gateway]
name = "house-of-anna"
state = "state"
location = {{ latitude = 48.13721, longitude = 11.57549 }}
# password of the old broker was: {planted["a comment with a password"]}
[journal]
bytes_max = "8MB"
preallocate = false
key = {{ file = "journal.key" }}
[sources.house]
listen = "127.0.0.1:{port}"
users = {{ anna = {{ file = "anna.pw" }} }}
users_file = "users"
[sources.old]
url = "mqtt://127.0.0.1:{cloud}"
username = "gateway"
password = {{ env = "HOUSE_WORD" }}
will = {{ topic = "gone", payload = "{planted["payload of a will"]}" }}
birth = {{ topic = "here", payload = "{planted["payload of a birth"]}" }}
[targets.web]
type = "http"
url = "http://127.0.0.1:{cloud}/{planted["path of an address"]}?code={planted["query of an address"]}"
bearer = {{ file = "bearer" }}
signature = {{ file = "signature" }}
[targets.web.headers]
X-Site = "{planted["header of a target"]}"
[targets.bus]
type = "mqtt"
url = "mqtts://127.0.0.1:{cloud}"
tls = {{ certificate = "{certificate}", key = "{key}", key_password = {{ file = "key.pw" }} }}
[routes.all]
to = "web"
[routes.second]
to = "bus"
"""


def write(folder: Path, port: int, cloud: int, certificate: Path, key: Path) -> dict[str, str]:
    """Write the house; returns the environment of its gateway."""
    planted = dict(PLANTED)
    rule = f'''"""A rule with everything in it that should not be there."""

PUSH_TOKEN = "{planted["token in a rule"]}"
HEADERS = {{"Authorization": "Bearer {planted["header in a rule"]}"}}
ADDRESS = "https://{planted["address in a rule"]}@example.com/x"
KEYS = {{"api_key": "{planted["dictionary in a rule"]}"}}
'''
    profile = f'''# {{"network_key": "{planted["code in a profile"]}"}}\n'''
    overlay = f'[variables]\nhouse_token = "{planted["overlay variable"]}"\n'
    devices = f'''[[device]]
id = "house/shelly:shellydw-1"
name = "{DOOR}"
room = "{ROOM}"
labels = ["entry"]
# install_code = "{planted["label of a device: its code"]}"
'''
    files = {
        "gateway.toml": _config(planted, port, cloud, certificate, key),
        "gateway.d/10-house.toml": overlay,
        "devices.toml": devices,
        "rules/lib/keys.py": rule,
        "my-profiles/notes.toml.txt": profile,
        "anna.pw": planted["file of a user of the listener"],
        "users": f"bernd:{planted['file of mosquitto_passwd']}\n",
        "bearer": planted["file of a bearer token"] + "\n",
        "signature": planted["file of a signature"],
        "key.pw": planted["file of a key password"],
        "journal.key": planted["key of the journal"],
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o600)
    return {"HOUSE_WORD": planted["variable of a password"]}


def log_lines() -> str:
    """Return lines as a careless library might write them."""
    said = PLANTED
    return f"""\
2026-11-23T18:00:00+0000 pi edge-gateway[1]: connecting with password='{said["password in a log line"]}'
2026-11-23T18:00:01+0000 pi edge-gateway[1]: got {{"access_token": "{said["json in a log line"]}", "x": 1}}
2026-11-23T18:00:02+0000 pi edge-gateway[1]: token {said["web token in a log line"]} is over
2026-11-23T18:00:03+0000 pi edge-gateway[1]: signed by {said["cloud key in a log line"]}
2026-11-23T18:00:04+0000 pi edge-gateway[1]: Cookie: {said["session in a log line"]}
2026-11-23T18:00:05+0000 pi edge-gateway[1]: {said["trace with a made up word"]} is what it said
2026-11-23T18:00:06+0000 pi edge-gateway[1]: Environment=MAIL_PASSWORD={said["variable of the unit that nothing names"]}
2026-11-23T18:00:07+0000 pi edge-gateway[1]: weather: headers = {{ "X-Key" = "{said["inline header of a service"]}" }}
2026-11-23T18:00:08+0000 pi edge-gateway[1]: gateway.toml:9: password = "{said["a fault: a secret in the config"]}"
2026-11-23T18:00:09+0000 pi gateway: {said["file of a user of the listener"]} and {said["file of a bearer token"]}
2026-11-23T18:00:10+0000 pi edge-gateway[1]: {DOOR} opened in {ROOM}
"""
