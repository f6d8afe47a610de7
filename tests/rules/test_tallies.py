"""Conditions over rooms and the house: counted by the device that changed, and always what a look at all would say."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.rules.engine import tallies
from gateway.rules.engine.tallies import Tallies, truth_of
from gateway.rules.language import definition
from gateway.rules.language.definition import Condition, Selector, Threshold
from gateway.rules.language.house import Device, House
from gateway.rules.protocol import DeviceEntry
from gateway.rules.testing import house_for

ROOMS = ("bath", "hall", "")
DEVICES = 6
REPORTS = st.lists(
    st.tuples(
        st.integers(0, DEVICES - 1),
        st.sampled_from(["temperature", "open", "online"]),
        st.sampled_from([-20, -13, -10, True, False, None]),
        st.booleans(),
    ),
    max_size=40,
)


def conditions() -> list[Condition]:
    """Return one over rooms and one over the house, about some of the devices."""
    cold, selector = Threshold("above", -12, -15), Selector(kind=("freezer",))
    fields = (("temperature", cold), ("open", definition.Test(True)))
    about = {"title": "", "run": print, "file": "", "line": 0, "fields": fields}
    return [
        Condition(name="rooms", per="room", selector=selector, **about),  # type: ignore[arg-type]
        Condition(name="house", per="house", **about),  # type: ignore[arg-type]
    ]


def all_of(house: House, condition: Condition, scope: str, was: bool) -> bool | None:
    """Look at every device, as nobody has the time to."""
    members = [
        device
        for device in house.devices.values()
        if tallies.meant(condition, device) and (device.room if condition.per == "room" else "house") == scope
    ]
    truths = [truth_of(condition, member, was) for member in members]
    return True if True in truths else None if None in truths else False


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(REPORTS)
def test_counted_is_what_all_say(reports: list[tuple[int, str, object, bool]]) -> None:
    """Whatever is reported in whatever order, what is counted is what a look at all devices would find."""
    kinds = ("freezer", "door")
    entries = [DeviceEntry(f"h/d:{n}", "", ROOMS[n % 3], kinds[n % 2]) for n in range(DEVICES)]
    house = House(entries, {})
    counted = Tallies(house)
    for number, field, value, was in reports:
        device: Device = house.devices[f"h/d:{number}"]
        device.update({field: value})
        for condition in conditions():
            counted.changed(condition, device.room if condition.per == "room" else "house", device.id)
            for scope in ("bath", "hall") if condition.per == "room" else ("house",):
                assert counted.truth(condition, scope, was) is all_of(house, condition, scope, was)


def test_a_new_device_counts(tmp_path: Path) -> None:
    """A device that is met later, moves to another room or reports what raises no event is counted, too."""
    file = tmp_path / "some.py"
    file.write_text(
        "from gateway.rules import when\n"
        "@when(kind='window', open=True, per='room')\n"
        "def airs(room, ctx): ctx.alert(room.name)\n"
        "@when(dew_point=20, motion=True, per='house')\n"
        "def damp(house, ctx): ctx.alert('damp')\n"
    )
    house = house_for(file)
    house.set("window-bath", open=False)
    house.device("window-2", kind="window", room="bath")
    house.set("window-2", open=True)
    assert house.alert_texts == ["bath"]
    house.device("window-2", kind="window", room="hall")
    assert house.alert_texts == ["hall"]
    house.set("window-2", open=False)
    house.set("motion-bath", motion=False)
    house.set("motion-bath", dew_point=20)
    house.set("motion-bath", motion=True)
    assert house.alert_texts == ["damp"]
