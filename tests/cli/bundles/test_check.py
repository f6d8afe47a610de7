"""`bundle make` and `check --bundle` as an integrator types them, on a machine that is none of the sites."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.main import main
from tests.cli.site import Result

FLEET = {
    "gateway.toml": """\
[gateway]
name = "${site}"
devices = "devices/${site}.toml"
profiles = ["/opt/vendor/profiles", "own"]

[sources.house]
url = "mqtts://broker.${city}.example"
username = "gw"
password = { file = "house.password" }
tls = { certificate = "site.pem", key = "site.key" }

[targets.cloud]
type = "mqtt"
url = "mqtts://cloud.example"
username = "${site}"
password = { credential = "cloud" }

[journal]
key = { credential = "journal" }
""",
    "gateway.d/10-limits.toml": '[journal]\nbytes_max = "64MB"\n',
    "sites/berlin-3.toml": '[variables]\ncity = "berlin"\n',
    "sites/rome-1.toml": '[variables]\ncity = "rome"\n[journal]\nmax_delay_ms = "50ms"\n',
    "devices/berlin-3.toml": '[[device]]\nid = "house/z2m:front"\nname = "front-door"\nkind = "door"\n',
    "devices/rome-1.toml": '[[device]]\nid = "house/z2m:back"\nname = "back-door"\nkind = "door"\n',
    "own/none.txt": "",
    "rules/open.py": (
        'from gateway.rules import when\n\n\n@when(kind="door", open=True, lasts="30m")\n'
        'def left_open(door, ctx):\n    """A door is left open."""\n    ctx.alert(f"{door.name} open")\n'
    ),
    "house.password": "hunter2",
    "site.key": "hunter2",
}


class Fleet:
    """A folder with many sites."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        for name, text in FLEET.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        """Write a file of it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, *words: str | Path) -> Result:
        """Run a command in this process."""
        self._capsys.readouterr()
        code = main(list(map(str, words)))
        return Result(code, *self._capsys.readouterr())


@pytest.fixture
def fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Fleet:
    """Have a fleet without a fault."""
    return Fleet(tmp_path / "fleet", capsys)


def test_every_site_is_checked_without_its_machine(fleet: Fleet) -> None:
    """Secrets, keys and folders of the machine are listed, not missed; each site is checked with its own devices."""
    said = fleet.run("check", "--bundle", fleet.folder, "--json")
    assert (said.code, said.json["ok"], said.json["faults"]) == (0, True, [])
    assert [site["site"] for site in said.json["sites"]] == ["berlin-3", "rome-1"]
    needs = {(need["what"], need["where"]) for need in said.json["sites"][0]["needs"]}
    assert {
        ("secret", "file house.password"),
        ("secret", "credential cloud"),
        ("secret", "credential journal"),
    } <= needs
    assert ("file", "site.key") in needs
    assert "hunter2" not in said.out
    text = fleet.run("check", "--bundle", fleet.folder)
    assert "all 2 sites are good" in text.out
    assert f"credential cloud (secret, {fleet.folder}/gateway.toml:16)" in text.out


def test_faults_are_where_they_are(fleet: Fleet) -> None:
    """A fault of one site is told in its file and for it alone, one of all is told once."""
    fleet.write("sites/rome-1.toml", '[variables]\nciti = "rome"\n[journal]\nmax_dely_ms = 5\n')
    fleet.write("gateway.d/20-typo.toml", "[gatway]\n")
    fleet.write("devices/berlin-3.toml", '[[device]]\nid = "house/z2m:front"\nrom = "hall"\n')
    said = fleet.run("check", "--bundle", fleet.folder, "--json")
    assert said.code == 78
    found = {
        (str(Path(each["file"]).relative_to(fleet.folder)), each["line"]): each["sites"] for each in said.json["faults"]
    }
    assert found == {
        ("gateway.d/20-typo.toml", 1): ["berlin-3", "rome-1"],
        ("devices/berlin-3.toml", 3): ["berlin-3"],
        ("gateway.toml", 7): ["rome-1"],
        ("sites/rome-1.toml", 4): ["rome-1"],
    }
    text = fleet.run("check", "--bundle", fleet.folder)
    assert "2 of 2 sites have faults" in text.err
    assert f"{fleet.folder}/sites/rome-1.toml:4: unknown key 'max_dely_ms' (did you mean" in text.out
    assert fleet.run("check", "--bundle", fleet.folder, "--site", "berlin-3", "--json").json["sites"][0]["faults"] == 2


def test_a_made_bundle_is_the_folder(fleet: Fleet, tmp_path: Path) -> None:
    """It has what the config names and no secret, the same bytes each time, and its faults lead into the archive."""
    first, second = tmp_path / "a.tar.zst", tmp_path / "b.tar.zst"
    made = fleet.run("bundle", "make", fleet.folder, "-o", first, "--json").json
    fleet.run("bundle", "make", fleet.folder, "-o", second)
    assert first.read_bytes() == second.read_bytes()
    assert made["sites"] == ["berlin-3", "rome-1"]
    said = fleet.run("check", "--bundle", first, "--json")
    assert (said.code, said.json["hash"], said.json["files"]) == (0, made["hash"], made["files"])
    assert b"hunter2" not in first.read_bytes()
    assert {need["where"] for need in said.json["sites"][0]["needs"]} >= {"site.key", "site.pem", "credential cloud"}
    fleet.write("sites/rome-1.toml", '[variables]\ncity = "rome"\n[journl]\n')
    fleet.run("bundle", "make", fleet.folder, "-o", first)
    said = fleet.run("check", "--bundle", first)
    assert f"{first}/sites/rome-1.toml:3: unknown section 'journl'" in said.out


def test_what_is_no_bundle(fleet: Fleet, tmp_path: Path) -> None:
    """A changed file, a newer program, a site that is not there, no bundle at all: a sentence each, no traceback."""
    (tmp_path / "junk.tar.zst").write_bytes(b"junk" * 100)
    (tmp_path / "empty").mkdir()
    assert fleet.run("bundle", "make", fleet.folder, "-o", tmp_path / "new.tar", "--program", "99.1").code == 0
    for path, what in (
        (tmp_path / "junk.tar.zst", "it is damaged, cut off, or no archive"),
        (tmp_path / "empty", "there is no gateway.toml in it"),
        (tmp_path / "new.tar", "it needs edge-gateway 99.1 or newer"),
    ):
        said = fleet.run("check", "--bundle", path)
        assert (said.code, f"{path}: {what}" in said.err) == (78, True), said
        assert fleet.run("check", "--bundle", path, "--json").json["ok"] is False
    assert fleet.run("check", "--bundle", tmp_path / "nothing.tar").code == 1
    said = fleet.run("check", "--bundle", fleet.folder, "--site", "berlin-33")
    assert (said.code, "did you mean 'berlin-3'?" in said.err) == (1, True)
    fleet.run("bundle", "make", fleet.folder, "-o", tmp_path / "good.tar")
    import tarfile

    with tarfile.open(tmp_path / "good.tar") as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    (tmp_path / "unpacked" / "rules" / "open.py").write_text("# changed\n")
    said = fleet.run("check", "--bundle", tmp_path / "unpacked")
    assert (said.code, "rules/open.py is not what bundle.json says" in said.err) == (78, True)


def test_what_differs_between_bundles(fleet: Fleet, tmp_path: Path) -> None:
    """Values key by key wherever the folders are, rules and devices by what is in them, for the site that is named."""
    old = tmp_path / "old.tar.gz"
    fleet.run("bundle", "make", fleet.folder, "-o", old)
    same = fleet.run("config", "diff", old, fleet.folder, "--site", "rome-1")
    assert (same.code, same.out.strip()) == (0, "no difference")
    fleet.write("gateway.d/10-limits.toml", '[journal]\nbytes_max = "32MB"\n')
    fleet.write("rules/open.py", FLEET["rules/open.py"].replace("left_open", "forgotten"))
    fleet.write("devices/berlin-3.toml", FLEET["devices/berlin-3.toml"].replace("front", "gate"))
    said = fleet.run("config", "diff", old, fleet.folder, "--site", "berlin-3", "--json")
    assert said.code == 1
    assert [(each["key"], each["before"], each["after"]) for each in said.json["changes"]] == [
        ("journal.bytes_max", 64_000_000, 32_000_000)
    ]
    assert said.json["changes"][0]["origin"] == f"{fleet.folder}/gateway.d/10-limits.toml:2"
    assert {each["file"]: each["summary"] for each in said.json["files"]} == {
        "devices": "new house/z2m:gate; gone house/z2m:front",
        "rules/open.py": "new forgotten; gone left_open",
    }
    rome = fleet.run("config", "diff", old, fleet.folder, "--site", "rome-1", "--json").json
    assert [each["file"] for each in rome["files"]] == ["rules/open.py"]
