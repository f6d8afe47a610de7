"""Texts that leave the house: what is a secret, or looks like one, is gone; what somebody needs to help is not."""

from __future__ import annotations

import base64

import pytest

from gateway.support.scrub import HIDDEN, Scrub

SECRETS = {
    "inline": ('password = "hunter2-inline"', "hunter2-inline"),
    "unquoted": ("db_password=hunter2unquoted", "hunter2unquoted"),
    "json": ('{"apiKey": "hunter2json", "x": 1}', "hunter2json"),
    "python": ("PUSH_TOKEN = 'hunter2python'", "hunter2python"),
    "userinfo": ("url = 'mqtt://anna:hunter2url@broker:1883'", "hunter2url"),
    "only a user": ("https://hunter2token@example.com/x", "hunter2token"),
    "query": ("GET https://x.example/push?sv=1&code=hunter2query", "hunter2query"),
    "path": ("https://hooks.example.com/services/T0001/hunter2PATHab1", "hunter2PATHab1"),
    "header": ("Authorization: Bearer hunter2.header", "hunter2.header"),
    "basic": ("sent authorization basic aHVudGVyMmJhc2lj", "aHVudGVyMmJhc2lj"),
    "cookie": ("Cookie: sid=hunter2cookie", "hunter2cookie"),
    "headers inline": ('headers = { "X-Site" = "hunter2site" }', "hunter2site"),
    "headers table": ('[targets.web.headers]\nX-Site = "hunter2table"\n[routes]\nto = "web"', "hunter2table"),
    "will": ('will = { topic = "a/b", payload = "hunter2will" }', "hunter2will"),
    "unit": ('Environment="KAFKA_PASSWORD=hunter2unit"', "hunter2unit"),
    "connection string": ("AccountKey=hunter2azure==;EndpointSuffix=x", "hunter2azure"),
    "camel": ("clientSecret: hunter2camel", "hunter2camel"),
    "multiline": ('token = """hunter2\nlines"""', "lines"),
    "code of an alarm": ("alarm_code = 4711", "4711"),
    "pin": ("pin: 4712", "4712"),
    "network key": ("network_key = [1, 2]\nnetwork_key: 0a0b0c0d", "0a0b0c0d"),
    "jwt": ("log: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm5hIn0.hunter2jwt", "hunter2jwt"),
    "aws": ("key id AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    "github": ("using ghp_hunter2hunter2hunter2", "ghp_hunter2"),
    "telegram": ("bot 123456789:AAhunter2hunter2hunter2hunter2hunt", "AAhunter2"),
    "hash": ("anna:$7$101$hunter2hash$abc==", "hunter2hash"),
    "by chance": ("said kJ8sQ2xV9bN4mR7tY1wZ3cD6 to us", "kJ8sQ2xV9bN4mR7tY1wZ3cD6"),
    "hexadecimal": ("key 3f786850e387550fdab836ed7e6dc881de23001b", "3f786850e387550fdab836ed7e6dc881de23001b"),
    "private key": ("-----BEGIN EC PRIVATE KEY-----\nhunter2pem\n-----END EC PRIVATE KEY-----", "hunter2pem"),
    "cut key": ("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2cut\nmore", "hunter2cut"),
}


@pytest.mark.parametrize("name", SECRETS)
def test_what_looks_secret_is_hidden(name: str) -> None:
    """A value that its name, its place or its shape gives away is not in the text any more."""
    text, secret = SECRETS[name]
    said = Scrub()(text)
    assert secret not in said
    assert HIDDEN in said


@pytest.mark.parametrize(
    "text",
    [
        'password = { file = "/etc/edge-gateway/kafka.password" }',
        'bearer = { credential = "cloud-token" }',
        'url = "mqtts://broker.example.com:8883"',
        'certificate = "/etc/edge-gateway/gateway.pem"\nkey = "/etc/edge-gateway/gateway.key"',
        "2026-11-23T19:28:22.454Z gateway.forward.lane: route cloud is down: connection refused [EG-201]",
        'id = "house/z2m:0x00158d0001abcdef"\nname = "front-door"\nlabels = ["entry"]',
        "def authorize(token: str) -> bool:",
        '[journal]\nbytes_max = "256MB"\nkeep_alive_s = 60',
        'topic = "sites/{gateway}/{source}/{device}/{type}"',
        "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    ],
)
def test_what_helps_stays(text: str) -> None:
    """Places of secrets, addresses, ids, limits, codes and times are what somebody needs, and stay as they are."""
    assert Scrub()(text) == text


def test_a_known_secret_is_found_in_every_form() -> None:
    """A secret that was read is hidden as it is, quoted, escaped, in hexadecimal and in base64."""
    secret = 'päss "wörd"/x'
    forms = [secret, repr(secret), secret.encode().hex(), base64.b64encode(secret.encode()).decode()]
    forms += ["p%C3%A4ss%20%22w%C3%B6rd%22%2Fx", 'p\\u00e4ss \\"w\\u00f6rd\\"/x']
    said = Scrub(known=[secret])("\n".join(f"x {form} y" for form in forms))
    assert said.count(HIDDEN) == len(forms)
    assert "rd" not in said


def test_variables_that_hold_secrets() -> None:
    """The value of a variable that the config names as a secret is hidden, whatever it is called."""
    assert (
        Scrub(names=["HOUSE_WORD"])("Environment=HOUSE_WORD=plain LANG=C") == f"Environment=HOUSE_WORD={HIDDEN} LANG=C"
    )


def test_anonymous() -> None:
    """Names get an alias that is the same within a bundle and another one in the next; where the house is goes, too."""
    text = (
        "front-door in hall; zigbee2mqtt/front-door; front-doors; location = { latitude = 48.137, longitude = 11.575 }"
    )
    scrub = Scrub(people=["front-door", "hall"], key=b"1")
    said = scrub(text)
    alias = scrub.alias("front-door")
    assert said.startswith(f"{alias} in ")
    assert f"zigbee2mqtt/{alias};" in said
    assert "front-doors" in said
    assert "48" not in said
    assert "11.5" not in said
    assert Scrub(people=["front-door"], key=b"2").alias("front-door") != alias


def test_our_own_hexadecimal_numbers_stay() -> None:
    """In what the program wrote itself a long hexadecimal number is an id; what looks made by chance still goes."""
    text = '{"log_id": "3f786850e387550fdab836ed7e6dc881", "reason": "kJ8sQ2xV9bN4mR7tY1wZ3cD6"}'
    assert Scrub()(text, ours=True) == f'{{"log_id": "3f786850e387550fdab836ed7e6dc881", "reason": "{HIDDEN}"}}'


@pytest.mark.parametrize(
    "piece", ["a", "a-", "-.", "token", "http://", "headers = {", '"', "x=1&", "-----BEGIN A-----"]
)
def test_no_text_takes_for_ever(piece: str) -> None:
    """The same thing again and again, which hangs careless patterns, is scrubbed and ends."""
    said = Scrub(known=["abc"], people=["hall"])(piece * (20_000 // len(piece)))
    assert len(said) <= 20_000 * len(HIDDEN)
