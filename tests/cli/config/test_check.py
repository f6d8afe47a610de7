"""`check`: each broken config, profile and rule is named with file and line and the likely fix."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.site import GOOD, Site, command

SOURCES = GOOD["gateway.toml"].partition("[targets.cloud]")[0]
CLOUD = '[targets.cloud]\ntype = "mqtt"\nurl = "mqtt://localhost:1884"\n'
FRONT = '[[device]]\nid = "house/z2m:front"\n'


NIGHT = "from gateway.rules import rule\n\n\n@rule('door_opened')\ndef night(event, ctx):\n    'Sound.'\n    {}\n"


def config(text: str) -> dict[str, str]:
    """Return a site whose gateway.toml is `text`."""
    return {"gateway.toml": text}


BROKEN: dict[str, tuple[dict[str, str], str, str]] = {
    # name: (files, where the fault must be said to be, what must be said)
    "toml syntax": (config("[gateway]\nname = pi\n"), "gateway.toml:2:", "not TOML"),
    "toml twice": (config("[gateway]\nname = 'a'\n[gateway]\n"), "gateway.toml:3:", "not TOML"),
    "unknown section": (config(SOURCES + CLOUD + "[surces.x]\n"), "gateway.toml:11:", "did you mean 'sources'?"),
    "unknown key": (config("[gateway]\n\nnmae = 'pi'\n"), "gateway.toml:3:", "did you mean 'name'?"),
    "wrong type": (config("[journal]\nalign = 'wide'\n"), "gateway.toml:2:", "'align'"),
    "bad duration": (config("[journal]\nmax_delay_ms = 'soon'\n"), "gateway.toml:2:", 'write "250ms"'),
    "bad size": (config("[journal]\nbytes_max = '5 elephants'\n"), "gateway.toml:2:", '"64MB"'),
    "value out of range": (config("[journal]\nalign = 100\n"), "gateway.toml:1:", "multiple of 512"),
    "bad choice": (config("[gateway]\ncommands = 'obsrve'\n"), "gateway.toml:2:", "did you mean 'observe'?"),
    "bad policy": (config("[journal.telemetry]\npolicy = 'thinn'\n"), "gateway.toml:2:", "did you mean 'thin'?"),
    "bad age": (config("[journal.alarm]\nage_max = '30d'\n"), "gateway.toml:2:", "did you mean 'age_max_s'?"),
    "a lane larger than all": (
        config("[journal]\nbytes_max = '64MB'\ntelemetry.bytes_max = '65MB'\n"),
        "gateway.toml:1:",
        "journal.telemetry.bytes_max is more than journal.bytes_max",
    ),
    "bad timezone": (
        config("[gateway]\ntimezone = 'Europe/Berln'\n"),
        "gateway.toml:2:",
        "did you mean 'Europe/Berlin'?",
    ),
    "bad location": (
        config("[gateway]\nlocation = { latitude = 95.0, longitude = 0.0 }\n"),
        "gateway.toml:2:",
        "-90 to 90",
    ),
    "no broker address": (config("sources.house = 'localhost'\n"), "gateway.toml:1:", 'write "mqtt://localhost"'),
    "wrong scheme": (
        config("[sources.house]\nurl = 'mqt://gw:hunter2@localhost'\n"),
        "gateway.toml:2:",
        "did you mean 'mqtt'?",
    ),
    "prefix of no profile": (
        config("[sources.house]\nurl = 'mqtt://h'\nprefixes = { zigbee2mqt = 'attic/z2m' }\n"),
        "gateway.toml:3:",
        "did you mean 'zigbee2mqtt'?",
    ),
    "prefix that is no topic": (
        config("[sources.house]\nlisten = '1883'\nprefixes = { zigbee2mqtt = 'attic/#' }\n"),
        "gateway.toml:1:",
        "not the beginning of a topic",
    ),
    "two on one port": (
        config(SOURCES + "[sources.attic]\nlisten = '127.0.0.1:1883'\n" + CLOUD),
        "gateway.toml:9:",
        "'house' and 'attic' both listen on port 1883",
    ),
    "open to the network": (config("[sources.house]\nlisten = '0.0.0.0:1883'\n"), "gateway.toml:1:", "add users"),
    "literal password": (
        config("[sources.house]\nlisten = '0.0.0.0:1883'\nusers = { trv = 'hunter2' }\n"),
        "gateway.toml:3:",
        '{ file = "…" }',
    ),
    "literal password of a broker": (
        config("[sources.house]\nurl = 'mqtt://h'\nusername = 'gw'\npassword = 'hunter2'\n"),
        "gateway.toml:4:",
        '{ file = "…" }',
    ),
    "password in the address": (
        config("sources.house = 'mqtt://gw:hunter2@h'\n"),
        "gateway.toml:1:",
        "do not belong in the url",
    ),
    "tls without tls": (
        config("[sources.house]\nurl = 'mqtt://h'\ntls = { verify = false }\n"),
        "gateway.toml:1:",
        "write mqtts://",
    ),
    "no profile": (config("[sources.attic]\nserial = 'usb:1a86:7523'\n"), "gateway.toml:1:", "missing key 'profile'"),
    "profile of a broker": (
        config("[sources.attic]\nserial = '/dev/ttyUSB0'\nprofile = 'tasmota'\n"),
        "gateway.toml:3:",
        "profile 'tasmota' does not read serial ports",
    ),
    "family of a broker": (
        config("[sources.attic]\nserial = '/dev/ttyUSB0'\nprofile = 'zigbee2mqtt'\n"),
        "gateway.toml:3:",
        "no profile of 'zigbee2mqtt' reads serial ports",
    ),
    "unknown profile": (
        config("[sources.attic]\nserial = '/dev/ttyUSB0'\nprofile = 'rflin'\n"),
        "gateway.toml:3:",
        "did you mean 'rflink'?",
    ),
    "profiles that do not agree": (
        config("[sources.attic]\nserial = '/dev/ttyUSB0'\nprofile = ['rflink', 'arduino']\n"),
        "gateway.toml:3:",
        "profiles 'rflink' and 'arduino' have different baud: they cannot share a port",
    ),
    "two on one serial port": (
        config("".join(f"[sources.{name}]\nserial = 'usb:1A86:7523'\nprofile = 'rflink'\n" for name in ("a", "b"))),
        "gateway.toml:5:",
        "source 'a' has this port already",
    ),
    "target of a later version": (
        config("[targets.aws]\ntype = 'aws-iot'\n"),
        "gateway.toml:2:",
        "there are 'mqtt', 'http'",
    ),
    "secret nowhere": (
        config("[sources.house]\nlisten = '0.0.0.0:1883'\nusers = { trv = { flie = 'x' } }\n"),
        "gateway.toml:3:",
        "did you mean 'file'?",
    ),
    "unknown target type": (config("[targets.cloud]\ntype = 'mqqt'\n"), "gateway.toml:2:", "did you mean 'mqtt'?"),
    "no target type": (config("[targets.cloud]\nurl = 'mqtt://h'\n"), "gateway.toml:1:", "missing key 'type'"),
    "route to nowhere": (
        config(SOURCES + CLOUD + "[routes.all]\nto = 'clod'\n"),
        "gateway.toml:12:",
        "unknown target 'clod' (did you mean 'cloud'?)",
    ),
    "route without a target": (
        config(SOURCES + CLOUD + "[routes.all]\nlanes = ['alarm']\n"),
        "gateway.toml:11:",
        "'to'",
    ),
    "unknown room": (
        config(SOURCES + CLOUD + "[routes.all]\nto = 'cloud'\nrooms = ['hal']\n"),
        "gateway.toml:13:",
        "did you mean 'hall'?",
    ),
    "unknown device": (
        config(SOURCES + CLOUD + "[routes.all]\nto = 'cloud'\ndevices = ['front-dor']\n"),
        "gateway.toml:13:",
        "did you mean 'front-door'?",
    ),
    "device of an unknown source": (
        config(SOURCES + CLOUD + "[routes.all]\nto = 'cloud'\ndevices = ['hose/z2m:front']\n"),
        "gateway.toml:13:",
        "did you mean 'house/z2m:front'?",
    ),
    "two targets, no route": (
        config(SOURCES + CLOUD + CLOUD.replace("cloud", "second")),
        "gateway.toml:11:",
        "say which events go where",
    ),
    "missing file": (
        config("[sources.house]\nlisten = '127.0.0.1:1883'\nusers_file = 'passwd'\n"),
        "gateway.toml:3:",
        "there is no file",
    ),
    "missing profiles folder": (
        config("[gateway]\nprofiles = ['rulse']\n"),
        "gateway.toml:2:",
        "did you mean 'rules'?",
    ),
    "missing rules folder": (config("[rules]\nfolder = 'ruls'\n"), "gateway.toml:2:", "did you mean 'rules'?"),
    "unknown variable": (
        config('[gateway]\nname = "${stie}"\n[variables]\nsite = "b3"\n'),
        "gateway.toml:2:",
        "did you mean 'site'?",
    ),
    "overlay": ({"gateway.d/10-site.toml": "# ours\n[gateway]\nnmae = 'x'\n"}, "gateway.d/10-site.toml:3:", "'name'"),
    "device twice": ({"devices.toml": FRONT * 2}, "devices.toml:4:", "'house/z2m:front' is there twice"),
    "device key": ({"devices.toml": FRONT + "rom = 'hall'\n"}, "devices.toml:3:", "did you mean 'room'?"),
    "broken profile": (
        config("[gateway]\nprofiles = ['mine']\n") | {"mine/attic.toml": "schema = 1\nid = 'attic'\nspeling = 1\n"},
        "mine/attic.toml:3:",
        "unknown key 'speling'",
    ),
    "profile syntax": (
        config("[gateway]\nprofiles = ['mine']\n") | {"mine/attic.toml": "schema = \n"},
        "mine/attic.toml:1:",
        "not TOML",
    ),
    "rule syntax": (
        {"rules/broken.py": "from gateway.rules import rule\n\ndef f(:\n"},
        "rules/broken.py:3:",
        "not Python",
    ),
    "rule's unknown device": (
        {
            "rules/siren.py": "from gateway.rules import rule\n\n\n@rule('door_opened')\ndef siren(event, ctx):\n"
            "    '''Sound.'''\n    ctx.hold('siren-hal', on=True)\n"
        },
        "rules/siren.py:7:",
        "did you mean 'siren-hall'?",
    ),
    "rule's unknown argument": (
        {
            "rules/siren.py": "from gateway.rules import rule\n\n\n@rule('door_opened', cooldwn='5m')\n"
            "def siren(event, ctx):\n    '''Sound.'''\n"
        },
        "rules/siren.py:4:",
        "did you mean 'cooldown'?",
    ),
    "type of an input": (config("[inputs.guests]\ntype = 'bool'\n"), "gateway.toml:2:", "did you mean 'boolean'?"),
    "range of an input": (
        config("[inputs.night]\ntype = 'number'\nmax = 20\ndefault = 21\n"),
        "gateway.toml:1:",
        "21 is outside",
    ),
    "address of a web service": (config("[http.hook]\nurl = 'hook.example'\n"), "gateway.toml:1:", "write https://"),
    "secret of a web service": (
        config("[http.hook]\nurl = 'https://hook.example'\nsecrets = { X-Key = 'hunter2' }\n"),
        "gateway.toml:3:",
        "a secret does not belong in the config",
    ),
    "manual hold": ({"devices.toml": FRONT + "manual_hold = 'long'\n"}, "devices.toml:", "'long' is not a duration"),
    "rule's unknown input": (
        {"gateway.toml": "[inputs.guests]\ntype = 'boolean'\n", "rules/night.py": NIGHT.format("ctx.inputs.gests")},
        "rules/night.py:7:",
        "did you mean 'guests'?",
    ),
    "rule's unknown service": (
        {
            "gateway.toml": "[http.hook]\nurl = 'https://hook.example'\n",
            "rules/night.py": NIGHT.format("ctx.http('POST', 'hok')"),
        },
        "rules/night.py:7:",
        "did you mean 'hook'?",
    ),
    "observed rule that is not there": (
        {"gateway.toml": "[rules]\nobserve = ['nigt']\n", "rules/night.py": NIGHT.format("ctx.log('x')")},
        "gateway.toml:2:",
        "did you mean 'night'?",
    ),
    "rule that hangs": (
        {
            "gateway.toml": "[rules]\nload_s_max = 0.3\n",
            "rules/hang.py": "import gateway.rules\n\nwhile True:\n    pass\n",
        },
        "rules/hang.py:",
        "did not end within 0.3 s",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_fault_has_its_place_and_fix(name: str, site: Site) -> None:
    """A broken site is refused with 78, and one line names file, line and what to write."""
    files, where, says = BROKEN[name]
    site.write(files)
    result = site.run("check")
    assert result.code == 78, result.out
    said = [site.relative(line) for line in result.lines]
    assert any(line.startswith(where) and says in line for line in said), result.out
    assert "Traceback" not in result.out + result.err
    assert "hunter2" not in result.out + result.err


def test_a_good_site_is_good(site: Site) -> None:
    """A site without a fault gets 0 and one line that says what there is."""
    result = site.run("check")
    assert result.code == 0, result.lines
    (line,) = result.lines
    assert "is good: 1 source, 1 target, 1 route, 2 devices" in line
    assert "1 rule" in line


def test_all_faults_come_at_once(site: Site) -> None:
    """Faults in config, devices, profiles and rules are told in one run, each once, sorted by place."""
    site.write(
        {
            "gateway.toml": "[gateway]\nnmae = 'x'\nprofiles = ['mine']\n[journal]\nmax_delay_ms = 'x'\nalgn = 1\n",
            "devices.toml": FRONT + "rom = 'x'\n",
            "mine/attic.toml": "x",
            "rules/broken.py": "def f(:\n",
        }
    )
    result = site.run("check", "--json")
    assert result.code == 78
    places = [(Path(fault["file"]).name, fault["line"]) for fault in result.json["faults"]]
    config_places = [("gateway.toml", 2), ("gateway.toml", 5), ("gateway.toml", 6)]
    assert places == [("devices.toml", 3), *config_places, ("attic.toml", 1), ("broken.py", 1)]


def test_a_site_without_a_target_is_good_but_told(site: Site) -> None:
    """Without a target the gateway runs: events stay in the journal, which is a warning."""
    site.write(config(SOURCES))
    result = site.run("check")
    assert result.code == 0
    assert any("warning: " in line and "events stay in the journal" in line for line in result.lines)


def test_an_unreadable_secret_is_a_warning(site: Site) -> None:
    """A credential is there only when systemd starts the service, so its absence does not fail a check."""
    site.write(config("[sources.house]\nlisten = '127.0.0.1:1883'\nusers = { trv = { credential = 'trv' } }\n"))
    result = site.run("check")
    assert result.code == 0
    assert any("gateway.toml:3:" in line and "/etc/edge-gateway/credentials" in line for line in result.lines)


def test_no_config_says_what_to_do(site: Site) -> None:
    """Without a file the fault names it and another way to begin."""
    site.config.unlink()
    result = site.run("check")
    assert result.code == 78
    assert "gateway.toml: there is no such file" in result.lines[0]
    assert "edge-gateway demo" in result.lines[0]


def test_effective_has_every_value_with_its_origin(site: Site) -> None:
    """What is set is shown with file:line, what is not as the default."""
    site.write({"gateway.d/10.toml": "[journal]\nmax_delay_ms = '50ms'\n"})
    lines = [site.relative(line).rpartition("#") for line in site.run("check", "--effective").out.splitlines()]
    found = {text.strip(): origin.strip() for text, mark, origin in lines if mark}
    assert found['name = "pi"'] == "gateway.toml:2"
    assert found["max_delay_ms = 50"] == "gateway.d/10.toml:2"
    assert found["align = 512"] == "default"
    assert found['listen = "127.0.0.1:1883"'] == "gateway.toml:6"
    assert found["# location is not set"] == "default"


def test_effective_is_a_config(site: Site) -> None:
    """What is printed loads again, and says the same."""
    first = site.run("check", "--effective").out
    site.write({"gateway.toml": first.rpartition("\n\n")[0]})
    second = site.run("check", "--effective").out

    def without_origins(text: str) -> list[str]:
        return [line.rpartition("#")[0].strip() for line in text.splitlines() if "#" in line]

    assert site.run("check").code == 0
    assert without_origins(second) == without_origins(first)


def test_effective_does_not_show_secrets(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret is shown as where it is."""
    monkeypatch.setenv("TRV", "hunter2")
    site.write(config("[sources.house]\nlisten = '127.0.0.1:1883'\nusers = { trv = { env = 'TRV' } }\n"))
    for words in (["--effective"], ["--effective", "--json"]):
        result = site.run("check", *words)
        assert result.code == 0
        assert "TRV" in result.out
        assert "hunter2" not in result.out


def test_the_real_command(site: Site) -> None:
    """As its own process it behaves the same, without colour where nobody looks."""
    site.write(config("[gateway]\nnmae = 'pi'\n"))
    result = command("check", "--config", str(site.config))
    assert result.code == 78
    assert f"{site.config}:2: unknown key 'nmae' (did you mean 'name'?)" in result.out.splitlines()
    assert "\x1b" not in result.out
    assert json.loads(command("check", "--json", "--config", str(site.config)).out)["ok"] is False
