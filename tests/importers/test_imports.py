"""What all importers share: ids that stay, rows that are enough, who wins, limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.importers import imports as imports_module
from gateway.importers.importer import Rows
from gateway.importers.imports import Imports
from gateway.profiles.catalogue import BUILTIN, Catalogue
from tests.importers.house import CONTACT, House, binary, numeric, z2m, zigbee

LIST = "zigbee2mqtt/bridge/devices"
ADDRESS, OTHER = "0x00158d0001a2b3c4", "0x00158d0009999999"
ID = f"house/z2m:{ADDRESS}"
OPEN = {"contact": False}


def contact(friendly: str = "hall", address: str = ADDRESS) -> str:
    """Return a list with one door contact."""
    return z2m(zigbee(address, friendly, *CONTACT))


def test_a_restart_needs_no_new_announcement() -> None:
    """After a restart the device is read as before, from rows alone, and nothing is written or said again."""
    house = House(["zigbee2mqtt"])
    house.say(LIST, contact())
    assert house.say("zigbee2mqtt/hall", OPEN).events != []
    again = house.restarted()
    decoded = again.say("zigbee2mqtt/hall", OPEN)
    assert (decoded.events, decoded.changed, decoded.readings[0].subject) == ([], [], ID)
    assert decoded.readings[0].profile.startswith("zigbee2mqtt.a-thing-")
    assert again.keep() == 0


def test_the_same_list_again_writes_nothing() -> None:
    """An announcement that says what is known costs no write, raises nothing and keeps every route."""
    house = House(["zigbee2mqtt"])
    house.say(LIST, contact())
    house.say("zigbee2mqtt/hall", OPEN)
    assert house.keep() == 2
    decoded = house.say(LIST, contact(), retained=True)
    assert (decoded.events, decoded.changed, house.keep(), house.imports.pending) == ([], [], 0, False)


def test_a_device_that_is_renamed_there_keeps_its_id() -> None:
    """A new friendly name moves nothing: same id, same values, one device_renamed, also over a restart."""
    house = House(["zigbee2mqtt"])
    house.say(LIST, contact("hall"))
    house.say("zigbee2mqtt/hall", OPEN)
    decoded = house.say(LIST, contact("front door"))
    assert [(e.type, e.subject, e.data) for e in decoded.events] == [
        ("device_renamed", ID, {"name": "front door", "previous": "hall"})
    ]
    house = house.restarted()
    assert [event.type for event in house.say("zigbee2mqtt/front door", OPEN).events] == []
    assert [event.type for event in house.say("zigbee2mqtt/front door", {"contact": True}).events] == ["door_closed"]
    assert list(house.values) == [ID]


def test_two_devices_that_swap_names_keep_their_ids() -> None:
    """Names that change hands in one list lead to the right devices afterwards."""
    house = House(["zigbee2mqtt"])
    both = [zigbee(ADDRESS, "hall", *CONTACT), zigbee(OTHER, "attic", *CONTACT)]
    house.say(LIST, z2m(*both))
    house.tick()
    both = [zigbee(ADDRESS, "attic", *CONTACT), zigbee(OTHER, "hall", *CONTACT)]
    assert len(house.say(LIST, z2m(*both)).events) == 2
    assert house.read("zigbee2mqtt/attic", OPEN).keys() == {f"z2m:{ADDRESS}"}
    assert house.read("zigbee2mqtt/hall", OPEN).keys() == {f"z2m:{OTHER}"}


def test_what_was_heard_before_the_list_is_the_same_device() -> None:
    """A message that overtook the list was read under the friendly name; its values move, and that is said."""
    house = House(["zigbee2mqtt"])
    first = house.say("zigbee2mqtt/hall", OPEN)
    assert first.readings[0].subject == "house/z2m:hall"
    decoded = house.say(LIST, contact())
    assert [(e.type, e.subject, e.data) for e in decoded.events] == [
        ("device_renamed", ID, {"previous_id": "house/z2m:hall"})
    ]
    assert {ID, "house/z2m:hall"} <= set(decoded.changed)
    assert house.say("zigbee2mqtt/hall", OPEN).events == []
    assert list(house.values) == [ID]


def test_an_id_of_an_earlier_run_stays() -> None:
    """A device journalled under its friendly name before there was a list keeps that id, renamed or not."""
    house = House(["zigbee2mqtt"])
    house.say("zigbee2mqtt/hall", OPEN)
    house = house.restarted()
    house.say(LIST, contact("hall"))
    assert house.say("zigbee2mqtt/hall", OPEN).events == []
    assert list(house.values) == ["house/z2m:hall"]
    assert [event.subject for event in house.say(LIST, contact("front door")).events] == ["house/z2m:hall"]
    house = house.restarted()
    assert house.read("zigbee2mqtt/front door", {"contact": True}) == {"z2m:hall": {"open": False}}
    assert list(house.values) == ["house/z2m:hall"]


def test_an_id_a_person_listed_stays() -> None:
    """devices.toml may name a device by its friendly name: that is its id, and its settings apply."""
    house = House(["zigbee2mqtt"], installed=("house/z2m:hall",))
    house.say(LIST, contact("hall"))
    assert house.read("zigbee2mqtt/hall", OPEN) == {"z2m:hall": {"open": True}}
    house.say(LIST, contact("front door"))
    assert house.read("zigbee2mqtt/front door", OPEN) == {"z2m:hall": {"open": True}}


def test_a_device_that_is_gone_is_removed() -> None:
    """Who is not in the list any more is removed, once, with its values and rows; the others stay."""
    house = House(["zigbee2mqtt"])
    house.say(LIST, z2m(zigbee(ADDRESS, "hall", *CONTACT), zigbee(OTHER, "attic", *CONTACT)))
    house.say("zigbee2mqtt/hall", OPEN)
    house.keep()
    decoded = house.say(LIST, contact("attic", OTHER))
    assert [(event.type, event.subject) for event in decoded.events] == [("device_removed", ID)]
    assert list(house.values) == [f"house/z2m:{OTHER}"]
    house.say(LIST, "")
    house.tick()
    assert house.keep() == 3
    assert (house.rows, house.values) == ({}, {})


@pytest.mark.parametrize("odd", [{"definition": None}, {"disabled": True}, {"friendly_name": "a/#"}])
def test_a_device_that_says_less_for_a_while_stays(odd: dict[str, object]) -> None:
    """A device that is listed without a definition (an interview, an update) is read as it was, and is not removed."""
    house = House(["zigbee2mqtt"])
    house.say(LIST, contact())
    decoded = house.say(LIST, z2m(zigbee(ADDRESS, "hall", *CONTACT) | odd))
    assert decoded.events == []
    assert house.read("zigbee2mqtt/hall", OPEN) == {f"z2m:{ADDRESS}": {"open": True}}


def test_a_shipped_profile_knows_less_than_the_device() -> None:
    """What the device says of itself is read before a profile that came with the gateway: its unit is the right one."""
    exposes = (*CONTACT[:3], numeric("voltage", "V"), numeric("odd", "W"))
    house = House(["zigbee2mqtt"])
    message = {"contact": False, "voltage": 2.9, "odd": 1}
    assert "ext.odd" not in house.read("zigbee2mqtt/hall", message)["z2m:hall"]
    house.say(LIST, z2m(zigbee(ADDRESS, "hall", *exposes)))
    assert house.read("zigbee2mqtt/hall", message)[f"z2m:{ADDRESS}"]["ext.odd"] == 1


def test_a_person_knows_more_than_the_device(tmp_path: Path) -> None:
    """A profile file of the installation is read before what the device says of itself; the id is the same."""
    (tmp_path / "mine.toml").write_text(
        'schema = 1\nid = "mine"\ntitle = "Mine"\ndevice_class = "contact_sensor"\n'
        '[link]\ntopics = ["zigbee2mqtt/{device+}"]\n[decode]\nwhen = [{ path = "/contact", exists = true }]\n'
        '[device]\nid = "z2m:{device}"\n[[field]]\nname = "motion"\nfrom = "/contact"\n'
    )
    house = House(["zigbee2mqtt"], catalogue=Catalogue.load([BUILTIN, tmp_path]))
    house.say(LIST, contact())
    assert house.read("zigbee2mqtt/hall", OPEN) == {f"z2m:{ADDRESS}": {"motion": False}}
    assert house.read("zigbee2mqtt/hall", {"battery": 3}) == {f"z2m:{ADDRESS}": {"battery": 3}}


def test_importers_can_be_switched_off() -> None:
    """Without its importer a list is nothing to report, and devices are read as before."""
    house = House([])
    assert house.say(LIST, contact()).ignored is not None
    assert house.read("zigbee2mqtt/hall", OPEN)["z2m:hall"]["open"] is True


def test_devices_of_one_model_share_their_profile() -> None:
    """Two hundred devices of one model are compiled once."""
    house = House(["zigbee2mqtt"])
    house.say(LIST, z2m(*(zigbee(f"0x{n:016x}", f"d{n}", *CONTACT) for n in range(1, 201))))
    house.tick()
    profiles = {known["$"]["profile"] for known in house.values.values()}
    assert (len(house.values), len(profiles)) == (200, 1)


def test_made_up_devices_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices, topics and bytes of what is remembered are limited; what is over the limit is counted, not kept."""
    monkeypatch.setattr(imports_module, "DEVICES_MAX", 5)
    house = House(["zigbee2mqtt"])
    house.say(LIST, z2m(*(zigbee(f"0x{n:016x}", f"d{n}", *CONTACT) for n in range(1, 20))))
    house.tick()
    assert len(house.values) == 5
    assert house.imports.refused["zigbee2mqtt"] == 14
    assert "the limit is 5" in house.imports.last_refusal


def test_rows_have_a_limit() -> None:
    """A row that does not fit is refused and leaves everything as it was; room that becomes free is used again."""
    rows = Rows({"a": "x" * 50}, bytes_max=100)
    assert not rows.put("b", "y" * 60)
    assert rows.put("b", "y" * 30)
    rows.drop("a")
    assert rows.put("c", "z" * 50)
    assert sorted(key for key, _ in rows.changes()) == ["a", "b", "c"]
    assert list(rows.changes()) == []


def test_an_announcement_may_be_large_but_not_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """An announcement over the limit is refused unread."""
    monkeypatch.setattr(imports_module, "ANNOUNCEMENT_BYTES_MAX", 1000)
    house = House(["zigbee2mqtt"])
    assert "the limit is 1000" in str(house.say(LIST, json.dumps(["x" * 2000])).rejected)


def test_a_changed_definition_is_another_profile() -> None:
    """A model that learns something with an update is read anew; ids, values and commands go on."""
    house = House(["zigbee2mqtt"])
    house.say(LIST, z2m(zigbee(ADDRESS, "hall", *CONTACT)))
    house.say("zigbee2mqtt/hall", OPEN)
    before = house.values[ID]["$"]["profile"]
    switch = {"type": "switch", "features": [binary("state", "ON", "OFF", 7)]}
    assert house.say(LIST, z2m(zigbee(ADDRESS, "hall", *CONTACT, switch))).events == []
    assert house.values[ID]["$"]["profile"] != before
    assert house.values[ID]["open"] is True
    assert house.send(f"z2m:{ADDRESS}", "set_on", value=True) == ("zigbee2mqtt/hall/set", {"state": "ON"})
    assert before not in house.decoder.catalogue.profiles


def test_filters_bring_announcements() -> None:
    """What has to be subscribed to is named, and nothing twice."""
    filters = House(["zigbee2mqtt", "home-assistant", "homie", "sparkplug"]).decoder.filters
    wanted = {"homeassistant/+/+/config", "homeassistant/+/+/+/config", "homie/#", "spBv1.0/#", "zigbee2mqtt/#"}
    assert wanted <= set(filters)
    assert not [f for f in filters if f.startswith("zigbee2mqtt/") and f != "zigbee2mqtt/#"]
    assert Imports(["homie"], {"homie": "a/b"}).filters() == ["a/b/#"]
