"""The profiles over recorded corpora, when EDGE_GATEWAY_CORPORA names a folder (`./dev corpora` prints it)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from gateway.profiles.catalogue import Catalogue
from tests.profiles.corpora.expected import Expected, Wanted, judge
from tests.profiles.corpora.records import Record, folder, read
from tests.profiles.corpora.table import Row, as_text, expectations, explanations, table
from tests.profiles.deliveries import decoder, delivery

FOLDER = folder()
RIGHT_PERCENT_MIN = 99.0
HELD = (
    "alarmdecoder", "aws-shadow", "dsc-it100", "dsmr-p1", "ecowitt", "esphome", "frigate", "ha-discovery", "homie",
    "mysensors-mqtt", "mysensors-serial", "neolink", "onvif2mqtt", "openmqttgateway-ble", "ramses-ii", "rflink",
    "rfxtrx", "ring-mqtt", "rtl_433-json", "shelly-gen1", "shelly-gen2", "sparkplug-b", "tasmota", "thingsboard",
    "valetudo", "zigbee2mqtt", "zwave-js-ui",
)  # fmt: skip


@cache
def rows() -> list[Row]:
    """Decode everything once."""
    return table(read(FOLDER or Path()))


if FOLDER:

    def test_nothing_is_silently_wrong() -> None:
        """No record is claimed and contradicts what it must be, but for those explained one by one."""
        print("\n" + "\n".join(as_text(rows())))
        left = [one for row in rows() for one in row.left]
        assert [(r.id, v.why) for r, v, why in left if v.outcome == "wrong" and not why] == []

    @pytest.mark.parametrize("dialect", HELD)
    def test_dialect_is_right(dialect: str) -> None:
        """Of the records of a dialect that say something we have a name for, 99 % are right or explained."""
        row = next(row for row in rows() if row.dialect == dialect)
        asked = row.counts["right"] + sum(verdict.asked for _, verdict, _ in row.left)
        left = [(record.id, verdict.why) for record, verdict, why in row.left if verdict.asked and not why]
        assert 100 * (asked - len(left)) / asked >= RIGHT_PERCENT_MIN, left[:20]


def test_what_is_said_about_corpora_can_be_read() -> None:
    """Every file in dialects/ loads, and every explanation has its reason."""
    assert {"zigbee2mqtt", "tasmota", "frigate"} <= set(expectations())
    assert all(why and record for record, why in explanations().items())


@pytest.mark.parametrize(
    ("wanted", "outcome"),
    [
        ([Wanted(("open",), True)], "right"),
        ([Wanted(("open",), False)], "wrong"),
        ([Wanted(("open",), 1)], "wrong"),
        ([Wanted(("open",), True), Wanted(("temperature",), 21.5)], "missing"),
        ([Wanted(("open",), True), Wanted(("temperature",), None)], "right"),
        ([], "unchecked"),
    ],
)
def test_verdicts(wanted: list[Wanted], outcome: str) -> None:
    """A contradiction is wrong, a gap is missing, and what cannot be compared is not called right."""
    decoded = decoder(Catalogue.load()).decode(delivery("zigbee2mqtt/hall", {"contact": False}))
    assert judge(Expected(wanted), decoded, down=False).outcome == outcome


def test_a_command_that_is_taken_for_news_is_wrong() -> None:
    """A record that goes to the device must not be read as the device's own."""
    decoded = decoder(Catalogue.load()).decode(delivery("zigbee2mqtt/hall", {"contact": False}))
    assert judge(Expected(), decoded, down=True).outcome == "wrong"


def test_a_record_is_read_as_it_stands() -> None:
    """A table counts by dialect, and keeps what is not right."""
    one = Record("x-1", "x", "zigbee2mqtt", "zigbee2mqtt/hall", "", b'{"contact": true}', False, False, {}, {})
    other = Record("x-2", "x", "zigbee2mqtt", "nobody/hall", "", b"{}", False, False, {}, {})
    (row,) = table([one, other])
    assert (row.counts["unchecked"], row.counts["unclaimed"], row.records, row.share) == (1, 1, 2, None)
    assert [record.id for record, _, _ in row.left] == ["x-2"]
