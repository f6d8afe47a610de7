"""Who is in a room, of a kind, with a label: what a look at all devices would find, whatever came or moved before."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.rules.house import House
from gateway.rules.protocol import DeviceEntry

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


@settings(max_examples=80, deadline=None)
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
