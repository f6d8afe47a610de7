"""Who is in a room, of a kind, with a label: what a look at all devices would find, whatever came or moved before."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.rules.files.loader import load
from gateway.rules.language.house import House
from gateway.rules.protocol import DeviceEntry
from gateway.rules.testing import SimulatedHouse

ROOMS, KINDS, LABELS = ("", "bath", "hall"), ("", "door", "light"), ("entry", "evening")
ENTRIES = st.builds(
    DeviceEntry,
    st.integers(0, 9).map(lambda n: f"house/z2m:{n}"),
    st.just(""),
    st.sampled_from(ROOMS),
    st.sampled_from(KINDS),
    st.lists(st.sampled_from(LABELS), unique=True).map(tuple),
)
ASKED = st.tuples(*(st.sampled_from((None, *names)) for names in (KINDS, ROOMS, LABELS)))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(ENTRIES, ASKED), max_size=20))
def test_found_is_what_a_look_at_all_finds(steps: list[tuple[DeviceEntry, tuple[str | None, ...]]]) -> None:
    """After each device that is added or installed otherwise, each question has the devices that fit, by their ids."""
    house = House((), {})
    for entry, (kind, room, label) in steps:
        house.install([entry])
        fitting = [
            device
            for _, device in sorted(house.devices.items())
            if kind in (None, device.kind) and room in (None, device.room) and label in (None, *device.labels)
        ]
        assert list(house.select(kind=kind, room=room, label=label)) == fitting
        assert list(house.rooms()) == sorted({device.room for device in house.devices.values() if device.room})


def test_a_tests_house_knows_what_is_installed(tmp_path: Path) -> None:
    """A device a test names is as devices.toml says; of what kind it is without saying, its name may tell."""
    (tmp_path / "some.py").write_text("from gateway.rules import every\n@every('1h')\ndef some(ctx): pass\n")
    installed = [DeviceEntry("z2m:1", "door-front", "porch"), DeviceEntry("z2m:2", "door-back", "", "gate", ("new",))]
    house = SimulatedHouse(load(tmp_path), installed)
    house.event("button_pressed", "door-front")
    house.event("button_pressed", "door-back")
    seen = [(each.id, each.room, each.kind, sorted(each.labels)) for each in house._engine.site.house.select()]
    assert seen == [("z2m:1", "porch", "door", []), ("z2m:2", "", "gate", ["new"])]
