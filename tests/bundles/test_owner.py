"""What root types about a folder of the gateway's user is done as that user, who so leads root nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.bundles import ledger as ledgers
from gateway.bundles.bundle import opened
from gateway.bundles.ledger import Version
from gateway.bundles.placing import Placing
from gateway.config.places import places
from gateway.owner import as_owner
from tests.rights import NOBODY, shared_folder

CONFIG = '[gateway]\nname = "gw"\nstate = "{state}"\n[sources.house]\nlisten = "127.0.0.1:0"\n'
NEW = Version(name="00000001", bundle="b" * 64)


@pytest.fixture
def site() -> Iterator[Path]:
    """Have a site with a state folder of the gateway's user, and a folder next to it where that user may not write."""
    with shared_folder() as folder:
        (folder / "gateway.toml").write_text(CONFIG.format(state=folder / "state"))
        (folder / "bundle").mkdir()
        (folder / "bundle" / "gateway.toml").write_text(CONFIG.format(state=folder / "state"))
        (folder / "state").mkdir()
        (folder / "precious").mkdir(mode=0o555)
        if os.geteuid() == 0:
            os.chown(folder / "state", NOBODY, NOBODY)
        yield folder
        (folder / "precious").chmod(0o755)


def place(site: Path, instead: str) -> None:
    """Place a bundle, while the gateway's user puts a link to what is precious in place of something."""
    state = site / "state"
    above = ledgers.folder_of(state)

    def hostile(step: str) -> None:
        if step.startswith("wrote") and not (state / "aside").exists():
            with as_owner(state):
                (state / instead).rename(state / "aside")
                (state / instead).symlink_to(site / "precious")

    with opened(site / "bundle") as bundle, ledgers.alone(state):
        Placing(bundle, bundle.site(""), site / "gateway.toml", places(site / "gateway.toml"), hostile).place(1)
    assert above.is_dir()


@pytest.mark.parametrize("instead", ["applied", "applied/.00000001.partial"])
def test_a_folder_that_is_exchanged_while_root_writes(site: Path, instead: str) -> None:
    """Where a link to a folder of root's takes the place of one that is written, the write is refused there."""
    with pytest.raises(OSError):  # noqa: PT011 - which step it is does not matter
        place(site, instead)
    assert list((site / "precious").iterdir()) == []
    assert (site / "precious").stat().st_uid == os.geteuid()


def test_the_ledger_behind_a_link(site: Path) -> None:
    """A ledger whose folder is a link to one of root's is not written."""
    (site / "state" / "applied").symlink_to(site / "precious")
    with pytest.raises(PermissionError), as_owner(site / "state"):
        ledgers.change(site / "state", lambda now: ledgers.begun(now, NEW, 60))
    assert list((site / "precious").iterdir()) == []


def test_whose_it_is(site: Path) -> None:
    """What is placed is the gateway's user's, all of it, and root is root again."""
    with opened(site / "bundle") as bundle, ledgers.alone(site / "state"):
        made = Placing(bundle, bundle.site(""), site / "gateway.toml", places(site / "gateway.toml")).place(1)
    owner = (site / "state").stat().st_uid
    assert {path.lstat().st_uid for path in (made.parent, made, *made.rglob("*"))} == {owner}
    assert os.geteuid() == (site / "bundle").stat().st_uid


@pytest.mark.parametrize("verb", ["check", "rules list", "rules test", "rules backtest"])
def test_rules_that_were_applied_are_not_run_as_root(site: Path, verb: str) -> None:
    """Who types a verb as root that runs rules runs those of an applied version as the gateway's user, for good."""
    rules = site / "state" / "rules"
    with as_owner(site / "state"):
        rules.mkdir()
        said = "import os\nos.setuid(os.getuid())\nprint('as', *os.getresuid())\n"
        (rules / "who.py").write_text(said)
    text = (site / "gateway.toml").read_text() + f'[rules]\nfolder = "{rules}"\n'
    (site / "gateway.toml").write_text(text)
    command = [sys.executable, "-m", "gateway", *verb.split(), "--config", str(site / "gateway.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    owner = (site / "state").stat().st_uid
    assert f"as {owner} {owner} {owner}" in done.stdout + done.stderr
