"""What the journal keeps for routes that do not run, or lead elsewhere while a config is only tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.forward.held import forget_cursors, lead, way_of
from gateway.profiles.devices import Device
from gateway.routes import Route
from gateway.secrets import Secret
from gateway.targets.mqtt import MqttTargetOptions
from tests.forward.memory import MemoryLog

ROUTES = {"cloud": Route(to="x")}


def at(log: MemoryLog, after: int, *lanes: str) -> None:
    """Let the route have got so far."""
    for lane in lanes or ("alarm", "telemetry"):
        log.put("cursors", f"route:cloud:{lane}", {"after": after, "done": []})


def cursors(log: MemoryLog) -> dict[str, int]:
    """Return how far each cursor is."""
    return {key: row["after"] for key, row in sorted(log.table("cursors").items())}


def tried() -> MemoryLog:
    """Return a journal whose route was at 10 when it was led elsewhere for a try, and is at 30."""
    log = MemoryLog()
    lead(log, {"cloud": "here"}, trying=False)
    at(log, 10)
    lead(log, {"cloud": "there"}, trying=True)
    at(log, 30)
    return log


def test_what_nobody_reads_is_let_go() -> None:
    """Without its cursors a route that is gone no longer keeps its events; the others stay as they are."""
    log = MemoryLog()
    for key in ("route:old:alarm", "route:old:telemetry", "route:cloud:alarm", "rules"):
        log.put("cursors", key, {"after": 1, "done": []})
    lead(log, {"old": "a", "cloud": "b"}, trying=False)
    assert sorted(forget_cursors(log, ROUTES)) == ["route:old:alarm", "route:old:telemetry"]
    assert sorted(log.table("cursors")) == ["route:cloud:alarm", "rules"]
    assert dict(log.table("carried")) == {"cloud": "b"}


def test_a_try_that_went_back() -> None:
    """The route is where it was before the try, and what that kept is let go."""
    log = tried()
    lead(log, {"cloud": "here"}, trying=False)
    forget_cursors(log, ROUTES)
    assert cursors(log) == {"route:cloud:alarm": 10, "route:cloud:telemetry": 10}


def test_a_try_that_is_started_again_and_counts() -> None:
    """Another start of the same try goes on, and once it counts nothing is kept for the cloud before."""
    log = tried()
    lead(log, {"cloud": "there"}, trying=True)
    assert cursors(log)["route:cloud@before:alarm"] == 10
    lead(log, {}, trying=False)
    forget_cursors(log, ROUTES)
    assert cursors(log) == {"route:cloud:alarm": 30, "route:cloud:telemetry": 30}


def test_a_try_after_one_that_went_back_unseen() -> None:
    """Where no gateway ran between two tries, the second begins where the first one did, and keeps the same."""
    log = tried()
    lead(log, {"cloud": "elsewhere"}, trying=True)
    assert set(cursors(log).values()) == {10}
    assert len(cursors(log)) == 4


def test_led_elsewhere_for_good() -> None:
    """Who changes a target without a try goes on from where the route is."""
    log = MemoryLog()
    lead(log, {"cloud": "here"}, trying=False)
    at(log, 10)
    lead(log, {"cloud": "there"}, trying=False)
    assert cursors(log) == {"route:cloud:alarm": 10, "route:cloud:telemetry": 10}


def test_by_what_a_route_goes() -> None:
    """Another cloud, credential, selector or room is another way; a version's folder or what nobody asks is not."""
    door = Device(id="house/z2m:door", name="door", room="hall")

    def way(
        folder: str = "/a", room: str = "hall", url: str = "mqtt://cloud", key: str = "password", **route: Any
    ) -> str:
        """Write it as the config in a folder has it."""
        password = Secret("file", f"{folder}/{key}", Path(folder) / "gateway.toml", 7)
        target = MqttTargetOptions(url=url, username="gw", password=password)
        moved = Device(id=door.id, name=door.name, room=room)
        return way_of(Route(to="cloud", **route), target, [moved], folder)

    assert way() == way("/b") == way(room="attic")
    assert len({way(), way(url="mqtt://other"), way(key="b"), way(types=("opened",)), way(rooms=("hall",))}) == 5
    assert way(rooms=("hall",)) != way(rooms=("hall",), room="attic")
