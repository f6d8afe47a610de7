"""Camera snapshot on alarm: the cameras there record and keep pictures for ten minutes.

Needs: cameras of Frigate (kind "camera"), with their rooms in devices.toml; a rule that raises alerts with
lane="alarm", such as the night watch.
Change: for how long, which cameras. What Frigate keeps comes in as events `snapshot_taken`; routes can send them on.
"""

from collections.abc import Sequence
from typing import Literal

from gateway.rules import Context, Device, Event, rule
from gateway.rules.testing import SimulatedHouse

LASTS = "10m"
LEFT_ALONE = "private"  # label of cameras that never record by themselves


@rule("alert_raised")
def alarm_snapshot(event: Event, ctx: Context) -> None:
    """Record with the cameras of the room that the alarm is about, or with all."""
    if event.lane != "alarm":
        return
    for camera in cameras_near(event.device, ctx):
        for setting in ("recordings", "snapshots"):
            if camera[f"setting.{setting}"] != "ON":  # what is on already is not switched off afterwards
                ctx.hold(camera, lasts=LASTS, priority="safety", **{setting: True})


def cameras_near(device: Device, ctx: Context) -> Sequence[Device]:
    """Return the cameras in the room of a device; all when it has no room, or none is there."""
    wanted = [camera for camera in ctx.devices(kind="camera") if LEFT_ALONE not in camera.labels]
    near = [camera for camera in wanted if device.room and camera.room == device.room]
    return near or wanted


def raised(house: SimulatedHouse, about: str, lane: Literal["telemetry", "alarm"] = "alarm") -> None:
    """Let another rule raise an alert about a device."""
    house.event("alert_raised", about, lane=lane, actor="rule:night_watch", alert="night_watch")


def test_cameras_of_the_room(house: SimulatedHouse) -> None:
    """The camera of the room records for ten minutes; the others do not."""
    house.device("window-hall", kind="window", room="hall")
    house.device("camera-hall", kind="camera", room="hall")
    house.device("camera-attic", kind="camera", room="attic")
    raised(house, "window-hall")
    assert house.commands == [("camera-hall", "set_recordings", True), ("camera-hall", "set_snapshots", True)]
    house.advance("11m")
    assert house.commands[2:] == [("camera-hall", "set_recordings", False), ("camera-hall", "set_snapshots", False)]


def test_what_was_on_stays_on(house: SimulatedHouse) -> None:
    """A camera that always records goes on doing so."""
    house.device("window-hall", kind="window", room="hall")
    house.device("camera-hall", kind="camera", room="hall", **{"setting.recordings": "ON"})
    raised(house, "window-hall")
    house.advance("11m")
    assert {command for _, command, _ in house.commands} == {"set_snapshots"}


def test_only_alarms(house: SimulatedHouse) -> None:
    """An alert that is no alarm is no reason to record; nor does a private camera."""
    house.device("window-hall", kind="window", room="hall")
    house.device("camera-hall", kind="camera", room="hall")
    raised(house, "window-hall", lane="telemetry")
    house.device("camera-hall", kind="camera", room="hall", labels=["private"])
    raised(house, "window-hall")
    assert house.commands == []


def test_power_cut_while_it_records(house: SimulatedHouse) -> None:
    """Recording ends after a power cut, too."""
    house.device("window-hall", kind="window", room="hall")
    house.device("camera-hall", kind="camera", room="hall")
    raised(house, "window-hall")
    house.restart(off="1h")
    house.advance("1s")
    assert house.commands[-1] == ("camera-hall", "set_snapshots", False)
