"""The verbs of somebody who writes a rule: new, why, logs, list and explain beside a real gateway; completion."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.rules.templates import DRAFTS
from gateway.cli.rules.verbs import TEMPLATES
from gateway.rules.desk.trials import Suite
from tests.cli.site import Site
from tests.cli.test_running import DEVICES, DOOR, Running, until

RULES = '''\
"""What people do with a front door."""

from gateway.rules import rule, when

@rule("door_opened", cooldown="10m")
def greets(event, ctx):
    """Say hello. Not twice."""
    ctx.log(f"hello {event.device.name}")
    ctx.alert("somebody is here", key="guest")

@rule("door_opened", mode=("night", "away"))
def watches(event, ctx):
    """Watch at night."""

@when(kind="door", open=True, lasts="30m")
def left_open(door, ctx):
    """A door is left open."""
    ctx.alert("open")

@when(kind="door", open=True, lasts="1s")
def soon(door, ctx):
    """Say it soon."""
    ctx.alert("open for a second", key="soon")

@rule("alert_raised")
def repeats(event, ctx):
    ctx.emit("echoed")
'''
BROKEN = """\
from gateway.rules import rule

@rule("door_closed")
def divides(event, ctx):
    1 / 0
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a gateway with rules, and a door that opened, closed and opened."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "rules").mkdir()
    (folder / "rules" / "door.py").write_text(RULES)
    (folder / "rules" / "broken.py").write_text(BROKEN)
    running = Running(folder, DEVICES + 'kind = "door"\n')
    try:
        running.ready()
        until(lambda: running.json("status")["rules"]["loaded"] == 6)
        for state in ("open", "close", "open"):
            running.publish(DOOR, state)
        until(lambda: len(running.events("--type", "door_*")) == 3)
        until(lambda: {alert["data"]["alert"] for alert in alerts(running)} == {"guest", "soon"})
        until(lambda: len(running.events("--type", "echoed")) == len(alerts(running)))
        until(lambda: [line["rule"] for line in said(running)].count("divides") >= 2)
        yield running
    finally:
        running.session.stop()


def said(gateway: Running, *words: str) -> list[dict[str, Any]]:
    """Return what rules said."""
    return [json.loads(line) for line in gateway("rules", "logs", "--json", *words).out.splitlines()]


def alerts(gateway: Running) -> list[dict[str, Any]]:
    """Return the alerts rules raised, oldest first, without the gateway's own about a rule."""
    raised = gateway.events("--type", "alert_raised")
    return [alert for alert in raised if alert["data"]["alert"] != "rule_quarantined"]


def opened(gateway: Running) -> list[dict[str, Any]]:
    """Return both times the door opened."""
    return gateway.events("--type", "door_opened")


def test_an_event_says_which_rules_looked_and_why_not(gateway: Running) -> None:
    """`explain` names what ran with its outputs, what spoke against each other rule, when it was on disk, by whom."""
    first, second = opened(gateway)
    story = gateway.json("explain", first["id"])
    looks = {look["rule"]: look for look in story["looks"]}
    assert looks.keys() == {"greets", "watches", "left_open", "soon"}
    alert = next(alert for alert in alerts(gateway) if alert["data"]["alert"] == "guest")
    assert (looks["greets"]["ran"], looks["greets"]["outputs"]) == (True, [alert["id"]])
    assert looks["greets"]["us"] > 0
    assert looks["watches"]["text"] == "mode: it was home, not night or away"
    assert looks["left_open"]["text"] == "became so, has to last 30 min: open is True (=True: yes)"
    assert (story["profile"], story["written"] > first["time"][:10]) == ("shelly-gen1-door", True)
    text = gateway("explain", second["id"]).out
    assert "read by profile shelly-gen1-door" in text
    assert ", on disk 20" in text
    assert "    not    greets: cooldown: " in text
    assert "route    cloud: waits" in text


def test_an_alert_says_where_it_comes_from(gateway: Running) -> None:
    """The other way: what an event follows from up to the device's, and the rules by title, file, line and version."""
    guest = next(alert for alert in alerts(gateway) if alert["data"]["alert"] == "guest")
    echoed = next(event for event in gateway.events("--type", "echoed") if event["cause"] == guest["id"])
    story = gateway.json("explain", echoed["id"])
    assert [cause["type"] for cause in story["causes"]] == ["alert_raised", "door_opened"]
    assert [made and made["rule"] for made in story["made_by"]] == ["repeats", "greets", None]
    door = gateway.config.parent / "rules" / "door.py"
    greets = story["made_by"][1]
    assert (greets["title"], greets["file"], greets["line"]) == ("Say hello", str(door), 5)
    assert greets["current"] is True
    assert (
        f"made by  rule greets “Say hello”, {door}:5, version {greets['version']}"
        in gateway("explain", echoed["id"]).out
    )


def test_a_cause_is_found_behind_a_timer(gateway: Running) -> None:
    """An alert of a condition that had to last goes back over its timer to the door; a command's lane is nobody's."""
    soon = alerts(gateway)[-1]
    story = gateway.json("explain", soon["id"])
    assert [cause["type"] for cause in story["causes"]] == ["timer_fired", "door_opened"]
    assert [made and made["rule"] for made in story["made_by"]] == ["soon", None, None]
    timer = gateway.json("explain", story["causes"][0]["id"])
    (look,) = [look for look in timer["looks"] if look["rule"] == "soon"]
    assert (look["text"].startswith("begin: ran in "), look["outputs"]) == (True, [soon["id"]])


def test_why_shows_a_rule_as_it_is_now(gateway: Running) -> None:
    """A condition with how much of its time is over; an event rule with its mode, cooldown and last looks."""
    found = gateway.json("rules", "why", "left_open", "--device", "front-door")
    (scope,) = found["scopes"]
    assert (scope["so"], scope["begun"], scope["lasts_s"]) == (True, False, 1800)
    assert 0 <= scope["lasted_s"] < 1800
    assert [(look["event"]["type"], look["verdict"]) for look in found["looks"]][-2:] == [
        ("door_closed", "changed"), ("door_opened", "changed"),
    ]  # fmt: skip
    text = gateway("rules", "why", "left_open").out
    assert text.startswith("left_open: A door is left open")
    assert " of 30 min over, begins 20" in text
    assert "front-door: open is True (=True: yes)" in text
    text = gateway("rules", "why", "watches").out
    assert "mode     no: it is home, wanted night or away" in text
    assert "not      20" in text
    text = gateway("rules", "why", "greets").out
    assert "ran      1 time since the gateway started, last 20" in text
    assert "device   front-door  cooldown: " in text
    text = gateway("rules", "why", "divides").out
    assert "failed: ZeroDivisionError: division by zero" in text
    wrong = gateway("rules", "why", "gretes")
    assert (wrong.code, wrong.err) == (1, "edge-gateway: no rule 'gretes' runs, did you mean 'greets'?\n")
    assert "there is no device 'front-dor', did you mean 'front-door'?" in (
        gateway("rules", "why", "greets", "--device", "front-dor").err
    )


def test_list_shows_how_rules_do(gateway: Running) -> None:
    """State, calls and faults of the running gateway beside what the files say; and which look at a device."""
    rules = {rule["name"]: rule for rule in gateway.json("rules", "list")["rules"]}
    assert (rules["greets"]["state"], rules["greets"]["fired"], rules["watches"]["fired"]) == ("ready", 1, 0)
    assert 0 < rules["greets"]["call_us_median"] <= rules["greets"]["call_us_max"]
    assert rules["divides"]["faults"] >= 2
    assert rules["greets"]["fired_at"] > opened(gateway)[0]["time"][:10]
    looking = gateway.json("rules", "list", "--device", "front-door")["rules"]
    wanted = {"greets", "watches", "left_open", "soon", "divides"}
    assert {rule["name"] for rule in looking} == wanted
    assert set(gateway.json("devices", "show", "front-door")["rules"]) == wanted
    assert gateway("rules", "list", "--names").out.split() == sorted({*wanted, "repeats"})


def test_logs_show_lines_and_faults_with_stacks(gateway: Running) -> None:
    """What ctx.log said and what was raised, with file, line and stack; of one rule, or the newest."""
    (hello,) = said(gateway, "greets")
    assert (hello["kind"], hello["text"]) == ("log", "hello front-door")
    fault = said(gateway, "divides", "--limit", "1")[0]
    assert (Path(fault["file"]).name, fault["line"], fault["kind"]) == ("broken.py", 5, "fault")
    assert "1 / 0" in fault["stack"]
    assert "broken.py:5  ZeroDivisionError: division by zero\n" in gateway("rules", "logs", "divides").out


def test_logs_can_be_followed(gateway: Running) -> None:
    """A follower gets the lines there are, and those that come when they come."""
    words = ["rules", "logs", "--follow", "--json", "divides", "--config", str(gateway.config)]
    follower = subprocess.Popen(
        [sys.executable, "-m", "gateway", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert follower.stdout is not None
        seen = json.loads(follower.stdout.readline())["number"]
        before = len(said(gateway, "divides"))
        gateway.publish(DOOR, "close")
        for _ in range(before):
            line = json.loads(follower.stdout.readline())
        assert line["number"] > seen
    finally:
        follower.kill()
        follower.communicate()


def test_what_is_not_in_memory_is_known_by_what_rules_put_out(gateway: Running) -> None:
    """After a stop and a start explain says by history which rules ran, and that it is not from memory."""
    first = opened(gateway)[0]
    gateway.session.stop()
    story = gateway.json("explain", first["id"])
    (look,) = story["looks"]
    assert (look["rule"], look["verdict"], look["text"].split()[:3]) == (
        "greets", "by history", ["put", "out", "alert_raised"],
    )  # fmt: skip
    assert "does not run" in story["looks_note"]
    assert gateway("rules", "why", "greets").code == 1
    assert {rule["name"] for rule in gateway.json("rules", "list", "--device", "front-door")["rules"]} == {
        "greets", "watches", "left_open", "soon", "divides",
    }  # fmt: skip


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_rule_passes_its_test(site: Site, template: str) -> None:
    """Each template is a rule without fault whose tests pass under any name; the next commands are said."""
    result = site.run("rules", "new", "my-first_rule", "--template", template)
    file = site.folder / "rules" / "my_first_rule.py"
    assert (result.code, file.is_file()) == (0, True)
    typed = [line.split() for line in result.lines[1:]]
    assert [words[:3] for words in typed] == [
        ["edge-gateway", "rules", "test"], ["edge-gateway", "rules", "why"], ["edge-gateway", "rules", "logs"],
    ]  # fmt: skip
    suite = Suite(file)
    assert [str(fault) for fault in suite.faults] == []
    assert [rule.name for rule in suite.loaded.definitions] == ["my_first_rule"]
    trials = list(suite.run())
    assert trials
    assert [trial.message for trial in trials if not trial.ok] == []


def test_new_never_overwrites_and_takes_no_strange_name(site: Site) -> None:
    """A file or a rule of that name stays as it is; what can be no function's name is usage."""
    before = (site.folder / "rules" / "left_open.py").read_text()
    assert site.run("rules", "new", "left_open").code == 1
    (site.folder / "rules" / "two.py").write_text(before.replace("def left_open", "def other"))
    refused = site.run("rules", "new", "other")
    assert (refused.code, "two.py" in refused.err, "nothing was written" in refused.err) == (1, True, True)
    assert (site.folder / "rules" / "left_open.py").read_text() == before
    assert not (site.folder / "rules" / "other.py").exists()
    for name in ("class", "../up", "two words", "test_it", "", "_hidden", "é"):
        assert site.run("rules", "new", name).code == 2, name
    assert tuple(DRAFTS) == TEMPLATES


def test_names_of_rules_are_found_without_running_their_files(site: Site) -> None:
    """With no gateway the names come from the texts: nothing of a file runs while somebody presses Tab."""
    (site.folder / "rules" / "loud.py").write_text(
        "from gateway.rules import rule, timer\nopen('ran', 'w')\n@timer\ndef later(ctx): pass\n"
    )
    (site.folder / "rules" / "half.py").write_text("def half(:\n")
    assert site.run("rules", "list", "--names").out.split() == ["later", "left_open"]
