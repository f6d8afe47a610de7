"""Versions of rule files as a person sees them: list, status, history, rollback, disable, enable."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from gateway.api.client import ApiClient
from tests.system.rig import House, device, own_listener, running, until

RULE = """\
from gateway.rules import rule

@rule("reading_taken", device="house/load:hall")
def answers(event, ctx):
    ctx.emit("was_answered", {{"version": {0}}})
"""


def test_a_person_sees_and_moves_versions(tmp_path: Path) -> None:
    """What runs and what is refused is said; a rollback is an edit with its actor; a disabled rule says nothing."""
    port, source = own_listener()
    file = tmp_path / "gw" / "rules" / "answers.py"
    file.parent.mkdir(parents=True)
    house = House(tmp_path / "gw", source)

    def version() -> str:
        return str(house.status()["rules"]["versions"].get("answers.py"))

    def save(text: str) -> None:
        before = version()
        file.write_text(text)
        until(lambda: version() != before, house.said)

    with running(house), device(port) as sender:

        def events(event_type: str) -> list[dict[str, Any]]:
            with ApiClient(house.state / "api.sock") as client:
                return list(client.stream("events", types=[event_type], lanes=["telemetry", "timer"]))

        def answer() -> list[int]:
            before = len(events("reading_taken"))
            sender.tell("load/meter/hall", {"temperature": before})
            until(lambda: len(events("reading_taken")) > before, house.said)
            return [event["data"]["version"] for event in events("was_answered")]

        until(lambda: house.status()["rules"]["state"] == "none", house.said)
        save(RULE.format(1))
        first = version()
        save(RULE.format(2))
        until(lambda: answer()[-1:] == [2], house.said)
        file.write_text("def (")
        until(lambda: house.status()["rules"]["faults"], house.said)
        (said,) = house.status()["rules"]["faults"]
        assert re.search(r"answers.py:1: not Python: .*; its last good version, \w{8}, goes on", said)
        listed = house("rules", "list")
        assert listed.code == 1
        assert "answers.py on the disk is not what runs" in listed.out
        assert answer()[-1] == 2

        back = house("rules", "rollback", "answers.py", "2")
        assert (back.code, f"version {first}" in back.out) == (0, True), back
        assert file.read_text() == RULE.format(1)
        until(lambda: answer()[-1] == 1, house.said)
        history = house.json("rules", "history", "answers.py")["answers.py"]
        assert [each["actor"].partition(":")[0] for each in history] == ["person", "file", "file"]
        change = events("rules_changed")[-1]
        assert (change["actor"], change["data"]["files"]) == (history[0]["actor"], {"answers.py": first})

        until(lambda: len(events("was_answered")) == len(events("reading_taken")), "all of them are answered")
        assert house("rules", "disable", "answrs").code == 1
        assert house("rules", "disable", "answers", "--for", "1h").code == 0
        assert list(house.status()["rules"]["disabled"]) == ["answers"]
        (listed_rule,) = house.json("rules", "list")["rules"]
        assert listed_rule["state"] == "disabled"
        so_far = len(answer())
        assert len(answer()) == so_far
        assert house("rules", "enable", "answers").code == 0
        until(lambda: len(answer()) > so_far, house.said)
        assert house.stop() == 0
    assert house.json("rules", "history")["answers.py"][0]["hash"].startswith(first)
    assert house("rules", "rollback", "answers.py").code == 0
    assert file.read_text() == RULE.format(2)
