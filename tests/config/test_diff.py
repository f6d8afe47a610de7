"""What differs between two configs, and what it means to a gateway that runs."""

from __future__ import annotations

from pathlib import Path

from gateway.config.diff import ONWARDS, differences, needs_restart
from gateway.config.load import Config, load

BASE = """
[gateway]
name = "pi"
state = "state"
timezone = "UTC"
[sources.house]
url = "mqtt://localhost"
[targets.cloud]
type = "mqtt"
url = "mqtts://a.example"
username = "pi"
password = { file = "secret" }
"""


def config(folder: Path, text: str) -> Config:
    """Load a config."""
    folder.mkdir(exist_ok=True)
    (folder / "secret").write_text("x\n")
    (folder / "gateway.toml").write_text(text)
    return load(folder / "gateway.toml")


def test_the_same_written_otherwise_is_no_difference(tmp_path: Path) -> None:
    """A default that is written out, and the order of tables, change nothing."""
    head, sources, rest = BASE.partition("[sources.house]")
    table, _, targets = rest.partition("[targets.cloud]")
    other = f"{head}[targets.cloud]{targets}{sources}{table}qos = 1\n"
    assert differences(config(tmp_path, BASE), config(tmp_path, other)) == []


def test_each_change_says_where_it_stands_and_what_it_means(tmp_path: Path) -> None:
    """A changed address, a new source, one that is gone, a name: each with file:line, and its meaning."""
    before = config(tmp_path, BASE)
    text = BASE.replace("mqtts://a", "mqtts://b").replace("sources.house", "sources.attic").replace('"pi"', '"po"', 1)
    changes = {change.key: change for change in differences(before, config(tmp_path, text))}
    address = changes["targets.cloud.url"]
    assert (address.before, address.after) == ("mqtts://a.example", "mqtts://b.example")
    assert address.origin == f"{tmp_path / 'gateway.toml'}:10"
    assert address.means == f"target cloud is made anew, with its routes{ONWARDS}"
    assert {key: changes[key].means for key in changes if key.startswith("sources.")} == {
        "sources.attic.url": "source attic is new",
        "sources.house.url": "source house is gone",
    }
    assert [change.key for change in needs_restart(list(changes.values()))] == ["gateway.name"]


def test_a_secret_is_named_and_its_content_only_said_to_be_another(tmp_path: Path) -> None:
    """Another place of a secret is shown as a place; another content behind it as no more than that."""
    before = config(tmp_path, BASE)
    moved = differences(before, config(tmp_path, BASE.replace('{ file = "secret" }', '{ env = "CLOUD" }')))
    assert [(change.key, change.after) for change in moved] == [("targets.cloud.password", {"env": "CLOUD"})]
    same = differences(before, config(tmp_path, BASE), touched=["targets.cloud"])
    assert [(change.key, change.after, change.effect) for change in same] == [
        ("targets.cloud", "(changed)", "replaced")
    ]


def test_limits_are_live_and_the_journal_itself_is_not(tmp_path: Path) -> None:
    """How long telemetry is kept can change while it runs; how large the journal is cannot."""
    text = f"{BASE}[journal]\nbytes_max = '64MB'\n[journal.telemetry]\nage_max_s = 3600\n"
    changes = {change.key: change.effect for change in differences(config(tmp_path, BASE), config(tmp_path, text))}
    assert changes == {"journal.bytes_max": "restart", "journal.telemetry.age_max_s": "live"}
