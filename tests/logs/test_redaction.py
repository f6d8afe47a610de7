"""No secret is in a log, however it came there."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.logs.redaction import HIDDEN, Redaction
from gateway.secrets import secret_of


@pytest.mark.parametrize(
    "text",
    [
        "cannot reach mqtts://gw:hunter2hunter2@cloud.example:8883/x",
        "401 for Authorization: Bearer hunter2hunter2",
        "sent Basic hunter2hunter2==",
        "password=hunter2hunter2",
        '{"user": "a", "password": "hunter2hunter2"}',
        "{'token': 'hunter2hunter2'}",
        "GET /x?access_token=hunter2hunter2&y=1",
        "api_key: hunter2hunter2, next",
        "-----BEGIN PRIVATE KEY-----\nhunter2hunter2\n-----END PRIVATE KEY-----",
    ],
)
def test_patterns(text: str) -> None:
    """What has the form of a secret is hidden, known or not; what stands around it is not."""
    said = Redaction()(text)
    assert "hunter2" not in said
    assert HIDDEN in said
    assert said.split()[0] == text.split()[0] or text[0] in "-{p"


def test_what_was_read_as_a_secret_is_never_shown(tmp_path: Path) -> None:
    """Every secret of the config is known from its first reading, rotated ones too, however they are written."""
    file = tmp_path / "password"
    secret = secret_of({"file": "password"}, tmp_path)
    hide = Redaction()
    for text in ("Grüße aus'm Keller", "zweites-wort"):
        file.write_text(text + "\n")
        secret()
    said = hide("tried 'zweites-wort', then Gr%C3%BC%C3%9Fe%20aus%27m%20Keller, then " + repr("Grüße aus'm Keller"))
    assert "zweites" not in said
    assert "Keller" not in said
    assert "Gr" not in said


def test_ordinary_words_stay() -> None:
    """A line that only speaks about secrets is not touched."""
    text = "cannot read the secret in file kafka.password: the token of rule tokens is spent, pins 1 and 2"
    assert Redaction()(text) == text
