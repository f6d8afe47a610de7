"""A journal whose tables are full of what rules keep: the gateway's own rows find room all the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.config.load import Config, load
from gateway.daemon import Daemon
from gateway.errors import JournalError
from gateway.journal.journal import Journal

ROW = {"seen": "x" * 2000}
CONFIG = (
    '[gateway]\nname = "gw"\nstate = "state"\n[journal]\nbytes_max = "8MB"\npreallocate = false\n'
    '[targets.cloud]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1:1"\n[routes.all]\nto = "cloud"\n'
)


def written(folder: Path, more: str = "") -> Config:
    """Write a config and load it."""
    (folder / "gateway.toml").write_text(CONFIG + more)
    return load(folder / "gateway.toml")


def fill(journal: Journal) -> None:
    """Put rows until there is no room. Raises JournalError then."""
    for n in range(10_000):
        journal.put("rule_state", f"k{n}", ROW)
        journal.commit()


def start(config: Config) -> set[str]:
    """Start a gateway and end it when it has committed; return the routes it has cursors of."""

    async def whole() -> set[str]:
        daemon = Daemon(config)
        life = asyncio.create_task(daemon.run())
        async with asyncio.timeout(60):
            while not life.done() and not all(f"route:{name}:alarm" in cursors(daemon) for name in config.routes):
                await asyncio.sleep(0.02)
        found = {key.split(":")[1] for key in cursors(daemon)}
        daemon.stop()
        await life
        return found

    def cursors(daemon: Daemon) -> set[str]:
        return {key for key in daemon.journal.table("cursors") if key.startswith("route:")}

    return asyncio.run(whole())


def test_a_start_and_a_new_route_find_room(tmp_path: Path) -> None:
    """A gateway of before identities and audit starts after an update, and a route that is added begins."""
    config = written(tmp_path)
    assert start(config) == {"all"}
    journal = Journal.open(config.places.journal, config.journal, SystemClock())
    for table, key in (("identity", "gateway"), ("audit", "config")):
        journal.put(table, key, None)
    journal.commit()
    with pytest.raises(JournalError, match="tables are full"):
        fill(journal)
    journal.close()
    assert start(written(tmp_path, '[routes.new]\nto = "cloud"\n')) == {"all", "new"}
