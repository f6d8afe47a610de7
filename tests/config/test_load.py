"""gateway.toml in the forms people write it, and what comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config.load import Config, load, machine_timezone, read
from gateway.errors import ConfigError
from gateway.secrets import Secret

LISTENER = "[sources.house]\nlisten = '127.0.0.1:1883'\n"
HTTP = "type = 'http'\nurl = 'https://example.com/events'\n"
DEVICES = """\
[[device]]
id = "house/z2m:front"
name = "front-door"
room = "hall"
"""


def loaded(folder: Path, text: str, **files: str) -> Config:
    """Load a config of this text."""
    (folder / "gateway.toml").write_text(text)
    for name, content in files.items():
        (folder / f"{name}.toml").write_text(content)
    return load(folder / "gateway.toml")


def test_an_empty_config_is_a_gateway(tmp_path: Path) -> None:
    """Without a line devices talk to the gateway's own listener on loopback, and events stay in the journal."""
    config = loaded(tmp_path, "")
    (listener,) = config.sources.values()
    assert list(config.sources) == ["house"]
    assert (listener.host, listener.port) == ("127.0.0.1", 1883)
    assert not config.targets
    assert not config.routes
    assert config.gateway.name
    assert config.places == (
        Path("/var/lib/edge-gateway"),
        Path("/var/lib/edge-gateway/journal"),
        Path("/var/lib/edge-gateway/api.sock"),
    )
    assert [warning.what for warning in config.warnings] == ["no target: events stay in the journal"]


def test_a_broker_is_one_line(tmp_path: Path) -> None:
    """A text is short for a table with an address."""
    config = loaded(tmp_path, 'sources.house = "mqtt://localhost"')
    assert (config.sources["house"].url, config.sources["house"].keep_alive_s) == ("mqtt://localhost", 60)


def test_one_target_and_no_route_is_everything(tmp_path: Path) -> None:
    """No [routes] and one target: one route of its name, all events, alarms first."""
    config = loaded(tmp_path, f"{LISTENER}[targets.cloud]\n{HTTP}")
    (route,) = config.routes.values()
    assert (list(config.routes), route.to, route.lanes) == (["cloud"], "cloud", ("alarm", "telemetry"))
    assert (route.types, route.devices, route.rooms) == ((), (), ())
    assert config.warnings == []


def test_a_target_nobody_routes_to_is_a_warning(tmp_path: Path) -> None:
    """A target without a route works for nobody, which was hardly meant."""
    text = f"{LISTENER}[targets.a]\n{HTTP}[targets.b]\n{HTTP}[routes.all]\nto = 'a'\n"
    (warning,) = loaded(tmp_path, text).warnings
    assert (warning.line, warning.what) == (6, "no route leads to target 'b'")


def test_routes_name_devices_by_name_or_id(tmp_path: Path) -> None:
    """A device's name in a route becomes its id, which is what events carry; excluded ones and patterns too."""
    text = (
        f"{LISTENER}[targets.cloud]\n{HTTP}[routes.all]\nto = 'cloud'\n"
        "devices = ['front-door', '!front-door', 'house/z2m:other', '*kitchen*']\n"
    )
    config = loaded(tmp_path, text, devices=DEVICES)
    assert config.routes["all"].devices == (
        "house/z2m:front",
        "!house/z2m:front",
        "house/z2m:other",
        "*kitchen*",
    )


def test_paths_are_relative_to_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the command is typed, a relative path is looked for beside gateway.toml."""
    (tmp_path / "site" / "mine").mkdir(parents=True)
    (tmp_path / "site" / "ca.pem").write_text("x")
    text = (
        "[gateway]\nstate = 'var'\nprofiles = ['mine']\n[journal]\nfolder = '/big/disk'\n[api]\nsocket = 'gw.sock'\n"
        f"{LISTENER}[targets.cloud]\n{HTTP}tls = {{ ca = 'ca.pem' }}\nbearer = {{ file = 'token' }}\n"
    )
    (tmp_path / "site" / "gateway.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    config = load(Path("site/gateway.toml"))
    site = tmp_path / "site"
    assert config.places == (site / "var", Path("/big/disk"), site / "gw.sock")
    assert config.profiles[-1] == site / "mine"
    assert config.gateway.devices == site / "devices.toml"
    assert config.rules.folder == site / "rules"
    assert config.targets["cloud"].tls.ca == site / "ca.pem"
    assert config.targets["cloud"].bearer == Secret("file", str(site / "token"))


def test_an_overlay_changes_a_site(tmp_path: Path) -> None:
    """A fleet's gateway.toml is made a site's by a file with a few lines."""
    (tmp_path / "gateway.d").mkdir()
    (tmp_path / "gateway.d" / "10-site.toml").write_text("[variables]\nsite = 'b3'\n[journal]\nmax_delay_ms = '1s'\n")
    config = loaded(tmp_path, "[gateway]\nname = '${site}'\n[journal]\nmax_delay_ms = 20\nlevel = 3\n")
    assert (config.gateway.name, config.journal.max_delay_ms, config.journal.level) == ("b3", 1000, 3)


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [
        ("127.0.0.1:1884", "127.0.0.1", 1884),
        ("localhost:1", "localhost", 1),
        ("[::1]:1885", "::1", 1885),
        (":1886", "127.0.0.1", 1886),
        ("1887", "127.0.0.1", 1887),
    ],
)
def test_where_to_listen(listen: str, host: str, port: int, tmp_path: Path) -> None:
    """An address to listen on is host and port; without a host it is loopback."""
    config = loaded(tmp_path, f"[sources.house]\nlisten = '{listen}'\n")
    assert (config.sources["house"].host, config.sources["house"].port) == (host, port)


@pytest.mark.parametrize("listen", ["localhost", "1.2.3.4:", "[::1:1883", "host:port", ""])
def test_no_place_to_listen(listen: str, tmp_path: Path) -> None:
    """Anything else is refused with what to write."""
    with pytest.raises(ConfigError, match=r'gateway.toml:2: .* \(write "127.0.0.1:1883"'):
        loaded(tmp_path, f"[sources.house]\nlisten = '{listen}'\n")


def test_two_listeners_on_different_addresses(tmp_path: Path) -> None:
    """One port may be listened on at two addresses, but not when one of them is every address."""
    text = (
        "[sources.a]\nlisten = '127.0.0.1:1883'\n[sources.b]\nlisten = '{}:1883'\nusers = {{ x = {{ env = 'X' }} }}\n"
    )
    assert len(loaded(tmp_path, text.format("127.0.0.2")).sources) == 2
    with pytest.raises(ConfigError, match="both listen on port 1883"):
        loaded(tmp_path, text.format("0.0.0.0"))


def test_the_rules_live_in_the_houses_timezone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway's timezone is that of the rules, unless they have their own; the machine's if none is said."""
    config = loaded(tmp_path, "[gateway]\ntimezone = 'Europe/Berlin'\n")
    assert config.rules.timezone == "Europe/Berlin"
    config = loaded(tmp_path, "[gateway]\ntimezone = 'Europe/Berlin'\n[rules]\ntimezone = 'Asia/Tokyo'\n")
    assert config.rules.timezone == "Asia/Tokyo"
    monkeypatch.setenv("TZ", "America/New_York")
    assert loaded(tmp_path, "").rules.timezone == "America/New_York"
    monkeypatch.setenv("TZ", "nonsense/nowhere")
    assert machine_timezone() == "UTC"


def test_a_table_with_a_fault_is_still_looked_into(tmp_path: Path) -> None:
    """What is right in a table with a fault is used, so that faults behind it are found in the same run."""
    (tmp_path / "gateway.toml").write_text("[gateway]\nnmae = 'x'\nprofiles = ['mine', 'yours']\ntimezone = 'x'\n")
    _, faults = read(tmp_path / "gateway.toml")
    assert sorted(fault.line or 0 for fault in faults) == [2, 3, 3, 4]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sources = 5", "sources must be a table, not a number"),
        ("sources.house = 5", "a source is a text or a table, not a number"),
        ("sources.'a/b' = 'mqtt://h'", "'a/b' is no name"),
        ("[sources.house]\n", "has no url, listen"),
        ("[sources.house]\nserial = '/dev/ttyUSB0'", "missing key 'profile'"),
        (
            "[sources.house]\nserial = 'ttyUSB0'\nprofile = 'arduino'",
            "'ttyUSB0' is no serial port: write usb:1a86:7523",
        ),
        ("[sources.house]\nserial = '/dev/ttyUSB0'\nprofile = []", "profile names 1 to 64 profiles"),
        ("[sources.house]\nserial = '/dev/ttyUSB0'\nprofile = 'a'\nmode = '9N1'", "'mode': "),
        ("targets.cloud = 'mqtt://h'", "a target is a table, not a text"),
        ("journal = true", "journal must be a table, not true or false"),
        ("variables = 1", r"\[variables\] must be a table"),
        ("gateway.name = 'a/b'", "'a/b' is no name"),
        ("gateway.devices = 'nowhere.toml'", "there is no file"),
        ("sources.house = 'mqtt://h'\noffers.source = 'huose'", r"there is no source 'huose' \(did you mean 'house'"),
        ("offers.source = 'attic'\n[sources.attic]\nserial = '/dev/a'\nprofile = 'arduino'", "'attic' has no topics"),
        ("offers.topic = 'a/#'", "'a/#' is not the beginning of a topic"),
    ],
)
def test_odd_shapes_are_faults(text: str, says: str, tmp_path: Path) -> None:
    """Whatever TOML can say in the wrong place is a fault with a line, never a traceback."""
    with pytest.raises(ConfigError, match=says) as caught:
        loaded(tmp_path, text)
    assert all(fault.line for fault in caught.value.faults)


def test_any_toml_is_read_or_refused(tmp_path: Path) -> None:
    """Every value type under every known key loads or is a ConfigError."""
    values = [
        "1",
        "-1",
        "1.5",
        "nan",
        "'x'",
        "''",
        "true",
        "[]",
        "[1, {}]",
        "{}",
        "{ a = {} }",
        "2026-11-23",
        "07:00:00",
    ]
    keys = ["gateway", "gateway.profiles", "gateway.location", "api.socket", "journal", "journal.bytes_max", "sources"]
    keys += [
        "sources.a",
        "sources.a.url",
        "sources.a.listen",
        "sources.a.users",
        "targets",
        "targets.a",
        "targets.a.type",
    ]
    keys += [
        "routes",
        "routes.a",
        "routes.a.to",
        "routes.a.devices",
        "rules",
        "rules.folder",
        "rules.modes",
        "variables",
    ]
    outcomes: dict[bool, int] = {True: 0, False: 0}
    for key in keys:
        for value in values:
            outcome = outcome_of(tmp_path, f"{key} = {value}\n")
            outcomes[outcome] += 1
    assert outcomes[True] > 10
    assert outcomes[False] > 100


def outcome_of(folder: Path, text: str) -> bool:
    """Return whether a text loads; anything but a ConfigError escapes."""
    try:
        result: Any = loaded(folder, text)
    except ConfigError:
        return False
    return bool(result)
