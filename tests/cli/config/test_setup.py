"""`setup` against a real broker, and what it makes of what it finds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.config import place
from gateway.cli.main import main
from gateway.config.load import load
from gateway.errors import GatewayError
from gateway.installation.around import SerialPort, described, neighbours, serial_ports
from gateway.profiles.catalogue import Catalogue
from gateway.sources.ports import Found
from gateway.sources.source import Delivery
from simulators.processes import free_port
from tests.mqtt.broker import Broker
from tests.rights import shared_folder, with_few_rights
from tests.system.rig import House, device, running, until

CATALOGUE = Catalogue.load()
KEPT = {
    "zigbee2mqtt/bridge/info": {"version": "2.1.0", "coordinator": {}},
    "zigbee2mqtt/bridge/devices": [{"type": "Coordinator"}, {"type": "EndDevice"}],
    "zigbee2mqtt/hall/door": {"contact": False, "battery": 80},
    "frigate/available": "online",
    "frigate/stats": {"cameras": {"porch": {}}, "service": {"version": "0.14"}},
    "sauna/7/kgb": {"zorp": 1},
}
HIDDEN = "not-to-be-printed"


def heard(messages: dict[str, Any]) -> dict[str, Delivery]:
    """Return messages as they come."""
    origin: Any = None
    bodies = {topic: p if isinstance(p, str) else json.dumps(p) for topic, p in messages.items()}
    return {topic: Delivery("setup", topic, body.encode(), 1, origin) for topic, body in bodies.items()}


def run(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> tuple[int, Any]:
    """Run `setup --json` in a folder of its own; return its code and what it said."""
    folder.mkdir(exist_ok=True)
    capsys.readouterr()
    code = main(["setup", "--config", str(folder / "gateway.toml"), "--json", *words])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else None


def test_a_broker_is_listened_to_and_a_config_written_that_only_observes(
    tmp_path: Path, broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    """Zigbee2MQTT, Frigate and a door are found; the files are good, observe, and are never overwritten."""
    with device(broker.port) as sender:
        for topic, payload in KEPT.items():
            body = payload if isinstance(payload, str) else json.dumps(payload)
            sender._client.publish(topic, body, 1, retain=True).wait_for_publish(30)

    def found() -> Any:
        folder = tmp_path / str(time.monotonic_ns())
        code, plan = run(capsys, folder, "--yes", "--broker", broker.url, "--for", "1s")
        assert (code, plan["written"]) == (0, True)
        return (folder, plan) if plan["broker"]["topics"] == len(KEPT) else None

    folder, plan = until(found)
    assert [(each["kind"], each["version"], each["devices"]) for each in plan["broker"]["bridges"]] == [
        ("frigate", "0.14", 1), ("zigbee2mqtt", "2.1.0", 1),
    ]  # fmt: skip
    assert plan["broker"]["devices"]["house/z2m:hall/door"] == "zigbee2mqtt-contact"
    assert plan["broker"]["strangers"] == 1
    assert plan["broker"]["unknown"][0]["device"] == "sauna/7"
    config = load(folder / "gateway.toml")
    assert (config.gateway.commands, str(config.sources["house"].url)) == ("observe", broker.url)
    assert "hall-door" in {installed.name for installed in config.devices}
    assert len((folder / "gateway.toml").read_text().splitlines()) <= 5
    assert plan["next"][-1] == "edge-gateway events --follow"
    before = (folder / "gateway.toml").read_text()
    assert run(capsys, folder, "--yes", "--listen", "127.0.0.1:1")[0] == 1
    assert (folder / "gateway.toml").read_text() == before


def test_with_nothing_found_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No broker: nothing is written, and the three ways on are told; the listener is one of them."""
    nowhere = f"mqtt://127.0.0.1:{free_port()}"
    config = tmp_path / "gateway.toml"
    assert main(["setup", "--config", str(config), "--broker", nowhere, "--yes"]) == 1
    said = capsys.readouterr().out
    assert "edge-gateway demo" in said
    assert "refused" in said
    assert not config.exists()
    code, plan = run(capsys, tmp_path, "--listen", "127.0.0.1:1899", "--dry-run")
    assert (code, plan["written"], config.exists()) == (0, False, False)
    code, plan = run(capsys, tmp_path, "--listen", "127.0.0.1:1899", "--serial", "/dev/attic=rflink", "--yes")
    assert code == 0
    made = load(config)
    assert (made.sources["house"].port, made.sources["rflink"].serial) == (1899, "/dev/attic")


def test_a_config_from_a_package_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a gateway.toml names no source yet, what is found is written beside it, once; the file itself stays."""
    config = tmp_path / "gateway.toml"
    config.write_text('[api]\nsocket = "api.sock"\n')
    code, plan = run(capsys, tmp_path, "--yes", "--listen", "127.0.0.1:1899")
    assert (code, plan["written"]) == (0, True)
    assert config.read_text() == '[api]\nsocket = "api.sock"\n'
    loaded = load(config)
    assert loaded.sources["house"].port == 1899
    assert loaded.gateway.commands == "observe"
    assert run(capsys, tmp_path, "--yes", "--listen", "127.0.0.1:1898")[0] == 1
    assert load(config).sources["house"].port == 1899


def test_a_broker_that_asks_who_we_are(
    tmp_path: Path, mosquitto: Callable[..., Broker], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a password it is said what to give; with one the config names the file, and its text is not printed."""
    broker = mosquitto(users={"gateway": HIDDEN})
    code, plan = run(capsys, tmp_path, "--broker", broker.url, "--yes", "--for", "100ms")
    assert (code, plan["notes"][-1]) == (1, "give --username and --password-file")
    (tmp_path / "secret").write_text(HIDDEN)
    words = ("--broker", broker.url, "--username", "gateway", "--password-file", str(tmp_path / "secret"))
    code, plan = run(capsys, tmp_path, *words, "--yes", "--for", "100ms")
    assert code == 0
    assert HIDDEN not in json.dumps(plan)
    assert HIDDEN not in (tmp_path / "gateway.toml").read_text()
    assert load(tmp_path / "gateway.toml").sources["house"].password() == HIDDEN


def test_what_is_on_a_broker_is_read_as_a_gateway_would() -> None:
    """Other base topics are found by what is kept there; devices that describe themselves have their stable ids."""
    messages = {
        "attic/z2m/bridge/state": {"state": "online"},
        "attic/z2m/door": {"contact": True},
        "weather/now": {"battery": 1, "linkquality": 3},
    }
    broker = described("mqtt://b", heard(messages), CATALOGUE, "house")
    assert broker.prefixes == {"zigbee2mqtt": "attic/z2m"}
    assert set(broker.devices) == {"house/z2m:door"}
    assert broker.strangers == 1
    exposes = [{"type": "binary", "name": "contact", "property": "contact", "access": 1, "value_on": False,
                "value_off": True}]  # fmt: skip
    described_device = {"ieee_address": "0x00158d0001a2b3c4", "friendly_name": "hall/door", "type": "EndDevice",
                        "supported": True, "definition": {"model": "M", "vendor": "V", "exposes": exposes}}  # fmt: skip
    messages = {"zigbee2mqtt/hall/door": {"contact": False}, "zigbee2mqtt/bridge/devices": [described_device]}
    broker = described("mqtt://b", heard(messages), CATALOGUE, "house")
    assert broker.called == {"house/z2m:0x00158d0001a2b3c4": "hall/door"}
    assert set(broker.devices) == {"house/z2m:0x00158d0001a2b3c4"}, "by what it says about itself, whatever came first"
    renamed = {f"cellar/shellydw-{n}/sensor/state": "open" for n in range(3)}
    broker = described("mqtt://b", heard(renamed), CATALOGUE, "house")
    assert broker.prefixes == {"shellies": "cellar"}
    assert len(broker.devices) == 3


def test_ports_are_named_by_identity() -> None:
    """A port whose device calls itself by a word of one profile is given to it; any other is left to a person."""
    (word, profile) = next(
        (word, compiled.source.id)
        for compiled in CATALOGUE.profiles.values()
        for word in compiled.source.link.ports
        if sum(word in other.source.link.ports for other in CATALOGUE.profiles.values()) == 1
    )
    ports = [
        Found(Path("/dev/ttyUSB0"), identity="usb:1:2", title=f"ACME {word.upper()} stick"),
        Found(Path("/dev/ttyUSB1"), identity="usb:1:3", title="FT232R USB UART"),
    ]
    assert serial_ports(ports, CATALOGUE) == [
        SerialPort("usb:1:2", "/dev/ttyUSB0", f"ACME {word.upper()} stick", profile),
        SerialPort("usb:1:3", "/dev/ttyUSB1", "FT232R USB UART", ""),
    ]


def test_neighbours_are_those_that_answer(tmp_path: Path, broker: Broker) -> None:
    """Of the machines that this one knows, those that answer on the port are returned."""
    import asyncio

    table = tmp_path / "arp"
    head = "IP address       HW type     Flags       HW address            Mask     Device\n"
    table.write_text(head + "127.0.0.1  0x1  0x2  aa:aa:aa:aa:aa:aa  *  lo\n127.0.0.9  0x1  0x0  00:00  *  lo\n")
    assert asyncio.run(neighbours(broker.port, table)) == ["127.0.0.1"]
    assert asyncio.run(neighbours(free_port(), table)) == []
    assert asyncio.run(neighbours(broker.port, tmp_path / "none")) == []


def test_the_gateways_own_listener_is_no_broker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the running gateway has the port, it is not taken for a broker; how a broker gets the port is said."""
    port = free_port()
    with running(House(tmp_path, f'[sources.house]\nlisten = "127.0.0.1:{port}"')) as house:
        words = ["setup", "--config", str(house.file), "--broker", f"mqtt://127.0.0.1:{port}", "--dry-run"]
        capsys.readouterr()
        assert main(words) == 1
        told = capsys.readouterr().out
        assert f"At 127.0.0.1:{port} the running gateway itself listens" in told
        assert "sudo systemctl restart mosquitto && sudo edge-gateway setup" in told
        other = f"mqtt://127.0.0.1:{free_port()}"
        assert main([*words[:3], "--broker", other, "--dry-run", "--json"]) == 1
        assert "refused" in json.loads(capsys.readouterr().out)["notes"][0]


def test_beside_a_service_setup_writes_for_the_service_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not write where the service looks is told to use sudo; only without a service it is written here."""
    with shared_folder() as folder:
        config = folder / "etc" / "gateway.toml"
        monkeypatch.setattr(place, "CONFIG", config)
        assert place.config_place(config, shown=False) == Path("gateway.toml")
        config.parent.mkdir()
        config.touch()
        assert place.config_place(config, shown=False) == config
        with with_few_rights(config.parent, 0o555):
            assert place.config_place(config, shown=True) == config
            with pytest.raises(GatewayError, match="Type: sudo edge-gateway setup"):
                place.config_place(config, shown=False)
            assert place.config_place(folder / "own.toml", shown=False) == folder / "own.toml"
