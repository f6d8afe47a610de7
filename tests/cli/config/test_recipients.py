"""[notify]: recipients and groups as people write them, and what is wrong with them and with rules that name them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gateway.config.load import Config, load
from gateway.config.recipients import missing_extra
from gateway.errors import ConfigError
from gateway.secrets import Secret
from tests.cli.site import Site

ANNA = '[notify.anna]\nurl = { file = "anna" }\n'
BEN = '[notify.ben]\ncarrier = "log"\n'


def loaded(folder: Path, text: str) -> Config:
    """Load a config of this text."""
    (folder / "gateway.toml").write_text(text)
    return load(folder / "gateway.toml")


def test_recipients_and_groups(tmp_path: Path) -> None:
    """A table is a recipient, a list a group, and everyone is a group by itself."""
    text = f'[notify]\nparents = ["anna", "ben"]\n{ANNA}quiet = "22:00-07:00"\nretry_max_s = "5m"\n{BEN}'
    directory = loaded(tmp_path, text).notify
    assert directory.names == ["anna", "ben", "everyone", "parents"]
    assert directory.members("parents") == directory.members("everyone") == ("anna", "ben")
    assert (directory.members("anna"), directory.members("carla")) == (("anna",), None)
    anna = directory.recipients["anna"]
    assert (anna.url, anna.per_hour_max, anna.retry_max_s) == (Secret("file", str(tmp_path / "anna")), 20, 300.0)
    assert anna.hours is not None
    assert loaded(tmp_path, f'[notify]\neveryone = ["ben"]\n{ANNA}{BEN}').notify.members("everyone") == ("ben",)
    assert loaded(tmp_path, "").notify.members("everyone") == ()


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('[notify.anna]\nurl = "https://hunter2.example"\n', 2, "does not belong in the config"),
        ("[notify.anna]\n", 1, "url is missing"),
        ('[notify.anna]\nurll = { env = "A" }\n', 2, "did you mean 'url'?"),
        (f'{ANNA}quiet = "22 to 7"\n', 1, "are no hours"),
        (f'{ANNA}quiet = "sunset..sunrise"\n', 1, "by the clock"),
        (f"{ANNA}per_hour_max = 0\n", 1, "over 0"),
        ('[notify.anna]\ncarrier = "mqtt"\n', 1, "needs a topic"),
        ('[notify.anna]\ncarrier = "post"\n', 2, "carrier"),
        (f'[notify.anna]\ncarrier = "mqtt"\ntopic = "a"\nsource = "huose"\n{BEN}', 4, "did you mean 'house'?"),
        (f'[notify]\nall = ["ana"]\n{ANNA}', 2, "did you mean 'anna'?"),
        ("[notify]\nanna = 3\n", 2, "neither a recipient nor a group"),
        ('[notify.everyone]\ncarrier = "log"\n', 1, "the group of all recipients"),
        (f'{ANNA}tls = {{ ca = "missing.pem" }}\n', 3, "there is no file"),
    ],
)
def test_each_fault_has_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    """What is wrong is said with its line, and no secret is repeated."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    (fault,) = caught.value.faults
    assert (fault.line, says in str(fault)) == (line, True), str(fault)
    assert "hunter2" not in str(fault)


def test_who_needs_apprise_is_told_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra `check` names the recipients that need it, by carrier or by address; others do not."""
    (tmp_path / "anna").write_text("tgram://hunter2/1")
    (tmp_path / "carla").write_text("https://example.com/hook")
    text = (
        f'{ANNA}{BEN}[notify.carla]\nurl = {{ file = "carla" }}\n[notify.doris]\nurl = {{ env = "NOT_SET_AT_ALL" }}\n'
    )
    config = loaded(tmp_path, f'{text}carrier = "apprise"\n')
    assert list(missing_extra(config)) == []
    monkeypatch.setitem(sys.modules, "apprise", None)  # what the import system says of a module that is not there
    faults = list(missing_extra(config))
    assert [fault.what.partition(" ")[0] for fault in faults] == ["anna", "doris"]
    assert all(fault.hint == "pip install 'edge-gateway[notify]'" for fault in faults)
    assert "hunter2" not in repr(faults)


def test_check_knows_whom_rules_name(site: Site) -> None:
    """A misspelt recipient in a rule is a fault at its line; an address that can't be read is a warning."""
    site.write(
        {
            "gateway.toml": f'[gateway]\nname = "pi"\n{ANNA}',
            "rules/tell.py": "from gateway.rules import rule\n\n\n@rule('door_opened')\ndef tell(event, ctx):\n"
            "    ctx.notify('x', to='ana')\n    ctx.alert('x', escalate=[('1m', 'siren-hall'), ('2m', 'evryone')])\n",
        }
    )
    result = site.run("check")
    said = [site.relative(line) for line in result.lines]
    assert result.code == 78
    assert any(line.startswith("rules/tell.py:6: there is no recipient 'ana' (did you mean 'anna'?)") for line in said)
    assert any(line.startswith("rules/tell.py:7: there is no recipient or device 'evryone'") for line in said)
    assert any("warning" in line and "cannot read the secret" in line for line in said)
    assert sum("rules/tell.py" in line for line in said) == 2


def test_effective_recipients_are_a_config(site: Site) -> None:
    """`check --effective` prints them with their origins, and what it prints loads again."""
    site.write({"gateway.toml": f'[gateway]\nname = "pi"\n[notify]\nparents = ["anna", "ben"]\n{ANNA}{BEN}'})
    first = site.run("check", "--effective").out
    assert "hunter2" not in first
    site.write({"gateway.toml": first.partition("\nwarning")[0].rpartition("\n\n")[0]})
    config = load(site.config)
    assert config.notify.members("parents") == ("anna", "ben")
    assert config.notify.recipients["ben"].carrier == "log"
