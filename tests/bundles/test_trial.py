"""What a gateway keeps while its config is only tried: everything that the config before needs when it counts again."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.bundles import ledger as ledgers
from gateway.bundles.ledger import Ledger, Version
from gateway.config.load import load
from gateway.config.startable import startable
from gateway.daemon import Daemon
from gateway.errors import ConfigError

PATIENCE_S = 60.0
LOOK_S = 0.02
VERSION = Version(name="00000001", bundle="a" * 64)
CONFIG = (
    '[gateway]\nname = "gw"\nstate = "{state}"\nheartbeat_minutes = 0\n[journal]\nbytes_max = "8MB"\n'
    '[sources.house]\nlisten = "127.0.0.1:0"\n[targets.cloud]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1:1"\n'
    '[routes.{route}]\nto = "cloud"\nstart = "newest"\n'
)


def play(file: Path, scene: Callable[[Daemon], Awaitable[None]]) -> None:
    """Run a scene with a gateway in this process, and end it in order."""

    async def whole() -> None:
        daemon = Daemon(load(file))
        life = asyncio.create_task(daemon.run())
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not daemon.committer.commits:
                    await asyncio.sleep(LOOK_S)
                await scene(daemon)
        finally:
            daemon.stop()
            await life

    asyncio.run(whole())


async def nothing(_daemon: Daemon) -> None:
    """Start and end."""


async def something(daemon: Daemon) -> None:
    """Let the journal have something that the cloud, which is away, has to get."""
    daemon.audit.record("something_done", "person:anna")
    await daemon.committer.flush()


def cursors(daemon: Daemon) -> set[str]:
    """Return the routes that the journal keeps events for."""
    return {key.split(":")[1] for key in daemon.journal.table("cursors") if key.startswith("route:")}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Have a config that has run, with something that waits, and another one in its place that is tried."""
    state = tmp_path / "state"
    base, tried = tmp_path / "gateway.toml", state / "applied" / VERSION.name / "gateway.toml"
    base.write_text(CONFIG.format(state=state, route="old"))
    play(base, something)
    tried.parent.mkdir(parents=True)
    tried.write_text(CONFIG.format(state=state, route="new"))

    def begin(now: Ledger) -> Ledger:
        return ledgers.based(ledgers.begun(now, VERSION, 600), base)

    ledgers.change(state, begin)
    return base, tried


def test_what_waits_for_a_route_of_the_config_before_leaves_after_a_revert(files: tuple[Path, Path]) -> None:
    """A tried config without a route lets go of none of its events, by a reload neither: they wait when it is back."""
    base, tried = files

    async def trying(daemon: Daemon) -> None:
        assert (await daemon.reload.ask("person:anna")).applied
        await daemon.trying.revert("person:anna")

    async def again(daemon: Daemon) -> None:
        (old,) = daemon.forwarders
        assert (old.name, cursors(daemon)) == ("old", {"old"})
        assert not daemon.config.left_out
        assert old.status().over_through["telemetry"] == 0  # it is behind what waits, not behind what came since
        assert old.status().backlog["telemetry"] >= 1

    play(tried, trying)
    play(base, again)


def test_what_counts_for_good_lets_go_of_routes_before(files: tuple[Path, Path]) -> None:
    """With the confirmation the events of routes that there are no more are kept no longer."""
    _, tried = files

    async def trying(daemon: Daemon) -> None:
        while daemon.trying.status().left_s is None:
            await asyncio.sleep(LOOK_S)
        assert cursors(daemon) >= {"old"}
        await daemon.trying.confirm("person:anna")
        assert "old" not in cursors(daemon)

    play(tried, trying)


def test_the_last_good_config_is_not_one_that_was_tried(files: tuple[Path, Path]) -> None:
    """After an apply that went back, or counts, a config that cannot be read is replaced by its own last good one."""
    base, tried = files

    async def reverted(daemon: Daemon) -> None:
        assert (await daemon.reload.ask("person:anna")).applied
        await daemon.trying.revert("person:anna")

    async def confirmed(daemon: Daemon) -> None:
        while daemon.trying.status().left_s is None:
            await asyncio.sleep(LOOK_S)
        await daemon.trying.confirm("person:anna")

    play(tried, reverted)
    good = base.read_text()
    base.write_text("[broken")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STATE_DIRECTORY", str(base.parent / "state"))
        assert list(startable(base).routes) == ["old"]
        with pytest.raises(ConfigError):
            startable(Path(shutil.copy(base, tried)))
        base.write_text(good)
        tried.write_text(CONFIG.format(state=base.parent / "state", route="new"))
        ledgers.change(base.parent / "state", lambda now: ledgers.begun(now, VERSION, 600))
        play(tried, confirmed)
        for file, route in ((base, "old"), (tried, "new")):
            file.write_text("[broken")
            assert list(startable(file).routes) == [route]
