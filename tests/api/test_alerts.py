"""What the API says of alerts, from the rows that the rules keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.api.alerts import Alerts
from gateway.api.line import ApiError
from gateway.event import Event
from gateway.rules.testing import SimulatedHouse
from tests.notify.scene import MovedClock, Scene, nobody, play, reached_at
from tests.rules.scene import house

WARM = """
@when(kind="freezer", temperature=above(-12))
def freezer_warm(f, ctx):
    ctx.alert(f"{f.name} warm", escalate=[("0m", "anna"), ("1m", "nobody_yet"), ("15m", "everyone")])
"""


def alerts_of(here: SimulatedHouse, scene: Scene, wanted: list[Event]) -> Alerts:
    """Return the answers over a house's rows; a person's wish is done at once."""

    def record(event: Event) -> None:
        wanted.append(event)
        here.acknowledge(event.data["alert"])

    def members(name: str) -> tuple[str, ...]:
        return () if name == "nobody_yet" else ("anna",)

    outbox = scene.notifier.outbox
    return Alerts(here.rows, record, MovedClock(), gateway="gw", members=members, outbox=outbox)


def test_who_was_told_who_waits_and_what_is_next(tmp_path: Path) -> None:
    """An alert says whom it was to reach, whom it has not reached and why, and who is next; an empty group is said."""
    here = house(tmp_path, WARM)
    here.set("freezer-cellar", temperature=-5)
    here.advance("2m")

    async def act(scene: Scene) -> None:
        wanted: list[Event] = []
        alerts = alerts_of(here, scene, wanted)
        (row,) = here.rows("alerts").values()
        scene.want("anna", "freezer-cellar warm", alert=row["id"])
        await scene.until(lambda: scene.notifier.errors)
        (alert,) = alerts.listed()
        assert alert.told == ["anna", "nobody_yet (nobody)"]
        assert (alert.next_to, alert.next_at) == ("everyone", "2026-01-05T12:15:00.000Z")
        assert [each.partition(":")[0] for each in alert.waiting] == ["anna"]
        assert "cannot connect" in alert.waiting[0]
        assert alerts.counts == (1, 1)

        (seen,) = await alerts.acknowledge(alert.short[:4], actor="person:anna")
        assert [(event.lane, event.actor, event.data) for event in wanted] == [
            ("timer", "person:anna", {"alert": alert.id})
        ]
        assert (seen.state, seen.next_to, alerts.counts) == ("acknowledged", None, (1, 0))

    with nobody() as port:
        play(tmp_path, {"anna": reached_at(tmp_path, f"http://127.0.0.1:{port}/")}, act)


@pytest.mark.parametrize(
    ("name", "says"), [("freezer_wram", "did you mean 'freezer_warm'"), ("zz", "there is no alert"), ("", "no alert")]
)
def test_an_alert_that_is_not_there(tmp_path: Path, name: str, says: str) -> None:
    """A name nobody has is refused, with what was probably meant."""
    here = house(tmp_path, WARM)
    here.set("freezer-cellar", temperature=-5)

    async def act(scene: Scene) -> None:
        wanted: list[Any] = []
        with pytest.raises(ApiError, match=says):
            await alerts_of(here, scene, wanted).acknowledge(name)
        assert wanted == []

    play(tmp_path, {}, act)
