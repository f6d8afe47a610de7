"""`backup` and `restore` as a person types them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from gateway.cli.main import main
from gateway.clock import SystemClock
from gateway.event import Event
from gateway.identity import KEY, TABLE, Facts, Identity, judge, load, read_facts, save
from gateway.journal.inspection import Inspection
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions
from tests.cli.site import Result, Site, command

OPTIONS = JournalOptions(bytes_max=2 * 1024 * 1024, preallocate=False)
CONFIG = """\
[gateway]
name = "pi"
state = "{state}"
profiles = ["{profiles}"]

[journal]
bytes_max = "2MB"
preallocate = false

[sources.house]
listen = "127.0.0.1:1883"
certificate = "listener.pem"
key = "listener.key"
users.kitchen = {{ file = "kitchen.password" }}
users.attic = {{ env = "ATTIC" }}
"""
RECORDS = 40


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Site:
    """Make an installation with a journal that was stopped in order; profiles and state are elsewhere."""
    site = Site(tmp_path / "etc", capsys)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "own.toml").write_text("# nothing yet\n")
    files = {
        "gateway.toml": CONFIG.format(state=tmp_path / "var", profiles=tmp_path / "profiles"),
        "gateway.d/site.toml": '[gateway]\ntimezone = "UTC"\n',
        "kitchen.password": "secret",
        "listener.key": "secret",
        "listener.pem": "public",
        "rules/lib/shared.py": "X = 1\n",
        "rules/__pycache__/shared.pyc": "made by Python",
    }
    site.write(files)
    journal = Journal.open(tmp_path / "var" / "journal", OPTIONS, SystemClock())
    for number in range(RECORDS):
        journal.append(Event(source="/pi/house", type="reading_taken", data={"n": number}))
    journal.close()
    return site


def tree(folder: Path) -> dict[str, str]:
    """Return every file below a folder with a hash of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def restore(site: Site, *words: str) -> Result:
    """Run the verb in this process."""
    site._capsys.readouterr()
    code = main(["restore", *words])
    return Result(code, *site._capsys.readouterr())


def test_a_backup_is_a_tar_archive_without_secrets(site: Site, tmp_path: Path) -> None:
    """Standard tools read it; config, overlays, devices, rules, profiles and public certificates are in it."""
    file = tmp_path / "pi.tar.zst"
    said = site.run("backup", str(file), "--json").json
    assert (said["gateway"], said["last_sequence"], said["secrets"]) == ("pi", RECORDS, 0)
    assert sorted(Path(name).name for name in said["left_out"]) == ["kitchen.password", "listener.key"]
    assert file.stat().st_mode & 0o777 == 0o600
    listed = subprocess.run(["tar", "--zstd", "-tf", file], capture_output=True, text=True, check=True).stdout.split()
    assert set(listed) == {
        "journal/00000001.segment",
        "config/gateway.toml",
        "config/gateway.d/site.toml",
        "config/devices.toml",
        "config/listener.pem",
        "config/rules/left_open.py",
        "config/rules/lib/shared.py",
        f"elsewhere{tmp_path}/profiles/own.toml",
        "manifest.json",
    }
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_secrets_on_request(site: Site, tmp_path: Path) -> None:
    """With --with-secrets passwords and private keys are in it, too, and come back with their modes."""
    (site.folder / "listener.key").chmod(0o600)
    said = site.run("backup", str(tmp_path / "pi.tar.zst"), "--with-secrets", "--json").json
    assert (said["secrets"], said["left_out"]) == (2, [])
    done = restore(site, str(tmp_path / "pi.tar.zst"), "--to", str(tmp_path / "copy"), "--json").json
    assert done["missing"] == []
    assert (tmp_path / "copy" / "listener.key").read_text() == "secret"
    assert (tmp_path / "copy" / "listener.key").stat().st_mode & 0o777 == 0o600


def test_a_copy_elsewhere_is_good_to_run(site: Site, tmp_path: Path) -> None:
    """With --to nothing leads back to the original: journal, state, socket and profiles are below the folder."""
    before = tree(tmp_path)
    site.run("backup", str(tmp_path / "pi.tar.zst"))
    copy = tmp_path / "copy"
    done = restore(site, str(tmp_path / "pi.tar.zst"), "--to", str(copy), "--json").json
    assert done["journal"] == str(copy / "state" / "journal")
    assert done["missing"] == [str(copy / "kitchen.password"), str(copy / "listener.key")]
    config = (copy / "gateway.d" / "zz-restored.toml").read_text()
    assert f'gateway.profiles = ["elsewhere{tmp_path}/profiles"]' in config
    found = command("check", "--effective", "--json", "--config", str(copy / "gateway.toml"), ATTIC="x")
    assert str(tmp_path / "var") not in found.out
    stat = command("journal", "stat", "--json", "--config", str(copy / "gateway.toml")).json
    assert (stat["folder"], stat["epoch"]) == (done["journal"], done["epoch"])
    assert Inspection(copy / "state" / "journal").last_sequence >= done["first_sequence"] - 1
    (tmp_path / "pi.tar.zst").unlink()
    assert {name: found for name, found in tree(tmp_path).items() if not name.startswith("copy/")} == before


def test_a_dead_card(site: Site, tmp_path: Path) -> None:
    """Without --to everything goes where it came from; a secret that is needed and not there is named."""
    file = tmp_path.parent / f"{tmp_path.name}.tar.zst"
    site.run("backup", str(file))
    before = tree(tmp_path)
    shutil.rmtree(site.folder)
    shutil.rmtree(tmp_path / "var")
    shutil.rmtree(tmp_path / "profiles")
    said = restore(site, str(file))
    assert said.code == 0
    assert f"not in the backup, and needed: {site.folder}/kitchen.password" in said.out
    after = tree(tmp_path)
    for name in ("etc/gateway.toml", "etc/devices.toml", "etc/rules/lib/shared.py", "profiles/own.toml"):
        assert after[name] == before[name]
    assert Inspection(tmp_path / "var" / "journal").last_sequence > RECORDS
    file.unlink()


def test_what_is_there_is_not_overwritten(site: Site, tmp_path: Path) -> None:
    """A journal or a changed file in the way is a refusal; with --force both are kept under other names."""
    file = tmp_path / "pi.tar.zst"
    site.run("backup", str(file))
    before = tree(tmp_path)
    (tmp_path / "var" / "history").write_text("an index of the journal that is replaced")
    refused = restore(site, str(file))
    assert (refused.code, "there is a journal in" in refused.err) == (1, True)
    shutil.rmtree(tmp_path / "var" / "journal")
    (site.folder / "rules" / "left_open.py").write_text("# changed\n")
    refused = restore(site, str(file))
    assert (refused.code, "left_open.py" in refused.err) == (1, True)
    done = restore(site, str(file), "--force", "--json").json
    assert done["kept"] == [str(site.folder / "rules" / "left_open.py.old-1")]
    again = restore(site, str(file), "--force", "--json").json
    assert again["kept"] == [str(tmp_path / "var" / "journal.old-1")]
    assert again["epoch"] > done["epoch"]
    assert again["first_sequence"] > done["first_sequence"]
    after = tree(tmp_path)
    assert "var/history" not in after
    assert after["etc/rules/left_open.py"] == before["etc/rules/left_open.py"]


def test_nothing_is_touched_by_a_bad_backup(site: Site, tmp_path: Path) -> None:
    """A damaged, cut or foreign file is a sentence and exit code 1, with --force, too."""
    file = tmp_path / "pi.tar.zst"
    site.run("backup", str(file))
    content = file.read_bytes()
    middle = len(content) // 2
    hurt = {
        "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "cut": content[:middle],
        "empty": b"",
        "foreign": b"no backup at all\n" * 100,
    }
    for name, data in hurt.items():
        file.write_bytes(data)
        before = tree(tmp_path)
        for words in (["--check"], ["--force"], ["--to", str(tmp_path / "copy")]):
            refused = restore(site, str(file), *words)
            assert (refused.code, "nothing was touched" in refused.err) == (1, True), (name, refused)
            assert "Traceback" not in refused.err
        assert tree(tmp_path) == before
    missing = restore(site, str(tmp_path / "nothing.tar.zst"))
    assert (missing.code, "No such file" in missing.err) == (1, True)


def test_a_gateway_that_runs_is_not_replaced(site: Site, tmp_path: Path) -> None:
    """While a gateway has the journal, even --force is refused."""
    site.run("backup", str(tmp_path / "pi.tar.zst"))
    journal = Journal.open(tmp_path / "var" / "journal", OPTIONS, SystemClock())
    refused = restore(site, str(tmp_path / "pi.tar.zst"), "--force")
    assert (refused.code, "another gateway has the journal" in refused.err) == (1, True)
    journal.append(Event(source="/pi/house", type="reading_taken", data={}))
    journal.close()
    assert Inspection(tmp_path / "var" / "journal").last_sequence == RECORDS + 1


def test_a_backup_that_fails_leaves_no_file(site: Site, tmp_path: Path) -> None:
    """Without a journal, or with nowhere to write, there is a sentence, and no half a backup."""
    shutil.rmtree(tmp_path / "var")
    before = tree(tmp_path)
    refused = site.run("backup", str(tmp_path / "pi.tar.zst"))
    assert (refused.code, "there is no journal" in refused.err) == (1, True)
    assert site.run("backup", str(tmp_path / "nowhere" / "pi.tar.zst")).code == 1
    assert site.run("backup", str(tmp_path)).code == 1
    assert tree(tmp_path) == before


def test_a_pipe(site: Site, tmp_path: Path) -> None:
    """`backup -` writes the archive to standard output and what there is to say to standard error."""
    with (tmp_path / "pi.tar.zst").open("wb") as out:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "backup", "-", "--config", site.config],
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            check=True,
        )
    assert "gateway pi as of" in done.stderr
    assert restore(site, str(tmp_path / "pi.tar.zst"), "--check", "--json").json["last_sequence"] == RECORDS


def test_an_applied_bundle_goes_back_into_the_folder_people_know(site: Site, tmp_path: Path) -> None:
    """What counts is in the backup under the config's own folder; on the new card it counts without a bundle."""
    bundle = tmp_path / "bundle"
    (bundle / "rules").mkdir(parents=True)
    (bundle / "gateway.toml").write_text(
        '[gateway]\nname = "new"\n[journal]\nbytes_max = "2MB"\npreallocate = false\n[sources.house]\n'
        'listen = "127.0.0.1:1883"\nusers.kitchen = { file = "kitchen.password" }\n'
    )
    assert site.run("apply", str(bundle)).code == 0
    assert site.run("check", "--json").json["counts"]["source"] == 1
    file = tmp_path.parent / f"{tmp_path.name}.tar.zst"
    backup = site.run("backup", str(file), "--json")
    said = backup.json
    assert "only being tried" in backup.err
    assert (said["gateway"], said["left_out"]) == ("new", [str(site.folder / "kitchen.password")])
    refused = restore(site, str(file))
    assert (refused.code, "a bundle was applied here" in refused.err or "journal" in refused.err) == (1, True)
    assert restore(site, str(file), "--force").code == 0
    assert 'name = "new"' in site.config.read_text()
    assert (tmp_path / "var" / "applied.old-1" / "now.json").exists()
    assert not (tmp_path / "var" / "applied").exists()
    assert 'name = "new"' in site.run("check", "--effective").out
    file.unlink()


def test_good_versions_of_rules_come_along(site: Site, tmp_path: Path) -> None:
    """What `rules history` knows and `rules rollback` goes back to is in the backup, and where it was afterwards."""
    store = tmp_path / "var" / "rules"
    (store / "texts").mkdir(parents=True)
    (store / "texts" / "0a1b").write_text("a version")
    (store / "index.json").write_text("{}")
    before = tree(store)
    site.run("backup", str(tmp_path / "pi.tar.zst"))
    assert restore(site, str(tmp_path / "pi.tar.zst"), "--to", str(tmp_path / "copy")).code == 0
    assert tree(tmp_path / "copy" / "state" / "rules") == before
    shutil.rmtree(tmp_path / "var")
    assert restore(site, str(tmp_path / "pi.tar.zst")).code == 0
    assert tree(store) == before


def test_another_machine_has_to_decide(site: Site, tmp_path: Path) -> None:
    """A card that was started before is who the backup says; on other hardware it is said what to type, or decided."""
    bound = Facts(board="of another machine", mac=("x",))
    journal = Journal.open(tmp_path / "var" / "journal", OPTIONS, SystemClock())
    journal.put(TABLE, KEY, msgspec.to_builtins(Identity(id="aa" * 8, made="2026", facts=bound, log_id=journal.log_id)))
    journal.close()
    file = str(tmp_path / "pi.tar.zst")
    site.run("backup", file)
    save(tmp_path / "var", Identity(id="bb" * 8, made="2026"))
    here = read_facts(tmp_path / "var", "aa" * 8)
    done = restore(site, file, "--force", "--json").json
    assert (done["identity"], load(tmp_path / "var").id) == ("aa" * 8, "aa" * 8)  # type: ignore[union-attr]
    assert done["doubted"] == (judge(bound, here) == "other")
    assert restore(site, file, "--force", "--replace", "--json").json["doubted"] is False
    found = load(tmp_path / "var")
    assert found is not None
    assert (found.id, found.facts) == ("aa" * 8, here)
    restore(site, file, "--force", "--copy")
    found = load(tmp_path / "var")
    assert found is not None
    assert (found.copied_from, found.begin_anew) == ("aa" * 8, journal.log_id)
